"""A torch module as a graph of affine segments, nonlinearities, joins and opaque regions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from bounds.architecture import Architecture, in_words
from bounds.network.adapted import Adapted
from bounds.network.checks import check_derivative, check_samples, check_weights, differ
from bounds.network.errors import InvalidNetwork, NotAChain, TraceError
from bounds.network.exporting import export
from bounds.network.facts import describe
from bounds.network.graph import build
from bounds.network.heads import head_of, without_head
from bounds.network.modes import with_gradients
from bounds.network.nodes import Input, Node, Opaque
from bounds.network.nonlinear import Nonlinear
from bounds.network.operators import Linear, Operation, Shape
from bounds.network.running import few, in_float64
from bounds.network.segment import Segment

TWO_CLASSES = "a single logit z is taken as two classes with the logits (0, z)"
SECOND_OF_TWO = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
PROBABILITIES = (
    "its outputs are probabilities (a softmax or sigmoid at the end), and their cross-entropy is another loss than that"
    " of logits; leave out the last operation, or ask for that with --strip-head"
)


@dataclass(frozen=True, eq=False)
class TracedNetwork:
    """A network in eval mode, in float64, with the affine operations between two nonlinearities in one piece.

    Attributes:
        input_shape: without the batch.
        outputs: the number of classes.
        nodes: in order of execution; the first is the input, the last the output.
        notes: what was made of the module's outputs.
    """

    input_shape: Shape
    outputs: int
    nodes: tuple[Node, ...]
    notes: tuple[str, ...] = ()

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
            NotAChain: when the architecture has obstacles; names them, why they are, and what would help.
        """
        if self.architecture.obstacles:
            raise NotAChain(f"not a chain of layers: {in_words(self.architecture.obstacles)}")
        return tuple(node.operation for node in self.nodes if isinstance(node.operation, Segment | Nonlinear))


@with_gradients
def trace(module: nn.Module, example: Tensor) -> TracedNetwork:
    """Traces a module in eval mode; the module itself is left as it was.

    A log-softmax at the end is left out, which changes neither cross-entropy nor margins, and a single output is taken
    as two classes; `notes` of the result say so.

    Args:
        module: a network that maps (batch, *input_shape) to logits (batch, classes); `adapt` says how else to read it.
        example: one or more inputs, of shape (batch, *input_shape).

    Returns:
        The network with float64 copies of the weights. What is neither affine nor a known nonlinearity is
        kept as opaque regions, so that the output can be recomputed, and named in the obstacles.

    Raises:
        InvalidNetwork: when it does not run, is random, is disconnected from its inputs, or returns probabilities.
        SamplesInteract: when the output for one sample depends on the others of its batch.
        TraceError: when there is no graph of it; says where.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> traced = trace(network, torch.zeros(1, 2, 2))
    >>> [segment.name for segment in traced.segments], traced.architecture.depth
    (['layer 1', 'layer 3'], 2)
    """
    check_weights(module)
    samples = few(example)
    if not samples.is_floating_point():
        raise TraceError("its inputs are integers; name the module whose output is to be measured with --input-module")
    function, precision = in_float64(module, samples)
    outputs = check_samples(function, samples, precision)
    if not bool(outputs.isfinite().all()):
        raise TraceError("the network's output contains NaN or infinity")
    strip = isinstance(module, Adapted) and module.strip_head
    if not strip:
        refuse_probabilities(outputs)
    with _evaluating(module):
        exported = export(
            module if isinstance(module, Adapted) else Adapted(module), samples[:2].to(_own_precision(module, example))
        )
    nodes = build(exported)
    shape = tuple(samples.shape[1:])
    whole = TracedNetwork(shape, outputs.shape[1], nodes)
    if differ(outputs, whole(samples[:2]), exported.precision if precision == torch.float64 else precision):
        raise TraceError("the traced graph does not reproduce the network's output")
    if any(isinstance(node.operation, Opaque) for node in nodes):
        check_derivative(whole, samples)
    return _with_logits(whole, strip)


def refuse_probabilities(outputs: Tensor) -> None:
    """Refuses outputs that are nonnegative and sum to 1 for each sample, as logits never do but on purpose.

    Raises:
        InvalidNetwork: with the remedy.
    """
    if outputs.shape[1] > 1 and bool((outputs >= 0).all() and ((outputs.sum(1) - 1).abs() <= 1e-5).all()):
        raise InvalidNetwork(PROBABILITIES)


def _own_precision(module: nn.Module, example: Tensor) -> torch.dtype:
    parameters = (p.dtype for p in module.parameters() if p.is_floating_point())
    return next(parameters, example.dtype if example.is_floating_point() else torch.float32)


def _with_logits(network: TracedNetwork, strip: bool) -> TracedNetwork:
    """The network up to its logits, and at least two of them."""
    head, notes = head_of(network.nodes), list(network.notes)
    if head == "log_softmax":
        notes.append("the log-softmax at the end is left out: neither cross-entropy nor margins change")
    elif head is not None and not strip:
        raise InvalidNetwork(PROBABILITIES)
    elif head is not None:
        notes.append(f"the {head} at the end is left out, as asked: losses and margins are those of the logits")
    nodes = network.nodes if head is None else without_head(network.nodes)
    if network.outputs == 1:
        notes.append(TWO_CLASSES)
        nodes = _with_operation(nodes, Linear((1,), SECOND_OF_TWO))
    return TracedNetwork(network.input_shape, max(2, network.outputs), nodes, tuple(notes))


def _with_operation(nodes: tuple[Node, ...], operation: Operation) -> tuple[Node, ...]:
    """One more affine operation at the end, as part of the last segment if that is the last node."""
    last = nodes[-1]
    if isinstance(last.operation, Segment):
        segment = Segment(last.operation.name, (*last.operation.operations, operation))
        return (*nodes[:-1], Node(segment, last.inputs))
    return (*nodes, Node(Segment("two classes", (operation,)), (len(nodes) - 1,)))


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
