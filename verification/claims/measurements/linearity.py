"""How far logits, features and Jacobian depart from what the Jacobian at x says, against the distance from x."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bounds.inputs import Data
from bounds.measure.jacobian import jacobians
from bounds.measure.margin import logits_on
from verification.attacks import attack
from verification.claims.measurements.spectrum import penultimate
from verification.training.regularisers.penalty import unit

CHUNK = 50


def linearity(
    network: nn.Module,
    training: Data,
    held_out: Data,
    *,
    distances: Sequence[float],
    samples: int,
    jacobian_samples: int,
    eps: float,
    steps: int,
    restarts: int,
) -> dict[str, Any]:
    """Deviation from linearity and σ_1 at x + t·v, for directions v of attacks and random ones, ‖v‖_2 = 1; float64.

    For g the logits f or the penultimate features φ, the deviation is ‖g(x + tv) - g(x) - t J_g(x)v‖_2 and the linear
    part ‖t J_g(x)v‖_2; exact to rounding. Their quotient compares networks whose Jacobians differ in size.

    Args:
        network: in eval mode.
        training: not used.
        held_out: measured are random samples of them, the same for every network.
        distances: t > 0, input units.
        samples: how many for the deviations.
        jacobian_samples: how many of them for σ_1, which takes a Jacobian at each distance.
        eps: radius of the plain l2 ball in which the cross-entropy is attacked; v is the direction of that attack,
            whatever t is.
        steps: gradient steps of the attack per restart.
        restarts: walks per sample.

    Returns:
        "eps", "samples", "jacobian_samples"; "directions": for "attack" and "random" a list per distance of
        {"distance", "logits", "features", "sigma_1": mean σ_1(J(x + tv))}, where logits and features have
        {"deviation": mean, "linear": mean, "relative": their quotient, None if the linear part is 0}; "sigma_1" at x.

    >>> data = Data("toy", torch.zeros(1, 2), torch.tensor([0]), 2)
    >>> stretch = nn.Linear(2, 2, bias=False)
    >>> stretch.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> found = linearity(
    ...     stretch, data, data, distances=[2], samples=1, jacobian_samples=1, eps=1.0, steps=5, restarts=1
    ... )
    >>> found["directions"]["attack"][0]["features"]
    {'deviation': 0.0, 'linear': 2.0, 'relative': 0.0}
    """
    chosen = held_out.subset(min(samples, len(held_out)), seed=0)
    run, generator = logits_on(network, chosen), torch.Generator().manual_seed(0)
    x, found = torch.cat([batch for batch, _ in chosen.batches(CHUNK)]), []
    for number, (batch, y) in enumerate(chosen.batches(CHUNK)):
        worst = attack(run, batch, y, "l2", eps, steps=steps, restarts=restarts, box=None, seed=1 + number)
        found.append(worst.delta)
    directions = {
        "attack": unit(torch.cat(found)),
        "random": unit(torch.randn(x.shape, generator=generator, dtype=torch.float64)),
    }
    few = slice(0, min(jacobian_samples, len(x)))
    maps = {"logits": run, "features": penultimate(network)}
    return {
        "eps": float(eps),
        "samples": len(x),
        "jacobian_samples": few.stop,
        "sigma_1": _mean_sigma_1(run, x[few]),
        "directions": {
            name: [
                {"distance": float(t)}
                | {key: _deviation(g, x, v, t) for key, g in maps.items()}
                | {"sigma_1": _mean_sigma_1(run, x[few] + t * v[few])}
                for t in distances
            ]
            for name, v in directions.items()
        },
    }


def _deviation(g: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, t: float) -> dict[str, float | None]:
    """Means of ‖g(x + tv) - g(x) - t Jv‖_2 and ‖t Jv‖_2, and their quotient."""
    deviations, linear_parts = [], []
    for at, along in zip(x.split(CHUNK), v.split(CHUNK), strict=True):
        here, slope = torch.autograd.functional.jvp(g, at, along)
        with torch.no_grad():
            moved = g(at + t * along) - here
        deviations.append(torch.linalg.vector_norm(moved - t * slope, dim=1))
        linear_parts.append(torch.linalg.vector_norm(t * slope, dim=1))
    deviation, linear = float(torch.cat(deviations).mean()), float(torch.cat(linear_parts).mean())
    return {"deviation": deviation, "linear": linear, "relative": deviation / linear if linear > 0 else None}


def _mean_sigma_1(run: Callable[[Tensor], Tensor], x: Tensor) -> float:
    return float(torch.linalg.matrix_norm(jacobians(run, x).flatten(2), 2).mean())
