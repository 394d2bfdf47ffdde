"""Frobenius norm of the Jacobian, squared (the ℓ2 regulariser of Wu & Li) or not (theory §2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bounds.measure.pr_norm import vector_norms
from verification.training.regularisers.penalty import evaluate, jacobian_products, unit_vectors


@dataclass(frozen=True)
class JacobianFrobenius:
    """Mean over the batch of ‖J(x)‖_F², (logits / input units)², or of ‖J(x)‖_F.

    Attributes:
        projections: number of random directions v, uniform on the unit sphere: K·mean ‖J^T v‖² estimates
            ‖J‖_F² without bias (its root is biased downwards). None: exact, by K products.
        squared: whether the norm is squared.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> JacobianFrobenius()(network, torch.zeros(5, 2), torch.zeros(5).long(), torch.Generator()).item()
    30.0
    """

    projections: int | None = None
    squared: bool = True

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the labels are not used."""
        leaf, logits = evaluate(network, x)
        directions = unit_vectors(logits)
        scale = 1.0
        if self.projections is not None:
            classes = directions.shape[2]
            noise = torch.randn(self.projections, len(x), classes, dtype=x.dtype, generator=generator)
            directions, scale = functional.normalize(noise, dim=2), classes / self.projections
        rows = [product.flatten(1) for product in jacobian_products(leaf, logits, directions)]
        if self.squared:
            return scale * torch.stack([row.square().sum() for row in rows]).sum() / len(x)
        return math.sqrt(scale) * vector_norms(torch.cat(rows, dim=1), 2, 1).mean()
