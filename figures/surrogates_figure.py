"""Robust loss and its surrogates against the radius of the attack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from figures.rows import Record, norm_title, set_title, surrogate_title
from figures.style import GREY, INK, MARKERS, PALETTE, TEXT_SIZE, shorten, spread, style, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, TALL, BELOW, ABOVE, LEFT = 2.3, 2.1, 0.5, 0.3, 0.55  # inches
REFUTED = "#b30000"
DASHES = (0, (3, 2))


def surrogates_figure(comparisons: Sequence[Record]) -> Figure:
    """Mean losses in nats against ε: the attack (from below), the clean loss and every surrogate.

    One line of panels per comparison record, one panel per attack set; all panels share the loss axis, so
    models can be compared. A cross marks a surrogate that an attack exceeded on at least one sample; a dashed
    line is a surrogate that is not claimed to be an upper bound.

    Args:
        comparisons: one or more comparison records.

    Returns:
        A matplotlib figure that no global state knows of.

    Example:
        >>> result = {"norm": "l2", "box": None, "eps": 0.1, "clean_loss": 0.2, "attack_loss": {"mean": 0.3},
        ...           "surrogates": {"spectral": {"mean": 0.5, "refuted": 0, "upper": True}}}
        >>> len(surrogates_figure([{"model": "mlp", "results": [result]}]).axes)
        1
    """
    with style():
        from matplotlib.figure import Figure

        results = [result for record in comparisons for result in record["results"]]
        sets = list(dict.fromkeys(map(_attack_set, results))) or [("l2", None)]
        names = list(dict.fromkeys(name for result in results for name in result["surrogates"]))
        labels = ["robust loss (attack)", *map(surrogate_title, names)]
        wide, tall = LEFT + WIDE + max(map(text_width, labels)) + 0.45, ABOVE + TALL + BELOW
        width, height = len(sets) * wide, len(comparisons) * tall
        figure = Figure(figsize=(width, height))
        for line, record in enumerate(comparisons):
            for column, attack_set in enumerate(sets):
                left, bottom = column * wide + LEFT, height - line * tall - ABOVE - TALL
                axes = figure.add_axes((left / width, bottom / height, WIDE / width, TALL / height))
                title = f"{record['model']}, {set_title(*attack_set)}"
                axes.set_title(shorten(title, wide - LEFT, 9.5), fontsize=8)
                _scale(axes, _losses(results))
                chosen = [result for result in record["results"] if _attack_set(result) == attack_set]
                _panel(axes, attack_set[0], sorted(chosen, key=lambda result: result["eps"]), names)
        _legend(figure)
        return figure


def _attack_set(result: Record) -> tuple[str, tuple[float, ...] | None]:
    return result["norm"], None if result["box"] is None else tuple(result["box"])


def _losses(results: Iterable[Record]) -> list[float]:
    return [
        loss
        for r in results
        for loss in (
            r["clean_loss"],
            r["attack_loss"]["mean"],
            *(s["mean"] for s in r["surrogates"].values()),
        )
    ]


def _scale(axes: Axes, losses: Sequence[float]) -> None:
    """Same loss axis for every panel; logarithmic when the losses span more than a factor of 30."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = min(losses, default=0.0), max(losses, default=1.0)
    if low > 0 and high > 30 * low:
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
    if not results:
        axes.text(0.5, 0.5, "not compared", transform=axes.transAxes, ha="center", color=GREY)
        return
    radii = [result["eps"] for result in results]
    axes.set_xlim(0, max(radii) * 1.04 or 1.0)
    ends = [end for k, name in enumerate(names) for end in _surrogate(axes, results, name, k)]
    attack, clean = [r["attack_loss"]["mean"] for r in results], [r["clean_loss"] for r in results]
    axes.plot(radii, attack, color=INK, linewidth=2.2, marker="^", markersize=5, zorder=4)
    axes.plot([0, *radii], [clean[0], *clean], color=GREY, linestyle=":", linewidth=1.4)
    ends += [(attack[-1], "robust loss (attack)", INK), (clean[-1], "clean loss", GREY)]
    _label_ends(axes, radii[-1], ends)


def _surrogate(axes: Axes, results: Sequence[Record], name: str, number: int) -> list[tuple[float, str, str]]:
    """Draw one surrogate where it was measured; its last value, name and colour for the label."""
    points = [(r["eps"], r["surrogates"][name]) for r in results if name in r["surrogates"]]
    if not points:
        return []
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    radii, means = [eps for eps, _ in points], [s["mean"] for _, s in points]
    dashes: Any = "-" if points[0][1]["upper"] else DASHES
    axes.plot(radii, means, marker=marker, color=colour, linestyle=dashes, markersize=4)
    refuted = [(eps, s["mean"]) for eps, s in points if s["refuted"]]
    axes.plot([x for x, _ in refuted], [y for _, y in refuted], "x", color=REFUTED, markersize=7, zorder=5)
    return [(means[-1], surrogate_title(name), colour)]


def _label_ends(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name each line at its right end; labels move apart where lines end close to each other."""
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((x, y))[1]) for y, _, _ in ends]
    placed = spread(heights, 0.135 / TALL, 0.0, 1.05)
    for (y, label, colour), at in zip(ends, placed, strict=True):
        axes.annotate(
            label, (x, y), xycoords="data", xytext=(1.09, at), textcoords=axes.transAxes, va="center",
            fontsize=TEXT_SIZE, color=INK, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.9, "shrinkA": 1, "shrinkB": 3,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="x",
            color=REFUTED,
            markersize=7,
            label="refuted on at least one sample",
        ),
        Line2D([], [], linestyle=DASHES, color=GREY, label="not claimed to be an upper bound"),
    ]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 0), ncols=2)
