"""The surrogate of every sample against what is known of its robust loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from figures.rows import Record, norm_title
from figures.style import CAPTION_LINE, GREY, INK, SMALL_TEXT, VERDICT_COLOURS, fold, style, write_lines
from figures.verifications import VERDICTS, captions, model_title, panel_heading, share, surrogates_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, GUTTER = 1.1, 0.16  # inches
ABOVE, BELOW, NAME, LEFT = 0.3, 0.5, 0.22, 0.5
RASTERISED_FROM = 2000  # points in a figure
DECADES = 5.0  # of the loss axes; what is smaller lies at the edge
AT_THE_EDGE = f"Losses below 1/{10**DECADES:.0f} of the largest of their row, such as 0, are drawn at that value."
CROWD = 300  # points in a panel, from where they are drawn smaller
MARKS = VERDICT_COLOURS | {"undecided": GREY}  # dots need a darker grey than areas

Point = tuple[float, float, float, str]


def scatter_figure(verifications: Sequence[Record]) -> Figure:
    """Surrogate S against the bracket of the robust loss: a dot at the attack A, a bar up to the certified U.

    One row of panels per record, at the attack norm and radius with the most mixed verdicts; one panel per surrogate.
    A dot above the diagonal is a refutation, a bar that ends below it a proof. Bars without upper end run out of the
    panel. The panels of a row share the axis of the robust loss.

    Args:
        verifications: one or more verification records with results.

    Returns:
        A matplotlib figure that no global state knows of.

    Example:
        >>> values = {"attack_loss": [0.5], "upper_loss": [None], "surrogates": {"spectral": [0.7]},
        ...           "verdicts": {"spectral": "u"}}
        >>> counts = {name: {"count": 0} for name in ("proved", "refuted")} | {"undecided": {"count": 1}}
        >>> result = {"norm": "l2", "eps": 0.1, "samples": 1, "failed": [], "values": values,
        ...           "surrogates": {"spectral": counts | {"claimed": True}}}
        >>> settings = {"box": None, "effort": "quick", "steps": 40, "restarts": 2, "seed": 0}
        >>> record = {"model": {"name": "mlp"}, "data": {"name": "digits", "split": "test", "samples": 1},
        ...           "settings": settings, "results": [result]}
        >>> len(scatter_figure([record]).axes)
        1
    """
    with style():
        from matplotlib.figure import Figure

        rows = [(record, most_mixed(record)) for record in verifications]
        columns = max(len(surrogates_of([result])) for _, result in rows)
        width = LEFT + max(3, columns) * (SIDE + GUTTER)
        notes = captions(verifications, width)
        if any(_hidden(result) for _, result in rows):
            notes += fold(AT_THE_EDGE, width, SMALL_TEXT)
        row_height = NAME + ABOVE + SIDE + BELOW
        height = len(rows) * row_height + 0.34 + CAPTION_LINE * len(notes)
        figure = Figure(figsize=(width, height))
        many = sum(result["samples"] * len(result["surrogates"]) for _, result in rows) > RASTERISED_FROM
        for number, (record, result) in enumerate(rows):
            top = height - number * row_height
            title = model_title(record, f"{norm_title(result['norm'])}, ε = {result['eps']:.3g}", width)
            figure.text(0, (top - 0.02) / height, title, va="top", fontsize=9, fontweight="bold")
            bottom = top - row_height + BELOW
            panels = {
                name: figure.add_axes(
                    ((LEFT + column * (SIDE + GUTTER)) / width, bottom / height, SIDE / width, SIDE / height)
                )
                for column, name in enumerate(surrogates_of([result]))
            }
            _panels(panels, result, rasterised=many)
            first, *others = panels.values()
            first.set_ylabel("robust loss (nats)")
            for axes in others:
                axes.tick_params(labelleft=False)
        _legend(figure, CAPTION_LINE * len(notes) / height)
        write_lines(figure, notes)
        return figure


def most_mixed(record: Record) -> Record:
    """The result with the most mixed verdicts on surrogates claimed to be upper bounds; the last one if several are.

    Mixed: the entropy of the shares of the verdicts, summed over the surrogates.

    >>> def result(eps, proved):
    ...     counts = {"proved": {"count": proved}, "undecided": {"count": 0}, "refuted": {"count": 4 - proved}}
    ...     return {"eps": eps, "samples": 4, "failed": [], "surrogates": {"spectral": counts | {"claimed": True}}}
    >>> most_mixed({"results": [result(0.1, 4), result(0.2, 2), result(0.3, 1)]})["eps"]
    0.2
    """
    return max(reversed(record["results"]), key=_mixture)


def _mixture(result: Record) -> float:
    claimed = [name for name, surrogate in result["surrogates"].items() if surrogate["claimed"]]
    shares = [share(result, name, verdict) for name in claimed for verdict in VERDICTS.values()]
    return -sum(p * math.log(p) for p in shares if p > 0)


def points(result: Record, name: str) -> Iterator[Point]:
    """(S, A, U, verdict) of every sample that has values; U is infinite where nothing certifies."""
    values = result["values"]
    columns = (values["surrogates"][name], values["attack_loss"], values["upper_loss"], values["verdicts"][name])
    for s, attack, upper, letter in zip(*columns, strict=True):
        if letter != "f" and s is not None and attack is not None:
            yield s, attack, math.inf if upper is None else upper, VERDICTS[letter]


def _scale(losses: Sequence[float]) -> tuple[bool, float]:
    """Whether the axes of a row are logarithmic (losses span more than a factor of 30), and the smallest loss shown."""
    high = max(losses, default=0.0)
    floor = max(min(losses, default=0.0), high * 10**-DECADES)
    return high > 30 * floor, floor


def _losses(result: Record) -> list[float]:
    """All losses of a row that are finite."""
    drawn = (point for name in surrogates_of([result]) for point in points(result, name))
    return [loss for point in drawn for loss in point[:3] if loss < math.inf]


def _hidden(result: Record) -> bool:
    """Whether some losses of a row are smaller than what its axes show."""
    losses = _losses(result)
    log, floor = _scale(losses)
    return log and min(losses) < floor


def _limits(losses: Sequence[float], log: bool) -> tuple[float, float]:
    """Ends of an axis, a little beyond the losses."""
    low, high = min(losses), max(losses)
    if log:
        margin = (high / low) ** 0.06 * 1.1
        return low / margin, high * margin
    margin = 0.08 * (high - low) or 0.1 * high or 1.0
    return low - margin, high + margin


def _panels(panels: Mapping[str, Axes], result: Record, rasterised: bool) -> None:
    """A row of panels: the robust loss has one axis for all, the surrogate one for each, reaching the diagonal."""
    drawn = {name: list(points(result, name)) for name in panels}
    log, floor = _scale(_losses(result))
    brackets = [ends for found in drawn.values() for _, *ends, _ in found]
    robust = [max(loss, floor) for ends in brackets for loss in ends if loss < math.inf] or [0.0, 1.0]
    for name, axes in panels.items():
        shown = [(max(s, floor), max(attack, floor), max(upper, floor), v) for s, attack, upper, v in drawn[name]]
        across = [s for s, *_ in shown] or robust
        # the diagonal is seen where the two ranges overlap
        reach = [*across, min(min(across), max(robust)), max(max(across), min(robust))]
        axes.set(xscale="log" if log else "linear", yscale="log" if log else "linear")
        axes.set(xlim=_limits(reach, log), ylim=_limits(robust, log))
        _ticks(axes, log)
        _points(axes, shown, rasterised)
        panel_heading(axes, name, claimed=result["surrogates"][name]["claimed"])
        axes.set_xlabel("surrogate S (nats)", fontsize=7.5, labelpad=2)


def _ticks(axes: Axes, log: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, MaxNLocator, NullLocator

    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        powers = log and high > 1e4 * low
        axis.set_major_locator(MaxNLocator(nbins=3))
        axis.set_minor_locator(NullLocator())
        if log and (ticks := round_numbers(low, high, at_most=3 if powers else 4)):
            axis.set_ticks(ticks)
        axis.set_major_formatter(LogFormatterMathtext() if powers else FuncFormatter(lambda loss, _: f"{loss:g}"))


def round_numbers(low: float, high: float, at_most: int) -> list[float]:
    """Two or more round numbers of a logarithmic axis, the roundest there are; none if it is too short for that.

    >>> round_numbers(0.02, 300.0, 4), round_numbers(28.0, 65.0, 4), round_numbers(1e-4, 1e4, 3)
    ([0.1, 1.0, 10.0, 100.0], [30.0, 40.0, 50.0, 60.0], [0.0001, 0.1, 100.0])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [float(f"{step}e{k}") for k in decades for step in steps]
        inside = [number for number in found if low <= number <= high]
        if len(inside) > 1:
            return inside[:: math.ceil(len(inside) / at_most)]
    return []


def _points(axes: Axes, shown: Sequence[Point], rasterised: bool) -> None:
    from matplotlib.collections import LineCollection

    if not shown:
        axes.text(0.5, 0.5, "every sample failed", transform=axes.transAxes, ha="center", color=GREY)
        return
    ends = (*axes.get_xlim(), *axes.get_ylim())
    axes.plot(
        [min(ends), max(ends)], [min(ends), max(ends)], color=INK, linewidth=0.7, zorder=4, scalex=False, scaley=False
    )
    colours = [MARKS[verdict] for *_, verdict in shown]
    top = axes.get_ylim()[1]
    bars = LineCollection([[(s, attack), (s, min(upper, top))] for s, attack, upper, _ in shown], colors=colours)
    bars.set(linewidth=0.8, alpha=0.45, zorder=2, rasterized=rasterised)
    axes.add_collection(bars)
    axes.scatter(
        [s for s, *_ in shown], [attack for _, attack, *_ in shown], s=4.0 if len(shown) <= CROWD else 2.0, c=colours,
        linewidths=0, alpha=0.85, zorder=3, rasterized=rasterised,
    )  # fmt: skip


def _legend(figure: Figure, bottom: float) -> None:
    from matplotlib.lines import Line2D

    verdicts = ("proved", "undecided", "refuted")
    dots = [Line2D([], [], linestyle="none", marker="o", markersize=4, color=MARKS[v], label=v) for v in verdicts]
    handles = [
        *dots,
        Line2D([], [], linestyle="none", marker="|", markersize=9, color=GREY, label="from A (dot) up to U (end)"),
        Line2D([], [], color=INK, linewidth=0.7, label="S = robust loss"),
    ]
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, bottom), ncols=5, borderaxespad=0.3,
                  columnspacing=1.2)  # fmt: skip
