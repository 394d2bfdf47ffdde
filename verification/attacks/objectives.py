"""What the attacks ascend: functions of the logits whose gradients do not vanish where a loss saturates."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bounds.errors import unknown_name

# (logits (n, K), labels (n,), logits at x (n, K)) -> value to maximise (n,).
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]


def log_odds(logits: Tensor, y: Tensor, clean: Tensor) -> Tensor:
    """Log-odds of being wrong, e = ln Σ_{k≠y} exp(z_k - z_y).

    The cross-entropy ln(1 + exp e) increases with e: same maximisers, same directions of ascent, but neither e nor
    its gradient underflows on confident samples.

    >>> log_odds(torch.tensor([[2e3, 0.0, 1e3]]), torch.tensor([0]), torch.zeros(1, 3))
    tensor([-1000.])
    """
    return torch.logsumexp(_leads(logits, y), 1)


def negative_margin(logits: Tensor, y: Tensor, clean: Tensor) -> Tensor:
    """max_{k≠y} z_k - z_y (theory L1.3)."""
    return _leads(logits, y).amax(1)


def distance(logits: Tensor, y: Tensor, clean: Tensor, r: float) -> Tensor:
    """‖f(x + delta) - f(x)‖_r (theory L3.4)."""
    distances: Tensor = torch.linalg.vector_norm(logits - clean, r, dim=1)
    return distances


OBJECTIVES: dict[str, Objective] = {
    "cross-entropy": log_odds,
    "margin": negative_margin,
    "distance-1": partial(distance, r=1.0),
    "distance": partial(distance, r=2.0),
    "distance-inf": partial(distance, r=math.inf),
}


def objective(loss: str) -> Objective:
    """What is ascended for a loss.

    Raises:
        InputError: for an unknown loss.

    >>> objective("margin") is negative_margin
    True
    """
    if loss not in OBJECTIVES:
        raise unknown_name("loss", loss, OBJECTIVES)
    return OBJECTIVES[loss]


def _leads(logits: Tensor, y: Tensor) -> Tensor:
    """z_k - z_y, (n, K), -inf at k = y."""
    return (logits - logits.gather(1, y[:, None])).scatter(1, y[:, None], -math.inf)
