"""`jacobound evaluate` and `jacobound demo`. Heavy imports wait until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from bounds.inputs import Data
    from bounds.network import TracedNetwork
    from bounds.robust_margins import RobustMargins

NORMS = "l1, l2 or linf"


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="State dict (.pt, .pth, .safetensors), training dictionary, own checkpoint."),
    ],
    model: Annotated[str | None, typer.Option(help="module:factory that builds the network.")] = None,
    model_arg: Annotated[
        list[str] | None, typer.Option(help="key=value for the factory; may be repeated.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="digits, mnist, fashion-mnist, cifar10, cifar100, FILE.npz, module:factory.")
    ] = "digits",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data files are.")] = None,
    eps: Annotated[
        float | None, typer.Option(help="Attack radius, input units; standard bounds only without.")
    ] = None,
    norm: Annotated[str, typer.Option(help=f"Attack norm: {NORMS}.")] = "l2",
    plain_ball: Annotated[
        bool, typer.Option("--plain-ball", help="Attack the whole ball, not ball ∩ box.")
    ] = False,
    init: Annotated[
        Path | None, typer.Option(help="Checkpoint of the initialisation: reference M_i; zero without.")
    ] = None,
    margin: Annotated[float, typer.Option(help="γ of the fixed-class values, logits.")] = 1.0,
    delta: Annotated[float, typer.Option(help="Failure probability of each row.")] = 0.05,
    bound: Annotated[
        list[str] | None, typer.Option(help="Evaluate only this bound; may be repeated.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Normalisation not in the model: means, comma-separated.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Normalisation not in the model: deviations.")] = None,
    index: Annotated[int | None, typer.Option(help="Entry of a list of state dicts.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load files that run code (pickled modules, .pt2).")
    ] = False,
    jacobian_samples: Annotated[int, typer.Option(help="Samples that Jacobians are measured on.")] = 1000,
    attack_samples: Annotated[int, typer.Option(help="Samples that are attacked.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of subsets, attacks and Lanczos starts.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write record, tables, report and figures there.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table.")] = False,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Print the references.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """From a checkpoint to a table of generalization bounds, raw and guaranteed, fixed-class and a posteriori."""
    from bounds import evaluate as evaluate_network
    from bounds.evaluation import check_settings
    from bounds.inputs import load_data
    from bounds.progress import Stages

    check_settings(delta=delta, margin=margin, eps=eps, norm=norm, keys=bound)
    _check_counts(jacobian_samples=jacobian_samples, attack_samples=attack_samples)
    arguments = _key_values(model_arg or [])

    def loaded(path: Path) -> nn.Module:
        return _load(path, model, arguments, trust, index, mean, std)

    network = loaded(checkpoint)
    reference = None if init is None else loaded(init)
    train, test = (load_data(data, split=split, data_dir=data_dir) for split in ("train", "test"))
    with Stages(quiet=quiet) as report:
        evaluation = evaluate_network(
            network,
            train,
            test,
            init=reference,
            eps=eps,
            norm=norm,
            robust=None if eps is None else _robust(train, test, norm, eps, plain_ball, attack_samples, seed),
            margin=margin,
            delta=delta,
            keys=bound,
            jacobian_samples=jacobian_samples,
            seed=seed,
            name=checkpoint.name,
            progress=report,
        )
    if out is not None:
        typer.echo(f"written to {_write_all([evaluation.record], out)}", err=True)
    _print(evaluation.record, json=json, markdown=markdown, latex=latex, bibtex=bibtex)


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for checkpoints, records, figures and the report.")
    ] = Path("jacobound-demo"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Train two small networks on the 8×8 digits, evaluate every bound, compare robust loss with surrogates, report."""
    from bounds.progress import Stages
    from figures.demonstration import demonstrate

    with Stages(quiet=quiet) as report:
        records = demonstrate(out, report)
    typer.echo(f"report: {_write_all(records, out)}")


def _load(
    path: Path,
    model: str | None,
    arguments: dict[str, str],
    trust: bool,
    index: int | None,
    mean: str | None,
    std: str | None,
) -> nn.Module:
    from bounds.errors import InputError
    from bounds.inputs import Normalised, load_checkpoint

    module = load_checkpoint(path, model=model, arguments=arguments, trust=trust, index=index)
    if (mean is None) != (std is None):
        raise InputError("--mean and --std go together")
    if mean is None or std is None:
        return module
    return Normalised(module, _numbers("--mean", mean), _numbers("--std", std))


def _robust(
    train: Data, test: Data, norm: str, eps: float, plain_ball: bool, samples: int, seed: int
) -> Callable[[TracedNetwork, Sequence[float]], RobustMargins]:
    """Measures robust margins once the network is traced and its operator norms are certified."""

    def measure(network: TracedNetwork, s_upper: Sequence[float]) -> RobustMargins:
        from verification.verdicts import robust_measurement

        box = None if plain_ball else train.box
        return robust_measurement(
            network, train, test, network, s_upper, norm, eps, attack_samples=samples, box=box, seed=seed
        )

    return measure


def _print(record: dict[str, Any], *, json: bool, markdown: bool, latex: bool, bibtex: bool) -> None:
    from bounds.records import dumps
    from figures import tables

    if json:
        typer.echo(dumps(record), nl=False)
    if markdown:
        typer.echo(tables.markdown(record))
    if latex:
        typer.echo(tables.latex(record))
    if bibtex:
        typer.echo(tables.bibtex(record, _references()), nl=False)
    if not (json or markdown or latex or bibtex):
        from rich.console import Console

        Console().print(tables.Terminal(record))


def _write_all(records: Sequence[dict[str, Any]], out: Path) -> Path:
    """Records, tables, figures and the report; returns the report's path."""
    from bounds import records as files
    from figures import tables
    from figures.report import write_report
    from figures.write import write_figures

    for number, record in enumerate(records):
        kind = record["format"].removeprefix("jacobound-")
        stem = kind if len(records) == 1 else f"{kind}-{number + 1}"
        files.write(record, out / f"{stem}.json")
        if kind == "evaluation":
            files.write_text(tables.markdown(record), out / f"{stem}.md")
            files.write_text(tables.latex(record), out / f"{stem}.tex")
            files.write_text(tables.bibtex(record, _references()), out / f"{stem}.bib")
    write_figures(records, out / "figures")
    return write_report(records, out / "report.html")


def _references() -> dict[str, str]:
    from bounds import catalogue

    return {entry.key: entry.reference.bibtex for entry in catalogue.entries() if entry.reference.bibtex}


def _key_values(pairs: Sequence[str]) -> dict[str, str]:
    from bounds.errors import InputError

    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"--model-arg {pair}: expected key=value")
    return dict(pair.split("=", 1) for pair in pairs)


def _numbers(option: str, text: str) -> list[float]:
    from bounds.errors import InputError

    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: expected numbers separated by commas") from None


def _check_counts(**counts: int) -> None:
    from bounds.errors import InputError

    for name, count in counts.items():
        if count < 1:
            raise InputError(f"--{name.replace('_', '-')} {count}: must be at least 1")
