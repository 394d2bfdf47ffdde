"""Exact norms of one affine segment: Frobenius, group and row norms, distances to a reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bounds.budget import Budget
from bounds.errors import InputError
from bounds.measure.load import NUMBER
from bounds.network.kernel import Kernel
from bounds.network.operators import Linear, Reshape, Shift
from bounds.network.segment import Segment
from bounds.sides import Exact

_CHUNK = 1 << 22  # numbers held at once, at most
SMALLEST, LARGEST = 1e-140, 1e140  # sizes of weights whose squares are ordinary numbers


@dataclass(frozen=True)
class LayerNorms:
    """Norms of a layer (W, c) relative to a reference (M, c_M), in the notation of theory §0.

    Attributes:
        frobenius: a = ‖W‖_F (like the row sums and the offset, without the reference).
        two_one: b = Σ_r ‖row_r [W-M, c-c_M]‖_2, the offset column only with a bias.
        kernel_group: g of theory L5.1 = Σ_{o,u,v} ‖(K-K⁰)[o,:,u,v]‖_2 plus the atoms of the offset: Σ_o
            √P_out·|c_o| when the offset is constant over the positions of a channel, else Σ_r |c_r|; equals
            `two_one` when W is no convolution.
        row_sum: m = max_r ‖row_r W‖_1.
        biased_row_sum: max_r (‖row_r W‖_1 + |c_r|).
        offset: ‖c‖_2 as an operator column (a convolution's bias once per position).
        parameter_distance: t = ‖θ-θ⁰‖_2, θ = (kernel or dense matrix, offset as an operator column).
    """

    frobenius: Exact
    two_one: Exact
    kernel_group: Exact
    row_sum: Exact
    biased_row_sum: Exact
    offset: Exact
    parameter_distance: Exact


@dataclass(frozen=True)
class _Rows:
    """Per row of W: ‖row W‖_2², ‖row W‖_1 and ‖row (W-M)‖_2²."""

    squares: Tensor
    magnitudes: Tensor
    distances: Tensor


def layer_norms(
    segment: Segment,
    reference: Segment | None = None,
    progress: Callable[[int, int], None] | None = None,
    memory: Budget | None = None,
) -> LayerNorms:
    """Norms of a segment, exact to rounding (float64), relative to a reference fixed without the data.

    Dense layers are read off the matrix, zero-padded convolutions off the kernel, anything else streams basis
    vectors through the cheaper side in bounded memory.

    Args:
        segment: the layer (W, c).
        reference: (M, c_M), e.g. the layer at initialisation; None stands for zero.
        progress: called with (basis vectors done, total) while streaming.
        memory: what streaming may take; a share of what is available if None.

    Raises:
        InputError: if the shapes of the reference differ, or the weights are so large or small that their squares
            leave float64's range.

    Example:
        >>> weight = torch.tensor([[3.0, -4.0], [0.0, 1.0]], dtype=torch.float64)
        >>> norms = layer_norms(Segment("fc", (Linear((2,), weight),)))
        >>> norms.two_one.value, norms.row_sum.value, norms.parameter_distance == norms.frobenius
        (6.0, 7.0, True)
    """
    if reference is not None and (reference.in_shape, reference.out_shape) != (
        segment.in_shape,
        segment.out_shape,
    ):
        raise InputError(f"{segment.name}: the reference maps other shapes")
    rows = _read_off(segment, reference) or _stream(segment, reference, progress, memory)
    largest = float(rows.magnitudes.max())
    if not (largest == 0 or SMALLEST < largest < LARGEST):
        raise InputError(
            f"{segment.name}: weights of size {largest:.0e} cannot be squared in float64; rescale the network"
        )
    offset = segment.offset.flatten()
    moved = offset if reference is None else offset - reference.offset.flatten()
    two_one = float((rows.distances + moved.square()).sqrt().sum())
    kernels = _kernel_pair(segment, reference)
    if kernels is None:
        parameters, group = rows.distances.sum(), two_one
    else:
        difference = kernels[0].weight - kernels[1]
        per_channel = segment.offset_per_channel and (reference is None or reference.offset_per_channel)
        parameters = difference.square().sum()
        group = float(difference.square().sum(1).sqrt().sum()) + _offset_atoms(moved, per_channel, kernels[0])
    return LayerNorms(
        frobenius=Exact(math.sqrt(float(rows.squares.sum()))),
        two_one=Exact(two_one),
        kernel_group=Exact(group),
        row_sum=Exact(float(rows.magnitudes.max())),
        biased_row_sum=Exact(float((rows.magnitudes + offset.abs()).max())),
        offset=Exact(float(offset.norm())),
        parameter_distance=Exact(math.sqrt(float(parameters + moved.square().sum()))),
    )


def row_norms(segment: Segment) -> tuple[Tensor, Tensor]:
    """Euclidean and absolute norm of every row of a segment's linear part: shape (d_out,) each, exact to rounding.

    Example:
        >>> weight = torch.tensor([[3.0, -4.0], [0.0, 1.0]], dtype=torch.float64)
        >>> euclidean, absolute = row_norms(Segment("fc", (Linear((2,), weight),)))
        >>> euclidean.tolist(), absolute.tolist()
        ([5.0, 1.0], [7.0, 1.0])
    """
    rows = _read_off(segment, None) or _stream(segment, None)
    return rows.squares.sqrt(), rows.magnitudes


def norms_work(segment: Segment) -> float:
    """Multiply-adds that the norms of a segment take, roughly: many where basis vectors are streamed through it.

    >>> from bounds.network.operators import Linear
    >>> norms_work(Segment("fc", (Linear((10,), torch.ones(10, 10).double()),)))
    300.0
    """
    kernels = _kernel_pair(segment, None)
    read_off = _dense_weight(segment) is not None or (kernels is not None and kernels[0].padding_mode == "zeros")
    return float((3 if read_off else min(segment.d_in, segment.d_out)) * segment.products)


def _read_off(segment: Segment, reference: Segment | None) -> _Rows | None:
    return _dense_rows(segment, reference) or _kernel_rows(segment, reference)


def _dense_rows(segment: Segment, reference: Segment | None) -> _Rows | None:
    weight = _dense_weight(segment)
    start = 0.0 if reference is None else _dense_weight(reference)
    if weight is None or start is None:
        return None
    return _Rows(weight.square().sum(1), weight.abs().sum(1), (weight - start).square().sum(1))


def _dense_weight(segment: Segment) -> Tensor | None:
    """W when it is one matrix, else None."""
    linear = [operation for operation in segment.operations if not isinstance(operation, Shift | Reshape)]
    if len(linear) == 1 and isinstance(linear[0], Linear) and len(linear[0].in_shape) == 1:
        return linear[0].weight
    return None


def _kernel_rows(segment: Segment, reference: Segment | None) -> _Rows | None:
    """Row norms of a zero-padded convolution: a row holds the taps that meet a pixel, so convolve ones."""
    kernels = _kernel_pair(segment, reference)
    if kernels is None or kernels[0].padding_mode != "zeros":
        return None
    kernel, start = kernels
    return _Rows(
        *(_per_row(kernel, taps) for taps in (kernel.weight**2, kernel.weight.abs(), (kernel.weight - start) ** 2))
    )


def _per_row(kernel: Kernel, taps: Tensor) -> Tensor:
    ones = torch.ones(1, 1, *kernel.in_shape[1:], dtype=torch.float64)
    axes = len(kernel.stride)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return convolve(ones, taps.sum(1, keepdim=True), None, kernel.stride, kernel.padding, kernel.dilation).flatten()


def _kernel_pair(segment: Segment, reference: Segment | None) -> tuple[Kernel, Tensor] | None:
    """K and K⁰ of the same convolution (K⁰ = 0 without a reference), or None."""
    kernel = segment.kernel
    if kernel is None or not kernel.injective:
        return None
    if reference is None:
        return kernel, torch.zeros_like(kernel.weight)
    start = reference.kernel
    return None if start is None or _geometry(start) != _geometry(kernel) else (kernel, start.weight)


def _geometry(kernel: Kernel) -> tuple[object, ...]:
    return (
        kernel.weight.shape,
        kernel.stride,
        kernel.padding,
        kernel.padding_mode,
        kernel.dilation,
        kernel.groups,
    )


def _offset_atoms(offset: Tensor, per_channel: bool, kernel: Kernel) -> float:
    if per_channel:
        channels = offset.reshape(kernel.out_shape[0], -1)
        return math.sqrt(channels.shape[1]) * float(channels[:, 0].abs().sum())
    return float(offset.abs().sum())


def _stream(
    segment: Segment,
    reference: Segment | None,
    progress: Callable[[int, int], None] | None = None,
    memory: Budget | None = None,
) -> _Rows:
    by_columns = segment.d_in <= segment.d_out
    total = min(segment.d_in, segment.d_out)
    per_row = torch.zeros(3, segment.d_out, dtype=torch.float64)
    done = 0
    each = 4 * (segment.d_in + segment.d_out) + 2 * max(operation.columns for operation in segment.operations)
    at_most = max(1, _CHUNK // (segment.d_in + segment.d_out))
    at_once = (memory or Budget.available()).pieces(NUMBER * each, at_most, f"a basis vector at {segment.name}")
    for basis in _basis(total, at_once):
        image = _images(segment, basis, by_columns)
        moved = image if reference is None else image - _images(reference, basis, by_columns)
        sums = (image.square(), image.abs(), moved.square())
        if by_columns:
            per_row += torch.stack([part.sum(0) for part in sums])
        else:
            per_row[:, done : done + len(basis)] = torch.stack([part.sum(1) for part in sums])
        done += len(basis)
        if progress is not None:
            progress(done, total)
    return _Rows(*per_row)


def _basis(dimension: int, chunk: int) -> Iterator[Tensor]:
    for first in range(0, dimension, chunk):
        rows = min(chunk, dimension - first)
        basis = torch.zeros(rows, dimension, dtype=torch.float64)
        basis[torch.arange(rows), first + torch.arange(rows)] = 1.0
        yield basis


def _images(segment: Segment, basis: Tensor, by_columns: bool) -> Tensor:
    if by_columns:
        return segment.linear(basis.reshape(-1, *segment.in_shape)).flatten(1)
    return segment.adjoint(basis.reshape(-1, *segment.out_shape)).flatten(1)
