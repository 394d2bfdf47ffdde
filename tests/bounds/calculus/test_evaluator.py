"""The evaluator against plain Python loops, in all three number types."""

from __future__ import annotations

import math
import random

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bounds.calculus.arithmetic import Duals, Intervals, Points, enclosure, ends, layers, point
from bounds.calculus.evaluator import BetaQuantile, Evaluator, Part, XLog
from bounds.symbols import X_F, L, Q, X, a, b, i, j, k, n, rho, s

x, y = sp.symbols("x y", nonnegative=True)
positive = st.floats(0.05, 20)


def at_points(expression, values, depth=1, parts=()):
    numbers = {key: point.mpf(value) if not isinstance(value, dict) else value for key, value in values.items()}
    return Evaluator(parts, numbers, depth, Points())(expression)


def test_nested_sums_and_products_match_loops() -> None:
    depth = 5
    sv, rv = [0.5, 2.0, 1.5, 3.0, 0.7], [1.0, 0.9, 1.1, 0.8, 1.2, 1.0]
    expression = sp.Sum(
        sp.Product(s[j] * rho[j - 1], (j, k + 2, L)) * s[k + 1] * sp.Product(s[j], (j, i + 1, k)), (k, i, L - 1)
    )
    values = {s: layers(list(map(point.mpf, sv))), rho: layers(list(map(point.mpf, rv)), first=0)}
    evaluate = Evaluator((), values, depth, Points())
    for start in range(1, depth + 1):
        expected = 0.0
        for m in range(start, depth):
            term = sv[m]
            for o in range(m + 2, depth + 1):
                term *= sv[o - 1] * rv[o - 1]
            for o in range(start + 1, m + 1):
                term *= sv[o - 1]
            expected += term
        assert float(evaluate(expression, i=start)) == pytest.approx(expected, rel=1e-14)


def test_empty_ranges() -> None:
    values = {s: {1: point.mpf(7)}}
    assert at_points(sp.Product(s[j], (j, 2, 1)), values) == 1
    assert at_points(sp.Sum(s[j], (j, 2, 1)), values) == 0


@pytest.mark.parametrize("order", ["forward", "backward"])
def test_recursions_are_deep(order: str) -> None:
    """Three thousand nested definitions, far beyond Python's recursion limit."""
    depth = 3_000
    forward = Part(X, sp.Piecewise((X_F, sp.Eq(i, 0)), (X[i - 1] + 1, True)), "", "forward")
    backward = Part(X, sp.Piecewise((X_F, sp.Eq(i, L)), (X[i + 1] + 1, True)), "", "backward")
    part, index = (forward, depth) if order == "forward" else (backward, 0)
    evaluate = Evaluator((part,), {X_F: point.mpf(3)}, depth, Points())
    assert evaluate(X[i], i=index) == depth + 3


@given(st.lists(positive, min_size=3, max_size=3), st.lists(positive, min_size=3, max_size=3), positive, positive)
@settings(deadline=None, max_examples=30)
def test_changed_equals_afresh(sv: list[float], bv: list[float], data: float, factor: float) -> None:
    """What is reused after a change is exactly what did not change."""
    upstream = Part(Q, sp.Product(s[j], (j, i + 1, L)), "")
    norms = Part(X, sp.Piecewise((X_F, sp.Eq(i, 0)), (s[i] * X[i - 1], True)), "", "forward")
    total = sp.Sum((b[i] * Q[i] * X[i - 1]) ** sp.Rational(2, 3), (i, 1, L)) / n
    values = {s: layers(sv), b: layers(bv), X_F: 1.5, n: 10.0}
    exact = {
        key: layers(list(map(point.mpf, v.values()))) if isinstance(v, dict) else point.mpf(v)
        for key, v in values.items()
    }
    start = Evaluator((upstream, norms), exact, 3, Points())
    start(total)
    for change in ({X_F: point.mpf(data)}, {s: layers(list(map(point.mpf, bv)))}, {n: point.mpf(data)}):
        afresh = Evaluator((upstream, norms), {**exact, **change}, 3, Points())(total)
        assert start.changed(change)(total) == afresh
    scaled = start.changed({}, {X_F: point.mpf(factor)})(total)
    assert float(scaled) == pytest.approx(float(start(total)) * factor ** (2 / 3), rel=1e-12)


MONOTONE = [
    sp.Max(x, 2 * y - 1),
    sp.Min(x, y, sp.Rational(3, 2)),
    sp.ceiling(x ** sp.Rational(2, 3)) + y,
    sp.sqrt(x**2 + y),
    sp.log(1 + x / y),
    XLog(x, y),
    sp.Piecewise((sp.Min(1, XLog(x, y)), sp.Le(3 * x, y)), (1, True)),
    sp.exp(-x) * y,
    sp.cosh(x / 10),
    x ** sp.Rational(2, 3) * y**2,
    sp.harmonic(x + 1),
    y ** sp.Max(0, sp.Rational(1, 2) - x),
    BetaQuantile(1 / (1 + y), x + 1, y + 1),
]


@pytest.mark.parametrize("expression", MONOTONE, ids=str)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_intervals_enclose_every_point_inside(expression, data) -> None:
    box = [sorted(data.draw(st.tuples(positive, positive))) for _ in range(2)]
    inside = [low + data.draw(st.floats(0, 1)) * (high - low) for low, high in box]
    inside = [min(max(value, low), high) for value, (low, high) in zip(inside, box, strict=True)]
    intervals = {sym: enclosure(point.mpf(low), point.mpf(high)) for sym, (low, high) in zip((x, y), box, strict=True)}
    low, high = ends(Evaluator((), intervals, 1, Intervals())(expression))
    value = at_points(expression, dict(zip((x, y), inside, strict=True)))
    assert low <= value <= high


def test_interval_of_a_zero_layer_is_finite() -> None:
    box = {x: enclosure(point.mpf(0), point.mpf("0.5")), y: enclosure(point.mpf(3), point.mpf(3))}
    low, high = ends(Evaluator((), box, 1, Intervals())(XLog(x, y)))
    assert low == 0 and abs(high - 0.5 * mpmath.log(6)) < 1e-12
    low, high = ends(Evaluator((), box, 1, Intervals())(x ** sp.Rational(2, 3)))
    assert low == 0 and float(high) == pytest.approx(0.5 ** (2 / 3), rel=1e-15)


SMOOTH = [expression for expression in MONOTONE if not expression.has(sp.harmonic, BetaQuantile, sp.ceiling)]


@pytest.mark.parametrize("expression", SMOOTH, ids=str)
def test_duals_match_finite_differences(expression) -> None:
    generator = random.Random(0)
    for _ in range(10):
        at = [generator.uniform(0.3, 3), generator.uniform(0.3, 3)]
        arithmetic = Duals(2)
        seeds = {x: arithmetic.seed(at[0], 0), y: arithmetic.seed(at[1], 1)}
        dual = Evaluator((), seeds, 1, arithmetic)(expression)
        if dual.value == 0:
            continue
        for position in range(2):
            moved = []
            for step in (1e-12, -1e-12):
                shifted = [point.mpf(value) for value in at]
                shifted[position] *= point.exp(point.mpf(step))
                moved.append(at_points(expression, dict(zip((x, y), shifted, strict=True))))
            slope = (moved[0] - moved[1]) / point.mpf(2e-12) / dual.value
            assert dual.elasticities()[position] == pytest.approx(float(slope), abs=1e-6)


def test_derivative_of_a_logarithm_at_one() -> None:
    """d ln(x) at x = 1, where the value is 0 and a relative derivative would not exist."""
    arithmetic = Duals(1)
    dual = Evaluator((), {x: arithmetic.seed(1, 0)}, 1, arithmetic)(1 + sp.log(x))
    assert dual.elasticities()[0] == pytest.approx(1)


def test_huge_numbers_neither_overflow_nor_lose_their_derivatives() -> None:
    arithmetic = Duals(1)
    dual = Evaluator((), {x: arithmetic.seed(point.mpf(10) ** 400, 0)}, 1, arithmetic)(x**3 + 1)
    assert float(point.log10(dual.value)) == pytest.approx(1200) and dual.elasticities()[0] == pytest.approx(3)


@pytest.mark.parametrize("level, alpha, beta", [(0.95, 1, 10), (0.95, 3, 4), (0.99, 201, 9800), (0.5, 1, 1)])
def test_beta_quantile_matches_scipy(level: float, alpha: int, beta: int) -> None:
    value = at_points(BetaQuantile(x, y, 1 + n - 1), {x: level, y: alpha, n: beta})
    assert float(value) == pytest.approx(float(stats.beta.ppf(level, alpha, beta)), rel=1e-10)


def test_harmonic_number() -> None:
    assert float(at_points(sp.harmonic(n - 1), {n: 100})) == pytest.approx(sum(1 / m for m in range(1, 100)))


def test_precision_of_others_is_untouched() -> None:
    before = (mpmath.mp.prec, mpmath.iv.prec)
    at_points(sp.sqrt(x), {x: 2.0})
    assert (mpmath.mp.prec, mpmath.iv.prec) == before


def test_unknown_function_is_refused() -> None:
    with pytest.raises(ValueError, match="no rule for sin"):
        at_points(sp.sin(x), {x: 1.0})


def test_elasticities_are_arrays_of_all_seeds() -> None:
    arithmetic = Duals(2)
    seeds = {a: {1: arithmetic.seed(2, 0), 2: arithmetic.seed(5, 1)}}
    dual = Evaluator((), seeds, 2, arithmetic)(sp.Product(a[j], (j, 1, L)))
    np.testing.assert_allclose(dual.elasticities(), [1, 1])
    assert math.isclose(float(dual.value), 10)
