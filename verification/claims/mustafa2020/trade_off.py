"""Robust accuracy of a regulariser at a given clean accuracy, from its series of strengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from bounds.errors import InputError
from verification.claims.experiment import Result, Results
from verification.claims.mustafa2020.nets import DATA, PLAIN

Of = Callable[[Result], float]


def found(results: Results, **labels: Any) -> list[Result]:
    """The networks with these labels, seed by seed; none if none was trained to its end."""
    try:
        return results.where(**labels)
    except InputError:
        return []


def series(results: Results, data: str, method: str, seed: int) -> list[Result]:
    """One seed's plain CNN and those of a regulariser, in order of strength."""
    labels = {"data": DATA[data], "net": "CNN"}
    networks = found(results, **labels, method=PLAIN) + found(results, **labels, method=method)
    mine = [result for result in networks if result.net.training.seed == seed]
    return sorted(mine, key=lambda result: result.net.training.strength)


def plain(results: Results, data: str) -> dict[int, Result]:
    """The plain CNN of every seed."""
    networks = found(results, data=DATA[data], net="CNN", method=PLAIN)
    return {result.net.training.seed: result for result in networks}


def clean_accuracy(result: Result) -> float:
    """On all held-out samples, per cent."""
    return 100 * float(result.summary["test_accuracy"])


def robust_accuracy(norm: str, eps: float) -> Of:
    """On the held-out samples that were attacked, per cent; an upper bound of the true one."""

    def of(result: Result) -> float:
        (at_eps,) = [found for found in result.measured[norm]["results"] if found["eps"] == eps]
        return 100 * float(at_eps["held_out"]["accuracy"])

    return of


def best_at(points: Sequence[tuple[float, float]], clean: float) -> float | None:
    """Largest robust accuracy of a series where its clean accuracy is at least `clean`, linear between strengths.

    Args:
        points: (clean, robust) accuracies in order of strength.
        clean: the clean accuracy to keep.

    Returns:
        None if no strength, or every strength, keeps it: a series that does not come down to `clean` might have more
        robust networks to offer at larger strengths.

    >>> best_at([(99.0, 10.0), (98.0, 50.0), (94.0, 70.0)], 97.0), best_at([(99.0, 10.0), (98.0, 50.0)], 97.0)
    (55.0, None)
    """
    kept = [robust for accuracy, robust in points if accuracy >= clean]
    if not kept or len(kept) == len(points):
        return None
    for (one, robust), (other, next_robust) in pairwise(points):
        if (one >= clean) != (other >= clean):
            share = (clean - one) / (other - one)
            kept.append(robust + share * (next_robust - robust))
    return max(kept)


def at_equal_accuracy(results: Results, data: str, method: str, norm: str, eps: float, drop: float) -> dict[int, float]:
    """Robust accuracy, per cent, at `drop` points of clean accuracy below the plain network, by seed.

    Seeds whose series does not come down to that clean accuracy are left out.
    """
    robust, at_seed = robust_accuracy(norm, eps), {}
    for seed, reference in plain(results, data).items():
        points = [(clean_accuracy(result), robust(result)) for result in series(results, data, method, seed)]
        value = best_at(points, clean_accuracy(reference) - drop)
        if value is not None:
            at_seed[seed] = value
    return at_seed


def matched(results: Results, data: str, method: str, drop: float) -> list[Result]:
    """Per seed the strongest network that lost at most `drop` points of clean accuracy to the plain one."""
    if method == PLAIN:
        return list(plain(results, data).values())
    chosen = []
    for seed, reference in plain(results, data).items():
        floor = clean_accuracy(reference) - drop
        kept = [r for r in series(results, data, method, seed) if clean_accuracy(r) >= floor]
        chosen.append(kept[-1])  # the plain one is always among them
    return chosen
