"""Intervals that contain every value of a network over an attack set, node by node."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bounds.budget import COMFORTABLE
from bounds.errors import InputError
from bounds.network import Segment, TracedNetwork
from bounds.network.nodes import Add, Concatenate, Input
from bounds.network.nonlinear import Activation, Nonlinear
from bounds.network.obstacles import why_not_bounded
from verification.attack_set import AttackSet
from verification.certify import lines, max_pool
from verification.certify.costs import Costs
from verification.certify.rounding import absolute, centred, gamma, magnitude, outwards, sums
from verification.certify.work import Work

Interval = tuple[Tensor, Tensor]


@dataclass(eq=False)
class Enclosure:
    """Sound intervals of every value of the network for x + delta, delta in the set, rounding included.

    Attributes:
        network: the network.
        attack_set: the set of perturbations.
        x: inputs, (n, *input_shape), float64.
        values: per node, the interval of its output, (n, *shape).
        parts: per (node, part) of a nonlinearity, the interval of that part's input.
        magnitudes: per segment, the largest sums of absolute terms in it (rounding.magnitude).
        work: what passes through the network may hold, and whom they tell.
    """

    network: TracedNetwork
    attack_set: AttackSet
    x: Tensor
    values: list[Interval] = field(default_factory=list)
    parts: dict[tuple[int, int], Interval] = field(default_factory=dict)
    magnitudes: dict[int, Tensor] = field(default_factory=dict)
    work: Work = field(default_factory=Work)

    @property
    def widest(self) -> int:
        """Units of the widest node."""
        return max(map(math.prod, self.network.shapes))

    def rows_at_once(self, width: int) -> int:
        """How many functions with that many coefficients per sample to hold at a time."""
        return self.work.rows(len(self.x), width)

    def by_rows(self, rows: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
        """What `work` makes, (n, rows), of functions of a node's value, as many at a time as may be held.

        Args:
            rows: their coefficients, (n or 1, rows, *shape).
            work: from some of the rows to their results; pulls them back through the network.
        """
        return torch.cat([work(part) for part in rows.split(self.rows_at_once(self.widest), dim=1)], dim=1)

    def largest(self, node: int) -> Tensor:
        """Upper bounds of |value| of a node, flattened: (n, units)."""
        low, high = self.values[node]
        return torch.maximum(low.abs(), high.abs()).flatten(1)

    def at_x(self) -> Enclosure:
        """The enclosure of the inputs alone, without perturbation."""
        return enclose(self.network, self.x, AttackSet(self.attack_set.norm, 0.0), work=self.work)

    def subset(self, samples: Tensor) -> Enclosure:
        """The enclosure of some of the samples, by position or mask."""
        return Enclosure(
            self.network,
            self.attack_set,
            self.x[samples],
            [(low[samples], high[samples]) for low, high in self.values],
            {key: (low[samples], high[samples]) for key, (low, high) in self.parts.items()},
            {node: sizes[samples] for node, sizes in self.magnitudes.items()},
            self.work,
        )


# Given an unfinished enclosure and a node that a nonlinearity reads: a tighter interval for that node.
Tighten = Callable[[Enclosure, int], Interval]


def refuse_opaque(network: TracedNetwork) -> None:
    """Raises for a network with layers whose formula is not known.

    Raises:
        InputError: naming the layers.
    """
    why_not = why_not_bounded(network.nodes)
    if why_not is not None:
        raise InputError(f"certificates are not available: {why_not}")


def enclose(
    network: TracedNetwork,
    x: Tensor,
    attack_set: AttackSet,
    tighten: Tighten | None = None,
    work: Work | None = None,
) -> Enclosure:
    """Interval propagation through the network, in the order of execution.

    Args:
        network: without opaque layers.
        x: inputs, (n, *input_shape), input units.
        attack_set: the perturbations.
        tighten: called at every node that a nonlinearity reads, for a better interval than the propagated one.
        work: what passes through the network may hold, and whom they tell.

    Raises:
        InputError: if the network has an opaque layer, or an input lies outside the box.
    """
    refuse_opaque(network)
    x = x.double()
    read = {node.inputs[0] for node in network.nodes if isinstance(node.operation, Nonlinear)}
    found = Enclosure(network, attack_set, x, work=work or Work())
    for position, node in enumerate(network.nodes):
        found.work.tell(f"enclosing {node.name}")
        interval = _image(found, position)
        found.values.append(interval)
        if tighten is not None and position in read and not isinstance(node.operation, Input):
            low, high = tighten(found, position)
            found.values[position] = (torch.maximum(interval[0], low), torch.minimum(interval[1], high))
    return found


def outputs_at(network: TracedNetwork, x: Tensor) -> Interval:
    """The interval of the outputs at some inputs, without perturbation, a few samples at a time; (n, K) each."""
    at_once = max(1, COMFORTABLE // (2 * Costs(network).state))
    parts = [enclose(network, inputs, AttackSet("linf", 0.0)).values[-1] for inputs in x.split(at_once)]
    low, high = zip(*parts, strict=True)
    return torch.cat(low), torch.cat(high)


def _image(found: Enclosure, position: int) -> Interval:
    """The interval of a node's output from those of its inputs."""
    node = found.network.nodes[position]
    operation, sources = node.operation, [found.values[source] for source in node.inputs]
    if isinstance(operation, Input):
        return _at_the_input(found)
    if isinstance(operation, Segment):
        return _through_segment(found, position, operation, sources[0])
    if isinstance(operation, Nonlinear):
        interval = sources[0]
        for number, part in enumerate(operation.parts):
            found.parts[position, number] = interval
            image = lines.image if isinstance(part, Activation) else max_pool.image
            interval = image(part, *interval)  # type: ignore[arg-type]
        return interval
    if isinstance(operation, Add):
        (low, high), (other_low, other_high) = sources[0], sources[1]
        scaled = operation.coefficient * other_low, operation.coefficient * other_high
        lower, upper = torch.minimum(*scaled), torch.maximum(*scaled)
        slack_below, slack_above = sums(4) * (low.abs() + lower.abs()), sums(4) * (high.abs() + upper.abs())
        return low + lower - slack_below, high + upper + slack_above
    assert isinstance(operation, Concatenate)
    lows, highs = zip(*sources, strict=True)
    return operation(*lows), operation(*highs)


def _at_the_input(found: Enclosure) -> Interval:
    """x + delta, from x and not from `reach`, which rounds inwards at the walls of the box."""
    x, attack_set = found.x, found.attack_set
    attack_set.limits(x)  # refuses inputs outside the box
    if attack_set.eps == 0:
        return x, x
    low, high = outwards(x - attack_set.eps, x + attack_set.eps)
    if attack_set.box is None:
        return low, high
    return low.clamp(*attack_set.box), high.clamp(*attack_set.box)


def _through_segment(found: Enclosure, position: int, segment: Segment, interval: Interval) -> Interval:
    centre, radius = centred(*interval)
    found.magnitudes[position] = magnitude(segment, centre.abs() + radius)
    middle = segment(centre)
    away = absolute(segment, radius) + gamma(segment) * found.magnitudes[position]
    return outwards(middle - away, middle + away)
