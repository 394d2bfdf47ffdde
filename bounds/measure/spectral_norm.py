"""Operator norm s_i = ‖W_i‖_2 of an affine segment, from both sides (theory §7)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.measure.fourier import circular_multiplicity, outwards, symbol_cost, torus_norm, zero_padded_grid
from bounds.measure.lanczos import ROUNDING, Krylov, lanczos, largest_eigenvalue_upper
from bounds.network import operators
from bounds.network.kernel import Kernel
from bounds.network.segment import Segment
from bounds.sides import Lower, TwoSided, Upper

_DENSE_SIDE, _DENSE_ENTRIES = 600, 1 << 22
_RATIO = 1.002  # upper/lower at which Lanczos stops
_STEPS, _BASIS_ENTRIES = 150, 1 << 26
_SYMBOL_MULTIPLICATIONS = 1e11


def operator_norm(segment: Segment, *, seed: int = 0, failure: float = 1e-12) -> TwoSided:
    """Lower and upper bound of the largest singular value of the linear part of a segment.

    Small segments: dense SVD. Otherwise the lower end is attained by a vector found with Lanczos, and the
    upper end is the smaller of a deterministic bound (theory L7.1: symbols of convolutions, products over
    primitive operations) and a probabilistic one (theory L7.2), which is wrong with probability `failure`
    over the random starts. Steps are added until upper/lower ≤ 1.002 or 150 have been made.

    Args:
        segment: the affine map; its offset plays no part.
        seed: of the starting vectors.
        failure: allowed probability that a probabilistic upper end is wrong; `result.upper.failure` says what
            was used.

    Raises:
        InputError: if the weights are not finite.

    Example:
        >>> from bounds.network.operators import Linear
        >>> weight = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
        >>> norm = operator_norm(Segment("fc", (Linear((2,), weight),)))
        >>> round(norm.lower.value, 6), round(norm.upper.value, 6), norm.upper.how
        (4.0, 4.0, 'dense SVD')
    """
    if min(segment.d_in, segment.d_out) <= _DENSE_SIDE and segment.d_in * segment.d_out <= _DENSE_ENTRIES:
        return _dense(_matrix(segment), segment.name)
    return _matrix_free(segment, seed, failure)


def _dense(matrix: Tensor, name: str) -> TwoSided:
    """SVD; LAPACK's backward error p(m,n)·ε·σ_1, p of the order of max(m,n), is taken outwards eightfold."""
    if not bool(torch.isfinite(matrix).all()):
        raise InputError(f"{name}: its weights are not all finite")
    value = float(torch.linalg.svdvals(matrix)[0])
    allowance = 8 * max(matrix.shape) * torch.finfo(torch.float64).eps
    return TwoSided(Lower(value * (1 - allowance), "dense SVD"), Upper(value * (1 + allowance), "dense SVD"))


def _matrix(segment: Segment) -> Tensor:
    """W or its transpose, built from the images of the basis vectors of the smaller side."""
    if segment.d_in <= segment.d_out:
        return segment.linear(
            torch.eye(segment.d_in, dtype=torch.float64).reshape(-1, *segment.in_shape)
        ).flatten(1)
    return segment.adjoint(
        torch.eye(segment.d_out, dtype=torch.float64).reshape(-1, *segment.out_shape)
    ).flatten(1)


def _matrix_free(segment: Segment, seed: int, failure: float) -> TwoSided:
    forward, backward, shape = _from_smaller_side(segment)
    dimension = math.prod(shape)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(2, dimension, generator=generator, dtype=torch.float64)
    scale = float(
        forward(start.reshape(2, *shape)).abs().max()
    )  # the unit in which W^T W neither under- nor overflows
    if not math.isfinite(scale):
        raise InputError(f"{segment.name}: its weights are not all finite")
    if scale == 0.0:  # a Gaussian vector is in the kernel of W with probability 0 unless W = 0
        return TwoSided(Lower(0.0, "W = 0"), Upper(0.0, "W = 0"))

    def gram(vectors: Tensor) -> Tensor:
        return (backward(forward(vectors.reshape(-1, *shape)) / scale) / scale).flatten(1)

    deterministic = deterministic_upper(segment)
    steps = max(2, min(_STEPS, _BASIS_ENTRIES // (2 * dimension)))
    for krylov in lanczos(gram, start, steps, generator):
        k = krylov.alpha.shape[1]
        exhausted = bool((krylov.beta[:, -1] == 0).all())
        if k % 10 and k < min(steps, dimension) and not exhausted:
            continue
        probable = outwards(scale * math.sqrt(largest_eigenvalue_upper(krylov, dimension, failure)))
        theta = float(torch.linalg.eigvalsh(krylov.tridiagonal())[:, -1].max())
        if exhausted or min(probable, deterministic.value) <= _RATIO * scale * math.sqrt(theta):
            break
    vector = _ritz_vector(krylov)
    lower = (
        scale * float((forward(vector.reshape(1, *shape)) / scale).norm() / vector.norm()) * (1 - ROUNDING)
    )
    upper = min(
        deterministic, Upper(probable, f"Lanczos, {k} steps (L7.2)", failure), key=lambda end: end.value
    )
    return TwoSided(Lower(lower, "Lanczos, attained"), upper)


def _from_smaller_side(
    segment: Segment,
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], tuple[int, ...]]:
    if segment.d_in <= segment.d_out:
        return segment.linear, segment.adjoint, segment.in_shape
    return segment.adjoint, segment.linear, segment.out_shape


def _ritz_vector(krylov: Krylov) -> Tensor:
    values, vectors = torch.linalg.eigh(krylov.tridiagonal())
    run = int(values[:, -1].argmax())
    vector: Tensor = vectors[run, :, -1] @ krylov.basis[run]
    return vector


def deterministic_upper(segment: Segment) -> Upper:
    """Upper bound that cannot fail (theory L7.1); may be loose, and infinite where it would take too long.

    One convolution: its symbol. Anything else: the product over the primitive operations.

    Example: reflect padding copies the second of three pixels.
        >>> bound = deterministic_upper(Segment("pad", (operators.Pad((1, 3), (1, 0), "reflect"),)))
        >>> round(bound.value, 6)
        1.414214
    """
    if segment.kernel is not None:
        return Upper(outwards(kernel_upper(segment.kernel)), "symbol of the convolution (L7.1)")
    bounds = [_operation_upper(operation) for operation in segment.operations]
    return Upper(0.0 if 0.0 in bounds else outwards(math.prod(bounds)), "product over operations (L7.1)")


def kernel_upper(kernel: Kernel) -> float:
    """Upper bound of the norm of a zero-padded or circular convolution (theory L7.1).

    Circular: exact when the outputs tile the torus (stride divides the input, as many outputs as positions).
        A torus
    read more than once repeats rows; a stride that does not divide the input is ignored.
    """
    weight, axes = kernel.weight, range(len(kernel.stride))
    size, outputs = kernel.in_shape[1:], kernel.out_shape[1:]
    if kernel.padding_mode == "zeros":
        reach = [1 + (weight.shape[2 + i] - 1) * kernel.dilation[i] for i in axes]
        stride = list(kernel.stride)
        grid = [zero_padded_grid(size[i], reach[i], stride[i], kernel.padding[i], outputs[i]) for i in axes]
        repeats = 1
    else:
        stride = [kernel.stride[i] if size[i] % kernel.stride[i] == 0 else 1 for i in axes]
        grid = [size[i] // stride[i] for i in axes]
        repeats = math.prod(circular_multiplicity(size[i], kernel.stride[i], outputs[i]) for i in axes)
    if symbol_cost(weight, stride, grid, kernel.groups) > _SYMBOL_MULTIPLICATIONS:
        return math.inf
    return math.sqrt(repeats) * torus_norm(weight, stride, kernel.dilation, grid, kernel.groups)


def _operation_upper(operation: operators.Operation) -> float:
    match operation:
        case operators.Scale():
            return float(operation.factor.abs().max())
        case operators.Shift() | operators.Reshape():
            return 1.0
        case operators.Linear():
            return _matrix_upper(operation.weight)
        case operators.Convolution():
            alone = Segment("", (operation,))
            assert alone.kernel is not None
            return kernel_upper(alone.kernel)
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
            return kernel_upper(kernel)
        case _:
            return _nonnegative_upper(operation)


def _matrix_upper(weight: Tensor) -> float:
    if min(weight.shape) <= _DENSE_SIDE:
        return _dense(weight, "").upper.value
    magnitude = weight.abs()
    return min(float(weight.norm()), math.sqrt(float(magnitude.sum(0).max() * magnitude.sum(1).max())))


def _nonnegative_upper(operation: operators.Operation) -> float:
    """Schur test √(max row sum · max column sum), for entries ≥ 0: pooling, padding, sums, copies.

    Exact when one of the two sums is constant, as for padding by copies, whose norm is √(copies of a pixel).
    """
    rows = operation.linear(torch.ones(1, *operation.in_shape, dtype=torch.float64))
    columns = operation.adjoint(torch.ones(1, *operation.out_shape, dtype=torch.float64))
    return math.sqrt(float(rows.max() * columns.max()))
