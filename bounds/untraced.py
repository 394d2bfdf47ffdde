"""A network that cannot be traced: it runs, so that hold-out bounds apply, and nothing is known of its layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.architecture import Architecture, Obstacle
from bounds.inputs import Data
from bounds.measure.models import float64_model
from bounds.network import SamplesInteract, Segment, TracedNetwork, TraceError, trace
from bounds.network.checks import check_samples_are_independent, check_weights, pair_of, run

REMEDY = "write forward without branches on values and with the batch size from x.shape[0]"


@dataclass(frozen=True, eq=False)
class Untraced:
    """A network as a function alone.

    Attributes:
        forward: float64 inputs to float64 logits.
        input_shape: without the batch.
        outputs: the number of classes.
        architecture: without layers; its one obstacle says why the network could not be traced.
    """

    forward: Callable[[Tensor], Tensor]
    input_shape: tuple[int, ...]
    outputs: int
    architecture: Architecture
    segments: tuple[Segment, ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (batch, outputs) for x of shape (batch, *input_shape)."""
        return self.forward(x)


Network = TracedNetwork | Untraced


def traced(module: nn.Module, data: Data, name: str) -> TracedNetwork:
    """The network, traced on a sample of the data it is for.

    Raises:
        TraceError: when it cannot be traced; names model and data.
    """
    try:
        return trace(module, data.x[:2].to(torch.float32))
    except TraceError as error:
        raise type(error)(f"{name}, on {data.name}: {error}") from error


def traced_or_not(module: nn.Module, data: Data, name: str) -> Network:
    """The network traced, or as a function alone where only that is possible.

    Raises:
        TraceError: when it does not even run, or is no function of one input: random, or with samples that interact.
    """
    try:
        return traced(module, data, name)
    except SamplesInteract:
        raise
    except TraceError as error:
        return _untraced(module, data, name, error)


def _untraced(module: nn.Module, data: Data, name: str, why: TraceError) -> Untraced:
    forward = float64_model(module)
    assert isinstance(forward, nn.Module)
    try:
        check_weights(forward)
        pair = pair_of(forward, data.x[:2].to(torch.float64))
        outputs = run(forward, pair).shape[1]
        check_samples_are_independent(forward, pair)
    except SamplesInteract as error:
        raise SamplesInteract(f"{name}, on {data.name}: {error}") from error
    except TraceError as error:
        raise why if str(error) in str(why) else TraceError(f"{why}; and in float64 {error}") from error
    obstacle = Obstacle("untraced", str(why.__cause__ or why), REMEDY)
    shape = tuple(pair.shape[1:])
    return Untraced(forward, shape, outputs, Architecture((), (), (obstacle,), pair[0].numel(), outputs))
