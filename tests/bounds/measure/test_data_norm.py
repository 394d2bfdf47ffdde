from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.errors import InputError
from bounds.measure import data_norms, support_radius
from tests.bounds.measure.oracles import Sample


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), n=st.integers(1, 20), size=st.integers(1, 7))
def test_agrees_with_the_matrix_whatever_the_batches(seed: int, n: int, size: int) -> None:
    x = torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(seed))
    norms = data_norms(Sample(x, torch.zeros(n)).batches(size))
    matrix = x.double().reshape(n, 6)
    assert norms.n == n
    assert math.isclose(norms.frobenius.value, float(matrix.norm()), rel_tol=1e-12)
    assert math.isclose(norms.column_max.value, float(matrix.norm(dim=0).max()), rel_tol=1e-12)
    assert math.isclose(norms.sample_radius.value, float(matrix.norm(dim=1).max()), rel_tol=1e-12)


def test_many_float32_samples_are_summed_in_float64() -> None:
    x = torch.full((50_000, 1), 0.1)
    norms = data_norms(Sample(x, torch.zeros(50_000)).batches(1000))
    assert math.isclose(norms.frobenius.value, float(x[0, 0].double()) * math.sqrt(50_000), rel_tol=1e-12)


@pytest.mark.parametrize("p", [1, 1.5, 2, 4, math.inf])
@pytest.mark.parametrize("box", [(0.0, 1.0), (-0.5, 0.25), (-1.0, 2.0)])
def test_support_radius_is_attained_at_a_corner(p: float, box: tuple[float, float]) -> None:
    corners = torch.tensor(list(itertools.product(box, repeat=4)), dtype=torch.float64)
    true = float(torch.linalg.vector_norm(corners, p, dim=1).max())
    assert math.isclose(support_radius((2, 2), p, box).value, true, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("p", "box"), [(0.5, (0.0, 1.0)), (2, (0.0, math.inf)), (2, (1.0, 0.0)), (math.nan, (0.0, 1.0))]
)
def test_support_radius_refuses_what_has_no_radius(p: float, box: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="support radius"):
        support_radius((2,), p, box)


@pytest.mark.parametrize("x", [torch.zeros(0, 3), torch.tensor([[torch.nan]]), torch.tensor([[torch.inf]])])
def test_refuses_bad_data(x: torch.Tensor) -> None:
    with pytest.raises(InputError, match="data: "):
        data_norms([(x, torch.zeros(len(x)))])


def test_reports_progress() -> None:
    calls: list[tuple[int, int]] = []
    data_norms(Sample(torch.ones(5, 2), torch.zeros(5)).batches(2), progress=lambda *call: calls.append(call))
    assert [done for done, _ in calls] == [2, 4, 5]
