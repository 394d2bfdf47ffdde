"""A network that cannot be traced: it runs, so that hold-out bounds apply, and nothing is known of its layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bounds.architecture import Architecture, Obstacle
from bounds.inputs import Data, refuse_tokens
from bounds.network import Segment, TracedNetwork, TraceError, trace
from bounds.network.errors import InvalidNetwork
from bounds.network.logits import Logits, graph_or_function

REMEDY = "write forward without branches on values and with the batch size from x.shape[0]"
TOKENS = "name the module (an embedding) whose output is to be measured with --input-module"


@dataclass(frozen=True, eq=False)
class Untraced:
    """A network as a function alone.

    Attributes:
        forward: inputs to float64 logits.
        input_shape: without the batch.
        outputs: the number of classes.
        architecture: without layers; its one obstacle says why the network could not be traced.
    """

    forward: Logits
    input_shape: tuple[int, ...]
    outputs: int
    architecture: Architecture
    segments: tuple[Segment, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was made of the outputs."""
        return self.forward.notes


Network = TracedNetwork | Untraced


def traced(module: nn.Module, data: Data, name: str) -> TracedNetwork:
    """The network, traced on samples of the data it is for.

    Raises:
        TraceError: when it cannot be traced; names model and data.
        InvalidNetwork: when it is no deterministic function of one sample.
    """
    try:
        return trace(module, next(data.batches(3))[0])
    except (TraceError, InvalidNetwork) as error:
        raise type(error)(f"{name}, on {data.name}: {error}") from error


def traced_or_not(module: nn.Module, data: Data, name: str) -> Network:
    """The network traced, or as a function alone where only that is possible.

    Raises:
        InvalidNetwork: when it does not even run, or is no deterministic function of one sample.
    """
    x = next(data.batches(3))[0]
    try:
        function, why = graph_or_function(module, x, differentiable=False)
    except (TraceError, InvalidNetwork) as error:
        refuse_tokens(data)
        raise type(error)(f"{name}, on {data.name}: {error}") from error
    if isinstance(function, TracedNetwork):
        return function
    with torch.no_grad():
        outputs = function(x[:1]).shape[1]
    obstacle = Obstacle("untraced", "the network", str(why), REMEDY)
    if data.is_discrete:
        obstacle = Obstacle("untraced", "the network", "its inputs are integers", TOKENS)
    architecture = Architecture((), (), (obstacle,), x[0].numel(), outputs)
    return Untraced(function, tuple(x.shape[1:]), outputs, architecture)
