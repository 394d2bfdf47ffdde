"""What it costs to pull linear functions back through a network, from its shapes alone.

A function of all units of a node costs one application of every segment before it. A function of one unit of a
convolution reads a window only, which grows on the way back; as long as it holds less than half of the units, its
coefficients are multiplied by the window's small matrix instead (relaxation.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from bounds.network import Segment, TracedNetwork
from bounds.network.nodes import Add
from bounds.network.nonlinear import MaxPool, Nonlinear
from bounds.network.operators import (
    AveragePool,
    Convolution,
    Operation,
    Scale,
    Shape,
    Shift,
    TransposedConvolution,
)

PASSES = 60
"""Multiply-adds that take as long as all that happens to one coefficient at a nonlinearity, which moves memory."""

OVERHEAD = 250_000
"""Multiply-adds that take as long as starting one step of a pass, shared by the samples of a batch."""

STATE = 120
"""Bytes of intervals, magnitudes and bounds of derivatives that are kept per unit and sample."""

ENTRY = 24
"""Bytes of one entry of a window's matrix, which is held twice: sparse, and in blocks of rows."""

# Positions that a function of one node reads, per spatial axis, all channels; None for all of them.
Window = tuple[int, ...] | None


@dataclass(frozen=True)
class Costs:
    """What passes through a network cost.

    Attributes:
        network: the network.
        windowed: the segments whose windows' matrices are held; through others go all units or none.

    >>> import torch
    >>> from bounds.network import trace
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> costs = Costs(trace(model, torch.zeros(1, 4)))
    >>> costs.row(3) == 3 * 2 + PASSES * 3 + 4 * 3 + 2 + 3  # the shifts cost something, too
    True
    """

    network: TracedNetwork
    windowed: Collection[int] = ()

    @cached_property
    def units(self) -> tuple[int, ...]:
        """Units of every node."""
        return tuple(math.prod(shape) for shape in self.network.shapes)

    @property
    def widest(self) -> int:
        """Units of the widest node."""
        return max(self.units)

    @property
    def state(self) -> int:
        """Bytes that the enclosure of one sample takes."""
        return STATE * sum(self.units)

    def row(self, node: int) -> int:
        """Multiply-adds per sample that one linear function of a node's value costs."""
        return self._pass(node, None)[0]

    def rows(self, node: int) -> int:
        """Multiply-adds per sample that functions of every single unit of a node cost."""
        if fed_by(self.network, node) not in self.windowed:
            return self.units[node] * self.row(node)
        sizes = self.network.shapes[node][1:]
        return self.units[node] * self._of_a_unit(node)[0] + math.prod(sizes) * node * OVERHEAD

    def width(self, node: int) -> int:
        """Coefficients of a function of one unit of a node where it has most of them."""
        return self.widest if fed_by(self.network, node) not in self.windowed else self._of_a_unit(node)[1]

    def _of_a_unit(self, node: int) -> tuple[int, int]:
        return self._pass(node, (1,) * len(self.network.shapes[node][1:]))

    def _pass(self, node: int, window: Window) -> tuple[int, int]:
        """Multiply-adds of the way back of a function that reads a window of a node, and its most coefficients."""
        waiting: dict[int, Window] = {node: window}
        total, widest = 0, count(self.network.shapes[node], window)
        for position in range(node, 0, -1):
            if position in waiting:
                cost, below = self._step(position, waiting.pop(position))
                total += cost
                for source in self.network.nodes[position].inputs:
                    waiting[source] = None if source in waiting else below
                    widest = max(widest, count(self.network.shapes[source], waiting[source]))
        return total, widest

    def _step(self, position: int, window: Window) -> tuple[int, Window]:
        """Cost of one step back, and what is read below."""
        operation = self.network.nodes[position].operation
        read = count(self.network.shapes[position], window)
        if isinstance(operation, Segment):
            if position not in self.windowed or 2 * read > operation.d_out:
                return operation.products, None
            below = reads(operation, window)
            return read * count(operation.in_shape, below), below
        if isinstance(operation, Nonlinear):
            if any(isinstance(part, MaxPool) for part in operation.parts):
                return PASSES * math.prod(operation.in_shape), None
            return PASSES * read, window
        return read, window if isinstance(operation, Add) else None


def windows_that_fit(network: TracedNetwork, memory: int) -> frozenset[int]:
    """The hidden segments whose windows' matrices fit into the memory together, the first ones first."""
    chosen, left = set(), memory
    for position, node in enumerate(network.nodes):
        if isinstance(node.operation, Segment) and is_local(node.operation):
            size = ENTRY * node.operation.d_out * count(node.operation.in_shape, reads_of_one(node.operation))
            if size <= left:
                chosen.add(position)
                left -= size
    return frozenset(chosen)


def is_local(segment: Segment) -> bool:
    """Whether a unit of the segment reads a window, because there is a convolution."""
    return any(isinstance(operation, Convolution | TransposedConvolution) for operation in segment.operations)


def fed_by(network: TracedNetwork, node: int) -> int | None:
    """The segment that a node is, or the first one that it adds up: the node's units read windows like its own."""
    operation = network.nodes[node].operation
    if isinstance(operation, Segment):
        return node
    segments = (s for s in network.nodes[node].inputs if isinstance(network.nodes[s].operation, Segment))
    return next(segments, None) if isinstance(operation, Add) else None


def reads_of_one(segment: Segment) -> Window:
    """What a single unit of a segment reads."""
    return reads(segment, (1,) * len(segment.out_shape[1:]))


def reads(segment: Segment, window: Window) -> Window:
    """What a window of a segment's output reads of its input."""
    for operation in reversed(segment.operations):
        window = None if window is None else _reads(operation, window)
    return window


def count(shape: Shape, window: Window) -> int:
    """Units in a window: all channels of its positions."""
    if window is None:
        return math.prod(shape)
    return shape[0] * math.prod(min(extent, size) for extent, size in zip(window, shape[1:], strict=True))


def _reads(operation: Operation, window: tuple[int, ...]) -> Window:
    if isinstance(operation, Scale | Shift):
        return window
    if isinstance(operation, Convolution | TransposedConvolution):
        spans = [d * (k - 1) for d, k in zip(operation.dilation, operation.weight.shape[2:], strict=True)]
        axes = zip(window, spans, operation.stride, strict=True)
        if isinstance(operation, Convolution):
            return tuple((extent - 1) * stride + span + 1 for extent, span, stride in axes)
        return tuple((extent - 1 + span) // stride + 1 for extent, span, stride in axes)
    if isinstance(operation, AveragePool):
        axes = zip(window, operation.kernel_size, operation.stride, strict=True)
        return tuple((extent - 1) * stride + size for extent, size, stride in axes)
    return None
