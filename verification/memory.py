"""Work on a batch of samples, in smaller pieces where memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

# What torch's allocators say when they fail; they raise plain RuntimeErrors on the processor.
PHRASES = ("not enough memory", "can't allocate memory")


class Memory:
    """Halves batches for which memory does not suffice, and remembers how far.

    Attributes:
        limit: samples of a piece that fitted; None as long as nothing had to be halved.
        notes: what was halved, for a record.

    >>> def work(rows: slice) -> int:
    ...     if rows.stop - rows.start > 3:
    ...         raise MemoryError
    ...     return rows.start
    >>> memory = Memory()
    >>> memory.run(work, 6), memory.notes
    ([0, 3], ['out of memory: batches of 6 samples halved to 3'])
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self.notes: list[str] = []

    def run(self, work: Callable[[slice], T], count: int) -> list[T]:
        """The results of `work` on consecutive pieces of `count` samples, in order.

        Raises:
            MemoryError: (or torch's) when a single sample does not fit.
        """
        results: list[T] = []
        start = 0
        while start < count:
            size = min(self.limit or count, count - start)
            try:
                results.append(work(slice(start, start + size)))
                start += size
            except (MemoryError, RuntimeError) as error:
                if size == 1 or not _is_about_memory(error):
                    raise
                self.limit = size // 2
                self.notes.append(f"out of memory: batches of {size} samples halved to {self.limit}")
        return results


def _is_about_memory(error: MemoryError | RuntimeError) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(phrase in str(error) for phrase in PHRASES)
