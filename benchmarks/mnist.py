"""The networks that certificates and verdicts are measured on: one architecture, trained in four ways on MNIST.

`python -m benchmarks.mnist` trains those that are not yet under build/networks/ (minutes each).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bounds.inputs import load_data, save_checkpoint
from verification.training.networks import build
from verification.training.regularisers.adversarial import Adversarial
from verification.training.regularisers.jacobian_frobenius import JacobianFrobenius
from verification.training.regularisers.jacobian_l1 import JacobianL1
from verification.training.regularisers.penalty import Regulariser
from verification.training.trainer import train

FOLDER = Path(__file__).parents[1] / "build" / "networks"
FACTORY = "strided_cnn"


@dataclass(frozen=True)
class Training:
    """How a network is trained; five passes over the 60,000 images."""

    regulariser: Regulariser | None = None
    strength: float = 0.0


TRAININGS = {
    "plain": Training(),
    "adversarial": Training(Adversarial("linf", 0.1, steps=7), 1.0),
    "jacobian": Training(JacobianFrobenius(projections=1), 0.01),
    "jacobian-l1": Training(JacobianL1(), 0.002),
}


def checkpoint(name: str) -> Path:
    """The trained network of this name as a checkpoint, made on first use."""
    path = FOLDER / f"{FACTORY}-{name}.pt"
    if not path.exists():
        how = TRAININGS[name]
        network = build(FACTORY, {}, seed=0)
        data = load_data("mnist", split="train")
        history = train(
            network, data, regulariser=how.regulariser, strength=how.strength, epochs=5, batch_size=128, seed=0
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, f"verification.training.networks:{FACTORY}", {}, network, {"seed": 0})
        print(f"trained {path.name}: {history[-1]}")
    return path


def images(n: int) -> tuple[Tensor, Tensor]:
    """A fixed random subset of the test images, float64, with labels."""
    return next(load_data("mnist", split="test").subset(n, seed=0).batches(n))


if __name__ == "__main__":
    for title in TRAININGS:
        print(checkpoint(title))
