"""Layers in pairs and families: what they compute on a sample, and their radii as values of the package's symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds import symbols
from bounds.activations import ActivationFacts
from bounds.activations import activation as package_activation
from verification.inequalities import reals
from verification.inequalities.strategies.networks import ACTIVATIONS, SLOPE, Affine, Convolution, convolutions
from verification.inequalities.strategies.numbers import matrices, scales, vectors

Layers = tuple[Affine | Convolution, ...]


def facts(name: str) -> ActivationFacts:
    """The package's constants of an activation of the laboratory."""
    return package_activation(name, negative_slope=SLOPE) if name == "leaky_relu" else package_activation(name)


def operator(layer: Affine | Convolution) -> tuple[Any, Any]:
    """W and c of a layer, dense; a convolution's offset once per position."""
    if isinstance(layer, Affine):
        return reals.real(layer.weight), reals.real(layer.offset)
    return reals.real(layer.matrix), np.repeat(reals.real(layer.offset), output_positions(layer))


def output_positions(layer: Affine | Convolution) -> int:
    """P_out; 1 for a dense layer."""
    return int(np.prod(layer.out_shape[1:])) if isinstance(layer, Convolution) else 1


def kernel_positions(layer: Affine | Convolution) -> int:
    """k_pos; 1 for a dense layer."""
    return int(np.prod(layer.kernel.shape[2:])) if isinstance(layer, Convolution) else 1


def weights(layer: Affine | Convolution) -> Any:
    """The kernel, or the matrix of a dense layer."""
    return reals.real(layer.kernel if isinstance(layer, Convolution) else layer.weight)


def parameter_vector(layer: Affine | Convolution) -> Any:
    """theta_i, flat, the offset in operator units.

    >>> parameter_vector(Affine(np.eye(2), np.ones(2))).tolist()
    [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """
    unit = reals.sqrt(output_positions(layer))
    return np.concatenate([weights(layer).reshape(-1), unit * reals.real(layer.offset)])


def two_one(layer: Affine | Convolution) -> Any:
    """Sum of the Euclidean norms of the rows of [W c]."""
    W, c = operator(layer)
    return reals.norm(np.column_stack([W, c]), 2, axis=1).sum()


def kernel_group(layer: Affine | Convolution) -> Any:
    """g of L5.1: a convolution's Sum ‖K[o,:,u,v]‖_2 and the atoms of its offset; two_one of a dense layer."""
    if isinstance(layer, Affine):
        return two_one(layer)
    kernel = np.moveaxis(weights(layer), 1, -1).reshape(-1, layer.kernel.shape[1])
    offset = reals.sqrt(output_positions(layer)) * reals.norm(layer.offset, 1)
    return reals.norm(kernel, 2, axis=1).sum() + offset


@dataclass(frozen=True)
class Course:
    """What a network computes on a sample.

    Attributes:
        states: Z_0..Z_{L-1}, each (n, d_i).
        partials: A_0..A_{L-1}, each (n, d_i, d).
        outputs: (n, K).
        jacobians: (n, K, d).
    """

    states: tuple[Any, ...]
    partials: tuple[Any, ...]
    outputs: Any
    jacobians: Any


def course(layers: Layers, activation: str, X: Any) -> Course:
    """Hidden states, partial Jacobians, outputs and Jacobians at the rows of X."""
    phi, slope = ACTIVATIONS[activation]
    Z = reals.real(X)
    n, d = Z.shape
    A = np.stack([reals.real(np.eye(d))] * n)
    states, partials = [], []
    for layer in layers:
        states.append(Z)
        partials.append(A)
        W, c = operator(layer)
        H, J = Z @ W.T + c, W @ A
        Z, A = phi(H), slope(H)[:, :, None] * J
    return Course(tuple(states), tuple(partials), H, J)


def values(members: Sequence[Layers], activation: str) -> dict[Any, Any]:
    """The smallest radii of a class that holds the members, with its sizes and constants, by the package's symbols."""
    first = members[0]
    L, constants = len(first), facts(activation)
    operators = [[operator(layer) for layer in layers] for layers in members]
    biased = [any(np.any(layers[i].offset != 0) for layers in members) for i in range(L)]
    widths = [operators[0][0][0].shape[1], *(W.shape[0] for W, _ in operators[0])]

    def largest(norm: Callable[[Any, Any, Any], Any]) -> dict[int, Any]:
        return {i + 1: max(norm(*operators[m][i], layers[i]) for m, layers in enumerate(members)) for i in range(L)}

    def each(values: Sequence[Any], start: int = 1) -> dict[int, Any]:
        return dict(enumerate(values, start=start))

    return {
        symbols.s: largest(lambda W, c, layer: reals.spectral(W)),
        symbols.a: largest(lambda W, c, layer: reals.norm(W, 2)),
        symbols.b: largest(lambda W, c, layer: two_one(layer)),
        symbols.g: largest(lambda W, c, layer: kernel_group(layer)),
        symbols.c: largest(lambda W, c, layer: reals.norm(c, 2)),
        symbols.N: each([weights(layer).size + b * len(layer.offset) for layer, b in zip(first, biased, strict=True)]),
        symbols.k_pos: each([kernel_positions(layer) for layer in first]),
        symbols.P_out: each([output_positions(layer) for layer in first]),
        symbols.has_bias: each([int(b) for b in biased]),
        symbols.rho: each([*[constants.rho] * (L - 1), 1]),
        symbols.beta: each([constants.beta or 0.0] * L),
        symbols.phi0: each([constants.at_zero] * L),
        symbols.d_z: each(widths, 0),
        symbols.d_min: each([min(widths[: i + 1]) for i in range(L + 1)], 0),
        symbols.W_bar: max([*(width + b for width, b in zip(widths, biased, strict=False)), widths[-1]]),
        symbols.W_kernel: max(
            weights(layer).size + b * len(layer.offset) for layer, b in zip(first, biased, strict=True)
        ),
        symbols.d: widths[0],
        symbols.K: widths[-1],
    }


def forgotten(known: dict[Any, Any], *dropped: Any) -> dict[Any, Any]:
    """The same with some symbols left out of the formula: every number of theirs is 1."""
    return known | {name: dict.fromkeys(known[name], 1) if isinstance(known[name], dict) else 1 for name in dropped}


def scaled(layer: Affine | Convolution, factors: Any) -> Affine | Convolution:
    """A layer with each output channel times a factor in [-1, 1]: none of its norms grows.

    >>> scaled(Affine(np.ones((2, 2)), np.ones(2)), np.array([0.5, -1.0])).weight.tolist()
    [[0.5, 0.5], [-1.0, -1.0]]
    """
    factors = np.broadcast_to(factors, layer.offset.shape)
    if isinstance(layer, Affine):
        return Affine(factors[:, None] * layer.weight, factors * layer.offset)
    return replace(layer, kernel=factors[:, None, None, None] * layer.kernel, offset=factors * layer.offset)


def shifted(layer: Affine | Convolution, change: Affine | Convolution, size: Any) -> Affine | Convolution:
    """layer + size * change, both of one shape."""
    offset = layer.offset + size * change.offset
    if isinstance(layer, Affine):
        return Affine(layer.weight + size * weights(change), offset)
    return replace(layer, kernel=layer.kernel + size * weights(change), offset=offset)


@st.composite
def layered(
    draw: DrawFn,
    depth: tuple[int, int] = (1, 3),
    classes: tuple[int, int] = (1, 3),
    kinds: tuple[str, ...] = ("dense", "positive", "scalars", "convolution", "averaging"),
    decades: int = 1,
) -> Layers:
    """Layers: dense, or dense after a convolution; plain or aligned and positive, with and without offsets.

    Args:
        draw: of hypothesis.
        depth: L.
        classes: outputs, unless the only layer is a convolution.
        kinds: "dense", "positive" (dense, equal positive entries), "scalars" (all widths 1), "convolution" (then
            dense), "averaging" (the same with a constant kernel whose windows overlap).
        decades: scales of the dense layers.
    """
    L, K = draw(st.integers(*depth)), draw(st.integers(*classes))
    kind = draw(st.sampled_from(kinds))
    biased = draw(st.booleans())
    widths = [1] * (L + 1) if kind == "scalars" else [draw(st.integers(1, 3)) for _ in range(L)] + [K]
    layers: list[Affine | Convolution] = []
    if kind in ("convolution", "averaging"):
        if kind == "averaging":
            side, padding = draw(st.sampled_from([(2, 0), (3, 1)]))
            image = Convolution(np.ones((1, 1, side, side)), np.ones(1), (1, 3, 3), padding=padding)
        else:
            image = draw(convolutions((draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3)))))
        layers.append(image if biased else replace(image, offset=np.zeros_like(image.offset)))
        widths[1] = int(np.prod(image.out_shape))
    for i in range(len(layers), L):
        weight = draw(matrices(widths[i + 1], widths[i])) * draw(scales(decades))
        if kind == "positive":  # every layer stretches what the previous one gives: products of norms are reached
            weight = np.full_like(weight, np.abs(weight).max() or 1.0)
        offset = draw(vectors(widths[i + 1])) if biased else np.zeros(widths[i + 1])
        layers.append(Affine(weight, np.abs(offset) if kind == "positive" else offset))
    return tuple(layers)


@st.composite
def changes(draw: DrawFn, layers: Layers) -> Layers:
    """A change of every layer: multiples of itself, arbitrary, or of one layer only."""
    kind, only = draw(st.sampled_from(["multiple", "plain", "one"])), draw(st.integers(0, len(layers) - 1))
    found: list[Affine | Convolution] = []
    for i, layer in enumerate(layers):
        size = draw(st.sampled_from([-0.5, -0.01, -1.0, 0.0])) if kind != "one" or i == only else 0.0
        if kind == "plain":
            weight = draw(matrices(*np.reshape(weights(layer), (len(layer.offset), -1)).shape))
            offset = draw(vectors(len(layer.offset))) * bool(np.any(layer.offset))
            size = size or 1.0
        else:
            weight, offset = weights(layer), layer.offset
        if isinstance(layer, Affine):
            found.append(Affine(size * weight, size * offset))
        else:
            found.append(replace(layer, kernel=size * weight.reshape(layer.kernel.shape), offset=size * offset))
    return tuple(found)


@st.composite
def samples(draw: DrawFn, layers: Layers, most: int = 3, decades: int = 2) -> np.ndarray:
    """Samples (n, d) for a network: arbitrary, constant, 0, or the direction that the first layer stretches most."""
    W, _ = operator(layers[0])
    n, kind = draw(st.integers(1, most)), draw(st.sampled_from(["plain", "constant", "stretched", "origin"]))
    if kind == "origin":
        return np.zeros((n, W.shape[1]))
    if kind == "plain":
        return draw(matrices(n, W.shape[1], decades))
    row = np.ones(W.shape[1]) if kind == "constant" else np.linalg.svd(W)[2][0]
    row = np.abs(row) if np.all(row <= 0) else row
    return np.repeat(row[None], n, axis=0) * draw(scales(decades))


@st.composite
def poised(draw: DrawFn) -> tuple[Layers, Layers, np.ndarray]:
    """Scalar layers whose units sit where tanh is steepest or most curved, and a change of the first layer.

    Large inputs and weights, compensated by offsets, make the slopes move far while the weights hardly do.
    """
    depth = draw(st.integers(2, 3))
    x = draw(scales(3))
    z, layers = x, []
    for at in range(depth):
        weight = draw(scales(2))
        target = draw(st.sampled_from([0.0, 0.6585, -0.6585, 1.317]))
        layers.append(Affine(np.array([[weight]]), np.array([target - weight * z if at < depth - 1 else 0.0])))
        z = math.tanh(target)
    step = draw(st.sampled_from([1e-3, -1e-3, 0.1]))
    kind, at = draw(st.sampled_from(["weight", "offset"])), draw(st.integers(0, depth - 2))
    moved = [Affine(0 * layer.weight, 0 * layer.offset) for layer in layers]
    moved[at] = (
        Affine(np.array([[step / x if at == 0 else step]]), np.zeros(1))
        if kind == "weight"
        else Affine(np.zeros((1, 1)), np.array([step]))
    )
    return tuple(layers), tuple(moved), np.array([[x]])
