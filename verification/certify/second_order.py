"""The robust loss to second order: the first-order value at x and a bound of what is left (theory L2.4, L2.5).

Two bounds of how much linear functions <a, z> of the logits grow over the attack set:

Norms, for chains (L2.5). J is Lambda-Lipschitz in operator norm on the (convex) set, so with r_2 = max ‖delta‖_2 over
it, growth <= max <J^T a, delta> + ‖a‖_2 Lambda r_2^2 / 2. Lambda is theory's constant with what the set's intervals
allow: with rho_k and beta_k the largest |phi'| and |phi''| over the units' intervals, the derivative of h_{k+1} =
W_{k+1} phi(h_k) has norm P_{k+1} <= s_{k+1} rho_k P_k and Lipschitz constant Lambda_{k+1} <= s_{k+1} (rho_k Lambda_k +
beta_k P_k^2), since the slopes phi'(h_k) of two points differ by at most beta_k P_k times their distance; P_1 = s_1,
Lambda_1 = 0.

Units (our derivation). The finite differences of a unit obey phi(h + g) - phi(h) = D g with |D - phi'(h)| at most half
of sup |phi''| |g|: tangents (tangents.py) with slopes centred at x. The remainder is 1/2 sum_u |A_u| beta_u r_u^2 with
A = d<a, z>/dz_u at x, and |g_u| <= r_u.

From these to the robust loss. Each z_k - z_y grows by at most its bound. Or as a whole: with Delta_k the growth of
z_k - z_y and p the probabilities at x, R = loss + log sum_k p_k exp(Delta_k), and by Hoeffding's lemma

    R <= loss + max sum_k p_k Delta_k + (max Delta - min Delta)^2 / 8,   max Delta - min Delta <= sqrt(2) sup‖J‖_2 r_2,

which is at most L2.4 with nu = sup ‖J‖_2^2 / 2 + sqrt(2) Lambda.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.network import Segment, TracedNetwork
from bounds.network.nonlinear import Activation, Nonlinear
from bounds.network.obstacles import why_not_bounded
from verification.certify.certificate import loss_of_lead
from verification.certify.derivative_interval import reach
from verification.certify.enclosure import Enclosure
from verification.certify.jacobian_range import (
    finished,
    growth_by_interval,
    jacobian_interval,
    largest_norm,
    spectral_norm,
)
from verification.certify.lines import curvature, derivative_range
from verification.certify.rivals import all_classes, margin_rows
from verification.certify.rounding import UNDERFLOW, centred, sums
from verification.certify.tangents import Tangents, moves, tangents

ROOT_TWO = math.nextafter(math.sqrt(2), 2)
PROBABILITY_STEP = 2.0**-50  # sums of multiples of it up to 1 are exact


def why_not_second_order(network: TracedNetwork) -> str | None:
    """Why there is no second-order bound; None where there is one: every nonlinearity must have a Lipschitz derivative.

    >>> from bounds.network import trace
    >>> relu = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    >>> why_not_second_order(trace(relu, torch.zeros(1, 2)))
    'relu after layer 0: relu has no Lipschitz derivative'
    """
    if (why_not := why_not_bounded(network.nodes)) is not None:
        return why_not
    for node in network.nodes:
        operation = node.operation
        for part in operation.parts if isinstance(operation, Nonlinear) else ():
            if not isinstance(part, Activation) or part.facts.beta is None:
                key = part.key if isinstance(part, Activation) else "max-pool"
                return f"{operation.name}: {key} has no Lipschitz derivative"
    return None


def second_order(enclosure: Enclosure, y: Tensor, s_upper: Sequence[float] | None = None) -> Tensor:
    """Upper bound of the robust cross-entropy, (n,), nats, rounded upwards: the smallest that L2.4 and L2.5 give.

    Args:
        enclosure: intervals of a network for which `why_not_second_order` has no objection.
        y: labels, (n,).
        s_upper: certified upper ends of the operator norms of a chain's layers; None leaves out the bounds by norms.

    Raises:
        InputError: if the network is not smooth, or the number of norms is not its depth.

    >>> from bounds.network import trace
    >>> from verification.attack_set import AttackSet
    >>> from verification.certify.enclosure import enclose
    >>> model = torch.nn.Linear(1, 2, bias=False)
    >>> model.weight.data = torch.tensor([[0.0], [1.0]])
    >>> x = torch.zeros(1, 1)
    >>> found = second_order(enclose(trace(model, x), x, AttackSet("l2", 0.5)), torch.tensor([0]), [1.0])
    >>> round(found.item(), 9), round(math.log(1 + math.exp(0.5)), 9)
    (0.974076984, 0.974076984)
    """
    network, classes = enclosure.network, enclosure.network.outputs
    why_not = why_not_second_order(network)
    if why_not is not None:
        raise InputError(f"no second-order bound: {why_not}")
    at_x = enclosure.at_x()
    rivals = margin_rows(y, all_classes(enclosure), classes)
    mean, off = _mean_row(at_x, y)
    rows = torch.cat([rivals, -rivals, mean], dim=1)
    growths = [_differences(enclosure, at_x).largest(rows)]
    if s_upper is not None:
        growths.append(_growth_by_norms(enclosure, at_x, rows, s_upper))

    low, high = at_x.values[-1]
    lead = low.gather(1, y[:, None]) - high
    lead = (lead - sums(2) * lead.abs()).scatter(1, y[:, None], 0.0)  # z_y - z_k at x, from below
    logit_rows = torch.eye(classes, dtype=torch.float64).expand(len(y), -1, -1)
    widest = ROOT_TWO * spectral_norm(*jacobian_interval(enclosure, logit_rows)) * _radius(enclosure)
    losses = []
    for growth in growths:
        up, down, mean_up = finished(growth).split([classes, classes, 1], dim=1)
        moved = lead - up
        losses.append(loss_of_lead((moved - sums(2) * moved.abs()).scatter(1, y[:, None], 0.0)))
        swing = torch.minimum(up.amax(1) + down.amax(1), finished(widest))
        rest = mean_up[:, 0] + off * torch.maximum(up, down).amax(1) + swing.square() / 8
        losses.append((loss_of_lead(lead) + rest) * (1 + sums(16)))
    return finished(torch.stack(losses)).amin(0)


def _mean_row(at_x: Enclosure, y: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients sum_k p_k (e_k - e_y), (n, 1, K), and a bound of sum_k |p_k - probability of k at x|, (n,).

    Logits within r of the ones used change every probability by a factor within exp(±2r), which is at most 4r in
    total (two distributions are at most 2 apart); softmax rounds the exponents, K + 4 more times, and to a grid on
    which the label's coefficient is exact.
    """
    logits, radius = centred(*at_x.values[-1])
    classes = logits.shape[1]
    p = (torch.softmax(logits, 1) / PROBABILITY_STEP).round() * PROBABILITY_STEP
    p = p.scatter(1, y[:, None], 0.0)
    row = p.scatter(1, y[:, None], -p.sum(1, keepdim=True))
    span = logits.amax(1) - logits.amin(1)
    return row[:, None], 4 * radius.amax(1) + sums(1) * span + sums(classes + 8) + classes * PROBABILITY_STEP


def _differences(enclosure: Enclosure, at_x: Enclosure) -> Tangents:
    """The finite differences from x, with slopes centred at x."""

    def slopes(phi: Activation, key: tuple[int, int], size: Tensor) -> tuple[Tensor, Tensor]:
        middle, radius = centred(*derivative_range(phi, *at_x.parts[key]))
        smallest, largest = derivative_range(phi, *enclosure.parts[key])
        by_curvature = radius + curvature(phi, *enclosure.parts[key]) * size / 2
        by_range = torch.maximum(largest - middle, middle - smallest)
        return middle, torch.minimum(by_curvature, by_range) * (1 + sums(4)) + UNDERFLOW

    return tangents(enclosure, enclosure.attack_set, moves(enclosure, at_x), slopes)


def _growth_by_norms(enclosure: Enclosure, at_x: Enclosure, rows: Tensor, s_upper: Sequence[float]) -> Tensor:
    """First order at x and the remainder ‖a‖_2 Lambda r_2^2 / 2 for the rows a, whose norms are at most sqrt(2)."""
    at_x = replace(at_x, attack_set=enclosure.attack_set)  # intervals at x, directions of the set
    first_order = growth_by_interval(at_x, rows)
    remainder = ROOT_TWO / 2 * jacobian_lipschitz(enclosure, s_upper) * _radius(enclosure).square()
    return (first_order + remainder[:, None]) * (1 + sums(6))


def jacobian_lipschitz(enclosure: Enclosure, s_upper: Sequence[float]) -> Tensor:
    """Lambda: how fast J changes in operator norm, at most, between points of the attack set (L2.5, local constants).

    Args:
        enclosure: intervals of a smooth chain.
        s_upper: certified upper ends of the operator norms of its layers.

    Returns:
        (n,), float64, rounded upwards.

    Raises:
        InputError: if the number of norms is not the depth, or the network is not a chain.

    >>> from bounds.network import trace
    >>> from verification.attack_set import AttackSet
    >>> from verification.certify.enclosure import enclose
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Tanh(), torch.nn.Linear(1, 2))
    >>> x = torch.zeros(1, 1)
    >>> everywhere = enclose(trace(model, x), x, AttackSet("l2", 1e3))
    >>> round(jacobian_lipschitz(everywhere, [2.0, 3.0]).item(), 6)  # 3 beta 2^2, beta = 4/(3 sqrt 3)
    9.237604
    """
    network = enclosure.network
    if len(s_upper) != len(network.chain) // 2 + 1:
        raise InputError(f"{len(s_upper)} operator norms given for {len(network.segments)} layers")
    norms = iter(s_upper)
    norm, lipschitz = torch.ones(2, len(enclosure.x), dtype=torch.float64) * torch.tensor([[1.0], [0.0]])
    for position, node in enumerate(network.nodes):
        if isinstance(node.operation, Segment):
            s = next(norms)
            norm, lipschitz = norm * s, lipschitz * s
        for number, part in enumerate(node.operation.parts if isinstance(node.operation, Nonlinear) else ()):
            assert isinstance(part, Activation)
            interval = enclosure.parts[position, number]
            rho = torch.stack(derivative_range(part, *interval)).abs().amax(0).flatten(1).amax(1)
            beta = curvature(part, *interval).flatten(1).amax(1)
            norm, lipschitz = rho * norm, rho * lipschitz + beta * norm.square()
    constant: Tensor = lipschitz * (1 + sums(8 * len(network.nodes)))
    return constant


def _radius(enclosure: Enclosure) -> Tensor:
    """Upper bound of ‖delta‖_2 over the attack set, (n,)."""
    low, high = reach(enclosure.attack_set, enclosure.x)
    radius = largest_norm(torch.maximum(-low, high).flatten(1))
    return radius.clamp(max=enclosure.attack_set.eps) if enclosure.attack_set.p <= 2 else radius
