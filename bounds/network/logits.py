"""`as_logits`: whatever classifies a batch of inputs, as a checked function that returns logits in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bounds.network.adapted import Adapted
from bounds.network.checks import Function, check_derivative, check_samples, check_weights
from bounds.network.errors import InvalidNetwork, TraceError
from bounds.network.modes import with_gradients
from bounds.network.running import Model, few, in_float64
from bounds.network.traced import SECOND_OF_TWO, TWO_CLASSES, TracedNetwork, refuse_probabilities, trace


@dataclass(frozen=True, eq=False)
class Logits:
    """A function (batch, *input_shape) -> logits (batch, K) in float64: deterministic, each sample on its own.

    Attributes:
        function: the network, run by its own code.
        precision: that its code computes in.
        notes: what was made of its outputs.
        differentiable: whether its derivative was checked, too.
    """

    function: Callable[[Tensor], Tensor]
    precision: torch.dtype
    notes: tuple[str, ...] = ()
    differentiable: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        """The logits."""
        return self.function(x)


@with_gradients
def as_logits(model: Model, x: Tensor, *, differentiable: bool = True) -> TracedNetwork | Logits:
    """A model as a checked function in float64; what was checked before, and a traced network, as it is.

    Args:
        model: maps (batch, *input_shape) to logits; a module is copied and run in eval mode.
        x: some samples, on which it is checked.
        differentiable: whether its derivative will be used.

    Returns:
        The function.

    Raises:
        InvalidNetwork: for a network that does not run, is random, mixes samples, is disconnected from its inputs,
            has a derivative by autograd that is not its own, or returns probabilities.
        TraceError: where the head is to be stripped and the network cannot be traced.

    >>> function = as_logits(nn.Linear(2, 1).train(), torch.zeros(3, 2))
    >>> function(torch.zeros(1, 2)).shape, function(torch.zeros(1, 2)).dtype
    (torch.Size([1, 2]), torch.float64)
    """
    if isinstance(model, TracedNetwork) or (isinstance(model, Logits) and model.differentiable >= differentiable):
        return model
    if isinstance(model, Adapted) and model.strip_head:
        return trace(model, x)
    if isinstance(model, nn.Module):
        check_weights(model)
    samples = few(x)
    function, precision = in_float64(model, samples)
    if isinstance(model, Logits):
        precision = model.precision
    outputs = check_samples(function, samples, precision)
    refuse_probabilities(outputs)
    notes: tuple[str, ...] = ()
    if outputs.shape[1] == 1:
        function, notes = _two_classes(function), (TWO_CLASSES,)
    if differentiable:
        if not samples.is_floating_point():
            raise InvalidNetwork(
                "its inputs are integers (tokens), in which nothing can be differentiated; name the module whose output"
                " is to be measured and attacked with --input-module (an embedding, for one)"
            )
        check_derivative(function, samples, precision)
    return Logits(function, precision, notes, differentiable)


def graph_or_function(
    model: Model, x: Tensor, *, differentiable: bool = True
) -> tuple[TracedNetwork | Logits, str | None]:
    """The model as a graph where it can be traced, else as a function that its own code runs, and why.

    Args:
        model: maps (batch, *input_shape) to logits.
        x: some samples.
        differentiable: whether the derivative will be used.

    Raises:
        InvalidNetwork: see `as_logits`; what is no valid network is not merely a network without a graph.

    >>> function, why = graph_or_function(lambda x: x.abs() @ torch.eye(2, dtype=torch.float64), torch.ones(2, 2))
    >>> why
    'the model is a plain function, not a torch module'
    """
    if isinstance(model, TracedNetwork):
        return model, None
    if not isinstance(model, nn.Module):
        return as_logits(model, x, differentiable=differentiable), "the model is a plain function, not a torch module"
    try:
        return trace(model, x), None
    except TraceError as error:
        if isinstance(model, Adapted) and model.strip_head:
            raise
        return as_logits(model, x, differentiable=differentiable), str(error)


def _two_classes(function: Function) -> Function:
    return lambda x: F.linear(function(x), SECOND_OF_TWO)
