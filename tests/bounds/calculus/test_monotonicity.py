"""What the calculus declares non-decreasing or non-increasing is so, across every join, for every bound."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from bounds import catalogue, symbols
from bounds.calculus.arithmetic import Points, point
from bounds.calculus.evaluator import Evaluator
from bounds.catalogue.entry import Bound
from bounds.readings import Settings, evaluator, read_stratified, used
from tests.bounds.measurements import random_norms

BOUNDS = {f"{e.key} {v.variant}".strip(): v for e in catalogue.entries() for v in e.variants if isinstance(v, Bound)}


def raised(value, factor):
    return {i: entry * factor for i, entry in value.items()} if isinstance(value, dict) else value * factor


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_declared_directions(name: str) -> None:
    bound = BOUNDS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for biased in (False, True):
        norms, gamma, delta = random_norms(rng, biased=biased, convolutional=biased)
        start = evaluator(bound, norms.measurements(), Settings(delta, gamma))
        for direction, declared in ((1, bound.gap.increasing), (-1, bound.gap.decreasing)):
            for symbol in declared & used(bound.gap):
                # from far below to far above, so that every branch and cap is crossed
                factors = [1e-6, 1e-2, 0.3, 1, 1.05] + ([] if symbol == symbols.delta else [1e2, 1e6])
                for expression in (bound.gap.raw, bound.gap.guaranteed):
                    values = [
                        start.changed({symbol: raised(start.values[symbol], point.mpf(f))})(expression) for f in factors
                    ]
                    steps = [direction * (b - a) for a, b in zip(values, values[1:], strict=False)]
                    assert all(step >= -abs(values[0]) * point.mpf(10) ** -25 for step in steps), symbol


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_every_radius_in_use_is_declared(name: str) -> None:
    """Otherwise stratification (L4.10) would refuse the bound."""
    bound = BOUNDS[name]
    if not bound.stratify_only_margin:
        assert set(symbols.radii) & used(bound.gap) <= bound.gap.increasing


def test_an_undeclared_radius_cannot_be_stratified() -> None:
    bound = BOUNDS["bartlett2017_spectral published"]
    careless = replace(bound, gap=replace(bound.gap, increasing=bound.gap.increasing - {symbols.s}))
    norms, _, _ = random_norms(np.random.default_rng(0), False, False)
    with pytest.raises(ValueError, match="not declared non-decreasing"):
        read_stratified(careless, norms.measurements(), Settings(), lambda gamma: 0.0, np.ones(3))


def test_the_check_catches_a_wrong_declaration() -> None:
    """A mutant of the test itself: 1/s declared increasing must be seen to fall."""
    evaluate = Evaluator((), {symbols.gamma: point.mpf(2)}, 1, Points())
    rising = evaluate(1 / symbols.gamma), evaluate.changed({symbols.gamma: point.mpf(3)})(1 / symbols.gamma)
    assert rising[1] < rising[0]
    assert isinstance(symbols.gamma, sp.Symbol)
