"""Numbers of single networks, and networks by seed: what claims and charts are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from verification.claims import experiment
from verification.claims.experiment import BySeed, Reading, Result, Results, paired
from verification.claims.roth2020.nets import COMPARED, INSIDE, Series, piece_name

FLOOR = 1e-9
"""Relative differences below this count as this: what is left there is rounding, whose logarithm says nothing."""


def by_seed(results: Results, series: Series, method: str, of: Reading) -> BySeed:
    """A number of every network of a method, by seed; what failed or has no such number is left out."""
    return experiment.by_seed(results, series.labels | {"method": method}, of)


def clean_accuracy(result: Result) -> float | None:
    """Share of all held-out samples classified correctly."""
    accuracy: float | None = result.summary["test_accuracy"]
    return accuracy


def singular_value(rank: int, of: str = "logits") -> Reading:
    """Mean σ_rank of the Jacobian of the logits or of the features; rank from 1."""

    def read(result: Result) -> float | None:
        values = result.measured["spectrum"][of]
        return None if values is None or rank > len(values) else float(values[rank - 1])

    return read


def rank_count(results: Results, series: Series, of: str = "logits") -> int:
    """How many singular values were measured; 0 without networks."""
    wanted = [r for r in results.all if all(r.net.labels.get(k) == v for k, v in series.labels.items())]
    return max((len(r.measured["spectrum"][of] or ()) for r in wanted), default=0)


def log_ratios(results: Results, series: Series, one: str, other: str) -> dict[int, list[float]]:
    """Seed -> ln(σ_k of one method / σ_k of another) for ranks 1..K-1.

    The last rank is left out: a change of all logits alike leaves the loss as it is, so that K - 1 directions matter.
    """
    last = max(rank_count(results, series) - 1, 1)
    found: dict[int, list[float]] = {}
    for rank in range(1, last + 1):
        first, second = (by_seed(results, series, method, singular_value(rank)) for method in (one, other))
        for seed, ratio in paired(first, second, lambda a, b: math.log(a / b) if min(a, b) > 0 else math.nan).items():
            found.setdefault(seed, []).append(ratio)
    return {seed: ratios for seed, ratios in found.items() if len(ratios) == last and all(map(math.isfinite, ratios))}


def damping(results: Results, series: Series, method: str, plain: str) -> BySeed:
    """Mean over the ranks of ln(σ_k of the method / σ_k of the plain network); below 0 where it damps."""
    return {seed: sum(r) / len(r) for seed, r in log_ratios(results, series, method, plain).items()}


def unlikeness(results: Results, series: Series, one: str, other: str) -> BySeed:
    """Mean over the ranks of |ln(σ_k of one method / σ_k of another)|."""
    return {seed: sum(map(abs, r)) / len(r) for seed, r in log_ratios(results, series, one, other).items()}


def cosine(rank: int, eps: float) -> Reading:
    """Mean |cosine| of the attack of a radius with v_rank."""
    return lambda result: at(result.measured["directions"]["results"], "eps", eps)["attack"][rank - 1]


def random_cosine(rank: int) -> Reading:
    """Mean |cosine| of a random direction with v_rank."""
    return lambda result: result.measured["directions"]["random"][rank - 1]


def lead(eps: float) -> Reading:
    """|cosine| of the attack with v_1 minus the mean of those with v_2, ..., v_{K-1}."""

    def read(result: Result) -> float | None:
        first, *others = at(result.measured["directions"]["results"], "eps", eps)["attack"][:-1]
        return float(first - sum(others) / len(others)) if others else None

    return read


def deviation(of: str, direction: str, distance: float, kind: str) -> Reading:
    """Of "logits" or "features", along "attack" or "random"; kind "deviation" or "relative"."""
    return lambda result: at(result.measured["linearity"]["directions"][direction], "distance", distance)[of][kind]


def sigma_1(direction: str, distance: float) -> Reading:
    """Mean σ_1(J) at a distance from the samples; at 0 the samples' own."""

    def read(result: Result) -> float | None:
        found = result.measured["linearity"]
        if distance == 0:
            return float(found["sigma_1"])
        return float(at(found["directions"][direction], "distance", distance)["sigma_1"])

    return read


def accuracy(eps: float, side: str = "held_out") -> Reading:
    """Share of samples classified correctly at the worst perturbations found."""
    return lambda result: at(result.measured["attacked"]["results"], "eps", eps)[side]["accuracy"]


def mean_accuracy(radii: Sequence[float]) -> Reading:
    """Held-out accuracy under attack, mean over radii: a single one may be out of reach of all networks alike."""

    def read(result: Result) -> float | None:
        found = [accuracy(eps)(result) for eps in radii]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else None

    return read


def piece(norm: str, kind: str, fraction: float = INSIDE) -> Reading:
    """Largest relative difference of the objectives or of their gradients; None where none was compared."""

    def read(result: Result) -> float | None:
        if piece_name(norm) not in result.measured:
            return None
        value: float | None = at(result.measured[piece_name(norm)]["results"], "fraction", fraction)[kind]
        return value

    return read


def worst_log_difference(results: Results, series: Series, norm: str, kind: str) -> BySeed:
    """log10 of the largest relative difference inside the piece, over the networks of a seed that were compared."""
    worst: BySeed = {}
    for method in COMPARED:
        for seed, value in by_seed(results, series, method, piece(norm, kind)).items():
            worst[seed] = max(worst.get(seed, -math.inf), math.log10(max(value, FLOOR)))
    return worst


def at(rows: list[dict[str, Any]], key: str, value: float) -> dict[str, Any]:
    """The row of a radius, distance or fraction.

    >>> at([{"eps": 0.0}, {"eps": 0.5}], "eps", 0.5)
    {'eps': 0.5}
    """
    return next(row for row in rows if math.isclose(row[key], value, rel_tol=1e-9, abs_tol=1e-12))
