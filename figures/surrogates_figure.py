"""Robust loss, bracketed, and its surrogates against the radius of the attack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.chart_axes import axis_of, scale_for
from figures.rows import Record, norm_title, set_title, surrogate_title
from figures.style import (
    CAPTION_LINE,
    GREY,
    INK,
    MARKERS,
    PALETTE,
    TEXT_SIZE,
    VERDICT_COLOURS,
    layout_size,
    spread,
    style,
    text_width,
    write_lines,
)
from figures.verifications import NOT_CLAIMED, by_norm, captions, model_title, surrogates_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, TALL, BELOW, ABOVE, LEFT = 2.3, 2.1, 0.55, 0.3, 0.55  # inches
LOG_FROM, TICKS = 30.0, 6
DASHES = (0, (3, 2))
REFUTED = VERDICT_COLOURS["refuted"]
ATTACK, CERTIFIED = "robust loss ≥ A (attack)", "robust loss ≤ U (certified)"

Row = dict[str, Record]  # the records of one model, by norm
End = tuple[float, float, str, str]  # of a line: where it ends, its name and colour


def surrogates_figure(verifications: Sequence[Record]) -> Figure:
    """Mean losses in nats against ε: the bracket [A, U] of the robust loss, the clean loss and every surrogate.

    One line of panels per model (one column, where there are more norms than models, and all in one column where a
    venue is narrow), one panel per attack norm. All panels share the loss axis, so models can be compared. U is drawn
    where it is finite on every sample. A cross marks a surrogate that an attack exceeded on at least one sample; a
    dashed line is a surrogate that is not claimed to be an upper bound.

    Args:
        verifications: one or more verification records with results.

    Returns:
        A matplotlib figure that no global state knows of.

    Example:
        >>> result = {"norm": "l2", "eps": 0.1, "clean_loss": 0.2, "attack_loss": 0.3, "upper_loss": None,
        ...           "surrogates": {"spectral": {"mean": 0.5, "refuted": {"count": 0}, "claimed": True}}}
        >>> settings = {"box": None, "effort": "quick", "steps": 40, "restarts": 2, "seed": 0}
        >>> record = {"model": {"name": "mlp"}, "data": {"name": "digits", "split": "test", "samples": 4},
        ...           "settings": settings, "results": [result]}
        >>> len(surrogates_figure([record]).axes)
        1
    """
    with style():
        from matplotlib.figure import Figure

        results = [result for record in verifications for result in record["results"]]
        norms = list(dict.fromkeys(result["norm"] for result in results))
        names = surrogates_of(results)
        rows = _rows(verifications)
        labels = [ATTACK, CERTIFIED, *map(surrogate_title, names)]
        wide, tall = LEFT + WIDE + max(map(text_width, labels)) + 0.45, ABOVE + TALL + BELOW
        turned = len(norms) > max(2, len(rows))  # three norms of one model stand below each other
        columns, lines = (len(rows), len(norms)) if turned else (len(norms), len(rows))
        if columns * wide > layout_size()[0]:
            columns, lines = 1, columns * lines
        width = columns * wide
        notes = captions(verifications, width)
        height = lines * tall + 0.2 + CAPTION_LINE * len(notes)
        figure = Figure(figsize=(width, height))
        for number, row in enumerate(rows):
            for norm in row:
                across, down = (number, norms.index(norm)) if turned else (norms.index(norm), number)
                column, line = (0, number * len(norms) + norms.index(norm)) if columns == 1 else (across, down)
                left, bottom = column * wide + LEFT, height - line * tall - ABOVE - TALL
                axes = figure.add_axes((left / width, bottom / height, WIDE / width, TALL / height))
                title = set_title(norm, row[norm]["settings"]["box"])
                axes.set_title(model_title(row[norm], title, wide - LEFT), fontsize=8)
                _scale(axes, [loss for result in results for loss in _means(result)])
                _panel(axes, norm, by_norm(row[norm])[norm], names)
        _legend(figure, CAPTION_LINE * len(notes) / height)
        write_lines(figure, notes)
        return figure


def _rows(verifications: Sequence[Record]) -> list[Row]:
    """Records of the same model share a row of panels as long as their norms differ."""
    rows: list[tuple[str, Row]] = []
    for record in verifications:
        name = record["model"]["name"]
        for norm in by_norm(record):
            free = next((row for model, row in rows if model == name and norm not in row), None)
            if free is None:
                rows.append((name, free := {}))
            free[norm] = record
    return [row for _, row in rows]


def _means(result: Record) -> list[float]:
    """All means that a result has; there is none where every sample failed, and no U where it is not finite."""
    means = [result["clean_loss"], result["attack_loss"], result["upper_loss"]]
    means += [surrogate["mean"] for surrogate in result["surrogates"].values()]
    return [mean for mean in means if mean is not None]


def _scale(axes: Axes, losses: Sequence[float]) -> None:
    """Same loss axis for every panel; logarithmic when the losses above 0 span a factor of 30."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = min(losses, default=0.0), max(losses, default=1.0)
    scale = scale_for(losses, LOG_FROM)
    if scale == "symlog":
        axis_of(scale, losses).apply_with_ticks(axes, "y", TICKS)
    elif scale == "log":
        axes.set_yscale("log")
        axes.set_ylim(low / 1.25, high * 1.25)
        steps = (1.0, 2.0, 5.0) if high < 1e3 * low else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
    else:
        axes.set_ylim(0.0, high * 1.08 or 1.0)


def _panel(axes: Axes, norm: str, results: Sequence[Record], names: Sequence[str]) -> None:
    axes.set_xlabel(f"ε in input units ({norm_title(norm)})")
    axes.set_ylabel("mean loss (nats)")
    axes.grid(axis="y")
    radii = [result["eps"] for result in results]
    axes.set_xlim(0, max(radii) * 1.04 or 1.0)
    ends = [end for k, name in enumerate(names) for end in _surrogate(axes, results, name, k)]
    ends += _bracket(axes, results)
    clean = [(0.0, results[0]["clean_loss"]), *((result["eps"], result["clean_loss"]) for result in results)]
    ends += _line(axes, clean, "clean loss", GREY, linestyle=":")
    if not ends:
        axes.text(0.5, 0.5, "every sample failed", transform=axes.transAxes, ha="center", color=GREY)
    _label_ends(axes, ends)


def _bracket(axes: Axes, results: Sequence[Record]) -> list[End]:
    """Draw A and U and, where both are known, the band between them."""
    attack = [(result["eps"], result["attack_loss"]) for result in results]
    upper = [(result["eps"], result["upper_loss"]) for result in results]
    low, high = ([math.nan if y is None else y for _, y in points] for points in (attack, upper))
    axes.fill_between([eps for eps, _ in attack], low, high, color=INK, alpha=0.1, linewidth=0, zorder=1)
    ends = _line(axes, attack, ATTACK, INK, linewidth=2.2, marker="^", markersize=5, zorder=4)
    return ends + _line(axes, upper, CERTIFIED, INK, linewidth=1.0, marker="v", markersize=5, zorder=4)


def _surrogate(axes: Axes, results: Sequence[Record], name: str, number: int) -> list[End]:
    """Draw one surrogate where it was measured."""
    points = [(result["eps"], result["surrogates"][name]) for result in results if name in result["surrogates"]]
    if not points:
        return []
    claimed = points[0][1]["claimed"]
    refuted = [(eps, s["mean"]) for eps, s in points if s["refuted"]["count"]]
    axes.plot([x for x, _ in refuted], [y for _, y in refuted], "x", color=REFUTED, markersize=7, zorder=5)
    return _line(
        axes, [(eps, s["mean"]) for eps, s in points], surrogate_title(name), PALETTE[number % len(PALETTE)],
        marker=MARKERS[number % len(MARKERS)], linestyle="-" if claimed else DASHES, markersize=4,
    )  # fmt: skip


def _line(axes: Axes, points: Sequence[tuple[float, float | None]], label: str, colour: str, **look: Any) -> list[End]:
    """Draw a line with gaps where there is no value; its right end, or none if there is no value at all."""
    axes.plot([x for x, _ in points], [math.nan if y is None else y for _, y in points], color=colour, **look)
    known = [(x, y) for x, y in points if y is not None]
    return [(*known[-1], label, colour)] if known else []


def _label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Name each line at its right end; labels move apart where lines end close to each other."""
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((x, y))[1]) for x, y, *_ in ends]
    placed = spread(heights, 0.135 / TALL, 0.0, 1.05)
    for (x, y, label, colour), at in zip(ends, placed, strict=True):
        axes.annotate(
            label, (x, y), xycoords="data", xytext=(1.09, at), textcoords=axes.transAxes, va="center",
            fontsize=TEXT_SIZE, color=INK, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.9, "shrinkA": 1, "shrinkB": 3,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def _legend(figure: Figure, bottom: float) -> None:
    from matplotlib.lines import Line2D

    cross: dict[str, Any] = {"linestyle": "none", "marker": "x", "color": REFUTED, "markersize": 7}
    handles = [
        Line2D([], [], label="refuted on at least one sample", **cross),
        Line2D([], [], linestyle=DASHES, color=GREY, label=NOT_CLAIMED),
    ]
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, bottom), ncols=2, borderaxespad=0.3)
