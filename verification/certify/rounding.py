"""What float64 rounding can do to a certificate: a priori bounds, derived and never guessed.

A sum of n products in floating-point arithmetic, in whatever order and with or without fused operations, errs by at
most gamma_n times the sum of the absolute products, gamma_n = n u / (1 - n u), u = 2^-53 (Higham, Accuracy and
Stability of Numerical Algorithms, 2nd ed., section 3.1). torch computes float64 convolutions on the processor as
matrix products (no Winograd or Fourier transforms), so every affine operation here is such a sum. A composition of
operations errs by the sum of their gammas times the composition of the operations' absolute values, and so does the
adjoint, applied to coefficients and paired with the same magnitudes. The gammas below are doubled, which pays for
their products, for (1 - n u) and for the rounding of the allowances themselves.

Underflow: in magnitudes every nonzero number counts as 2^-500 at least. Then no product of two of them underflows, a
magnitude is 0 exactly if all its terms are, and elsewhere gamma times it is far above what products lose that do
underflow, n·2^-1074 before they meet later weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.network.operators import Operation
from bounds.network.segment import Segment

UNIT = 2.0**-53
FLOOR = 2.0**-500
# What underflow may cost where no magnitude is at hand; far below anything that matters.
UNDERFLOW = 2.0**-900


def sums(terms: int) -> float:
    """Relative error of a sum of `terms` products, doubled.

    >>> sums(8) == 2.0**-49
    True
    """
    return 2.0 * terms * UNIT


def gamma(segment: Segment) -> float:
    """Bound of |computed - exact| per entry of W z + c, relative to `magnitude(segment, |z|)`.

    The same number bounds |<fl(W^T a), z> - <W^T a, z>| relative to <|a|, magnitude(segment, |z|)>.

    >>> from bounds.network.operators import Linear
    >>> weight = torch.ones(2, 3, dtype=torch.float64)
    >>> gamma(Segment("fc", (Linear((3,), weight),))) == sums(4)
    True
    """
    return sums(sum(operation.roundings for operation in segment.operations))


def absolute(segment: Segment, radius: Tensor) -> Tensor:
    """|W_m| ... |W_1| radius, rounded up: how far the output moves if the input moves by at most radius.

    Args:
        segment: operations W_1, ..., W_m; their absolute values are taken entry by entry, shifts are left out.
        radius: nonnegative, (n, *in_shape).
    """
    for operation in segment.operations:
        radius = _absolute(operation).linear(_floored(radius))
    return radius * (1 + gamma(segment))


def magnitude(segment: Segment, size: Tensor) -> Tensor:
    """The largest intermediate sums of absolute terms in W z + c for |z| <= size, rounded up; (n, *out_shape)."""
    for operation in segment.operations:
        size = _absolute(operation)(_floored(size))
    return size * (1 + gamma(segment))


def outwards(low: Tensor, high: Tensor, roundings: int = 2) -> tuple[Tensor, Tensor]:
    """An interval widened by the given number of roundings of its ends; an end that is 0 stays.

    Sums whose result is small are exact, so that only products can underflow, and those are charged elsewhere.
    """
    return low - sums(roundings) * _floored(low.abs()), high + sums(roundings) * _floored(high.abs())


def centred(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """A centre and a radius whose interval contains [low, high]; radius 0 for a single point."""
    centre = (low + high) / 2
    radius = torch.maximum(high - centre, centre - low)
    widened = radius + sums(2) * _floored(radius + centre.abs())
    return centre, torch.where(low == high, 0.0, widened)


def _floored(size: Tensor) -> Tensor:
    """Nonnegative numbers, those that are not 0 at least FLOOR."""
    return torch.where(size > 0, size.clamp(min=FLOOR), size)


def _absolute(operation: Operation) -> Operation:
    """The operation with its weights' absolute values, floored."""
    return operation.reweighted(lambda weights: _floored(weights.abs()))
