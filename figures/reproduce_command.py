"""`jacobound reproduce`. Heavy imports wait until the command runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bounds.commands import print_result
from bounds.errors import InputError
from figures import loading
from figures.commands import check_folder, show

if TYPE_CHECKING:
    from verification.claims.experiment import Experiment, Result

DEFAULT_FOLDER = Path("reproduction")


def reproduce(
    paper: Annotated[str, typer.Argument(help="wu2024, roth2020, mustafa2020 or ablation.")],
    preset: Annotated[str, typer.Option(help="quick (minutes) or full (up to 90 minutes on two cores).")] = "quick",
    data_dir: loading.DataFolder = None,
    out: Annotated[
        Path,
        typer.Option(help="Folder of checkpoints, record, figures and report; what lies there is not done again."),
    ] = DEFAULT_FOLDER,
    plan: Annotated[bool, typer.Option("--plan", help="Only print what it would cost.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Repeat the experiments of a paper: train, measure, decide its claims, draw, and write a report."""
    from verification.claims.run import cost_plan, experiment
    from verification.claims.run import reproduce as run

    chosen = experiment(paper, preset)
    check_folder(out)
    nets = out / "nets"
    cost = cost_plan(chosen, preset, nets, data_dir)
    typer.echo(
        f"{chosen.title}, {preset}: {cost.nets} networks, {cost.done} of them trained; about {minutes(cost.minutes)} "
        f"on {cost.workers} {'process' if cost.workers == 1 else 'processes'}, {cost.memory:.1f} GiB of memory",
        err=True,
    )
    for cut in chosen.cuts(preset):
        typer.echo(f"cut: {cut}", err=True)
    if plan:
        return
    try:
        record = run(chosen, preset, nets, data_dir, None if quiet else _Progress())
    except KeyboardInterrupt:
        typer.echo(f"interrupted: what is finished lies in {nets}; repeat the command to continue", err=True)
        raise typer.Exit(130) from None
    _write(chosen, record, out / f"{paper}-{preset}")


class _Progress:
    """One line per network, with an estimate of what is left from how long the latest ones took."""

    LATEST = 10

    def __init__(self) -> None:
        self.times = [time.monotonic()]

    def __call__(self, done: int, nets: int, result: Result) -> None:
        self.times = [*self.times[-self.LATEST :], time.monotonic()]
        left = (self.times[-1] - self.times[0]) / (len(self.times) - 1) * (nets - done) / 60
        summary = result.summary
        outcome = summary["failed"] or f"accuracy {summary['accuracy']:.1%}, held out {summary['test_accuracy']:.1%}"
        rest = f"; about {minutes(left)} left" if done < nets else ""
        typer.echo(f"{done}/{nets}  {result.net.title}: {outcome}{rest}", err=True)


def minutes(number: float) -> str:
    """A duration for people.

    >>> minutes(0.2), minutes(3.4), minutes(90.0)
    ('a minute', '4 minutes', '90 minutes')
    """
    whole = max(1, -int(-number // 1))
    return "a minute" if whole == 1 else f"{whole} minutes"


def _write(chosen: Experiment, record: dict[str, Any], folder: Path) -> None:
    """Record, figures, tables and report, into a folder of their own."""
    from bounds import records
    from figures import reproduction_tables
    from figures.reproduction_report import write_reproduction_report
    from figures.write import write_for

    try:
        records.write(record, folder / "record.json")
        written = [*write_reproduction_report(record, folder), *write_for([record], folder / "figures")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    show(reproduction_tables.terminal(record))
    for path in (folder / "record.json", *written):
        if path.suffix in {".json", ".html"} or path.parent == folder:
            print_result(path)
    print_result(f"{folder / 'figures'}: {len(record['charts'])} figures")
