"""What a regulariser is, and the differentiable Jacobian rows that the Jacobian regularisers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

# (network, inputs (n, *shape), labels (n,), generator) -> scalar penalty, differentiable in the parameters
Regulariser = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


def jacobian_products(network: nn.Module, x: Tensor, directions: Tensor) -> Iterator[Tensor]:
    """J(x_j)^T v_j for each direction, (n, *input), differentiable in the parameters.

    Args:
        network: samples must not influence each other.
        x: inputs, (n, *input).
        directions: directions in logit space, (count, n, K).
    """
    x = x.detach().requires_grad_(True)
    logits = network(x)
    for direction in directions:
        (product,) = torch.autograd.grad(logits, x, direction, create_graph=True)
        yield product


def unit_vectors(network: nn.Module, x: Tensor) -> Tensor:
    """e_k for every class and sample, (K, n, K): the directions whose products are the Jacobian's rows."""
    with torch.no_grad():
        classes = network(x[:1]).shape[1]
    return torch.eye(classes, dtype=x.dtype)[:, None, :].expand(classes, len(x), classes)
