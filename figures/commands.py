"""`jacobound evaluate` and `jacobound demo`. Heavy imports wait until a command runs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bounds.commands import chosen_form, print_result, results
from figures import loading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from bounds.inputs import Data
    from bounds.network import TracedNetwork
    from bounds.robust_margins import RobustMargins

PIPED_WIDTH = 140
"""Columns of a table that goes to a file or a pipe."""


@loading.with_source
def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="State dict (.pt, .pth, .safetensors, .index.json), training dictionary, or own checkpoint."
        ),
    ],
    source: loading.Source = loading.DEFAULT,
    eps: Annotated[
        str | None,
        typer.Option(
            help="Attack radius in input units, such as 0.1 or 8/255; without it, no robust bounds.", metavar="RADIUS"
        ),
    ] = None,
    norm: Annotated[str, typer.Option(help="Attack norm: l1, l2 or linf.")] = "l2",
    plain_ball: Annotated[
        bool, typer.Option("--plain-ball", help="Let attacks leave the box of valid inputs.")
    ] = False,
    init: Annotated[
        Path | None, typer.Option(help="Checkpoint of the initialisation, as reference M_i.", show_default="zero")
    ] = None,
    margin: Annotated[float, typer.Option(help="Margin γ of the fixed-class values, in logits.")] = 1.0,
    delta: Annotated[float, typer.Option(help="Failure probability of each bound.")] = 0.05,
    bound: Annotated[
        list[str] | None,
        typer.Option(help="Evaluate only this bound; may be repeated.", metavar="KEY", show_default="all"),
    ] = None,
    jacobian_samples: Annotated[
        int | None,
        typer.Option(
            help="How many samples of each set Jacobians are measured on.",
            min=1,
            show_default="1000 within a minute",
        ),
    ] = None,
    attack_samples: Annotated[int, typer.Option(help="How many samples of each set are attacked.", min=1)] = 200,
    certified_samples: Annotated[
        int | None,
        typer.Option(help="How many test samples are certified.", min=2, show_default="at most 500, or two minutes"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of subsets, attacks and norm estimates.", min=0)] = 0,
    memory: loading.Memory = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write the table in every form, figures and report to.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the table as LaTeX.")] = False,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Print the references as BibTeX.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    verbose: loading.Verbose = False,
) -> None:
    """Print the table of bounds for a trained network."""
    from bounds import evaluate as evaluate_network
    from bounds.checks import check_settings
    from bounds.errors import InputError
    from bounds.progress import Stages

    form = chosen_form(json=json, markdown=markdown, latex=latex, bibtex=bibtex)
    radius = loading.radius_of(eps)
    check_settings(delta=delta, margin=margin, eps=radius, norm=norm, keys=bound)
    if plain_ball and radius is None:
        raise InputError("--plain-ball: there is no attack without --eps")
    if out is not None:
        check_folder(out)
    choices = source.choices()
    network = loading.load_network(checkpoint, choices, trust=source.trust)
    reference = None if init is None else loading.load_network(init, choices, trust=source.trust)
    with Stages(quiet=quiet, verbose=verbose) as report:
        train, test = (
            loading.load_split(choices, split, report, data_dir=source.data_dir) for split in ("train", "test")
        )
        evaluation = evaluate_network(
            network,
            train,
            test,
            init=reference,
            eps=radius,
            norm=norm,
            robust=None
            if radius is None
            else _robust(
                norm,
                radius,
                plain_ball=plain_ball,
                attack_samples=attack_samples,
                certified_samples=certified_samples,
                seed=seed,
                progress=partial(report, "certifying"),
            ),
            margin=margin,
            delta=delta,
            keys=bound,
            jacobian_samples=jacobian_samples,
            memory=memory,
            seed=seed,
            name=checkpoint.name,
            progress=report,
        )
    if out is not None:
        typer.echo(f"written to {_write_all([evaluation.record], out)}", err=True)
    _print(evaluation.record, form)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, records, figures and the report.")] = Path(
        "jacobound-demo"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train and compare two small networks; write a report."""
    import torch

    from bounds.progress import Stages
    from figures.demonstration import demonstrate

    check_folder(out)
    torch.set_num_threads(1)  # networks this small only lose time in handing work to threads
    with Stages(quiet=quiet) as report:
        shown = demonstrate(report)
    path = _write_all([record for each in shown for record in (each.evaluation, *each.verifications)], out)
    for each in shown:
        each.save(out / f"{each.name.lower()}.pt")
    print_result(f"report: {path}")


def _robust(
    norm: str, eps: float, *, plain_ball: bool, **settings: Any
) -> Callable[[TracedNetwork, Sequence[float] | None, Data, Data], RobustMargins]:
    """Measures robust margins once the network is traced and its operator norms are certified."""

    def measure(network: TracedNetwork, s_upper: Sequence[float] | None, train: Data, test: Data) -> RobustMargins:
        from verification.verdicts import robust_measurement

        box = None if plain_ball else train.box
        return robust_measurement(network, train, test, network, s_upper, norm, eps, box=box, **settings)

    return measure


def _print(record: dict[str, Any], form: str | None) -> None:
    from figures import tables

    if form is not None:
        print_result(_in_form(record, form), nl=False)
    else:
        show(tables.Terminal(record))


def show(content: RenderableType) -> None:
    """Print a table at the width of the terminal, or of a page where there is none."""
    from rich.console import Console

    fixed = None if results().isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    Console(file=results(), width=fixed).print(content)


def _in_form(record: dict[str, Any], form: str) -> str:
    """A record as text that ends in a newline."""
    from bounds import catalogue
    from bounds.records import dumps
    from figures import tables, verification_tables

    if form == "json":
        return dumps(record)
    if form == "bibtex":
        references = {entry.key: entry.reference.bibtex for entry in catalogue.entries() if entry.reference.bibtex}
        return tables.bibtex(record, references)
    written = {
        "jacobound-evaluation": {"markdown": tables.markdown, "latex": tables.latex},
        "jacobound-verification": {"markdown": verification_tables.markdown, "latex": verification_tables.latex},
    }
    return written[record["format"]][form](record)


def _write_all(records: Sequence[dict[str, Any]], out: Path) -> Path:
    """Records, tables, figures and the report; returns the report's path. All is made before anything is written."""
    from bounds.errors import InputError
    from bounds.records import write_text
    from figures.report import report
    from figures.write import write_figures

    forms = {"json": "json", "md": "markdown", "tex": "latex"}
    texts = {"report.html": report(records)}
    kinds = [record["format"].removeprefix("jacobound-") for record in records]
    for kind, record in zip(kinds, records, strict=True):
        stem = kind if kinds.count(kind) == 1 else "-".join([kind, *_names(record)])
        extra = {"bib": "bibtex"} if kind == "evaluation" else {}
        texts |= {f"{stem}.{suffix}": _in_form(record, form) for suffix, form in (forms | extra).items()}
    try:
        write_figures(records, out / "figures")
        for name, text in texts.items():
            write_text(text, out / name)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from error
    return out / "report.html"


def _names(record: dict[str, Any]) -> list[str]:
    """What tells a record from others of its kind: the model and, for a verification, the norms."""
    norms = dict.fromkeys(result["norm"] for result in record.get("results", []))
    return [record["model"]["name"].lower(), *norms]


def check_folder(out: Path) -> None:
    """Refuse, before any work, a folder that cannot be written to.

    Raises:
        InputError: naming what is in the way.

    >>> check_folder(Path("/dev/null/figures"))
    Traceback (most recent call last):
        ...
    bounds.errors.InputError: --out /dev/null/figures: /dev/null is not a folder
    """
    from bounds.errors import InputError

    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"--out {out}: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {out}: no permission to write in {nearest}")
