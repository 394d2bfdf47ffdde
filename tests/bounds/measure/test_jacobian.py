from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bounds.errors import InputError
from bounds.measure import jacobian_norms, jacobians
from bounds.network import trace
from bounds.network.errors import InvalidNetwork, SamplesInteract
from tests.bounds.measure.oracles import Sample, jacobian
from tests.cases import CASES


@pytest.mark.parametrize("chunk", [1, 3, 32])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_one_sample_at_a_time(name: str, chunk: int) -> None:
    case = CASES[name]
    module, x = case.module(), case.inputs(5)
    measured = jacobians(module, x, chunk=chunk)
    assert measured.shape == (5, 3, *case.input_shape)
    for row, sample in zip(measured, x, strict=True):
        torch.testing.assert_close(row.flatten(1), jacobian(module, sample), rtol=1e-10, atol=1e-12)


def test_of_a_traced_network() -> None:
    case = CASES["lenet"]
    module, x = case.module(), case.inputs(4)
    torch.testing.assert_close(jacobians(trace(module, x), x), jacobians(module, x))


def test_leaves_no_gradients_behind_and_works_without_grad_mode() -> None:
    case = CASES["mlp"]
    module, x = case.module(), case.inputs(3)
    with torch.no_grad():
        jacobians(module, x)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not x.requires_grad


def test_constant_outputs_have_zero_jacobians_and_disconnected_ones_have_none() -> None:
    x = torch.ones(3, 2)
    assert bool((jacobians(lambda x: torch.stack([x.sum(1) * 0 + 1, torch.ones(len(x))], 1), x) == 0).all())
    for disconnected in (lambda x: torch.ones(len(x), 4), lambda x: x.detach() + 1, lambda x: x.long().float()):
        with pytest.raises(InvalidNetwork, match="disconnected from its inputs"):
            jacobians(disconnected, x)


@pytest.mark.parametrize("model", [nn.BatchNorm1d(4).train(), lambda x: x - x.mean(0)])
def test_refuses_samples_that_influence_each_other(model: nn.Module) -> None:
    with pytest.raises(SamplesInteract, match="rest of its batch"):
        jacobians(model, torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))


def test_refuses_other_outputs() -> None:
    with pytest.raises(InputError, match="shape"):
        jacobians(lambda x: x[:, None] * x[..., None], torch.ones(2, 3))
    with pytest.raises(InputError, match="no samples"):
        jacobians(lambda x: x, torch.ones(0, 3))


def test_reports_progress() -> None:
    calls: list[tuple[int, int]] = []
    jacobians(lambda x: x**2, torch.ones(5, 2), chunk=2, progress=lambda *call: calls.append(call))
    assert calls == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("name", ["lenet", "mlp-tanh", "conv-strided"])
def test_norms_agree_with_the_matrix(name: str) -> None:
    case = CASES[name]
    module, x, y = case.module(), case.inputs(5), torch.arange(5) % 3
    pairs = [(math.inf, 1.0), (math.inf, 2.0)]
    norms = jacobian_norms(module.float(), Sample(x.float(), y), operators=pairs, chunk=2)
    module = module.double()
    for i in range(5):
        matrix = jacobian(module, x[i].float().double())
        assert math.isclose(norms.spectral[i], torch.linalg.matrix_norm(matrix, 2), rel_tol=1e-9)
        assert math.isclose(norms.frobenius[i], matrix.norm(), rel_tol=1e-9)
        assert math.isclose(norms.entrywise_l1[i], matrix.abs().sum(), rel_tol=1e-9)
        assert math.isclose(norms.row_sum[i], max(row.abs().sum() for row in matrix), rel_tol=1e-9)
        for q in (1, 2, math.inf):
            true = max(float((row - matrix[y[i]]).norm(q)) for row in matrix)
            assert math.isclose(norms.margins[q][i], true, rel_tol=1e-9)
        for pair in pairs:
            assert norms.operators[pair].lower[i] <= norms.operators[pair].upper[i]


def test_norms_order_as_in_the_table_of_surrogates() -> None:
    """Theory L2.1: margin-Jacobian ≤ √2·spectral ≤ √2·Frobenius and ≤ 2·row-sum, ≤ entrywise ℓ1."""
    case = CASES["lenet"]
    norms = jacobian_norms(case.module(), Sample(case.inputs(20), torch.arange(20) % 3))
    slack = 1 + 1e-12
    assert bool((norms.margins[2] <= math.sqrt(2) * norms.spectral * slack).all())
    assert bool((norms.spectral <= norms.frobenius * slack).all())
    assert bool((norms.margins[1] <= 2 * norms.row_sum * slack).all())
    assert bool((norms.margins[1] <= norms.entrywise_l1 * slack).all())


def test_norms_refuse_an_empty_sample() -> None:
    with pytest.raises(InputError, match="no samples"):
        jacobian_norms(lambda x: x, Sample(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)))
