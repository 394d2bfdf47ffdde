"""Data-dependent spectral norm regularisation (Roth, Kilcher & Hofmann; theory §3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from verification.training.regularisers.penalty import frozen_statistics, power_vectors, random_directions, stretch


@dataclass(frozen=True)
class DataSpectral:
    """Mean over the batch of σ_1(J(x))²/2, (logits / input units)², from power steps; a lower bound of it.

    The singular vectors are frozen, which leaves the gradient of σ_1² as it is where they have converged. They start
    at random in every step: kept between epochs they lag behind a penalty that shrinks J along them, and a training
    on one step from there left a larger σ_1 than one from a random start.

    Attributes:
        steps: power steps from a random start.

    Raises:
        InputError: for no steps.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
    >>> penalty = DataSpectral(steps=20)(network, torch.zeros(5, 2), torch.zeros(5).long(), torch.Generator())
    >>> round(penalty.item(), 4)
    8.0
    """

    steps: int = 10

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the labels are not used."""
        u, v = power_vectors(network, x, random_directions(x, 2, generator), 2, 2, self.steps)
        return stretch(network, x, u, v).square().mean() / 2


@dataclass(frozen=True)
class DataSpectralDistance:
    """Mean over the batch of ‖f(x + eps·v) - f(x)‖_2²/2, logits², v the top right singular vector of J(x).

    The form of the paper's experiments: inside a linear piece it is eps² times `DataSpectral` (theory §3).

    Attributes:
        eps: length of the step, input units.
        steps: power steps from a random start.

    Raises:
        InputError: for no steps, or eps that is not positive.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
    >>> penalty = DataSpectralDistance(0.5, 20)(network, torch.zeros(5, 2), torch.zeros(5).long(), torch.Generator())
    >>> round(penalty.item(), 4)
    2.0
    """

    eps: float
    steps: int = 10

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        if not self.eps > 0:
            raise InputError(f"data-dependent spectral regularisation: eps must be positive, not {self.eps!r}")

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the labels are not used."""
        with frozen_statistics(network, x):
            _, v = power_vectors(network, x, random_directions(x, 2, generator), 2, 2, self.steps)
            moved = network(x + self.eps * v) - network(x)
        distance: Tensor = moved.square().sum() / (2 * len(x))
        return distance


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise InputError(f"power method with {steps} steps: at least 1 is needed")
