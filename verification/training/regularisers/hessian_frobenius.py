"""Frobenius norm of the input Hessian of the loss, squared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from verification.training.regularisers.penalty import hessian_product, loss_gradient, unit


@dataclass(frozen=True)
class HessianFrobenius:
    """Mean over the batch of ‖∇²_xℓ‖_F², (nats / input units²)², estimated without bias: d·mean ‖∇²_xℓ v‖².

    Attributes:
        projections: number of random directions v, uniform on the unit sphere.

    Raises:
        InputError: for no projections.

    >>> network = nn.Linear(1, 2, bias=False)
    >>> network.weight.data = torch.tensor([[3.0], [-1.0]])
    >>> HessianFrobenius()(network, torch.zeros(5, 1), torch.zeros(5).long(), torch.Generator()).item()
    16.0
    """

    projections: int = 1

    def __post_init__(self) -> None:
        if self.projections < 1:
            raise InputError(f"Hessian regularisation with {self.projections} projections: at least 1 is needed")

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters."""
        leaf, gradient = loss_gradient(network, x, y)
        squares = []
        for _ in range(self.projections):
            v = unit(torch.randn(x.shape, dtype=x.dtype, generator=generator))
            squares.append(hessian_product(leaf, gradient, v, differentiable=True).square().sum())
        return x[0].numel() * torch.stack(squares).mean() / len(x)
