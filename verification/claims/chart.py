"""What a figure shows, as data: panels of lines with one value per seed. Drawing is the business of figures/."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scale = Literal["linear", "log", "symlog"]
Side = Literal["measured", "upper bound", "lower bound", "estimate"]


@dataclass(frozen=True)
class Line:
    """One line of a panel, with an error band over seeds.

    Attributes:
        label: what it is, in a few words; the same label has the same colour in all panels of a chart.
        points: x -> one value per seed; values that are not finite are left out, and so are points without values.
        side: how the values relate to what the axis names; upper and lower bounds are drawn apart from measurements.
    """

    label: str
    points: Mapping[float, Iterable[float]]
    side: Side = "measured"

    def record(self) -> dict[str, Any]:
        """Plain json: points in increasing order of x."""
        kept = {float(x): [float(v) for v in values if math.isfinite(v)] for x, values in self.points.items()}
        points = [{"x": x, "values": kept[x]} for x in sorted(kept) if kept[x]]
        return {"label": self.label, "side": self.side, "points": points}


@dataclass(frozen=True)
class Panel:
    """Axes with lines.

    Attributes:
        title: what tells this panel from its neighbours.
        x: label of the horizontal axis, with its unit.
        y: label of the vertical axis, with its unit.
        lines: drawn in this order.
        x_scale: "linear", "log", or "symlog": logarithmic with a place for 0 (strengths 0, 0.01, 0.1, ...).
        y_scale: the same.
        marks: x -> label, thin vertical lines (such as the radius that was trained at).
        level: y of a thin horizontal line (chance, equality), or None.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    marks: Mapping[float, str] = field(default_factory=dict)
    level: float | None = None

    def record(self) -> dict[str, Any]:
        """Plain json."""
        return {
            "title": self.title,
            "x": self.x,
            "y": self.y,
            "x_scale": self.x_scale,
            "y_scale": self.y_scale,
            "lines": [line.record() for line in self.lines],
            "marks": [{"x": x, "label": label} for x, label in self.marks.items()],
            "level": self.level,
        }


@dataclass(frozen=True)
class Chart:
    """A figure of one or more panels.

    Attributes:
        name: of its files, lower case with dashes; unique in its experiment.
        what: it shows, in a few words, for lists.
        caption: sentences for below the figure: data, network, n, radii. Seeds and bands are added when it is drawn.
        panels: from left to right, then down.
        share_y: whether all panels have the same vertical axis.
    """

    name: str
    what: str
    caption: str
    panels: tuple[Panel, ...]
    share_y: bool = False

    def record(self) -> dict[str, Any]:
        """Plain json."""
        return {
            "name": self.name,
            "what": self.what,
            "caption": self.caption,
            "share_y": self.share_y,
            "panels": [panel.record() for panel in self.panels],
        }


@dataclass(frozen=True)
class Table:
    """Rows of numbers over seeds.

    Attributes:
        name: of its files, lower case with dashes; unique in its experiment.
        caption: what it shows, with data, n and units.
        columns: heads, with units; the first column holds texts.
        rows: first a text, then per column a text, or one number per seed, or None where there is nothing.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | tuple[float, ...] | None, ...], ...]

    def record(self) -> dict[str, Any]:
        """Plain json."""
        cells = [[list(cell) if isinstance(cell, tuple) else cell for cell in row] for row in self.rows]
        return {"name": self.name, "caption": self.caption, "columns": list(self.columns), "rows": cells}
