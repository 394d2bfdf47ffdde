"""How an attack lies to the right singular vectors of the Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bounds.inputs import Data
from bounds.measure.jacobian import jacobians
from bounds.measure.margin import logits_on
from verification.attacks import attack
from verification.power_method import RESOLUTION
from verification.training.regularisers.penalty import unit

CHUNK = 32


def attack_directions(
    network: nn.Module,
    training: Data,
    held_out: Data,
    *,
    norm: str,
    eps: Sequence[float],
    samples: int,
    steps: int,
    restarts: int,
) -> dict[str, Any]:
    """Mean |cosine| of a perturbation with the right singular vectors v_1, v_2, ... of J(x), by rank.

    The perturbation maximises the cross-entropy in the plain ball (theory §3 is about it, not about the box), as far
    as the attack goes. Inside a linear piece that is J^T times a logit direction, so it lies in the span of the v_k,
    but is v_1 only for a loss that grows with the logit distance alone. The reference is a Gaussian direction: its
    mean |cosine| with any direction is about sqrt(2/(pi d)).

    Args:
        network: in eval mode.
        training: not used.
        held_out: attacked are random samples of them, the same for every network.
        norm: "l2", "linf" or "l1".
        eps: radii > 0, input units.
        samples: how many.
        steps: gradient steps per restart.
        restarts: walks per sample.

    Returns:
        "norm", "samples", "random": means by rank; "results": per radius {"eps", "attack": means by rank}. A v_k that
        J maps to 0 is not determined and counts 0, and so does a perturbation that is 0.

    >>> data = Data("toy", torch.zeros(1, 2), torch.tensor([0]), 2)
    >>> stretch = nn.Linear(2, 2, bias=False)
    >>> stretch.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])  # the loss grows along (-3, 4)
    >>> found = attack_directions(stretch, data, data, norm="l2", eps=[0.5], samples=1, steps=5, restarts=1)
    >>> [round(cosine, 4) for cosine in found["results"][0]["attack"]]
    [0.8, 0.6]
    """
    chosen = held_out.subset(min(samples, len(held_out)), seed=0)
    run, generator = logits_on(network, chosen), torch.Generator().manual_seed(0)
    random: list[Tensor] = []
    attacked: dict[float, list[Tensor]] = {float(radius): [] for radius in eps}
    for number, (x, y) in enumerate(chosen.batches(CHUNK)):
        directions = right_singular_vectors(jacobians(run, x).flatten(2))
        random.append(_cosines(directions, torch.randn(x.shape, generator=generator, dtype=torch.float64)))
        for radius, cosines in attacked.items():
            worst = attack(run, x, y, norm, radius, steps=steps, restarts=restarts, box=None, seed=1 + number)
            cosines.append(_cosines(directions, worst.delta))
    return {
        "norm": norm,
        "samples": len(chosen),
        "random": torch.cat(random).mean(dim=0).tolist(),
        "results": [{"eps": radius, "attack": torch.cat(c).mean(dim=0).tolist()} for radius, c in attacked.items()],
    }


def right_singular_vectors(jacobian: Tensor) -> Tensor:
    """Unit rows v_1, v_2, ... of each (K, d) matrix, (n, min(K, d), d); 0 where the singular value is.

    >>> right_singular_vectors(torch.tensor([[[0.0, 2.0], [0.0, 0.0]]])).abs()
    tensor([[[0., 1.],
             [0., 0.]]])
    """
    _, sizes, directions = torch.linalg.svd(jacobian, full_matrices=False)
    determined: Tensor = directions * (sizes > RESOLUTION * sizes[:, :1])[:, :, None]
    return determined


def _cosines(directions: Tensor, delta: Tensor) -> Tensor:
    """|cosine| of delta, (n, *shape), with each direction, (n, K)."""
    cosines: Tensor = torch.einsum("nkd,nd->nk", directions, unit(delta).flatten(1)).abs()
    return cosines
