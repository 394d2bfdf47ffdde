"""How far losses and surrogates computed in float64 can be from the exact ones: interval arithmetic at a point."""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.budget import COMFORTABLE
from bounds.network import TracedNetwork
from bounds.network.nonlinear import Activation, Nonlinear
from verification.attack_set import AttackSet
from verification.certify.costs import Costs
from verification.certify.enclosure import Enclosure, enclose, outputs_at
from verification.certify.jacobian_range import jacobian_interval
from verification.certify.matrices import unit_vectors
from verification.certify.relaxation import PIECEWISE_LINEAR
from verification.certify.rounding import sums

CHUNK = 16  # samples whose interval Jacobians are held at a time


def loss_allowance(network: TracedNetwork, x: Tensor) -> Tensor:
    """Bound of |computed - exact| of the cross-entropy at x, (n,), nats.

    The interval of the logits for the perturbation 0 contains the exact logits and whatever float64 arithmetic makes of
    them; the loss moves by at most twice as much in the largest coordinate (theory L1.1).

    Args:
        network: without opaque layers.
        x: inputs, (n, *input_shape), of any values.

    Returns:
        Side: upper bound.
    """
    low, high = outputs_at(network, x)
    largest = torch.maximum(low.abs(), high.abs()).amax(dim=1)
    return 2 * (high - low).amax(dim=1) + sums(network.outputs + 10) * (1 + 2 * largest)


def slope_allowance(network: TracedNetwork, x: Tensor) -> Tensor:
    """Bound of |computed - exact| of every surrogate's slope c·N(J(x)), (n,), nats per input unit.

    The Jacobian's interval for the perturbation 0 has radii E that also bound what automatic differentiation loses. Of
    the table's rows none has a larger Lipschitz constant than 2 in the sum of |J_kj|; the gradient row adds the error
    of its softmax, and the norms themselves are sums of at most K d terms.

    Args:
        network: without opaque layers.
        x: inputs, (n, *input_shape).

    Returns:
        Side: upper bound.
    """
    at_once = max(1, min(CHUNK, COMFORTABLE // (2 * Costs(network).state)))
    return torch.cat([_slope_allowance(network, part) for part in x.split(at_once)])


def _slope_allowance(network: TracedNetwork, x: Tensor) -> Tensor:
    enclosure = enclose(network, x, AttackSet("linf", 0.0))
    _at_kinks_to_the_left(enclosure)
    lost, size = torch.zeros(2, len(x), dtype=torch.float64).unbind()
    for classes in torch.arange(network.outputs).split(enclosure.rows_at_once(enclosure.widest)):
        rows = unit_vectors(classes, network.outputs).expand(len(x), -1, -1)
        low, high = (end.flatten(1) for end in jacobian_interval(enclosure, rows))
        lost, size = lost + (high - low).sum(dim=1), size + torch.maximum(low.abs(), high.abs()).sum(dim=1)
    logits_lost = (enclosure.values[-1][1] - enclosure.values[-1][0]).amax(dim=1)
    return 2 * lost + (2 * sums(network.outputs * x[0].numel()) + 2 * logits_lost) * size


def _at_kinks_to_the_left(enclosure: Enclosure) -> None:
    """Units that are exactly 0 in any arithmetic (no bias, no input) have torch's slope at 0, the one on the left."""
    for (position, number), (low, high) in enclosure.parts.items():
        operation = enclosure.network.nodes[position].operation
        assert isinstance(operation, Nonlinear)
        part = operation.parts[number]
        if isinstance(part, Activation) and part.key in PIECEWISE_LINEAR:
            zero = (low == 0) & (high == 0)
            enclosure.parts[position, number] = low.masked_fill(zero, -1.0), high.masked_fill(zero, -1.0)
