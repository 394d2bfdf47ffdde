"""Lemmas of the calculus against brute force: Dudley's integral, the strata, Massart, Lipschitz constants."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize

from bounds.calculus.arithmetic import Points, point
from bounds.calculus.dudley import dudley_scale_free
from bounds.calculus.evaluator import Evaluator
from bounds.calculus.jacobian_cover import JACOBIAN_NORMS
from bounds.calculus.massart import massart
from bounds.calculus.propagation import dimension_factor
from bounds.calculus.spectral_cover import spectral_cover
from bounds.calculus.statements import merged
from bounds.calculus.stratification import Grid, weight
from bounds.symbols import R_F, K, d, epsilon, inverse_p, n

COMPLEXITY = dudley_scale_free(spectral_cover(audited=False), sp.Integer(1))


def scale_free(R: float, samples: float) -> tuple[float, float]:
    values = {R_F: point.mpf(R), n: point.mpf(samples)}
    evaluate = Evaluator((), values, 1, Points())
    return float(evaluate(COMPLEXITY.raw)), float(evaluate(COMPLEXITY.guaranteed))


def entropy_integral(alpha: float, R: float, samples: float) -> float:
    """4 alpha/sqrt n + (12/n) times the integral of R/u from alpha to sqrt n, by quadrature."""
    inner, _ = integrate.quad(lambda u: R / u, alpha, math.sqrt(samples))
    return 4 * alpha / math.sqrt(samples) + 12 / samples * inner


@pytest.mark.parametrize("R, samples", [(0.5, 50), (2.0, 50), (10.0, 400), (0.01, 4)])
def test_guaranteed_value_is_the_best_lower_limit(R: float, samples: float) -> None:
    best = optimize.minimize_scalar(
        lambda log_alpha: entropy_integral(math.exp(log_alpha), R, samples),
        bounds=(math.log(1e-6), math.log(math.sqrt(samples))),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert scale_free(R, samples)[1] == pytest.approx(min(0.5, best.fun), rel=1e-6)


def test_raw_value_takes_the_lower_limit_one_over_root_n() -> None:
    R, samples = 7.0, 90
    expected = 4 / samples + 12 * R / samples * math.log(samples)
    assert scale_free(R, samples)[0] == pytest.approx(expected, rel=1e-12)
    assert expected >= entropy_integral(1 / math.sqrt(samples), R, samples)


@given(st.floats(1e-6, 100), st.floats(1e-6, 100), st.integers(3, 1000))
@settings(deadline=None, max_examples=100)
def test_both_values_grow_with_the_radius_across_the_join(R: float, other: float, samples: int) -> None:
    low, high = sorted((R, other))
    assert all(a <= b * (1 + 1e-14) for a, b in zip(scale_free(low, samples), scale_free(high, samples), strict=True))
    # and at the join itself, where the formula changes
    join = samples / 3
    below, above = scale_free(join * (1 - 1e-9), samples)[1], scale_free(join * (1 + 1e-9), samples)[1]
    assert below <= above == 0.5


@pytest.mark.parametrize("share", [1 / 3, 0.5, 0.9, 0.999, 1, math.e / 3, 1.5, 10])
def test_beyond_the_range_of_the_formula_the_cap_holds(share: float) -> None:
    """F(R) turns down at 3R = Mn and becomes negative: a mere minimum would claim too little there."""
    assert scale_free(share * 50 * (1 + 1e-12), 50)[1] == 0.5


def test_radius_zero() -> None:
    assert scale_free(0.0, 10) == (pytest.approx(0.4), 0.0)


def test_weights_are_a_distribution() -> None:
    # sum over |j| <= J plus the integral bound of the tail
    J = 2000
    total = float(weight(0) + 2 * sum(weight(j) for j in range(1, J + 1)))
    c = 3 / (3 + math.pi**2)
    assert total < 1 < total + 2 * c / J


@given(st.floats(0, 1e12), st.floats(1e-3, 1), st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=200)
def test_strata_round_up_and_no_further_than_needed(radius: float, eta: float, t0: float) -> None:
    grid = Grid(eta, t0)
    j = grid.stratum(radius)
    assert grid.value(j) >= max(radius, grid.t_min) > grid.value(j - 1)


@given(st.integers(-400, 400), st.floats(0.01, 1))
@settings(deadline=None, max_examples=100)
def test_a_radius_on_the_grid_stays_there(j: int, eta: float) -> None:
    grid = Grid(eta, t_min=1e-300)
    assert grid.stratum(float(grid.value(j))) in (j, j + 1)  # float() may round the grid point upwards


def test_massart_by_enumeration() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 5, 16):
        vectors = rng.normal(size=(size, 6))
        signs = np.array(list(itertools.product((-1, 1), repeat=6)))
        exact = (signs @ vectors.T).max(axis=1).mean()
        radius = np.linalg.norm(vectors, axis=1).max()
        assert exact <= float(massart(sp.Float(radius), sp.Integer(size)))


@pytest.mark.parametrize("name", sorted(JACOBIAN_NORMS))
def test_lipschitz_constants_of_jacobian_norms_are_attained(name: str) -> None:
    """L5.6 and the coefficients of theory §2, by maximising |N(J) - N(J')|/‖J - J'‖_F from J' = 0 and at random."""
    rng = np.random.default_rng(1)
    outputs, inputs = 3, 4
    for p in JACOBIAN_NORMS[name].attack:
        q = {"l1": np.inf, "l2": 2, "linf": 1}[p]
        norm = {
            "margin": lambda J, q=q: max(np.linalg.norm(J[k] - J[0], q) for k in range(1, outputs)),
            "spectral": lambda J: np.linalg.norm(J, 2),
            "frobenius": np.linalg.norm,
            "row-sum": lambda J: np.abs(J).sum(1).max(),
            "entrywise": lambda J: np.abs(J).sum(),
        }[name]
        values = {d: inputs, K: outputs, inverse_p: {"l1": 1, "l2": 0.5, "linf": 0}[p]}
        numbers = {symbol: point.mpf(value) for symbol, value in values.items()}
        constant = Evaluator((dimension_factor,), numbers, 1, Points())
        lipschitz = float(constant(JACOBIAN_NORMS[name].lipschitz))
        candidates = [np.ones((outputs, inputs)), np.eye(outputs, inputs)]
        row = np.zeros((outputs, inputs))
        row[1] = 1
        pair = row.copy()
        pair[0] = -1
        spike = np.zeros((outputs, inputs))
        spike[0, 0], spike[1, 0] = -1, 1
        candidates += [row, pair, spike]
        largest = max(norm(J) / np.linalg.norm(J) for J in candidates)
        assert largest == pytest.approx(lipschitz, rel=1e-12)
        for _ in range(300):
            first, second = rng.normal(size=(2, outputs, inputs))
            assert abs(norm(first) - norm(second)) <= lipschitz * np.linalg.norm(first - second) * (1 + 1e-12)


def test_coefficients_of_surrogates() -> None:
    """epsilon c of theory §2's table."""
    expected = {"margin": 1, "spectral": math.sqrt(2), "frobenius": math.sqrt(2), "row-sum": 2, "entrywise": 1}
    for name, c in expected.items():
        assert float(JACOBIAN_NORMS[name].coefficient.subs(epsilon, 1)) == pytest.approx(c)


def test_two_definitions_of_one_name_are_refused() -> None:
    published, audited = spectral_cover(False), spectral_cover(True)
    with pytest.raises(ValueError, match="two definitions"):
        merged(published.parts, audited.parts)
