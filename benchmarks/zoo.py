"""Networks of the kinds people have, CIFAR size, 10 classes, random weights: `--model benchmarks.zoo:resnet18`.

Our own short versions of the published architectures; batch-norms have the statistics of a fresh network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the positions but for the stride."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


class Basic(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al. 2016); `pre` puts batch-norm and ReLU first."""

    def __init__(self, inputs: int, outputs: int, stride: int, pre: bool = False) -> None:
        super().__init__()
        self.pre = pre
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs if pre else outputs), nn.BatchNorm2d(outputs)
        self.conv1, self.conv2 = conv(inputs, outputs, stride=stride), conv(outputs, outputs)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.pre:
            z = F.relu(self.bn1(x))
            return self.shortcut(x) + self.conv2(F.relu(self.bn2(self.conv1(z))))
        return F.relu(self.shortcut(x) + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        width = outputs // 4
        self.body = nn.Sequential(
            *(conv(inputs, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
            *(conv(width, width, stride=stride), nn.BatchNorm2d(width), nn.ReLU()),
            *(conv(width, outputs, 1), nn.BatchNorm2d(outputs)),
        )
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.body(x))


def _head(width: int, classes: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)


def resnet18(width: int = 64, classes: int = 10, pre: bool = False, blocks: int = 2) -> nn.Module:
    """ResNet-18 with the CIFAR stem; wider, pre-activated and deeper ones by argument."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    layers: list[nn.Module] = [conv(3, width)] if pre else [conv(3, width), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage, wide in enumerate(widths):
        for block in range(blocks):
            layers.append(Basic(before, wide, 2 if stage and not block else 1, pre))
            before = wide
    last = (nn.BatchNorm2d(before), nn.ReLU()) if pre else ()
    return nn.Sequential(*layers, *last, *_head(before, classes)).eval()


def preact18(width: int = 64) -> nn.Module:
    """PreAct-ResNet-18."""
    return resnet18(width, pre=True)


def resnet50(width: int = 64, classes: int = 10) -> nn.Module:
    """ResNet-50 with the CIFAR stem."""
    layers: list[nn.Module] = [conv(3, width), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage, count in enumerate((3, 4, 6, 3)):
        for block in range(count):
            layers.append(Bottleneck(before, 4 * width * 2**stage, 2 if stage and not block else 1))
            before = 4 * width * 2**stage
    return nn.Sequential(*layers, *_head(before, classes)).eval()


def wrn28_10(widening: int = 10, depth: int = 28) -> nn.Module:
    """WideResNet (Zagoruyko & Komodakis 2016)."""
    layers: list[nn.Module] = [conv(3, 16)]
    before = 16
    for stage in range(3):
        for block in range((depth - 4) // 6):
            layers.append(Basic(before, 16 * widening * 2**stage, 2 if stage and not block else 1, pre=True))
            before = 16 * widening * 2**stage
    return nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU(), *_head(before, 10)).eval()


def vgg16(width: int = 64) -> nn.Module:
    """VGG-16 with batch-norm."""
    layers: list[nn.Module] = []
    before = 3
    for times, count in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(before, times * width, 3, padding=1), nn.BatchNorm2d(times * width), nn.ReLU()]
            before = times * width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before, 10)).eval()


class Dense(nn.Module):
    """A layer whose output goes beside its input (Huang et al. 2017)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(inputs), conv(inputs, growth)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.bn(x)))], 1)


def densenet(growth: int = 12, layers: int = 4) -> nn.Module:
    """Three dense blocks with transitions."""
    parts: list[nn.Module] = [conv(3, 2 * growth)]
    before = 2 * growth
    for block in range(3):
        for _ in range(layers):
            parts.append(Dense(before, growth))
            before += growth
        if block < 2:
            parts += [nn.BatchNorm2d(before), nn.ReLU(), conv(before, before // 2, 1), nn.AvgPool2d(2)]
            before //= 2
    return nn.Sequential(*parts, nn.BatchNorm2d(before), nn.ReLU(), *_head(before, 10)).eval()


class Inverted(nn.Module):
    """Inverted residual (Sandler et al. 2018); with `gate` the squeeze and excitation of EfficientNet."""

    def __init__(self, inputs: int, outputs: int, stride: int, act: type[nn.Module], gate: bool = False) -> None:
        super().__init__()
        hidden = 4 * inputs
        self.expand = nn.Sequential(conv(inputs, hidden, 1), nn.BatchNorm2d(hidden), act())
        self.depthwise = nn.Sequential(conv(hidden, hidden, 3, stride, hidden), nn.BatchNorm2d(hidden), act())
        self.gate = (
            nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(hidden, inputs, 1), act(), nn.Conv2d(inputs, hidden, 1), nn.Sigmoid()
            )
            if gate
            else None
        )
        self.project = nn.Sequential(conv(hidden, outputs, 1), nn.BatchNorm2d(outputs))
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        z = self.depthwise(self.expand(x))
        z = self.project(z if self.gate is None else z * self.gate(z))
        return x + z if self.skip else z


def _inverted(act: type[nn.Module], gate: bool, width: int = 16) -> nn.Module:
    layers: list[nn.Module] = [conv(3, width), nn.BatchNorm2d(width), act()]
    before = width
    for outputs, stride, count in ((24, 1, 2), (32, 2, 3), (64, 2, 3), (96, 1, 2), (160, 2, 2)):
        for number in range(count):
            layers.append(Inverted(before, outputs, stride if number == 0 else 1, act, gate))
            before = outputs
    return nn.Sequential(*layers, conv(before, 640, 1), nn.BatchNorm2d(640), act(), *_head(640, 10)).eval()


def mobilenet() -> nn.Module:
    """MobileNetV2, CIFAR size."""
    return _inverted(nn.ReLU6, gate=False)


def efficientnet() -> nn.Module:
    """Like EfficientNet: SiLU, squeeze and excitation."""
    return _inverted(nn.SiLU, gate=True)


class NextBlock(nn.Module):
    """ConvNeXt's block (Liu et al. 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.down(F.gelu(self.up(z))).permute(0, 3, 1, 2)


def convnext(width: int = 48) -> nn.Module:
    """Three stages of ConvNeXt blocks."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 2, 2)]
    for stage in range(3):
        layers += [NextBlock(width), NextBlock(width)]
        if stage < 2:
            layers.append(nn.Conv2d(width, 2 * width, 2, 2))
            width *= 2
    return nn.Sequential(*layers, *_head(width, 10)).eval()


class Patches(nn.Module):
    """Patches of an image as tokens, optionally with a class token, and positions."""

    def __init__(self, width: int, patch: int = 4, token: bool = True) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width)) if token else None
        self.positions = nn.Parameter(0.02 * torch.randn(1, (32 // patch) ** 2 + token, width))

    def forward(self, x: Tensor) -> Tensor:
        z = self.cut(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            z = torch.cat([self.token.expand(z.shape[0], -1, -1), z], 1)
        return z + self.positions


class First(nn.Module):
    """The class token."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, 0]


def vit(width: int = 192, depth: int = 4) -> nn.Module:
    """ViT-Tiny's width, fewer blocks."""
    block = nn.TransformerEncoderLayer(width, 3, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(block, depth, nn.LayerNorm(width), enable_nested_tensor=False)
    return nn.Sequential(Patches(width), encoder, First(), nn.Linear(width, 10)).eval()


class MixerBlock(nn.Module):
    """Mixes tokens, then channels (Tolstikhin et al. 2021)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, z: Tensor) -> Tensor:
        z = z + self.tokens(self.norm1(z).transpose(1, 2)).transpose(1, 2)
        return z + self.channels(self.norm2(z))


class Average(nn.Module):
    """The mean of the tokens."""

    def forward(self, z: Tensor) -> Tensor:
        return z.mean(1)


def mixer(width: int = 64, depth: int = 4) -> nn.Module:
    """MLP-Mixer."""
    blocks = [MixerBlock(64, width) for _ in range(depth)]
    return nn.Sequential(Patches(width, token=False), *blocks, Average(), nn.Linear(width, 10)).eval()


class Recurrent(nn.Module):
    """An LSTM over the rows of an image."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(96, width, batch_first=True), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.transpose(1, 2).flatten(2))[0][:, -1])


def lstm() -> nn.Module:
    """An LSTM over the rows of an image."""
    return Recurrent().eval()


class TextCNN(nn.Module):
    """Convolutions of three widths over embedded tokens, maxima over time (Kim 2014)."""

    def __init__(self, words: int = 500, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.convs = nn.ModuleList(nn.Conv1d(width, 32, size) for size in (3, 4, 5))
        self.head = nn.Linear(96, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        z = self.embed(tokens).transpose(1, 2)
        pooled = [
            F.max_pool1d(F.relu(convolution(z)), 40 - convolution.kernel_size[0] + 1) for convolution in self.convs
        ]
        return self.head(torch.cat(pooled, 1).flatten(1))


def textcnn() -> nn.Module:
    """A text classifier for 40 tokens."""
    return TextCNN().eval()


class Example(nn.Module):
    """Like torch's MNIST example: two convolutions, max-pool, dropout, log-softmax; here for 3 x 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3)
        self.dropout, self.fc1, self.fc2 = nn.Dropout(0.25), nn.Linear(64 * 14 * 14, 128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        z = self.dropout(F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2))
        return F.log_softmax(self.fc2(self.dropout(F.relu(self.fc1(z.flatten(1))))), dim=1)


def mnist_example() -> nn.Module:
    """The network of torch's MNIST example."""
    return Example().eval()


class UNet(nn.Module):
    """Down, up and across, then classes."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, padding=1)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up2, self.up1 = nn.Conv2d(4 * width, width, 3, padding=1), nn.Conv2d(2 * width, width, 3, padding=1)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        one = F.relu(self.down1(x))
        two = F.relu(self.down2(F.max_pool2d(one, 2)))
        three = F.relu(self.middle(F.max_pool2d(two, 2)))
        up = F.relu(self.up2(torch.cat([two, F.interpolate(three, scale_factor=2.0, mode="bilinear")], 1)))
        up = F.relu(self.up1(torch.cat([one, F.interpolate(up, scale_factor=2.0, mode="bilinear")], 1)))
        return self.head(up.mean((2, 3)))


def unet() -> nn.Module:
    """A U-Net classifier."""
    return UNet().eval()


def text(samples: int = 40) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Random tokens with random labels, training and test."""
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.randint(0, 500, (2, samples, 40), generator=generator),
        torch.randint(0, 10, (2, samples), generator=generator),
    )
    return (x[0], y[0]), (x[1], y[1])


def images(samples: int = 40) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Random uint8 images with random labels, training and test."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (2, samples, 3, 32, 32), generator=generator).to(torch.uint8)
    y = torch.randint(0, 10, (2, samples), generator=generator)
    return (x[0], y[0]), (x[1], y[1])
