"""Weight decay: the baseline that knows nothing of the data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class WeightDecay:
    """Half the squared Euclidean norm of all parameters.

    >>> network = nn.Linear(2, 1)
    >>> network.weight.data, network.bias.data = torch.tensor([[1.0, 2.0]]), torch.tensor([3.0])
    >>> WeightDecay()(network, torch.zeros(5, 2), torch.zeros(5).long(), torch.Generator()).item()
    7.0
    """

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; nothing else is used."""
        return torch.stack([parameter.square().sum() for parameter in network.parameters()]).sum() / 2
