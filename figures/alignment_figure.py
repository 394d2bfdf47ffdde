"""Where the linear picture of an attack ends: alignment with J(x) and deviation from linearity against the radius."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.chart_axes import axis_of
from figures.rows import Record, norm_title, set_title
from figures.style import FAINT, GREY, INK, PALETTE, TEXT_SIZE, shorten, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, TALL, LEFT, BELOW, ABOVE = 2.55, 1.9, 0.6, 0.5, 0.45  # inches
TICKS = 5  # of an axis with a place for 0
COLOURS = {"cross-entropy": PALETTE[1], "distance": PALETTE[0]}
NAMES = {"cross-entropy": "attack on the cross-entropy", "distance": "attack on the logit distance"}
DASHED, DOTTED = (0, (4, 2)), (0, (1, 1.5))


def alignment_figure(records: Sequence[Record]) -> Figure:
    """One line of panels per alignment record, medians over the samples against ε (bands: quartiles).

    Left: |cosine| of the attack with the top right singular vector of J(x), with the direction that attains the
    operator norm, and with the span of all right singular vectors. Right: how far the logits move from where J(x)
    sends them, and how much farther or less far than ε‖J‖. Marked: the linear pieces' radii r(x), from the 10 % to the
    90 % quantile; left of them everything must be as theory L3.4 and L3.5 say.

    Args:
        records: one or more alignment records.

    Returns:
        A matplotlib figure that no global state knows of.

    Example:
        >>> half = [0.4, 0.5, 0.6]
        >>> attacks = {"distance": {"cosine": half, "operator_cosine": half, "energy": [half], "gap": half,
        ...                         "deviation": half}}
        >>> record = {"model": "mlp", "norm": "l2", "r": "2", "box": None, "dimension": 4, "radius": None,
        ...           "results": [{"eps": 0.1, "attacks": attacks}]}
        >>> len(alignment_figure([record]).axes)
        2
    """
    with style():
        from matplotlib.figure import Figure

        wide, tall = LEFT + WIDE + 0.2, ABOVE + TALL + BELOW
        width, height = 2 * wide, len(records) * tall
        figure = Figure(figsize=(width, height))
        for line, record in enumerate(records):
            bottom = height - line * tall - ABOVE - TALL
            left, right = (
                figure.add_axes(((column * wide + LEFT) / width, bottom / height, WIDE / width, TALL / height))
                for column in (0, 1)
            )
            title = f"{record['model']}, {set_title(record['norm'], record['box'])}"
            left.set_title(shorten(title, wide - LEFT, 9.5), fontsize=8, pad=14)
            _alignment(left, record)
            _deviation(right, record)
        _legend(figure)
        return figure


def _alignment(axes: Axes, record: Record) -> None:
    axes.set_ylabel("|cosine| of the attack")
    axes.set_ylim(-0.03, 1.05)
    for loss, colour in COLOURS.items():
        _line(axes, record, loss, lambda found: found["cosine"], colour, band=True)
        if (record["norm"], record["r"]) != ("l2", "2"):  # there the two directions are one
            _line(axes, record, loss, lambda found: found["operator_cosine"], colour, linestyle=DASHED)
        _line(axes, record, loss, _with_row_space, colour, linestyle=DOTTED)
    axes.axhline(1 / math.sqrt(record["dimension"]), color=FAINT, linewidth=0.9, zorder=1)
    _radii(axes, record)


def _deviation(axes: Axes, record: Record) -> None:
    axes.set_ylabel(f"deviation / ε‖J‖ ({norm_title(record['norm'])} → {norm_title('l' + record['r'])})")
    axes.axhline(0, color=FAINT, linewidth=0.9, zorder=1)
    for loss, colour in COLOURS.items():
        _line(axes, record, loss, lambda found: found["deviation"], colour, band=True)
    _line(axes, record, "distance", lambda found: found["gap"], COLOURS["distance"], linestyle=DASHED)
    _radii(axes, record)


def _with_row_space(found: Record) -> list[float] | None:
    energy = found["energy"][-1]
    return None if energy is None else [math.sqrt(share) for share in energy]


def _line(
    axes: Axes, record: Record, loss: str, quartiles: Any, colour: str, *, linestyle: Any = "-", band: bool = False
) -> None:
    """Medians against ε where there are any, and a band between the quartiles."""
    measured = [
        (result["eps"], quartiles(result["attacks"][loss])) for result in record["results"] if loss in result["attacks"]
    ]
    points = [(eps, *values) for eps, values in measured if values is not None]
    if not points:
        return
    radii, low, median, high = zip(*points, strict=True)
    axes.plot(radii, median, color=colour, linestyle=linestyle, marker="o" if band else None, markersize=2.5)
    if band:
        axes.fill_between(radii, low, high, color=colour, alpha=0.15, linewidth=0)


def _radii(axes: Axes, record: Record) -> None:
    """Logarithmic ε axis, with a place for 0 where it is needed, and the quantiles of r(x) marked."""
    radii = [result["eps"] for result in record["results"]]
    if all(eps > 0 for eps in radii):
        axes.set_xscale("log")
    else:
        axis_of("symlog", radii).apply_with_ticks(axes, "x", TICKS)
    axes.set_xlabel(f"ε in input units ({norm_title(record['norm'])})")
    axes.grid(axis="y")
    if record["radius"] is None:
        return
    low, median, high = (record["radius"]["quantiles"][share] for share in ("0.1", "0.5", "0.9"))
    if low and high:
        axes.axvspan(low, high, color=GREY, alpha=0.18, linewidth=0, zorder=0)
    if median:
        axes.axvline(median, color=GREY, linewidth=0.9, zorder=1)
        axes.annotate(
            "r(x)", (median, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, 2), textcoords="offset points",
            ha="center", va="bottom", fontsize=TEXT_SIZE, color=GREY,
        )  # fmt: skip


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], color=colour, label=NAMES[loss]) for loss, colour in COLOURS.items()]
    handles += [
        Line2D([], [], color=INK, label="left: top right singular vector; right: ‖Δf − Jδ‖"),
        Line2D([], [], color=INK, linestyle=DASHED, label="left: direction of ‖J‖; right: ‖Δf‖ − ε‖J‖"),
        Line2D([], [], color=INK, linestyle=DOTTED, label="left: span of all right singular vectors"),
        Line2D([], [], color=FAINT, label="left: a random direction"),
        Patch(color=GREY, alpha=0.18, label="r(x): 10 % to 90 % of the samples, line: median"),
    ]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 0), ncols=2)
