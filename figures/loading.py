"""Options that say which network and data to load, shared by the commands, and the loading itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bounds.errors import InputError

if TYPE_CHECKING:
    from torch import nn

Normalisation = tuple[list[float], list[float]]

Model = Annotated[str | None, typer.Option(help="module:factory that builds the network of a state dict.")]
ModelArguments = Annotated[
    list[str] | None, typer.Option(help="KEY=VALUE for the factory; may be repeated.", metavar="KEY=VALUE")
]
Mean = Annotated[str | None, typer.Option(help="Means of a normalisation that is not in the model, comma-separated.")]
Std = Annotated[str | None, typer.Option(help="Its standard deviations.")]
Index = Annotated[int | None, typer.Option(help="Which entry, for a file with a list of state dicts.")]
Trust = Annotated[bool, typer.Option("--trust", help="Load files that can run code: pickled modules, .pt2.")]
DataName = Annotated[
    str,
    typer.Option(help="digits, mnist, fashion-mnist, cifar10, cifar100, cifar10-jpeg, FILE.npz or module:factory."),
]
DataFolder = Annotated[
    Path | None, typer.Option(help="Folder to look for the data in first.", exists=True, file_okay=False)
]


def load_network(
    path: Path,
    *,
    model: str | None,
    arguments: dict[str, str],
    trust: bool,
    index: int | None,
    normalisation: Normalisation | None,
) -> nn.Module:
    """The trained network of a checkpoint, behind its normalisation if one is given.

    Raises:
        InputError: see `bounds.inputs.load_checkpoint`.
    """
    from bounds.inputs import Normalised, load_checkpoint

    module = load_checkpoint(path, model=model, arguments=arguments, trust=trust, index=index)
    return module if normalisation is None else Normalised(module, *normalisation)


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


def numbers(option: str, text: str) -> list[float]:
    """Comma-separated numbers.

    Raises:
        InputError: for anything else.

    >>> numbers("--eps", "0.1,0.2")
    [0.1, 0.2]
    """
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: expected numbers separated by commas") from None
