"""Progress of a long job on the standard error stream."""

from __future__ import annotations

import sys
import time
from threading import Event, Thread
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

HEARTBEAT = 5.0
"""Seconds after which a job that goes to a file or a pipe says what it is doing."""


class Stages:
    """Shows the stages that a job reports; call it with (stage, done, total), total 0 where unknown.

    On a terminal there is one bar per stage until the job ends; elsewhere one line per finished stage, and one every
    few seconds about the stage that is under way.

    >>> with Stages(quiet=True) as report:
    ...     report("measuring", 1, 2)
    ...     report.doing("measuring", "layer 2")
    """

    def __init__(self, quiet: bool = False) -> None:
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

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note that `done` of `total` steps of a stage are finished."""
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
        started = self._started.setdefault(stage, time.monotonic())
        self._now = "" if finished else self._steps[stage]
        if finished and stage not in self._finished:
            self._finished.add(stage)
            print(f"{stage}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT):
            if self._now:
                print(self._now, file=sys.stderr, flush=True)
