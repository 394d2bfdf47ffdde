"""Reference networks: they take pixels in [0, 1] and return logits; arguments are plain json."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bounds.errors import InputError, unknown_name
from bounds.inputs import Data

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


def mlp(
    inputs: int, widths: Sequence[int] = (128, 64), classes: int = 10, activation: str = "relu", bias: bool = True
) -> nn.Sequential:
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


def roth_cnn(
    channels: int = 3, size: int = 32, classes: int = 10, width: int = 16, activation: str = "relu"
) -> nn.Sequential:
    """Seven layers with batch-norm, after Roth, Kilcher & Hofmann: six 3x3 convolutions and a dense layer.

    The widths w, w, 2w (stride 2), 2w, 4w (stride 2), 4w and the average over all positions at the end are ours; the
    paper's layer sizes were not at hand.

    Args:
        channels: input channels.
        size: height and width of the input, divisible by 4.
        classes: number of logits.
        width: w.
        activation: a key of ACTIVATIONS.

    Raises:
        InputError: for an unknown activation or an indivisible size.

    >>> roth_cnn()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    _check_halving("roth_cnn", size, 2)
    layers: list[nn.Module] = []
    for filters, stride in ((width, 1), (width, 1), (2 * width, 2), (2 * width, 1), (4 * width, 2), (4 * width, 1)):
        layers += [
            nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            _activation(activation),
        ]
        channels = filters
    return nn.Sequential(*layers, nn.AvgPool2d(size // 4), nn.Flatten(), nn.Linear(channels, classes))


class ResidualBlock(nn.Module):
    """phi(z) + body(phi(z)) with phi an activation after batch-norm; the sum's first term is resized where needed."""

    def __init__(self, channels: int, filters: int, stride: int, activation: str) -> None:
        super().__init__()
        self.entry = nn.Sequential(nn.BatchNorm2d(channels), _activation(activation))
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            _activation(activation),
            nn.Conv2d(filters, filters, 3, padding=1, bias=False),
        )
        same = stride == 1 and channels == filters
        self.skip = nn.Identity() if same else nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Two convolutions and the sum."""
        z = self.entry(z)
        joined: Tensor = self.skip(z) + self.body(z)
        return joined


def resnet(
    channels: int = 1, size: int = 28, classes: int = 10, width: int = 8, activation: str = "relu"
) -> nn.Sequential:
    """A small residual network with batch-norm: three blocks of widths w, 2w, 4w, the last two halving the image.

    Args:
        channels: input channels.
        size: height and width of the input, divisible by 4.
        classes: number of logits.
        width: w.
        activation: a key of ACTIVATIONS.

    Raises:
        InputError: for an unknown activation or an indivisible size.

    >>> resnet()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    _check_halving("resnet", size, 2)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        ResidualBlock(width, width, 1, activation),
        ResidualBlock(width, 2 * width, 2, activation),
        ResidualBlock(2 * width, 4 * width, 2, activation),
        nn.BatchNorm2d(4 * width),
        _activation(activation),
        nn.AvgPool2d(size // 4),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


class Attention(nn.Module):
    """Multi-head self-attention on (n, tokens, width), written out: fused kernels have no second derivative."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.expand, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, z: Tensor) -> Tensor:
        """Tokens attend to all tokens."""
        n, tokens, width = z.shape
        query, key, value = self.expand(z).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) / (width / self.heads) ** 0.5).softmax(dim=-1)
        merged: Tensor = self.merge((weights @ value).transpose(1, 2).reshape(n, tokens, width))
        return merged


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
        self.think = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Both sums."""
        z = z + self.attend(z)
        after: Tensor = z + self.think(z)
        return after


class VisionTransformer(nn.Module):
    """Patches as tokens, learned positions, blocks, and the mean token to logits."""

    def __init__(self, channels: int, size: int, classes: int, patch: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.cut = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images."""
        tokens = self.cut(x).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.blocks(tokens).mean(dim=1))
        return logits


def vit(
    channels: int = 1,
    size: int = 28,
    classes: int = 10,
    patch: int = 7,
    width: int = 32,
    depth: int = 2,
    heads: int = 4,
) -> VisionTransformer:
    """A tiny vision transformer.

    Args:
        channels: input channels.
        size: height and width of the input, divisible by `patch`.
        classes: number of logits.
        patch: height and width of a patch.
        width: of the tokens, divisible by `heads`.
        depth: number of blocks.
        heads: of each attention.

    Raises:
        InputError: for an indivisible size or width.

    >>> vit()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if size % patch or width % heads:
        raise InputError(f"vit: patches of {patch} must divide the size {size}, and {heads} heads the width {width}")
    return VisionTransformer(channels, size, classes, patch, width, depth, heads)


FACTORIES: dict[str, Callable[..., nn.Module]] = {
    "linear": linear,
    "mlp": mlp,
    "cnn": cnn,
    "strided_cnn": strided_cnn,
    "digits_cnn": digits_cnn,
    "roth_cnn": roth_cnn,
    "resnet": resnet,
    "vit": vit,
}


def build(factory: str, arguments: dict[str, Any], seed: int) -> nn.Module:
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


def fitted(factory: str, arguments: Mapping[str, Any], data: Data) -> dict[str, Any]:
    """The arguments of a factory, completed by what the data decides: inputs or channels and size, and classes.

    Args:
        factory: a key of FACTORIES.
        arguments: those that were chosen; they are kept.
        data: images (channels, size, size), or vectors for networks of flat inputs.

    Raises:
        InputError: for an unknown factory, or a network of images on other data.

    >>> from bounds.inputs import load_data
    >>> fitted("cnn", {"hidden": 8}, load_data("digits"))
    {'channels': 1, 'size': 8, 'classes': 10, 'hidden': 8}
    """
    if factory not in FACTORIES:
        raise unknown_name("network", factory, FACTORIES)
    parameters = inspect.signature(FACTORIES[factory]).parameters
    decided: dict[str, Any] = {"inputs": data.x[0].numel(), "classes": data.classes}
    if {"channels", "size"} <= parameters.keys():
        if len(data.input_shape) != 3 or data.input_shape[1] != data.input_shape[2]:
            raise InputError(f"network '{factory}' takes square images, but {data.name} has {data.input_shape}")
        decided |= {"channels": data.input_shape[0], "size": data.input_shape[1]}
    return {name: decided[name] for name in parameters if name in decided} | dict(arguments)


def _activation(key: str) -> nn.Module:
    if key not in ACTIVATIONS:
        raise unknown_name("activation", key, ACTIVATIONS)
    return ACTIVATIONS[key]()


def _check_halving(factory: str, size: int, times: int) -> None:
    if size % 2**times:
        raise InputError(f"{factory}: size {size} cannot be halved {times} times")
