"""Tangent networks over an attack set: what small changes become on their way through a network. Our derivation.

A tangent network maps t_0 = delta to t_i = D_i W_i t_{i-1}; of the diagonal slopes D_i only ranges mid ± rad are known.
Such networks describe

- the directional derivative J(xi) delta for every xi in the set, with D in the range of the units' derivatives;
- the finite difference f(x + delta) - f(x): by the mean value theorem, applied unit by unit, phi(h + g) - phi(h) = D g
  for a D in the same range.

Let |g_u| <= r_u for the tangents g = W t that enter the units. Coefficients A on a unit's output then obey
A D g <= (A mid) g + |A| rad r, so that pulling back through the slopes' middles, W^T and so on to the input, and adding
up the second terms,

    <A, t> <= max over delta of <A_0, delta> + sum over units of |A_u| rad_u r_u.

The r_u come from elsewhere, from |W| and the r before, or, where nothing else is known and a layer is narrow, from the
same formula with unit vectors for A. The tangent that leaves a max-pool is a mean of those of the taps that can win: if
that is one tap it passes, otherwise its coefficient is set to 0 and its remainder is |A| max r over those taps.

At any nonlinearity the rest of the way may be left to interval arithmetic (derivative_interval.py), which takes all
units at the same delta: far better for l1, whose delta moves few units much. Every such cut is tried.

Rounding. Pulling a through W^T in float64 changes <W^T a, t> by at most gamma·<|a|, |W||t|> (rounding.py) and |t| has
the bounds above; products with `mid` and sums at joins are charged likewise. All this goes into the remainder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bounds.network import Segment
from bounds.network.nodes import Add, Concatenate, Input
from bounds.network.nonlinear import Activation, MaxPool, Nonlinear
from verification.attack_set import AttackSet
from verification.certify.derivative_interval import pulled_back_interval, reach, split, support_of_interval
from verification.certify.enclosure import Enclosure, Interval
from verification.certify.matrices import unit_vectors
from verification.certify.max_pool import rivals
from verification.certify.rounding import UNDERFLOW, absolute, gamma, sums

NARROW = 512  # units of a layer up to which each gets a backward pass of its own

# Centre and radius of the slopes of a (node, part) for tangents that enter it with at most the given size.
Slopes = Callable[[Activation, tuple[int, int], Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Gate:
    """One part of a nonlinearity on tangents: t -> middle t + error.

    Attributes:
        back: coefficients of its output times `middle`, as coefficients of its input, (n, rows, *shape).
        doubt: bound of |error|, (n, *out_shape), the rounding of `back` included.
        size: bound of the output's tangents, (n, *out_shape).
    """

    back: Callable[[Tensor], Tensor]
    doubt: Tensor
    size: Tensor


@dataclass(frozen=True)
class Linearised:
    """Linear functions f of tangents in terms of delta: |f - <a, delta>| <= remainder for some a in [low, high].

    Attributes:
        low: (n, rows, *input_shape).
        high: likewise.
        remainder: (n, rows).
    """

    low: Tensor
    high: Tensor
    remainder: Tensor


@dataclass(eq=False)
class Tangents:
    """The tangent networks of an enclosure.

    Attributes:
        enclosure: intervals of the network.
        directions: the set of the t_0, a box of it around the enclosure's x.
        sizes: per node, bounds of |t|, (n, *shape).
        gates: per part of a nonlinearity.
        doubts: per segment, gamma·|W||t|: what rounding can make of coefficients of its output.
    """

    enclosure: Enclosure
    directions: AttackSet
    sizes: list[Tensor] = field(default_factory=list)
    gates: dict[tuple[int, int], Gate] = field(default_factory=dict)
    doubts: dict[int, Tensor] = field(default_factory=dict)

    def largest(self, rows: Tensor) -> Tensor:
        """Upper bounds of <rows, t> for the tangents t of the output; (n, rows)."""

        def largest(part: Tensor) -> Tensor:
            return torch.stack([self._support(found) for found in self.linearised(len(self.sizes) - 1, part)]).amin(0)

        return self.enclosure.by_rows(rows, largest)

    def range(self, position: int, a: Tensor) -> Tensor:
        """Upper bounds of |<a, t>| at a node, without cuts; (n, rows)."""
        (up,) = self.linearised(position, a, cuts=False)
        down = Linearised(-up.high, -up.low, up.remainder)
        return torch.maximum(self._support(up), self._support(down))

    def ranges(self, position: int, shape: Sequence[int]) -> Tensor:
        """Upper bounds of |t| at a node of that shape, unit by unit: (n, *shape)."""
        size, n = math.prod(shape), len(self.enclosure.x)
        parts = []
        for units in torch.arange(size).split(self.enclosure.rows_at_once(self.enclosure.widest)):
            vectors = unit_vectors(units, size).reshape(1, -1, *shape)
            parts.append(self.range(position, vectors.expand(n, *vectors.shape[1:])))
        return torch.cat(parts, dim=1).reshape(n, *shape)

    def _support(self, found: Linearised) -> Tensor:
        support = support_of_interval(self.directions, self.enclosure.x, found.low, found.high)
        return (support + found.remainder) * (1 + sums(2))

    def linearised(self, position: int, a: Tensor, cuts: bool = True) -> Iterator[Linearised]:
        """<a, t> at a node in terms of delta, once for every cut, and last without a cut.

        Args:
            position: of the node.
            a: coefficients of its output, (n, rows, *shape).
            cuts: False leaves out the cuts. The topmost is left out always: it is all intervals and no tangents.
        """
        nodes, pending, topmost = self.enclosure.network.nodes, {position: a}, True
        remainder = torch.zeros(a.shape[:2], dtype=torch.float64)

        def charge(coefficients: Tensor, errors: Tensor) -> None:
            nonlocal remainder
            remainder = (remainder + _weighted(coefficients, errors)) * (1 + sums(2))

        def give(source: int, coefficients: Tensor, roundings: int = 0) -> None:
            """Adds coefficients to a node's; `roundings` of them, and that of the sum, are charged for."""
            terms = coefficients.abs()
            if source in pending:
                roundings, terms = roundings + 1, terms + pending[source].abs()
                coefficients = coefficients + pending[source]
            if roundings:
                charge(terms, sums(roundings) * self.sizes[source])
            pending[source] = coefficients

        for at in range(position, 0, -1):
            if at not in pending:
                continue
            self.enclosure.work.tell(f"linearising {nodes[at].name}")
            operation, inputs = nodes[at].operation, nodes[at].inputs
            if isinstance(operation, Nonlinear) and cuts and not topmost:
                yield Linearised(*pulled_back_interval(self.enclosure, pending), remainder)
            a = pending.pop(at)
            if isinstance(operation, Segment):
                charge(a, self.doubts[at])
                give(inputs[0], operation.adjoint(a.flatten(0, 1)).reshape(*a.shape[:2], *operation.in_shape))
            elif isinstance(operation, Nonlinear):
                topmost = False
                for number in reversed(range(len(operation.parts))):
                    charge(a, self.gates[at, number].doubt)
                    a = self.gates[at, number].back(a)
                give(inputs[0], a)
            elif isinstance(operation, Add):
                give(inputs[0], a)
                give(inputs[1], operation.coefficient * a, roundings=1)
            else:
                assert isinstance(operation, Concatenate)
                for source, part in zip(inputs, split(operation, a, self.sizes, inputs), strict=True):
                    give(source, part)
        nothing = torch.zeros(*remainder.shape, *self.enclosure.network.input_shape, dtype=torch.float64)
        middle = pending.get(0, nothing)
        yield Linearised(middle, middle, remainder)


def tangents(enclosure: Enclosure, directions: AttackSet, known: dict[int, Tensor], slopes: Slopes) -> Tangents:
    """Bounds of every tangent, node by node.

    Args:
        enclosure: intervals of a network without opaque layers.
        directions: the set of the t_0.
        known: bounds of |t| at some nodes, from elsewhere, (n or 1, *shape).
        slopes: the slopes' range.
    """
    found, nodes = Tangents(enclosure, directions), enclosure.network.nodes
    for position, node in enumerate(nodes):
        size, operation = _size(found, position, slopes), node.operation
        if position in known:
            size = torch.minimum(size, known[position])
        elif isinstance(operation, Segment) and operation.d_out <= NARROW and node is not nodes[-1]:
            size = torch.minimum(size, found.ranges(position, operation.out_shape))
        found.sizes.append(size)
    return found


def moves(enclosure: Enclosure, at_x: Enclosure) -> dict[int, Tensor]:
    """How far the value of each node can be from its value at x: bounds of the finite differences.

    Args:
        enclosure: intervals over the attack set.
        at_x: intervals at x alone.
    """
    found = {}
    for position, (there, here) in enumerate(zip(enclosure.values, at_x.values, strict=True)):
        away = torch.maximum(there[1] - here[0], here[1] - there[0])
        found[position] = away * (1 + sums(2)) + UNDERFLOW
    return found


def _size(found: Tangents, position: int, slopes: Slopes) -> Tensor:
    """Bounds of a node's tangents from those of its inputs."""
    node = found.enclosure.network.nodes[position]
    operation, sources = node.operation, [found.sizes[source] for source in node.inputs]
    if isinstance(operation, Input):
        low, high = reach(found.directions, found.enclosure.x)
        return torch.maximum(-low, high)
    if isinstance(operation, Segment):
        size = absolute(operation, sources[0])
        found.doubts[position] = gamma(operation) * size
        return size
    if isinstance(operation, Nonlinear):
        size = sources[0]
        for number, part in enumerate(operation.parts):
            key = position, number
            if isinstance(part, Activation):
                found.gates[key] = _activation_gate(*slopes(part, key, size), size)
            else:
                found.gates[key] = _pool_gate(part, found.enclosure.parts[key], size)
            size = found.gates[key].size
        return size
    if isinstance(operation, Add):
        return (sources[0] + abs(operation.coefficient) * sources[1]) * (1 + sums(2)) + UNDERFLOW
    assert isinstance(operation, Concatenate)
    return operation(*sources)


def _activation_gate(middle: Tensor, spread: Tensor, size: Tensor) -> Gate:
    doubt = (spread + sums(1) * middle.abs()) * size  # a·middle is rounded once
    return Gate(
        lambda a: a * middle[:, None],
        doubt * (1 + sums(4)) + UNDERFLOW,
        (middle.abs() + spread) * size * (1 + sums(4)) + UNDERFLOW,
    )


def _pool_gate(pool: MaxPool, interval: Interval, size: Tensor) -> Gate:
    taps, can_win = pool.windows[0], rivals(pool, *interval)
    largest = torch.where(can_win, size.flatten(2)[:, :, taps], 0.0).amax(3)  # (n, channels, windows)
    certain = can_win.sum(3) == 1
    winner = taps.expand_as(can_win).gather(3, can_win.int().argmax(3, keepdim=True))[..., 0]
    # The coefficients of up to `overlap` windows are summed where these share their winner.
    doubt = torch.where(certain, sums(pool.overlap) * largest, largest)

    def back(a: Tensor) -> Tensor:
        kept = torch.where(certain[:, None], a.flatten(3), 0.0)
        pooled = torch.zeros(*a.shape[:2], *size.flatten(2).shape[1:], dtype=a.dtype)
        return pooled.scatter_add(3, winner[:, None].expand_as(kept), kept).reshape(*a.shape[:2], *pool.in_shape)

    return Gate(back, doubt.reshape(-1, *pool.out_shape), largest.reshape(-1, *pool.out_shape))


def _weighted(a: Tensor, weights: Tensor) -> Tensor:
    """<|a|, weights> for a (n, rows, *shape) and weights (n, *shape), rounded upwards."""
    products: Tensor = (a.abs().flatten(2) @ weights.flatten(1)[:, :, None])[:, :, 0]
    return products * (1 + sums(weights[0].numel() + 1)) + UNDERFLOW
