"""Sets of allowed perturbations: a norm ball, alone or cut with the box of valid inputs (theory §0)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.errors import InputError, unknown_name

# Name of the attack norm -> (p, its dual exponent q).
NORMS: dict[str, tuple[float, float]] = {"l2": (2.0, 2.0), "linf": (math.inf, 1.0), "l1": (1.0, math.inf)}

# Projections aim at a radius smaller by this relative amount, so that ‖delta‖ <= eps in whatever order it is
# summed.
SHRINKAGE = 2.0**-46

# Iterations for the multiplier of the ℓ2 support function, and candidates for that of ℓ1.
MULTIPLIER_STEPS = 8
LARGEST = 64

# Halvings of the bracket of a projection's multiplier: beyond float64's resolution.
HALVINGS = 60


@dataclass(frozen=True)
class AttackSet:
    """{delta : ‖delta‖_p <= eps}, and x + delta inside the box if there is one.

    Attributes:
        norm: "l2", "linf" or "l1".
        eps: radius, in input units.
        box: smallest and largest valid input value; None for the plain ball.

    Raises:
        InputError: for an unknown norm, a negative or infinite radius or an empty box.

    >>> AttackSet("linf", 0.5, (0.0, 1.0)).project(torch.tensor([[2.0, -0.25]]), torch.tensor([[0.75, 0.0]]))
    tensor([[0.2500, 0.0000]], dtype=torch.float64)
    """

    norm: str
    eps: float
    box: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise unknown_name("norm", self.norm, NORMS)
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise InputError(f"attack radius {self.eps!r}: it must be a finite number >= 0")
        if self.box is not None and not self.box[0] < self.box[1]:
            raise InputError(f"box {self.box!r}: the smallest value must lie below the largest")

    @property
    def p(self) -> float:
        """Exponent of the attack norm."""
        return NORMS[self.norm][0]

    @property
    def q(self) -> float:
        """Exponent of the dual norm, 1/p + 1/q = 1."""
        return NORMS[self.norm][1]

    def limits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest perturbation of every coordinate that the box allows, float64, shaped like x.

        Raises:
            InputError: if an input lies outside the box.
        """
        x = x.double()
        if self.box is None:
            return torch.full_like(x, -math.inf), torch.full_like(x, math.inf)
        low, high = self.box
        if not bool(((x >= low) & (x <= high)).all()):
            raise InputError(f"an input lies outside the box [{low:g}, {high:g}]")
        lower, upper = low - x, high - x
        # Rounding may leave x + limit one step outside the box.
        lower = torch.where(x + lower < low, torch.nextafter(lower, torch.zeros_like(x)), lower)
        upper = torch.where(x + upper > high, torch.nextafter(upper, torch.zeros_like(x)), upper)
        return lower, upper

    def reach(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest value of each coordinate of delta over the set, float64, shaped like x.

        >>> AttackSet("l2", 0.5, (0.0, 1.0)).reach(torch.tensor([[0.25]]))
        (tensor([[-0.2500]], dtype=torch.float64), tensor([[0.5000]], dtype=torch.float64))
        """
        lower, upper = self.limits(x)
        return lower.clamp(min=-self.eps), upper.clamp(max=self.eps)

    def support(self, coefficients: Tensor, x: Tensor) -> Tensor:
        """Support function of the set, max of <a, delta> over delta, from above.

        Exact to rounding for the plain balls (dual norms) and for linf; with a box, l2 and l1 are bounded by weak
        duality at a multiplier close to the best one (exactly the best one in most cases).

        Args:
            coefficients: a, (n, rows, *shape), float64.
            x: the inputs that perturbations are added to, (n, *shape).

        Returns:
            Upper bounds, (n, rows), float64, rounded upwards; differentiable in the coefficients.

        >>> a = torch.tensor([[[3.0, -4.0]]], dtype=torch.float64)
        >>> round(AttackSet("l2", 1.0).support(a, torch.zeros(1, 2)).item(), 12)
        5.0
        """
        a, x = coefficients.flatten(2), x.flatten(1)
        # The walls of the box itself, not pulled inwards as for a projection: an upper bound must cover all of it.
        low, high = (-math.inf, math.inf) if self.box is None else self.box
        x = x.double()[:, None]
        caps = torch.where(a > 0, high - x, x - low).clamp(min=0, max=self.eps)
        if self.eps == 0 or a.shape[2] == 0:
            return torch.zeros(a.shape[:2], dtype=a.dtype)
        value = _SUPPORT[self.norm](a.abs(), caps, self.eps)
        # A sum of nonnegative terms with a few roundings each.
        return value * (1 + 2 * (a.shape[2] + 32) * 2.0**-53)

    def project(self, delta: Tensor, x: Tensor) -> Tensor:
        """Nearest point of the set in Euclidean distance, per sample.

        Args:
            delta: perturbations, (n, *shape).
            x: the inputs they are added to, (n, *shape).

        Returns:
            float64 perturbations that lie inside the set as measured in float64 (radius shrunk by 2^-46).
        """
        lower, upper = (limit.flatten(1) for limit in self.limits(x))
        flat = delta.double().flatten(1)
        if self.norm == "linf":
            nearest = torch.clamp(flat, lower.clamp(min=-self.eps), upper.clamp(max=self.eps))
        else:
            nearest = torch.clamp(flat, lower, upper)
            outside = self.size(nearest) > self.eps
            if bool(outside.any()):
                shrink = _scaled if self.norm == "l2" else _soft_threshold
                radius = self.eps * (1 - SHRINKAGE)
                nearest[outside] = _onto_sphere(
                    flat[outside], lower[outside], upper[outside], shrink, lambda v: self.size(v) <= radius
                )
        return nearest.reshape(delta.shape)

    def size(self, delta: Tensor) -> Tensor:
        """‖delta‖_p per sample, (n,), float64, input units."""
        sizes: Tensor = torch.linalg.vector_norm(delta.double().flatten(1), ord=self.p, dim=1)
        return sizes

    def contains(self, delta: Tensor, x: Tensor) -> Tensor:
        """Whether each perturbation lies in the set, measured in float64; (n,) bool."""
        inside = self.size(delta) <= self.eps
        if self.box is None:
            return inside
        moved = (x.double() + delta.double()).flatten(1)
        return inside & (moved >= self.box[0]).all(dim=1) & (moved <= self.box[1]).all(dim=1)


def _scaled(v: Tensor, keep: Tensor) -> Tensor:
    """Unclamped minimiser of the ℓ2 Lagrangian, from 0 (keep = 0) to v (keep = 1)."""
    return v * keep


def _soft_threshold(v: Tensor, keep: Tensor) -> Tensor:
    """Unclamped minimiser of the ℓ1 Lagrangian, from 0 (keep = 0) to v (keep = 1)."""
    threshold = (1 - keep) * v.abs().amax(dim=1, keepdim=True)
    return v.sign() * (v.abs() - threshold).clamp(min=0)


def _onto_sphere(
    v: Tensor,
    lower: Tensor,
    upper: Tensor,
    shrink: Callable[[Tensor, Tensor], Tensor],
    inside: Callable[[Tensor], Tensor],
) -> Tensor:
    """Projection of points outside ball ∩ box, by bisection on the ball's multiplier.

    Given the multiplier the constraints separate into coordinates (the box contains 0), and the norm of
    clamp(shrink(v, keep)) grows with `keep`; the end of the bracket that lies inside is returned.
    """
    inner = torch.zeros(len(v), 1, dtype=v.dtype, device=v.device)
    outer = torch.ones_like(inner)
    for _ in range(HALVINGS):
        middle = (inner + outer) / 2
        fits = inside(torch.clamp(shrink(v, middle), lower, upper))[:, None]
        inner, outer = torch.where(fits, middle, inner), torch.where(fits, outer, middle)
    return torch.clamp(shrink(v, inner), lower, upper)


def _support_linf(a: Tensor, caps: Tensor, eps: float) -> Tensor:
    """Every coordinate goes to its end."""
    return (a * caps).sum(2)


def _support_l2(a: Tensor, caps: Tensor, eps: float) -> Tensor:
    """min over lambda of lambda eps²/2 + sum of max over 0 <= v <= cap of (a v - lambda v²/2).

    Every lambda > 0 gives an upper bound. The best one solves eps² = sum of min(cap, a/lambda)²; the iteration comes
    down to it from ‖a‖/eps, the answer without caps.
    """
    scale = a.detach().amax(dim=2, keepdim=True).clamp(min=torch.finfo(a.dtype).tiny)
    a = a / scale  # squares must not underflow
    with torch.no_grad():
        multiplier = torch.linalg.vector_norm(a, dim=2, keepdim=True) / eps
        capped = a > multiplier * caps
        for _ in range(MULTIPLIER_STEPS):
            if not bool(capped.any()):
                break
            spent = torch.where(capped, (caps / eps).square(), 0.0).sum(2, keepdim=True)  # of eps²
            free = torch.where(capped, 0.0, a.square()).sum(2, keepdim=True)
            multiplier = torch.minimum(multiplier, (free / (1 - spent).clamp(min=1e-6)).sqrt() / eps).clamp(min=1e-100)
            capped = a > multiplier * caps
        multiplier = multiplier.clamp(min=1e-100)
    gains = torch.where(capped, caps * (a - multiplier * caps / 2), a.square() / (2 * multiplier))
    best: Tensor = multiplier[..., 0] * eps * eps / 2 + gains.sum(2)
    return best * scale[..., 0]


def _support_l1(a: Tensor, caps: Tensor, eps: float) -> Tensor:
    """A fractional knapsack: the largest coordinates go to their ends until eps is spent.

    Its dual, min over lambda of lambda eps + sum of cap (a - lambda)_+, is an upper bound for every lambda >= 0.
    """
    with torch.no_grad():
        worth = torch.where(caps > 0, a, 0.0)
        largest, index = worth.topk(min(LARGEST, a.shape[2]), dim=2)
        spent = caps.gather(2, index).cumsum(2)
        critical = (spent < eps).sum(2, keepdim=True)
        exhausted = (critical == a.shape[2]).squeeze(2)  # all coordinates at their ends
        multiplier = largest.gather(2, critical.clamp(max=largest.shape[2] - 1))[..., 0].masked_fill(exhausted, 0.0)
    return multiplier * eps + (caps * (a - multiplier[..., None]).clamp(min=0)).sum(2)


_SUPPORT: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "linf": _support_linf,
    "l2": _support_l2,
    "l1": _support_l1,
}
