"""Radius of the linear piece around an input: inside it the network is exactly affine (theory L2.2).

Rounding. A unit's value at x lies in an interval (enclosure.py); of this the end nearest to 0 is used. Gradients are
propagated forwards together with bounds e_u >= ‖computed - exact gradient of u‖_q. Through a segment these obey
e <- |W| (e + gamma ‖gradient‖_q), by the triangle inequality over the units that a unit reads. The quotient of the two,
|h| from below by ‖gradient‖ + e, is at most the exact distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.network import TracedNetwork
from bounds.network.nodes import Add, Input, Opaque
from bounds.network.nonlinear import Activation, MaxPool, Nonlinear
from bounds.network.obstacles import why_not_bounded
from bounds.network.segment import Segment
from verification.attack_set import AttackSet
from verification.certify.enclosure import Enclosure, Interval, enclose
from verification.certify.rounding import UNDERFLOW, absolute, gamma, sums

PIECEWISE_LINEAR = ("relu", "leaky_relu")
TANGENTS = 1024  # tangent vectors propagated at once: memory against speed
TINY = 2.0**-500  # more than a norm can lose to squares that underflow
CONSTANT = 2.0**-400  # a unit that moves by less per unit of delta is constant as far as any float64 number can tell

Gradient = tuple[Tensor, Tensor]  # of every unit along the d inputs, (n·d, *shape), and the bounds e, (n, *shape)


def why_not_piecewise_linear(network: TracedNetwork) -> str | None:
    """Why the network has no linear pieces that can be measured; None if it has."""
    if (why_not := why_not_bounded(network.nodes)) is not None:
        return why_not
    for node in network.nodes:
        if isinstance(node.operation, Nonlinear):
            for part in node.operation.parts:
                if isinstance(part, Activation) and part.key not in PIECEWISE_LINEAR:
                    return f"{node.operation.name}: {part.key} is not piecewise linear"
    return None


def linear_piece_radius(
    network: TracedNetwork,
    x: Tensor,
    norm: str,
    *,
    smallest: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """r(x) = min over hidden units u of |h_u(x)| / ‖∇_x h_u(x)‖_q (theory L2.2).

    For ‖delta‖_p <= r(x) no unit crosses its kink, so f(x + delta) = f(x) + J(x) delta. A max-pool counts the
    lead of each winner over each of its rivals; a unit with zero gradient counts +inf, and so do two that tie
    without gradients, such as the zeros behind a ReLU; another unit on its kink gives 0.

    Args:
        network: every nonlinearity ReLU, leaky ReLU or max-pool; joins are fine.
        x: inputs, (n, *shape), input units.
        norm: the attack norm, "l2", "linf" or "l1".
        smallest: the smallest radius of interest, input units: a value below it may be too large, but not
            above it.
        progress: called with (samples done, samples).

    Returns:
        (n,), float64, input units; a lower bound where not below `smallest`, rounding included, and exact up to it.
        +inf without nonlinearities.

    Raises:
        InputError: if the network is not piecewise linear; says why.

    >>> from bounds.network import trace
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.ReLU(), torch.nn.Linear(1, 2))
    >>> model[0].weight.data, model[0].bias.data = torch.tensor([[3.0, 4.0]]), torch.tensor([-5.0])
    >>> x = torch.tensor([[2.0, 0.0]])
    >>> round(linear_piece_radius(trace(model, x), x, "l2").item(), 12)
    0.2
    """
    why_not = why_not_piecewise_linear(network)
    if why_not is not None:
        raise InputError(f"no linear pieces: {why_not}")
    q = AttackSet(norm, 0.0).q
    radii = []
    at_once = max(1, TANGENTS // x[0].numel())
    for start in range(0, len(x), at_once):
        at_x = enclose(network, x[start : start + at_once], AttackSet(norm, 0.0))
        radii.append(_chunk_radius(at_x, q, smallest))
        if progress is not None:
            progress(min(start + at_once, len(x)), len(x))
    return torch.cat(radii)


def _chunk_radius(at_x: Enclosure, q: float, smallest: float) -> Tensor:
    """Forward mode, node by node."""
    n, d = len(at_x.x), at_x.x[0].numel()
    identity = torch.eye(d, dtype=torch.float64).repeat(n, 1).reshape(-1, *at_x.x.shape[1:])
    gradients: list[Gradient] = [(identity, torch.zeros_like(at_x.x))]
    radius = torch.full((n,), math.inf, dtype=torch.float64)
    for position, node in enumerate(at_x.network.nodes):
        operation, sources = node.operation, [gradients[source] for source in node.inputs]
        if isinstance(operation, Segment):
            (tangent, error) = sources[0]
            lost = absolute(operation, error + gamma(operation) * _sizes(tangent, n, q))
            gradients.append((operation.linear(tangent), lost))
        elif isinstance(operation, Nonlinear):
            gradient = sources[0]
            for number, part in enumerate(operation.parts):
                step = _activate if isinstance(part, Activation) else _pool
                here, gradient = step(part, at_x.parts[position, number], gradient, q)  # type: ignore[arg-type]
                radius = torch.minimum(radius, here)
            gradients.append(gradient)
            if bool((radius <= smallest).all()):
                return radius
        elif not isinstance(operation, Input):  # a sum or concatenation acts on values and derivatives alike
            assert not isinstance(operation, Opaque)
            tangents, errors = zip(*sources, strict=True)
            joined = operation(*tangents)
            if isinstance(operation, Add):
                errors = tuple(error + sums(2) * _sizes(tangent, n, q) for tangent, error in sources)
                operation = replace(operation, coefficient=abs(operation.coefficient))
            gradients.append((joined, operation(*errors) * (1 + sums(4)) + UNDERFLOW))
    return radius


def _sizes(tangent: Tensor, n: int, q: float) -> Tensor:
    """‖gradient‖_q of every unit from above, (n, *shape)."""
    by_sample = tangent.reshape(n, -1, *tangent.shape[1:])
    norms: Tensor = torch.linalg.vector_norm(by_sample, q, dim=1)
    return norms * (1 + sums(by_sample.shape[1] + 4)) + TINY


def _distance(low: Tensor, high: Tensor, moves: Tensor) -> Tensor:
    """Smallest |h_u| / ‖∇h_u‖_q over the units u, per sample, from below; `moves` bounds the gradients."""
    nearest = torch.maximum(low, -high).clamp(min=0)
    return torch.where(moves > CONSTANT, nearest / moves * (1 - sums(2)), math.inf).flatten(1).amin(dim=1)


def _activate(activation: Activation, interval: Interval, gradient: Gradient, q: float) -> tuple[Tensor, Gradient]:
    (low, high), (tangent, error) = interval, gradient
    n, size = len(low), _sizes(tangent, len(low), q)
    side = torch.where(low + high > 0, torch.ones_like(low), -torch.ones_like(low))
    slope = activation(side) * side  # phi(1) = 1, and -phi(-1) is the slope on the negative side
    by_sample = tangent.reshape(n, -1, *low.shape[1:]) * slope[:, None]
    lost = slope.abs() * (error + sums(1) * size) * (1 + sums(3)) + UNDERFLOW
    return _distance(low, high, size + error), (by_sample.reshape(tangent.shape), lost)


def _pool(pool: MaxPool, interval: Interval, gradient: Gradient, q: float) -> tuple[Tensor, Gradient]:
    windows, valid = pool.windows
    low, high, error = (part.flatten(2) for part in (*interval, gradient[1]))
    n, tangent = len(low), gradient[0].flatten(2)
    candidates = (low + high)[:, :, windows].masked_fill(~valid, -math.inf)  # (n, channels, windows, taps)
    winner = windows.expand_as(candidates).gather(3, candidates.argmax(dim=3, keepdim=True))[..., 0]
    best_low, best_high, best_error = (part.gather(2, winner) for part in (low, high, error))
    best_tangent = tangent.gather(2, winner.repeat_interleave(len(tangent) // n, dim=0))
    best_size = _sizes(best_tangent, n, q)
    radius = torch.full((n,), math.inf, dtype=torch.float64)
    for rival, is_inside in zip(windows.T, valid.T, strict=True):
        lead_low, lead_high = best_low - high[:, :, rival], best_high - low[:, :, rival]
        rounding = sums(2) * (lead_low.abs() + lead_high.abs()) + UNDERFLOW
        both = best_size + _sizes(tangent[:, :, rival], n, q) + best_error + error[:, :, rival]
        size = _sizes(best_tangent - tangent[:, :, rival], n, q) + sums(2) * both + best_error + error[:, :, rival]
        # Padding never wins, a unit is no rival of itself, and two constants stay apart or stay equal.
        counts = is_inside & (rival != winner) & (both > 4 * CONSTANT)
        distance = _distance(lead_low - rounding, lead_high + rounding, torch.where(counts, size, 0.0))
        radius = torch.minimum(radius, distance)
    shape = pool.out_shape
    return radius, (best_tangent.reshape(-1, *shape), best_error.reshape(-1, *shape))
