"""How the work on certificates goes: how many coefficients are held at a time, and who hears what is being done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bounds.budget import COMFORTABLE, Budget

BYTES = 256
"""Of memory per coefficient that is pulled back: itself, and what a step makes of it before letting go."""


def to_nobody(what: str) -> None:
    """Nobody wants to know what is being done."""


@dataclass(frozen=True)
class Work:
    """What a pass through the network may hold, and whom it tells.

    Attributes:
        entries: coefficients held at a time; by default as many as beyond which nothing gets faster.
        tell: called often, with what is being done.

    >>> Work().entries, Work.within(Budget(2**20)).rows(samples=2, width=512)
    (4194304, 4)
    """

    entries: int = COMFORTABLE // BYTES
    tell: Callable[[str], None] = to_nobody

    @classmethod
    def within(cls, budget: Budget, tell: Callable[[str], None] = to_nobody) -> Work:
        """Work that stays within a budget."""
        return cls(max(1, min(budget.memory, COMFORTABLE) // BYTES), tell)

    def rows(self, samples: int, width: int) -> int:
        """How many rows of `width` coefficients each to hold for every one of the samples, at least one."""
        return max(1, self.entries // max(1, samples * width))
