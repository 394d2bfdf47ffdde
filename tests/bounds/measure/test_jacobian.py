from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from bounds.budget import Budget
from bounds.errors import InputError
from bounds.measure import hessian_norms, jacobian_norms, jacobians, margins, pr_norm
from bounds.measure.load import load
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
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (4, 5), (5, 5)]


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


@pytest.mark.parametrize("outputs, inputs", [(40, 9), (9, 40)])
def test_norms_in_pieces_agree_with_the_matrix(monkeypatch: pytest.MonkeyPatch, outputs: int, inputs: int) -> None:
    """Large Jacobians are worked on in pieces of rows or columns: here of two hundred numbers."""
    monkeypatch.setattr(pr_norm, "_PIECE", 200)
    layer = nn.Linear(inputs, outputs).double()
    matrix, x, y = layer.weight.detach(), torch.zeros(3, inputs, dtype=torch.float64), torch.tensor([0, 1, 8])
    norms = jacobian_norms(layer, Sample(x, y), operators=[(2, 2), (1, 2), (math.inf, 2)])
    exact = {"spectral": torch.linalg.matrix_norm(matrix, 2), "frobenius": matrix.norm()}
    exact |= {"entrywise_l1": matrix.abs().sum(), "row_sum": matrix.abs().sum(1).max()}
    for name, value in exact.items():
        torch.testing.assert_close(norms.plain[name], value.expand(3), rtol=1e-12, atol=0)
    for q, found in norms.margins.items():
        true = [torch.linalg.vector_norm(matrix - matrix[k], q, dim=1).max() for k in y.tolist()]
        torch.testing.assert_close(found, torch.stack(true), rtol=1e-12, atol=0)
    torch.testing.assert_close(norms.operators[2, 2].upper, exact["spectral"].expand(3), rtol=1e-12, atol=0)
    torch.testing.assert_close(norms.operators[1, 2].upper, matrix.norm(dim=0).max().expand(3), rtol=1e-12, atol=0)
    assert bool((norms.operators[math.inf, 2].lower <= norms.operators[math.inf, 2].upper).all())


def test_only_the_norms_asked_for_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bounds.measure.jacobian_norm._PLAIN", {"row_sum": lambda jacobian: jacobian.abs().sum(2).amax(1)}
    )
    x, y = torch.zeros(2, 3, dtype=torch.float64), torch.tensor([0, 1])
    norms = jacobian_norms(nn.Linear(3, 2), Sample(x, y), wanted=["row_sum"], q=())
    assert list(norms.plain) == ["row_sum"] and not norms.margins
    with pytest.raises(InputError, match="unknown norm of the Jacobian 'rowsum': did you mean 'row_sum'"):
        jacobian_norms(nn.Linear(3, 2), Sample(x, y), wanted=["rowsum"])


class Batched(nn.Module):
    """Notes how many samples it is run on at once."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.sizes = nn.Linear(100, 5), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        return self.linear(x).tanh()


def largest_batch(measure: Callable[[Callable[[torch.Tensor], torch.Tensor]], object]) -> int:
    model = Batched().double()
    measure(lambda x: model(x))
    return max(model.sizes)


def test_batches_follow_the_budget() -> None:
    """A Jacobian of 5 x 100 numbers takes 4 kB: the budget is for a few of them, whatever was asked for."""
    data = Sample(torch.zeros(40, 100, dtype=torch.float64), torch.zeros(40, dtype=torch.int64))
    jacobian = [
        largest_batch(lambda model, memory=memory: jacobian_norms(model, data, memory=memory))
        for memory in (Budget(10**9), Budget(80_000))
    ]
    assert jacobian[0] == 32 and 6 <= jacobian[1] <= 20
    hessian = [
        largest_batch(lambda model, memory=memory: hessian_norms(model, data, memory=memory))
        for memory in (Budget(10**9), Budget(400_000))
    ]
    assert hessian[0] == 32 and hessian[1] < 32
    forward = [
        largest_batch(lambda model, memory=memory: margins(model, data, memory=memory))
        for memory in (Budget(10**9), Budget(20_000))
    ]
    assert forward[0] == 40 and 6 <= forward[1] < 30


def test_refuses_what_does_not_fit() -> None:
    data = Sample(torch.zeros(4, 1000, dtype=torch.float64), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(InputError, match="the Jacobian of one sample takes .* kB, the budget is 10 kB"):
        jacobian_norms(nn.Linear(1000, 5), data, memory=Budget(10_000))


def test_the_trial_of_a_model_counts_what_a_sample_keeps_and_not_its_weights() -> None:
    case = CASES["lenet"]
    module, x = case.module().double(), case.inputs(1)
    traced, tried = load(trace(module, x), x), load(module, x)
    assert (traced.inputs, traced.outputs) == (tried.inputs, tried.outputs)
    assert traced.kept / 8 < tried.kept < 8 * traced.kept
    wide = nn.Sequential(nn.Linear(4, 5000), nn.ReLU(), nn.Linear(5000, 2)).double()
    assert load(wide, torch.zeros(1, 4, dtype=torch.float64)).kept < 20 * 8 * 5000
