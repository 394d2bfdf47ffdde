"""One walk of projected gradient ascent in an attack set that shrinks to the true one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from verification.attack_set import AttackSet
from verification.attacks.search import Search, per_sample

# Radius at which a walk begins, in units of eps. In a larger set there are fewer poor local maxima to be caught in,
# and as it shrinks the walk follows a good one into the true set.
INFLATION = {"l2": 1.75, "linf": 1.5, "l1": 2.0}

# Lengths of steps in units of eps: as good as infinite while the set shrinks, then falling geometrically.
FAR, FIRST, LAST = 1e4, {"l2": 10.0, "linf": 1.0, "l1": 10.0}, 0.05

MOMENTUM = 0.25  # share of the last change that the next step repeats


def ascend(search: Search, attack_set: AttackSet, start: Tensor, noise: Tensor, steps: int, inflation: float) -> None:
    """Take `steps` gradient steps from `start` and show `search` every point.

    In the first half of the steps the radius falls from inflation·eps to eps; points outside the true set are not
    kept. A zero gradient gives a step along the noise.

    Args:
        search: the samples and their objective.
        attack_set: the true set.
        start: first point, (n, *shape).
        noise: (n, *shape).
        steps: gradient steps, a forward and a backward pass each; one more forward pass looks at the last point.
        inflation: first radius in units of eps.
    """
    delta = last = start
    for step, (radius, length) in enumerate(schedule(steps, inflation, FIRST[attack_set.norm])):
        gradient = search.gradient(delta)
        flat = per_sample((gradient.flatten(1) == 0).all(dim=1), gradient)
        direction = torch.where(flat, noise.flatten(1).roll(step, 1).reshape(noise.shape), gradient)
        momentum = MOMENTUM * (delta - last)
        last = delta
        delta = move(replace(attack_set, eps=radius * attack_set.eps), search.x, delta + momentum, direction, length)
    search.look(delta)


def schedule(steps: int, inflation: float, first: float) -> Iterator[tuple[float, float]]:
    """Radius of the set and length of the step before it is projected, both in units of eps, for every step.

    >>> [(round(radius, 2), round(length, 2)) for radius, length in schedule(6, 8.0, 10.0)]
    [(4.0, 10000.0), (2.0, 10000.0), (1.0, 10000.0), (1.0, 10.0), (1.0, 0.71), (1.0, 0.05)]
    """
    far = (steps + 1) // 2
    for step in range(far):
        yield inflation ** (1 - (step + 1) / far), FAR
    for step in range(steps - far):
        yield 1.0, first * (LAST / first) ** (step / max(steps - far - 1, 1))


def move(attack_set: AttackSet, x: Tensor, delta: Tensor, direction: Tensor, length: float = FAR) -> Tensor:
    """The point of the set nearest to delta + length·eps along the direction (its sign for linf), float64.

    A step of length FAR maximises the linear function with that gradient, but for near-ties: ascent becomes a power
    method (theory L3.1, L3.4), and is sparse for l1.
    """
    along = "linf" if attack_set.norm == "linf" else "l2"
    return attack_set.project(delta + length * attack_set.eps * steepest(direction, along), x)


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
