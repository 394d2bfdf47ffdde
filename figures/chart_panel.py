"""One panel of a chart: its lines with error bands, marks and level, fitted to any size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from figures.chart_axes import ChartAxis, axis_of, bare, tick_labels
from figures.rows import Record, student_interval
from figures.style import FAINT, GREY, INK, MARKERS, PALETTE, fold, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation

DASHES: dict[str, Any] = {
    "measured": "-",
    "upper bound": (0, (4.5, 1.6)),
    "lower bound": (0, (1.1, 1.4)),
    "estimate": (0, (5, 1.4, 1.1, 1.4)),
}
COLOURS = (*PALETTE, INK, GREY)
SHAPES = (*MARKERS, "X", "p")
BOLD = 1.12  # bold text is so much wider

Look = tuple[str, str]  # colour and marker


@dataclass(frozen=True)
class Type:
    """The type that a chart is set in: sizes in points.

    Attributes:
        family: fonts, the first that has a character is used.
        title: size of the panels' titles.
        label: size of the axes' labels.
        small: size of ticks, marks and captions.
        legend: size of the legend.
    """

    family: tuple[str, ...]
    title: float
    label: float
    small: float
    legend: float

    @property
    def em(self) -> float:
        """Size of the labels in inches, the measure of all distances."""
        return self.label / 72

    @property
    def line(self) -> float:
        """Distance of the lines of a caption in inches."""
        return 1.3 * self.small / 72


def current_type() -> Type:
    """The type of the style that is in force."""
    import matplotlib

    rc: Any = matplotlib.rcParams
    sizes = ("axes.titlesize", "axes.labelsize", "xtick.labelsize", "legend.fontsize")
    return Type(tuple(rc["font.family"]), *(float(rc[size]) for size in sizes))


def looks_of(panels: Sequence[Record]) -> dict[str, Look]:
    """Colour and marker of each label, in order of appearance.

    >>> looks_of([{"lines": [{"label": "a"}, {"label": "b"}]}, {"lines": [{"label": "a"}]}])
    {'a': ('#0072b2', 'o'), 'b': ('#d55e00', 's')}
    """
    labels = dict.fromkeys(line["label"] for panel in panels for line in panel["lines"])
    return {label: (COLOURS[k % len(COLOURS)], SHAPES[k % len(SHAPES)]) for k, label in enumerate(labels)}


def sample_of(label: str, side: str, looks: Mapping[str, Look]) -> Line2D:
    """The piece of a line that a legend shows."""
    from matplotlib.lines import Line2D

    colour, shape = looks[label]
    return Line2D([], [], color=colour, marker=shape, linestyle=DASHES[side])


def summaries(line: Record) -> list[tuple[float, float, float, float]]:
    """x, mean, and the ends of the mean's 95 % interval at every point of a line.

    >>> summaries({"points": [{"x": 0.1, "values": [2.0, 2.0]}]})
    [(0.1, 2.0, 2.0, 2.0)]
    """
    return [(point["x"], *student_interval(point["values"])) for point in line["points"]]


def x_axis(panel: Record) -> ChartAxis:
    """The horizontal axis of a panel; a logarithmic one gets a place for 0 where a point needs it."""
    places = [point["x"] for line in panel["lines"] for point in line["points"]]
    places += [mark["x"] for mark in panel["marks"]]
    scale = "symlog" if panel["x_scale"] == "log" and any(x <= 0 for x in places) else panel["x_scale"]
    return axis_of(scale, places)


def y_axis(panels: Sequence[Record]) -> ChartAxis:
    """The vertical axis for all lines of some panels."""
    found = [summary for panel in panels for line in panel["lines"] for summary in summaries(line)]
    levels = [panel["level"] for panel in panels if panel["level"] is not None]
    bands = [end for _, _, low, high in found for end in (low, high)]
    scale = panels[0]["y_scale"] if panels else "linear"
    return axis_of(scale, [mean for _, mean, *_ in found] + levels, bands)


@dataclass
class DrawnPanel:
    """A panel drawn into axes, to be fitted to a size.

    Attributes:
        axes: to draw into.
        panel: of a chart.
        looks: colour and marker of every label.
        y: the vertical axis.
        type: sizes of the texts.
        ticked: whether the vertical axis has numbers.
        named_x: whether the horizontal axis has a label.
        named_y: whether the vertical axis has one.
        named_marks: whether the marks have their names above the axes.
    """

    axes: Axes
    panel: Record
    looks: Mapping[str, Look]
    y: ChartAxis
    type: Type
    ticked: bool = True
    named_x: bool = True
    named_y: bool = True
    named_marks: bool = True
    marks: list[Annotation] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.x = x_axis(self.panel)
        self.x.apply(self.axes, "x")
        self.y.apply(self.axes, "y")
        self.axes.grid(axis="y")
        self.axes.tick_params(labelleft=self.ticked)
        if self.panel["level"] is not None:
            self.axes.axhline(max(self.panel["level"], self.y.low), color=GREY, linewidth=0.9, zorder=1.5)
        for mark in self.panel["marks"]:
            self.axes.axvline(max(mark["x"], self.x.low), color=FAINT, linewidth=0.9, zorder=1)
        for number, line in enumerate(self.panel["lines"]):
            self._line(line, 3 + 0.01 * number)
        if not any(line["points"] for line in self.panel["lines"]):
            self.axes.text(0.5, 0.5, "no values", transform=self.axes.transAxes, ha="center", color=GREY)

    def _line(self, line: Record, order: float) -> None:
        """Means, joined, over their band; what a logarithmic axis has no place for is hollow and on its edge."""
        found = summaries(line)
        if not found:
            return
        colour, shape = self.looks[line["label"]]
        x, means, low, high = (list(column) for column in zip(*found, strict=True))
        floor = self.y.low if self.y.scale == "log" else -math.inf
        if any(len(point["values"]) > 1 for point in line["points"]):
            ends = ([max(end, floor) for end in low], [max(end, floor) for end in high])
            self.axes.fill_between(x, *ends, color=colour, alpha=0.16, linewidth=0, zorder=2)
        look: dict[str, Any] = {"color": colour, "marker": shape, "zorder": order, "clip_on": False}
        every = max(1, len(x) // 12)
        self.axes.plot(
            x, [max(mean, floor) for mean in means], linestyle=DASHES[line["side"]], label=f"_{line['label']}",
            markevery=every, markeredgecolor="white", markeredgewidth=0.3, **look,
        )  # fmt: skip
        off = [place for place, mean in zip(x, means, strict=True) if mean <= floor]
        if off:
            self.axes.plot(off, [floor] * len(off), linestyle="none", markerfacecolor="white", label="_off", **look)

    def fit(self, wide: float, tall: float) -> None:
        """Give the axes a size in inches; ticks thin out and labels fold accordingly."""
        width, height = (float(side) for side in self.axes.get_figure(root=True).get_size_inches())  # type: ignore[union-attr]
        self.axes.set_position((0.0, 0.0, wide / width, tall / height))
        self._ticks(wide, tall)
        kind = self.type
        under = "\n".join(fold(self.panel["x"], 0.95 * wide, kind.label, kind.family)) if self.named_x else ""
        self.axes.set_xlabel(under, parse_math=False, labelpad=0.35 * kind.label)
        beside = "\n".join(fold(self.panel["y"], 1.1 * tall, kind.label, kind.family)) if self.named_y else ""
        self.axes.set_ylabel(beside, parse_math=False, labelpad=0.4 * kind.label)
        title = "\n".join(fold(self.panel["title"], wide, BOLD * kind.title, kind.family))
        self.axes.set_title(title, pad=(self._name_marks(wide) + 0.5) * kind.small, parse_math=False, loc="left")

    def _ticks(self, wide: float, tall: float) -> None:
        line = self.type.small / 72
        across = fitting_ticks(self.x, wide, min(7, int(wide / (2.2 * line))), self.type)
        self.axes.set_xticks(across, tick_labels(across, self.x.scale))
        up = fitting_ticks(self.y, tall, min(6, int(tall / (2 * line))), self.type, stacked=True)
        self.axes.set_yticks(up, tick_labels(up, self.y.scale))

    def _name_marks(self, wide: float) -> float:
        """Write the names of the marks above the axes, on as many lines as they need; their height, in small type."""
        for name in self.marks:
            name.remove()
        self.marks = []
        ends: list[float] = []  # where each line is free from
        kind = self.type
        for mark in sorted(self.panel["marks"], key=lambda mark: mark["x"]) if self.named_marks else ():
            size = text_width(mark["label"], kind.small, kind.family)
            at = wide * self.x.share(mark["x"])
            left = min(max(at - size / 2, 0.0), max(wide - size, 0.0))
            level: int = next((k for k, end in enumerate(ends) if end <= left), len(ends))
            ends[level : level + 1] = [left + size + 0.8 * kind.em]
            self.marks.append(
                self.axes.annotate(
                    mark["label"],
                    (left / wide, 1.0),
                    xycoords="axes fraction",
                    textcoords="offset points",
                    xytext=(0, (0.25 + 1.2 * level) * kind.small),
                    fontsize=kind.small,
                    color=GREY,
                    parse_math=False,
                    annotation_clip=False,
                )  # fmt: skip
            )
        return 1.2 * len(ends) + (0.3 if ends else 0.0)

    def around(self, renderer: RendererBase) -> tuple[float, float, float, float]:
        """How far ticks, labels, marks and title reach beyond the axes: left, right, below and above, in inches."""
        inner, outer = self.axes.get_window_extent(renderer), self.axes.get_tightbbox(renderer)
        assert outer is not None
        dpi = self.axes.figure.dpi
        reach = (inner.x0 - outer.x0, outer.x1 - inner.x1, inner.y0 - outer.y0, outer.y1 - inner.y1)
        left, right, below, above = (max(0.0, float(side)) / dpi for side in reach)
        return left, right, below, above


def without_first(ticks: list[float], scale: str) -> list[float]:
    """The ticks of a symlog axis without the smallest one above 0, which stands close to 0; others as they are.

    >>> without_first([0.0, 0.001, 0.1, 10.0], "symlog"), without_first([0.1, 1.0], "log")
    ([0.0, 0.1, 10.0], [0.1, 1.0])
    """
    if scale != "symlog" or len(ticks) < 4:
        return ticks
    first = ticks.index(0.0) + 1
    return ticks[:first] + ticks[first + 1 :]


def fitting_ticks(axis: ChartAxis, room: float, at_most: int, kind: Type, *, stacked: bool = False) -> list[float]:
    """As many ticks as can be named in `room` inches, side by side or on top of each other."""
    ticks: list[float] = []
    wanted = [axis.ticks(number) for number in range(max(2, at_most), 1, -1)]
    for ticks in (ticks for most in wanted for ticks in (most, without_first(most, axis.scale))):
        names = [bare(label) for label in tick_labels(ticks, axis.scale)]
        halves = [kind.small / 144 if stacked else text_width(name, kind.small, kind.family) / 2 for name in names]
        places = [room * axis.share(tick) for tick in ticks]
        edges = zip(places, halves, places[1:], halves[1:], strict=False)
        if all(b - half_b - a - half_a >= 0.45 * kind.em for a, half_a, b, half_b in edges):
            return ticks
    return ticks[:: max(1, len(ticks) - 1)] if room > 8 * kind.em else ticks[:1]
