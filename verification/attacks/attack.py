"""The strongest perturbation found in a norm ball: a lower bound of the robust loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.network.running import Model
from verification.attack_set import AttackSet
from verification.attacks.ascent import Region, ascend
from verification.attacks.objectives import objective
from verification.attacks.result import Attack
from verification.attacks.search import Search, search_all
from verification.attacks.starts import STARTS

# See `Region`.
INFLATION = {"l2": 1.75, "linf": 1.5, "l1": 2.0}
FIRST = {"l2": 10.0, "linf": 1.0, "l1": 10.0}


def attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    norm: str,
    eps: float,
    *,
    steps: int = 40,
    restarts: int = 2,
    box: tuple[float, float] | None = (0.0, 1.0),
    loss: str = "cross-entropy",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Attack:
    """Maximise a loss over the attack set; it does not stop at misclassification (theory §7).

    Every restart is a walk of projected gradient ascent through a set that shrinks to the true one, with long steps
    at first and short ones at last (see `ascent`). Walks begin at a random point, along the top eigenvector of the
    objective's Hessian, along the top singular vector of the Jacobian, and at x, in turn; every other walk begins in
    a larger set. The maximum of the linearised objective (theory L3.1; the gradient-sign attack for linf) is visited,
    too: one more gradient. The best point that lies in the true set, as measured in float64, is kept.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        norm: "l2", "linf" or "l1".
        eps: radius, input units.
        steps: forward and backward passes per restart, those for its start included.
        restarts: number of walks.
        box: valid input values; None for the plain ball.
        loss: what is maximised: "cross-entropy", the negative "margin", or the logit "distance"
            ‖f(x + delta) - f(x)‖_2 ("distance-1" and "distance-inf" for the other norms). Loss and margin of the
            result are those of its delta in any case.
        seed: seed of the random starts; equal arguments give equal bits.
        progress: called with (samples done, samples).

    Returns:
        Side: lower bound of the robust loss, upper bound of the worst-case margin.

    Raises:
        InputError: for a bad norm, radius, box, loss, label or number of steps, an input outside the box, or a model
            whose samples influence each other.

    >>> linear = torch.nn.Linear(2, 2).double()
    >>> linear.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    >>> linear.bias.data.zero_()
    tensor([0., 0.], dtype=torch.float64)
    >>> attack(linear, torch.zeros(1, 2), torch.tensor([0]), "l2", 0.5, box=None).margin  # -0.5·‖(3, -4)‖
    tensor([-2.5000], dtype=torch.float64)
    """
    attack_set = AttackSet(norm, eps, box)

    def search_chunk(run: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Search:
        search = Search(run, inputs, labels, objective(loss), lambda delta: attack_set.contains(delta, inputs))
        climb(search, ball(attack_set, inputs), steps, restarts, generator)
        return search

    generator = torch.Generator().manual_seed(seed)
    return Attack(attack_set, *search_all(model, x, y, search_chunk, progress))


def climb(search: Search, region: Region, steps: int, restarts: int, generator: torch.Generator) -> None:
    """Visit the maximum of the linearised objective, then take one walk per restart.

    Every walk, its start included, makes `steps` gradient passes.

    Raises:
        InputError: for a bad number of steps or restarts.
    """
    if steps < 1 or restarts < 1:
        raise InputError(f"attack with {steps} steps and {restarts} restarts: both must be at least 1")
    search.look(region.move(torch.zeros_like(search.x), search.slope))
    for walk in range(restarts):
        noise = torch.randn(search.x.shape, dtype=torch.float64, generator=generator)
        start, share = STARTS[walk % len(STARTS)]
        probes = int(share * steps)
        ascend(search, region, start(search, region, noise, probes), noise, steps - probes, growth=1 + walk % 2)


def ball(attack_set: AttackSet, x: Tensor) -> Region:
    """The region of an attack set around some samples."""
    return Region(
        lambda delta, radius: replace(attack_set, eps=radius * attack_set.eps).project(delta, x),
        attack_set.eps,
        "linf" if attack_set.norm == "linf" else "l2",
        INFLATION[attack_set.norm],
        FIRST[attack_set.norm],
    )
