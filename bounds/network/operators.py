"""Primitive affine operations: the linear maps a segment is made of, and the shift.

Every operation maps (batch, *in_shape) to (batch, *out_shape) and is linear, except `Shift`. A layer's bias
is a `Shift` of its own after the linear map, eval-mode batch-norm is a `Scale` and a `Shift`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Operation:
    """An affine map; `linear` is the map without its offset and `adjoint` the transpose of `linear`.

    Attributes:
        in_shape: shape of the input without the batch.
        weights: name of the field with the weights; without one, no entry of the map is negative.

    >>> halve = Scale((2,), torch.tensor([0.5, 0.5], dtype=torch.float64))
    >>> halve(torch.tensor([[2.0, 4.0]], dtype=torch.float64))
    tensor([[1., 2.]], dtype=torch.float64)
    """

    in_shape: Shape
    weights: ClassVar[str | None] = None

    @cached_property
    def out_shape(self) -> Shape:
        """Shape of the output without the batch."""
        return tuple(self.linear(torch.zeros(1, *self.in_shape, dtype=torch.float64)).shape[1:])

    @property
    def columns(self) -> int:
        """Entries of the matrix that torch makes of one sample's input on the way, beside the output."""
        return 0

    @property
    def products(self) -> int:
        """Multiply-adds of one application to one sample, from the shapes: what it costs."""
        return math.prod(self.in_shape) + math.prod(self.out_shape)

    @property
    def roundings(self) -> int:
        """An upper bound of the number of roundings behind one entry, of the operation or of its adjoint."""
        return max(math.prod(self.in_shape), math.prod(self.out_shape)) + 2

    def reweighted(self, change: Callable[[Tensor], Tensor]) -> Operation:
        """The operation with changed weights; the operation itself when it has none.

        >>> Scale((2,), torch.tensor([-3.0, 2.0])).reweighted(torch.abs)(torch.ones(1, 2))
        tensor([[3., 2.]])
        """
        if self.weights is None:
            return self
        changed: Any = {self.weights: change(getattr(self, self.weights))}
        return replace(self, **changed)

    def __call__(self, z: Tensor) -> Tensor:
        """The map at z of shape (batch, *in_shape)."""
        return self.linear(z)

    def linear(self, z: Tensor) -> Tensor:
        """The map without its offset at z of shape (batch, *in_shape)."""
        return self._linear(z)

    def adjoint(self, u: Tensor) -> Tensor:
        """The transpose of `linear` at u of shape (batch, *out_shape)."""
        return self._adjoint(u)

    def _linear(self, z: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not define its linear map")

    def _adjoint(self, u: Tensor) -> Tensor:
        zero = torch.zeros(len(u), *self.in_shape, dtype=u.dtype, device=u.device)
        gradient: Tensor = torch.func.vjp(self._linear, zero)[1](u)[0]
        return gradient


@dataclass(frozen=True, eq=False)
class Linear(Operation):
    """z -> z W^T on the last axis, W of shape (out, in)."""

    weights: ClassVar[str | None] = "weight"
    weight: Tensor

    @property
    def products(self) -> int:
        """One per input feature of every output entry."""
        return math.prod(self.out_shape) * self.weight.shape[1]

    @property
    def roundings(self) -> int:
        """Sums over a row or, for the adjoint, a column."""
        return max(self.weight.shape) + 1

    def _linear(self, z: Tensor) -> Tensor:
        return z @ self.weight.T

    def _adjoint(self, u: Tensor) -> Tensor:
        return u @ self.weight


@dataclass(frozen=True, eq=False)
class Contraction(Operation):
    """Sums of products with a constant that are no matrix on the last axis: a matrix on another axis, one per head.

    Attributes:
        equation: as in torch.einsum, without the batch; every axis of the input is summed over or kept, and so is
            every axis of the weight.

    >>> ones = torch.ones(2, 3, dtype=torch.float64)
    >>> Contraction((3, 4), "ij,ki->kj", ones).out_shape
    (2, 4)
    """

    weights: ClassVar[str | None] = "weight"
    equation: str
    weight: Tensor

    @property
    def products(self) -> int:
        """One per summed index of every output entry."""
        return math.prod(self.out_shape) * self.matrices.shape[2]

    @property
    def roundings(self) -> int:
        """Sums over a row or, for the adjoint, a column of a matrix."""
        return max(self.matrices.shape[1:]) + 1

    @property
    def matrices(self) -> Tensor:
        """The blocks (block, out, in) of which the map has copies along its diagonal, up to the order of the axes."""
        axes, weight_axes, out_axes = self._axes
        shared = "".join(axis for axis in weight_axes if axis in axes and axis in out_axes)
        new = "".join(axis for axis in weight_axes if axis not in axes)
        summed = "".join(axis for axis in weight_axes if axis not in out_axes)
        blocks = torch.einsum(f"{weight_axes}->{shared}{new}{summed}", self.weight)
        sizes = (blocks.shape[: len(shared)], blocks.shape[len(shared) : len(shared + new)])
        return blocks.reshape(*(math.prod(size) for size in sizes), -1)

    @property
    def _axes(self) -> tuple[str, str, str]:
        operands, out_axes = self.equation.split("->")
        axes, weight_axes = operands.split(",")
        return axes, weight_axes, out_axes

    def _linear(self, z: Tensor) -> Tensor:
        axes, weight_axes, out_axes = self._axes
        return torch.einsum(f"...{axes},{weight_axes}->...{out_axes}", z, self.weight)

    def _adjoint(self, u: Tensor) -> Tensor:
        axes, weight_axes, out_axes = self._axes
        return torch.einsum(f"...{out_axes},{weight_axes}->...{axes}", u, self.weight)


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """Zero-padded convolution in any number of axes; weight (out channels, in channels / groups, *size)."""

    weights: ClassVar[str | None] = "weight"
    weight: Tensor
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int

    @property
    def columns(self) -> int:
        """One column of in channels × kernel entries per output position."""
        return self.in_shape[0] * math.prod(self.weight.shape[2:]) * math.prod(self.out_shape[1:])

    @property
    def products(self) -> int:
        """One per tap of every output entry."""
        return math.prod(self.out_shape) * self.weight[0].numel()

    @property
    def roundings(self) -> int:
        """Sums over the taps and the channels on either side."""
        return max(self.weight[0].numel(), self.weight[:, 0].numel()) + 1

    def _linear(self, z: Tensor) -> Tensor:
        return self._convolve(z, transposed=False, output_padding=(0,) * len(self.stride))

    def _adjoint(self, u: Tensor) -> Tensor:
        sizes = zip(self.in_shape[1:], self.weight.shape[2:], strict=True)
        settings = zip(self.stride, self.padding, self.dilation, strict=True)
        unread = tuple(  # the last positions, which the stride steps over
            (n + 2 * pad - dilation * (k - 1) - 1) % stride
            for (n, k), (stride, pad, dilation) in zip(sizes, settings, strict=True)
        )
        return self._convolve(u, transposed=True, output_padding=unread)

    def _convolve(self, z: Tensor, transposed: bool, output_padding: Shape) -> Tensor:
        return torch.convolution(
            z,
            self.weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            transposed,
            output_padding,
            self.groups,
        )


@dataclass(frozen=True, eq=False)
class TransposedConvolution(Operation):
    """Transposed convolution; weight (in channels, out channels / groups, *kernel)."""

    weights: ClassVar[str | None] = "weight"
    weight: Tensor
    stride: Shape
    padding: Shape
    output_padding: Shape
    dilation: Shape
    groups: int

    @property
    def columns(self) -> int:
        """One column of out channels × kernel entries per input position."""
        return self.out_shape[0] * math.prod(self.weight.shape[2:]) * math.prod(self.in_shape[1:])

    @property
    def products(self) -> int:
        """One per tap of every input entry."""
        return math.prod(self.in_shape) * self.weight[0].numel()

    @property
    def roundings(self) -> int:
        """Sums over the taps and the channels on either side."""
        return max(self.weight[0].numel(), self.weight[:, 0].numel()) + 1

    def _linear(self, z: Tensor) -> Tensor:
        return torch.convolution(
            z,
            self.weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            True,
            self.output_padding,
            self.groups,
        )


@dataclass(frozen=True, eq=False)
class Scale(Operation):
    """Entrywise product with a factor that broadcasts to in_shape."""

    weights: ClassVar[str | None] = "factor"
    factor: Tensor

    @property
    def products(self) -> int:
        """One per entry."""
        return math.prod(self.in_shape)

    @property
    def roundings(self) -> int:
        """One per entry."""
        return 1

    def _linear(self, z: Tensor) -> Tensor:
        return z * self.factor

    def _adjoint(self, u: Tensor) -> Tensor:
        return u * self.factor


@dataclass(frozen=True, eq=False)
class Shift(Operation):
    """Sum with an offset that broadcasts to in_shape: the one operation that is not linear."""

    weights: ClassVar[str | None] = "offset"
    offset: Tensor

    @property
    def products(self) -> int:
        """One per entry."""
        return math.prod(self.in_shape)

    @property
    def roundings(self) -> int:
        """One per entry."""
        return 1

    def __call__(self, z: Tensor) -> Tensor:
        """The shifted z."""
        return z + self.offset

    def _linear(self, z: Tensor) -> Tensor:
        return z

    def _adjoint(self, u: Tensor) -> Tensor:
        return u


@dataclass(frozen=True, eq=False)
class AveragePool(Operation):
    """Average pooling, arguments as in torch.nn.functional.avg_pool2d."""

    kernel_size: Shape
    stride: Shape
    padding: Shape
    ceil_mode: bool
    count_include_pad: bool
    divisor_override: int | None = None

    @property
    def products(self) -> int:
        """One per entry of every window."""
        return math.prod(self.out_shape) * math.prod(self.kernel_size)

    def _linear(self, z: Tensor) -> Tensor:
        arguments = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        if len(self.kernel_size) == 1:
            return F.avg_pool1d(z, *arguments)
        pool = F.avg_pool2d if len(self.kernel_size) == 2 else F.avg_pool3d
        return pool(z, *arguments, self.divisor_override)


@dataclass(frozen=True, eq=False)
class AdaptiveAveragePool(Operation):
    """Averages over output_size windows per axis, of sizes that may differ by one."""

    output_size: Shape

    def _linear(self, z: Tensor) -> Tensor:
        pools: Any = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
        pooled: Tensor = pools[len(self.output_size)](z, self.output_size)
        return pooled


@dataclass(frozen=True, eq=False)
class Sum(Operation):
    """Sum over axes, counted with the batch as axis 0."""

    axes: Shape
    keepdim: bool

    def _linear(self, z: Tensor) -> Tensor:
        return z.sum(self.axes, self.keepdim)


@dataclass(frozen=True, eq=False)
class Pad(Operation):
    """Padding with zeros ("constant") or copies ("circular", "reflect", "replicate"); amounts as in F.pad."""

    amounts: Shape
    mode: str

    @property
    def products(self) -> int:
        """One per output entry."""
        return math.prod(self.out_shape)

    def _linear(self, z: Tensor) -> Tensor:
        return F.pad(z, self.amounts, self.mode)


@dataclass(frozen=True, eq=False)
class Reshape(Operation):
    """The same entries in the same order, in another shape."""

    new_shape: Shape

    @property
    def products(self) -> int:
        """One per entry."""
        return math.prod(self.in_shape)

    @property
    def roundings(self) -> int:
        """Nothing is computed."""
        return 0

    def _linear(self, z: Tensor) -> Tensor:
        return z.reshape(len(z), *self.new_shape)

    def _adjoint(self, u: Tensor) -> Tensor:
        return u.reshape(len(u), *self.in_shape)


@dataclass(frozen=True, eq=False)
class Rearrange(Operation):
    """Moves, drops and copies entries (slice, permute, flip): output r is entry index[r] of (0, z.flatten()).

    Attributes:
        index: int64, of shape out_shape; 0 stands for a zero, i >= 1 for entry i-1 of the flattened input.
    """

    index: Tensor

    @property
    def products(self) -> int:
        """One per output entry."""
        return math.prod(self.out_shape)

    @cached_property
    def roundings(self) -> int:
        """The adjoint sums the copies of an entry."""
        return int(self.index.flatten().bincount()[1:].max()) if self.index.any() else 0

    def _linear(self, z: Tensor) -> Tensor:
        return F.pad(z.flatten(1), (1, 0))[:, self.index]
