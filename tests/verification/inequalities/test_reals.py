"""The functions of both precisions against mpmath and scipy, and the instances that travel between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special

from verification.inequalities import reals
from verification.inequalities.leaves import changed_at, count, leaf_at, mapped

ENTRYWISE = {
    "exp": mpmath.exp,
    "log1p": mpmath.log1p,
    "sqrt": mpmath.sqrt,
    "tanh": mpmath.tanh,
    "cosh": mpmath.cosh,
    "erf": mpmath.erf,
}
FLOATS = st.floats(-20, 20)


@pytest.mark.parametrize("name", ENTRYWISE)
def test_entrywise_functions(name):
    x = np.array([0.0, 0.5, 3.25])
    function = getattr(reals, name)
    with mpmath.workdps(30):
        expected = [ENTRYWISE[name](entry) for entry in x]
        np.testing.assert_allclose(function(x), np.array(expected, dtype=float), rtol=1e-15)
        with reals.precise():
            fine = function(x)
            assert all(abs(a - b) <= 1e-28 * (1 + abs(b)) for a, b in zip(fine, expected, strict=True))
    assert isinstance(function(0.5), float)


@given(arrays(np.float64, st.integers(1, 5), elements=FLOATS), st.sampled_from([1.0, 1.5, 2.0, 3.0, math.inf]))
@settings(deadline=None)
def test_norms_of_both_precisions(v, p):
    expected = float(np.linalg.norm(v, p))
    assert reals.norm(v, p) == pytest.approx(expected, rel=1e-13)
    with reals.precise():
        assert float(reals.norm(reals.lifted(v), p)) == pytest.approx(expected, rel=1e-13)


def test_norms_neither_overflow_nor_vanish():
    assert reals.norm([3e300, 4e300], 2) == pytest.approx(5e300)
    assert reals.norm([3e-300, 4e-300], 2) == pytest.approx(5e-300)
    assert reals.norm([], 2) == 0
    assert reals.norm(-2.0, 2) == 2.0


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, math.inf])
def test_norms_along_an_axis(p):
    x = np.arange(-5.0, 7.0).reshape(3, 4)
    for axis in (0, 1):
        np.testing.assert_allclose(reals.norm(x, p, axis=axis), np.linalg.norm(x, p, axis=axis), rtol=1e-14)
        with reals.precise():
            fine = reals.norm(reals.lifted(x), p, axis=axis).astype(float)
            np.testing.assert_allclose(fine, np.linalg.norm(x, p, axis=axis), rtol=1e-14)


@given(arrays(np.float64, (3, 2), elements=FLOATS))
@settings(deadline=None, max_examples=30)
def test_spectra(J):
    with reals.precise():
        lifted = reals.lifted(J)
        fine = np.array([float(value) for value in reals.singular_values(lifted)])
        eigen = np.array([float(value) for value in reals.eigenvalues(lifted.T @ lifted)])
    np.testing.assert_allclose(fine, reals.singular_values(J), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(eigen, reals.eigenvalues(J.T @ J), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(eigen, fine[::-1] ** 2, rtol=1e-9, atol=1e-18)


@given(arrays(np.float64, 3, elements=st.floats(-800, 800)), st.integers(0, 2))
@settings(deadline=None)
def test_cross_entropy_keeps_its_digits(z, y):
    with mpmath.workdps(800):
        expected = mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(entry) - mpmath.mpf(z[y])) for entry in z))
    assert reals.cross_entropy(z, y) == pytest.approx(float(expected), rel=1e-12, abs=1e-300)
    np.testing.assert_allclose(reals.softmax(z), special.softmax(z), rtol=1e-12)
    assert reals.logsumexp(z) == pytest.approx(special.logsumexp(z), rel=1e-12)


def test_precise_mode_ends():
    with pytest.raises(ZeroDivisionError), reals.precise():
        assert reals.is_precise()
        raise ZeroDivisionError
    assert not reals.is_precise()


@dataclass(frozen=True)
class Pair:
    x: np.ndarray
    k: int
    name: str


def test_leaves_are_the_floats_and_float_arrays():
    instance = {"pair": Pair(np.array([1.0, 2.0]), 3, "l2"), "c": (0.5, [np.array([1, 2]), math.inf]), "on": True}
    assert count(instance) == 3
    np.testing.assert_array_equal(leaf_at(instance, 0), [1.0, 2.0])
    assert leaf_at(instance, 1) == 0.5
    changed = changed_at(instance, 1, lambda leaf: leaf + 1)
    assert changed["c"][0] == 1.5
    assert changed["pair"].k == 3
    np.testing.assert_array_equal(changed["pair"].x, instance["pair"].x)
    same = mapped(instance, lambda leaf: leaf)
    assert same["c"][1][1] == math.inf
    assert same["on"] is True


def test_lifting_is_exact():
    with reals.precise():
        tenth = reals.lifted({"x": np.array([0.1])})["x"][0]
        assert tenth * 2**60 == int(0.1 * 2**60)
        assert tenth != reals.real(1) / 10
