"""Strategies for instances: numbers, norms, matrices, networks, samples, attack sets."""

from __future__ import annotations

from verification.inequalities.strategies.networks import chains, convolutions, networks
from verification.inequalities.strategies.numbers import (
    entries,
    exponents,
    labels,
    matrices,
    positive,
    scales,
    vectors,
)

__all__ = [
    "chains",
    "convolutions",
    "entries",
    "exponents",
    "labels",
    "matrices",
    "networks",
    "positive",
    "scales",
    "vectors",
]
