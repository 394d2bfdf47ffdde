"""Loss and error on the training samples and on held-out ones."""

from __future__ import annotations

from typing import Any

from torch import nn

from bounds.inputs import Data
from bounds.measure import margins


def generalization(network: nn.Module, training: Data, held_out: Data) -> dict[str, Any]:
    """Mean cross-entropy (nats) and share of errors on each side; exact to rounding.

    >>> import torch
    >>> data = Data("toy", torch.eye(2), torch.tensor([0, 1]), 2)
    >>> generalization(nn.Identity(), data, data)["held_out"]["error"]
    0.0
    """
    sides = {"train": margins(network, training), "held_out": margins(network, held_out)}
    return {side: {"loss": float(found.losses.mean()), "error": found.error} for side, found in sides.items()}
