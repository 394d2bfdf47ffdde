from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bounds.measure.fourier import torus_norm, zero_padded_grid


def is_contained(grid: int, size: int, taps: int, stride: int, before: int, outputs: int) -> bool:
    """Whether a zero-padded convolution with generic taps is a submatrix of the circular one on the grid.

    The circular one has rows i mod grid and columns (phase, a mod grid) of the padded input stride·a + phase.
    """
    values = 2.0 ** -np.arange(taps)  # no two sums of taps agree
    padded = range(before, before + size)
    operator = np.zeros((outputs, size))
    circular = np.zeros((outputs, size))
    for i in range(outputs):
        for column, j in enumerate(padded):
            for t in range(taps):
                operator[i, column] += values[t] * (stride * i + t == j)
                same_phase = t % stride == j % stride
                circular[i, column] += values[t] * (same_phase and (i + t // stride - j // stride) % grid == 0)
    rows = [i for i in range(outputs) if operator[i].any()]
    distinct_rows = len({i % grid for i in rows}) == len(rows)
    distinct_columns = len({(j % stride, j // stride % grid) for j in padded}) == size
    return distinct_rows and distinct_columns and np.array_equal(operator[rows], circular[rows])


@settings(deadline=None, max_examples=300)
@given(
    size=st.integers(1, 8),
    taps=st.integers(1, 7),
    stride=st.integers(1, 4),
    before=st.integers(0, 9),
    after=st.integers(0, 9),
)
def test_grid_contains_the_operator_and_without_stride_is_the_smallest(
    size: int, taps: int, stride: int, before: int, after: int
) -> None:
    span = size + before + after - taps
    assume(span >= 0)
    outputs = span // stride + 1
    grid = zero_padded_grid(size, taps, stride, before, outputs)
    assert is_contained(grid, size, taps, stride, before, outputs)
    assert grid <= -(-(size + before) // stride) + -(-taps // stride) - 1
    reads_something = before < (outputs - 1) + taps and size + before > 0
    if stride == 1 and grid > 1 and reads_something:
        assert not is_contained(grid - 1, size, taps, stride, before, outputs)


@pytest.mark.parametrize(("size", "pad"), [(32, 1), (8, 2), (5, 4), (2, 1)])
def test_grid_without_stride_is_the_one_of_theory(size: int, pad: int) -> None:
    """L7.1: n + min(pad, k_eff - 1)."""
    for taps in range(1, 2 * pad + size + 1):
        outputs = size + 2 * pad - taps + 1
        assert zero_padded_grid(size, taps, 1, pad, outputs) <= size + min(pad, taps - 1)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), stride=st.integers(1, 3), grid=st.integers(1, 5), taps=st.integers(1, 7))
def test_torus_norm_is_the_norm_of_the_circular_matrix(seed: int, stride: int, grid: int, taps: int) -> None:
    kernel = torch.randn(2, 3, taps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    size = stride * grid
    matrix = np.zeros((2, grid, 3, size))
    for i in range(grid):
        for t in range(taps):
            matrix[:, i, :, (stride * i + 2 * t) % size] += kernel[:, :, t].numpy()
    true = np.linalg.norm(matrix.reshape(2 * grid, 3 * size), 2)
    assert math.isclose(torus_norm(kernel, [stride], [2], [grid]), true, rel_tol=1e-10)
