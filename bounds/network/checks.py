"""What a network must be before anything is measured: a deterministic function of one sample, and its derivative."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bounds.network.errors import FAILURES, InvalidNetwork, SamplesInteract, first_line

Function = Callable[[Tensor], Tensor]

STEPS = (1e-5, 1e-6, 1e-4, 1e-7, 1e-3, 1e-8, 1e-2)
"""Steps of the finite differences, until one agrees: the best counts of those within which neither kinks, nor
curvature, nor rounding matter."""

MISMATCH, COARSE = 1e-3, 0.1
"""Largest relative difference between a derivative and finite differences, in float64 and in coarser precisions."""

DIRECTIONS, NEAR = 3, 1e-3
RUNS = 3
"""Further runs that must agree with the first: dropout on a few outputs may give the same twice."""

DISCONNECTED = (
    "its outputs are disconnected from its inputs, so that there is no Jacobian (no_grad, detach or an integer cast in"
    " forward?)"
)


def check_weights(module: nn.Module) -> None:
    """Refuses parameters with NaN or infinity and buffers with NaN (an attention mask may hold -inf).

    >>> layer = nn.Linear(2, 1)
    >>> _ = nn.init.constant_(layer.weight, float("nan"))
    >>> check_weights(layer)
    Traceback (most recent call last):
        ...
    bounds.network.errors.InvalidNetwork: weight contains NaN or infinity
    """
    for name, parameter in module.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise InvalidNetwork(f"{name} contains NaN or infinity")
    for name, buffer in module.named_buffers():
        if bool(torch.isnan(buffer).any()):
            raise InvalidNetwork(f"{name} contains NaN")


def check_samples(function: Function, x: Tensor, precision: torch.dtype = torch.float64) -> Tensor:
    """Refuses a function that is random, or whose output for a sample depends on the rest of the batch.

    Args:
        function: (batch, *shape) -> (batch, outputs).
        x: at least two samples.
        precision: that the function computes in.

    Returns:
        The outputs of the first two.

    Raises:
        InvalidNetwork: when two runs on the same samples differ.
        SamplesInteract: when the rest of the batch changes the output for a sample.

    >>> check_samples(lambda x: x - x.mean(0), torch.eye(2))
    Traceback (most recent call last):
        ...
    bounds.network.errors.SamplesInteract: the output for a sample changes with the rest of its batch (batch
    statistics?)
    """
    pair = x[:2]
    unit = torch.finfo(precision).eps
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # leaves the global generator as it was
        outputs = function(pair)
        if any(differ(outputs, function(pair), precision) for _ in range(RUNS)):
            raise InvalidNetwork(
                "two runs on one input differ: the network is random in eval mode (dropout or noise left on?)"
            )
        # What roundings make of the outputs, where terms cancel: as much as such a change of the inputs does.
        nearby = function(pair * (1 + 8 * unit)) if pair.is_floating_point() else outputs
        floor = 64 * float((nearby - outputs).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().max())
        # A third sample, because the batch statistics of two normalise any pair to -1 and 1.
        three = _other_batch(function, torch.cat([x[-1:], pair]))
        mixed = differ(outputs, three[1:], precision, floor)
        if mixed or differ(outputs[:1], _other_batch(function, pair[:1]), precision, floor):
            raise SamplesInteract("the output for a sample changes with the rest of its batch (batch statistics?)")
    return outputs


def _other_batch(function: Function, x: Tensor) -> Tensor:
    try:
        return function(x)
    except FAILURES as error:
        raise InvalidNetwork(
            "the network works for one batch size only: in forward, take the batch size from x.shape[0]"
            f" ({first_line(error)})"
        ) from error


def check_derivative(function: Function, x: Tensor, precision: torch.dtype = torch.float64) -> None:
    """Refuses a function whose derivative, as autograd takes it, is not its own.

    So it is with parts under no_grad, detached values, integer casts, straight-through estimators, and wrong
    backward passes of custom functions: a Jacobian then says nothing of the function, and any verdict on it is wrong.
    Random directional derivatives of random combinations of the outputs, near the samples, are compared with finite
    differences.

    Args:
        function: (batch, *shape) -> (batch, outputs) in float64.
        x: some samples, float64.
        precision: that the function computes in.

    Raises:
        InvalidNetwork: says how large the mismatch is.

    >>> check_derivative(lambda x: x * x.detach(), torch.ones(1, 3, dtype=torch.float64))
    Traceback (most recent call last):
        ...
    bounds.network.errors.InvalidNetwork: its derivative by autograd is not that of the function: off by 50 % of what
    finite differences show (no_grad, detach, an integer cast, or a custom backward pass in forward?)
    """
    generator = torch.Generator().manual_seed(0)

    def noise(shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    # Near the samples, not at them: where a unit is exactly at its kink, a black pixel say, slopes are a convention.
    point = (x + NEAR * noise(x.shape)).requires_grad_(True)
    with torch.enable_grad():
        outputs = function(point)
        if not outputs.requires_grad:
            raise InvalidNetwork(DISCONNECTED)
        weights = noise(outputs.shape)
        (gradient,) = torch.autograd.grad((weights * outputs).sum(), point, allow_unused=True)
    gradient = torch.zeros_like(point) if gradient is None else gradient
    point.requires_grad_(False)
    gaps = [_mismatch(function, point, weights, gradient, noise(x.shape), precision) for _ in range(DIRECTIONS)]
    worst = max(gaps)
    if worst > _tolerance(precision):
        raise InvalidNetwork(
            f"its derivative by autograd is not that of the function: off by {100 * worst:.2g} % of what finite"
            " differences show (no_grad, detach, an integer cast, or a custom backward pass in forward?)"
        )


def _mismatch(
    function: Function, point: Tensor, weights: Tensor, gradient: Tensor, direction: Tensor, precision: torch.dtype
) -> float:
    """Largest relative difference over the samples between a directional derivative and the best finite difference."""
    predicted = (gradient * direction).flatten(1).sum(1)
    scale = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    smallest = torch.full_like(predicted, torch.inf)

    def value(x: Tensor) -> Tensor:
        return (weights * function(x)).flatten(1).sum(1)

    with torch.no_grad():
        here = value(point)
        rounding = 16 * torch.finfo(precision).eps * (weights * function(point)).abs().flatten(1).sum(1)
        for step in STEPS:
            ahead, behind = value(point + step * direction), value(point - step * direction)
            measured = (ahead - behind) / (2 * step)
            # What a kink, the curvature or cancelling terms within the step make of it.
            doubt = torch.maximum((ahead - 2 * here + behind).abs(), rounding) / step
            size = torch.maximum(torch.maximum(predicted.abs(), measured.abs()), 0.1 * scale)
            gap = torch.where(size > 0, (predicted - measured).abs() / size, 0.0)
            smallest = torch.where(doubt <= _tolerance(precision) * size, torch.minimum(smallest, gap), smallest)
            if bool((smallest <= _tolerance(precision)).all()):
                break
    return float(smallest.masked_fill(~smallest.isfinite(), 0.0).max())


def _tolerance(precision: torch.dtype) -> float:
    return MISMATCH if precision == torch.float64 else COARSE


def differ(one: Tensor, other: Tensor, precision: torch.dtype, floor: float = 0.0) -> bool:
    """Whether outputs differ by more than rounding, at least `floor`, can explain in a network of this precision."""
    sizes = one[one.isfinite()].abs()
    largest = float(sizes.max()) if len(sizes) else 0.0
    tolerance = max(floor, torch.finfo(precision).eps ** 0.5 * largest)
    same = ((one - other).abs() <= tolerance) | (one == other) | (one.isnan() & other.isnan())
    return not bool(same.all())
