"""Reference networks: they take pixels in [0, 1] and return logits; arguments are plain json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from bounds.errors import InputError, unknown_name

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}

POOLS: dict[str, Callable[[int], nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def linear(inputs: int, classes: int, bias: bool = True) -> nn.Sequential:
    """Multinomial logistic regression: flatten, one dense layer.

    >>> linear(64, 10)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes, bias=bias))


def mlp(inputs: int, widths: Sequence[int], classes: int, activation: str = "relu", bias: bool = True) -> nn.Sequential:
    """Dense layers of the given widths with an activation between them.

    Raises:
        InputError: for an unknown activation.

    >>> mlp(64, [32, 16], 10, "tanh")(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for width in widths:
        layers += [nn.Linear(inputs, width, bias=bias), _activation(activation)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, classes, bias=bias))


def cnn(
    channels: int = 1,
    size: int = 28,
    classes: int = 10,
    filters: Sequence[int] = (16, 32),
    hidden: int = 64,
    activation: str = "relu",
    pool: str = "average",
    bias: bool = True,
) -> nn.Sequential:
    """LeNet-like: 3x3 convolutions ('same' zero padding), each with 2x2 pooling, then two dense layers.

    Args:
        channels: input channels.
        size: height and width of the input, divisible by 2 once per convolution.
        classes: number of logits.
        filters: output channels of each convolution.
        hidden: width of the first dense layer.
        activation: a key of ACTIVATIONS.
        pool: "average" or "max". Max-pools tie on flat image regions, where the network then has a kink.
        bias: whether the layers have biases.

    Raises:
        InputError: for an unknown activation or pooling, or an indivisible size.

    >>> cnn()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    _check_halving("cnn", size, len(filters))
    if pool not in POOLS:
        raise unknown_name("pooling", pool, POOLS)
    layers: list[nn.Module] = []
    for out_channels in filters:
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=bias),
            _activation(activation),
            POOLS[pool](2),
        ]
        channels, size = out_channels, size // 2
    layers += [nn.Flatten(), nn.Linear(channels * size**2, hidden, bias=bias), _activation(activation)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes, bias=bias))


def strided_cnn(
    channels: int = 1,
    size: int = 28,
    classes: int = 10,
    filters: Sequence[int] = (16, 32),
    hidden: int = 100,
    activation: str = "relu",
    bias: bool = True,
) -> nn.Sequential:
    """Convolutions that halve the image (4x4, stride 2, zero padding 1), then two dense layers; no pooling.

    The network on which certificates are compared in the literature: 166,406 parameters with the defaults.

    Args:
        channels: input channels.
        size: height and width of the input, divisible by 2 once per convolution.
        classes: number of logits.
        filters: output channels of each convolution.
        hidden: width of the first dense layer.
        activation: a key of ACTIVATIONS.
        bias: whether the layers have biases.

    Raises:
        InputError: for an unknown activation or an indivisible size.

    >>> strided_cnn()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    _check_halving("strided_cnn", size, len(filters))
    layers: list[nn.Module] = []
    for out_channels in filters:
        layers += [nn.Conv2d(channels, out_channels, 4, stride=2, padding=1, bias=bias), _activation(activation)]
        channels, size = out_channels, size // 2
    layers += [nn.Flatten(), nn.Linear(channels * size**2, hidden, bias=bias), _activation(activation)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes, bias=bias))


def digits_cnn(activation: str = "relu", pool: str = "average") -> nn.Sequential:
    """The CNN for the 8x8 digits: one convolution with 16 filters, then 64 hidden units.

    >>> digits_cnn()(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    return cnn(size=8, filters=(16,), hidden=64, activation=activation, pool=pool)


FACTORIES: dict[str, Callable[..., nn.Sequential]] = {
    "linear": linear,
    "mlp": mlp,
    "cnn": cnn,
    "strided_cnn": strided_cnn,
    "digits_cnn": digits_cnn,
}


def build(factory: str, arguments: dict[str, Any], seed: int) -> nn.Sequential:
    """A network of FACTORIES initialised from `seed`; torch's global generator is left as it was.

    Raises:
        InputError: for an unknown factory, or arguments it does not take.

    >>> a, b = (build("linear", {"inputs": 2, "classes": 2}, seed=7) for _ in range(2))
    >>> torch.equal(a[1].weight, b[1].weight)
    True
    """
    if factory not in FACTORIES:
        raise unknown_name("network", factory, FACTORIES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return FACTORIES[factory](**arguments)
        except TypeError as error:
            raise InputError(f"network '{factory}' with arguments {arguments}: {error}") from error


def _activation(key: str) -> nn.Module:
    if key not in ACTIVATIONS:
        raise unknown_name("activation", key, ACTIVATIONS)
    return ACTIVATIONS[key]()


def _check_halving(factory: str, size: int, times: int) -> None:
    if size % 2**times:
        raise InputError(f"{factory}: size {size} cannot be halved {times} times")
