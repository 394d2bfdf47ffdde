"""Curvature regularisation by a difference of gradients (Moosavi-Dezfooli, Fawzi, Uesato & Frossard 2019, CURE)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from verification.training.regularisers.penalty import frozen_statistics, loss_gradient, unit


@dataclass(frozen=True)
class Cure:
    """Mean over the batch of ‖∇ℓ(x + h·z) - ∇ℓ(x)‖_2², z the unit vector along sign ∇ℓ(x), frozen.

    Attributes:
        h: length of the step, input units. For h → 0 the penalty is h²‖∇²_xℓ z‖².

    Raises:
        InputError: if h is not positive.

    >>> network = nn.Linear(1, 2, bias=False)
    >>> network.weight.data = torch.zeros(2, 1)
    >>> Cure()(network, torch.zeros(5, 1), torch.zeros(5).long(), torch.Generator()).item()
    0.0
    """

    h: float = 1.5

    def __post_init__(self) -> None:
        if not self.h > 0:
            raise InputError(f"CURE: the step must be positive, not {self.h!r}")

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the generator is not used."""
        with frozen_statistics(network, x):
            _, here = loss_gradient(network, x, y)
            _, there = loss_gradient(network, x + self.h * unit(here.detach().sign()), y)
        return (there - here).square().sum() / len(x)
