"""How much memory a job may take, and how many of its pieces fit into it at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import psutil

from bounds.errors import InputError

SHARE = 0.25
"""Of the memory that is available when a job begins: what it takes unless told otherwise."""

COMFORTABLE = 2**30
"""Bytes beyond which larger pieces are no faster: while the budget is larger, pieces do not depend on it."""

UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True)
class Budget:
    """Memory of one job, in bytes.

    >>> Budget.parse("6GiB").pieces(2**20, at_most=32), Budget(2**20).pieces(2**18, at_most=32)
    (32, 4)
    """

    memory: int

    @classmethod
    def available(cls) -> Self:
        """A quarter of the memory that is available now."""
        return cls(int(SHARE * psutil.virtual_memory().available))

    @classmethod
    def of(cls, memory: Budget | str | None) -> Budget:
        """The budget that was asked for: one, its text, or a quarter of what is available.

        Raises:
            InputError: for a text that is no size.
        """
        if memory is None:
            return cls.available()
        return cls.parse(memory) if isinstance(memory, str) else memory

    @classmethod
    def parse(cls, text: str) -> Self:
        """A budget written as a number with a unit: "6GiB", "800M", "1.5g".

        Raises:
            InputError: for anything else.
        """
        found = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?)(i?b)?\s*", text.lower())
        try:
            size = float(found[1]) * UNITS[found[2]] if found else 0.0
        except ValueError:
            size = 0.0
        if not 1 <= size < float("inf"):
            raise InputError(f"memory '{text}': expected a size such as 6GiB or 800M")
        return cls(int(size))

    def fits(self, size: int) -> bool:
        """Whether that many bytes stay within the budget."""
        return size <= self.memory

    def pieces(self, size: int, at_most: int, what: str = "one piece") -> int:
        """How many pieces of `size` bytes to hold at once, at least one.

        Args:
            size: bytes of one piece.
            at_most: pieces beyond which nothing is gained.
            what: one piece, for the message.

        Raises:
            InputError: when not even one fits.

        >>> Budget(1000).pieces(2000, at_most=8, what="the Jacobian of one sample")
        Traceback (most recent call last):
            ...
        bounds.errors.InputError: the Jacobian of one sample takes 2 kB, the budget is 1 kB: raise it with --memory
        """
        if not self.fits(size):
            raise InputError(
                f"{what} takes {readable(size)}, the budget is {readable(self.memory)}: raise it with --memory"
            )
        return max(1, min(at_most, min(self.memory, COMFORTABLE) // max(1, size)))


def readable(size: float) -> str:
    """Bytes for people.

    >>> readable(3_400_000_000), readable(512)
    ('3.4 GB', '512 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
