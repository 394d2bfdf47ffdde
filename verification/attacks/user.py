"""Any attack of the user's: a function that perturbs inputs, judged like the others."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.network.running import Model
from verification.attacks.objectives import log_odds
from verification.attacks.result import FamilyAttack
from verification.attacks.search import Search, search_all

# (float64 model, inputs (n, *shape), labels (n,)) -> perturbed inputs (n, *shape).
Perturb = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]


def user_attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    perturb: Perturb,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> FamilyAttack:
    """Loss and margin of inputs perturbed by the user's function, or of the clean ones where these are worse.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        perturb: called with the float64 model, some inputs and their labels; returns as many perturbed inputs.
        progress: called with (samples done, samples).

    Returns:
        Side: lower bound of the robust loss over any family that the function keeps to. Samples whose perturbed
        input or logits are not finite are marked as failed.

    Raises:
        InputError: if the function returns anything but a tensor of the inputs' shape.

    >>> linear = torch.nn.Linear(1, 2, bias=False).double()
    >>> linear.weight.data = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    >>> user_attack(linear, torch.ones(1, 1), torch.tensor([0]), lambda model, x, y: -x).margin
    tensor([-1.], dtype=torch.float64)
    """
    name = getattr(perturb, "__name__", type(perturb).__name__)

    def search_chunk(run: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Search:
        search = Search(run, inputs, labels, log_odds, lambda delta: torch.ones(len(delta), dtype=torch.bool))
        found = perturb(run, inputs, labels)
        if not isinstance(found, Tensor) or found.shape != inputs.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"attack {name}: returned {shape} for inputs of shape {tuple(inputs.shape)}")
        delta = found.detach().double() - inputs
        finite = delta.flatten(1).isfinite().all(dim=1)
        search.look(delta.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
        search.failed = search.failed | ~finite
        return search

    return FamilyAttack(f"user attack {name}", *search_all(model, x, y, search_chunk, progress))
