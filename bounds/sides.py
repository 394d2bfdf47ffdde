"""Which side of the truth a measured number is on. An upper-bound formula refuses a number from below."""

from __future__ import annotations

import math
from dataclasses import dataclass


class WrongSide(TypeError):
    """A number from below (or a mere estimate) was offered where an upper end is needed, or the reverse."""


@dataclass(frozen=True)
class Exact:
    """A number that is exact up to floating-point rounding."""

    value: float
    how: str = ""

    def __post_init__(self) -> None:
        _refuse_nan(self.value)


@dataclass(frozen=True)
class Upper:
    """A certified upper bound; `failure` is the probability that the certificate is wrong (0: deterministic)."""

    value: float
    how: str = ""
    failure: float = 0.0

    def __post_init__(self) -> None:
        _refuse_nan(self.value)


@dataclass(frozen=True)
class Lower:
    """A lower bound, attained or converged to from below."""

    value: float
    how: str = ""

    def __post_init__(self) -> None:
        _refuse_nan(self.value)


@dataclass(frozen=True)
class Estimate:
    """A statistical estimate with a confidence interval [low, high] at level `confidence`."""

    value: float
    low: float
    high: float
    confidence: float

    def __post_init__(self) -> None:
        for number in (self.value, self.low, self.high):
            _refuse_nan(number)


@dataclass(frozen=True)
class TwoSided:
    """A lower and an upper bound of the same quantity."""

    lower: Lower
    upper: Upper

    def __post_init__(self) -> None:
        if self.lower.value > self.upper.value:
            raise ValueError(f"lower end {self.lower.value!r} above upper end {self.upper.value!r}")


ROUNDING = 2.0**-44
"""Relative allowance for the float64 rounding of an `Exact` number: far above that of the longest sum here."""

Side = Exact | Upper | Lower | Estimate | TwoSided


def upper_end(number: Side) -> float:
    """The certified upper end of a measured number; an exact one gets an allowance for its rounding.

    Raises:
        WrongSide: for a lower bound or an estimate.

    >>> upper_end(TwoSided(Lower(1.0), Upper(1.25)))
    1.25
    >>> upper_end(Lower(1.0, "power iteration"))
    Traceback (most recent call last):
        ...
    bounds.sides.WrongSide: an upper end is needed, but Lower(value=1.0, how='power iteration') is not one
    """
    if isinstance(number, TwoSided):
        return number.upper.value
    if isinstance(number, Exact):
        return number.value + ROUNDING * abs(number.value)
    if isinstance(number, Upper):
        return number.value
    raise WrongSide(f"an upper end is needed, but {number!r} is not one")


def lower_end(number: Side) -> float:
    """The certified lower end of a measured number.

    Raises:
        WrongSide: for an upper bound or an estimate.

    >>> lower_end(Lower(2.0))
    2.0
    """
    if isinstance(number, TwoSided):
        return number.lower.value
    if isinstance(number, Exact):
        return number.value - ROUNDING * abs(number.value)
    if isinstance(number, Lower):
        return number.value
    raise WrongSide(f"a lower end is needed, but {number!r} is not one")


def failure_probability(number: Side) -> float:
    """Probability that the upper end of a measured number is wrong.

    >>> failure_probability(TwoSided(Lower(1.0), Upper(1.25, "Lanczos", failure=1e-12)))
    1e-12
    """
    if isinstance(number, TwoSided):
        return number.upper.failure
    return number.failure if isinstance(number, Upper) else 0.0


def _refuse_nan(value: float) -> None:
    if math.isnan(value):
        raise ValueError("a measured number is NaN")
