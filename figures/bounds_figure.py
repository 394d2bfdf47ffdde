"""Every bound of a record against the gap that was measured, on a logarithmic scale."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures.numbers import exponent
from figures.rows import Record, reading_order, row_key, target_title, titles_once
from figures.style import (
    A_POSTERIORI,
    FAINT,
    FIXED_CLASS,
    GREY,
    INK,
    SMALL_TEXT,
    TEXT_SIZE,
    fold,
    label_widths,
    layout_size,
    row_labels,
    shorten,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, ROW, GUTTER, BELOW, ABOVE = 2.7, 0.19, 0.25, 0.52, 0.35  # inches
NARROWEST = 1.2  # inches of a panel
AXIS, AXIS_SIZE = "bound before capping, and measured gap", 8.0  # label of the axes, points
DASHES = (0, (4, 2))
RULE: dict[str, Any] = {"color": FAINT, "linewidth": 0.5, "zorder": 0}
BLANK = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}

Line = Record | str | None  # a row, the heading of a group, or an empty line


def bounds_figure(evaluations: Sequence[Record]) -> Figure:
    """Dots for the raw fixed-class and a-posteriori value of every bound; a bar for the measured gap.

    One panel per evaluation record, one line per bound and variant, grouped by what is bounded. The axis is
    log10 of the value, so 10^100000 is a number like any other; values far beyond the rest are drawn as an
    arrow at the edge with their exponent next to it. Bounds that do not apply keep their line and say why.

    Args:
        evaluations: one or more evaluation records.

    Returns:
        A matplotlib figure that no global state knows of.

    Example:
        >>> value = {"raw_log10": 3.0, "guaranteed": 1.0, "vacuous": True, "margin": 1.0}
        >>> row = {"bound": "b", "variant": "v", "title": "B", "target": "risk", "status": "value",
        ...        "fixed_class": value, "a_posteriori": None, "gap": {"measured": 0.1}}
        >>> len(bounds_figure([{"model": {"name": "mlp"}, "rows": [row]}]).axes)
        1
    """
    with style():
        from matplotlib.figure import Figure

        lines = _lines(reading_order(evaluations))
        labels = _labels(lines)
        room = (layout_size()[0] - sum(label_widths(labels)) - GUTTER) / len(evaluations) - GUTTER
        panel = min(PANEL, max(NARROWEST, room))
        axis = fold(AXIS, panel, AXIS_SIZE)
        below = BELOW + 0.22 * (len(axis) - 1)
        height = ROW * len(lines) + below + ABOVE
        width = len(evaluations) * (panel + GUTTER)
        figure = Figure(figsize=(width, height))
        limits = axis_limits(evaluations)
        for number, evaluation in enumerate(evaluations):
            axes = figure.add_axes(
                (number * (panel + GUTTER) / width, below / height, panel / width, ROW * len(lines) / height)
            )
            _panel(axes, panel, evaluation, lines, limits)
            axes.set_xlabel("\n".join(axis))
        _name_lines(figure.axes[0], panel, lines, labels)
        _legend(figure)
        return figure


def axis_limits(evaluations: Sequence[Record]) -> tuple[float, float]:
    """Ends of the log10 axis: the values, except any more than three times further out than the median.

    >>> rows = [{"gap": {"measured": None}, "fixed_class": {"raw_log10": v}, "a_posteriori": None}
    ...         for v in (-1.0, 4.0, 5.0, 90000.0)]
    >>> axis_limits([{"rows": rows}])
    (-1.5, 15.0)
    """
    values, gaps = [], []
    for evaluation in evaluations:
        for row in evaluation["rows"]:
            values += [value for value in _raw(row) if value is not None]
            measured = row["gap"]["measured"]
            gaps += [math.log10(measured)] if measured is not None and measured > 0 else []
    outer = [value for value in values if value > 0]
    reach = max(10.0, 3 * statistics.median_low(outer)) if outer else 1.0
    low = min([value for value in values + gaps if value >= -12], default=-1.0)
    high = max([value for value in values if value <= reach], default=reach)
    if any(value > reach for value in values):
        high = max(high, reach)
    span = max(high, 1.0) - min(low, -1.0)
    return min(low, -1.0) - min(0.5, 0.06 * span), max(high, 1.0) + (0.06 * span if high < reach else 0.0)


def _raw(row: Record) -> list[float | None]:
    return [row[kind]["raw_log10"] if row[kind] else None for kind in ("fixed_class", "a_posteriori")]


def _lines(rows: Iterable[Record]) -> list[Line]:
    """Lines of the figure from top to bottom: a heading for each target, its rows, empty lines between."""
    lines: list[Line] = []
    target = None
    for row in rows:
        if row["target"] != target:
            target = row["target"]
            lines += [None, target] if lines else [target]
        lines.append(row)
    return lines


def _labels(lines: Sequence[Line]) -> list[list[str]]:
    """Titles and variants beside the lines."""
    return [titles_once(lines), [line["variant"] if isinstance(line, Mapping) else "" for line in lines]]


def _panel(axes: Axes, wide: float, evaluation: Record, lines: Sequence[Line], limits: tuple[float, float]) -> None:
    from matplotlib.ticker import MaxNLocator

    rows = {row_key(row): row for row in evaluation["rows"]}
    axes.set_xlim(*limits)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(2, round(2.2 * wide)), integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"$10^{{{value:.0f}}}$")
    axes.set_title(shorten(evaluation["model"]["name"], wide, 10.5), pad=6)
    risks = [y for y, line in enumerate(lines) if isinstance(line, Mapping) and line["target"].endswith("risk")]
    if risks:
        axes.plot([0, 0], [-0.6, max(risks) + 0.5], color=GREY, linewidth=0.8, linestyle=DASHES, zorder=1)
    for y, line in enumerate(lines):
        if isinstance(line, str):
            axes.axhline(y + 0.5, **RULE)
        elif line is not None:
            row = rows.get(row_key(line))
            if row is not None and row["status"] == "value":
                _marks(axes, y, row, limits)
            else:
                _say_why_not(axes, wide, y, row)


def _say_why_not(axes: Axes, wide: float, y: int, row: Record | None) -> None:
    reasons = row["reasons"] if row else []
    because = f"not applicable: {reasons[0]['because']}" if reasons else "not evaluated"
    text = shorten(because, wide - 0.1, SMALL_TEXT)
    at_left = axes.get_yaxis_transform()
    axes.text(0.01, y, text, transform=at_left, va="center", fontsize=SMALL_TEXT, color=GREY, bbox=BLANK)


def _marks(axes: Axes, y: int, row: Record, limits: tuple[float, float]) -> None:
    low, high = limits
    fixed, posterior = _raw(row)
    inside = [min(max(value, low), high) for value in (fixed, posterior) if value is not None]
    if inside:
        axes.plot([min(inside), max(inside)], [y, y], color=FAINT, linewidth=1.0, zorder=2)
    for value, marker, colour in ((posterior, "D", A_POSTERIORI), (fixed, "o", FIXED_CLASS)):
        if value is None:
            continue
        beyond = value > high or value < low
        shape = (">" if value > high else "<") if beyond else marker
        face = "white" if marker == "D" and not beyond else colour
        x = min(max(value, low), high)
        axes.plot(x, y, shape, color=colour, markerfacecolor=face, zorder=3, clip_on=False)
    far = [value for value in (fixed, posterior) if value is not None and value > high]
    if far:
        text = ", ".join(f"$10^{{{exponent(value)}}}$" for value in dict.fromkeys(far))
        axes.annotate(
            text, (high, y), xytext=(-6, 0), textcoords="offset points", ha="right", va="center",
            fontsize=TEXT_SIZE, bbox=BLANK, zorder=5,
        )  # fmt: skip
    measured = row["gap"]["measured"]
    if measured is not None and measured > 0:
        axes.plot(max(math.log10(measured), low), y, "|", color=INK, markersize=7, markeredgewidth=1.6, zorder=4)
    elif measured is not None:
        axes.plot(low, y, "<", color=INK, markerfacecolor="white", markersize=4.2, zorder=4, clip_on=False)


def _name_lines(axes: Axes, wide: float, lines: Sequence[Line], labels: Sequence[Sequence[str]]) -> None:
    width = row_labels(axes, labels)
    for y, line in enumerate(lines):
        if isinstance(line, str):
            across = axes.get_yaxis_transform()
            axes.text(
                -width / wide, y, target_title(line), transform=across, va="center",
                fontweight="bold", fontsize=TEXT_SIZE, color=INK,
            )  # fmt: skip
            axes.plot([-width / wide, 0], [y + 0.5, y + 0.5], transform=across, clip_on=False, **RULE)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    def mark(marker: str, colour: str, face: str, label: str) -> Line2D:
        look: dict[str, Any] = {"color": colour, "markerfacecolor": face}
        look["markersize"] = 7 if marker == "|" else None
        return Line2D([], [], linestyle="none", marker=marker, label=label, **look)

    handles = [
        mark("o", FIXED_CLASS, FIXED_CLASS, "fixed class"),
        mark("D", A_POSTERIORI, "white", "a-posteriori"),
        mark("|", INK, INK, "measured gap"),
        mark("<", INK, "white", "measured gap ≤ 0"),
        Line2D([], [], color=GREY, linewidth=0.8, linestyle=DASHES, label="1, the trivial bound of a risk"),
    ]
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(1, 0.02), ncols=5, columnspacing=1.2)
