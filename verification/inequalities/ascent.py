"""Climbing from a good instance to the sharpest one nearby, and back from a counterexample to a simple one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from verification.inequalities.inequality import Instance
from verification.inequalities.leaves import changed_at, count, leaf_at, mapped

Score = Callable[[Instance], float]
"""Ratio of an instance; -inf where it is outside the claim's assumptions."""


def ascend(
    start: Instance, score: Score, steps: int, rng: np.random.Generator, enough: float
) -> tuple[Instance, float]:
    """Random local search that keeps the best: all numbers of an instance, or some, move on a scale that adapts.

    Args:
        start: where to begin.
        score: what to maximise.
        steps: evaluations of `score`.
        rng: source of the moves.
        enough: the score at which to stop.

    Returns:
        The best instance and its score.
    """
    best, highest, scale = start, score(start), 0.3
    for _ in range(steps if count(start) else 0):
        if highest >= enough:
            break
        candidate = _moved(best, scale, rng)
        value = score(candidate)
        if value >= highest:  # sideways too: many ratios have plateaus
            scale = min(1.0, 1.5 * scale) if value > highest else scale
            best, highest = candidate, value
        else:
            scale = max(1e-7, 0.93 * scale)
    return best, highest


def _moved(instance: Instance, scale: float, rng: np.random.Generator) -> Instance:
    """The instance with its numbers moved; with probability 1/2 only one of its numbers or arrays."""
    only = int(rng.integers(count(instance))) if rng.random() < 0.5 else None

    def move(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return _like(leaf, _moved_array(leaf, scale, rng))
        return _like(leaf, float(leaf) * math.exp(scale * rng.normal())) if math.isfinite(leaf) else leaf

    moved: Instance = mapped(instance, move) if only is None else changed_at(instance, only, move)
    return moved


def _like(leaf: Any, changed: Any) -> Any:
    """Changed numbers in the type of the leaf; those that are too large for it stay as they were.

    >>> _like(np.float32(0.1), 0.3), _like(np.array([1, 2], np.float16), np.array([0.1, 1e9])).tolist()
    (np.float32(0.3), [0.0999755859375, 2.0])
    """
    with np.errstate(over="ignore"):
        converted = np.asarray(changed).astype(np.asarray(leaf).dtype)
    kept = np.where(np.isfinite(converted), converted, leaf)
    return kept if isinstance(leaf, np.ndarray) else type(leaf)(kept)


def _moved_array(leaf: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    if leaf.size == 0:
        return leaf
    chosen = rng.random(leaf.shape) < rng.choice([1.0, 0.5, 1 / leaf.size])
    kind = rng.random()
    if kind < 0.1:  # entries that should vanish are found at once
        return np.where(chosen & (np.abs(leaf) < scale * np.abs(leaf).max()), 0.0, leaf)
    if kind < 0.4:
        return np.where(chosen, leaf * np.exp(scale * rng.normal(size=leaf.shape)), leaf)
    size = float(np.abs(leaf).max()) or 1.0
    return np.where(chosen, leaf + scale * size * rng.normal(size=leaf.shape), leaf)


def simplified(instance: Instance, still_fails: Callable[[Instance], bool], attempts: int = 300) -> Instance:
    """A counterexample with fewer digits: every number replaced by a rounder one while it still is one.

    Args:
        instance: a counterexample.
        still_fails: whether a candidate is one.
        attempts: calls of `still_fails` at most.
    """
    for at in range(count(instance)):
        leaf = leaf_at(instance, at)
        for change in _simpler(leaf):
            if attempts <= 0:
                return instance
            attempts -= 1
            candidate = changed_at(instance, at, lambda value, change=change: _like(value, change(value)))  # type: ignore[misc]
            if still_fails(candidate):
                instance = candidate
    return instance


def _simpler(leaf: Any) -> Iterator[Callable[[Any], Any]]:
    """Changes that leave fewer digits: everything to 0, single entries to 0, rounding from fine to coarse."""
    if isinstance(leaf, np.ndarray):
        yield np.zeros_like
        for entry in range(leaf.size):
            kept = np.arange(leaf.size).reshape(leaf.shape) != entry
            yield lambda value, kept=kept: np.where(kept, value, 0.0)  # type: ignore[misc]
        for digits in reversed(range(4)):
            yield lambda value, digits=digits: np.round(value, digits)  # type: ignore[misc]
    else:
        yield lambda value: 0.0
        for digits in reversed(range(4)):
            yield lambda value, digits=digits: round(float(value), digits)  # type: ignore[misc]
