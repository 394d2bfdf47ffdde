"""Any chart of a reproduction: panels of lines with error bands over seeds, laid out for the width of a venue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from figures.chart_panel import DrawnPanel, current_type, looks_of, sample_of, summaries, x_axis, y_axis
from figures.numbers import decimal
from figures.rows import Record, seed_list
from figures.style import GREY, INK, SCREEN, Venue, fold, style, text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

WORDS = {"upper bound": "dashed", "lower bound": "dotted", "estimate": "dash-dotted"}

HINTING = 0.94  # of a width is filled: rounded to the pixels of a screen, texts are a little wider


def chart_figure(chart: Record, seeds: Sequence[int], venue: Venue = SCREEN, *, captioned: bool = True) -> Figure:
    """Draw one chart: a panel per set of axes, a line per label with the mean and its 95 % interval over seeds.

    A label has the same colour and marker in all panels. Upper bounds are dashed, lower bounds dotted, estimates
    dash-dotted. Marks are thin vertical lines named above the panel, a level is a thin horizontal line. The legend
    stands beside or below the panels, in an empty place of the grid where there is one.

    Args:
        chart: a chart of a reproduction record.
        seeds: of that record.
        venue: whose widths, fonts and sizes to use.
        captioned: whether to write the caption, with seeds and bands, below the panels.

    Returns:
        A matplotlib figure of the venue's width that no global state knows of.

    Example:
        >>> line = {"label": "loss", "side": "measured", "points": [{"x": 0.1, "values": [1.0, 1.2]}]}
        >>> panel = {"title": "MNIST", "x": "ε", "y": "nats", "x_scale": "linear", "y_scale": "log", "lines": [line],
        ...          "marks": [], "level": None}
        >>> chart = {"name": "loss", "caption": "Losses.", "share_y": False, "panels": [panel]}
        >>> figure = chart_figure(chart, [0, 1])
        >>> len(figure.axes), float(figure.get_size_inches()[0])
        (1, 6.4)
    """
    with style(venue):
        from matplotlib.figure import Figure

        width = venue.column if len(chart["panels"]) == 1 else venue.width
        inner = None if venue.height is None else venue.height - 2 * venue.margin
        figure = Figure(figsize=(width, venue.height or 10.0))
        note = chart_caption(chart, seeds) if captioned else ""
        drawn = DrawnChart(figure, chart, venue.panel, width - 2 * venue.margin, inner, note)
        figure.set_size_inches(width, drawn.height + 2 * venue.margin)
        drawn.place(venue.margin, drawn.height + venue.margin)
        return figure


def chart_caption(chart: Record, seeds: Sequence[int]) -> str:
    """The caption of a chart with what must be said besides: kinds of lines, values off the axes, seeds and bands.

    >>> line = {"side": "upper bound", "points": [{"x": 0.1, "values": [1.0, 1.2]}]}
    >>> panel = {"y_scale": "linear", "lines": [line], "level": None}
    >>> print(chart_caption({"caption": "MNIST, n = 500.", "share_y": False, "panels": [panel]}, [0, 1]))
    MNIST, n = 500. Dashed: upper bounds; seeds: 0–1; bands: 95 % interval (Student) of the mean over 2 seeds.
    """
    lines = [(panel, line) for panel in chart["panels"] for line in panel["lines"]]
    sides = {line["side"] for _, line in lines}
    said = [f"{WORDS[side]}: {side}s" for side in WORDS if side in sides]
    if any(_off_axis(chart["panels"] if chart["share_y"] else [panel], line) for panel, line in lines):
        said.append("hollow, on the edge: not positive, off the logarithmic axis")
    said.append(f"{'seed' if len(seeds) == 1 else 'seeds'}: {seed_list(seeds)}")
    counts = {len(point["values"]) for _, line in lines for point in line["points"]} - {1}
    if counts:
        over = f"{min(counts)}–{max(counts)}" if len(counts) > 1 else str(max(counts))
        said.append(f"bands: 95 % interval (Student) of the mean over {over} seeds")
    note = "; ".join(said)
    return f"{chart['caption'].strip()} {note[:1].upper()}{note[1:]}.".strip()


def chart_in_words(chart: Record) -> str:
    """A chart for those who cannot see it: each line of each panel by its two ends.

    >>> points = [{"x": x, "values": [1 + x]} for x in (0.0, 0.5, 1.0)]
    >>> line = {"label": "loss", "side": "upper bound", "points": points}
    >>> panel = {"title": "MNIST", "x": "ε", "y": "nats", "lines": [line]}
    >>> chart_in_words({"what": "losses against ε", "panels": [panel]})
    'Losses against ε. MNIST (nats against ε): loss (upper bound) 1.00 at 0 to 2.00 at 1.'
    """
    parts = []
    for panel in chart["panels"]:
        lines = "; ".join(map(_line_in_words, panel["lines"])) or "no lines"
        parts.append(f"{panel['title'] or 'Panel'} ({panel['y']} against {panel['x']}): {lines}.")
    what = chart["what"][:1].upper() + chart["what"][1:]
    return " ".join([f"{what.rstrip('.')}.", *parts])


def _line_in_words(line: Record) -> str:
    found = summaries(line)
    ends = " to ".join(f"{decimal(mean)} at {x:g}" for x, mean, *_ in found[:: max(1, len(found) - 1)])
    side = "" if line["side"] == "measured" else f" ({line['side']})"
    return f"{line['label']}{side} {ends or 'without values'}"


def _off_axis(panels: Sequence[Record], line: Record) -> bool:
    """Whether a line has points that the logarithmic axis of these panels has no place for."""
    return y_axis(panels).scale == "log" and any(mean <= 0 for _, mean, *_ in summaries(line))


@dataclass
class DrawnChart:
    """A chart drawn into a figure, ready to be put at its place: the height is known before the place.

    Attributes:
        figure: to draw into; it may hold other things.
        chart: of a reproduction record.
        least: width of a panel with its labels; it decides the number of columns. All sizes are in inches.
        width: of the chart.
        fixed: height that the chart must have, if any.
        note: the caption to write below, or nothing.
        height: of the chart with legend and note.
    """

    figure: Figure
    chart: Record
    least: float
    width: float
    fixed: float | None = None
    note: str = ""
    height: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.type = current_type()
        self.legend: Legend | None = None
        number = max(1, len(self.chart["panels"]))
        self.columns = _columns(number, int(self.width / self.least))
        self.rows = math.ceil(number / self.columns)
        self.panels = self._panels()
        self.handles = _handles(self.chart["panels"])
        self.notes = self._fold_note()
        self.spot = self._best_spot()
        self._lay_out()
        if self.spot != "below" and self.legend_size[1] > self.tall + self.below[-1]:
            self.spot = "below"
            self._lay_out()
        self.height = self.fixed or self._height(self.tall)

    def _panels(self) -> list[DrawnPanel]:
        panels = self.chart["panels"]
        looks, shared = looks_of(panels), y_axis(panels) if self.chart["share_y"] else None
        drawn = []
        for number, panel in enumerate(panels):
            first = panels[number - number % self.columns]
            above = panels[number - self.columns] if number >= self.columns else None
            below = panels[number + self.columns] if number + self.columns < len(panels) else None
            axes = self.figure.add_axes((0.1, 0.1, 0.3, 0.2), label=f"panel {number}")
            drawn.append(
                DrawnPanel(
                    axes,
                    panel,
                    looks,
                    shared or y_axis([panel]),
                    self.type,
                    ticked=shared is None or panel is first,
                    named_x=below is None or panel["x"] != below["x"],
                    named_y=panel is first or panel["y"] != first["y"],
                    named_marks=above is None or not _same_marks(panel, above),
                )  # fmt: skip
            )
        return drawn

    def _best_spot(self) -> str:
        """The legend stands in empty places of the grid, beside a single panel that leaves room, or below."""
        if self.columns * self.rows > len(self.panels) > 0:
            return "cell"
        return "beside" if len(self.panels) == 1 and self.width > 34 * self.type.em else "below"

    def _lay_out(self) -> None:
        """Measure what stands around the panels, give them the rest, and again: labels fold and ticks thin out."""
        wide = self.width / self.columns - 5 * self.type.em
        tall = 0.75 * wide
        room = self.width if self.spot == "below" else min(self._widest_entry() / HINTING, 0.34 * self.width)
        for _ in range(3):
            self._write_legend(room)
            for drawn in self.panels:
                drawn.fit(wide, tall)
            self._measure()
            wide = self._panel_width()
            tall = self._panel_height(wide)
            room = self._cell(wide) if self.spot == "cell" else room
        self.wide, self.tall = wide, tall

    def _widest_entry(self) -> float:
        kind = self.type
        return (
            max((text_width(label, kind.legend, kind.family) for _, label in self.handles), default=0.0)
            + 6 * kind.legend / 72
        )

    def _write_legend(self, room: float) -> None:
        """Write the legend anew: below in as many columns as `room` has place for, elsewhere in one."""
        if self.legend is not None:
            self.legend.remove()
            self.legend = None
        if not self.handles:
            return
        kind, handle = self.type, 5 * self.type.legend / 72
        texts = ["\n".join(fold(label, HINTING * room - handle, kind.legend, kind.family)) for _, label in self.handles]
        widths = [max(text_width(line, kind.legend, kind.family) for line in text.split("\n")) for text in texts]
        columns = legend_columns([width + handle for width in widths], room) if self.spot == "below" else 1
        self.legend = self.figure.legend(
            handles=[line for line, _ in self.handles], labels=texts, loc="upper left", bbox_to_anchor=(0, 1),
            ncols=columns, borderaxespad=0, borderpad=0, handlelength=2.8, handletextpad=0.6, columnspacing=1.4,
            labelspacing=0.45,
        )  # fmt: skip
        for text in self.legend.get_texts():
            text.set_parse_math(False)
            text.set_color(INK)

    def _measure(self) -> None:
        """What stands around the panels: left and right of each column, below and above each row, in inches."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        renderer = FigureCanvasAgg(self.figure).get_renderer()
        around = [drawn.around(renderer) for drawn in self.panels] or [(0.0, 0.0, 0.0, 0.0)]
        columns = [around[k :: self.columns] for k in range(self.columns)]
        rows = [around[k * self.columns : (k + 1) * self.columns] for k in range(self.rows)]
        self.left, self.right = ([max(cell[side] for cell in cells) for cells in columns] for side in (0, 1))
        self.below, self.above = ([max(cell[side] for cell in cells) for cells in rows] for side in (2, 3))
        self.legend_size = (0.0, 0.0)
        if self.legend is not None:
            box, dpi = self.legend.get_window_extent(renderer), self.figure.dpi
            self.legend_size = (box.width / dpi / HINTING, box.height / dpi)

    def _panel_width(self) -> float:
        gaps = self.type.em * (self.columns - 1)
        if self.spot == "beside":
            gaps += self.legend_size[0] + 1.5 * self.type.em
        return max((self.width - sum(self.left) - sum(self.right) - gaps - 0.02) / self.columns, 0.5)

    def _panel_height(self, wide: float) -> float:
        em = self.type.em
        if self.fixed is None:
            return min(max(0.74 * wide, 11 * em), 22 * em)
        return max((self.fixed - self._height(0.0)) / self.rows, 5 * em)

    def _cell(self, wide: float) -> float:
        """Width of the empty places at the end of the last row."""
        free = self.columns * self.rows - len(self.panels)
        return sum(self.left[-free:]) + sum(self.right[-free:]) + free * wide + (free - 1) * self.type.em

    def _height(self, tall: float) -> float:
        """Height of everything if the panels are so tall."""
        em = self.type.em
        grid = sum(self.above) + sum(self.below) + self.rows * tall + 1.2 * em * (self.rows - 1)
        legend = self.legend_size[1] + 0.9 * em if self.handles and self.spot == "below" else 0.0
        note = len(self.notes) * self.type.line + 0.7 * em if self.notes else 0.0
        return grid + legend + note + 0.04

    def _fold_note(self) -> list[str]:
        """The note on lines; where the height is fixed, sentences before the last are left out to keep to two lines."""
        sentences = self.note.split(". ") if self.note else []
        while sentences:
            lines = fold(". ".join(sentences), HINTING * self.width, self.type.small, self.type.family)
            if self.fixed is None or len(lines) <= 2 or len(sentences) == 1:
                return lines
            sentences.pop(-2)
        return []

    def place(self, left: float, top: float) -> None:
        """Put the chart at a place, in inches from the lower left corner of the figure."""
        em, y, x = self.type.em, top, left
        width, height = (float(side) for side in self.figure.get_size_inches())
        for number, drawn in enumerate(self.panels):
            row, column = divmod(number, self.columns)
            x = left + 0.01 + sum(self.left[: column + 1]) + sum(self.right[:column]) + column * (self.wide + em)
            y = top - 0.02 - sum(self.above[: row + 1]) - sum(self.below[:row]) - (row + 1) * self.tall - 1.2 * em * row
            drawn.axes.set_position((x / width, y / height, self.wide / width, self.tall / height))
        below = y - self.below[-1]
        if self.legend is not None and self.spot == "below":
            self._anchor(left + 0.01, below - 0.9 * em)
            below -= self.legend_size[1] + 0.9 * em
        elif self.legend is not None:
            last = (len(self.panels) - 1) % self.columns
            self._anchor(x + self.wide + self.right[last] + 1.5 * em, y + self.tall)
        for number, line in enumerate(self.notes):
            at = below - 0.7 * em - number * self.type.line
            self.figure.text(
                (left + 0.01) / width, at / height, line, fontsize=self.type.small, color=GREY, va="top",
                parse_math=False,
            )  # fmt: skip

    def _anchor(self, x: float, y: float) -> None:
        """Put the upper left corner of the legend at a place in inches."""
        assert self.legend is not None
        width, height = (float(side) for side in self.figure.get_size_inches())
        self.legend.set_bbox_to_anchor((x / width, y / height), self.figure.transFigure)


def _same_marks(panel: Record, other: Record) -> bool:
    """Whether the marks of two panels stand at the same places, so that naming them once is enough."""
    return (panel["marks"], x_axis(panel)) == (other["marks"], x_axis(other))


def legend_columns(widths: Sequence[float], room: float) -> int:
    """In how many columns entries of these widths fit; they run down each column, and each is as wide as it needs.

    >>> legend_columns([1.0, 2.0, 1.0, 1.0], 4.0), legend_columns([1.0, 2.0], 2.0)
    (2, 1)
    """
    for columns in range(len(widths), 1, -1):
        rows, longer = divmod(len(widths), columns)
        lengths = [rows + 1] * longer + [rows] * (columns - longer)
        starts = [sum(lengths[:k]) for k in range(columns)]
        if sum(max(widths[k : k + n]) for k, n in zip(starts, lengths, strict=True)) <= room:
            return _columns(len(widths), columns)
    return 1


def _columns(number: int, fit: int) -> int:
    """How many columns of at most `fit` to put things in so that the rows are even; three and one are two and two.

    >>> _columns(4, 3), _columns(5, 3), _columns(6, 3), _columns(3, 0)
    (2, 3, 3, 1)
    """
    rows = math.ceil(number / max(1, min(number, fit)))
    return math.ceil(number / rows)


def _handles(panels: Sequence[Record]) -> list[tuple[Line2D, str]]:
    """What a legend shows: every label once, or once a side where it has several of them."""
    looks = looks_of(panels)
    seen = dict.fromkeys((line["label"], line["side"]) for panel in panels for line in panel["lines"])
    labels = [label for label, _ in seen]
    return [
        (sample_of(label, side, looks), label if labels.count(label) == 1 else f"{label} ({side})")
        for label, side in seen
    ]
