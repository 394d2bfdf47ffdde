"""The nodes of a traced network that are neither segments nor nonlinearities, and the node itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from bounds.network.nonlinear import Nonlinear
from bounds.network.operators import Shape
from bounds.network.segment import Segment


@dataclass(frozen=True)
class Input:
    """The network's input, of shape (batch, *shape)."""

    shape: Shape
    name: str = "the input"


@dataclass(frozen=True)
class Add:
    """left + coefficient * right, of two branches: a residual join."""

    name: str
    coefficient: float

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """The sum."""
        return left + self.coefficient * right


@dataclass(frozen=True)
class Concatenate:
    """Branches side by side; the axis counts the batch as axis 0."""

    name: str
    axis: int

    def __call__(self, *branches: Tensor) -> Tensor:
        """The concatenation."""
        return torch.cat(branches, self.axis)


@dataclass(frozen=True, eq=False)
class Opaque:
    """A region of the exported graph that is none of the others, run as it was exported but in float64.

    Attributes:
        name: the module or function ("attention (MultiheadAttention)").
        functions: the class of the module, if it is one, and the operations in it that are not known.
        arguments: the graph's nodes that are the region's inputs.
        steps: the graph's nodes of the region in order; the last one is the output.
        constants: values of the nodes that do not depend on the network's input.
        repeated: values for one sample of the nodes that are the same for all samples.
    """

    name: str
    functions: tuple[str, ...]
    arguments: tuple[fx.Node, ...]
    steps: tuple[fx.Node, ...]
    constants: Mapping[fx.Node, Any]
    repeated: Mapping[fx.Node, Tensor]

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The region's output."""
        values = {**self.constants, **dict(zip(self.arguments, inputs, strict=True))}
        for node, value in self.repeated.items():
            values[node] = value.expand(len(inputs[0]), *value.shape)
        for step in self.steps:
            values[step] = evaluate(step, values)
        output: Tensor = values[self.steps[-1]]
        return output


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a traced network; `inputs` are positions in the network's list of nodes."""

    operation: Input | Segment | Nonlinear | Add | Concatenate | Opaque
    inputs: tuple[int, ...]

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        return self.operation.name


def evaluate(step: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """One step of an exported graph, with float64 for every floating type and on the processor."""

    def argument(leaf: Any) -> Any:
        if isinstance(leaf, fx.Node):
            return values[leaf]
        if isinstance(leaf, torch.dtype) and leaf.is_floating_point:
            return torch.float64
        return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

    assert callable(step.target)
    arguments: Any = map_aggregate(step.args, argument)
    options: Any = map_aggregate(step.kwargs, argument)
    result = step.target(*arguments, **options)
    return in_double(result) if isinstance(result, Tensor) else result


def in_double(tensor: Tensor) -> Tensor:
    """A tensor of any floating type in float64; the default type is what makes a constant in forward (torch.eye(3))."""
    return tensor.double() if tensor.is_floating_point() else tensor
