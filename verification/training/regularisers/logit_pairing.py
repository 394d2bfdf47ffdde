"""Adversarial logit pairing: how far an attack can move the logits (theory L3.5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from bounds.measure.pr_norm import vector_norms
from verification.training.regularisers.perturbation import Perturbation


@dataclass(frozen=True)
class LogitPairing(Perturbation):
    """Mean over the batch of ‖f(x + delta) - f(x)‖_r, logits; a lower bound of its maximum over delta.

    delta comes from projected gradient ascent on that distance. Inside a linear piece the penalty is
    eps·‖J‖_{p→r} (theory L3.5).

    Attributes:
        r: exponent of the logit norm, at least 1; may be inf.

    Raises:
        InputError: as for every perturbation, and for r < 1.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[3.0, 1.0], [0.0, 1.0]])
    >>> x, y = torch.ones(1, 2) / 2, torch.tensor([1])
    >>> LogitPairing("linf", 0.5, r=1)(network, x, y, torch.Generator()).item()
    2.5
    """

    r: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.r >= 1:
            raise InputError(f"logit norm: its exponent must be >= 1, not {self.r}")

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; the labels are not used."""
        clean = network(x)
        fixed = clean.detach()

        def distance(logits: Tensor, reference: Tensor) -> Tensor:
            return vector_norms(logits - reference, self.r, 1)

        delta = self.ascend(network, x, lambda logits: distance(logits, fixed), generator)
        return distance(network(x + delta), clean).mean()
