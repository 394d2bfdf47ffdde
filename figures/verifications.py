"""What the figures and tables of verification need of a record: results by norm, verdicts, decoded arrays, captions."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bounds.errors import InputError
from figures.numbers import count
from figures.rows import Record, norm_title, set_title, surrogate_title
from figures.style import GREY, INK, SMALL_TEXT, fold, shorten, text_width

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

VERDICTS = {"p": "proved", "u": "undecided", "r": "refuted", "f": "failed"}
"""The letters of a record's verdicts, in the order of all figures."""

BOLD_TITLE = 10.5
"""Size at which plain text is as wide as bold text of 9 points."""

NOT_CLAIMED = "not claimed to be an upper bound"


def by_norm(record: Record) -> dict[str, list[Record]]:
    """Results of a verification record by attack norm, ε increasing.

    >>> results = [{"norm": "l2", "eps": 0.2}, {"norm": "linf", "eps": 0.1}, {"norm": "l2", "eps": 0.1}]
    >>> {norm: [result["eps"] for result in found] for norm, found in by_norm({"results": results}).items()}
    {'l2': [0.1, 0.2], 'linf': [0.1]}
    """
    groups: dict[str, list[Record]] = {}
    for result in record["results"]:
        groups.setdefault(result["norm"], []).append(result)
    return {norm: sorted(results, key=lambda result: result["eps"]) for norm, results in groups.items()}


def surrogates_of(results: Iterable[Record]) -> list[str]:
    """Names of the surrogates of some results, once each, in the order of the record."""
    return list(dict.fromkeys(name for result in results for name in result["surrogates"]))


def share(result: Record, surrogate: str, verdict: str) -> float:
    """Share of the samples with a verdict on a surrogate; the shares of all four verdicts add up to one.

    >>> result = {"samples": 8, "failed": [3], "surrogates": {"spectral": {"proved": {"count": 6}}}}
    >>> share(result, "spectral", "proved"), share(result, "spectral", "failed")
    (0.75, 0.125)
    """
    if verdict == "failed":
        return float(len(result["failed"]) / result["samples"])
    return float(result["surrogates"][surrogate][verdict]["count"] / result["samples"])


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    """A stored array (little endian, deflated, base64) in float64.

    Raises:
        InputError: if it is damaged.

    >>> import numpy as np
    >>> raw = np.array([0.5, -0.25], dtype="<f2").tobytes()
    >>> unpack({"dtype": "float16", "shape": [2], "data": base64.b64encode(zlib.compress(raw)).decode()})
    array([ 0.5 , -0.25])
    """
    import numpy as np

    try:
        raw = zlib.decompress(base64.b64decode(packed["data"], validate=True))
        array = np.frombuffer(raw, dtype=np.dtype(packed["dtype"]).newbyteorder("<"))
        return array.reshape(packed["shape"]).astype(np.float64)
    except (ValueError, TypeError, zlib.error) as error:
        raise InputError(f"a stored array of the record is damaged ({error})") from error


def caption(record: Record) -> str:
    """What every number of a record rests on, in one line.

    >>> data = {"name": "mnist", "split": "test", "samples": 200}
    >>> settings = {"box": None, "effort": "standard", "steps": 40, "restarts": 2, "seed": 0}
    >>> print(caption({"data": data, "settings": settings, "results": [{"norm": "l2", "eps": 0.1}]}))
    n = 200 samples of mnist (test), ℓ2 ball, certificates: standard effort, attack: 40 steps × 2 restarts, seed 0
    """
    data, settings = record["data"], record["settings"]
    sets = set_title(", ".join(map(norm_title, by_norm(record))), settings["box"])
    attack = f"attack: {settings['steps']} steps × {settings['restarts']} restarts, seed {settings['seed']}"
    samples = f"n = {count(data['samples'])} sample{'s' * (data['samples'] != 1)} of {data['name']} ({data['split']})"
    return f"{samples}, {sets}, certificates: {settings['effort']} effort, {attack}"


def captions(records: Sequence[Record], width: float) -> list[str]:
    """The captions of several records, once each, with the models' names where they differ; folded to a width."""
    lines: dict[str, list[str]] = {}
    for record in records:
        lines.setdefault(caption(record), []).append(record["model"]["name"])
    named = [f"{', '.join(dict.fromkeys(names))}: {line}" for line, names in lines.items()]
    return [line for text in (named if len(lines) > 1 else lines) for line in fold(text, width, SMALL_TEXT)]


def model_title(record: Record, what: str, width: float) -> str:
    """The model's name, cut to what a bold title of `width` inches has room for, and what is shown of it."""
    room = width - text_width(f", {what}", BOLD_TITLE)
    return f"{shorten(record['model']['name'], room, BOLD_TITLE)}, {what}"


def panel_heading(axes: Axes, surrogate: str, *, claimed: bool) -> None:
    """Write above a panel which surrogate it shows, and whether it is claimed to be an upper bound."""
    slant = "normal" if claimed else "italic"
    subtitle = "claimed upper bound" if claimed else "no upper bound claimed"
    at_top: dict[str, Any] = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(
        surrogate_title(surrogate),
        xytext=(0, 12),
        fontsize=8,
        color=INK if claimed else GREY,
        fontstyle=slant,
        **at_top,
    )
    axes.annotate(subtitle, xytext=(0, 3), fontsize=SMALL_TEXT, color=GREY, fontstyle=slant, **at_top)
