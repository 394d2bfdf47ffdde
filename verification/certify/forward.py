"""Outputs at many inputs, with one bound of the rounding error for all of them: an order faster than intervals.

The network runs as it is. Beside it goes a bound e of |computed - exact|, unit by unit, from the largest absolute value
that any of the inputs gives each unit: through a segment e <- |W| e + gamma·magnitude (rounding.py), through an
activation e <- rho·e + what its evaluation loses, and a max-pool passes the largest e of its window.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.budget import COMFORTABLE
from bounds.network import Segment, TracedNetwork
from bounds.network.nodes import Add, Concatenate, Input
from bounds.network.nonlinear import Activation, MaxPool, Nonlinear
from verification.certify.costs import Costs
from verification.certify.enclosure import Interval, refuse_opaque
from verification.certify.lines import evaluation_error
from verification.certify.rounding import UNDERFLOW, absolute, gamma, magnitude, sums

TOGETHER = 128  # samples that share a bound

# Computed values of a node, (n, *shape), and a bound of their errors, (1, *shape).
Rounded = tuple[Tensor, Tensor]


def outputs(network: TracedNetwork, x: Tensor) -> Interval:
    """Intervals of the outputs at some inputs.

    Args:
        network: without opaque layers.
        x: inputs, (n, *input_shape).

    Returns:
        Lower and upper ends, (n, K).

    Raises:
        InputError: if the network has an opaque layer.

    >>> from bounds.network import trace
    >>> model = torch.nn.Linear(1, 2, bias=False)
    >>> model.weight.data = torch.tensor([[3.0], [-1.0]])
    >>> low, high = outputs(trace(model, torch.zeros(1, 1)), torch.ones(1, 1))
    >>> low.round(decimals=9), bool((high - low < 1e-12).all())
    (tensor([[ 3., -1.]], dtype=torch.float64), True)
    """
    refuse_opaque(network)
    at_once = max(1, min(TOGETHER, COMFORTABLE // (Costs(network).state // 4)))
    low, high = zip(*(_outputs(network, part) for part in x.split(at_once)), strict=True)
    return torch.cat(low), torch.cat(high)


def _outputs(network: TracedNetwork, x: Tensor) -> Interval:
    values: list[Rounded] = []
    for node in network.nodes:
        operation, sources = node.operation, [values[source] for source in node.inputs]
        if isinstance(operation, Input):
            values.append((x.double(), torch.zeros(1, *network.input_shape, dtype=torch.float64)))
        elif isinstance(operation, Segment):
            values.append(_segment(operation, *sources[0]))
        elif isinstance(operation, Nonlinear):
            here = sources[0]
            for part in operation.parts:
                here = _activation(part, *here) if isinstance(part, Activation) else _pool(part, *here)
            values.append(here)
        elif isinstance(operation, Add):
            values.append(_sum(operation, *sources))
        else:
            assert isinstance(operation, Concatenate)
            branches, errors = zip(*sources, strict=True)
            values.append((operation(*branches), operation(*errors)))
    computed, error = values[-1]
    error = error + sums(2) * (computed.abs() + error)
    return computed - error, computed + error


def _segment(segment: Segment, computed: Tensor, error: Tensor) -> Rounded:
    size = _largest(computed)
    return segment(computed), (absolute(segment, error) + gamma(segment) * magnitude(segment, size)) * (1 + sums(2))


def _activation(phi: Activation, computed: Tensor, error: Tensor) -> Rounded:
    value = phi(computed)
    low, high = computed.amin(0, keepdim=True) - error, computed.amax(0, keepdim=True) + error
    lost = phi.facts.rho * error + 2 * evaluation_error(phi, _largest(value), low, high)
    return value, lost * (1 + sums(4)) + UNDERFLOW * (lost > 0)


def _pool(pool: MaxPool, computed: Tensor, error: Tensor) -> Rounded:
    return pool(computed), pool(error)


def _sum(join: Add, left: Rounded, right: Rounded) -> Rounded:
    scaled = abs(join.coefficient) * (_largest(right[0]) + right[1])
    error = left[1] + abs(join.coefficient) * right[1] + sums(2) * (_largest(left[0]) + left[1] + scaled)
    return join(left[0], right[0]), error * (1 + sums(4))


def _largest(computed: Tensor) -> Tensor:
    """The largest absolute value of each unit over the inputs, (1, *shape)."""
    return computed.abs().amax(0, keepdim=True)
