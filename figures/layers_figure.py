"""Which layers a bound owes its size to: the share of each layer, one stacked bar per bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from figures.numbers import percent
from figures.rows import Record, titles_once
from figures.style import TEXT_SIZE, layer_colours, row_labels, shorten, style, text_colour, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW, TITLE, LEGEND = 3.6, 0.22, 0.22, 0.17  # inches
NAMED_LAYERS = 8


def layers_figure(evaluations: Sequence[Record]) -> Figure:
    """One block per evaluation record; each bar is a bound, its segments are the layers from input to output.

    Shares are those of the raw fixed-class value. Bounds without a per-layer form are left out.

    Args:
        evaluations: one or more evaluation records.

    Returns:
        A matplotlib figure that no global state knows of.

    Example:
        >>> row = {"bound": "b", "variant": "published", "title": "B", "shares": [0.25, 0.75]}
        >>> figure = layers_figure([{"model": {"name": "mlp", "layers": ["fc1", "fc2"]}, "rows": [row]}])
        >>> len(figure.axes[0].patches)
        2
    """
    with style():
        from matplotlib.figure import Figure

        blocks = [(evaluation, _bars(evaluation)) for evaluation in evaluations]
        above = [TITLE + _legend_height(evaluation["model"]["layers"]) for evaluation in evaluations]
        height = sum(above) + sum(ROW * max(1, len(bars)) for _, bars in blocks)
        figure = Figure(figsize=(WIDTH, height))
        top = height
        for (evaluation, bars), legend in zip(blocks, above, strict=True):
            tall = ROW * max(1, len(bars))
            top -= legend
            axes = figure.add_axes((0, (top - tall) / height, 1, tall / height))
            _block(axes, evaluation, bars)
            top -= tall
        return figure


def _bars(evaluation: Record) -> list[Record]:
    """Rows with shares; rows that differ only in what they bound share a bar."""
    bars: dict[tuple[str, str, tuple[float, ...]], Record] = {}
    for row in evaluation["rows"]:
        if row["shares"]:
            bars.setdefault((row["title"], row["variant"], tuple(row["shares"])), row)
    return list(bars.values())


def _block(axes: Axes, evaluation: Record, bars: Sequence[Record]) -> None:
    names = evaluation["model"]["layers"]
    colours = layer_colours(len(names))
    axes.set_xlim(0, 1)
    axes.set_ylim(max(1, len(bars)) - 0.45, -0.55)
    axes.set_axis_off()
    for y, row in enumerate(bars):
        left = 0.0
        for share, colour in zip(row["shares"], colours, strict=True):
            axes.barh(y, share, left=left, height=0.78, color=colour, edgecolor="white", linewidth=0.6)
            if share * WIDTH > text_width(percent(share), 7) + 0.06:
                axes.text(
                    left + share / 2, y, percent(share), ha="center", va="center", fontsize=7,
                    color=text_colour(colour),
                )  # fmt: skip
            left += share
    if not bars:
        axes.text(0, 0, "no bound with a per-layer form applies", va="center", fontsize=TEXT_SIZE)
    columns = [titles_once(bars), [row["variant"] for row in bars]]
    row_labels(axes, columns, header=evaluation["model"]["name"])
    _legend(axes, names, colours)


def _legend(axes: Axes, names: Sequence[str], colours: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colours[k], label=_label(k, names[k])) for k in named_layers(len(names))]
    columns = _columns(names)
    by_rows = [handle for column in range(columns) for handle in handles[column::columns]]
    axes.legend(
        handles=by_rows, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0,
        borderpad=0.2, handlelength=0.9, columnspacing=1.2,
    )  # fmt: skip


def named_layers(count: int) -> list[int]:
    """Which of `count` layers the legend names: all, or eight of them evenly spaced with both ends.

    >>> named_layers(3), named_layers(50)
    ([0, 1, 2], [0, 7, 14, 21, 28, 35, 42, 49])
    """
    if count <= NAMED_LAYERS:
        return list(range(count))
    return [round(k * (count - 1) / (NAMED_LAYERS - 1)) for k in range(NAMED_LAYERS)]


def _label(number: int, name: str) -> str:
    return shorten(f"{number + 1}: {name}", WIDTH - 0.3)


def _columns(names: Sequence[str]) -> int:
    widest = max((text_width(_label(k, names[k])) for k in named_layers(len(names))), default=0.0) + 0.35
    return max(1, min(len(named_layers(len(names))), int(WIDTH / widest)))


def _legend_height(names: Sequence[str]) -> float:
    return LEGEND * math.ceil(len(named_layers(len(names))) / _columns(names))
