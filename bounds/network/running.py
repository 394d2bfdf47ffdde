"""Running a user's model: its logits picked, in float64 where its own code allows that."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from bounds.network.adapted import pick
from bounds.network.checks import Function
from bounds.network.errors import FAILURES, InvalidNetwork, first_line

Model = nn.Module | Callable[[Tensor], Any]


def in_float64(model: Model, samples: Tensor) -> tuple[Function, torch.dtype]:
    """The model as a function that takes and returns float64, and the precision that it computes in.

    A module is copied, in eval mode and with frozen weights. Where its code does not run in float64 (constants of
    another type made in forward, say) it runs in its own precision.

    Raises:
        InvalidNetwork: when it does not run on the samples, or does not return real numbers (batch, outputs).
    """
    if not isinstance(model, nn.Module):
        function = _converting(model, samples.dtype)
        return function, _precision(model, samples)
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    for precision in (torch.float64, own):
        module = frozen(model, precision)
        taken = precision if samples.is_floating_point() else samples.dtype
        try:
            found = _precision(module, samples.to(taken))
        except InvalidNetwork:
            if precision == own:
                raise
            continue
        return _converting(module, taken), found
    raise AssertionError("the second try returns or raises")


def frozen(module: nn.Module, precision: torch.dtype = torch.float64) -> nn.Module:
    """A copy of a module in a precision, in eval mode and with frozen weights."""
    return copy.deepcopy(module).to(precision).eval().requires_grad_(False)


def _converting(model: Model, dtype: torch.dtype) -> Function:
    """Takes float64 and returns it; the model gets a copy, since it may work in place."""

    def function(x: Tensor) -> Tensor:
        return pick(model(x.to(dtype, copy=True)), None).double()

    return function


def _precision(model: Model, samples: Tensor) -> torch.dtype:
    """The type of the model's outputs for some samples, which are checked."""
    shape = tuple(samples.shape[1:])
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = pick(model(samples.clone()), None)
    except InputError as error:
        raise InvalidNetwork(str(error)) from error
    except FAILURES as error:
        raise InvalidNetwork(f"the network does not run on an input of shape {shape}: {first_line(error)}") from error
    if not output.is_floating_point():
        raise InvalidNetwork(f"the network returns a tensor of type {output.dtype}; real logits are expected")
    if output.ndim != 2 or len(output) != len(samples) or output.shape[1] == 0:
        raise InvalidNetwork(
            f"the network returns shape {tuple(output.shape)} for {len(samples)} inputs, not (batch, classes)"
        )
    return output.dtype


def few(x: Tensor) -> Tensor:
    """Some samples to try a model on: the first, a random one, and the second if there is one; in float64.

    Integers are left alone and not made up.

    Raises:
        InvalidNetwork: without a sample, a batch axis, or with NaN or infinity.
    """
    if x.ndim < 2 or len(x) == 0:
        raise InvalidNetwork(f"the example has shape {tuple(x.shape)}: (batch, *input_shape) is expected")
    chosen = x[:2].detach()
    if not chosen.is_floating_point() and chosen.dtype != torch.uint8:
        return x[:3] if len(x) > 1 else torch.cat([chosen, torch.zeros_like(chosen)])
    if not bool(torch.isfinite(chosen).all()):
        raise InvalidNetwork("the example contains NaN or infinity")
    chosen = chosen.double()
    noise = torch.randn(chosen[:1].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cat([chosen[:1], noise, chosen[1:]])
