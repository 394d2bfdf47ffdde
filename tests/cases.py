"""The small networks that all tests share: float64, seeded, in eval mode, batch-norm as after training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from bounds.network import TracedNetwork, trace

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        make: builds it from torch's global generator; use `module` for the seeded one.
        input_shape: without the batch.
        chain: whether it is a chain layer, nonlinearity, layer, ..., layer.
        depth: the number of affine segments of a chain.
    """

    make: Callable[[], nn.Module]
    input_shape: Shape
    chain: bool = True
    depth: int = 2

    def module(self, seed: int = 0) -> nn.Module:
        """The network, in float64 and eval mode, the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.make().double()
            for part in module.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    settle(part)
        return module.eval()

    def inputs(self, n: int, seed: int = 0) -> Tensor:
        """n inputs in the unit box, float64, of shape (n, *input_shape)."""
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(n, *self.input_shape, generator=generator, dtype=torch.float64)


def settle(norm: nn.modules.batchnorm._BatchNorm) -> None:
    """Gives a batch-norm the statistics and parameters of a trained one."""
    with torch.no_grad():
        for tensor, low, high in (
            (norm.running_mean, -0.5, 0.5),
            (norm.running_var, 0.5, 2.0),
            (norm.weight, 0.5, 1.5),
            (norm.bias, -0.5, 0.5),
        ):
            if tensor is not None:
                tensor.uniform_(low, high)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": lambda: nn.Softplus(beta=2.0),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "elu": lambda: nn.ELU(alpha=0.7),
}


def mlp(widths: Shape, bias: bool = True, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Dense layers with an activation in between."""
    layers: list[nn.Module] = []
    for d_in, d_out in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(d_in, d_out, bias=bias), activation()]
    return nn.Sequential(*layers[:-1])


def zero_layer_mlp() -> nn.Sequential:
    network = mlp((4, 5, 5, 3))
    nn.init.zeros_(network[2].weight)
    return network


def conv_head(*body: nn.Module, features: int, classes: int = 3) -> nn.Sequential:
    """body, ReLU, flatten, linear."""
    return nn.Sequential(*body, nn.ReLU(), nn.Flatten(), nn.Linear(features, classes))


class LeNet(nn.Module):
    """Two convolutions with 2 x 2 max-pools, two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 4, 3)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(4, 6)
        self.fc2 = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class Normalise(nn.Module):
    """(x - mean) / deviation per channel, as a module put before a network."""

    def __init__(self, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation


class InlineNormalisation(nn.Module):
    """Normalisation by constants in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.fc = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = 2.0 * (x - 0.25) / 0.5 + 1
        return self.fc(F.elu(self.conv(x)).flatten(1))


class Residual(nn.Module):
    """y = relu(bn2(conv2(relu(bn1(conv1 x)))) + shortcut x)."""

    def __init__(self, channels: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out, inplace=True)


class ResNet(nn.Module):
    """A stem, two residual blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.block1 = Residual(3, nn.Identity())
        self.block2 = Residual(3, nn.Conv2d(3, 3, 1))
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(torch.relu(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class DenseNet(nn.Module):
    """Concatenates the input of a layer with its output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 2, 3, padding=1)
        self.fc = nn.Linear(5 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, torch.relu(self.conv1(x))], dim=1)
        x = torch.cat([x, torch.relu(self.conv2(x))], dim=1)
        return self.fc(x.flatten(1))


class Functional(nn.Module):
    """Everything in functional form, with raw parameters, slices and a permutation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 8) / 3)
        self.matrix = nn.Parameter(torch.randn(6, 3) / 3)
        self.bias = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 0, 0, 1)).permute(0, 2, 3, 1)[:, 1:, :, :].reshape(x.shape[0], -1)[:, 2:10]
        x = F.leaky_relu(F.linear(x, self.weight), 0.1)
        return x @ self.matrix + self.bias


class Contracted(nn.Module):
    """Interpolation, a constant token, one matrix per channel and a mask: affine, with weights of both signs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 2, 1, 3))
        self.matrices = nn.Parameter(torch.randn(2, 3, 2) / 2)
        self.register_buffer("mask", torch.rand(2, 4, 2) < 0.3)
        self.fc = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(F.interpolate(x, size=(4, 4), mode="bicubic")))
        x = torch.cat([self.token.expand(x.shape[0], -1, -1, -1), x], dim=2)
        x = torch.einsum("bcij,cjk->bcik", x, self.matrices).masked_fill(self.mask, 0.5)
        return self.fc(x.flatten(1))


class Shared(nn.Module):
    """The same dense layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.fc(torch.tanh(self.fc(x)))))


class ViT(nn.Module):
    """Patches, a class token, one pre-norm attention block, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 4, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.position = nn.Parameter(torch.randn(1, 5, 4))
        self.norm1 = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm2 = nn.LayerNorm(4)
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        x = x + self.mlp(self.norm2(x))
        return self.head(x[:, 0])


class GRUClassifier(nn.Module):
    """Recurrent: the last hidden state classifies."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0][:, -1])


class Gated(nn.Module):
    """A product of two activations, written in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(4, 5)
        self.gate = nn.Linear(4, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x)))


def weight_norm_net() -> nn.Sequential:
    return conv_head(parametrizations.weight_norm(nn.Conv2d(1, 2, 3)), features=8)


def spectral_norm_net() -> nn.Sequential:
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(4, 5)),
        nn.Tanh(),
        parametrizations.spectral_norm(nn.Linear(5, 3)),
    )


CASES: dict[str, Case] = {
    "linear": Case(lambda: nn.Linear(4, 3), (4,), depth=1),
    "linear-no-bias": Case(lambda: nn.Linear(4, 3, bias=False), (4,), depth=1),
    "mlp": Case(lambda: mlp((4, 6, 5, 3)), (4,), depth=3),
    "mlp-no-bias": Case(lambda: mlp((4, 6, 5, 3), bias=False), (4,), depth=3),
    **{
        f"mlp-{key}": Case(lambda make=make: mlp((4, 6, 3), activation=make), (4,))  # type: ignore[misc]
        for key, make in ACTIVATIONS.items()
    },
    "mlp-deep": Case(lambda: mlp((4,) + (5,) * 11 + (3,)), (4,), depth=12),
    "mlp-zero-layer": Case(zero_layer_mlp, (4,), depth=3),
    "mlp-dropout": Case(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3)), (4,)),
    "mlp-shared": Case(Shared, (4,), depth=3),
    "mlp-batch-norm": Case(
        lambda: nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)),
        (4,),
    ),
    "functional": Case(Functional, (2, 3, 3)),
    "contracted": Case(Contracted, (1, 3, 3)),
    "lenet": Case(LeNet, (1, 8, 8), depth=4),
    "lenet-average": Case(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 3)),
        (1, 8, 8),
    ),
    "average-odd": Case(
        lambda: conv_head(nn.Conv2d(1, 2, 2), nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), features=32),
        (1, 8, 8),
    ),
    "adaptive-average": Case(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 3)),
        (1, 8, 8),
    ),
    "global-average": Case(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)),
        (1, 6, 6),
    ),
    "max-pool-overlapping": Case(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Flatten(),
            nn.Linear(32, 3),
        ),
        (1, 6, 6),
    ),
    "conv-strided": Case(
        lambda: conv_head(nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2), features=36),
        (2, 7, 7),
    ),
    "conv-asymmetric": Case(lambda: conv_head(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 2, 2), features=32), (1, 4, 4)),
    "conv1d": Case(lambda: conv_head(nn.Conv1d(2, 3, 3, stride=2, padding=1), features=12), (2, 8)),
    "conv-transposed": Case(
        lambda: conv_head(nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1, output_padding=1), features=72),
        (2, 3, 3),
    ),
    **{
        f"conv-{mode}": Case(
            lambda mode=mode: conv_head(  # type: ignore[misc]
                nn.Conv2d(1, 2, 3, padding=1, padding_mode=mode), features=32
            ),
            (1, 4, 4),
        )
        for mode in ("circular", "reflect", "replicate")
    },
    "conv-bn": Case(
        lambda: conv_head(nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), features=48),
        (1, 4, 4),
    ),
    "bn-conv": Case(lambda: conv_head(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, padding=1), features=48), (2, 4, 4)),
    "bn-after-pool": Case(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(2),
            nn.Conv2d(2, 3, 2, padding=1),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(27, 3),
        ),
        (1, 6, 6),
        depth=3,
    ),
    "normalised": Case(
        lambda: nn.Sequential(Normalise((0.4, 0.5), (0.2, 0.3)), conv_head(nn.Conv2d(2, 3, 3, padding=1), features=48)),
        (2, 4, 4),
    ),
    "normalised-inline": Case(InlineNormalisation, (2, 4, 4)),
    "weight-norm": Case(weight_norm_net, (1, 4, 4)),
    "spectral-norm": Case(spectral_norm_net, (4,)),
    "resnet": Case(ResNet, (1, 5, 5), chain=False),
    "densenet": Case(DenseNet, (1, 4, 4), chain=False),
    "vit": Case(ViT, (1, 4, 4), chain=False),
    "gru": Case(GRUClassifier, (5, 3), chain=False),
    "gated": Case(Gated, (4,), chain=False),
    "relu-end": Case(lambda: nn.Sequential(mlp((4, 5, 3)), nn.ReLU()), (4,), chain=False),
    "relu-start": Case(lambda: nn.Sequential(nn.ReLU(), nn.Linear(4, 3)), (4,), chain=False),
}


@cache
def traced(name: str) -> TracedNetwork:
    """The trace of a case, made once per test process."""
    return trace(CASES[name].module(), CASES[name].inputs(1))
