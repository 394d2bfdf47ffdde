"""Where walks begin: at x, at random, and along the directions that stretch or bend the network most at x."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from verification.attack_set import AttackSet
from verification.attacks.ascent import move
from verification.attacks.objectives import OBJECTIVES
from verification.attacks.search import Search, per_sample

# (search, set, noise (n, *shape), gradient passes to spend) -> first point of a walk, (n, *shape).
Start = Callable[[Search, AttackSet, Tensor, int], Tensor]

# Distance from x, in units of eps, at which differences stand for derivatives.
PROBE = 1e-4


def clean_point(search: Search, attack_set: AttackSet, noise: Tensor, passes: int) -> Tensor:
    """The input itself."""
    return torch.zeros_like(search.x)


def random_point(search: Search, attack_set: AttackSet, noise: Tensor, passes: int) -> Tensor:
    """The noise scaled to norm eps and projected onto the set."""
    return attack_set.project(attack_set.eps * noise / per_sample(attack_set.size(noise), noise), search.x)


def stretched_point(search: Search, attack_set: AttackSet, noise: Tensor, passes: int) -> Tensor:
    """Along the top singular vector of the Jacobian J at x.

    Near x the gradient of ‖f(x + v) - f(x)‖_2 is J^T Jv / ‖Jv‖_2, so that ascent is the power method (theory L3.2,
    L3.4).
    """
    return _farthest(partial(search.gradient, objective=OBJECTIVES["distance"]), search, attack_set, noise, passes)


def bent_point(search: Search, attack_set: AttackSet, noise: Tensor, passes: int) -> Tensor:
    """Along the top eigenvector of the objective's Hessian at x; along the noise where that is zero.

    Products with the Hessian are differences of gradients.
    """
    if not passes:
        return _farthest(search.gradient, search, attack_set, noise, 0)
    at_x = search.gradient(torch.zeros_like(search.x))
    return _farthest(lambda v: search.gradient(v) - at_x, search, attack_set, noise, passes - 1)


# In the order in which walks use them: what measured best first.
STARTS: tuple[Start, ...] = (random_point, bent_point, stretched_point, clean_point)


def _farthest(
    image: Callable[[Tensor], Tensor], search: Search, attack_set: AttackSet, noise: Tensor, passes: int
) -> Tensor:
    """One of the two points of the set farthest along a top eigenvector, the one with the larger objective.

    Args:
        image: a symmetric operator applied to a perturbation close to 0, up to a positive factor per sample.
        search: the samples.
        attack_set: the set; every iterate is the point of it farthest along the image of the last one, which makes
            this the power method for the set's norm, box included.
        noise: first vector.
        passes: times that the operator is applied.
    """
    direction, zero = noise, torch.zeros_like(search.x)
    for _ in range(passes):
        image_of_last = image(PROBE * move(attack_set, search.x, zero, direction))
        flat = per_sample((image_of_last.flatten(1) == 0).all(dim=1), noise)
        direction = torch.where(flat, direction, image_of_last)
    one, other = (move(attack_set, search.x, zero, sign * direction) for sign in (1, -1))
    return torch.where(per_sample(search.look(one) >= search.look(other), noise), one, other)
