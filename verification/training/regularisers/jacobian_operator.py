"""Operator norm ‖J‖_{p→r} of the Jacobian (after Roth, Kilcher & Hofmann; theory §2, §3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import InputError, unknown_name
from verification.attack_set import NORMS
from verification.training.regularisers.penalty import power_vectors, random_directions, stretch


@dataclass(frozen=True)
class JacobianOperator:
    """Mean over the batch of ‖J(x)v‖_r, logits / input units: a lower bound of ‖J(x)‖_{p→r} (theory L3.2).

    v comes from power steps and is frozen. With strength λ·eps the objective is that of adversarial training on
    λ‖f(x) - f(x + δ)‖_r, inside a linear piece and where v is the maximiser (theory L3.5).

    Attributes:
        norm: attack norm ‖·‖_p.
        r: exponent of the logit norm, at least 1; may be inf.
        steps: power steps from a random start.

    Raises:
        InputError: for an unknown norm, r < 1 or no steps.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[3.0, 1.0], [0.0, 1.0]])
    >>> JacobianOperator("linf", 1)(network, torch.zeros(5, 2), torch.zeros(5).long(), torch.Generator()).item()
    5.0
    """

    norm: str = "l2"
    r: float = 2.0
    steps: int = 10

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise unknown_name("norm", self.norm, NORMS)
        if not self.r >= 1:
            raise InputError(f"logit norm: its exponent must be >= 1, not {self.r}")
        if self.steps < 1:
            raise InputError(f"power method with {self.steps} steps: at least 1 is needed")

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the labels are not used."""
        p = NORMS[self.norm][0]
        u, v = power_vectors(network, x, random_directions(x, p, generator), p, self.r, self.steps)
        return stretch(network, x, u, v).mean()
