from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bounds.errors import InputError
from bounds.measure.pr_norm import (
    dual_exponent,
    dual_vector,
    maximiser,
    operator_norm_pr,
    power_iterates,
    power_method,
)

EXPONENTS = (1.0, 1.5, 2.0, 3.0, math.inf)


def matrices(seed: int, n: int, outputs: int, inputs: int) -> Tensor:
    return torch.randn(n, outputs, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def directions(inputs: int, p: float) -> Tensor:
    """Many vectors of p-norm 1: signs, basis vectors, random ones."""
    generator = torch.Generator().manual_seed(5)
    signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=inputs)), dtype=torch.float64)
    random = torch.randn(4000, inputs, generator=generator, dtype=torch.float64)
    vectors = torch.cat([signs, torch.eye(inputs, dtype=torch.float64), random, random.sign() * random.abs() ** 3])
    scaled: Tensor = vectors / torch.linalg.vector_norm(vectors, p, dim=1, keepdim=True)
    return scaled


@pytest.mark.parametrize("p", EXPONENTS)
@settings(deadline=None, max_examples=30)
@given(z=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6))
def test_dual_vector_attains_the_dual_norm(p: float, z: list[float]) -> None:
    """Theory L3.1."""
    vector = torch.tensor(z, dtype=torch.float64)
    v = dual_vector(vector, p)
    assert math.isclose(torch.linalg.vector_norm(v, p), 1.0, rel_tol=1e-9)
    assert math.isclose(v @ vector, torch.linalg.vector_norm(vector, dual_exponent(p)), rel_tol=1e-9, abs_tol=1e-100)


@pytest.mark.parametrize("r", EXPONENTS)
@pytest.mark.parametrize("p", EXPONENTS)
def test_encloses_the_best_of_many_directions(p: float, r: float) -> None:
    batch = matrices(3, 6, 3, 4)
    bounds = operator_norm_pr(batch, p, r)
    found = torch.linalg.vector_norm(batch @ directions(4, p).T, r, dim=1).amax(1)
    assert bool((bounds.lower <= bounds.upper).all())
    assert bool((found <= bounds.upper * (1 + 1e-12)).all())
    assert bool((found <= bounds.lower * (1 + 1e-9)).all()), "the power method finds what sampling finds"
    assert bool((bounds.lower <= 1.2 * found).all()), "a lower end is attained, so sampling comes near"


@pytest.mark.parametrize(
    ("p", "r"),
    [
        (1.0, 2.0),
        (1.0, 1.0),
        (2.0, math.inf),
        (math.inf, math.inf),
        (2.0, 2.0),
        (math.inf, 1.0),
        (2.0, 1.0),
        (math.inf, 2.0),
    ],
)
def test_is_exact_where_theory_says_so(p: float, r: float) -> None:
    """Theory L3.3; (∞, 2) by duality, the input being small."""
    bounds = operator_norm_pr(matrices(1, 5, 3, 4), p, r)
    assert torch.equal(bounds.lower, bounds.upper)


@pytest.mark.parametrize(("p", "r"), [(math.inf, 2.0), (math.inf, 1.0), (3.0, 1.5)])
def test_two_numbers_where_nothing_exact_is_known(p: float, r: float) -> None:
    batch = matrices(2, 4, 14, 20)
    bounds = operator_norm_pr(batch, p, r)
    assert bool((bounds.lower < bounds.upper).all())
    assert bool((bounds.upper <= 4 * bounds.lower).all())
    if (p, r) == (math.inf, 1.0):
        spectral = torch.linalg.matrix_norm(batch, 2)
        stated = torch.minimum(batch.abs().sum((1, 2)), math.sqrt(14 * 20) * spectral)
        assert bool((bounds.upper <= stated * (1 + 1e-9)).all())


@pytest.mark.parametrize(("p", "r"), [(math.inf, 1.0), (math.inf, 2.0), (2.0, 1.0), (1.5, 3.0)])
def test_power_method_attains_its_value_and_never_decreases(p: float, r: float) -> None:
    batch = matrices(7, 5, 4, 6)
    value, v = power_method(batch, p, r)
    assert bool((torch.linalg.vector_norm(v, p, dim=1) <= 1 + 1e-12).all())
    torch.testing.assert_close(torch.linalg.vector_norm((batch @ v[:, :, None])[..., 0], r, dim=1), value)
    values = torch.stack([power_method(batch, p, r, steps=k)[0] for k in (1, 2, 5, 50)])
    assert bool((values.diff(dim=0) >= 0).all())


@pytest.mark.parametrize("r", EXPONENTS)
@pytest.mark.parametrize("p", EXPONENTS)
def test_the_maximiser_attains_the_lower_end(p: float, r: float) -> None:
    for outputs, inputs in ((3, 4), (3, 20), (14, 20)):
        batch = matrices(11, 5, outputs, inputs)
        v = maximiser(batch, p, r)
        torch.testing.assert_close(torch.linalg.vector_norm(v, p, dim=1), torch.ones(5, dtype=torch.float64))
        value = torch.linalg.vector_norm((batch @ v[:, :, None])[..., 0], r, dim=1)
        torch.testing.assert_close(value, operator_norm_pr(batch, p, r).lower, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("p", "r"), [(math.inf, 1.0), (2.0, 2.0), (1.0, 2.0), (1.5, 3.0)])
def test_the_value_never_decreases_from_one_iterate_to_the_next(p: float, r: float) -> None:
    """Theory L3.2."""
    batch = matrices(8, 6, 4, 7)
    start = dual_vector(matrices(9, 6, 1, 7)[:, 0], p)
    iterates = list(itertools.islice(power_iterates(batch, p, r, start), 30))
    assert torch.equal(iterates[0], start)
    values = torch.stack([torch.linalg.vector_norm((batch @ v[:, :, None])[..., 0], r, dim=1) for v in iterates])
    assert bool((values.diff(dim=0) >= -1e-12 * values[1:]).all()) and bool((values[-1] > values[0]).any())


def test_zero_matrix() -> None:
    for p, r in itertools.product(EXPONENTS, EXPONENTS):
        bounds = operator_norm_pr(torch.zeros(2, 3, 4, dtype=torch.float64), p, r)
        assert bool((bounds.lower == 0).all()) and bool((bounds.upper == 0).all())


def test_refuses_exponents_below_one() -> None:
    with pytest.raises(InputError, match="p, r >= 1"):
        operator_norm_pr(matrices(0, 1, 2, 2), 0.5, 2.0)
