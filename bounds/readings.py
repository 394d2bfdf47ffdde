"""One bound read off for one set of measurements: for a class fixed in advance, and a posteriori (L4.10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from bounds import symbols
from bounds.calculus.arithmetic import Intervals, Points, enclosure, ends, point
from bounds.calculus.evaluator import Evaluator, heads
from bounds.calculus.statements import Gap
from bounds.calculus.stratification import Grid, weight
from bounds.catalogue.entry import Bound
from bounds.measurements import Measurements
from bounds.sides import upper_end

Empirical = Callable[[float], float | None]
"""Empirical risk as a function of the margin; None where it was not measured on every training sample."""

MARGIN_CANDIDATES = 40
DECADES = 10_000  # a factor of 10^-10000 is as good as zero


@dataclass(frozen=True)
class Settings:
    """What the user fixes in advance (theory §4); printed with every table.

    Attributes:
        delta: failure probability of each row.
        margin: gamma of the fixed-class readings, logits.
        grid: of the stratification.
    """

    delta: float = 0.05
    margin: float = 1.0
    grid: Grid = Grid()


@dataclass(frozen=True)
class Reading:
    """A bound's numbers; mpf, upper bounds.

    Attributes:
        raw: raw gap (uncapped), unit of the loss.
        gap: guaranteed gap.
        risk: guaranteed risk, min(trivial, empirical + gap).
        trivial: the range of the loss.
        empirical: empirical risk at this margin; None where not measured on every sample.
        margin: gamma, logits.
    """

    raw: Any
    gap: Any
    risk: Any
    trivial: Any
    empirical: float | None
    margin: float

    @property
    def vacuous(self) -> bool:
        """Whether the guaranteed risk is the trivial value."""
        return bool(self.risk >= self.trivial)


def used(gap: Gap, *more: sp.Expr) -> frozenset[Any]:
    """The symbols that a gap, and more in its terms, is written in, followed through its named parts."""
    parts = {part.symbol: part for part in gap.parts}
    found: set[Any] = set()
    queue = [gap.raw, gap.guaranteed, gap.trivial, *more]
    while queue:
        for head in heads(queue.pop()) - found:
            found.add(head)
            if head in parts:
                queue.append(parts[head].expression)
    return frozenset(found)


def evaluator(bound: Bound, measurements: Measurements, settings: Settings) -> Evaluator:
    """The bound's formula over the measured upper ends, at the fixed margin and at delta less the failures."""
    values = measurements.points()
    values[symbols.gamma] = point.mpf(settings.margin)
    values[symbols.delta] = point.mpf(settings.delta) - measurements.failure()
    return Evaluator(bound.gap.parts, values, measurements.architecture.depth, Points())


def read(bound: Bound, evaluate: Evaluator, empirical: Empirical, margin: float) -> Reading:
    """The numbers of a bound with the evaluator's values."""
    trivial = evaluate(bound.gap.trivial)
    gap = evaluate(bound.gap.guaranteed)
    measured = empirical(margin)
    total = trivial if measured is None else measured + gap
    return Reading(evaluate(bound.gap.raw), gap, min(trivial, total), trivial, measured, margin)


def read_fixed(bound: Bound, measurements: Measurements, settings: Settings, empirical: Empirical) -> Reading:
    """For a class whose radii are the measured ones, as if they had been fixed in advance."""
    return read(bound, evaluator(bound, measurements, settings), empirical, settings.margin)


def read_stratified(
    bound: Bound,
    measurements: Measurements,
    settings: Settings,
    empirical: Empirical,
    margins: np.ndarray,
) -> Reading:
    """Valid for the trained network itself (L4.10): radii on the grid, the failure probability shared out.

    The margin is chosen among grid points between the smallest and the largest positive training margin, so as to
    minimise the guaranteed risk, and among equals the empirical risk plus the raw gap.

    Raises:
        ValueError: if the bound uses a radius that its calculus does not declare it non-decreasing in.
    """
    radii = _radii(bound, measurements)
    rounded, share = _stratified(radii, settings.grid)
    delta = (point.mpf(settings.delta) - measurements.failure()) * share
    start = evaluator(bound, measurements, settings).changed({**rounded, symbols.delta: delta})
    if symbols.gamma not in used(bound.gap):
        return read(bound, start, empirical, settings.margin)
    readings = []
    for j in _margin_strata(margins, settings):
        inverse = settings.grid.value(j)
        at = start.changed({symbols.gamma: 1 / inverse, symbols.delta: delta * weight(j)})
        readings.append(read(bound, at, empirical, float(1 / inverse)))
    return min(readings, key=lambda r: (r.risk, (r.empirical if r.empirical is not None else r.trivial) + r.raw))


def _radii(bound: Bound, measurements: Measurements) -> dict[Any, Any]:
    """The radii to stratify: those the bound uses, but for offsets that are zero by construction."""
    if bound.stratify_only_margin:
        return {}
    radii: dict[Any, Any] = {s: value for s, value in measurements.radii().items() if s in used(bound.gap)}
    undeclared = set(radii) - set(bound.gap.increasing)
    if undeclared:
        raise ValueError(f"not declared non-decreasing in {sorted(map(str, undeclared))}")
    if symbols.c in radii:
        biased = {i for i, layer in enumerate(measurements.architecture.layers, start=1) if layer.bias}
        radii[symbols.c] = {i: side for i, side in radii[symbols.c].items() if i in biased}
    return radii


def _stratified(radii: Mapping[Any, Any], grid: Grid) -> tuple[dict[Any, Any], Any]:
    """Radii rounded up to the grid, and the product of the strata's weights."""
    share = point.mpf(1)
    rounded: dict[Any, Any] = {}
    for symbol, value in radii.items():
        entries = value if isinstance(value, Mapping) else {None: value}
        strata = {i: grid.stratum(upper_end(side)) for i, side in entries.items()}
        for j in strata.values():
            share *= weight(j)
        on_grid = {i: grid.value(j) for i, j in strata.items()}
        rounded[symbol] = on_grid if isinstance(value, Mapping) else on_grid[None]
    if symbols.c in rounded:  # layers without an offset keep their exact zero
        rounded[symbols.c] = _ZeroElsewhere(rounded[symbols.c])
    return rounded, share


class _ZeroElsewhere(dict[int, Any]):
    def __missing__(self, key: int) -> Any:
        return point.mpf(0)


def _margin_strata(margins: np.ndarray, settings: Settings) -> list[int]:
    positive = margins[margins > 0]
    if positive.size == 0:
        return [settings.grid.stratum(1 / settings.margin)]
    low = settings.grid.stratum(1 / float(positive.max()))
    high = settings.grid.stratum(1 / max(float(np.quantile(positive, 0.001)), 1e-3 * float(positive.max())))
    step = max(1, -(-(high - low) // MARGIN_CANDIDATES))
    return list(range(low, high + 1, step))


def enclosure_log10(bound: Bound, measurements: Measurements, settings: Settings) -> tuple[float, float]:
    """Enclosure of log10 of the raw fixed-class gap, given the enclosures of the measured norms."""
    values = measurements.intervals()
    interval = Intervals()
    values[symbols.gamma] = interval.rational(1, 1) * settings.margin
    delta = point.mpf(settings.delta)
    values[symbols.delta] = enclosure(delta - measurements.failure(), delta - measurements.failure())
    low, high = ends(Evaluator(bound.gap.parts, values, measurements.architecture.depth, interval)(bound.gap.raw))
    return float(point.log10(low)), float(point.log10(high))


def elasticities(bound: Bound, measurements: Measurements, settings: Settings) -> dict[str, list[float]]:
    """d ln(raw fixed-class gap) / d ln(radius) by radius and layer; radii that do not matter are left out."""
    values, arithmetic, seeded = measurements.duals()
    values[symbols.gamma] = arithmetic.constant(settings.margin)
    values[symbols.delta] = arithmetic.constant(settings.delta - measurements.failure())
    depth = measurements.architecture.depth
    slopes = Evaluator(bound.gap.parts, values, depth, arithmetic)(bound.gap.raw).elasticities()
    by_radius = {str(symbol): list(map(float, slopes[p * depth : (p + 1) * depth])) for p, symbol in enumerate(seeded)}
    return {symbol: entries for symbol, entries in by_radius.items() if any(entries)}


def shares(bound: Bound, evaluate: Evaluator) -> list[float] | None:
    """Each layer's share of the raw fixed-class expression; sums to one."""
    if bound.share is None:
        return [1.0]
    terms = [evaluate(bound.share, i=layer) for layer in range(1, evaluate.depth + 1)]
    total = sum(terms)
    return [float(term / total) for term in terms] if total > 0 else None


def shrinkage_log10(bound: Bound, evaluate: Evaluator, reading: Reading) -> float | None:
    """log10 of the factor by which the `shrink` parts must shrink for a risk below trivial; None if none is enough.

    0 where the bound is not vacuous already. An empirical risk that is not known counts as 0 here.
    """
    empirical = reading.empirical or 0.0

    def enough(decades: float) -> bool:
        factor = point.mpf(10) ** -point.mpf(decades)
        at = evaluate.changed({}, dict.fromkeys(bound.shrink, factor))
        return bool(empirical + at(bound.gap.guaranteed) < at(bound.gap.trivial))

    return None if not enough(DECADES) else _bisected(enough, 0.0)


def sample_size_log10(bound: Bound, measurements: Measurements, evaluate: Evaluator) -> float | None:
    """log10 n*, the sample size at which the guaranteed gap falls below the trivial value; ‖X‖_F grows as sqrt n."""
    data = measurements.data

    def enough(decades: float) -> bool:
        n = point.mpf(10) ** point.mpf(decades)
        growth = point.sqrt(n / data.n)
        at = evaluate.changed(
            {
                symbols.n: n,
                symbols.X_F: upper_end(data.frobenius) * growth,
                symbols.X_col: upper_end(data.column_max) * growth,
            }
        )
        return bool(at(bound.gap.guaranteed) < at(bound.gap.trivial))

    return None if not enough(2.0 * DECADES) else _bisected(enough, 0.31)


def _bisected(enough: Callable[[float], bool], low: float) -> float:
    """The smallest number at or above `low` that is enough, to three digits behind the point."""
    if enough(low):
        return low
    high = low + 1.0
    while not enough(high):
        low, high = high, low + 2 * (high - low) + 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
