"""Finite classes of functions on a sample, as arrays of their values, and what is computed of them exactly."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds.calculus.statements import Complexity, Step
from verification.inequalities import reals
from verification.inequalities.strategies.numbers import matrices, scales


@cache
def half_signs(n: int) -> np.ndarray:
    """The sign vectors of length n up to a factor -1, (2^{n-1}, n).

    >>> half_signs(2).tolist()
    [[1, 1], [1, -1]]
    """
    return np.array([(1, *rest) for rest in itertools.product((1, -1), repeat=n - 1)])


def rademacher(values: Any) -> Any:
    """R_S of a finite class by enumeration of all signs; sigma and -sigma together give largest minus smallest sum.

    Args:
        values: one row per function, one column per sample.

    >>> rademacher([[0, 0], [0, 1], [1, 0], [1, 1]]), rademacher([[5, 7]])
    (0.5, 0.0)
    """
    values = reals.real(values)
    n = values.shape[1]
    sums = values @ half_signs(n).T
    total = (sums.max(axis=0) - sums.min(axis=0)).sum() / (n * 2**n)
    return total if reals.is_precise() else float(total)


@cache
def _subsets(size: int, count: int) -> np.ndarray:
    return np.array(list(itertools.combinations(range(size), count)))


def covering_radii(values: Any, p: float) -> np.ndarray:
    """The smallest u with N(u) <= k for k = 1..m: proper covers of a finite class in ‖.‖_p, every subset tried.

    >>> covering_radii([[0, 0], [0, 1], [0, 3]], 2).tolist()
    [2.0, 1.0, 0.0]
    """
    values = reals.real(values)
    m = len(values)
    distances = reals.norm((values[:, None] - values[None]).reshape(m * m, -1), p, axis=1).reshape(m, m)
    return np.array([distances[_subsets(m, k)].min(axis=1).max(axis=1).min() for k in range(1, m + 1)])


def given_complexity(symbol: sp.Symbol, loss_range: sp.Expr = sp.oo) -> Complexity:
    """A class of which only the complexity is known, by name: the premise of a combinator."""
    step = Step("premise", "the complexity of a class", "given", sp.true)
    return Complexity((), frozenset({symbol}), frozenset(), step, symbol, symbol, loss_range)


def cube(n: int) -> np.ndarray:
    """All 2^n functions with values 0 and 1 on n samples: the class of the largest complexity."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


@st.composite
def finite_classes(
    draw: DrawFn, samples: int | tuple[int, int] = (1, 5), functions: tuple[int, int] = (1, 6), decades: int = 0
) -> np.ndarray:
    """Classes (m, n): arbitrary, symmetric, singletons, pairs far from the origin, whole cubes; times a scale."""
    n = draw(st.integers(*samples)) if isinstance(samples, tuple) else samples
    kind = draw(st.sampled_from(["plain", "plain", "symmetric", "cube", "shifted"]))
    if kind == "cube" and 2**n <= functions[1]:
        values = cube(n) if draw(st.booleans()) else 2 * cube(n) - 1
    elif kind == "symmetric" and functions[1] >= 2:
        half = draw(matrices((1, functions[1] // 2), n))
        values = np.concatenate([half, -half])
    else:
        values = draw(matrices(functions, n))
        values = values + 100.0 if kind == "shifted" else values
    return values * draw(scales(decades)) if decades else values
