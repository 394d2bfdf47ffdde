"""Radius of the linear piece around an input: inside it the network is exactly affine (theory L2.2)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.network import TracedNetwork
from bounds.network.nodes import Input, Opaque
from bounds.network.nonlinear import Activation, MaxPool, Nonlinear
from bounds.network.segment import Segment
from verification.attack_set import AttackSet

PIECEWISE_LINEAR = ("relu", "leaky_relu")
TANGENTS = 1024  # tangent vectors propagated at once: memory against speed


def why_not_piecewise_linear(network: TracedNetwork) -> str | None:
    """Why the network has no linear pieces that can be measured; None if it has."""
    for node in network.nodes:
        if isinstance(node.operation, Opaque):
            return f"{node.operation.name} is not a piecewise-linear operation that could be traced"
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
    lead of each winner over each of its rivals; a unit with zero gradient counts +inf; a unit on its kink
    gives 0.

    Args:
        network: every nonlinearity ReLU, leaky ReLU or max-pool; joins are fine.
        x: inputs, (n, *shape), input units.
        norm: the attack norm, "l2", "linf" or "l1".
        smallest: the smallest radius of interest, input units: a value below it may be too large, but not
            above it.
        progress: called with (samples done, samples).

    Returns:
        (n,), float64, input units; exact to rounding where not below `smallest`. +inf without nonlinearities.

    Raises:
        InputError: if the network is not piecewise linear; says why.
    """
    why_not = why_not_piecewise_linear(network)
    if why_not is not None:
        raise InputError(f"no linear pieces: {why_not}")
    q = AttackSet(norm, 0.0).q
    radii = []
    at_once = max(1, TANGENTS // x[0].numel())
    for start in range(0, len(x), at_once):
        radii.append(_chunk_radius(network, x[start : start + at_once].double(), q, smallest))
        if progress is not None:
            progress(min(start + at_once, len(x)), len(x))
    return torch.cat(radii)


def _chunk_radius(network: TracedNetwork, x: Tensor, q: float, smallest: float) -> Tensor:
    """Forward mode: a node's value h, (n, *shape), and its derivatives along the d inputs, (n·d, *shape)."""
    d = x[0].numel()
    identity = torch.eye(d, dtype=torch.float64).repeat(len(x), 1).reshape(-1, *x.shape[1:])
    values = [(x, identity)]
    radius = torch.full((len(x),), math.inf, dtype=torch.float64)
    for node in network.nodes:
        operation, sources = node.operation, [values[source] for source in node.inputs]
        if isinstance(operation, Input):
            continue
        if isinstance(operation, Segment):
            (h, tangent) = sources[0]
            values.append((operation(h), operation.linear(tangent)))
        elif isinstance(operation, Nonlinear):
            (h, tangent) = sources[0]
            for part in operation.parts:
                step = _activate if isinstance(part, Activation) else _pool
                h, tangent, here = step(part, h, tangent, q)  # type: ignore[arg-type]
                radius = torch.minimum(radius, here)
            values.append((h, tangent))
            if bool((radius <= smallest).all()):
                return radius
        else:  # a sum or concatenation acts on values and derivatives alike
            assert not isinstance(operation, Opaque)
            branches, tangents = zip(*sources, strict=True)
            values.append((operation(*branches), operation(*tangents)))
    return radius


def _distance(h: Tensor, tangent: Tensor, q: float) -> Tensor:
    """Smallest |h_u| / ‖∇h_u‖_q over the units u, per sample."""
    gradient = torch.linalg.vector_norm(tangent.reshape(len(h), -1, *h.shape[1:]), q, dim=1)
    return torch.where(gradient > 0, h.abs() / gradient, math.inf).flatten(1).amin(dim=1)


def _activate(activation: Activation, h: Tensor, tangent: Tensor, q: float) -> tuple[Tensor, Tensor, Tensor]:
    side = torch.where(h > 0, torch.ones_like(h), -torch.ones_like(h))
    slope = activation(side) * side  # phi(1) = 1, and -phi(-1) is the slope on the negative side
    by_sample = tangent.reshape(len(h), -1, *h.shape[1:])
    return activation(h), (by_sample * slope[:, None]).reshape(tangent.shape), _distance(h, tangent, q)


def _pool(pool: MaxPool, h: Tensor, tangent: Tensor, q: float) -> tuple[Tensor, Tensor, Tensor]:
    windows, valid = _windows(pool)
    h, tangent = h.flatten(2), tangent.flatten(2)
    candidates = h[:, :, windows].masked_fill(~valid, -math.inf)  # (n, channels, windows, taps)
    winner = windows.expand_as(candidates).gather(3, candidates.argmax(dim=3, keepdim=True))[..., 0]
    best = h.gather(2, winner)
    best_tangent = tangent.gather(2, winner.repeat_interleave(len(tangent) // len(h), dim=0))
    radius = torch.full((len(h),), math.inf, dtype=torch.float64)
    for rival, is_inside in zip(windows.T, valid.T, strict=True):
        lead, lead_tangent = best - h[:, :, rival], best_tangent - tangent[:, :, rival]
        lead_tangent = lead_tangent.masked_fill(~is_inside, 0.0)  # padding never wins
        radius = torch.minimum(radius, _distance(lead, lead_tangent, q))
    shape = pool.out_shape
    return best.reshape(-1, *shape), best_tangent.reshape(-1, *shape), radius


def _windows(pool: MaxPool) -> tuple[Tensor, Tensor]:
    """Flat input position of every tap of every window, and whether it is inside; (windows, taps)."""
    sizes, windows = pool.in_shape[1:], pool.out_shape[1:]
    index, valid = [], []
    for window in itertools.product(*(range(count) for count in windows)):
        taps = itertools.product(*(range(count) for count in pool.kernel_size))
        for tap in taps:
            position = [
                w * stride - padding + t * dilation
                for w, stride, padding, t, dilation in zip(
                    window, pool.stride, pool.padding, tap, pool.dilation, strict=True
                )
            ]
            inside = all(0 <= at < size for at, size in zip(position, sizes, strict=True))
            flat = 0
            for at, size in zip(position, sizes, strict=True):
                flat = flat * size + at
            index.append(flat if inside else 0)
            valid.append(inside)
    shape = (math.prod(windows), math.prod(pool.kernel_size))
    return torch.tensor(index).reshape(shape), torch.tensor(valid).reshape(shape)
