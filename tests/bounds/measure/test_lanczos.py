from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from bounds.measure.lanczos import Krylov, lanczos, largest_eigenvalue_upper


def run(spectrum: Tensor, runs: int, steps: int, seed: int = 0) -> Krylov:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(runs, len(spectrum), generator=generator, dtype=torch.float64)
    *_, last = lanczos(lambda v: v * spectrum, start, steps, generator)
    return last


def double(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def hard_spectrum(dimension: int, gap: float) -> Tensor:
    """One eigenvalue 1 above Chebyshev-distributed ones on [0, 1-gap]: nearly the worst case of L7.2."""
    angles = torch.arange(dimension - 1, dtype=torch.float64) * math.pi / (dimension - 2)
    return torch.cat([(1 - gap) * (1 - torch.cos(angles)) / 2, double([1.0])])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), dimension=st.integers(1, 12), steps=st.integers(1, 15))
def test_is_an_orthonormal_projection_of_the_operator(seed: int, dimension: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    matrix = matrix + matrix.T
    start = torch.randn(3, dimension, generator=generator, dtype=torch.float64)
    *_, last = lanczos(lambda v: v @ matrix, start, steps, generator)
    k = min(steps, dimension)
    assert last.basis.shape == (3, k, dimension)
    for basis, projection in zip(last.basis, last.tridiagonal(), strict=True):
        torch.testing.assert_close(basis @ basis.T, torch.eye(k, dtype=torch.float64), atol=1e-9, rtol=0)
        torch.testing.assert_close(basis @ matrix @ basis.T, projection, atol=1e-8, rtol=0)


@pytest.mark.parametrize("spectrum", [[2.0] * 6, [0.0] * 6, [1.0, 1.0, 1.0, 3.0, 3.0, 3.0], [1e-8] + [1.0] * 5])
def test_goes_on_when_the_krylov_space_is_exhausted(spectrum: list[float]) -> None:
    last = run(double(spectrum), runs=2, steps=6)
    for projection in last.tridiagonal():
        torch.testing.assert_close(torch.linalg.eigvalsh(projection), double(spectrum).sort().values, atol=1e-9, rtol=0)


@settings(deadline=None, max_examples=60)
@example(seed=0, spectrum=[0.0, 1.222239276083979e-186], steps=1, scale=1e-06)  # its squares are out of range
@given(
    seed=st.integers(0, 10_000),
    spectrum=st.lists(st.one_of(st.floats(0, 1), st.just(1.0), st.just(0.0)), min_size=1, max_size=40),
    steps=st.integers(1, 40),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_upper_bound_holds(seed: int, spectrum: list[float], steps: int, scale: float) -> None:
    values = scale * double(spectrum)
    upper = largest_eigenvalue_upper(run(values, runs=2, steps=steps, seed=seed), len(values), 1e-12)
    assert upper >= float(values.max())


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("failure", [0.1, 0.5])
@pytest.mark.parametrize("gap", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("steps", [2, 6])
def test_fails_no_more_often_than_promised(runs: int, failure: float, gap: float, steps: int) -> None:
    spectrum = hard_spectrum(60, gap)
    repeats = 400
    failures = sum(
        largest_eigenvalue_upper(run(spectrum, runs, steps, seed), len(spectrum), failure) < 1.0
        for seed in range(repeats)
    )
    standard_deviation = math.sqrt(repeats * failure * (1 - failure))
    assert failures <= repeats * failure + 3 * standard_deviation


def test_failure_probability_is_not_wasted() -> None:
    """On the hard spectrum the promise is nearly used up: a constant could not be much smaller."""
    spectrum = hard_spectrum(60, 0.3)
    failures = sum(largest_eigenvalue_upper(run(spectrum, 1, 4, seed), 60, 0.5) < 1.0 for seed in range(200))
    assert failures >= 40


@pytest.mark.parametrize("gap", [0.01, 0.3])
def test_is_never_above_the_worst_case_formula(gap: float) -> None:
    dimension, failure, steps = 200, 1e-9, 25
    last = run(hard_spectrum(dimension, gap), 1, steps)
    ritz = float(torch.linalg.eigvalsh(last.tridiagonal())[0, -1])
    epsilon = math.tanh(math.acosh(math.sqrt(2 * dimension / math.pi) / failure) / (2 * steps - 1)) ** 2
    assert largest_eigenvalue_upper(last, dimension, failure) <= ritz / (1 - epsilon) * (1 + 1e-9)


def test_sees_a_gap_that_the_worst_case_formula_does_not() -> None:
    spectrum = double([0.5 * j / 4000 for j in range(4000)] + [1.0])
    upper = largest_eigenvalue_upper(run(spectrum, 2, 40), len(spectrum), 1e-12)
    assert 1.0 <= upper <= 1 + 1e-6


@pytest.mark.parametrize("dimension", [1, 2, 500])
def test_one_product_suffices_neither_to_fail_nor_to_divide_by_zero(dimension: int) -> None:
    upper = largest_eigenvalue_upper(run(torch.ones(dimension, dtype=torch.float64), 2, 1), dimension, 1e-300)
    assert upper >= 1.0


def test_certifies_a_multiple_of_the_identity() -> None:
    upper = largest_eigenvalue_upper(run(torch.full((3000,), 4.0, dtype=torch.float64), 2, 3), 3000, 1e-12)
    assert 4.0 <= upper <= 4.0 * (1 + 1e-3)


def test_zero_operator() -> None:
    assert largest_eigenvalue_upper(run(torch.zeros(50, dtype=torch.float64), 2, 3), 50, 1e-12) == 0.0
