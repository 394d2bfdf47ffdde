"""Preparing a model for measurement: float64, eval mode, and samples that do not influence each other."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bounds.network.errors import SamplesInteract

Model = nn.Module | Callable[[Tensor], Tensor]


def float64_model(model: Model) -> Callable[[Tensor], Tensor]:
    """A float64 copy of a module in eval mode with frozen weights; any other callable as it is.

    >>> run = float64_model(nn.Linear(2, 1).train())
    >>> run(torch.zeros(1, 2, dtype=torch.float64)).dtype
    torch.float64
    """
    if not isinstance(model, nn.Module):
        return model
    return copy.deepcopy(model).to(torch.float64).eval().requires_grad_(False)


def refuse_mixing(model: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Raises if the first sample's outputs depend on the second sample; one backward pass over two samples.

    Raises:
        SamplesInteract: for batch statistics (train-mode batch-norm, x - x.mean(0)).

    >>> refuse_mixing(lambda x: x - x.mean(0), torch.ones(2, 3))
    Traceback (most recent call last):
        ...
    bounds.network.errors.SamplesInteract: model: its samples influence each other (batch statistics?)
    """
    if len(x) < 2:
        return
    pair = x[:2].detach().clone().requires_grad_(True)
    with torch.enable_grad():
        first = model(pair)[0].flatten()
        weights = torch.randn(first.shape, generator=torch.Generator().manual_seed(0)).to(first.dtype)
        total = (first * weights).sum()
    # A sample on which the network is not finite has NaN where the gradient is 0.
    if bool((gradient_or_zero(total, pair)[1].nan_to_num(nan=0.0) != 0).any()):
        raise SamplesInteract("model: its samples influence each other (batch statistics?)")


def gradient_or_zero(output: Tensor, inputs: Tensor, *, keep: bool = False) -> Tensor:
    """Gradient of one number with respect to the inputs, zero where it does not depend on them.

    >>> x = torch.ones(2, requires_grad=True)
    >>> gradient_or_zero((x**2).sum(), x), gradient_or_zero(torch.tensor(1.0), x)
    (tensor([2., 2.]), tensor([0., 0.]))
    """
    if not output.requires_grad:
        return torch.zeros_like(inputs)
    gradient = torch.autograd.grad(output, inputs, retain_graph=keep, allow_unused=True)[0]
    return torch.zeros_like(inputs) if gradient is None else gradient
