"""Upper bounds of operator norms that cannot fail: SVD, symbols of convolutions, products (theory L7.1)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bounds.measure.fourier import (
    circular_multiplicity,
    outwards,
    symbol_cost,
    symbol_rounding,
    torus_norm,
    zero_padded_grid,
)
from bounds.measure.lanczos import ROUNDING
from bounds.network import operators
from bounds.network.kernel import Kernel
from bounds.network.segment import Segment
from bounds.network.selection import Selection
from bounds.sides import Lower, TwoSided, Upper

DENSE_SIDE = 600
_SYMBOL_MULTIPLICATIONS = 1e11


def dense_norm(matrix: Tensor) -> TwoSided:
    """‖·‖_2 by SVD, with an allowance outwards for the backward error p(m,n)·ε·σ_1 of LAPACK.

    p is a modest polynomial, of the order of max(m,n) in LAPACK's own estimates; eight times that is taken.

    >>> norm = dense_norm(torch.diag(torch.tensor([3.0, -4.0], dtype=torch.float64)))
    >>> norm.lower.value <= 4.0 <= norm.upper.value <= 4.0 + 1e-13
    True
    """
    value = float(torch.linalg.svdvals(matrix)[0])
    allowance = 8 * max(matrix.shape) * torch.finfo(torch.float64).eps
    return TwoSided(Lower(value * (1 - allowance), "dense SVD"), Upper(value * (1 + allowance), "dense SVD"))


def selection_norm(selection: Selection) -> TwoSided:
    """The norm of scalings, moves and copies, exact to rounding.

    >>> halved = Segment("halved", (operators.Scale((2,), torch.tensor(0.5, dtype=torch.float64)),))
    >>> selection_norm(halved.selection).lower.value <= 0.5 <= selection_norm(halved.selection).upper.value
    True
    """
    value, how = selection.norm, "one entry per row"
    return TwoSided(Lower(value * (1 - ROUNDING), how), Upper(outwards(value), how))


def deterministic_upper(segment: Segment, alive: Callable[[], None] = lambda: None) -> Upper:
    """Upper bound that cannot fail (theory L7.1); may be loose, and infinite where it would take too long.

    One convolution: its symbol. Scalings, moves and copies: exact. Anything else: the product over the primitive
    operations.

    Args:
        segment: the affine map; its offset plays no part.
        alive: called now and then while this goes on.

    Example: reflect padding copies the second of three pixels.
        >>> bound = deterministic_upper(Segment("pad", (operators.Pad((1, 3), (1, 0), "reflect"),)))
        >>> round(bound.value, 6)
        1.414214
    """
    if segment.kernel is not None:
        return Upper(outwards(kernel_upper(segment.kernel, alive)), "symbol of the convolution (L7.1)")
    if segment.selection is not None:
        return selection_norm(segment.selection).upper
    bounds = [_operation_upper(operation, alive) for operation in segment.operations]
    return Upper(0.0 if 0.0 in bounds else outwards(math.prod(bounds)), "product over operations (L7.1)")


def kernel_upper(kernel: Kernel, alive: Callable[[], None] = lambda: None) -> float:
    """Upper bound of the norm of a zero-padded or circular convolution (theory L7.1).

    Exact for a circular one whose stride divides the input and that has as many outputs as positions. A torus
    read more than once repeats rows; a stride that does not divide the input is ignored.
    """
    stride, grid, repeats = _torus(kernel)
    if symbol_cost(kernel.weight, stride, grid, kernel.groups) > _SYMBOL_MULTIPLICATIONS:
        return math.inf
    symbol = torus_norm(kernel.weight, stride, kernel.dilation, grid, kernel.groups, alive)
    return math.sqrt(repeats) * (symbol + symbol_rounding(kernel.weight, kernel.dilation))


def symbol_work(kernel: Kernel) -> float:
    """Multiplications that `kernel_upper` takes, roughly."""
    stride, grid, _ = _torus(kernel)
    work = symbol_cost(kernel.weight, stride, grid, kernel.groups)
    return work if work <= _SYMBOL_MULTIPLICATIONS else 0.0


def _torus(kernel: Kernel) -> tuple[list[int], list[int], int]:
    """Stride and grid of the circular convolution that contains this one, and how often it repeats a row."""
    weight, axes = kernel.weight, range(len(kernel.stride))
    size, outputs = kernel.in_shape[1:], kernel.out_shape[1:]
    if kernel.padding_mode == "zeros":
        reach = [1 + (weight.shape[2 + i] - 1) * kernel.dilation[i] for i in axes]
        stride = list(kernel.stride)
        return stride, [zero_padded_grid(size[i], reach[i], stride[i], kernel.padding[i], outputs[i]) for i in axes], 1
    stride = [kernel.stride[i] if size[i] % kernel.stride[i] == 0 else 1 for i in axes]
    repeats = math.prod(circular_multiplicity(size[i], kernel.stride[i], outputs[i]) for i in axes)
    return stride, [size[i] // stride[i] for i in axes], repeats


def _operation_upper(operation: operators.Operation, alive: Callable[[], None]) -> float:
    match operation:
        case operators.Scale():
            return float(operation.factor.abs().max())
        case operators.Shift() | operators.Reshape():
            return 1.0
        case operators.Linear():
            return _matrix_upper(operation.weight)
        case operators.Contraction():
            return max(_matrix_upper(matrix) for matrix in operation.matrices)
        case operators.Convolution():
            alone = Segment("", (operation,))
            assert alone.kernel is not None
            return kernel_upper(alone.kernel, alive)
        case operators.TransposedConvolution():  # the transpose of a convolution with the same weight
            kernel = Kernel(
                operation.weight,
                operation.stride,
                operation.padding,
                "zeros",
                operation.dilation,
                operation.groups,
                operation.out_shape,
                operation.in_shape,
            )
            return kernel_upper(kernel, alive)
        case _:
            return _nonnegative_upper(operation)


def _matrix_upper(weight: Tensor) -> float:
    if min(weight.shape) <= DENSE_SIDE:
        return dense_norm(weight).upper.value
    magnitude = weight.abs()
    unit = float(magnitude.max()) or 1.0  # squares must not underflow
    schur = math.sqrt(float(magnitude.sum(0).max() / unit * (magnitude.sum(1).max() / unit)))
    return unit * min(float((weight / unit).norm()), schur)


def _nonnegative_upper(operation: operators.Operation) -> float:
    """Schur test √(max row sum · max column sum), for entries ≥ 0: pooling, padding, sums, copies.

    Exact when one of the two sums is constant, as for padding by copies, whose norm is √(copies of a pixel).
    """
    rows = operation.linear(torch.ones(1, *operation.in_shape, dtype=torch.float64))
    columns = operation.adjoint(torch.ones(1, *operation.out_shape, dtype=torch.float64))
    return math.sqrt(float(rows.max() * columns.max()))
