"""What a certificate says: no rival's lead can grow beyond this, nor the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from verification.certify.rounding import sums


@dataclass(frozen=True, eq=False)
class Certificate:
    """Bounds that hold for every perturbation of the attack set, float64, rounding included.

    Attributes:
        lead: lower bounds of z_y - z_k for every class k, (n, K), logits; 0 for k = y, -inf where unknown.
        cap: upper bound of the robust cross-entropy that does not come from the leads, (n,), nats; +inf if none.

    >>> lead = torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float64)
    >>> found = Certificate(lead, torch.full((1,), math.inf))
    >>> found.margin(torch.tensor([0])).item(), round(found.loss.item(), 6)
    (1.0, 0.349012)
    """

    lead: Tensor
    cap: Tensor

    def margin(self, y: Tensor) -> Tensor:
        """Lower bound of the worst-case margin z_y - max_{k != y} z_k, (n,), logits."""
        return self.lead.scatter(1, y[:, None], math.inf).amin(dim=1)

    @cached_property
    def loss(self) -> Tensor:
        """Upper bound of the robust cross-entropy log(sum_k exp(z_k - z_y)), (n,), nats."""
        return torch.minimum(loss_of_lead(self.lead), self.cap)


def loss_of_lead(lead: Tensor) -> Tensor:
    """log(sum_k exp(-lead_k)) from above; lead (n, K) with a 0 at the label.

    With the largest exponent m >= 0 taken out, an exponent e <= 0 is off by u|e|, which changes exp(e) by at most
    u/e (Euler's number), exp and log err by a unit or two each, the K terms are summed, and m is added at the end.
    """
    value = torch.logsumexp(-lead, dim=1)
    return value + sums(lead.shape[1] + 10) * (1 + value.abs().nan_to_num(posinf=0.0))


def nothing(x: Tensor, classes: int, y: Tensor) -> Certificate:
    """The certificate that says nothing."""
    lead = torch.full((len(x), classes), -math.inf, dtype=torch.float64).scatter(1, y[:, None], 0.0)
    return Certificate(lead, torch.full((len(x),), math.inf, dtype=torch.float64))
