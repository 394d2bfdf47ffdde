"""The axes of a chart: linear, logarithmic, or logarithmic with a place for 0; ends, round ticks, and their names."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from figures.numbers import MINUS
from figures.scatter_figure import round_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINEAR = 0.6  # width of the linear part of a symlog axis on one side of 0, in decades
DECADES = 8.0  # of a symlog axis at most; what is smaller lies in its linear part around 0
REACH = 1.0  # a linear axis makes room for bands beyond the means up to so many times the range of the means


@dataclass(frozen=True)
class ChartAxis:
    """Scale, ends and ticks of an axis.

    Attributes:
        scale: "linear", "log" or "symlog".
        low: lower end.
        high: upper end.
        threshold: where the linear part of a symlog axis ends.
        whole: whether it counts (layers, ranks): a linear axis without ticks between whole numbers.
    """

    scale: str
    low: float
    high: float
    threshold: float = 1.0
    whole: bool = False

    def apply(self, axes: Axes, which: str) -> None:
        """Set scale and ends; ticks come later, when the size is known."""
        from matplotlib.ticker import NullLocator

        settings = {"linthresh": self.threshold, "linscale": LINEAR} if self.scale == "symlog" else {}
        getattr(axes, f"set_{which}scale")(self.scale, **settings)
        getattr(axes, f"set_{which}lim")(self.low, self.high)
        getattr(axes, f"{which}axis").set_minor_locator(NullLocator())

    def apply_with_ticks(self, axes: Axes, which: str, at_most: int) -> None:
        """Set scale, ends and named ticks, where the size is known."""
        self.apply(axes, which)
        ticks = self.ticks(at_most)
        getattr(axes, f"set_{which}ticks")(ticks, tick_labels(ticks, self.scale))

    def share(self, value: float) -> float:
        """Where a value lies, from 0 at the lower end to 1 at the upper one.

        >>> ChartAxis("log", 0.1, 10.0).share(1.0), ChartAxis("linear", -1.0, 3.0).share(0.0)
        (0.5, 0.25)
        """
        low, here, high = map(self._place, (self.low, max(value, self.low), self.high))
        return (here - low) / (high - low)

    def _place(self, value: float) -> float:
        if self.scale == "linear":
            return value
        if self.scale == "log":
            return math.log10(value)
        # as matplotlib: a decade is 1 wide, the linear part on either side of 0 is LINEAR / 0.9
        size = abs(value) / self.threshold
        return math.copysign(LINEAR / 0.9 * size if size <= 1 else LINEAR / 0.9 + math.log10(size), value)

    def ticks(self, at_most: int) -> list[float]:
        """Round numbers inside the ends.

        >>> ChartAxis("linear", 1.9, 4.1).ticks(6), ChartAxis("linear", 1.9, 4.1, whole=True).ticks(6)
        ([2.0, 2.5, 3.0, 3.5, 4.0], [2.0, 3.0, 4.0])
        """
        from matplotlib.ticker import MaxNLocator

        if self.scale == "linear":
            locator = MaxNLocator(nbins=at_most, steps=[1, 2, 2.5, 5, 10], integer=self.whole, min_n_ticks=1)
            found = locator.tick_values(self.low, self.high)
            slack = 1e-9 * (self.high - self.low)
            return [float(tick) for tick in found if self.low - slack <= tick <= self.high + slack]
        if self.scale == "log":
            return log_ticks(self.low, self.high, at_most) or [self.low, self.high]
        above = log_ticks(self.threshold * (1 - 1e-9), self.high, at_most - 1) if self.high > self.threshold else []
        below = log_ticks(self.threshold, -self.low, at_most // 2) if -self.low > self.threshold else []
        return [-tick for tick in reversed(below)] + [0.0] + above


def scale_for(values: Iterable[float], factor: float) -> str:
    """The scale that shows all values (>= 0): logarithmic where those above 0 span a factor, with a place for 0.

    >>> scale_for([0.1, 0.2], 10), scale_for([0.1, 2.0], 10), scale_for([0.0, 0.1, 2.0], 10), scale_for([0.0], 10)
    ('linear', 'log', 'symlog', 'linear')
    """
    values = list(values)
    positive = [value for value in values if value > 0]
    if not positive or max(positive) < factor * min(positive):
        return "linear"
    return "log" if len(positive) == len(values) else "symlog"


def axis_of(scale: str, means: Iterable[float], bands: Iterable[float] = ()) -> ChartAxis:
    """The axis on which all means can be seen, and as much of the bands as does not squeeze the means.

    >>> axis_of("log", [0.1, 10.0, 0.0]).scale, axis_of("symlog", [0.0, 0.01, 1.0]).threshold
    ('log', 0.01)
    >>> axis_of("linear", [2, 3, 6]).whole, axis_of("linear", [2, 2.5]).whole
    (True, False)
    """
    means, bands = list(means) or [0.0, 1.0], list(bands)
    positive = [value for value in means if value > 0]
    if scale == "log" and positive:
        return _log_axis(positive, [value for value in bands if value > 0], any(value <= 0 for value in means))
    if scale == "symlog" and any(means):
        return _symlog_axis(means, bands)
    whole = all(float(mean).is_integer() for mean in means)
    low, high = min(means), max(means)
    room = REACH * ((high - low) or abs(high) or 1.0)
    low, high = min([low, *(max(b, low - room) for b in bands)]), max([high, *(min(b, high + room) for b in bands)])
    margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return ChartAxis("linear", low - margin, high + margin, whole=whole)


def _log_axis(means: Sequence[float], bands: Sequence[float], below: bool) -> ChartAxis:
    """From a little below the least positive mean; bands reach down at most as far again as the means span."""
    low, high = min(means), max(means)
    room = max(high / low, 3.0)
    low, high = min([low, *(max(b, low / room) for b in bands)]), max([high, *(min(b, high * room) for b in bands)])
    margin = max((high / low) ** 0.05, 1.12)
    bottom = low / margin / (margin if below else 1.0)
    return ChartAxis("log", max(bottom, sys.float_info.min), high * margin)  # below it numbers round to 0


def _symlog_axis(means: Sequence[float], bands: Sequence[float]) -> ChartAxis:
    """Linear up to the smallest number that is not 0, so that 0 has a place of its own."""
    sizes = [abs(value) for value in means if value]
    threshold = max(min(sizes), max(sizes) * 10**-DECADES)
    largest = max(sizes)
    low, high = (end([*means, *(max(-3 * largest, min(b, 3 * largest)) for b in bands)]) for end in (min, max))
    up = 1.12 * max(1.0, (max(high, threshold) / threshold) ** 0.05)
    bottom = -0.3 * threshold if low >= 0 else low * up if low < -threshold else -1.3 * threshold
    return ChartAxis("symlog", bottom, max(high * up, 0.3 * threshold), threshold)


def log_ticks(low: float, high: float, at_most: int) -> list[float]:
    """Round numbers of a logarithmic axis: the finest of 1-2-5, 1-3 and powers of ten that keeps to `at_most`.

    >>> log_ticks(0.04, 1.8, 6), log_ticks(0.04, 1.8, 4), log_ticks(1e-4, 1e4, 3)
    ([0.05, 0.1, 0.2, 0.5, 1.0], [0.1, 0.3, 1.0], [0.0001, 0.1, 100.0])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3)):
        inside = [tick for k in decades for step in steps if low <= (tick := float(f"{step}e{k}")) <= high]
        if 2 < len(inside) <= at_most:
            return inside
    return round_numbers(low, high, max(2, at_most))


def tick_labels(ticks: Sequence[float], scale: str) -> list[str]:
    """Names of all ticks of an axis; on a linear one with as many decimals as the finest tick needs.

    >>> tick_labels([0.0, 0.25, 0.5], "linear"), tick_labels([0.1, 1.0], "log")
    (['0', '0.25', '0.50'], ['0.1', '1'])
    """
    plain = [tick_label(tick) for tick in ticks]
    if scale != "linear" or any("$" in label for label in plain):
        return plain
    decimals = max((len(label.partition(".")[2]) for label in plain), default=0)
    return [
        label if label == "0" else f"{tick:.{decimals}f}".replace("-", MINUS)
        for label, tick in zip(plain, ticks, strict=True)
    ]


def tick_label(value: float) -> str:
    r"""A number at a tick; very small and very large ones as powers of ten.

    >>> tick_label(0.0), tick_label(-0.25), tick_label(2e6), tick_label(1e-5)
    ('0', '−0.25', '$2{\\cdot}10^{6}$', '$10^{-5}$')
    """
    if abs(value) < 1e-300:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}".replace("-", MINUS)
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    front = f"{float(mantissa):g}"
    lead = {"1": "", "-1": "-"}.get(front, front + r"{\cdot}")
    return f"${lead}10^{{{int(exponent)}}}$"


def bare(label: str) -> str:
    r"""A label of a tick without the commands of mathtext, about as wide as what is drawn.

    >>> bare(r"$2{\cdot}10^{-6}$")
    '2·10-6'
    """
    return re.sub(r"[${}^]", "", label.replace(r"{\cdot}", "·"))
