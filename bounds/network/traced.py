"""A torch module as a graph of affine segments, nonlinearities, joins and opaque regions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from bounds.architecture import Architecture
from bounds.network.checks import check_samples_are_independent, check_weights, differ, pair_of, run
from bounds.network.errors import NotAChain, TraceError
from bounds.network.exporting import export
from bounds.network.facts import describe
from bounds.network.graph import build
from bounds.network.nodes import Input, Node
from bounds.network.nonlinear import Nonlinear
from bounds.network.operators import Shape
from bounds.network.segment import Segment


@dataclass(frozen=True, eq=False)
class TracedNetwork:
    """A network in eval mode, in float64, with the affine operations between two nonlinearities in one piece.

    Attributes:
        input_shape: without the batch.
        outputs: the number of classes.
        nodes: in order of execution; the first is the input, the last the output.
    """

    input_shape: Shape
    outputs: int
    nodes: tuple[Node, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """The network's output (batch, outputs) in float64 for x of shape (batch, *input_shape)."""
        values = {0: x.double()}
        for position, node in enumerate(self.nodes):
            if not isinstance(node.operation, Input):
                values[position] = node.operation(*(values[source] for source in node.inputs))
            for source in self._read_last[position]:
                del values[source]
        return values[len(self.nodes) - 1]

    @cached_property
    def _read_last(self) -> list[list[int]]:
        """Per node, whose values nothing reads after it: they need not be kept."""
        reader = {source: position for position, node in enumerate(self.nodes) for source in node.inputs}
        last: list[list[int]] = [[] for _ in self.nodes]
        for source, position in reader.items():
            last[position].append(source)
        return last

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape of every node's value, without the batch."""
        values = [torch.zeros(1, *self.input_shape, dtype=torch.float64)]
        for node in self.nodes[1:]:
            values.append(node.operation(*(torch.zeros_like(values[source]) for source in node.inputs)))  # type: ignore[operator]
        return tuple(tuple(value.shape[1:]) for value in values)

    @cached_property
    def footprint(self) -> int:
        """Bytes that one sample takes while it is differentiated, roughly, from the shapes.

        Every value is kept for the way back, and torch writes a convolution in float64 as a matrix product, whose
        columns exist for one convolution at a time.
        """
        kept, columns = 0, 0
        for node, shape in zip(self.nodes, self.shapes, strict=True):
            steps = node.operation.operations if isinstance(node.operation, Segment) else ()
            kept += math.prod(shape) + sum(math.prod(step.out_shape) for step in steps[:-1])
            columns = max([columns, *(step.columns for step in steps)])
        return 8 * (kept + 2 * columns)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The affine segments in order of execution."""
        return tuple(node.operation for node in self.nodes if isinstance(node.operation, Segment))

    @cached_property
    def architecture(self) -> Architecture:
        """Layers, nonlinearities and obstacles, without weights."""
        return describe(self.nodes, math.prod(self.input_shape), self.outputs)

    @cached_property
    def chain(self) -> tuple[Segment | Nonlinear, ...]:
        """Segment, nonlinearity, segment, ..., segment.

        Raises:
            NotAChain: when the architecture has obstacles; names the first one and its remedy.
        """
        obstacles = self.architecture.obstacles
        if obstacles:
            more = f" (and {len(obstacles) - 1} more)" if len(obstacles) > 1 else ""
            raise NotAChain(f"not a chain of layers: {obstacles[0].name}{more}; {obstacles[0].remedy}")
        return tuple(node.operation for node in self.nodes if isinstance(node.operation, Segment | Nonlinear))


def trace(module: nn.Module, example: Tensor) -> TracedNetwork:
    """Traces a module in eval mode; the module itself is left as it was.

    Args:
        module: a network that maps (batch, *input_shape) to logits (batch, classes).
        example: one or more inputs, of shape (batch, *input_shape).

    Returns:
        The network with float64 copies of the weights. What is neither affine nor a known nonlinearity is
        kept as opaque regions, so that the output can be recomputed, and named in the obstacles.

    Raises:
        TraceError: when the network cannot be traced; says where.
        SamplesInteract: when the output for one sample depends on the others of its batch.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> traced = trace(network, torch.zeros(1, 2, 2))
    >>> [segment.name for segment in traced.segments], traced.architecture.depth
    (['layer 1', 'layer 3'], 2)
    """
    with _evaluating(module):
        check_weights(module)
        pair = pair_of(module, example)
        with torch.random.fork_rng(devices=[]):
            output = run(module, pair)
        exported = export(module, pair)
        check_samples_are_independent(module, pair)
    traced = TracedNetwork(tuple(pair.shape[1:]), output.shape[1], build(exported))
    if differ(output.cpu(), traced(pair.cpu()).to(output.dtype)):
        raise TraceError("the traced graph does not reproduce the network's output")
    return traced


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode, with every submodule's own mode restored."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
