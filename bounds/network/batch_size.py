"""Values that depend on the batch size alone: one constant, repeated for every sample (class tokens, positions)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from bounds.network.nodes import evaluate
from bounds.network.origin import function_name

# Of their first argument they take the shape only.
_OF_A_SHAPE = frozenset("empty_like fill full_like new_empty new_full new_ones new_zeros ones_like zeros_like".split())


def of_batch_size(
    input: fx.Node, nodes: tuple[fx.Node, ...], constants: Mapping[fx.Node, Any]
) -> dict[fx.Node, Tensor | None]:
    """The nodes that depend on the batch size alone, with their value for one sample where all samples have the same.

    Args:
        input: the node of the network's input.
        nodes: of an exported graph, in order of execution.
        constants: values of the nodes that do not even depend on the batch size.
    """
    values: dict[fx.Node, Any] = dict(constants)
    found: dict[fx.Node, Tensor | None] = {}
    batch = input.meta["val"].shape[0].node.expr
    for node in nodes:
        example = node.meta.get("val")
        if isinstance(example, torch.SymInt):
            if example.node.has_hint():
                values[node] = example.node.hint
        if node in values or node.op != "call_function":
            continue
        shapes = {} if function_name(node) not in _OF_A_SHAPE else _stand_in(node.args[0], values)
        if not all(source in values or source in shapes for source in node.all_input_nodes):
            continue
        values[node] = value = evaluate(node, {**shapes, **values})
        first = example.shape[0] if isinstance(example, Tensor) and example.ndim else None
        is_repeated = isinstance(first, torch.SymInt) and first.node.expr == batch and torch.equal(value[0], value[1])
        found[node] = value[0] if is_repeated else None
    return found


def _stand_in(source: Any, values: Mapping[fx.Node, Any]) -> dict[fx.Node, Tensor]:
    """Zeros in the shape of a value that is not known."""
    if source in values:
        return {}
    sizes = [size.node.hint if isinstance(size, torch.SymInt) else size for size in source.meta["val"].shape]
    return {source: torch.zeros(sizes, dtype=torch.float64)}
