"""Numbers of single networks, and networks by seed: what claims and charts are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Any

from verification.claims.experiment import Reading, Result, Results, by_seed
from verification.claims.wu2024.nets import CONSTANT, NORM_KEY, SURROGATE, Series, attacked_name

COLLAPSED = 0.5
"""A strength has collapsed the network if its mean held-out accuracy is below this share of the plain network's."""

FLOOR = 1e-3
"""Norms below this share of the plain network's count as this share: a collapsed network's are noise around 0."""

BOUND_LABELS = {
    "bartlett2017_spectral audited": "Bartlett et al. 2017, audited",
    "golowich2018_l1inf sharper": "Golowich et al. 2018, row 1-norms",
    "parametric_cover standard": "parametric cover (own)",
    "jacobian_surrogate frobenius, norm-based": "Frobenius surrogate, norm-based (own)",
    "jacobian_surrogate frobenius, parametric": "Frobenius surrogate, parametric (own)",
}
"""The rows of the catalogue that are shown."""


def over_strengths(results: Results, series: Series, of: Reading) -> dict[float, list[float]]:
    """Strength -> one value per seed."""
    return {s: list(by_seed(results, series.at(s), of).values()) for s in series.all_strengths}


def standing(results: Results, series: Series) -> float | None:
    """The largest strength > 0 that has not collapsed the network; None if there is none."""
    accuracies = {s: values for s, values in over_strengths(results, series, held_out_accuracy).items() if values}
    if 0.0 not in accuracies:
        return None
    means = {s: sum(values) / len(values) for s, values in accuracies.items()}
    good = [s for s in series.strengths if means.get(s, 0.0) >= COLLAPSED * means[0.0]]
    return max(good, default=None)


def largest_rise(values: Iterable[float]) -> float:
    """The largest ln of a value over the one before, values counted from FLOOR times the first upwards.

    >>> round(largest_rise([8.0, 4.0, 5.0, 1.0]), 4)  # ln(5/4)
    0.2231
    """
    first, *rest = values
    logs = [math.log(max(value / first, FLOOR)) for value in (first, *rest)]
    return max(after - before for before, after in zip(logs, logs[1:], strict=False))


def asymmetry(a: float, b: float) -> float:
    """a - b over the mean of |a| and |b|: with equal signs within ±2(r - 1)/(r + 1) iff they are within a factor r.

    >>> asymmetry(1.0, 3.0), asymmetry(1.0, -1.0), asymmetry(0.0, 0.0)
    (-1.0, 2.0, 0.0)
    """
    return 2 * (a - b) / (abs(a) + abs(b)) if a or b else 0.0


def asymmetry_log10(a: float, b: float) -> float:
    """The same of two positive numbers that are given by their log10.

    >>> round(asymmetry_log10(math.log10(1.0), math.log10(3.0)), 9)
    -1.0
    """
    return 2 * math.tanh((a - b) * math.log(10) / 2)


def held_out_accuracy(result: Result) -> float:
    """Share of held-out samples classified correctly."""
    return float(result.summary["test_accuracy"])


def jacobian_norm(key: str) -> Reading:
    """A mean norm of the Jacobian, or another number of that measurement."""

    def read(result: Result) -> float | None:
        return _maybe(result.measured["jacobian"][key])

    return read


def layer_norm(position: int) -> Reading:
    """Mean ‖∂f/∂z_i‖_F of layer i."""
    return lambda result: float(result.measured["jacobian"]["layers"][position]["frobenius"])


def gap(kind: str) -> Reading:
    """Held-out minus training "loss" (nats) or "error" (share)."""

    def read(result: Result) -> float:
        sides = result.measured["generalization"]
        return float(sides["held_out"][kind] - sides["train"][kind])

    return read


def robust_gap(kind: str, norm: str, eps: float) -> Reading:
    """The same of what the attack found."""

    def read(result: Result) -> float | None:
        sides = _attack(result, norm, eps)
        if sides is None:
            return None
        difference = float(sides["held_out"][kind] - sides["train"][kind])
        return -difference if kind == "accuracy" else difference

    return read


def attacked(kind: str, side: str, norm: str, eps: float) -> Reading:
    """Mean "loss" or "accuracy" under attack on "train" or "held_out"."""

    def read(result: Result) -> float | None:
        sides = _attack(result, norm, eps)
        return None if sides is None else float(sides[side][kind])

    return read


def surrogate_mean(norm: str, eps: float) -> Reading:
    """Mean surrogate of held-out samples: loss over all, norm over those whose Jacobians were measured."""

    def read(result: Result) -> float:
        loss = result.measured["generalization"]["held_out"]["loss"]
        return float(loss + CONSTANT[norm] * eps * result.measured["jacobian"][NORM_KEY[norm]])

    return read


def bound(row: str, reading: str) -> Reading:
    """log10 of a bound's raw gap, "fixed_class" or "a_posteriori"."""

    def read(result: Result) -> float | None:
        found = result.measured.get("bounds", {"rows": {}})["rows"].get(row)
        return None if found is None else _maybe(found[reading])

    return read


def rademacher(side: str) -> Reading:
    """The Rademacher complexity's "estimate" or "lower" end."""

    def read(result: Result) -> float | None:
        return _maybe(result.measured["rademacher"][side]) if "rademacher" in result.measured else None

    return read


def verdict(norm: str, eps: float, of: Callable[[Mapping[str, Any]], float | None]) -> Reading:
    """A number of the verdicts at one radius; see `share_of`."""

    def read(result: Result) -> float | None:
        found = result.measured.get(f"verdicts {norm}", {"results": ()})["results"]
        return next((_maybe(of(entry)) for entry in found if entry["eps"] == eps), None)

    return read


def share_of(verdict: str, norm: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Of one radius: the share of samples on which the norm's surrogate is "proved", "undecided" or "refuted"."""
    return lambda entry: _maybe(entry["surrogates"][SURROGATE[norm]][verdict])


def not_refuted_up_to(norm: str, most: float) -> Reading:
    """The largest radius up to which no more than that share of samples is refuted; 0 if there is none."""
    return _reached(norm, lambda shares: shares["refuted"] <= most)


def proved_up_to(norm: str, most: float) -> Reading:
    """The largest radius up to which no more than that share of samples is not proved; 0 if there is none."""
    return _reached(norm, lambda shares: shares["proved"] >= 1 - most)


def _reached(norm: str, holds: Callable[[Mapping[str, float]], bool]) -> Reading:
    def read(result: Result) -> float | None:
        found = result.measured.get(f"verdicts {norm}")
        if found is None:
            return None
        entries = found["results"]
        return max(
            (float(entry["eps"]) for entry in takewhile(lambda e: holds(e["surrogates"][SURROGATE[norm]]), entries)),
            default=0.0,
        )

    return read


def seconds_per_epoch(result: Result) -> float | None:
    """Of the training, on one core."""
    return _maybe(result.summary["seconds_per_epoch"])


def peak_memory(result: Result) -> float | None:
    """Of the training's process, MiB."""
    return _maybe(result.summary["peak_memory"])


def _attack(result: Result, norm: str, eps: float) -> Mapping[str, Any] | None:
    found = result.measured.get(attacked_name(norm, eps))
    return None if found is None else found["results"][0]


def _maybe(value: Any) -> float | None:
    return None if value is None else float(value)
