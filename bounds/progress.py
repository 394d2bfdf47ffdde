"""Progress of a long job on the standard error stream, one bar per stage."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Stages:
    """Shows the stages that a job reports; call it with (stage, done, total), total 0 where unknown.

    >>> with Stages(quiet=True) as report:
    ...     report("measuring", 1, 2)
    """

    def __init__(self, quiet: bool = False) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._tasks: dict[str, TaskID] = {}
        self._prefix = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def within(self, prefix: str) -> None:
        """Name what the following stages belong to."""
        self._prefix = f"{prefix}: " if prefix else ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        name = self._prefix + stage
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total or None)
        self._bars.update(self._tasks[name], completed=done, total=total or None)
