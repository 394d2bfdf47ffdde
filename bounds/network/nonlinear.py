"""Elementwise activations and max-pools, and their composition between two affine segments."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from bounds.activations import ActivationFacts, activation
from bounds.network.operators import Shape

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "elu": F.elu,
}


@dataclass(frozen=True)
class Activation:
    """An elementwise activation of theory §0.

    Attributes:
        key: its name in `bounds.activations`.
        parameters: torch's parameter names and values.

    >>> Activation("leaky_relu", (("negative_slope", 0.5),))(torch.tensor([-2.0, 2.0]))
    tensor([-1.,  2.])
    """

    key: str
    parameters: tuple[tuple[str, float], ...] = ()

    def __call__(self, z: Tensor) -> Tensor:
        """The activation, entry by entry."""
        return FUNCTIONS[self.key](z, **dict(self.parameters))

    @property
    def facts(self) -> ActivationFacts:
        """Its Lipschitz constants."""
        return activation(self.key, **dict(self.parameters))


@dataclass(frozen=True)
class MaxPool:
    """Max-pooling of (batch, channels, *positions), arguments as in torch.nn.functional.max_pool2d, per axis.

    >>> pool = MaxPool((1, 8, 8), (3, 3), (2, 2), (1, 1), (1, 1), ceil_mode=False)
    >>> pool.overlap
    4
    """

    in_shape: Shape
    kernel_size: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    ceil_mode: bool

    def __call__(self, z: Tensor) -> Tensor:
        """The largest entry of each window."""
        pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(self.kernel_size)]
        pooled: Tensor = pool(z, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return pooled

    @cached_property
    def out_shape(self) -> Shape:
        """(channels, *positions) of the output."""
        return tuple(self(torch.zeros(1, *self.in_shape)).shape[1:])

    @cached_property
    def windows(self) -> tuple[Tensor, Tensor]:
        """Flat input position, within its channel, of every tap of every window, and whether it is inside.

        Both (windows, taps); padding, which never wins, has position 0.
        """
        sizes = self.in_shape[1:]
        windows = torch.cartesian_prod(*(torch.arange(count) for count in self.out_shape[1:]))
        taps = torch.cartesian_prod(*(torch.arange(size) for size in self.kernel_size))
        windows, taps = windows.reshape(-1, 1, len(sizes)), taps.reshape(1, -1, len(sizes))
        at = windows * torch.tensor(self.stride) - torch.tensor(self.padding) + taps * torch.tensor(self.dilation)
        inside = ((at >= 0) & (at < torch.tensor(sizes))).all(dim=2)
        strides = torch.tensor([math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))])
        return torch.where(inside, (at * strides).sum(dim=2), 0), inside

    @cached_property
    def overlap(self) -> int:
        """The largest number of windows that share a unit; its root is the Lipschitz constant (L7.3)."""
        axes = zip(
            self.in_shape[1:],
            self.out_shape[1:],
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            strict=True,
        )
        return math.prod(_most_read(*axis) for axis in axes)


@dataclass(frozen=True)
class Nonlinear:
    """Activations and max-pools applied one after the other.

    Attributes:
        name: where it is ("relu after conv1").
        parts: in order of application.
        in_shape: without the batch.
    """

    name: str
    parts: tuple[Activation | MaxPool, ...]
    in_shape: Shape

    def __call__(self, z: Tensor) -> Tensor:
        """The nonlinearity at z, of shape (batch, *in_shape)."""
        for part in self.parts:
            z = part(z)
        return z

    @cached_property
    def out_shape(self) -> Shape:
        """Shape of the output without the batch."""
        return tuple(self(torch.zeros(1, *self.in_shape)).shape[1:])


def _most_read(n: int, windows: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """The largest number of windows that read the same position of one axis."""
    reads = [0] * n
    for window in range(windows):
        for tap in range(kernel):
            position = window * stride - padding + tap * dilation
            if 0 <= position < n:
                reads[position] += 1
    return max(reads)
