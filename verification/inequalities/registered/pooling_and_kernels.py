r"""Pooling, and norms of layers without their matrix: Schur's test, overlaps, kernel constants, measured norms."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds.measure.deterministic_norm import deterministic_upper
from bounds.measure.layer_norm import layer_norms
from bounds.measure.max_pool import max_pool_lipschitz
from bounds.network import facts, operators
from bounds.network.nonlinear import MaxPool
from bounds.network.segment import Segment
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import positive, vectors
from verification.inequalities.strategies.layers import (
    EVERY_MODE,
    NUMBERS,
    ROUNDING,
    Layer,
    layers,
    rounded,
    sigma,
    sizeable,
    small_kernel,
    tensor,
)


def _window_starts(n: int, size: int, stride: int, padding: int, dilation: int, ceil: bool) -> list[int]:
    """First position of every pooling window; the last one of ceil mode must begin inside the image or before it."""
    reach = 1 + (size - 1) * dilation
    starts = range(-padding, n + padding - reach + 1, stride)
    if not ceil or (n + 2 * padding - reach) % stride == 0:
        return list(starts)
    extra = -padding + len(starts) * stride
    return [*starts, extra] if extra < n else list(starts)


@inequality(
    "L7.1-pooling",
    r"\|A\|_2\le\sqrt{\max_r\textstyle\sum_c A_{rc}\cdot\max_c\sum_r A_{rc}}"
    r"\quad\text{(entries }\ge0\text{: average pooling)}",
    source="Schur's test",
    given={
        "n": st.integers(1, 9),
        "size": st.integers(1, 4),
        "stride": st.integers(1, 4),
        "padding": st.integers(0, 2),
        "ceil": st.booleans(),
        "count": st.booleans(),
        "scale": positive(),
    },
    mutants={
        "the norm of one window": {"instead": "window"},
        "columns forgotten, overlapping or not": {"instead": "rows"},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def pooled(
    n: int,
    size: int,
    stride: int,
    padding: int,
    ceil: bool,
    count: bool,
    scale: float,
    instead: str = "",
    factor: float = 1.0,
) -> tuple[Any, Any]:
    """Averages of scaled pixels, the matrix written out window by window; attained by disjoint or single windows."""
    assume(scale > 0 and 2 * padding <= size <= n + 2 * padding)
    windows = _window_starts(n, size, stride, padding, 1, ceil)
    A = np.zeros((len(windows), n))
    for row, start in enumerate(windows):
        inside = [pixel for pixel in range(start, start + size) if 0 <= pixel < n]
        counted = min(start + size, n + padding) - start if count else len(inside)
        A[row, inside] = scale / counted
    pool = operators.AveragePool((1, n), (size,), (stride,), (padding,), ceil, count)
    grow = operators.Scale((1, n), torch.full((1, 1), scale, dtype=torch.float64))
    if instead == "window":
        upper = float(np.linalg.norm(A, axis=1).max())
    elif instead == "rows":
        upper = scale / math.sqrt(size)
    else:
        upper = deterministic_upper(Segment("pool", (grow, pool))).value
    return sigma(A), factor * upper


@st.composite
def pools(draw: DrawFn) -> dict[str, Any]:
    """Max-pools of one channel in one or two axes, as torch admits them: padding at most half the window."""
    axes = draw(st.sampled_from([1, 1, 2]))
    largest = 9 if axes == 1 else 5
    drawn = draw(
        st.tuples(*[st.tuples(st.integers(1, 9), *[st.integers(1, 3)] * 2, st.integers(0, 1), st.integers(1, 2))] * 2)
    )
    axis = [(min(n, largest), size, stride, min(padding, size // 2), step) for n, size, stride, padding, step in drawn]
    names = ("size", "window", "stride", "padding", "dilation")
    geometry = dict(zip(names, (tuple(column) for column in zip(*axis[:axes], strict=True)), strict=True))
    return {**geometry, "ceil": draw(st.booleans())}


def _windows(pool: dict[str, Any]) -> list[list[tuple[int, ...]]]:
    """The pixels of every window, written out."""
    axes = []
    # A dilated window may hold padding only: its maximum is -inf.
    for n, size, stride, padding, step in zip(*(pool[name] for name in list(pool)[:5]), strict=True):
        starts = _window_starts(n, size, stride, padding, step, pool["ceil"])
        axes.append([[start + tap * step for tap in range(size) if 0 <= start + tap * step < n] for start in starts])
    assume(all(window for windows in axes for window in windows))
    return [list(itertools.product(*window)) for window in itertools.product(*axes)]


def _pool(pool: dict[str, Any]) -> MaxPool:
    reaches = (1 + (size - 1) * step for size, step in zip(pool["window"], pool["dilation"], strict=True))
    axes = zip(pool["size"], pool["padding"], reaches, strict=True)
    assume(all(n + 2 * padding >= reach for n, padding, reach in axes))
    shape = (1, *pool["size"])
    return MaxPool(shape, pool["window"], pool["stride"], pool["padding"], pool["dilation"], pool["ceil"])


@inequality(
    "L7.3-overlap",
    r"\max_{z,\,h\ne0}\frac{\|\mathrm{pool}(z+h)-\mathrm{pool}(z)\|_2}{\|h\|_2}=\sqrt{\max_j\#\{w: j\in w\}}",
    source="own derivation",
    given={"pool": pools(), "moved": st.booleans()},
    mutants={"overlap ignored": {"instead": "one"}, "whole strides in a window": {"instead": "strides"}},
    relation="==",
    attained=True,
    recheck=False,
)
def overlap(pool: dict[str, Any], moved: bool, instead: str = "") -> tuple[Any, Any]:
    """The package's constant against the windows written out, or torch's pool moved by a peak on the busiest pixel."""
    layer, shape = _pool(pool), pool["size"]
    count = np.zeros(shape)
    for pixel in itertools.chain.from_iterable(_windows(pool)):
        count[pixel] += 1
    largest = math.sqrt(count.max())
    if moved:
        peak = torch.zeros(1, 1, *shape, dtype=torch.float64)
        peak.view(-1)[int(count.argmax())] = 1.0
        largest = float((layer(peak) - layer(torch.zeros_like(peak))).norm())
    constant = max_pool_lipschitz(layer).value
    if instead:
        whole = math.prod(max(1, size // stride) for size, stride in zip(pool["window"], pool["stride"], strict=True))
        constant = math.sqrt(whole) if instead == "strides" else 1.0
    return largest, constant


@inequality(
    "L7.3-lipschitz",
    r"\|\mathrm{pool}(z+h)-\mathrm{pool}(z)\|_2\le\sqrt{\max_j\#\{w: j\in w\}}\,\|h\|_2",
    source="own derivation",
    given={"pool": pools(), "z": vectors(25), "h": vectors(25), "unit": st.integers(-1, 24)},
    mutants={
        "overlap ignored": {"instead": "one"},
        "three per cent too small": {"factor": 0.97},
        "the fourth root": {"instead": "fourth"},
    },
    attained=True,
    recheck=False,
)
def max_pool_moves(
    pool: dict[str, Any], z: np.ndarray, h: np.ndarray, unit: int, instead: str = "", factor: float = 1.0
) -> tuple[Any, Any]:
    """The maxima over the windows written out; attained by a step (unit >= 0: of one pixel) that raises the busiest."""
    constant = max_pool_lipschitz(_pool(pool)).value
    size = math.prod(pool["size"])
    before, step = z[:size].reshape(pool["size"]), h[:size].copy()
    if unit >= 0:
        step[np.arange(size) != unit % size] = 0.0
        before = 0 * before
    after = before + step.reshape(pool["size"])
    windows = _windows(pool)
    moved = [max(after[pixel] for pixel in w) - max(before[pixel] for pixel in w) for w in windows]
    constant = {"one": 1.0, "fourth": math.sqrt(constant)}.get(instead, constant)
    return reals.norm(moved, 2), factor * constant * reals.norm(step, 2)


@inequality(
    "L7.4-spectral",
    r"\|\mathrm{op}(K)\|_2\le\sqrt{k_{\mathrm{pos}}}\,\|K\|_F,\quad k_{\mathrm{pos}}\text{ taps per channel}",
    source="own derivation",
    given={"layer": layers(EVERY_MODE, decades=2)},
    mutants={
        "kernel positions dropped": {"instead": "dropped"},
        "a torus that is wrapped": {"instead": "wrapped"},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def kernel_to_spectral(layer: Layer, instead: str = "", factor: float = 1.0) -> tuple[Any, Any]:
    """The package's k_pos and ‖K‖_F against the matrix; attained by one tap of rank one, or equal taps on a torus.

    Where taps wrap or padding copies, the package takes the segment for a dense matrix: k_pos = 1, ‖op‖_F.
    """
    segment = layer.segment
    upper = math.sqrt(facts.layer(segment).kernel_positions) * layer_norms(segment).parameter_distance.value
    if instead:
        upper = float(np.linalg.norm(layer.wide)) * (math.sqrt(math.prod(layer.taps)) if instead == "wrapped" else 1.0)
        if instead == "dropped":
            assume(layer.injective)
    return sigma(layer.matrix), factor * upper


@inequality(
    "L7.4-frobenius",
    r"\|\mathrm{op}(K)\|_F\le\sqrt{P_{\mathrm{out}}}\,\|K\|_F,\quad P_{\mathrm{out}}\text{ output positions}",
    source="own derivation",
    given={"layer": layers(("zeros", "zeros", *EVERY_MODE), decades=2)},
    mutants={
        "kernel positions for output positions": {"instead": "taps"},
        "output positions dropped": {"instead": "dropped"},
        "two per cent too small": {"factor": 0.98},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def kernel_to_frobenius(layer: Layer, instead: str = "", factor: float = 1.0) -> tuple[Any, Any]:
    """The package's P_out and ‖K‖_F against the matrix; attained without padding, where every tap meets a pixel."""
    segment = layer.segment
    counts, distance = facts.layer(segment), layer_norms(segment).parameter_distance.value
    positions = {"taps": counts.kernel_positions, "dropped": 1}.get(instead, counts.output_positions)
    return float(np.linalg.norm(layer.matrix)), factor * math.sqrt(positions) * distance


def _biased(layer: Layer, per_channel: np.ndarray) -> Segment:
    segment = layer.segment
    offset = tensor(per_channel).reshape(-1, *(1,) * len(layer.size)).expand(segment.out_shape)
    return Segment("layer", (*segment.operations, operators.Shift(segment.out_shape, offset)))


@inequality(
    "measure-layer-norms",
    r"(\|W\|_F,\ \textstyle\sum_r\|[W-M,c-c_M]_r\|_2,\ g,\ \max_r\|W_r\|_1,\ \max_r(\|W_r\|_1+|c_r|),\ \|c\|_2,\ "
    r"\|\theta-\theta^0\|_2)\ \text{without a matrix}=\text{on the matrix}",
    source="definitions",
    given={
        "layer": layers(EVERY_MODE, decades=2),
        "start": NUMBERS,
        "c": vectors(8).map(sizeable),
        "which": st.sampled_from(
            ["frobenius", "two_one", "kernel_group", "row_sum", "biased_row_sum", "offset", "parameter_distance"]
        ),
    },
    mutants={
        "columns for rows": {"transpose": True},
        "the reference forgotten": {"reference": False},
        "the kernel's own norm": {"kernel": True},
        "the offset once per channel": {"per_channel": True},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def layer_norms_on_the_matrix(
    layer: Layer,
    start: tuple[float, ...],
    c: np.ndarray,
    which: str,
    transpose: bool = False,
    reference: bool = True,
    kernel: bool = False,
    per_channel: bool = False,
) -> tuple[Any, Any, Any]:
    """Each field of the package's LayerNorms of (W, c) relative to (M, c_M), against the matrices written out."""
    scale = float(np.abs(layer.kernel).max()) or 1.0
    at_start = replace(layer, kernel=scale * small_kernel("plain", start, layer.kernel.shape))
    channels = len(layer.after)
    biased, biased_start = _biased(layer, c[:channels]), _biased(at_start, c[4 : 4 + channels])
    found = getattr(layer_norms(biased, biased_start), which).value
    positions = math.prod(layer.outputs)
    W, moved = layer.matrix, layer.matrix - (at_start.matrix if reference else 0)
    offset, shift = np.repeat(c[:channels], positions), np.repeat(c[:channels] - c[4 : 4 + channels], positions)
    difference = layer.wide - (at_start.wide if reference else 0)
    if transpose:
        assume(which == "row_sum")
        W = W.T
    if kernel:
        assume(which == "frobenius")
        W = layer.wide
    if per_channel:
        assume(which == "offset")
        offset = c[:channels]
    # Where the package's criterion of a wrapped torus is the stricter one it falls back on the matrix.
    convolution = biased.kernel is not None and biased.kernel.injective
    assume(layer.injective or not convolution)
    rows = float(np.linalg.norm(np.column_stack([moved, shift]), axis=1).sum())
    group = float(np.linalg.norm(difference, axis=1).sum()) + math.sqrt(positions) * np.abs(shift[::positions]).sum()
    parameters = math.hypot(np.linalg.norm(difference if convolution else moved), np.linalg.norm(shift))
    oracle = {
        "frobenius": lambda: np.linalg.norm(W),
        "two_one": lambda: rows,
        "kernel_group": lambda: group if convolution else rows,
        "row_sum": lambda: np.abs(W).sum(1).max(),
        "biased_row_sum": lambda: (np.abs(W).sum(1) + np.abs(offset)).max(),
        "offset": lambda: np.linalg.norm(offset),
        "parameter_distance": lambda: parameters,
    }[which]()
    return found, float(oracle), rounded(layer, found, float(oracle)) + rounded(at_start)
