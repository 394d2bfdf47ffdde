"""Squared Frobenius norm of the Jacobian (the ℓ2 regulariser of Wu & Li; theory §2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from verification.training.regularisers.penalty import jacobian_products, unit_vectors


@dataclass(frozen=True)
class JacobianFrobenius:
    """Mean over the batch of ‖J(x)‖_F², (logits / input units)².

    Attributes:
        projections: number of random directions v, uniform on the unit sphere: K·mean ‖J^T v‖² estimates
            ‖J‖_F² without bias. None: exact, by K products.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> JacobianFrobenius()(network, torch.zeros(5, 2), torch.zeros(5).long(), torch.Generator()).item()
    30.0
    """

    projections: int | None = None

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the labels are not used."""
        directions = unit_vectors(network, x)
        scale = 1.0
        if self.projections is not None:
            classes = directions.shape[2]
            noise = torch.randn(self.projections, len(x), classes, dtype=x.dtype, generator=generator)
            directions, scale = functional.normalize(noise, dim=2), classes / self.projections
        squares = [product.square().sum() for product in jacobian_products(network, x, directions)]
        return scale * torch.stack(squares).sum() / len(x)
