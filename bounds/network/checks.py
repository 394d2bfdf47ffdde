"""What a network must be before it is traced: finite, one tensor to one tensor, each sample on its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bounds.network.errors import SamplesInteract, TraceError


def pair_of(module: nn.Module, example: Tensor) -> Tensor:
    """Two inputs in the precision of the module: the first of the example and a random one.

    Args:
        module: the network.
        example: one or more inputs, of shape (batch, *input_shape).

    Raises:
        TraceError: for an example without a batch axis, empty, or not finite.
    """
    if example.ndim < 2 or len(example) == 0:
        raise TraceError(f"the example has shape {tuple(example.shape)}: (batch, *input_shape) is expected")
    if not bool(torch.isfinite(example).all()):
        raise TraceError("the example contains NaN or infinity")
    real = example if example.is_floating_point() else example.float()
    parameter = next((p for p in module.parameters() if p.is_floating_point()), real)
    first = real[:1].detach().to(parameter.device, parameter.dtype)
    return torch.cat([first, _noise(first, seed=0)])


def check_samples_are_independent(module: nn.Module, pair: Tensor) -> None:
    """Refuses a network that is random or whose output for a sample depends on the rest of the batch.

    Raises:
        TraceError: when two runs differ.
        SamplesInteract: when the rest of the batch changes the output for a sample.
    """
    with torch.random.fork_rng(devices=[]):  # leaves the global generator as it was
        outputs = run(module, pair)
        if differ(outputs, run(module, pair)):
            raise TraceError("two runs on one input differ: the network is random in eval mode (dropout left on?)")
        # A third sample, because the batch statistics of two normalise any pair to -1 and 1.
        three = run(module, torch.cat([_noise(pair[:1], seed=1), pair]))
        if differ(outputs, three[1:]) or differ(outputs[:1], run(module, pair[:1])):
            raise SamplesInteract("the output for a sample changes with the rest of its batch (batch statistics?)")


def check_weights(module: nn.Module) -> None:
    """Refuses parameters with NaN or infinity and buffers with NaN (an attention mask may hold -inf).

    >>> layer = nn.Linear(2, 1)
    >>> _ = nn.init.constant_(layer.weight, float("nan"))
    >>> check_weights(layer)
    Traceback (most recent call last):
        ...
    bounds.network.errors.TraceError: weight contains NaN or infinity
    """
    for name, parameter in module.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise TraceError(f"{name} contains NaN or infinity")
    for name, buffer in module.named_buffers():
        if bool(torch.isnan(buffer).any()):
            raise TraceError(f"{name} contains NaN")


def differ(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs differ by more than rounding in a network of their precision can explain."""
    tolerance = torch.finfo(one.dtype).eps ** 0.5 * one.abs().max()
    return not bool(((one - other).abs() <= tolerance).all())


def run(module: nn.Module, inputs: Tensor) -> Tensor:
    """The module's output (batch, classes), checked.

    Raises:
        TraceError: when the module does not run, or does not return one tensor (batch, classes).
    """
    shape = tuple(inputs.shape[1:])
    try:
        with torch.no_grad():
            output = module(inputs.clone())  # a copy: the network may work in place
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        cause = (str(error).strip() or repr(error)).splitlines()[0]
        raise TraceError(f"the network does not run on an input of shape {shape}: {cause}") from error
    if not isinstance(output, Tensor) or not output.is_floating_point():
        raise TraceError(f"the network returns a {type(output).__name__}; one real tensor (batch, classes) is expected")
    if output.ndim != 2 or len(output) != len(inputs) or output.shape[1] == 0:
        raise TraceError(
            f"the network returns shape {tuple(output.shape)} for {len(inputs)} inputs, not (batch, classes)"
        )
    if not bool(torch.isfinite(output).all()):
        raise TraceError("the network's output contains NaN or infinity")
    return output


def _noise(sample: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sample.shape, generator=generator, dtype=torch.float64).to(sample)
