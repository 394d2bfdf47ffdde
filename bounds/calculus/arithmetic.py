"""Number types of the one evaluator: mpmath floats, mpmath intervals, dual numbers in the logarithms of the radii.

An arithmetic turns constants into numbers and supplies the functions that Python's operators do not. All three work
in their own mpmath contexts, so nothing here changes anybody's global precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import mpmath
import numpy as np
from scipy import special

PRECISION = 120  # bits
point = mpmath.MPContext()
point.prec = PRECISION
interval = mpmath.MPIntervalContext()
interval.prec = PRECISION


class Arithmetic(Protocol):
    """What the evaluator needs of a number type besides + and *."""

    def rational(self, numerator: int, denominator: int) -> Any: ...
    def pi(self) -> Any: ...
    def power(self, x: Any, exponent: Any) -> Any: ...
    def rational_power(self, x: Any, numerator: int, denominator: int) -> Any: ...
    def exp(self, x: Any) -> Any: ...
    def log(self, x: Any) -> Any: ...
    def cosh(self, x: Any) -> Any: ...
    def x_log(self, x: Any, y: Any) -> Any: ...
    def ceiling(self, x: Any) -> Any: ...
    def harmonic(self, x: Any) -> Any: ...
    def beta_quantile(self, level: Any, a: Any, b: Any) -> Any: ...
    def maximum(self, x: Any, y: Any) -> Any: ...
    def minimum(self, x: Any, y: Any) -> Any: ...
    def at_most(self, x: Any, y: Any) -> bool | None: ...
    def hull(self, x: Any, y: Any) -> Any: ...


class Points:
    """mpmath floats: 10^400 is a number."""

    def rational(self, numerator: int, denominator: int) -> Any:
        return point.mpf(numerator) / denominator

    def pi(self) -> Any:
        return +point.pi

    def power(self, x: Any, exponent: Any) -> Any:
        return x**exponent

    def rational_power(self, x: Any, numerator: int, denominator: int) -> Any:
        if denominator == 1:
            return x**numerator
        if denominator == 2:
            return point.sqrt(x) ** numerator
        return x ** (point.mpf(numerator) / denominator) if x != 0 else point.mpf(0)

    def exp(self, x: Any) -> Any:
        return point.exp(x)

    def log(self, x: Any) -> Any:
        return point.log(x)

    def cosh(self, x: Any) -> Any:
        return point.cosh(x)

    def x_log(self, x: Any, y: Any) -> Any:
        return point.mpf(0) if x == 0 else x * point.log(y / x)

    def ceiling(self, x: Any) -> Any:
        return point.ceil(x)

    def harmonic(self, x: Any) -> Any:
        return point.harmonic(x)

    def beta_quantile(self, level: Any, a: Any, b: Any) -> Any:
        """Inverse regularised incomplete beta function, polished from scipy's value by bisection at full precision."""
        start = float(special.betaincinv(float(a), float(b), float(level)))
        low, high = point.mpf(start), point.mpf(start)
        step = point.mpf(2) ** -44
        while low > 0 and point.betainc(a, b, 0, low, regularized=True) > level:
            low, step = max(point.mpf(0), low - step), 2 * step
        step = point.mpf(2) ** -44
        while high < 1 and point.betainc(a, b, 0, high, regularized=True) < level:
            high, step = min(point.mpf(1), high + step), 2 * step
        for _ in range(PRECISION):
            middle = (low + high) / 2
            if point.betainc(a, b, 0, middle, regularized=True) < level:
                low = middle
            else:
                high = middle
            if high - low <= point.mpf(2) ** -80:
                break
        return high

    def maximum(self, x: Any, y: Any) -> Any:
        return max(x, y)

    def minimum(self, x: Any, y: Any) -> Any:
        return min(x, y)

    def at_most(self, x: Any, y: Any) -> bool | None:
        return bool(x <= y)

    def hull(self, x: Any, y: Any) -> Any:
        raise ArithmeticError("a comparison of points is always decided")


def enclosure(low: Any, high: Any) -> Any:
    """The interval [low, high]."""
    return interval.mpf([low, high])


def ends(x: Any) -> tuple[Any, Any]:
    """Lower and upper end of an interval, as points."""
    return point.make_mpf(x.a._mpi_[0]), point.make_mpf(x.b._mpi_[1])


class Intervals:
    """Enclosures with outward rounding; Min, Max, Piecewise and ceiling have their own rules."""

    _point = Points()

    def rational(self, numerator: int, denominator: int) -> Any:
        return interval.mpf(numerator) / denominator

    def pi(self) -> Any:
        return +interval.pi

    def power(self, x: Any, exponent: Any) -> Any:
        return interval.exp(exponent * interval.log(x))

    def rational_power(self, x: Any, numerator: int, denominator: int) -> Any:
        if denominator == 1:
            return x**numerator
        if denominator == 2:
            return interval.sqrt(x) ** numerator
        # Fractional powers of radii that may be 0: monotone, so the ends suffice; exp(y log x) would meet log 0.
        low, high = ends(x)
        exponent = interval.mpf(numerator) / denominator
        lower = interval.mpf(0) if low <= 0 else interval.exp(exponent * interval.log(low))
        upper = interval.mpf(0) if high <= 0 else interval.exp(exponent * interval.log(high))
        return self.hull(lower, upper)

    def exp(self, x: Any) -> Any:
        return interval.exp(x)

    def log(self, x: Any) -> Any:
        return interval.log(x)

    def cosh(self, x: Any) -> Any:
        return (interval.exp(x) + interval.exp(-x)) / 2

    def x_log(self, x: Any, y: Any) -> Any:
        """x ln(y/x), increasing in y and unimodal in x with its maximum y/e at x = y/e."""
        (x_low, x_high), (y_low, y_high) = ends(x), ends(y)
        corners = [self._x_log(u, v) for u in (x_low, x_high) for v in (y_low, y_high)]
        result = corners[0]
        for corner in corners[1:]:
            result = self.hull(result, corner)
        peak = interval.mpf(y_high) / interval.e
        if not (ends(peak)[0] > x_high or ends(peak)[1] < x_low):
            result = self.hull(result, peak)
        return result

    def _x_log(self, x: Any, y: Any) -> Any:
        return interval.mpf(0) if x == 0 else interval.mpf(x) * interval.log(interval.mpf(y) / x)

    def ceiling(self, x: Any) -> Any:
        low, high = ends(x)
        return enclosure(point.ceil(low), point.ceil(high))

    def harmonic(self, x: Any) -> Any:
        low, high = ends(x)
        return self._widened(point.harmonic(low), point.harmonic(high))

    def beta_quantile(self, level: Any, a: Any, b: Any) -> Any:
        """Increasing in the level and in a, decreasing in b."""
        quantile = self._point.beta_quantile
        low = quantile(ends(level)[0], ends(a)[0], ends(b)[1])
        high = quantile(ends(level)[1], ends(a)[1], ends(b)[0])
        return self._widened(max(point.mpf(0), low - point.mpf(2) ** -70), high)

    def _widened(self, low: Any, high: Any) -> Any:
        """Allowance of 2^-60 for functions that mpmath evaluates at 120 bits without a rigorous error bound."""
        slack = interval.mpf([1 - point.mpf(2) ** -60, 1 + point.mpf(2) ** -60])
        return enclosure(low, high) * slack

    def maximum(self, x: Any, y: Any) -> Any:
        (x_low, x_high), (y_low, y_high) = ends(x), ends(y)
        return enclosure(max(x_low, y_low), max(x_high, y_high))

    def minimum(self, x: Any, y: Any) -> Any:
        (x_low, x_high), (y_low, y_high) = ends(x), ends(y)
        return enclosure(min(x_low, y_low), min(x_high, y_high))

    def at_most(self, x: Any, y: Any) -> bool | None:
        (x_low, x_high), (y_low, y_high) = ends(x), ends(y)
        if x_high <= y_low:
            return True
        return False if x_low > y_high else None

    def hull(self, x: Any, y: Any) -> Any:
        (x_low, x_high), (y_low, y_high) = ends(x), ends(y)
        return enclosure(min(x_low, y_low), max(x_high, y_high))


@dataclass(frozen=True)
class Dual:
    """A value with its derivatives in the logarithms of the seeds: d value / d ln t_i = scale * slopes[i].

    The slopes are float64 and the common scale an mpf, so derivatives of 10^400 neither overflow nor lose digits.
    """

    value: Any
    scale: Any
    slopes: np.ndarray

    def __add__(self, other: Dual) -> Dual:
        return _combine(self.value + other.value, (self.scale, self.slopes), (other.scale, other.slopes))

    def __mul__(self, other: Dual) -> Dual:
        return _combine(
            self.value * other.value,
            (other.value * self.scale, self.slopes),
            (self.value * other.scale, other.slopes),
        )

    def mapped(self, value: Any, derivative: Any) -> Dual:
        """The chain rule for a function with this value and derivative."""
        return Dual(value, self.scale * derivative, self.slopes)

    def elasticities(self) -> np.ndarray:
        """d ln value / d ln t_i, float64."""
        return self.slopes * float(self.scale / self.value) if self.value != 0 else np.zeros_like(self.slopes)


def _combine(value: Any, first: tuple[Any, np.ndarray], second: tuple[Any, np.ndarray]) -> Dual:
    scale = max(abs(first[0]), abs(second[0]))
    if scale == 0:
        return Dual(value, point.mpf(0), first[1])
    return Dual(value, scale, float(first[0] / scale) * first[1] + float(second[0] / scale) * second[1])


class Duals:
    """Forward-mode derivatives in `size` seeds."""

    _point = Points()

    def __init__(self, size: int) -> None:
        self.zeros = np.zeros(size)

    def constant(self, value: Any) -> Dual:
        """A number that does not depend on the seeds."""
        return Dual(point.mpf(value), point.mpf(0), self.zeros)

    def seed(self, value: Any, position: int) -> Dual:
        """The radius number `position`: d t / d ln t = t."""
        slopes = self.zeros.copy()
        slopes[position] = 1.0
        return Dual(point.mpf(value), point.mpf(value), slopes)

    def rational(self, numerator: int, denominator: int) -> Dual:
        return self.constant(self._point.rational(numerator, denominator))

    def pi(self) -> Dual:
        return self.constant(self._point.pi())

    def power(self, x: Dual, exponent: Dual) -> Dual:
        return self.exp(exponent * self.log(x))

    def rational_power(self, x: Dual, numerator: int, denominator: int) -> Dual:
        value = self._point.rational_power(x.value, numerator, denominator)
        if x.value == 0:  # a layer that is 0 contributes nothing at any scale
            return self.constant(value)
        return x.mapped(value, value * numerator / (denominator * x.value))

    def exp(self, x: Dual) -> Dual:
        value = point.exp(x.value)
        return x.mapped(value, value)

    def log(self, x: Dual) -> Dual:
        return x.mapped(point.log(x.value), 1 / x.value)

    def cosh(self, x: Dual) -> Dual:
        return x.mapped(point.cosh(x.value), point.sinh(x.value))

    def x_log(self, x: Dual, y: Dual) -> Dual:
        return self.constant(0) if x.value == 0 else x * self.log(y * self.rational_power(x, -1, 1))

    def ceiling(self, x: Dual) -> Dual:
        return x.mapped(point.ceil(x.value), point.mpf(1))  # the slope of the formula without its ceilings

    def harmonic(self, x: Dual) -> Dual:
        return self._fixed(point.harmonic(x.value), x)

    def beta_quantile(self, level: Dual, a: Dual, b: Dual) -> Dual:
        return self._fixed(self._point.beta_quantile(level.value, a.value, b.value), level, a, b)

    def _fixed(self, value: Any, *arguments: Dual) -> Dual:
        """Functions of sample sizes only: their arguments never carry a radius."""
        if any(argument.scale != 0 and argument.slopes.any() for argument in arguments):
            raise ArithmeticError("derivative of a function of sample sizes")
        return self.constant(value)

    def maximum(self, x: Dual, y: Dual) -> Dual:
        return x if x.value >= y.value else y

    def minimum(self, x: Dual, y: Dual) -> Dual:
        return x if x.value <= y.value else y

    def at_most(self, x: Dual, y: Dual) -> bool | None:
        return bool(x.value <= y.value)

    def hull(self, x: Dual, y: Dual) -> Dual:
        raise ArithmeticError("a comparison of points is always decided")


def layers(values: Sequence[Any], first: int = 1) -> dict[int, Any]:
    """Numbers of an indexed symbol by layer: `layers([3, 4])` is s_1 = 3, s_2 = 4.

    >>> layers([3, 4])
    {1: 3, 2: 4}
    """
    return dict(enumerate(values, start=first))
