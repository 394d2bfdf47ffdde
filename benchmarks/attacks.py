"""Strength and speed of `attack` against a public attack that keeps the best loss, on networks trained on MNIST.

`python -m benchmarks.attacks [samples]` prints the tables; needs JACOBOUND_DATA (or downloads) and, for the comparison
with Auto-PGD of Croce & Hein, the package pyautoattack of the extra `referee`.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.measure import Row, in_process, show
from benchmarks.mnist import checkpoint
from bounds.errors import InputError
from bounds.inputs import load_checkpoint, load_data
from bounds.measure.margin import margins_of_logits
from bounds.network.logits import as_logits
from verification.attack_set import AttackSet
from verification.attacks import attack

REFEREE = "pyautoattack"
REFEREE_NORMS = {"l2": "L2", "linf": "Linf", "l1": "L1"}
BOX = (0.0, 1.0)
NETWORKS = ("plain", "adversarial")
RADII = {"l2": (0.5, 1.5, 2.5), "linf": (0.05, 0.1, 0.2), "l1": (4.0, 10.0, 20.0)}
STEPS = (10, 20, 40, 100)
WORST = -0.5  # %: how far below the referee's mean loss ours may lie


@dataclass(frozen=True)
class Duel:
    """Mean losses, nats, of both attacks on the same samples with the same number of gradient steps."""

    network: str
    norm: str
    eps: float
    steps: int
    restarts: int
    ours: float
    theirs: float

    @property
    def lead(self) -> float:
        """How far ours lies above the referee's, %."""
        return 100 * (self.ours / self.theirs - 1)


def images(n: int) -> tuple[Tensor, Tensor]:
    """A fixed random subset of the test images, float64, with labels."""
    return next(load_data("mnist", split="test").subset(n, seed=0).batches(n))


def referee_loss(model: nn.Module, x: Tensor, y: Tensor, allowed: AttackSet, steps: int, restarts: int) -> Tensor:
    """Auto-PGD's losses in nats: its points, made in float32, projected onto the set and evaluated in float64."""
    from pyautoattack.autopgd_base import APGDAttack

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = APGDAttack(
            model.float(),
            n_iter=steps,
            norm=REFEREE_NORMS[allowed.norm],
            n_restarts=restarts,
            eps=allowed.eps,
            loss="ce",
            device=torch.device("cpu"),
        ).perturb(x.float(), y, best_loss=True)
    with torch.no_grad():
        return margins_of_logits(as_logits(model, x)(x + allowed.project(found.double() - x, x)), y)[1]


def duels(n: int, restarts: int = 1) -> Iterator[Duel]:
    """Both attacks on n images, for every network, norm, radius and number of steps."""
    x, y = images(n)
    for network in NETWORKS:
        model = load_checkpoint(checkpoint(network))
        for norm, radii in RADII.items():
            for eps in radii:
                for steps in STEPS:
                    ours = attack(model, x, y, norm, eps, steps=steps, restarts=restarts, box=BOX).loss
                    theirs = referee_loss(model, x, y, AttackSet(norm, eps, BOX), steps, restarts)
                    yield Duel(network, norm, eps, steps, restarts, float(ours.mean()), float(theirs.mean()))


def seconds(norm: str, eps: float, n: int = 100, steps: int = 40) -> float:
    """Wall time of the default attack on n images."""
    x, y = images(n)
    model = load_checkpoint(checkpoint("plain"))
    start = time.perf_counter()
    attack(model, x, y, norm, eps, steps=steps)
    return time.perf_counter() - start


def speed_rows(n: int = 100) -> list[Row]:
    """Time of the default attack per norm, each in a process of its own."""
    checkpoint("plain")
    return [
        Row(
            f"attack on {n} images",
            norm,
            in_process("benchmarks.attacks", f"seconds('{norm}', {radii[1]}, {n})")[0],
            "s",
        )
        for norm, radii in RADII.items()
    ]


def rows(n: int = 100) -> list[Row]:
    """Rows of the bench table; none where MNIST is not at hand."""
    try:
        load_data("mnist", split="test")
    except InputError as error:
        print(f"no attacks on MNIST: {error}", file=sys.stderr)
        return []
    found = speed_rows(n)
    if importlib.util.find_spec(REFEREE) is None:
        print(f"no comparison with {REFEREE}: it is not installed (extra `referee`)", file=sys.stderr)
        return found
    worst = min(duels(n), key=lambda duel: duel.lead)
    where = f"{worst.network}, {worst.norm} {worst.eps:g}, {worst.steps} steps"
    return [
        *found,
        Row("lead over Auto-PGD, mean loss", "at least", WORST, "%"),
        Row("lead over Auto-PGD, mean loss", f"worst case: {where}", worst.lead, "%"),
    ]


def main(n: int = 200) -> None:
    """Print the times, then every duel."""
    show(speed_rows())
    for restarts in (1, 2):
        print(f"mean loss on {n} images, {restarts} restart(s): Auto-PGD -> ours (lead in %)")
        for duel in duels(n, restarts):
            print(
                f"{duel.network:12s} {duel.norm:4s} {duel.eps:5g} {duel.steps:4d} steps  "
                f"{duel.theirs:8.4f} -> {duel.ours:8.4f}  {duel.lead:+6.2f} %{'  BELOW' if duel.lead < WORST else ''}",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
