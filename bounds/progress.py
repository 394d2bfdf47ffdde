"""Progress of a long job on the standard error stream."""

from __future__ import annotations

import sys
import time
from threading import Event, Thread
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bounds.budget import readable

HEARTBEAT = 2.0
"""Seconds after which a job that goes to a file or a pipe says what it is doing."""


class Stages:
    """Shows the stages that a job reports; call it with (stage, done, total), total 0 where unknown.

    On a terminal there is one bar per stage until the job ends; elsewhere one line per finished stage, and one every
    other second about the stage that is under way. With `verbose` the seconds of every stage and the peak memory follow
    at the end.

    >>> with Stages(quiet=True) as report:
    ...     report("measuring", 1, 2)
    ...     report.doing("measuring", "layer 2")
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
            TextColumn("{task.fields[doing]}"),
            console=console,
            disable=quiet or self._lines,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._finished: set[str] = set()
        self._now = ""  # what a line would say
        self._steps: dict[str, str] = {}
        self._over = Event()
        self._pulse = Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._bars.start()
        if self._lines:
            self._pulse.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._over.set()
        if self._lines:
            self._pulse.join()
        if self._verbose:
            for stage, started in self._started.items():
                self._print(stage, self._seen[stage] - started)
            print(f"peak memory: {readable(peak_memory())}", file=sys.stderr, flush=True)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note that `done` of `total` steps of a stage are finished."""
        self._seen[stage] = time.monotonic()
        self._started.setdefault(stage, self._seen[stage])
        if self._lines:
            self._steps[stage] = f"{stage}: {done} of {total}" if total else stage
            self._line(stage, finished=0 < total <= done)
            return
        self._bars.update(self._task(stage), completed=done, total=total or None)

    def doing(self, stage: str, what: str) -> None:
        """Note what a stage is at between two of its steps."""
        if self._lines:
            self._now = f"{self._steps.get(stage, stage)}, {what}"
        else:
            self._bars.update(self._task(stage), doing=what)

    def _task(self, stage: str) -> TaskID:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=None, doing="")
        return self._tasks[stage]

    def _line(self, stage: str, finished: bool) -> None:
        self._now = "" if finished else self._steps[stage]
        if finished and stage not in self._finished:
            self._finished.add(stage)
            if not self._verbose:  # then all come at the end
                self._print(stage, self._seen[stage] - self._started[stage])

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT):
            if self._now:
                print(self._now, file=sys.stderr, flush=True)

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
