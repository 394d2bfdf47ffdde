"""The loss that an attack adds: with strength 1 the objective is that of adversarial training (theory §3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bounds.errors import InputError, unknown_name
from verification.attack_set import AttackSet

NORMS = ("l2", "linf")

# Length of all steps together, in units of eps: from any start they reach any point of the ball.
TRAVEL = 2.5


@dataclass(frozen=True)
class Adversarial:
    """Mean of cross-entropy at x + delta minus cross-entropy at x, nats; a lower bound of the robust excess.

    delta comes from projected gradient ascent from a random point and is not differentiated through; it lies in
    the attack set to the precision of x.

    Attributes:
        norm: "l2" or "linf".
        eps: radius, input units.
        box: valid input values; None for the plain ball.
        steps: gradient steps.

    Raises:
        InputError: for another norm, a bad radius or box, or no steps.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    >>> x, y = torch.ones(1, 2), torch.tensor([1])  # logits (0, 4), or (0, 0) at the worst x
    >>> round(Adversarial("linf", 1.0)(network, x, y, torch.Generator()).item(), 4)
    0.675
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

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters."""
        attacked = x + self._perturbation(network, x, y, generator)
        return functional.cross_entropy(network(attacked), y) - functional.cross_entropy(network(x), y)

    def _perturbation(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        delta = self._inside(self.eps * self._direction(torch.randn(x.shape, dtype=x.dtype, generator=generator)), x)
        for _ in range(self.steps):
            delta.requires_grad_(True)
            (gradient,) = torch.autograd.grad(functional.cross_entropy(network(x + delta), y, reduction="sum"), delta)
            step = TRAVEL * self.eps / self.steps
            delta = self._inside(delta.detach() + step * self._direction(gradient), x)
        return delta

    def _direction(self, v: Tensor) -> Tensor:
        """The point of the unit ball furthest along v; 0 for v = 0."""
        if self.norm == "linf":
            return v.sign()
        return functional.normalize(v.flatten(1), dim=1, eps=torch.finfo(v.dtype).tiny).reshape(v.shape)

    def _inside(self, delta: Tensor, x: Tensor) -> Tensor:
        """A point of ball and box: onto the ball, then the box, which only shortens."""
        if self.norm == "linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            size = delta.flatten(1).norm(dim=1).clamp(min=self.eps)
            delta = delta * (self.eps / size).reshape(-1, *[1] * (x.dim() - 1))
        return delta if self.box is None else (x + delta).clamp(*self.box) - x
