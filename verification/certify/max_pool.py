"""Max-pooling over intervals: linear bounds of each window's largest entry, its range, and who can be the largest.

A window's output y is at least every tap. With i the tap of the largest upper end u, l its lower end and b the largest
upper end of the other taps, but at least l, y <= max(h_i, b). This is convex in h_i and so below the chord from (l, b)
to (u, u). Where b = l nobody else can win and the chord is y = h_i. Of the bounds c + sum_j max(h_j - c, 0), every term
replaced by its chord, none is lower in the middle of the box (ours).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.network.nonlinear import MaxPool
from verification.certify.lines import ordered
from verification.certify.rounding import UNDERFLOW, sums


@dataclass(frozen=True)
class PoolRelaxation:
    """h[below] <= y <= slope h[above] + intercept for every window, with all fields (n, channels, windows).

    Attributes:
        pool: the max-pool.
        below: flat position, within its channel, of the tap that the output is at least.
        above: that of the tap in the bound above.
        slope: in [0, 1].
        intercept: rounded upwards; 0 where the tap surely wins.
    """

    pool: MaxPool
    below: Tensor
    above: Tensor
    slope: Tensor
    intercept: Tensor

    def pull_back_lower(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """A lower bound of <coefficients, y> that is linear in the pool's input, before rounding.

        Args:
            coefficients: (n, rows, *out_shape).

        Returns:
            The bound's coefficients, (n, rows, *in_shape), and constants, (n, rows). Side: lower.
        """
        shape, in_shape = coefficients.shape[:2], self.pool.in_shape
        coefficients = coefficients.flatten(3)  # (n, rows, channels, windows)
        positive = coefficients.clamp(min=0)
        negative = coefficients - positive
        pulled = coefficients.new_zeros(*shape, in_shape[0], math.prod(in_shape[1:]))
        pulled = pulled.scatter_add(3, self.below[:, None].expand_as(positive), positive)
        pulled = pulled.scatter_add(3, self.above[:, None].expand_as(negative), negative * self.slope[:, None])
        return pulled.reshape(*shape, *in_shape), (negative * self.intercept[:, None]).sum((2, 3))


def relax(pool: MaxPool, low: Tensor, high: Tensor) -> PoolRelaxation:
    """Linear bounds of a max-pool whose input is in an interval.

    Args:
        pool: the max-pool.
        low: lower ends, (n, *in_shape).
        high: upper ends; where the bound is not finite the output is only bounded by a constant.

    Raises:
        InputError: if an interval is empty.

    >>> pool = MaxPool((1, 2), (2,), (2,), (0,), (1,), ceil_mode=False)
    >>> bounds = relax(pool, torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[3.0, 2.0]]]))
    >>> bounds.below.item(), bounds.above.item(), round(bounds.slope.item(), 9), round(bounds.intercept.item(), 9)
    (1, 0, 0.333333333, 2.0)
    """
    taps, inside = pool.windows
    lows, highs = _taps(pool, low, high)
    lowest = torch.finfo(torch.float64).min  # a tap that is not bounded below comes before padding
    below = torch.where(inside, lows.clamp(min=lowest), -math.inf).argmax(3)
    u, above = highs.max(3)
    l = lows.gather(3, above[..., None])[..., 0]  # noqa: E741
    b = torch.maximum(l, highs.scatter(3, above[..., None], -math.inf).amax(3))

    certain = b == l
    slope = torch.where(certain, 1.0, (u - b) / (u - l))
    slack = sums(2) * (b.abs() + u.abs() + slope * torch.maximum(u.abs(), l.abs())) + UNDERFLOW
    intercept = torch.where(certain, 0.0, torch.maximum(b - slope * l, u - slope * u) + slack)
    bounded = (slope + intercept).isfinite()
    slope, intercept = torch.where(bounded, slope, 0.0), torch.where(bounded, intercept, u)
    return PoolRelaxation(pool, _positions(taps, below), _positions(taps, above), slope, intercept)


def image(pool: MaxPool, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The interval of a max-pool's output, exact.

    Args:
        pool: the max-pool.
        low: lower ends, (n, *in_shape).
        high: upper ends.

    Raises:
        InputError: if an interval is empty.

    >>> pool = MaxPool((1, 2), (2,), (2,), (0,), (1,), ceil_mode=False)
    >>> [end.item() for end in image(pool, torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[3.0, 2.0]]]))]
    [1.0, 3.0]
    """
    low, high = ordered(low, high)
    return pool(low), pool(high)


def rivals(pool: MaxPool, low: Tensor, high: Tensor) -> Tensor:
    """Which taps can be the largest of their window; padding never is.

    Args:
        pool: the max-pool.
        low: lower ends, (n, *in_shape).
        high: upper ends.

    Returns:
        (n, channels, windows, taps), bool, in the order of `MaxPool.windows`; a tie counts for all.

    Raises:
        InputError: if an interval is empty.

    >>> pool = MaxPool((1, 3), (3,), (3,), (1,), (1,), ceil_mode=False)
    >>> rivals(pool, torch.tensor([[[0.0, 4.0, 0.0]]]), torch.tensor([[[3.0, 5.0, 0.0]]]))
    tensor([[[[False, False,  True]]]])
    """
    lows, highs = _taps(pool, low, high)
    return (highs >= lows.amax(3, keepdim=True)) & pool.windows[1]


def _taps(pool: MaxPool, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of every window's taps, (n, channels, windows, taps); those of padding are -inf."""
    taps, inside = pool.windows
    lows, highs = (torch.where(inside, end.flatten(2)[:, :, taps], -math.inf) for end in ordered(low, high))
    return lows, highs


def _positions(taps: Tensor, chosen: Tensor) -> Tensor:
    """Flat positions, (n, channels, windows), of one tap of each window."""
    return taps.expand(*chosen.shape, -1).gather(3, chosen[..., None])[..., 0]
