"""Norm of the loss gradient in the input: the first-order surrogate's slope (theory §2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import unknown_name
from bounds.measure.pr_norm import vector_norms
from verification.attack_set import NORMS
from verification.training.regularisers.penalty import loss_gradient


@dataclass(frozen=True)
class InputGradient:
    """Mean over the batch of ‖∇_xℓ‖_q, nats / input units; exact.

    Attributes:
        norm: attack norm, whose dual exponent is q.

    Raises:
        InputError: for an unknown norm.

    >>> network = nn.Linear(1, 2, bias=False)
    >>> network.weight.data = torch.tensor([[3.0], [-1.0]])
    >>> InputGradient()(network, torch.zeros(5, 1), torch.zeros(5).long(), torch.Generator()).item()
    2.0
    """

    norm: str = "l2"

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise unknown_name("norm", self.norm, NORMS)

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the generator is not used."""
        _, gradient = loss_gradient(network, x, y)
        return vector_norms(gradient.flatten(1), NORMS[self.norm][1], 1).mean()
