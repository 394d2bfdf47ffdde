"""Small convolutions of every geometry, with their matrices written out one tap at a time."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from bounds.network import operators
from bounds.network.segment import Segment
from verification.inequalities.strategies.numbers import entries, scales

ROUNDING = 2.0**-45
"""Relative error of a singular value of a matrix with fewer than 100 rows, generously."""
EVERY_MODE = ("zeros", "circular", "replicate", "reflect")


@dataclass(frozen=True)
class Layer:
    """A convolution in one or two axes between two factors per channel (batch-norm).

    Attributes:
        kernel: (out, in / groups, *taps).
        before: factor of each input channel.
        after: factor of each output channel.
        size: positions of the input per axis.
        stride: per axis; so are the next two.
        padding: on both sides.
        dilation: distance of neighbouring taps.
        groups: of channels.
        mode: zeros, circular, reflect or replicate.
    """

    kernel: np.ndarray
    before: np.ndarray
    after: np.ndarray
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    mode: str = "zeros"

    @property
    def taps(self) -> tuple[int, ...]:
        """Kernel positions per axis."""
        return self.kernel.shape[2:]

    @property
    def reach(self) -> tuple[int, ...]:
        """k_eff = 1 + (k-1)·dilation per axis."""
        return tuple(1 + (k - 1) * step for k, step in zip(self.taps, self.dilation, strict=True))

    @property
    def outputs(self) -> tuple[int, ...]:
        """Positions of the output per axis."""
        axes = zip(self.size, self.padding, self.reach, self.stride, strict=True)
        return tuple((n + 2 * pad - reach) // stride + 1 for n, pad, reach, stride in axes)

    @property
    def wide(self) -> np.ndarray:
        """The kernel between all channels, factors included: (out, in, *taps)."""
        out, inner = self.kernel.shape[:2]
        wide = np.zeros((out, inner * self.groups, *self.taps))
        for o in range(out):
            first = o // (out // self.groups) * inner
            factors = self.after[o] * self.before[first : first + inner]
            wide[o, first : first + inner] = self.kernel[o] * factors.reshape(-1, *(1,) * len(self.taps))
        return wide

    def moves(self, axis: int) -> list[tuple[int, int, int]]:
        """Every (tap, output, input) along an axis such that the output reads the input with the tap."""
        found = []
        for tap, i in itertools.product(range(self.taps[axis]), range(self.outputs[axis])):
            at = i * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis]
            pixel = _source(at, self.size[axis], self.mode)
            if pixel is not None:
                found.append((tap, i, pixel))
        return found

    @property
    def matrix(self) -> np.ndarray:
        """The operator as a dense matrix, one tap at a time."""
        wide = self.wide
        out, inner = wide.shape[:2]
        dense = np.zeros((out, *self.outputs, inner, *self.size))
        for move in itertools.product(*(self.moves(axis) for axis in range(len(self.size)))):
            tap, to, source = zip(*move, strict=True)
            dense[(slice(None), *to, slice(None), *source)] += wide[(slice(None), slice(None), *tap)]
        return dense.reshape(out * math.prod(self.outputs), inner * math.prod(self.size))

    @property
    def injective(self) -> bool:
        """Whether a tap moves every pixel to one place at most, and no two taps move it to the same one."""
        for axis in range(len(self.size)):
            moves = self.moves(axis)
            by_tap = {(tap, pixel) for tap, _, pixel in moves}
            by_place = {(i, pixel) for _, i, pixel in moves}
            if not len(by_tap) == len(by_place) == len(moves):
                return False
        return True

    @property
    def segment(self) -> Segment:
        """The same layer for the package."""
        channels, out, axes = len(self.before), len(self.after), (1,) * len(self.size)
        padded, padding = self.size, self.padding
        operations: list[operators.Operation] = []
        if (self.before != 1).any():
            operations.append(operators.Scale((channels, *self.size), tensor(self.before).reshape(-1, *axes)))
        if self.mode != "zeros":
            amounts = tuple(pad for pad in reversed(self.padding) for _ in range(2))
            operations.append(operators.Pad((channels, *self.size), amounts, self.mode))
            padded, padding = (
                tuple(n + 2 * pad for n, pad in zip(self.size, self.padding, strict=True)),
                (0,) * len(axes),
            )
        operations.append(
            operators.Convolution(
                (channels, *padded), tensor(self.kernel), self.stride, padding, self.dilation, self.groups
            )
        )
        if (self.after != 1).any():
            operations.append(operators.Scale((out, *self.outputs), tensor(self.after).reshape(-1, *axes)))
        return Segment("layer", tuple(operations))


def _source(at: int, n: int, mode: str) -> int | None:
    """The pixel that a position of the padded axis shows; None for a zero."""
    if 0 <= at < n:
        return at
    if mode == "circular":
        return at % n
    if mode == "reflect":
        return -at if at < 0 else 2 * (n - 1) - at
    if mode == "replicate":
        return 0 if at < 0 else n - 1
    return None


def tensor(values: np.ndarray) -> Tensor:
    """For the package."""
    return torch.from_numpy(np.array(values, dtype=np.float64))


def sizeable(values: Any) -> Any:
    """Entries whose products are so small that the package refuses them become 0."""
    return np.where(np.abs(values) < 1e-30, 0.0, values)


NUMBERS = st.tuples(*[entries().map(lambda value: float(sizeable(value)))] * 12)
"""A kernel takes as many of these as it needs, in turn: a change of its shape leaves the other draws in place."""
FACTORS = st.tuples(*[entries().map(lambda value: float(sizeable(value)))] * 8)
KINDS = ("signs", "plain", "plain", "rank one", "difference")


def small_kernel(kind: str, numbers: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """A kernel of a shape: plain, of rank one (out by the rest), of signs, or one whose taps sum to about 0."""
    kernel = np.resize(np.array(numbers), shape)
    if kind == "rank one":
        rest = np.resize(np.array(numbers[3:]), shape[1:])
        kernel = np.multiply.outer(np.resize(np.array(numbers[:3]), shape[0]), rest)
    elif kind == "signs":
        kernel = np.where(kernel < 0, -1.0, 1.0)
    elif kind == "difference":
        kernel = np.zeros(shape)
        flat = kernel.reshape(*shape[:2], -1)
        flat[:, :, 0], flat[:, :, -1] = 1.0, -1.0
    return kernel


@st.composite
def layers(draw: DrawFn, modes: tuple[str, ...] = ("zeros",), decades: int = 0, plain: bool = False) -> Layer:
    """Convolutions of every geometry that fits, small; `plain` leaves out the factors per channel."""
    mode, axes = draw(st.sampled_from(modes)), draw(st.sampled_from([1, 1, 2]))
    largest = draw(st.sampled_from([6 if axes == 1 else 3] * 2 + [2]))  # on few pixels the border is everything
    most = {"circular": 0, "reflect": 1}.get(mode, -2)  # of the padding beyond n, in torch

    def each(values: SearchStrategy[int]) -> tuple[int, ...]:
        return draw(st.tuples(values, values))[:axes]

    size = tuple(min(n, largest) for n in each(st.sampled_from([3, 2, 4, 1, 5, 6])))
    stride, dilation = each(st.sampled_from([1, 1, 2, 3])), each(st.integers(1, 2))
    padding = tuple(min(pad, n - most) for pad, n in zip(each(st.sampled_from([1, 0, 2])), size, strict=True))
    fits = zip(each(st.integers(1, 3)), dilation, size, padding, strict=True)
    taps = tuple(min(k, 1 + (n + 2 * pad - 1) // step) for k, step, n, pad in fits)
    return _with_kernel(draw, (size, stride, padding, dilation), taps, mode, decades, plain)


Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _with_kernel(
    draw: DrawFn,
    geometry: Geometry,
    taps: tuple[int, ...],
    mode: str,
    decades: int,
    plain: bool,
    kinds: tuple[str, ...] = KINDS,
) -> Layer:
    groups, inner, each = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    out = groups * each
    kernel = draw(scales(decades)) * small_kernel(draw(st.sampled_from(kinds)), draw(NUMBERS), (out, inner, *taps))
    scaled, factors = draw(st.booleans()), np.array(draw(FACTORS))
    if plain or not scaled:
        factors = np.ones(8)
    return Layer(kernel, factors[: inner * groups], factors[4 : 4 + out], *geometry, groups, mode)


@st.composite
def far_taps(draw: DrawFn) -> Layer:
    """One or two pixels under taps further apart than they are, all padded: what a short grid lets cancel."""
    size, stride = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 2]))
    dilation, taps = draw(st.sampled_from([2, 3, 1])), draw(st.integers(2, 3))
    geometry = (size,), (stride,), ((taps - 1) * dilation,), (dilation,)
    return _with_kernel(draw, geometry, (taps,), "zeros", 0, True, ("difference", *KINDS))


@st.composite
def strided(draw: DrawFn, mode: str) -> Layer:
    """Convolutions with a stride of two, which does not divide the input."""
    size, taps = draw(st.sampled_from([3, 5])), draw(st.integers(2, 3))
    return _with_kernel(draw, ((size,), (2,), (1,), (1,)), (taps,), mode, 0, True)


@st.composite
def whole_tori(draw: DrawFn) -> Layer:
    """Circular convolutions whose stride divides the input, with as many outputs as there are coarse positions."""
    axes = draw(st.sampled_from([1, 1, 2]))
    coarse = 5 if axes == 1 else 2
    geometry = [_torus_axis(coarse, *drawn) for drawn in draw(st.tuples(TORUS_AXIS, TORUS_AXIS))[:axes]]
    size, stride, padding, dilation, taps = (tuple(axis) for axis in zip(*geometry, strict=True))
    return _with_kernel(draw, (size, stride, padding, dilation), taps, "circular", 0, False)


TORUS_AXIS = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(0, 2), st.integers(0, 9))


def _torus_axis(largest: int, stride: int, coarse: int, padding: int, choice: int) -> tuple[int, ...]:
    """(size, stride, padding, dilation, taps) with size/stride outputs: 2·padding < k_eff <= 2·padding + stride."""
    size = stride * min(coarse, largest)
    padding = min(padding, size)
    fitting = [
        (step, taps)
        for step, taps in itertools.product((1, 2), range(1, 6))
        if 2 * padding < 1 + (taps - 1) * step <= 2 * padding + stride
    ]
    return size, stride, padding, *fitting[choice % len(fitting)]


def sigma(matrix: np.ndarray) -> float:
    """‖·‖_2 by all singular values."""
    return float(np.linalg.svd(matrix, compute_uv=False)[0])


def rounded(layer: Layer, *sides: float) -> float:
    """Rounding of singular values, and of sums of taps that meet on one pixel and may cancel."""
    return ROUNDING * sum(sides) + 2.0**-48 * float(np.abs(layer.wide).sum())
