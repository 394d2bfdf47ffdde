"""A segment whose linear part is one convolution, as that convolution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bounds.network.operators import Convolution, Operation, Pad, Reshape, Scale, Shape, Shift


@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution with all channel scalings of its segment folded in.

    Attributes:
        weight: (out channels, in channels / groups, *kernel size), float64.
        stride, padding, dilation: one number per axis; the padding is the same on both sides.
        padding_mode: "zeros" or "circular".
        in_shape, out_shape: (channels, *positions), without the batch.
    """

    weight: Tensor
    stride: Shape
    padding: Shape
    padding_mode: Literal["zeros", "circular"]
    dilation: Shape
    groups: int
    in_shape: Shape
    out_shape: Shape

    @property
    def injective(self) -> bool:
        """Whether every kernel entry moves each pixel to one place at most, and no two entries to the same one.

        What L5.1, L5.5 and L7.4 rest on. Always so for zero padding; not when a circular convolution goes round the
        torus more than once, or when two of its taps meet on one pixel.
        """
        if self.padding_mode == "zeros":
            return True
        axes = zip(
            self.in_shape[1:], self.out_shape[1:], self.stride, self.dilation, self.weight.shape[2:], strict=True
        )
        return all(
            (outputs - 1) * stride < size and len({tap * dilation % size for tap in range(taps)}) == taps
            for size, outputs, stride, dilation, taps in axes
        )

    def __call__(self, z: Tensor) -> Tensor:
        """The convolution of z, of shape (batch, *in_shape)."""
        padding, no_padding = self.padding, (0,) * len(self.padding)
        if self.padding_mode == "circular":
            z = F.pad(z, tuple(p for p in reversed(padding) for _ in range(2)), "circular")
            padding = no_padding
        return torch.convolution(
            z, self.weight, None, self.stride, padding, self.dilation, False, no_padding, self.groups
        )


def find_kernel(operations: Iterable[Operation]) -> Kernel | None:
    """The convolution that the linear part of `operations` amounts to, or None when it is not a single one.

    Channel scalings commute with the linear part of any padding, so they fold into the weight wherever they
    stand; reshapes and shifts do not matter.
    """
    linear = [operation for operation in operations if not isinstance(operation, Shift | Reshape)]
    positions = [i for i, operation in enumerate(linear) if isinstance(operation, Convolution)]
    if len(positions) != 1:
        return None
    before, after = linear[: positions[0]], linear[positions[0] + 1 :]
    pads = [operation for operation in before if isinstance(operation, Pad)]
    scales = [operation for operation in (*before, *after) if isinstance(operation, Scale)]
    if len(pads) + 1 + len(scales) != len(linear):
        return None
    kernel = _padded(linear[positions[0]], pads)
    for scale in before:
        if isinstance(scale, Scale) and kernel:
            kernel = _scaled_inputs(kernel, scale)
    for scale in after:
        if isinstance(scale, Scale) and kernel:
            kernel = _scaled_outputs(kernel, scale)
    return kernel


def _padded(convolution: Operation, pads: list[Pad]) -> Kernel | None:
    """The convolution with the explicit padding before it, when both make one zero or circular padding."""
    assert isinstance(convolution, Convolution)
    kernel = Kernel(
        convolution.weight,
        convolution.stride,
        convolution.padding,
        "zeros",
        convolution.dilation,
        convolution.groups,
        convolution.in_shape,
        convolution.out_shape,
    )
    if not pads:
        return kernel
    pad, axes = pads[0], len(kernel.stride)
    amounts = pad.amounts + (0,) * (2 * axes - len(pad.amounts))
    lower, upper = amounts[-2::-2], amounts[-1::-2]
    symmetric = lower == upper and min(lower) >= 0 and len(lower) == axes
    if len(pads) > 1 or not symmetric or pad.out_shape != convolution.in_shape:
        return None
    if pad.mode == "constant":
        total = tuple(p + q for p, q in zip(lower, kernel.padding, strict=True))
        return replace(kernel, padding=total, in_shape=pad.in_shape)
    if pad.mode == "circular" and not any(kernel.padding):
        return replace(kernel, padding=lower, padding_mode="circular", in_shape=pad.in_shape)
    return None


def _scaled_inputs(kernel: Kernel, scale: Scale) -> Kernel | None:
    factor = _channel_factor(scale, kernel.in_shape[0])
    if factor is None:
        return None
    axes = (1,) * len(kernel.stride)
    per_group = factor.reshape(kernel.groups, -1)
    per_output = per_group.repeat_interleave(kernel.weight.shape[0] // kernel.groups, dim=0)
    return replace(kernel, weight=kernel.weight * per_output.reshape(*per_output.shape, *axes))


def _scaled_outputs(kernel: Kernel, scale: Scale) -> Kernel | None:
    factor = _channel_factor(scale, kernel.out_shape[0])
    if factor is None:
        return None
    axes = (1,) * len(kernel.stride)
    return replace(kernel, weight=kernel.weight * factor.reshape(-1, 1, *axes))


def _channel_factor(scale: Scale, channels: int) -> Tensor | None:
    """One factor per channel, or None when the factor varies within a channel."""
    factor = scale.factor.expand(scale.in_shape).reshape(channels, -1)
    return factor[:, 0] if bool((factor == factor[:, :1]).all()) else None
