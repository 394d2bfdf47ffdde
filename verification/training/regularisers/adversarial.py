"""The loss that an attack adds: with strength 1 the objective is that of adversarial training (theory §3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from verification.training.regularisers.perturbation import Perturbation


@dataclass(frozen=True)
class Adversarial(Perturbation):
    """Mean of cross-entropy at x + delta minus cross-entropy at x, nats; a lower bound of the robust excess.

    delta comes from projected gradient ascent on the cross-entropy.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    >>> x, y = torch.ones(1, 2), torch.tensor([1])  # logits (0, 4), or (0, 0) at the worst x
    >>> round(Adversarial("linf", 1.0)(network, x, y, torch.Generator()).item(), 4)
    0.675
    """

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters."""

        def loss(logits: Tensor) -> Tensor:
            return functional.cross_entropy(logits, y, reduction="none")

        attacked = x + self.ascend(network, x, loss, generator)
        return (loss(network(attacked)) - loss(network(x))).mean()
