"""One rule per affine torch operation: what it is in primitive operations.

A rule is called like the torch operation, with the shape of the input (without the batch) in place of the
input. It returns the primitives in order of application, none for an identity, or None when the operation is
not affine (or not understood) with these arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bounds.network.moves import moved
from bounds.network.operators import (
    AdaptiveAveragePool,
    AveragePool,
    Convolution,
    Linear,
    Operation,
    Pad,
    Reshape,
    Scale,
    Shape,
    Shift,
    Sum,
    TransposedConvolution,
)

Affine = tuple[Operation, ...]


def identity(shape: Shape, *_: Any, **__: Any) -> Affine:
    """Operations that change nothing."""
    return ()


def linear(shape: Shape, weight: Tensor, bias: Tensor | None = None) -> Affine | None:
    """Dense layer on the last axis."""
    if weight.ndim != 2:
        return None
    dense = Linear(shape, weight)
    return (dense, *_shift(dense.out_shape, bias))


def convolution(
    shape: Shape,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Affine | None:
    """Convolution with its padding in numbers."""
    axes = weight.ndim - 2
    if len(shape) != axes + 1:
        return None
    strides, pads, dilations = (per_axis(value, axes) for value in (stride, padding, dilation))
    conv = Convolution(shape, weight, strides, pads, dilations, groups)
    return (conv, *_channel_shift(conv.out_shape, bias))


def convolution_same(
    shape: Shape,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: str = "valid",
    dilation: Any = 1,
    groups: int = 1,
) -> Affine | None:
    """Convolution with padding "same" (the far side gets the odd one) or "valid"."""
    axes = weight.ndim - 2
    reach = [d * (k - 1) for d, k in zip(per_axis(dilation, axes), weight.shape[2:], strict=True)]
    if padding == "valid" or all(amount % 2 == 0 for amount in reach):
        amounts = [amount // 2 if padding == "same" else 0 for amount in reach]
        return convolution(shape, weight, bias, stride, amounts, dilation, groups)
    if len(shape) != axes + 1:
        return None
    sides = tuple(side for amount in reversed(reach) for side in (amount // 2, amount - amount // 2))
    pad = Pad(shape, sides, "constant")
    return (pad, *(convolution(pad.out_shape, weight, bias, stride, 0, dilation, groups) or ()))


def transposed_convolution(
    shape: Shape,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Affine | None:
    """Transposed convolution."""
    axes = weight.ndim - 2
    if len(shape) != axes + 1:
        return None
    strides, pads, dilations = (per_axis(value, axes) for value in (stride, padding, dilation))
    conv = TransposedConvolution(shape, weight, strides, pads, per_axis(output_padding, axes), dilations, groups)
    return (conv, *_channel_shift(conv.out_shape, bias))


def fold(
    shape: Shape, output_size: Sequence[int], kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Affine | None:
    """Windows laid on top of each other and summed: each tap is a channel of a transposed convolution."""
    if len(shape) != 2:
        return None
    sizes, dilations, pads, strides = (per_axis(value, 2) for value in (kernel_size, dilation, padding, stride))
    taps = math.prod(sizes)
    axes = list(zip(output_size, sizes, dilations, pads, strides, strict=True))
    blocks = tuple((n + 2 * pad - d * (k - 1) - 1) // step + 1 for n, k, d, pad, step in axes)
    unread = tuple((n + 2 * pad - d * (k - 1) - 1) % step for n, k, d, pad, step in axes)
    channels = shape[0] // taps
    one_tap_each = torch.eye(taps, dtype=torch.float64).reshape(taps, 1, *sizes).repeat(channels, 1, 1, 1)
    image = (shape[0], *blocks)
    return (
        Reshape(shape, image),
        TransposedConvolution(image, one_tap_each, strides, pads, unread, dilations, channels),
    )


def instance_norm(
    shape: Shape,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Affine | None:
    """Instance-norm with the statistics of the training: a batch-norm in eval mode."""
    if use_input_stats or mean is None or variance is None:
        return None
    return batch_norm(shape, weight, bias, mean, variance, momentum, eps)


def batch_norm(
    shape: Shape,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    momentum: float,
    eps: float,
) -> Affine:
    """Batch-norm in eval mode: a scale and a shift per channel."""
    factor = torch.rsqrt(variance + eps) * (1.0 if weight is None else weight)
    offset = (0.0 if bias is None else bias) - mean * factor
    positions = (1,) * (len(shape) - 1)
    return (Scale(shape, factor.reshape(-1, *positions)), *_channel_shift(shape, offset))


def average_pool(
    shape: Shape,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Affine | None:
    """Average pooling; a negative divisor would make the weights negative, which those of a pool never are."""
    if divisor_override is not None and divisor_override < 0:
        return None
    axes = len(shape) - 1
    sizes, strides, pads = (per_axis(value, axes) for value in (kernel_size, stride or kernel_size, padding))
    return (AveragePool(shape, sizes, strides, pads, ceil_mode, count_include_pad, divisor_override),)


def adaptive_average_pool(shape: Shape, output_size: Any) -> Affine:
    """Adaptive average pooling."""
    return (AdaptiveAveragePool(shape, per_axis(output_size, len(shape) - 1)),)


def total(shape: Shape, axes: Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> Affine | None:
    """Sum over axes other than the batch."""
    counted = tuple(axis % (len(shape) + 1) for axis in axes or ())
    return (Sum(shape, counted, keepdim),) if counted and 0 not in counted else None


def mean(shape: Shape, axes: Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> Affine | None:
    """Mean over axes other than the batch."""
    summed = total(shape, axes, keepdim)
    if summed is None:
        return None
    out_shape = summed[0].out_shape
    return (*summed, *_scale(out_shape, math.prod(out_shape) / math.prod(shape)))


def pad(shape: Shape, amounts: Sequence[int], mode: str = "constant", value: float | None = None) -> Affine | None:
    """Padding of axes other than the batch."""
    if len(amounts) > 2 * len(shape):
        return None
    padding = Pad(shape, tuple(amounts), mode)
    border = F.pad(torch.zeros(shape, dtype=torch.float64), padding.amounts, value=value) if value else None
    return (padding, *_shift(padding.out_shape, border))


def constant_pad(shape: Shape, amounts: Sequence[int], value: float = 0.0) -> Affine | None:
    """Padding with a number."""
    return pad(shape, amounts, "constant", value)


def add(shape: Shape, constant: Any, alpha: float = 1) -> Affine | None:
    """Input plus alpha times a constant."""
    return _for_one_sample(shape, constant, lambda wide, value: _shift(wide, alpha * value))


def subtract(shape: Shape, constant: Any, alpha: float = 1) -> Affine | None:
    """Input minus alpha times a constant."""
    return add(shape, constant, -alpha)


def subtract_from(shape: Shape, constant: Any, alpha: float = 1) -> Affine | None:
    """A constant minus alpha times the input."""
    shifted = add(shape, constant)
    return None if shifted is None else (*_scale(shape, -float(alpha)), *shifted)


def add_to(shape: Shape, constant: Any, alpha: float = 1) -> Affine | None:
    """A constant plus alpha times the input."""
    return subtract_from(shape, constant, -alpha)


def multiply(shape: Shape, constant: Any) -> Affine | None:
    """Input times a constant."""
    return _for_one_sample(shape, constant, _scale)


def divide(shape: Shape, constant: Any, rounding_mode: str | None = None) -> Affine | None:
    """Input divided by a constant."""
    return None if rounding_mode else multiply(shape, 1 / constant)


def negative(shape: Shape) -> Affine:
    """Minus the input."""
    return _scale(shape, -1.0)


def per_axis(value: int | Sequence[int], axes: int) -> Shape:
    """One number per axis from one number for all or a sequence, as torch's arguments allow."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


def _shift(shape: Shape, offset: Any) -> Affine:
    """Nothing for None and for the number 0."""
    if offset is None or (not isinstance(offset, Tensor) and offset == 0):
        return ()
    return (Shift(shape, torch.as_tensor(offset, dtype=torch.float64)),)


def _channel_shift(shape: Shape, offset: Tensor | None) -> Affine:
    return () if offset is None else _shift(shape, offset.reshape(-1, *(1,) * (len(shape) - 1)))


def _scale(shape: Shape, factor: Any) -> Affine:
    """Nothing for the number 1."""
    if not isinstance(factor, Tensor) and factor == 1:
        return ()
    return (Scale(shape, torch.as_tensor(factor, dtype=torch.float64)),)


def _for_one_sample(shape: Shape, constant: Any, build: Callable[[Shape, Any], Affine]) -> Affine | None:
    """What `build` makes of the constant for one sample, widened to it; None if it differs by sample."""
    if not isinstance(constant, Tensor):
        return build(shape, constant)
    if constant.ndim == len(shape) + 1 and len(constant) == 1:
        constant = constant[0]
    if constant.ndim > len(shape):
        return None
    wide = tuple(torch.broadcast_shapes(constant.shape, shape))
    copies = () if wide == shape else moved(shape, lambda z: z.expand(-1, *wide))
    return None if copies is None else (*copies, *build(wide, constant))


RULES: dict[str, Callable[..., Affine | None]] = {
    # Dropout does nothing in eval mode (one that stays on is refused as random); casts between floating types
    # are left out because everything here is float64.
    **dict.fromkeys(("alias", "clone", "contiguous", "detach", "lift_fresh_copy", "to", "_to_copy"), identity),
    **dict.fromkeys(("alpha_dropout", "dropout", "feature_alpha_dropout", "feature_dropout"), identity),
    "linear": linear,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(("conv1d.padding", "conv2d.padding", "conv3d.padding"), convolution_same),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), transposed_convolution),
    "_native_batch_norm_legit_no_training": batch_norm,
    "col2im": fold,
    "instance_norm": instance_norm,
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), average_pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), adaptive_average_pool),
    "sum": total,
    "mean": mean,
    "pad": pad,
    "constant_pad_nd": constant_pad,
    "add": add,
    **dict.fromkeys(("sub", "subtract"), subtract),
    "rsub": subtract_from,
    **dict.fromkeys(("mul", "multiply"), multiply),
    **dict.fromkeys(("div", "divide", "true_divide"), divide),
    **dict.fromkeys(("neg", "negative"), negative),
}
CONSTANT_FIRST: dict[str, Callable[..., Affine | None]] = {
    "add": add_to,
    **dict.fromkeys(("sub", "subtract"), subtract_from),
    **dict.fromkeys(("mul", "multiply"), multiply),
}
