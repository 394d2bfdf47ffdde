"""Projected gradient ascent inside a training step: the perturbation that adversarial objectives are taken at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import InputError, unknown_name
from verification.attack_set import AttackSet
from verification.training.regularisers.penalty import frozen_statistics, unit

NORMS = ("l2", "linf")

# Length of all steps together, in units of eps: from any start they reach any point of the ball.
TRAVEL = 2.5


@dataclass(frozen=True)
class Perturbation:
    """Looks for the delta in a ball and box that maximises an objective; delta is not differentiated through.

    Attributes:
        norm: "l2" or "linf".
        eps: radius, input units.
        box: valid input values; None for the plain ball.
        steps: gradient steps from a random point.

    Raises:
        InputError: for another norm, a bad radius or box, or no steps.
    """

    norm: str
    eps: float
    box: tuple[float, float] | None = (0.0, 1.0)
    steps: int = 10

    def __post_init__(self) -> None:
        AttackSet(self.norm, self.eps, self.box)
        if self.norm not in NORMS:
            raise unknown_name("norm", self.norm, NORMS)
        if self.steps < 1:
            raise InputError(f"adversarial training with {self.steps} steps: at least 1 is needed")

    def ascend(
        self, network: nn.Module, x: Tensor, objective: Callable[[Tensor], Tensor], generator: torch.Generator
    ) -> Tensor:
        """A perturbation, shaped like x, in the attack set to the precision of x.

        Args:
            network: batch-norm layers in training keep to the statistics at x meanwhile.
            x: inputs, (n, *shape).
            objective: of the logits at x + delta; summed over the batch.
            generator: of the starting point.
        """
        delta = self._inside(self.eps * self._direction(torch.randn(x.shape, dtype=x.dtype, generator=generator)), x)
        with frozen_statistics(network, x):
            for _ in range(self.steps):
                delta.requires_grad_(True)
                (gradient,) = torch.autograd.grad(objective(network(x + delta)).sum(), delta)
                step = TRAVEL * self.eps / self.steps
                delta = self._inside(delta.detach() + step * self._direction(gradient), x)
        return delta

    def _direction(self, v: Tensor) -> Tensor:
        """The point of the unit ball furthest along v; 0 for v = 0."""
        return v.sign() if self.norm == "linf" else unit(v)

    def _inside(self, delta: Tensor, x: Tensor) -> Tensor:
        """A point of ball and box: onto the ball, then the box, which only shortens."""
        if self.norm == "linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            size = delta.flatten(1).norm(dim=1).clamp(min=self.eps)
            delta = delta * (self.eps / size).reshape(-1, *[1] * (x.dim() - 1))
        return delta if self.box is None else (x + delta).clamp(*self.box) - x
