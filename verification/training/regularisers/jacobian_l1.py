"""Entrywise ℓ1 norm of the Jacobian (the ℓ∞ regulariser of Wu & Li; theory §2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from verification.training.regularisers.penalty import evaluate, jacobian_products, unit_vectors


@dataclass(frozen=True)
class JacobianL1:
    """Mean over the batch of ‖J(x)‖_{1,1} = sum of |J_kj|, logits / input units; exact, by K products.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1.0, -2.0], [3.0, -4.0]])
    >>> JacobianL1()(network, torch.zeros(5, 2), torch.zeros(5).long(), torch.Generator()).item()
    10.0
    """

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; labels and generator are not used."""
        leaf, logits = evaluate(network, x)
        products = jacobian_products(leaf, logits, unit_vectors(logits))
        return torch.stack([product.abs().sum() for product in products]).sum() / len(x)
