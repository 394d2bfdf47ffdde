"""Global spectral norm regularisation: the layers' operator norms, whatever the data (theory §3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bounds.errors import InputError
from verification.training.regularisers.penalty import frozen_statistics, unit


@dataclass(frozen=True)
class GlobalSpectral:
    """Sum over the dense and convolutional layers of σ_1(W_i)²/2, W_i as an operator; a lower bound of it.

    The singular vectors come from power steps and are frozen; batch-norm's scales are not counted.

    Attributes:
        steps: power steps from a random start.

    Raises:
        InputError: for no steps.

    >>> network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    >>> network[0].weight.data, network[2].weight.data = torch.diag(torch.tensor([4.0, 1.0])), torch.ones(1, 2)
    >>> penalty = GlobalSpectral(20)(network, torch.ones(5, 2), torch.zeros(5).long(), torch.Generator())
    >>> round(penalty.item(), 4)  # (16 + 2)/2
    9.0
    """

    steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"power method with {self.steps} steps: at least 1 is needed")

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """The penalty, a scalar differentiable in the parameters; x only gives the sizes of the layers' inputs."""
        terms = []
        for apply, shape in _operators(network, x):
            v = unit(torch.randn(1, *shape, dtype=x.dtype, generator=generator))
            for _ in range(self.steps):
                leaf = v.requires_grad_(True)
                image = apply(leaf)
                (pulled,) = torch.autograd.grad(image, leaf, image.detach())
                v = unit(pulled)
            terms.append(apply(v).square().sum() / 2)
        return torch.stack(terms).sum()


def _operators(network: nn.Module, x: Tensor) -> Iterator[tuple[Callable[[Tensor], Tensor], torch.Size]]:
    """Each layer's linear part and the shape of its inputs."""
    shapes: dict[nn.Module, torch.Size] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        shapes[layer] = inputs[0].shape[1:]

    layers = [part for part in network.modules() if isinstance(part, nn.Linear | nn.modules.conv._ConvNd)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    with torch.no_grad(), frozen_statistics(network, x[:1]):
        network(x[:1])
    for hook in hooks:
        hook.remove()
    for layer in layers:
        yield _linear_part(layer), shapes[layer]


def _linear_part(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    if isinstance(layer, nn.Linear):
        return lambda v: functional.linear(v, layer.weight)
    assert isinstance(layer, nn.modules.conv._ConvNd)
    zero = torch.zeros(layer.out_channels)
    return lambda v: layer._conv_forward(v, layer.weight, zero.to(v))
