from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.measure import hessian_norms
from bounds.measure.hessian import is_piecewise_linear, lanczos_curvature, piecewise_linear_curvature
from bounds.network import trace
from bounds.network.errors import SamplesInteract
from tests.bounds.measure.oracles import Sample, hessian
from tests.cases import CASES

PIECEWISE_LINEAR = [
    "linear",
    "mlp",
    "mlp-leaky_relu",
    "lenet",
    "max-pool-overlapping",
    "conv-strided",
    "resnet",
    "densenet",
]
SMOOTH = ["mlp-tanh", "mlp-softplus", "mlp-gelu", "mlp-sigmoid", "bn-after-pool", "vit", "gated"]


def eigenvalues(name: str, n: int, scale: float = 1.0) -> tuple[Sample, Tensor]:
    case = CASES[name]
    x, y = scale * case.inputs(n), torch.arange(n) % 3
    return Sample(x, y), torch.stack(
        [torch.linalg.eigvalsh(hessian(case.module(), *pair)) for pair in zip(x, y, strict=True)]
    )


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
def test_piecewise_linear_is_exact(name: str) -> None:
    """Theory L2.7 against the Hessian by double differentiation."""
    sample, spectrum = eigenvalues(name, 4)
    norms = hessian_norms(trace(CASES[name].module(), sample.x), sample, chunk=3)
    assert norms.exact
    torch.testing.assert_close(norms.top, spectrum[:, -1], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(norms.operator, spectrum.abs().amax(1), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_lanczos_with_enough_steps_is_exact_and_with_few_below(name: str) -> None:
    sample, spectrum = eigenvalues(name, 3, scale=2.0)
    module = CASES[name].module()
    dimension = sample.x[0].numel()
    norms = hessian_norms(module, sample, steps=dimension, chunk=2)
    assert not norms.exact
    torch.testing.assert_close(norms.top, spectrum[:, -1], rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(norms.operator, spectrum.abs().amax(1), rtol=1e-7, atol=1e-10)
    few = hessian_norms(module, sample, steps=2)
    assert bool((few.top <= spectrum[:, -1] + 1e-10).all())
    assert bool((few.operator <= spectrum.abs().amax(1) + 1e-10).all())


def test_top_eigenvalue_is_signed() -> None:
    """ℓ = softplus(-x²-y²) at 0: the Hessian is -2σ(0)·I, so the top eigenvalue is -1 and the norm 1."""

    def model(x: Tensor) -> Tensor:
        concave = -(x**2).sum(1)
        return torch.stack([0 * concave, concave], 1)

    sample = Sample(torch.zeros(2, 2, dtype=torch.float64), torch.tensor([0, 0]))
    norms = hessian_norms(model, sample)
    torch.testing.assert_close(norms.top, torch.full((2,), -1.0, dtype=torch.float64))
    torch.testing.assert_close(norms.operator, torch.full((2,), 1.0, dtype=torch.float64))


@pytest.mark.parametrize("gap", [1.0, 20.0, 100.0, 600.0])
def test_confident_samples_keep_their_relative_accuracy(gap: float) -> None:
    """Two logits (x, -x) at x = gap/2: curvature 4·p(1-p), also where 1-p is far below the rounding of 1."""
    x = torch.full((1, 1), gap / 2, dtype=torch.float64)
    curvature = piecewise_linear_curvature(lambda x: torch.cat([x, -x], 1), x).item()
    small = math.exp(-gap) / (1 + math.exp(-gap))
    assert math.isclose(curvature, 4 * small * (1 - small), rel_tol=1e-10)


def test_three_classes_of_equal_probability() -> None:
    """z = x in R³ at 0: H = I/3 - 11^T/9, norm 1/3."""
    x = torch.zeros(1, 3, dtype=torch.float64)
    assert math.isclose(piecewise_linear_curvature(lambda x: 1 * x, x).item(), 1 / 3, rel_tol=1e-12)


def test_affine_loss_has_no_curvature() -> None:
    x, y = torch.ones(2, 3, dtype=torch.float64), torch.tensor([0, 1])
    top, operator = lanczos_curvature(lambda x: torch.zeros(len(x), 2, dtype=x.dtype) + 0 * x[:, :2], x, y)
    assert top.tolist() == operator.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["mlp-tanh", "vit", "gated", "gru", "mlp-elu"])
def test_knows_what_is_not_piecewise_linear(name: str) -> None:
    case = CASES[name]
    assert not is_piecewise_linear(trace(case.module(), case.inputs(2)))
    assert not is_piecewise_linear(case.module())


def test_same_seed_same_result_and_fast_path_restored() -> None:
    case = CASES["mlp-tanh"]
    sample = Sample(case.inputs(3), torch.tensor([0, 1, 2]))
    before = torch.backends.mha.get_fastpath_enabled()
    first, second = (hessian_norms(case.module(), sample, steps=2, seed=4) for _ in range(2))
    assert torch.equal(first.top, second.top)
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_refuses() -> None:
    with pytest.raises(InputError, match="no samples"):
        hessian_norms(lambda x: x, Sample(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)))
    with pytest.raises(SamplesInteract):
        hessian_norms(lambda x: x - x.mean(0), Sample(torch.randn(3, 2), torch.tensor([0, 1, 0])))
