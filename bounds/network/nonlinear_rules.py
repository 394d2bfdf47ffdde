"""One rule per activation and max-pool of torch, called like those of `bounds.network.affine_rules`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from bounds.network.affine_rules import per_axis
from bounds.network.nonlinear import Activation, MaxPool
from bounds.network.operators import Shape

Nonlinearities = tuple[Activation | MaxPool, ...]


def activation(key: str, shape: Shape, **parameters: float) -> Nonlinearities:
    """The activation with this key."""
    return (Activation(key, tuple((name, float(value)) for name, value in parameters.items())),)


def clamp(shape: Shape, min: float | None = None, max: float | None = None) -> Nonlinearities | None:
    """ReLU written as max(x, 0)."""
    return activation("relu", shape) if min == 0 and max in (None, math.inf) else None


def hardtanh(shape: Shape, min: float = -1.0, max: float = 1.0) -> Nonlinearities | None:
    """Clamping by another name."""
    return clamp(shape, min, max)


def threshold(shape: Shape, threshold: float, value: float) -> Nonlinearities | None:
    """ReLU written as a threshold."""
    return activation("relu", shape) if threshold == value == 0 else None


def leaky_relu(shape: Shape, negative_slope: float = 0.01) -> Nonlinearities:
    """Leaky ReLU."""
    return activation("leaky_relu", shape, negative_slope=negative_slope)


def prelu(shape: Shape, weight: Tensor) -> Nonlinearities | None:
    """Leaky ReLU with a trained slope, when all channels have the same."""
    slope = float(weight.flatten()[0])
    return leaky_relu(shape, slope) if bool((weight == slope).all()) else None


def rrelu(shape: Shape, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Nonlinearities | None:
    """Leaky ReLU with a random slope, in eval mode with the mean slope."""
    return None if training else leaky_relu(shape, (lower + upper) / 2)


def elu(shape: Shape, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Nonlinearities | None:
    """ELU; the scaled variants (SELU, CELU) are not in the table of theory §0."""
    return activation("elu", shape, alpha=alpha) if scale == input_scale == 1 else None


def celu(shape: Shape, alpha: float = 1.0) -> Nonlinearities | None:
    """CELU, which with alpha = 1 is ELU."""
    return elu(shape) if alpha == 1 else None


def softplus(shape: Shape, beta: float = 1.0, threshold: float = 20.0) -> Nonlinearities | None:
    """Softplus; torch's linear branch above the default threshold is within 3e-9 / beta of it."""
    return activation("softplus", shape, beta=beta) if threshold == 20 and beta > 0 else None


def gelu(shape: Shape, approximate: str = "none") -> Nonlinearities:
    """GELU in the erf or the tanh form."""
    return activation("gelu_tanh" if approximate == "tanh" else "gelu", shape)


def max_pool(
    shape: Shape,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Nonlinearities:
    """Max-pooling."""
    axes = len(shape) - 1
    sizes, strides = per_axis(kernel_size, axes), per_axis(stride or kernel_size, axes)
    return (MaxPool(shape, sizes, strides, per_axis(padding, axes), per_axis(dilation, axes), ceil_mode),)


RULES: dict[str, Callable[..., Nonlinearities | None]] = {
    **{key: partial(activation, key) for key in ("relu", "tanh", "sigmoid", "silu")},
    **dict.fromkeys(("clamp", "clamp_min"), clamp),
    "leaky_relu": leaky_relu,
    "hardtanh": hardtanh,
    "threshold": threshold,
    "prelu": prelu,
    "rrelu": rrelu,
    "elu": elu,
    "celu": celu,
    "softplus": softplus,
    "gelu": gelu,
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), max_pool),
    **dict.fromkeys(("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"), max_pool),
}
