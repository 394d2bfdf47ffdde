"""`jacobound train`. Heavy imports wait until the command runs."""

from __future__ import annotations

import ast
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bounds.errors import InputError
from figures import loading

if TYPE_CHECKING:
    from bounds.inputs import Data
    from bounds.progress import Stages
    from verification.training.job import Training
    from verification.training.trainer import Epoch


def train(
    data: loading.DataName = "digits",
    net: Annotated[str, typer.Option(help="linear, mlp, cnn, strided_cnn, roth_cnn, resnet or vit.")] = "cnn",
    net_arg: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE for the network; may be repeated.", metavar="KEY=VALUE")
    ] = None,
    regulariser: Annotated[str | None, typer.Option(help="Penalty, such as jacobian-l1.", show_default="none")] = None,
    regulariser_arg: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE for the regulariser; may be repeated.", metavar="KEY=VALUE")
    ] = None,
    strength: Annotated[float, typer.Option(help="Weight of the penalty.")] = 0.0,
    epochs: Annotated[int, typer.Option(help="Passes over the data.", min=1)] = 10,
    batch_size: Annotated[int, typer.Option(help="Samples per step.", min=1)] = 128,
    learning_rate: Annotated[float, typer.Option(help="Peak of the one-cycle schedule.")] = 3e-3,
    samples: Annotated[
        int | None, typer.Option(help="Train on a random subset of this size.", min=1, show_default="all")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of first weights, subset, order and random directions.", min=0)] = 0,
    data_dir: loading.DataFolder = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint to write. An interrupted run continues from its last epoch.",
            dir_okay=False,
            show_default="DATA-NET-REGULARISER.pt",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train a network, plain or regularised; the checkpoint is what evaluate and verify take."""
    from bounds.progress import Stages
    from verification.training.job import Training

    job = Training(
        data=data,
        net=net,
        net_arguments=_values("--net-arg", net_arg),
        regulariser=regulariser,
        regulariser_arguments=_values("--regulariser-arg", regulariser_arg),
        strength=strength,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        samples=samples,
        seed=seed,
    )
    target = out or Path(f"{Path(data).stem}-{net}-{regulariser or 'plain'}.pt")
    with Stages(quiet=quiet) as report:
        training, held_out = (_load(data, split, data_dir, report) for split in ("train", "test"))
    _run(job, training, held_out, target, quiet)


def _run(job: Training, training: Data, held_out: Data, target: Path, quiet: bool) -> None:
    started = time.monotonic()

    def shown(epoch: int, means: Epoch) -> None:
        if not quiet:
            spent = time.monotonic() - started
            typer.echo(
                f"epoch {epoch}/{job.epochs}: loss {means.loss:.4f}, penalty {means.penalty:.4g}, "
                f"accuracy {means.accuracy:.2%}, {spent:.0f} s",
                err=True,
            )

    remark = job.remark(training)
    if remark is not None:
        typer.echo(f"{job.regulariser}: {remark}", err=True)
    try:
        result = job.run(training, held_out, target, on_epoch=shown)
    except KeyboardInterrupt:
        kept = job.state_path(target).exists()
        how = (
            f"the last epoch lies in {job.state_path(target)}; repeat the command to continue"
            if kept
            else "nothing was kept"
        )
        typer.echo(f"interrupted: {how}", err=True)
        raise typer.Exit(130) from None
    typer.echo(
        f"{target}: {job.net} on {training.label}, {result['parameters']} parameters, "
        f"accuracy {result['accuracy']:.2%} in training and {result['test_accuracy']:.2%} held out"
    )


def _load(data: str, split: str, data_dir: Path | None, report: Stages) -> Data:
    from bounds.inputs import load_data

    return load_data(data, split=split, data_dir=data_dir, progress=partial(report, f"downloading {data}"))


def _values(option: str, pairs: list[str] | None) -> dict[str, Any]:
    """Arguments from texts KEY=VALUE."""
    found: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"{option} {pair}: expected key=value")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    """A Python literal where the text is one, a number where it is a fraction or infinite, else the text."""
    for read in (ast.literal_eval, loading.number):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text
