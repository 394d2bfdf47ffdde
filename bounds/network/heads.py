"""The last operation of a network, where it turns logits into probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import fx

from bounds.network.exporting import Exported
from bounds.network.nodes import Node, Opaque
from bounds.network.nonlinear import Activation, Nonlinear
from bounds.network.operators import Reshape
from bounds.network.origin import function_name
from bounds.network.segment import Segment

Head = Literal["softmax", "log_softmax", "sigmoid"]
_SAME_ENTRIES = frozenset(
    "_to_copy _unsafe_view alias clone contiguous flatten reshape squeeze to unflatten unsqueeze view".split()
)


def head_of(nodes: Sequence[Node]) -> Head | None:
    """The head, if there is one: a softmax or log-softmax over all outputs, or a sigmoid of each."""
    operation = nodes[_position(nodes)].operation
    if isinstance(operation, Opaque):
        found = _probabilities(operation.steps[-1])
        return None if found is None or set(found[1]) != set(operation.steps) else found[0]
    is_sigmoid = isinstance(operation, Nonlinear) and operation.parts[-1] == Activation("sigmoid")
    return "sigmoid" if is_sigmoid else None


def without_head(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes up to the logits, in the shape of the outputs; the network must have a head."""
    position = _position(nodes)
    node, shaping = nodes[position], nodes[position + 1 :]
    kept = tuple(nodes[:position])
    source = node.inputs[0]
    if isinstance(node.operation, Nonlinear) and len(node.operation.parts) > 1:
        kept += (Node(replace(node.operation, parts=node.operation.parts[:-1]), node.inputs),)
        source = position
    before = kept[source].operation
    for segment in (node.operation for node in shaping):
        assert isinstance(segment, Segment)
        if isinstance(before, Segment):  # the last node, for the head was the only one to read it
            kept = (
                *kept[:-1],
                replace(kept[-1], operation=replace(before, operations=before.operations + segment.operations)),
            )
        else:
            kept += (Node(segment, (source,)),)
    return kept


def find_head(exported: Exported) -> tuple[tuple[fx.Node, ...], tuple[fx.Node, ...]]:
    """The head at the end of a graph: the steps of a softmax or log-softmax, and those after them or of a sigmoid."""
    step, after = exported.output, []
    while function_name(step) in _SAME_ENTRIES | {"sigmoid"} and isinstance(step.args[0], fx.Node):
        after.append(step)
        step = step.args[0]
    found = _probabilities(step)
    if found is None:
        return (), tuple(after) if any(function_name(step) == "sigmoid" for step in after) else ()
    return found[1], tuple(after)


def _probabilities(step: fx.Node) -> tuple[Head, tuple[fx.Node, ...]] | None:
    """A softmax or log-softmax over all entries of a sample that ends in this step, and its steps, the last first."""
    name = function_name(step).lstrip("_") if step.op == "call_function" else ""
    if name in ("softmax", "log_softmax") and _covers(step.args[1], step):
        return name, (step,)  # type: ignore[return-value]
    if name == "log" and isinstance(step.args[0], fx.Node):
        found = _probabilities(step.args[0])
        return None if found is None or found[0] != "softmax" else ("log_softmax", (step, *found[1]))
    if name == "sub":
        logits, *left = _expanded(step.args[0])
        total, *right = _expanded(step.args[1])
        if isinstance(total, fx.Node) and function_name(total) == "logsumexp" and total.args[0] is logits:
            axes: Any = total.args[1]
            if len(axes) == 1 and total.args[2:] == (True,) and _covers(axes[0], step):
                return "log_softmax", (step, *left, *right, total)
    return None


def _expanded(leaf: Any) -> list[Any]:
    """What was expanded, and the steps that did it."""
    if isinstance(leaf, fx.Node) and leaf.op == "call_function" and function_name(leaf) == "expand":
        return [*_expanded(leaf.args[0]), leaf]
    return [leaf]


def _covers(axis: Any, step: fx.Node) -> bool:
    sizes = step.meta["val"].shape
    return axis % len(sizes) > 0 and bool(sizes[axis] == math.prod(sizes[1:]))


def _position(nodes: Sequence[Node]) -> int:
    """The last node but for a change of shape."""
    last = nodes[-1]
    shapes_only = isinstance(last.operation, Segment) and all(
        isinstance(operation, Reshape) for operation in last.operation.operations
    )
    return last.inputs[0] if shapes_only else len(nodes) - 1
