"""Inside a linear piece the adversarial objective is the operator-norm one (theory L3.5), on trained networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from bounds.inputs import Data
from bounds.measure.margin import margins_of_logits
from bounds.network import TracedNetwork, trace
from bounds.network.logits import as_logits
from verification.certify.linear_piece import linear_piece_radius
from verification.power_method import RESOLUTION, compare_objectives


@dataclass
class _Differences:
    """At one fraction of the radius, of the samples that could be compared."""

    objective: list[float] = field(default_factory=list)
    gradient: list[float] = field(default_factory=list)
    inside: int = 0

    def record(self, fraction: float) -> dict[str, Any]:
        return {
            "fraction": fraction,
            "objective": max(self.objective, default=None),
            "gradient": max(self.gradient, default=None),
            "mean_objective": sum(self.objective) / len(self.objective) if self.objective else None,
            "mean_gradient": sum(self.gradient) / len(self.gradient) if self.gradient else None,
            "compared": len(self.objective),
            "gradients_compared": len(self.gradient),
            "inside": self.inside,
        }


def piece_equality(
    network: nn.Module,
    training: Data,
    held_out: Data,
    *,
    norm: str,
    r: float,
    samples: int,
    fractions: Sequence[float],
    steps: int = 20,
) -> dict[str, Any]:
    """Difference of max_δ[ℓ + λ‖f(x + δ) - f(x)‖_r] and ℓ + λε‖J(x)‖_{p→r} at ε = fraction·r(x), sample by sample.

    r(x) is the radius of the sample's linear piece: for fractions below 1 both are equal (L3.5), and so are their
    gradients in the parameters; above 1 nothing is claimed. λ = 1/ε, so that the loss and the penalty ‖J‖_{p→r} have
    comparable sizes however small the piece is. Use it where the operator norm is exact: (l2, 2), (linf, 1) with up to
    12 classes, (l1, any). See `verification.power_method.compare_objectives` for how the maximum is found.

    Args:
        network: in eval mode, piecewise linear.
        training: not used.
        held_out: measured are random samples of them, the same for every network.
        norm: of the plain ball: "l2", "linf" or "l1".
        r: exponent of the logit norm, >= 1.
        samples: how many.
        fractions: of r(x), > 0; in an affine network, which has no radius, of 1.
        steps: of the ascent per start.

    Returns:
        "norm", "r", "samples", "radius": {"median", "smallest"} (None if infinite), "results": per fraction
        {"objective": largest |difference| / (λε‖J‖_{p→r}), "gradient": largest relative difference of the parameter
        gradients, "mean_objective", "mean_gradient", "compared", "gradients_compared", "inside"}. Not compared are
        samples on a kink or with J = 0; their gradients neither, where the maximiser is not unique (the two found are
        not parallel).

    Raises:
        InputError: for a network that is not piecewise linear.

    >>> import torch
    >>> data = Data("toy", torch.zeros(1, 2), torch.tensor([0]), 2)
    >>> stretch = nn.Linear(2, 2, bias=False)
    >>> stretch.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> found = piece_equality(stretch, data, data, norm="l2", r=2, samples=1, fractions=[0.9])
    >>> found["results"][0]["objective"] < 1e-12, found["results"][0]["gradients_compared"]
    (True, 1)
    """
    chosen = held_out.subset(min(samples, len(held_out)), seed=0)
    x, y = next(chosen.batches(len(chosen)))
    traced = trace(network, x[:2])
    radii = linear_piece_radius(traced, x, norm).tolist()
    differences = {float(fraction): _Differences() for fraction in fractions}
    for j, radius in enumerate(radii):
        for fraction, found in differences.items():
            eps = fraction * (radius if math.isfinite(radius) else 1.0)
            if eps > 0:
                _compare(network, traced, x[j : j + 1], y[j : j + 1], norm, eps, float(r), steps, found)
    middle, least = sorted(radii)[len(radii) // 2], min(radii)
    return {
        "norm": norm,
        "r": float(r),
        "samples": len(chosen),
        "radius": {
            "median": middle if math.isfinite(middle) else None,
            "smallest": least if math.isfinite(least) else None,
        },
        "results": [found.record(fraction) for fraction, found in differences.items()],
    }


def _compare(
    network: nn.Module,
    traced: TracedNetwork,
    x: Tensor,
    y: Tensor,
    norm: str,
    eps: float,
    r: float,
    steps: int,
    found: _Differences,
) -> None:
    """One sample at one radius."""
    comparison = compare_objectives(network, traced, x, y, norm, eps, r, 1 / eps, steps=steps)
    loss = margins_of_logits(as_logits(network, x)(x), y)[1]
    penalty = float(comparison.operator - loss)
    if not penalty > 0:
        return
    found.objective.append(float((comparison.perturbed - comparison.operator).abs()) / penalty)
    found.inside += int(comparison.inside.item())
    if float(comparison.same_direction) >= 1 - RESOLUTION:
        found.gradient.append(float(comparison.gradient_difference))
