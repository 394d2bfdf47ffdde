"""Progress of a long job on the standard error stream."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bounds.budget import readable


class Stages:
    """Shows the stages that a job reports; call it with (stage, done, total), total 0 where unknown.

    On a terminal there is one bar per stage until the job ends; elsewhere one line per finished stage. With `verbose`
    the seconds of every stage and the peak memory follow at the end.

    >>> with Stages(quiet=True) as report:
    ...     report("measuring", 1, 2)
    """

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self._verbose = verbose
        console = Console(stderr=True)
        self._lines = not quiet and not console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=quiet or self._lines,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._finished: set[str] = set()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        if self._verbose:
            for stage, started in self._started.items():
                self._print(stage, self._seen[stage] - started)
            print(f"peak memory: {readable(peak_memory())}", file=sys.stderr, flush=True)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note that `done` of `total` steps of a stage are finished."""
        self._seen[stage] = time.monotonic()
        self._started.setdefault(stage, self._seen[stage])
        if self._lines:
            self._line(stage, finished=0 < total <= done)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total or None)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)

    def _line(self, stage: str, finished: bool) -> None:
        if finished and stage not in self._finished:
            self._finished.add(stage)
            if not self._verbose:  # then all come at the end
                self._print(stage, self._seen[stage] - self._started[stage])

    @staticmethod
    def _print(stage: str, seconds: float) -> None:
        print(f"{stage}: {seconds:.1f} s", file=sys.stderr, flush=True)


def peak_memory() -> int:
    """Bytes of memory that this process has held at most.

    >>> peak_memory() > 10**6
    True
    """
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
