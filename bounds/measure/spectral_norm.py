"""Operator norm s_i = ‖W_i‖_2 of an affine segment, from both sides (theory §7)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bounds.budget import Budget
from bounds.errors import InputError
from bounds.measure.deterministic_norm import DENSE_SIDE, dense_norm, deterministic_upper, symbol_work
from bounds.measure.fourier import outwards, symbol_rounding
from bounds.measure.lanczos import ROUNDING, Krylov, lanczos, largest_eigenvalue_upper
from bounds.measure.load import NUMBER
from bounds.network.segment import Segment
from bounds.sides import Lower, TwoSided, Upper

_DENSE_ENTRIES = 1 << 22
_RATIO = 1.002  # upper/lower at which Lanczos stops
_STEPS, _BASIS_ENTRIES = 150, 1 << 26


def operator_norm(
    segment: Segment,
    *,
    seed: int = 0,
    failure: float = 1e-12,
    memory: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TwoSided:
    """Lower and upper bound of the largest singular value of the linear part of a segment.

    Small segments: dense SVD. Otherwise the lower end is attained by a vector found with Lanczos, and the
    upper end is the smaller of a deterministic bound (theory L7.1: symbols of convolutions, products over
    primitive operations) and a probabilistic one (theory L7.2), which is wrong with probability `failure`
    over the random starts. Steps are added until upper/lower ≤ 1.002, or 150 have been made, or as many as there
    is memory for.

    Args:
        segment: the affine map; its offset plays no part.
        seed: of the starting vectors.
        failure: allowed probability that a probabilistic upper end is wrong; `result.upper.failure` says what
            was used.
        memory: what the Lanczos vectors may take; a share of what is available if None.
        progress: called with (steps done, steps at most), also before the first one while the upper end is sought.

    Raises:
        InputError: if the weights are not finite, `failure` is no probability or two vectors exceed the memory.

    Example:
        >>> from bounds.network.operators import Linear
        >>> weight = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
        >>> norm = operator_norm(Segment("fc", (Linear((2,), weight),)))
        >>> round(norm.lower.value, 6), round(norm.upper.value, 6), norm.upper.how
        (4.0, 4.0, 'dense SVD')
    """
    if not 0 < failure < 1:
        raise InputError(f"operator norm: the failure probability must be between 0 and 1, not {failure}")
    if min(segment.d_in, segment.d_out) <= DENSE_SIDE and segment.d_in * segment.d_out <= _DENSE_ENTRIES:
        return dense_norm(_finite(_matrix(segment), segment.name))
    return _matrix_free(segment, seed, failure, memory, progress)


def norm_work(segment: Segment) -> float:
    """Multiply-adds that the operator norm of a segment takes, roughly and at most.

    >>> from bounds.network.operators import Linear
    >>> norm_work(Segment("fc", (Linear((10,), torch.ones(10, 10).double()),)))
    7000.0
    """
    small, large = sorted((segment.d_in, segment.d_out))
    if small <= DENSE_SIDE and small * large <= _DENSE_ENTRIES:
        return float(small * segment.products + 2 * small**2 * (large + 2 * small))
    symbol = 0.0 if segment.kernel is None else symbol_work(segment.kernel)
    return symbol + 4.0 * _STEPS * segment.products + 2.0 * _STEPS**2 * small


def _finite(values: Tensor, name: str) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise InputError(f"{name}: its weights are not all finite")
    return values


def _matrix(segment: Segment) -> Tensor:
    """W or its transpose, built from the images of the basis vectors of the smaller side."""
    forward, _, shape = _from_smaller_side(segment)
    basis = torch.eye(math.prod(shape), dtype=torch.float64)
    return forward(basis.reshape(-1, *shape)).flatten(1)


def _matrix_free(
    segment: Segment,
    seed: int,
    failure: float,
    memory: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TwoSided:
    report = progress or (lambda done, total: None)
    forward, backward, shape = _from_smaller_side(segment)
    dimension = math.prod(shape)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(2, dimension, generator=generator, dtype=torch.float64)
    # the unit in which W^T W neither under- nor overflows
    unit = float(_finite(forward(start.reshape(-1, *shape)), segment.name).abs().max())
    if unit == 0.0:  # a Gaussian vector is in the kernel of W with probability 0 unless W = 0
        return TwoSided(Lower(0.0, "W = 0"), Upper(0.0, "W = 0"))

    def gram(vectors: Tensor) -> Tensor:
        return (backward(forward(vectors.reshape(-1, *shape)) / unit) / unit).flatten(1)

    at_most = min(dimension, _STEPS, max(2, _BASIS_ENTRIES // (2 * dimension)))
    what = f"a pair of Lanczos vectors of {segment.name}"
    steps = (memory or Budget.available()).pieces(2 * NUMBER * dimension, at_most, what)
    deterministic = deterministic_upper(segment, lambda: report(0, steps))
    for krylov in lanczos(gram, start, steps, generator):
        k = krylov.alpha.shape[1]
        report(k, steps)
        exhausted = bool((krylov.beta[:, -1] == 0).all())
        if k % 10 and k < steps and not exhausted:
            continue
        probable = outwards(unit * math.sqrt(largest_eigenvalue_upper(krylov, dimension, failure)))
        vector = _ritz_vector(krylov).reshape(1, *shape)
        stretch = unit * float((forward(vector) / unit).norm() / vector.norm())
        if exhausted or min(probable, deterministic.value) <= _RATIO * stretch:
            break
    found = Upper(probable, f"Lanczos, {k} steps (L7.2)", failure)
    upper = deterministic if deterministic.value <= probable else found
    # Where taps cancel, the image itself is off by an absolute error.
    cancelled = 0.0 if segment.kernel is None else symbol_rounding(segment.kernel.weight, segment.kernel.dilation)
    lower = max(0.0, stretch * (1 - ROUNDING) - math.sqrt(segment.d_out) * cancelled)
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
