"""Slope of the margin-Jacobian surrogate (theory §2, own derivation)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import unknown_name
from bounds.measure.pr_norm import vector_norms
from verification.attack_set import NORMS
from verification.training.regularisers.penalty import evaluate, jacobian_products


@dataclass(frozen=True)
class MarginJacobian:
    """Mean over the batch of max_k ‖J_k(x) - J_y(x)‖_q, logits / input units; exact.

    With strength epsilon the objective is the margin-Jacobian surrogate of the robust loss.

    Attributes:
        norm: attack norm, whose dual exponent is q.

    Raises:
        InputError: for an unknown norm.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1.0, 2.0], [4.0, -2.0]])
    >>> MarginJacobian("l2")(network, torch.zeros(5, 2), torch.zeros(5).long(), torch.Generator()).item()
    5.0
    """

    norm: str = "l2"

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise unknown_name("norm", self.norm, NORMS)

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the generator is not used."""
        leaf, logits = evaluate(network, x)
        products = jacobian_products(leaf, logits, _differences(y, logits.shape[1]).to(logits))
        norms = [vector_norms(product.flatten(1), NORMS[self.norm][1], 1) for product in products]
        return torch.stack(norms).amax(dim=0).mean()


def _differences(y: Tensor, classes: int) -> Tensor:
    """e_k - e_y for every sample and other class k, (classes - 1, n, classes).

    >>> _differences(torch.tensor([1]), 3)
    tensor([[[ 1, -1,  0]],
    <BLANKLINE>
            [[ 0, -1,  1]]])
    """
    one_hot = torch.eye(classes, dtype=torch.int64)
    others = torch.arange(classes - 1)[:, None]
    return one_hot[others + (others >= y)] - one_hot[y]
