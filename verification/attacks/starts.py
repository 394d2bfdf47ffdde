"""Where walks begin: at random, at x, and along the directions that stretch or bend the network most at x."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from verification.attacks.ascent import Region
from verification.attacks.objectives import OBJECTIVES
from verification.attacks.search import Search, per_sample

# (samples, where they may go, noise (n, *shape), gradient passes to spend) -> first point of a walk, (n, *shape).
Start = Callable[[Search, Region, Tensor, int], Tensor]

# Distance from x, in units of the region, at which differences stand for derivatives.
PROBE = 1e-4


def clean_point(search: Search, region: Region, noise: Tensor, passes: int) -> Tensor:
    """The input itself."""
    return torch.zeros_like(search.x)


def random_point(search: Search, region: Region, noise: Tensor, passes: int) -> Tensor:
    """The point of the region farthest along the noise."""
    return region.move(torch.zeros_like(search.x), noise)


def stretched_point(search: Search, region: Region, noise: Tensor, passes: int) -> Tensor:
    """Along the top singular vector of the Jacobian J at x.

    Near x the gradient of ‖f(x + v) - f(x)‖_2 is J^T Jv / ‖Jv‖_2, so that ascent is the power method (theory L3.2,
    L3.4).
    """
    return _farthest(lambda v: search.gradient(v, OBJECTIVES["distance"]), search, region, noise, passes)


def bent_point(search: Search, region: Region, noise: Tensor, passes: int) -> Tensor:
    """Along the top eigenvector of the objective's Hessian at x; along the noise where that is zero.

    Products with the Hessian are differences of gradients.
    """
    return _farthest(lambda v: search.gradient(v) - search.slope, search, region, noise, passes)


# With the share of a walk's gradient passes that each may spend, in the order in which walks use them: what measured
# best first.
STARTS: tuple[tuple[Start, float], ...] = (
    (random_point, 0.0),
    (bent_point, 0.1),
    (stretched_point, 0.1),
    (clean_point, 0.0),
)


def _farthest(image: Callable[[Tensor], Tensor], search: Search, region: Region, noise: Tensor, passes: int) -> Tensor:
    """Of the two points farthest along a top eigenvector of a symmetric operator, the one with the larger objective.

    Args:
        image: the operator applied to a perturbation close to 0, up to a positive factor per sample.
        search: the samples.
        region: every iterate is its point farthest along the image of the last one: the power method for the region's
            norm, box included.
        noise: first vector.
        passes: how often the operator is applied.
    """
    direction, zero = noise, torch.zeros_like(search.x)
    for _ in range(passes):
        stretched = image(PROBE * region.move(zero, direction))
        flat = per_sample((stretched.flatten(1) == 0).all(dim=1), noise)
        direction = torch.where(flat, direction, stretched)
    one, other = region.move(zero, direction), region.move(zero, -direction)
    return torch.where(per_sample(search.look(one) >= search.look(other), noise), one, other)
