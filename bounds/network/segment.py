"""A maximal affine segment W z + c of a network: one layer of theory §0, an operator and never a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bounds.network.kernel import Kernel, find_kernel
from bounds.network.operators import Convolution, Operation, Shape, Shift


@dataclass(frozen=True, eq=False)
class Segment:
    """The composition of one or more primitive affine operations.

    Attributes:
        name: the modules it comes from ("conv1+bn1"), else the functions.
        operations: in order of application.

    >>> from bounds.network.operators import Linear
    >>> weight = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    >>> segment = Segment("fc", (Linear((2,), weight), Shift((1,), torch.ones(1, dtype=torch.float64))))
    >>> z = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    >>> segment(z).item(), segment.linear(z).item(), segment.offset.item()
    (12.0, 11.0, 1.0)
    """

    name: str
    operations: tuple[Operation, ...]

    @property
    def in_shape(self) -> Shape:
        """Shape of the input without the batch."""
        return self.operations[0].in_shape

    @cached_property
    def out_shape(self) -> Shape:
        """Shape of the output without the batch."""
        return self.operations[-1].out_shape

    @property
    def d_in(self) -> int:
        """Dimension of the input."""
        return torch.Size(self.in_shape).numel()

    @property
    def d_out(self) -> int:
        """Dimension of the output."""
        return torch.Size(self.out_shape).numel()

    @property
    def products(self) -> int:
        """Multiply-adds of one application to one sample."""
        return sum(operation.products for operation in self.operations)

    def __call__(self, z: Tensor) -> Tensor:
        """W z + c for z of shape (batch, *in_shape)."""
        for operation in self.operations:
            z = operation(z)
        return z

    def linear(self, z: Tensor) -> Tensor:
        """W z for z of shape (batch, *in_shape)."""
        for operation in self.operations:
            z = operation.linear(z)
        return z

    def adjoint(self, u: Tensor) -> Tensor:
        """W^T u for u of shape (batch, *out_shape)."""
        for operation in reversed(self.operations):
            u = operation.adjoint(u)
        return u

    @cached_property
    def offset(self) -> Tensor:
        """c, of shape out_shape, float64; zeros when there is none."""
        return self(torch.zeros(1, *self.in_shape, dtype=torch.float64))[0]

    @property
    def has_bias(self) -> bool:
        """Whether c is not identically zero by construction."""
        return any(isinstance(operation, Shift) for operation in self.operations)

    @cached_property
    def kernel(self) -> Kernel | None:
        """The convolution that W is, channel scalings folded in; None when W is not a single convolution."""
        return find_kernel(self.operations)

    @cached_property
    def offset_per_channel(self) -> bool:
        """Whether W is a convolution and c the same all over each channel, by construction.

        A shift before a zero-padded convolution (batch-norm, normalisation) makes an offset that differs at the
        border; it counts as such also when it happens to be 0, for what is free must not depend on the training.
        """
        if self.kernel is None:
            return False
        position = next(i for i, operation in enumerate(self.operations) if isinstance(operation, Convolution))
        before = any(isinstance(operation, Shift) for operation in self.operations[:position])
        if before and any(self.kernel.padding) and self.kernel.padding_mode == "zeros":
            return False
        channels = self.offset.reshape(self.kernel.out_shape[0], -1)
        return bool(((channels - channels[:, :1]).abs() <= 1e-12 * self.offset.abs().max()).all())
