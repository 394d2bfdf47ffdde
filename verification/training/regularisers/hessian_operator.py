"""Operator norm of the input Hessian of the loss (after Mustafa, Vandermeulen & Kloft)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from verification.training.regularisers.penalty import hessian_product, loss_gradient, unit


@dataclass(frozen=True)
class HessianOperator:
    """Mean over the batch of |v^T ∇²_xℓ v|, nats / input units²: a lower bound of ‖∇²_xℓ‖_2.

    v comes from power steps on Hessian-vector products and is frozen. For a piecewise-linear network only the
    curvature of the loss remains, J^T(diag p - pp^T)J (theory L2.7).

    Attributes:
        steps: power steps from a random start; each is one Hessian-vector product.

    Raises:
        InputError: for no steps.

    >>> network = nn.Linear(1, 2, bias=False)
    >>> network.weight.data = torch.tensor([[3.0], [-1.0]])  # p = 1/2 at 0: (1/4)·4²
    >>> HessianOperator()(network, torch.zeros(5, 1), torch.zeros(5).long(), torch.Generator()).item()
    4.0
    """

    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"power method with {self.steps} steps: at least 1 is needed")

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters."""
        leaf, gradient = loss_gradient(network, x, y)
        v = unit(torch.randn(x.shape, dtype=x.dtype, generator=generator))
        for _ in range(self.steps):
            v = unit(hessian_product(leaf, gradient, v, differentiable=False))
        product = hessian_product(leaf, gradient, v, differentiable=True)
        return (product * v).flatten(1).sum(1).abs().mean()
