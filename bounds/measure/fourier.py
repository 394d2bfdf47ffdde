"""Deterministic upper bounds of the norm of a convolution from its symbol on a torus (theory L7.1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from bounds.measure.lanczos import ROUNDING

_CHUNK = 1 << 22  # complex numbers held at once


def zero_padded_grid(size: int, taps: int, stride: int, before: int, outputs: int) -> int:
    """Smallest circular grid that contains one axis of a zero-padded convolution as a submatrix.

    Input j is read at j + before = stride·i + t by output i and tap t. In units of the stride this is a
    stride-1 convolution with ⌈taps/stride⌉ taps per phase, whose columns are low..columns-1 and whose
    non-zero rows are first..last; the grid must keep every difference column - row apart from the shifted
    copies of the taps.

    Args:
        size: n, inputs along the axis.
        taps: k_eff = 1 + (k-1)·dilation.
        stride: the stride.
        before: zeros padded before the first input.
        outputs: outputs along the axis.

    Example: "same" padding, n=2, three taps (the operator of [1, 0, -1] has norm 1; the grid n=2 would give
        0).
        >>> zero_padded_grid(2, taps=3, stride=1, before=1, outputs=2)
        3
    """
    taps_per_phase = -(-taps // stride)
    columns, low = -(-(size + before) // stride), before // stride
    first, last = max(0, low - taps_per_phase + 1), min(outputs, columns) - 1
    return max(columns - first, taps_per_phase + last - low, 1)


def circular_multiplicity(size: int, stride: int, outputs: int) -> int:
    """How often a circular convolution repeats a row: more than once when the outputs go round the torus.

    >>> circular_multiplicity(8, 2, 4), circular_multiplicity(8, 2, 5)
    (1, 2)
    """
    return -(-(stride * (outputs - 1) + 1) // size)


def torus_norm(
    weight: Tensor,
    stride: Sequence[int],
    dilation: Sequence[int],
    grid: Sequence[int],
    groups: int = 1,
    alive: Callable[[], None] = lambda: None,
) -> float:
    """Norm of the circular convolution whose output lives on `grid` and whose input is `stride` times finer.

    At each frequency the symbol is the matrix of the channels by (phase, channel) entries of the polyphase
    components of the kernel; the norm is its largest singular value over frequencies. Exact for a circular
    convolution up to rounding, and an upper bound for every operator that is a submatrix of it.

    Args:
        weight: (out channels, in channels / groups, *taps), float64.
        stride: stride per axis.
        dilation: dilation per axis.
        grid: output positions per axis.
        groups: channel groups.
        alive: called after each part of the frequencies.

    Example: a circular difference filter on four points has norm 2.
        >>> torus_norm(torch.tensor([[[1.0, -1.0]]], dtype=torch.float64), [1], [1], [4])
        2.0
    """
    blocks = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return max(_symbol_norm(block, stride, dilation, grid, alive) for block in blocks)


def symbol_rounding(weight: Tensor, dilation: Sequence[int]) -> float:
    """How far rounding may move a symbol, in operator norm: taps that cancel leave an absolute error.

    An entry of the symbol is a sum of taps times waves; a wave at offset t is off by a few roundings of its angle,
    at most 2π·t per axis. The error matrix is bounded by its Frobenius norm.

    Args:
        weight: (out channels, in channels / groups, *taps), float64.
        dilation: dilation per axis.

    >>> symbol_rounding(torch.tensor([[[1.0, -1.0]]], dtype=torch.float64), [1]) < 1e-13
    True
    """
    taps = math.prod(weight.shape[2:])
    reach = sum(1 + (size - 1) * step for size, step in zip(weight.shape[2:], dilation, strict=True))
    sizes = weight.abs().flatten(2).sum(2)
    unit = float(sizes.max()) or 1.0  # squares must not underflow
    return (taps + 16 * reach) * torch.finfo(torch.float64).eps * unit * float((sizes / unit).norm())


def symbol_cost(weight: Tensor, stride: Sequence[int], grid: Sequence[int], groups: int = 1) -> float:
    """Rough number of multiplications `torus_norm` takes."""
    rows, columns = weight.shape[0] // groups, weight.shape[1] * math.prod(stride)
    small, large = sorted((rows, columns))
    return math.prod(grid) / 2 * groups * (4 * small * small * large + 50 * small**3)


def _symbol_norm(
    kernel: Tensor, stride: Sequence[int], dilation: Sequence[int], grid: Sequence[int], alive: Callable[[], None]
) -> float:
    unit = float(kernel.abs().max()) or 1.0  # squares must not underflow
    kernel = kernel / unit
    rows, columns = kernel.shape[0], kernel.shape[1] * math.prod(stride)
    chunk = max(1, _CHUNK // (rows * columns))
    largest = 0.0
    for frequencies in _half_spectrum(grid).split(chunk):
        symbol = torch.cat([part for part in _phases(kernel, stride, dilation, frequencies)], dim=2)
        gram = symbol @ symbol.mH if rows <= symbol.shape[2] else symbol.mH @ symbol
        largest = max(largest, float(torch.linalg.eigvalsh(gram)[:, -1].max()))
        alive()
    return unit * math.sqrt(max(largest, 0.0))


def _half_spectrum(grid: Sequence[int]) -> Tensor:
    """Angular frequencies of a grid, shape (F, axes); a real kernel needs only half of the last axis."""
    counts = [*grid[:-1], grid[-1] // 2 + 1]
    axes = [
        torch.arange(count, dtype=torch.float64) * (2 * math.pi / size)
        for count, size in zip(counts, grid, strict=True)
    ]
    return torch.cartesian_prod(*axes).reshape(-1, len(grid))


def _phases(kernel: Tensor, stride: Sequence[int], dilation: Sequence[int], frequencies: Tensor) -> Iterator[Tensor]:
    """Symbols (F, out, in) of the polyphase components that have a tap."""
    taps = list(itertools.product(*(range(size) for size in kernel.shape[2:])))
    offsets = torch.tensor(taps) * torch.tensor(list(dilation))
    strides = torch.tensor(list(stride))
    values = kernel.flatten(2)
    for phase in itertools.product(*(range(step) for step in stride)):
        mine = ((offsets % strides) == torch.tensor(phase)).all(1)
        if mine.any():
            angles = frequencies @ (offsets[mine] // strides).to(torch.float64).T
            waves = torch.polar(torch.ones_like(angles), angles)
            yield torch.einsum("ft,oct->foc", waves, values[:, :, mine].to(torch.complex128))


def outwards(value: float) -> float:
    """`value` plus an allowance for floating point.

    >>> outwards(2.0) > 2.0
    True
    """
    return value * (1 + ROUNDING)
