"""TRADES: divergence between the predictions at x and at the worst x + delta (Zhang et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from verification.training.regularisers.perturbation import Perturbation


@dataclass(frozen=True)
class Trades(Perturbation):
    """Mean over the batch of KL(softmax f(x) ‖ softmax f(x + delta)), nats; a lower bound of its maximum.

    delta comes from projected gradient ascent on that divergence, in which f(x) is held fixed. The strength is 1/λ
    of the paper.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    >>> x, y = torch.ones(1, 2), torch.tensor([1])
    >>> round(Trades("linf", 0.5)(network, x, y, torch.Generator()).item(), 4)  # logits (0, 2), at worst (0, 1)
    0.0671
    """

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the labels are not used."""
        clean = functional.log_softmax(network(x), dim=1)
        fixed = clean.detach()

        def divergence(logits: Tensor, reference: Tensor) -> Tensor:
            moved = functional.log_softmax(logits, dim=1)
            return (reference.exp() * (reference - moved)).sum(dim=1)

        delta = self.ascend(network, x, lambda logits: divergence(logits, fixed), generator)
        return divergence(network(x + delta), clean).mean()
