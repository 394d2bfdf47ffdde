"""Networks drawn at random from every kind of layer that can be certified, some with pathological weights."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.cases import Normalise, settle

Shape = tuple[int, ...]
MAX_FEATURES = 160

ACTIVATIONS: tuple[Callable[[random.Random], nn.Module], ...] = (
    lambda rng: nn.ReLU(),
    lambda rng: nn.LeakyReLU(rng.choice([0.01, 0.3, 1.0, 0.0])),
    lambda rng: nn.Tanh(),
    lambda rng: nn.Sigmoid(),
    lambda rng: nn.Softplus(beta=rng.choice([0.5, 1.0, 10.0])),
    lambda rng: nn.GELU(),
    lambda rng: nn.GELU(approximate="tanh"),
    lambda rng: nn.SiLU(),
    lambda rng: nn.ELU(alpha=rng.choice([0.3, 1.0, 2.5])),
)


class Sum(nn.Module):
    """x + coefficient · body(x)."""

    def __init__(self, body: nn.Module, coefficient: float) -> None:
        super().__init__()
        self.body, self.coefficient = body, coefficient

    def forward(self, x: Tensor) -> Tensor:
        if self.coefficient == 1:
            return x + self.body(x)
        return x - self.body(x) if self.coefficient == -1 else torch.add(x, self.body(x), alpha=self.coefficient)


class Join(nn.Module):
    """[x, body(x)] along the channels."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.body(x), x], dim=1)


def draw(seed: int) -> tuple[nn.Module, Shape]:
    """A network in float64 and eval mode with K = 2 to 10 logits, and its input shape; the same for the same seed."""
    rng = random.Random(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = _input_shape(rng)
        blocks: list[nn.Module] = []
        if len(shape) == 3 and rng.random() < 0.25:
            deviations = tuple(rng.uniform(0.1, 0.5) for _ in range(shape[0]))
            blocks.append(Normalise(tuple(rng.random() for _ in range(shape[0])), deviations))
        current = shape
        for _ in range(rng.choice([1, 2, 2, 3, 3, 4])):
            block = _block(rng, current)
            after = _shape_after(block, current)
            if math.prod(after) <= MAX_FEATURES:
                blocks.append(block)
                current = after
        head = nn.Linear(math.prod(current), rng.randint(2, 10), bias=rng.random() < 0.8)
        network = nn.Sequential(*blocks, nn.Flatten(), head).double()
        for part in network.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                settle(part)
        with torch.no_grad():
            for part in network.modules():
                if isinstance(part, nn.Linear | nn.modules.conv._ConvNd):
                    _disturb(rng, part)
    return network.eval(), shape


def _input_shape(rng: random.Random) -> Shape:
    kind = rng.choice(["vector", "signal", "image", "image"])
    if kind == "vector":
        return (rng.randint(1, 8),)
    if kind == "signal":
        return (rng.randint(1, 3), rng.randint(5, 9))
    return (rng.randint(1, 2), rng.randint(4, 7), rng.randint(4, 7))


def _shape_after(block: nn.Module, shape: Shape) -> Shape:
    with torch.no_grad():
        return tuple(block.eval()(torch.zeros(2, *shape)).shape[1:])


def _activation(rng: random.Random) -> nn.Module:
    return rng.choice(ACTIVATIONS)(rng)


def _block(rng: random.Random, shape: Shape) -> nn.Module:
    """One to four layers that fit on `shape`."""
    dense = len(shape) == 1
    affine = _dense(rng, shape) if dense else _convolution(rng, shape)
    layers: list[nn.Module] = [affine]
    after = _shape_after(affine, shape)
    if rng.random() < 0.25:
        norm = (nn.BatchNorm1d if dense or len(after) == 2 else nn.BatchNorm2d)(after[0])
        layers.insert(rng.choice([0, 1]) if after[0] == shape[0] else 1, norm)
    layers.append(_activation(rng))
    if not dense and rng.random() < 0.5:
        layers.append(_pool(rng, after))
    if rng.random() < 0.15:
        layers.append(_activation(rng))
    kind = rng.choice(["plain", "plain", "sum", "join"])
    if kind == "sum":
        same = _dense(rng, shape, shape[0]) if dense else _same_convolution(rng, shape, shape[0])
        return Sum(nn.Sequential(same, _activation(rng)), rng.choice([1.0, 1.0, -1.0, 0.5]))
    if kind == "join":
        wider = _dense(rng, shape, 2) if dense else _same_convolution(rng, shape, 2)
        return Join(nn.Sequential(wider, _activation(rng)))
    return nn.Sequential(*layers)


def _dense(rng: random.Random, shape: Shape, outputs: int | None = None) -> nn.Module:
    return nn.Linear(shape[0], outputs or rng.randint(1, 8), bias=rng.random() < 0.8)


def _same_convolution(rng: random.Random, shape: Shape, outputs: int) -> nn.Module:
    convolution = nn.Conv1d if len(shape) == 2 else nn.Conv2d
    return convolution(shape[0], outputs, 3, padding=1, bias=rng.random() < 0.8)


def _convolution(rng: random.Random, shape: Shape) -> nn.Module:
    channels, size = shape[0], min(shape[1:])
    kernel, stride, padding = rng.randint(1, 3), rng.choice([1, 1, 2]), rng.randint(0, 2)
    dilation = rng.choice([1, 1, 2])
    if size + 2 * padding < dilation * (kernel - 1) + 1:
        dilation, padding, kernel = 1, 1, min(kernel, size)
    groups = channels if rng.random() < 0.3 else 1
    outputs = groups * rng.randint(1, 3 if groups == 1 else 2)
    convolution = nn.Conv1d if len(shape) == 2 else nn.Conv2d
    return convolution(
        channels, outputs, kernel, stride, padding, dilation=dilation, groups=groups, bias=rng.random() < 0.8
    )


def _pool(rng: random.Random, shape: Shape) -> nn.Module:
    size = min(shape[1:])
    kernel = min(rng.randint(2, 3), size)
    stride, padding, ceil = rng.randint(1, kernel), rng.randint(0, kernel // 2), rng.random() < 0.3
    if rng.random() < 0.6:
        pool = nn.MaxPool1d if len(shape) == 2 else nn.MaxPool2d
        dilation = 2 if size + 2 * padding > 2 * (kernel - 1) and rng.random() < 0.2 else 1
        return pool(kernel, stride, padding, dilation=dilation, ceil_mode=ceil)
    average = nn.AvgPool1d if len(shape) == 2 else nn.AvgPool2d
    return average(kernel, stride, padding, ceil_mode=ceil, count_include_pad=rng.random() < 0.5)


def _disturb(rng: random.Random, layer: nn.Module) -> None:
    """Leave half of the layers as initialised; the others get what trained networks rarely have."""
    weight, bias = layer.weight, layer.bias
    kind = rng.choice(["none"] * 8 + ["zero", "huge", "tiny", "equal", "opposite", "dead", "grid", "spread"])
    if kind == "zero":
        weight.zero_()
    elif kind == "huge":
        weight.mul_(10 ** rng.uniform(1, 4))
    elif kind == "tiny":
        weight.mul_(10 ** -rng.uniform(2, 12))
    elif kind in ("equal", "opposite") and len(weight) > 1:
        weight[1] = weight[0] if kind == "equal" else -weight[0]
    elif kind == "dead" and bias is not None:
        bias.sub_(rng.choice([-5.0, 5.0]))
    elif kind == "grid":  # pre-activations of 0 and ties at inputs that are multiples of 1/4
        weight.copy_((weight * 4).round())
        if bias is not None:
            bias.copy_(bias.round())
    elif kind == "spread":  # every entry on a scale of its own
        weight.mul_(10 ** torch.empty_like(weight).uniform_(-3, 2))
