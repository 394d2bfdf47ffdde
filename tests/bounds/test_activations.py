"""Activation constants against a dense numerical search and the values of theory §0."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from bounds.activations import activation
from bounds.errors import InputError

TORCH = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "elu": F.elu,
}


def slopes(function, grid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = grid.clone().requires_grad_(True)
    first = torch.autograd.grad(function(x).sum(), x, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), x)[0] if first.requires_grad else torch.zeros_like(x)
    return first.detach().abs(), second.abs()


@pytest.mark.parametrize("key", sorted(TORCH))
def test_constants_are_the_suprema(key: str) -> None:
    # Points off 0, where ReLU and ELU switch branches; softplus saturates beyond 20 in torch.
    grid = torch.linspace(-15, 15, 600_001, dtype=torch.float64) + 1e-7
    first, second = slopes(TORCH[key], grid)
    facts = activation(key)
    assert float(first.max()) <= facts.rho <= float(first.max()) * (1 + 1e-6)
    if facts.beta is not None:
        assert float(second.max()) <= facts.beta * (1 + 1e-12)
        assert facts.beta <= float(second.max()) * (1 + 1e-4)
    at_zero = float(TORCH[key](torch.zeros(1, dtype=torch.float64)))
    assert facts.at_zero == pytest.approx(at_zero, rel=1e-15)
    z = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert facts.homogeneous == torch.allclose(TORCH[key](3 * z), 3 * TORCH[key](z))


@pytest.mark.parametrize(
    "key, rho, beta",
    [
        ("tanh", 1, 4 / (3 * math.sqrt(3))),
        ("sigmoid", 1 / 4, 1 / (6 * math.sqrt(3))),
        ("softplus", 1, 1 / 4),
        ("gelu", 1.1289041, math.sqrt(2 / math.pi)),
        ("gelu_tanh", 1.1289931, math.sqrt(2 / math.pi)),
        ("silu", 1.0998393, 1 / 2),
        ("elu", 1, 1),
    ],
)
def test_published_constants(key: str, rho: float, beta: float) -> None:
    facts = activation(key)
    assert facts.rho == pytest.approx(rho, abs=1e-7) and facts.beta == pytest.approx(beta, rel=1e-12)
    # rounded upwards: never below the exact value
    assert facts.beta >= beta * (1 - 1e-16)


def test_parameters() -> None:
    assert activation("softplus", beta=3.0).beta == 0.75
    assert activation("softplus", beta=4.0).at_zero == pytest.approx(math.log(2) / 4)
    assert activation("leaky_relu", negative_slope=-3.0).rho == 3
    assert activation("elu", alpha=2.0).rho == 2 and activation("elu", alpha=2.0).beta is None


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="did you mean 'softplus'"):
        activation("softplu")
    with pytest.raises(InputError, match="has no parameter 'slope'"):
        activation("relu", slope=1.0)
