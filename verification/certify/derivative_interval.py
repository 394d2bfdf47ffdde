"""Derivatives of a network over an attack set in interval arithmetic, backwards and entry by entry.

Intervals travel as centre and radius. The slopes of a unit may be anything in their range over the unit's interval, and
a max-pool may weigh the taps that can win in any way (Clarke's derivative).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.network import Segment
from bounds.network.nodes import Add, Concatenate
from bounds.network.nonlinear import Activation, MaxPool, Nonlinear
from verification.attack_set import AttackSet
from verification.certify.enclosure import Enclosure, Interval
from verification.certify.lines import derivative_range
from verification.certify.max_pool import rivals
from verification.certify.rounding import UNDERFLOW, absolute, centred, gamma, outwards, sums


def pulled_back_interval(enclosure: Enclosure, coefficients: dict[int, Tensor]) -> Interval:
    """Sums of coefficients times the derivatives of nodes, at any points of the enclosure, entry by entry.

    Args:
        enclosure: intervals of a network without opaque layers.
        coefficients: by node, (n, rows, *shape).

    Returns:
        (n, rows, *input_shape), lower and upper ends.
    """
    nodes, some = enclosure.network.nodes, next(iter(coefficients.values()))
    pending = {node: (a, torch.zeros_like(a)) for node, a in coefficients.items()}  # centre and radius

    def give(source: int, centre: Tensor, radius: Tensor) -> None:
        if source in pending:
            other, other_radius = pending[source]
            sizes = centre.abs() + other.abs() + radius + other_radius
            centre, radius = centre + other, radius + other_radius + sums(2) * sizes + UNDERFLOW
        pending[source] = centre, radius

    for at in range(max(pending), 0, -1):
        if at not in pending:
            continue
        enclosure.work.tell(f"differentiating {nodes[at].name}")
        node, (centre, radius) = nodes[at], pending.pop(at)
        operation = node.operation
        if isinstance(operation, Segment):
            give(node.inputs[0], *_interval_segment(operation, centre, radius))
        elif isinstance(operation, Nonlinear):
            for number in reversed(range(len(operation.parts))):
                part, interval = operation.parts[number], enclosure.parts[at, number]
                step = _interval_activation if isinstance(part, Activation) else _interval_pool
                centre, radius = step(part, interval, centre, radius)  # type: ignore[arg-type]
            give(node.inputs[0], centre, radius)
        elif isinstance(operation, Add):
            give(node.inputs[0], centre, radius)
            scaled = operation.coefficient * centre
            radius = abs(operation.coefficient) * radius * (1 + sums(2)) + sums(1) * scaled.abs() + UNDERFLOW
            give(node.inputs[1], scaled, radius)
        else:
            assert isinstance(operation, Concatenate)
            lows = [low for low, _ in enclosure.values]
            branches = (split(operation, part, lows, node.inputs) for part in (centre, radius))
            for source, *branch in zip(node.inputs, *branches, strict=True):
                give(source, *branch)
    if 0 not in pending:  # the output does not depend on the input
        nothing = torch.zeros(*some.shape[:2], *enclosure.network.input_shape, dtype=torch.float64)
        return nothing, nothing
    centre, radius = pending[0]
    return outwards(centre - radius, centre + radius)


def support_of_interval(attack_set: AttackSet, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Largest <a, delta> for low <= a <= high and delta in the set: the smallest of three bounds.

    Coordinate by coordinate; the dual norm of the largest |a_i| of the signs that delta_i can have within the box; the
    support function of the middle and the dual norm of the radius.

    Args:
        attack_set: the set.
        x: inputs, (n, *shape).
        low: lower ends, (n, rows, *shape).
        high: upper ends.

    Returns:
        Upper bounds, (n, rows).
    """
    down, up = (end[:, None] for end in reach(attack_set, x))
    corners = torch.maximum(high * up, low * down).clamp(min=0).flatten(2)
    by_coordinate = corners.sum(2) * (1 + sums(corners.shape[2] + 2)) + UNDERFLOW
    ball, (lower, upper) = AttackSet(attack_set.norm, attack_set.eps), attack_set.reach(x)
    pushed = torch.maximum(torch.where(upper[:, None] > 0, high, 0.0), torch.where(lower[:, None] < 0, -low, 0.0))
    centre, radius = centred(low, high)
    by_middle = (attack_set.support(centre, x) + ball.support(radius, x)) * (1 + sums(2))
    return torch.stack([by_coordinate, ball.support(pushed.clamp(min=0), x), by_middle]).amin(0)


def absolute_adjoint(segment: Segment, a: Tensor) -> Tensor:
    """|W_1|^T ... |W_m|^T a for nonnegative coefficients a, (n, rows, *out_shape), rounded up."""
    zero = torch.zeros(a.shape[:2].numel(), *segment.in_shape, dtype=torch.float64)
    pulled: Tensor = torch.func.vjp(lambda size: absolute(segment, size), zero)[1](a.flatten(0, 1))[0]
    return pulled.reshape(*a.shape[:2], *segment.in_shape) * (1 + gamma(segment)) + UNDERFLOW


def reach(attack_set: AttackSet, x: Tensor) -> Interval:
    """Ends of the coordinates of delta, with the last digits that projections keep clear of."""
    return outwards(*attack_set.reach(x), roundings=4)


def split(join: Concatenate, a: Tensor, values: list[Tensor], inputs: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Coefficients (n, rows, *shape) of a concatenation, branch by branch; values are (n, *shape) at the nodes."""
    axis = join.axis if join.axis < 0 else join.axis + 1  # the rows come after the batch
    parts: tuple[Tensor, ...] = a.split([values[source].shape[join.axis] for source in inputs], dim=axis)
    return parts


def _interval_segment(segment: Segment, centre: Tensor, radius: Tensor) -> Interval:
    """W^T (centre ± radius): the new radius is |W|^T (radius + gamma |centre|), with the rounding of W^T centre."""
    total = (radius + gamma(segment) * centre.abs()) * (1 + sums(2)) + UNDERFLOW
    moved = segment.adjoint(centre.flatten(0, 1)).reshape(*centre.shape[:2], *segment.in_shape)
    return moved, absolute_adjoint(segment, total)


def _interval_activation(phi: Activation, interval: Interval, centre: Tensor, radius: Tensor) -> Interval:
    smallest, largest = (slope[:, None] for slope in derivative_range(phi, *interval))
    low, high = outwards(centre - radius, centre + radius)
    products = torch.stack([low * smallest, low * largest, high * smallest, high * largest])
    return centred(*outwards(products.amin(0), products.amax(0)))


def _interval_pool(pool: MaxPool, interval: Interval, centre: Tensor, radius: Tensor) -> Interval:
    """A tap that surely wins has the window's derivative; others that can win have a share of it between 0 and 1."""
    taps, can_win = pool.windows[0], rivals(pool, *interval)
    certain = (can_win.sum(3) == 1)[:, None]
    centre, radius = centre.flatten(3), radius.flatten(3)  # (n, rows, channels, windows)
    low, high = outwards(centre - radius, centre + radius)
    share, share_radius = centred(low.clamp(max=0), high.clamp(min=0))
    centre, radius = torch.where(certain, centre, share), torch.where(certain, radius, share_radius)
    # A unit is in up to `overlap` windows, whose derivatives are summed.
    radius = radius + sums(pool.overlap + 1) * (centre.abs() + radius)
    shape = (*centre.shape[:2], pool.in_shape[0], interval[0].flatten(2).shape[2])
    sums_of = [torch.zeros(shape, dtype=torch.float64) for _ in range(2)]
    for number, tap in enumerate(taps.T):
        wins = can_win[:, None, :, :, number]
        for total, part in zip(sums_of, (centre, radius), strict=True):
            total.index_add_(3, tap, torch.where(wins, part, 0.0))
    shape = (*centre.shape[:2], *pool.in_shape)
    return sums_of[0].reshape(shape), sums_of[1].reshape(shape) * (1 + sums(pool.overlap)) + UNDERFLOW
