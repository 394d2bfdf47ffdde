"""Verdicts on "robust loss ≤ surrogate" against the radius of the attack, as stacked shares of the samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from figures.chart_axes import ChartAxis, scale_for
from figures.rows import Record, norm_title
from figures.style import CAPTION_LINE, VERDICT_COLOURS, style, text_width, write_lines
from figures.verifications import VERDICTS, by_norm, captions, model_title, panel_heading, share, surrogates_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, TALL, GUTTER = 1.0, 0.95, 0.27  # inches
ABOVE, BELOW, NAME, LEFT = 0.3, 0.4, 0.22, 0.42
TICK_SIZE = 7  # points
LOG_FROM = 10.0  # the axis is logarithmic when the last radius is so many times the first above 0


def verdicts_figure(verifications: Sequence[Record]) -> Figure:
    """Stacked areas of the shares proved, undecided, refuted and failed: a panel per surrogate.

    One row of panels per model and norm. The panels of a row stand in the order of the record; the subtitle of each
    says whether its surrogate is claimed to be an upper bound of the linearised robust loss. Radii that were verified
    are ticks; between them the shares are joined by straight lines. A single radius fills its panel.

    Args:
        verifications: one or more verification records with results.

    Returns:
        A matplotlib figure that no global state knows of.

    Example:
        >>> counts = {"proved": {"count": 3}, "undecided": {"count": 1}, "refuted": {"count": 0}}
        >>> result = {"norm": "l2", "eps": 0.1, "samples": 4, "failed": [],
        ...           "surrogates": {"spectral": counts | {"claimed": True}}}
        >>> settings = {"box": None, "effort": "quick", "steps": 40, "restarts": 2, "seed": 0}
        >>> record = {"model": {"name": "mlp"}, "data": {"name": "digits", "split": "test", "samples": 4},
        ...           "settings": settings, "results": [result]}
        >>> len(verdicts_figure([record]).axes)
        1
    """
    with style():
        from matplotlib.figure import Figure

        rows = [(record, norm, results) for record in verifications for norm, results in by_norm(record).items()]
        panels = max(len(surrogates_of(results)) for *_, results in rows)
        width = LEFT + max(3, panels) * (WIDE + GUTTER)
        notes = captions(verifications, width)
        row_height = NAME + ABOVE + TALL + BELOW
        height = len(rows) * row_height + 0.3 + CAPTION_LINE * len(notes)
        figure = Figure(figsize=(width, height))
        for number, (record, norm, results) in enumerate(rows):
            top = height - number * row_height
            title = model_title(record, norm_title(norm), width)
            figure.text(0, (top - 0.02) / height, title, va="top", fontsize=9, fontweight="bold")
            bottom = top - row_height + BELOW
            for column, name in enumerate(surrogates_of(results)):
                left = LEFT + column * (WIDE + GUTTER)
                axes = figure.add_axes((left / width, bottom / height, WIDE / width, TALL / height))
                _panel(axes, results, name)
                if column:
                    axes.set_yticklabels([])
                else:
                    axes.set_ylabel("share of samples")
        failed = any(result["failed"] for *_, results in rows for result in results)
        shown = list(VERDICTS.values()) if failed else [v for v in VERDICTS.values() if v != "failed"]
        _legend(figure, shown, CAPTION_LINE * len(notes) / height)
        write_lines(figure, notes)
        return figure


def _panel(axes: Axes, results: Sequence[Record], name: str) -> None:
    chosen = [result for result in results if name in result["surrogates"]]
    radii = [float(result["eps"]) for result in chosen]
    panel_heading(axes, name, claimed=chosen[0]["surrogates"][name]["claimed"])
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "½", "1"])
    axes.tick_params(labelsize=TICK_SIZE)
    if len(radii) == 1:
        (only,) = radii
        axes.set_xticks(radii, [f"{only:g}"])
        radii, chosen = [only - (only or 1.0), only + (only or 1.0)], chosen * 2
        axes.set_xlim(*radii)
    else:
        smallest = next(eps for eps in radii if eps > 0)
        axis = ChartAxis(scale_for(radii, LOG_FROM), radii[0], radii[-1], threshold=smallest)
        axis.apply(axes, "x")
        axes.set_xticks(radii, _labels(radii, axis))
    axes.stackplot(
        radii,
        [[share(result, name, verdict) for result in chosen] for verdict in VERDICTS.values()],
        colors=[VERDICT_COLOURS[verdict] for verdict in VERDICTS.values()],
        edgecolor="white",
        linewidth=0.5,
    )
    axes.set_xlabel("ε", labelpad=1)


def _labels(radii: Sequence[float], axis: ChartAxis) -> list[str]:
    """Names of the ticks; only the last one and those before it that have room are named."""
    labels, free = [""] * len(radii), math.inf
    for k in range(len(radii) - 1, -1, -1):
        text = f"{radii[k]:.3g}"
        half = text_width(text, TICK_SIZE) / 2
        at = WIDE * axis.share(radii[k])
        if at + half <= free and at - half >= -GUTTER / 2:
            labels[k], free = text, at - half - 0.06
    return labels


def _legend(figure: Figure, verdicts: Sequence[str], bottom: float) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=VERDICT_COLOURS[verdict], label=verdict) for verdict in verdicts]
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, bottom), ncols=4, borderaxespad=0.3)
