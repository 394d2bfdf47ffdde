"""Options that say which network and data to load, shared by the commands, and the loading itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bounds.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from bounds.budget import Budget
    from bounds.inputs import Data
    from bounds.progress import Stages

Normalisation = tuple[list[float], list[float]]

Model = Annotated[str | None, typer.Option(help="module:factory that builds the network of a state dict.")]
ModelArguments = Annotated[
    list[str] | None, typer.Option(help="KEY=VALUE for the factory; may be repeated.", metavar="KEY=VALUE")
]
Mean = Annotated[str | None, typer.Option(help="Means of a normalisation that is not in the model, comma-separated.")]
Std = Annotated[str | None, typer.Option(help="Its standard deviations.")]
Index = Annotated[int | None, typer.Option(help="Which entry, for a file with a list of state dicts.")]
Weights = Annotated[
    str | None, typer.Option(help="Which entry, for a file with several state dicts, such as ema.", metavar="KEY")
]
Prefix = Annotated[
    str | None, typer.Option(help="Take only the entries of the state dict under this prefix.", metavar="TEXT")
]
Trust = Annotated[bool, typer.Option("--trust", help="Load files that can run code: pickled modules, .pt2.")]
DataName = Annotated[
    str,
    typer.Option(help="digits, mnist, fashion-mnist, cifar10, cifar100, cifar10-jpeg, FILE.npz or module:factory."),
]
DataFolder = Annotated[
    Path | None, typer.Option(help="Folder to look for the data in first.", exists=True, file_okay=False)
]
XKey = Annotated[
    str | None, typer.Option(help="Name of the inputs in an .npz file, such as images_{split}.", metavar="NAME")
]
YKey = Annotated[str | None, typer.Option(help="Name of the labels there.", metavar="NAME")]
Box = Annotated[
    str | None,
    typer.Option(
        help="Interval of valid input values, in place of one that the data have.",
        metavar="LOW,HIGH",
        show_default="that of the data",
    ),
]

Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory that a stage may take, such as 6GiB.",
        metavar="SIZE",
        show_default="a quarter of what is free",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print the seconds of each stage and the peak memory.")]


def load_network(
    path: Path,
    *,
    model: str | None,
    arguments: dict[str, str],
    trust: bool,
    index: int | None,
    weights: str | None,
    prefix: str | None,
    normalisation: Normalisation | None,
) -> nn.Module:
    """The trained network of a checkpoint, behind its normalisation if one is given; notes go to stderr.

    Raises:
        InputError: see `bounds.inputs.load_checkpoint`.
    """
    from bounds.inputs import Normalised, load_checkpoint

    module = load_checkpoint(
        path, model=model, arguments=arguments, trust=trust, index=index, weights=weights, prefix=prefix, note=_say
    )
    return module if normalisation is None else Normalised(module, *normalisation)


def load_split(
    name: str,
    split: str,
    report: Stages,
    *,
    data_dir: Path | None,
    keys: tuple[str, str] | None,
    box: tuple[float, float] | None,
) -> Data:
    """One split of a data set, with its download among the stages of a run.

    Raises:
        InputError: see `bounds.inputs.load_data`.
    """
    from bounds.inputs import load_data

    progress = partial(report, f"downloading {name}")
    return load_data(name, split=split, data_dir=data_dir, keys=keys, box=box, progress=progress)


def _say(note: str) -> None:
    typer.echo(f"note: {note}", err=True)


def key_values(pairs: Sequence[str]) -> dict[str, str]:
    """The factory's arguments from texts KEY=VALUE.

    Raises:
        InputError: for a text of another form.

    >>> key_values(["width=64", "activation=relu"])
    {'width': '64', 'activation': 'relu'}
    """
    for pair in pairs:
        if not pair.partition("=")[0].isidentifier() or "=" not in pair:
            raise InputError(f"--model-arg {pair}: expected key=value")
    return dict(pair.split("=", 1) for pair in pairs)


def normalisation(mean: str | None, std: str | None) -> Normalisation | None:
    """Means and standard deviations from comma-separated texts; None without them.

    Raises:
        InputError: for one without the other, or texts that are no numbers.

    >>> normalisation("0.5,0.4", "1,2")
    ([0.5, 0.4], [1.0, 2.0])
    """
    if (mean is None) != (std is None):
        raise InputError("--mean and --std go together")
    return None if mean is None or std is None else (numbers("--mean", mean), numbers("--std", std))


def array_keys(x_key: str | None, y_key: str | None) -> tuple[str, str] | None:
    """Names of the arrays in an .npz file; None without them.

    Raises:
        InputError: for one without the other.

    >>> array_keys("images_{split}", "labels_{split}")
    ('images_{split}', 'labels_{split}')
    """
    if (x_key is None) != (y_key is None):
        raise InputError("--x-key and --y-key go together")
    return None if x_key is None or y_key is None else (x_key, y_key)


def box_of(text: str | None) -> tuple[float, float] | None:
    """The interval LOW,HIGH; None without one.

    Raises:
        InputError: for anything else.

    >>> box_of("-1,1")
    (-1.0, 1.0)
    """
    if text is None:
        return None
    limits = numbers("--box", text)
    if len(limits) != 2:
        raise InputError(f"--box {text}: expected two numbers LOW,HIGH")
    return limits[0], limits[1]


def radii_of(text: str) -> list[float]:
    """Radii from START:STOP:COUNT (evenly spaced) or a comma-separated list; fractions are numbers too.

    Raises:
        InputError: for anything else.

    >>> radii_of("0:1/2:3"), radii_of("0.3,1/8")
    ([0.0, 0.25, 0.5], [0.3, 0.125])
    """
    if ":" not in text:
        return numbers("--eps", text)
    try:
        start, stop, count = text.split(":")
        first, last, amount = number(start), number(stop), int(count)
    except ValueError:
        raise InputError(f"--eps {text}: expected START:STOP:COUNT") from None
    if amount < 2 or not first < last:
        raise InputError(f"--eps {text}: STOP must lie above START, and COUNT must be at least 2")
    return [first + (last - first) * i / (amount - 1) for i in range(amount - 1)] + [last]


def radius_of(text: str | None) -> float | None:
    """The only one of the radii in a text; None without a text.

    Raises:
        InputError: for several, or anything else.

    >>> radius_of("8/255") == 8 / 255
    True
    """
    if text is None:
        return None
    radii = radii_of(text)
    if len(radii) > 1:
        raise InputError(f"--eps {text}: evaluate takes one radius, not {len(radii)} (verify takes several)")
    return radii[0]


def numbers(option: str, text: str) -> list[float]:
    """Comma-separated numbers, decimal or as fractions.

    Raises:
        InputError: for anything else.

    >>> numbers("--eps", "0.1,1/4")
    [0.1, 0.25]
    """
    try:
        return [number(each) for each in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: expected numbers, such as 0.1 or 8/255, separated by commas") from None


def number(text: str) -> float:
    """A decimal number or a fraction.

    Raises:
        ValueError: for anything else.

    >>> number("8/255") == 8 / 255, number("-inf")
    (True, -inf)
    """
    numerator, slash, denominator = text.partition("/")
    if not slash:
        return float(numerator)
    if float(denominator) == 0:
        raise ValueError(f"{text}: a fraction over zero")
    return float(numerator) / float(denominator)


def budget_of(memory: str | None) -> Budget | None:
    """The budget that a text names; None without one.

    Raises:
        InputError: for a text that is no size.

    >>> budget_of("2GiB"), budget_of(None)
    (Budget(memory=2147483648), None)
    """
    from bounds.budget import Budget

    return None if memory is None else Budget.parse(memory)
