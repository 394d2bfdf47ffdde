"""Numbers, vectors and matrices, adversarial by construction: zeros, duplicates, low rank, tiny and huge scales."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from hypothesis.strategies import DrawFn, SearchStrategy


def entries(largest: float = 4.0) -> SearchStrategy[float]:
    """Numbers in [-largest, largest]: multiples of a quarter of `largest` and arbitrary ones; shrink to 0."""
    grid = st.integers(-4, 4).map(lambda k: k * largest / 4)
    return st.one_of(grid, st.floats(-largest, largest, allow_subnormal=False))


def positive(largest: float = 4.0, smallest: float = 0.0) -> SearchStrategy[float]:
    """Numbers in (smallest, largest], simple ones first."""
    grid = st.integers(1, 4).map(lambda k: smallest + k * (largest - smallest) / 4)
    return st.one_of(grid, st.floats(smallest, largest, exclude_min=True, allow_subnormal=False))


def scales(decades: int = 8) -> SearchStrategy[float]:
    """Powers of ten from 10^-decades to 10^decades; shrink to 1."""
    return st.integers(-decades, decades).map(lambda k: 10.0**k)


def exponents(between: bool = True) -> SearchStrategy[float]:
    """Exponents p of a norm: 2, 1, inf and, if `between`, others."""
    usual = [2.0, 1.0, math.inf]
    return st.sampled_from([*usual, 1.5, 3.0] if between else usual)


@st.composite
def vectors(draw: DrawFn, dimension: int | tuple[int, int] = (1, 6), largest: float = 4.0) -> np.ndarray:
    """Vectors of a dimension, or of one between two; half of them with equal or zero entries."""
    size = draw(st.integers(*dimension)) if isinstance(dimension, tuple) else dimension
    return draw(arrays.arrays(np.float64, size, elements=entries(largest)))


@st.composite
def matrices(
    draw: DrawFn, rows: int | tuple[int, int] = (1, 4), columns: int | tuple[int, int] = (1, 5), decades: int = 0
) -> np.ndarray:
    """Matrices: plain, of rank one, with equal rows, orthogonal-like (signed permutations), times a scale."""
    shape = tuple(draw(st.integers(*size)) if isinstance(size, tuple) else size for size in (rows, columns))
    kind = draw(st.sampled_from(["plain", "plain", "rank one", "equal rows", "permutation", "signs"]))
    plain = draw(arrays.arrays(np.float64, shape, elements=entries()))
    if kind == "rank one":
        plain = np.outer(draw(vectors(shape[0])), draw(vectors(shape[1])))
    elif kind == "equal rows":
        plain = np.repeat(plain[:1], shape[0], axis=0)
    elif kind == "permutation":
        order = np.arange(max(shape)) if draw(st.booleans()) else np.array(draw(st.permutations(range(max(shape)))))
        plain = np.eye(max(shape))[order][: shape[0], : shape[1]]
    elif kind == "signs":
        plain = np.where(plain < 0, -1.0, 1.0)
    return plain * draw(scales(decades)) if decades else plain


def labels(classes: int) -> SearchStrategy[int]:
    """A class."""
    return st.integers(0, classes - 1)


def finite(value: Any) -> bool:
    """Whether a number, or every entry of an array, is finite.

    >>> finite(np.array([1.0, np.inf]))
    False
    """
    return bool(np.isfinite(np.asarray(value, dtype=np.float64)).all())
