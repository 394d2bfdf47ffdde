"""Options that say which network and data to load, shared by the commands, and the loading itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from bounds.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

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
Output = Annotated[
    str | None,
    typer.Option(
        help="Key, index or attribute of the logits in what the network returns.",
        metavar="NAME",
        show_default="'logits', or the only tensor",
    ),
]
StripHead = Annotated[
    bool, typer.Option("--strip-head", help="Leave out a softmax or sigmoid at the end: bounds need logits.")
]
InputModule = Annotated[
    str | None,
    typer.Option(help="Measure and attack what this module returns (an embedding), not the inputs.", metavar="PATH"),
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(help="A further argument of forward, the same for every sample; may be repeated.", metavar="NAME=NPY"),
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


@dataclass(frozen=True)
class Source:
    """Which network and data a command is about: the options that `evaluate` and `verify` share."""

    model: Model = None
    model_arg: ModelArguments = None
    mean: Mean = None
    std: Std = None
    index: Index = None
    weights: Weights = None
    prefix: Prefix = None
    output: Output = None
    strip_head: StripHead = False
    input_module: InputModule = None
    fixed: Fixed = None
    trust: Trust = False
    data: DataName = "digits"
    data_dir: DataFolder = None
    x_key: XKey = None
    y_key: YKey = None
    box: Box = None

    def choices(self) -> dict[str, Any]:
        """What decides which network and data these are, plain json, for loading now and for a replay.

        Raises:
            InputError: for options that do not fit together, or texts of another form.

        >>> Source(model="nets:cnn", model_arg=["width=64"]).choices()["arguments"]
        {'width': '64'}
        """
        always = {
            "model": self.model,
            "arguments": key_values("--model-arg", self.model_arg),
            "index": self.index,
            "normalisation": normalisation(self.mean, self.std),
            "data": self.data,
        }
        later = {  # in a record only where given, so that one made without them stays the same verification
            "weights": self.weights,
            "prefix": self.prefix,
            "keys": array_keys(self.x_key, self.y_key),
            "box": box_of(self.box),
            "output": self.output,
            "strip_head": self.strip_head or None,
            "input_module": self.input_module,
            "fixed": key_values("--fixed", self.fixed) or None,
        }
        return always | {key: value for key, value in later.items() if value is not None}


DEFAULT = Source()


def with_source(command: Callable[..., None]) -> Callable[..., None]:
    """Spreads the parameter `source` of a command over the options of `Source`, which typer then sees one by one."""
    hints, parameters = get_type_hints(command, include_extras=True), inspect.signature(command).parameters.values()
    options = get_type_hints(Source, include_extras=True)
    spread: list[inspect.Parameter] = []
    for parameter in parameters:
        if parameter.name != "source":
            spread.append(parameter.replace(annotation=hints[parameter.name]))
            continue
        spread += [
            inspect.Parameter(field.name, parameter.kind, default=field.default, annotation=options[field.name])
            for field in fields(Source)
        ]

    @wraps(command)
    def run(**given: Any) -> None:
        source = Source(**{name: given.pop(name) for name in options})
        command(source=source, **given)

    run.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in spread}
    return run


def load_network(path: Path, choices: Mapping[str, Any], *, trust: bool) -> nn.Module:
    """The trained network of a checkpoint, adapted and behind its normalisation as chosen; notes go to stderr.

    Args:
        path: of the checkpoint.
        choices: see `Source.choices`.
        trust: whether the file may run code.

    Raises:
        InputError: see `bounds.inputs.load_checkpoint`.
    """
    from bounds.inputs import Normalised, load_checkpoint
    from bounds.network.adapted import adapt

    of_file = {key: choices.get(key) for key in ("model", "arguments", "index", "weights", "prefix")}
    module = load_checkpoint(path, trust=trust, note=_say, **of_file)
    if choices["normalisation"] is not None:
        module = Normalised(module, *choices["normalisation"])
    reading = {key: choices[key] for key in ("output", "strip_head", "input_module") if key in choices}
    if "fixed" in choices:
        reading["fixed"] = {name: load_array(Path(file)) for name, file in choices["fixed"].items()}
    return adapt(module, **reading) if reading else module


def load_array(path: Path) -> np.ndarray:
    """The array of an .npy file.

    Raises:
        InputError: when it is missing or no such file.
    """
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"--fixed {path}: no readable .npy file ({error})") from error


def load_split(choices: Mapping[str, Any], split: str, report: Stages, *, data_dir: Path | None) -> Data:
    """One split of the chosen data set, with its download among the stages of a run.

    Raises:
        InputError: see `bounds.inputs.load_data`.
    """
    from bounds.inputs import load_data

    name = choices["data"]
    keys, box = (None if choices.get(key) is None else tuple(choices[key]) for key in ("keys", "box"))
    progress = partial(report, f"downloading {name}")
    return load_data(name, split=split, data_dir=data_dir, keys=keys, box=box, progress=progress)


def _say(note: str) -> None:
    typer.echo(f"note: {note}", err=True)


def key_values(option: str, pairs: Sequence[str] | None) -> dict[str, str]:
    """Arguments by name from texts KEY=VALUE.

    Raises:
        InputError: for a text of another form.

    >>> key_values("--model-arg", ["width=64", "activation=relu"])
    {'width': '64', 'activation': 'relu'}
    """
    for pair in pairs or ():
        if not pair.partition("=")[0].isidentifier() or "=" not in pair:
            raise InputError(f"{option} {pair}: expected key=value")
    return dict(pair.split("=", 1) for pair in pairs or ())


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
