"""The last operation of a network, where it turns logits into probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from bounds.network.nodes import Node, Opaque
from bounds.network.origin import function_name

Head = Literal["softmax", "log_softmax", "sigmoid"]


def head_of(nodes: Sequence[Node]) -> Head | None:
    """The head, if there is one."""
    operation = nodes[-1].operation
    if not isinstance(operation, Opaque) or len(operation.steps) != 1:
        return None
    name = function_name(operation.steps[-1]).lstrip("_")
    return name if name in ("softmax", "log_softmax") else None  # type: ignore[return-value]


def without_head(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes up to the logits."""
    return tuple(nodes[:-1])
