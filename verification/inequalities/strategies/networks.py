"""Small networks as data: weights in plain arrays, outputs and Jacobians written out, in either precision.

Nothing here comes from the traced networks of `bounds.network`: a network of the laboratory is the independent side of
a comparison. `Network.torch` hands the same network to code under test.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from verification.inequalities import reals
from verification.inequalities.reals import exp, log1p, tanh
from verification.inequalities.strategies.numbers import matrices, vectors

if TYPE_CHECKING:
    from torch import nn

SLOPE = 0.25
"""Negative slope of the laboratory's leaky ReLU."""


def _sigmoid(h: Any) -> Any:
    return (1 + tanh(h / 2)) / 2


def _softplus(h: Any) -> Any:
    return np.maximum(h, reals.real(0)) + log1p(exp(-np.abs(h)))


def _relu_slope(h: Any) -> Any:
    return np.where(h > 0, reals.real(1), reals.real(0))


ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "relu": (lambda h: h * _relu_slope(h), _relu_slope),
    "leaky_relu": (
        lambda h: h * np.where(h > 0, reals.real(1), reals.real(SLOPE)),
        lambda h: np.where(h > 0, reals.real(1), reals.real(SLOPE)),
    ),
    "tanh": (tanh, lambda h: 1 - tanh(h) ** 2),
    "sigmoid": (_sigmoid, lambda h: _sigmoid(h) * (1 - _sigmoid(h))),
    "softplus": (_softplus, _sigmoid),
    "silu": (lambda h: h * _sigmoid(h), lambda h: _sigmoid(h) * (1 + h * (1 - _sigmoid(h)))),
}
"""phi and phi' by name; at a kink the left slope, as in torch."""

PIECEWISE_LINEAR = ("relu", "leaky_relu")
SMOOTH = ("tanh", "sigmoid", "softplus", "silu")


@dataclass(frozen=True)
class State:
    """What has been computed up to a layer.

    Attributes:
        z: hidden state, flat, (m,).
        jacobian: dz/dx, (m, d).
        kinks: pre-activations whose sign decides the linear piece, with their gradients: [(h, dh/dx), ...].
    """

    z: Any
    jacobian: Any
    kinks: tuple[tuple[Any, Any], ...] = ()


@dataclass(frozen=True)
class Affine:
    """z -> weight z + offset; weight (out, in), offset (out,)."""

    weight: np.ndarray
    offset: np.ndarray

    def push(self, state: State) -> State:
        """The state after this layer."""
        return State(self.weight @ state.z + self.offset, self.weight @ state.jacobian, state.kinks)

    def torch(self) -> nn.Module:
        """The same layer in torch, float64."""
        return _linear(self.weight, self.offset)


@dataclass(frozen=True)
class Convolution:
    """Two-dimensional convolution of flat images, zero padding; kernel (out, in/groups, k, k), offset (out,)."""

    kernel: np.ndarray
    offset: np.ndarray
    shape: tuple[int, int, int]  # of the input: channels, height, width
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the output."""
        reach = self.dilation * (self.kernel.shape[2] - 1) + 1
        height, width = ((size + 2 * self.padding - reach) // self.stride + 1 for size in self.shape[1:])
        return self.kernel.shape[0], height, width

    @property
    def matrix(self) -> np.ndarray:
        """The convolution as a dense matrix, one coefficient at a time."""
        (_, height, width), (out, rows, columns) = self.shape, self.out_shape
        inner = self.kernel.shape[1]
        dense = np.zeros((out * rows * columns, int(np.prod(self.shape))), dtype=self.kernel.dtype)
        if reals.is_precise():
            dense = reals.real(dense)
        sides = range(self.kernel.shape[2]), range(self.kernel.shape[3])
        for o, c, u, v in itertools.product(range(out), range(inner), *sides):
            channel = o // (out // self.groups) * inner + c
            for row, column in itertools.product(range(rows), range(columns)):
                y = row * self.stride + u * self.dilation - self.padding
                x = column * self.stride + v * self.dilation - self.padding
                if 0 <= y < height and 0 <= x < width:
                    at = (o * rows + row) * columns + column, (channel * height + y) * width + x
                    dense[at] += self.kernel[o, c, u, v]
        return dense

    def push(self, state: State) -> State:
        """The state after this layer."""
        _, rows, columns = self.out_shape
        return Affine(self.matrix, np.repeat(self.offset, rows * columns)).push(state)

    def torch(self) -> nn.Module:
        """The same layer in torch, float64, between flat vectors."""
        import torch
        from torch import nn

        out, inner, side, _ = self.kernel.shape
        layer = nn.Conv2d(
            self.shape[0], out, side, self.stride, self.padding, self.dilation, self.groups, dtype=torch.float64
        )
        assert layer.bias is not None
        layer.weight.data, layer.bias.data = torch.from_numpy(self.kernel.copy()), torch.from_numpy(self.offset.copy())
        return nn.Sequential(nn.Unflatten(1, self.shape), layer, nn.Flatten())


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity, by its name in ACTIVATIONS."""

    name: str

    def push(self, state: State) -> State:
        """The state after this layer."""
        phi, slope = ACTIVATIONS[self.name]
        kinks = tuple(zip(state.z, state.jacobian, strict=True)) if self.name in PIECEWISE_LINEAR else ()
        return State(phi(state.z), slope(state.z)[:, None] * state.jacobian, state.kinks + kinks)

    def torch(self) -> nn.Module:
        """The same layer in torch."""
        from torch import nn

        modules: dict[str, Callable[[], nn.Module]] = {
            "relu": nn.ReLU,
            "leaky_relu": lambda: nn.LeakyReLU(SLOPE),
            "tanh": nn.Tanh,
            "sigmoid": nn.Sigmoid,
            # torch's softplus jumps by 2e-9 at its usual threshold, 20
            "softplus": lambda: nn.Softplus(threshold=600),
            "silu": nn.SiLU,
        }
        return modules[self.name]()


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows of `size` neighbours of a flat vector, `stride` apart."""

    size: int
    stride: int

    def windows(self, width: int) -> list[range]:
        """The units of each window."""
        return [range(start, start + self.size) for start in range(0, width - self.size + 1, self.stride)]

    def push(self, state: State) -> State:
        """The state after this layer; winner minus each rival are the kinks."""
        winners, kinks = [], []
        for window in self.windows(len(state.z)):
            winner = max(window, key=lambda unit: state.z[unit])
            winners.append(winner)
            kinks += [
                (state.z[winner] - state.z[rival], state.jacobian[winner] - state.jacobian[rival])
                for rival in window
                if rival != winner
            ]
        return State(state.z[winners], state.jacobian[winners], state.kinks + tuple(kinks))

    def torch(self) -> nn.Module:
        """The same layer in torch, between flat vectors."""
        from torch import nn

        return nn.Sequential(nn.Unflatten(1, (1, -1)), nn.MaxPool1d(self.size, self.stride), nn.Flatten())


@dataclass(frozen=True)
class Residual:
    """z -> z + body(z)."""

    body: tuple[Layer, ...]

    def push(self, state: State) -> State:
        """The state after this layer."""
        inner = state
        for layer in self.body:
            inner = layer.push(inner)
        return State(state.z + inner.z, state.jacobian + inner.jacobian, inner.kinks)

    def torch(self) -> nn.Module:
        """The same layer in torch."""
        return _torch_residual(self.body)


Layer = Affine | Convolution | Activation | MaxPool | Residual


@dataclass(frozen=True)
class Network:
    """A network on flat inputs, layer by layer."""

    layers: tuple[Layer, ...]
    inputs: int = field(default=0)

    def at(self, x: np.ndarray) -> State:
        """Logits, Jacobian and kinks at x, (d,)."""
        x = reals.real(x)
        state = State(x, reals.real(np.eye(len(x))))
        for layer in self.layers:
            state = layer.push(state)
        return state

    def logits(self, x: np.ndarray) -> np.ndarray:
        """f(x), (K,)."""
        logits: np.ndarray = self.at(x).z
        return logits

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """J(x), (K, d)."""
        jacobian: np.ndarray = self.at(x).jacobian
        return jacobian

    def torch(self) -> nn.Module:
        """The same network in torch, float64, eval mode, on batches (n, d)."""
        from torch import nn

        return nn.Sequential(*(layer.torch() for layer in self.layers)).eval()


def chain(weights: tuple[np.ndarray, ...], offsets: tuple[np.ndarray, ...], activation: str) -> Network:
    """W_L phi(... phi(W_1 x + c_1) ...) + c_L."""
    layers: list[Layer] = []
    for weight, offset in zip(weights, offsets, strict=True):
        layers += [Affine(weight, offset), Activation(activation)]
    return Network(tuple(layers[:-1]), weights[0].shape[1])


def _linear(weight: np.ndarray, offset: np.ndarray) -> nn.Module:
    import torch
    from torch import nn

    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    layer.weight.data, layer.bias.data = torch.from_numpy(weight.copy()), torch.from_numpy(offset.copy())
    return layer


def _torch_residual(body: tuple[Layer, ...]) -> nn.Module:
    from torch import Tensor, nn

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*(layer.torch() for layer in body))

        def forward(self, z: Tensor) -> Tensor:
            moved: Tensor = z + self.body(z)
            return moved

    return Sum()


@dataclass(frozen=True)
class Chain:
    """A chain by its weights, for the lemmas about layers: W_1..W_L, c_1..c_L and one activation.

    Attributes:
        weights: W_i, (d_i, d_{i-1}).
        offsets: c_i, (d_i,).
        activation: name in ACTIVATIONS.
    """

    weights: tuple[np.ndarray, ...]
    offsets: tuple[np.ndarray, ...]
    activation: str

    @property
    def depth(self) -> int:
        """L."""
        return len(self.weights)

    @property
    def network(self) -> Network:
        """The chain as a network."""
        return chain(self.weights, self.offsets, self.activation)


@st.composite
def chains(
    draw: DrawFn,
    activations: tuple[str, ...] = ("relu", "tanh"),
    depth: tuple[int, int] = (1, 3),
    width: tuple[int, int] = (1, 4),
    inputs: tuple[int, int] = (1, 4),
    classes: tuple[int, int] = (2, 4),
    offsets: bool = True,
    decades: int = 0,
) -> Chain:
    """Chains with plain, low-rank, aligned, duplicated, zero, tiny and huge layers."""
    L = draw(st.integers(*depth))
    widths = [
        draw(st.integers(*inputs)),
        *(draw(st.integers(*width)) for _ in range(L - 1)),
        draw(st.integers(*classes)),
    ]
    weights = [draw(matrices(rows, columns, decades)) for columns, rows in itertools.pairwise(widths)]
    if draw(st.booleans()):
        weights = _aligned(weights)
    shifts = [draw(vectors(rows)) if offsets else np.zeros(rows) for rows in widths[1:]]
    return Chain(tuple(weights), tuple(shifts), draw(st.sampled_from(activations)))


def _aligned(weights: list[np.ndarray]) -> list[np.ndarray]:
    """Every layer of rank one, mapping onto the direction that the next one stretches most."""
    aligned = []
    for i, weight in enumerate(weights):
        onward = np.abs(weights[i + 1][0]) if i + 1 < len(weights) else weight[:, 0]
        inward = np.abs(weight[0])
        aligned.append(np.outer(onward, inward if i else weight[0]))
    return aligned


@st.composite
def networks(
    draw: DrawFn,
    activations: tuple[str, ...] = ("relu", "leaky_relu", "tanh"),
    classes: tuple[int, int] = (2, 3),
) -> Network:
    """Networks with convolutions, residual sums and max-pooling, on flat inputs of dimension 1 to 9."""
    activation = Activation(draw(st.sampled_from(activations)))
    layers: list[Layer] = []
    if draw(st.booleans()):
        side = draw(st.integers(2, 3))
        layers += [draw(convolutions((1, side, side))), activation]
        inputs, width = side * side, int(np.prod(layers[0].out_shape))  # type: ignore[union-attr]
    else:
        inputs = width = draw(st.integers(1, 4))
    hidden = draw(st.integers(1, 4))
    layers += [Affine(draw(matrices(hidden, width)), draw(vectors(hidden))), activation]
    if draw(st.booleans()):
        layers.append(Residual((Affine(draw(matrices(hidden, hidden)), draw(vectors(hidden))), activation)))
    if hidden > 1 and draw(st.booleans()):
        pool = MaxPool(2, draw(st.integers(1, 2)))
        layers.append(pool)
        hidden = len(pool.windows(hidden))
    K = draw(st.integers(*classes))
    layers.append(Affine(draw(matrices(K, hidden)), draw(vectors(K))))
    return Network(tuple(layers), inputs)


@st.composite
def convolutions(draw: DrawFn, shape: tuple[int, int, int] | None = None, largest: int = 4) -> Convolution:
    """Convolutions of every stride, padding, dilation and grouping that fits the image."""
    if shape is None:
        shape = (draw(st.integers(1, 2)), draw(st.integers(1, largest)), draw(st.integers(1, largest)))
    groups = draw(st.sampled_from([1, shape[0]]))
    side = draw(st.integers(1, 3))
    dilation, padding = draw(st.integers(1, 2)), draw(st.integers(0, 2))
    reach = dilation * (side - 1) + 1
    if reach > min(shape[1:]) + 2 * padding:
        side, dilation = 1, 1
    out = groups * draw(st.integers(1, 2))
    kernel = draw(matrices(out, shape[0] // groups * side * side)).reshape(out, shape[0] // groups, side, side)
    return Convolution(kernel, draw(vectors(out)), shape, draw(st.integers(1, 2)), padding, dilation, groups)


def inputs(network: Network, largest: float = 2.0) -> SearchStrategy[np.ndarray]:
    """Inputs of a network."""
    return vectors(network.inputs, largest)
