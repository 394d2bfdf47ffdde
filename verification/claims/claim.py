"""An empirical claim, decided from one number per seed: effect, 95 % interval, verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import t as student

from bounds.errors import InputError

CONFIDENCE = 0.95

Direction = Literal["above", "below", "within"]


@dataclass(frozen=True)
class Effect:
    """A quantity measured once per seed, as a mean with Student's two-sided 95 % interval.

    The interval presumes that the seeds are independent and the mean roughly normal; with three seeds it is wide.

    Attributes:
        values: one number per seed.

    Raises:
        InputError: for fewer than two values, or one that is not finite.

    >>> effect = Effect((1.0, 2.0, 3.0))
    >>> effect.mean, [round(end, 3) for end in effect.interval]
    (2.0, [-0.484, 4.484])
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise InputError(f"an effect needs at least two seeds for an interval, not {len(self.values)}")
        if not all(map(math.isfinite, self.values)):
            raise InputError(f"an effect is not finite: {self.values}")

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """Student's two-sided 95 % interval of the mean."""
        return interval(self.values)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's two-sided 95 % interval of the mean; a single value gives itself.

    >>> interval([2.0, 2.0])
    (2.0, 2.0)
    """
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return mean, mean
    half = float(student.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return mean - half, mean + half


@dataclass(frozen=True)
class Claim:
    """A statement of a paper about trained networks, and what was measured of it.

    Attributes:
        key: short name, unique in its experiment.
        statement: what is claimed, in one sentence that stands alone.
        source: where: paper and place, or "own" for a statement of ours.
        quantity: what the effect is, in one phrase with its unit.
        effect: the measurements, one per seed.
        direction: the statement holds if the effect lies above, or below, the threshold, or within ± the threshold.
        threshold: where the statement turns.
        conditions: data, networks, strengths, radii, numbers of samples.
        remark: what a reader must know besides.

    >>> Claim("up", "It rises.", "own", "slope", Effect((1.0, 1.1, 0.9)), conditions="toy").verdict
    'supported'
    """

    key: str
    statement: str
    source: str
    quantity: str
    effect: Effect
    conditions: str
    direction: Direction = "above"
    threshold: float = 0.0
    remark: str = ""

    @property
    def verdict(self) -> str:
        """Supported, contradicted (the whole interval lies on the other side) or inconclusive."""
        low, high = self.effect.interval
        if self.direction == "within":
            if -self.threshold < low and high < self.threshold:
                return "supported"
            return "contradicted" if low > self.threshold or high < -self.threshold else "inconclusive"
        if self.direction == "below":
            low, high = -high, -low
        threshold = -self.threshold if self.direction == "below" else self.threshold
        # an effect that is the same for every seed may sit on the threshold itself: that is not beyond it
        if low > threshold:
            return "supported"
        return "contradicted" if high < threshold else "inconclusive"

    def record(self) -> dict[str, Any]:
        """Plain json."""
        low, high = self.effect.interval
        return {
            "key": self.key,
            "statement": self.statement,
            "source": self.source,
            "quantity": self.quantity,
            "values": list(self.effect.values),
            "mean": self.effect.mean,
            "interval": [low, high],
            "direction": self.direction,
            "threshold": self.threshold,
            "verdict": self.verdict,
            "conditions": self.conditions,
            "remark": self.remark,
        }
