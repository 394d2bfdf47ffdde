"""From one step of an exported graph to primitive operations or a join."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate, map_arg

from bounds.network import affine_rules, contractions, nonlinear_rules
from bounds.network.exporting import Exported
from bounds.network.moves import MOVES, moved
from bounds.network.nodes import Add, Concatenate, Opaque, evaluate
from bounds.network.nonlinear import Activation, MaxPool
from bounds.network.operators import Operation
from bounds.network.origin import function_name

Primitive = Operation | Activation | MaxPool
RULES: dict[str, Any] = {**affine_rules.RULES, **nonlinear_rules.RULES}


@dataclass(frozen=True, eq=False)
class Lowered:
    """What a step amounts to.

    Attributes:
        operation: primitives in order of application, all affine or all not (none: the identity), or a join.
        inputs: the steps whose values it takes.
    """

    operation: tuple[Primitive, ...] | Add | Concatenate | Opaque
    inputs: tuple[fx.Node, ...]


def lower(exported: Exported, step: fx.Node) -> Lowered | None:
    """What `step`, a tensor that depends on the input, amounts to; None when it is not understood."""
    call, output = step.args if step.target is operator.getitem else (step, 0)
    assert isinstance(call, fx.Node) and isinstance(output, int)
    leaves = _leaves(call)
    inputs = tuple(leaf for leaf in leaves if exported.is_tensor(leaf))
    shapes = [exported.shape(node) for node in (*inputs, step)]
    if any(exported.of_batch_size.get(leaf, leaf) is None for leaf in leaves):
        return None
    if None in shapes or not all(node.meta["val"].is_floating_point() for node in (*inputs, step)):
        return None
    name = function_name(call)
    operation: tuple[Primitive, ...] | Add | Concatenate | None = None
    if len(inputs) == 1 or (name in MOVES and len(set(inputs)) == 1):
        operation, inputs = _unary(exported, call, output, inputs[0]), inputs[:1]
    elif name in ("add", "sub", "subtract") and len(inputs) == 2 and shapes[0] == shapes[1]:
        operation = _add(call)
        if inputs[0] is inputs[1]:
            operation, inputs = affine_rules.multiply(shapes[0] or (), 1 + operation.coefficient), inputs[:1]
    elif name == "cat" and len(inputs) == len(leaves):
        operation = _concatenate(call, axes=len(step.meta["val"].shape))
    return None if operation is None else Lowered(operation, inputs)


def _leaves(call: fx.Node) -> list[fx.Node]:
    """The steps among the arguments of a call, as often as they occur."""
    leaves: list[fx.Node] = []
    map_arg((call.args, call.kwargs), leaves.append)
    return leaves


def _unary(exported: Exported, call: fx.Node, output: int, source: fx.Node) -> tuple[Primitive, ...] | None:
    """A call with one input that is not constant, in any position."""
    name, shape = function_name(call), exported.shape(source)
    assert shape is not None
    if name in MOVES:
        pair = {node: _value(exported, node, samples=2) for node in call.all_input_nodes}
        return moved(shape, lambda numbers: _output(evaluate(call, {**pair, source: numbers}), output))
    values = {node: _value(exported, node, samples=1) for node in call.all_input_nodes} | {source: None}
    arguments: Any = map_aggregate(call.args, lambda leaf: values[leaf] if isinstance(leaf, fx.Node) else leaf)
    options: Any = call.kwargs
    primitives: tuple[Primitive, ...] | None = None
    if name in contractions.RULES:
        primitives = contractions.RULES[name](shape, *arguments, **options)
    elif call.args[0] is source and name in RULES and output == 0:
        primitives = RULES[name](shape, *arguments[1:], **options)
    elif len(call.args) > 1 and call.args[1] is source and name in affine_rules.CONSTANT_FIRST:
        primitives = affine_rules.CONSTANT_FIRST[name](shape, arguments[0], **options)
    return primitives


def _add(call: fx.Node) -> Add:
    coefficient: Any = call.kwargs.get("alpha", 1.0)
    return Add("", float(coefficient if function_name(call) == "add" else -coefficient))


def _concatenate(call: fx.Node, axes: int) -> Concatenate | None:
    axis: Any = call.args[1] if len(call.args) > 1 else 0
    return Concatenate("", axis % axes) if axis % axes else None


def _value(exported: Exported, node: fx.Node, samples: int) -> Any:
    """A constant, once per sample if it is repeated, or a size for the batch of two that was exported."""
    if node in exported.repeated:
        value = exported.repeated[node]
        return value.expand(samples, *value.shape)
    if node in exported.constants:
        return exported.constants[node]
    size = node.meta["val"]
    return size.node.hint if isinstance(size, torch.SymInt) else size


def _output(result: Tensor | tuple[Tensor, ...], index: int) -> Tensor:
    return result if isinstance(result, Tensor) else result[index]
