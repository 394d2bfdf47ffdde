"""One walk of projected gradient ascent in a region that shrinks to the true one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from verification.attacks.search import Search, per_sample

# Length, in units of the region's size, of a step that is as good as infinite, and of the last step.
FAR, LAST = 1e6, 0.05

MOMENTUM = 0.25  # share of the last change that the next step repeats


@dataclass(frozen=True)
class Region:
    """Allowed perturbations of some samples, and larger copies of that set.

    In a larger set there are fewer poor local maxima to be caught in, and as it shrinks a walk follows a good one
    into the true set. The numbers are what measured best, see benchmarks/attacks.py.

    Attributes:
        project: (points (n, *shape), radius in units of the true one) -> nearest points of the set of that radius,
            float64.
        size: length, in input units, that lengths of steps are counted in.
        along: steps go along the gradient ("l2") or its sign ("linf").
        inflation: radius that a walk begins with, in units of the true one.
        first: length of the first step after the set has shrunk.
    """

    project: Callable[[Tensor, float], Tensor]
    size: float
    along: Literal["l2", "linf"]
    inflation: float
    first: float

    def move(self, delta: Tensor, direction: Tensor, length: float = FAR, radius: float = 1.0) -> Tensor:
        """The point nearest to delta + length·size along the direction.

        A step of length FAR maximises the linear function with that gradient, but for near-ties: ascent becomes a
        power method (theory L3.1, L3.4), and is sparse in an l1 ball.
        """
        return self.project(delta + length * self.size * steepest(direction, self.along), radius)


def ascend(search: Search, region: Region, start: Tensor, noise: Tensor, steps: int, growth: int = 1) -> None:
    """Take gradient steps and show `search` every point.

    Args:
        search: the samples and their objective; it keeps the best point that is allowed.
        region: where they may go. It shrinks to the true set in the first half of the steps.
        start: first point, (n, *shape).
        noise: what takes the place of a zero gradient, (n, *shape).
        steps: gradient steps, a forward and a backward pass each; one more forward pass looks at the last point.
        growth: the walk begins with radius inflation^growth.
    """
    delta = last = start
    for step, (radius, length) in enumerate(schedule(steps, region.inflation**growth, region.first)):
        gradient = search.gradient(delta)
        flat = per_sample((gradient.flatten(1) == 0).all(dim=1), gradient)
        direction = torch.where(flat, noise.flatten(1).roll(step, 1).reshape(noise.shape), gradient)
        momentum = MOMENTUM * (delta - last)
        last = delta
        delta = region.move(delta + momentum, direction, length, radius)
    search.look(delta)


def schedule(steps: int, inflation: float, first: float) -> Iterator[tuple[float, float]]:
    """Radius of the region and length of the step before it is projected, for every step.

    >>> [(round(radius, 2), round(length, 2)) for radius, length in schedule(6, 8.0, 10.0)]
    [(4.0, 1000000.0), (2.0, 1000000.0), (1.0, 10.0), (1.0, 1.71), (1.0, 0.29), (1.0, 0.05)]
    """
    far = steps // 2 - 1
    if far < 1:  # too few steps to do anything but jump
        yield from [(1.0, FAR)] * steps
        return
    for step in range(far):
        yield inflation ** (1 - (step + 1) / (far + 1)), FAR
    for step in range(steps - far):
        yield 1.0, first * (LAST / first) ** (step / (steps - far - 1))


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """Unit vector of the norm along which the loss rises fastest, per sample: the dual map (theory L3.1).

    A zero gradient gives a zero step.

    >>> steepest(torch.tensor([[3.0, -4.0]]), "l2"), steepest(torch.tensor([[3.0, -4.0]]), "l1")
    (tensor([[ 0.6000, -0.8000]]), tensor([[ 0., -1.]]))
    """
    flat = gradient.flatten(1)
    if norm == "linf":
        step = flat.sign()
    elif norm == "l2":
        # Scaled first: the squares of a tiny gradient underflow.
        scaled = flat / flat.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
        step = functional.normalize(scaled, dim=1)
    else:
        largest = flat.abs().argmax(dim=1, keepdim=True)
        step = torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest).sign())
    return step.reshape(gradient.shape)
