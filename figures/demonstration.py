"""The demo: two small networks on the embedded digits, one plain and one Jacobian-regularised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from bounds.evaluation import Progress, evaluate
from bounds.inputs import Data, load_data, save_checkpoint
from bounds.network import TracedNetwork
from bounds.robust_margins import RobustMargins
from verification.training.networks import build
from verification.training.regularisers.jacobian_frobenius import JacobianFrobenius
from verification.training.trainer import Epoch, train
from verification.verdicts import robust_measurement, verify

NETWORK = {"inputs": 64, "widths": [64, 32], "classes": 10, "activation": "relu", "bias": False}
SEED = 0
EVALUATED = ("l2", 0.1)


@dataclass(frozen=True)
class Plan:
    """What the demo does.

    Attributes:
        strengths: weight of the penalty ‖J‖_F² by name of the network; 0 for plain training.
        epochs: passes over the training set.
        radii: attack radii by norm, input units.
        samples: how many held-out samples are verified.
    """

    strengths: Mapping[str, float]
    epochs: int
    radii: Mapping[str, Sequence[float]]
    samples: int


# At this strength the held-out accuracy stays as it was, and the Jacobians shrink to about a fifth.
PLAN = Plan(
    strengths={"plain": 0.0, "Jacobian-regularised": 2e-3},
    epochs=30,
    radii={"l2": (0.1, 0.2, 0.4, 0.8, 1.6), "linf": (0.01, 0.02, 0.05, 0.1, 0.2)},
    samples=100,
)


@dataclass(frozen=True)
class Shown:
    """One network of the demo with its records; one verification per attack norm."""

    name: str
    network: nn.Module
    strength: float
    history: tuple[Epoch, ...]
    evaluation: dict[str, Any]
    verifications: tuple[dict[str, Any], ...]

    def save(self, path: Path) -> None:
        """Write a checkpoint that `jacobound evaluate` takes."""
        training = {"regulariser": self.name, "strength": self.strength, "seed": SEED}
        history = [asdict(epoch) for epoch in self.history]
        factory = "verification.training.networks:mlp"
        save_checkpoint(path, factory, NETWORK, self.network, training | {"history": history})


def demonstrate(report: Progress, plan: Plan = PLAN) -> list[Shown]:
    """Train, evaluate and verify the networks of a plan; nothing is written.

    Args:
        report: called with (stage, done, total).
        plan: what to do.
    """
    training, held_out = load_data("digits", split="train"), load_data("digits", split="test")
    return [_one(name, plan, training, held_out, report) for name in plan.strengths]


def _one(name: str, plan: Plan, training: Data, held_out: Data, report: Progress) -> Shown:
    def staged(stage: str, done: int, total: int) -> None:
        report(f"{name}: {stage}", done, total)

    network = build("mlp", NETWORK, seed=SEED)
    strength = plan.strengths[name]
    history = train(
        network,
        training,
        regulariser=JacobianFrobenius() if strength else None,
        strength=strength,
        epochs=plan.epochs,
        seed=SEED,
        progress=partial(staged, "training"),
    )
    evaluation = _evaluated(name, network, training, held_out, staged)
    verifications = _verified(name, plan, network, held_out, staged)
    return Shown(name, network, strength, history, evaluation, verifications)


def _evaluated(name: str, network: nn.Module, training: Data, held_out: Data, report: Progress) -> dict[str, Any]:
    norm, eps = EVALUATED

    def robust(traced: TracedNetwork, s_upper: Sequence[float] | None, train: Data, test: Data) -> RobustMargins:
        return robust_measurement(traced, train, test, traced, s_upper, norm, eps, seed=SEED)

    return evaluate(
        network,
        training,
        held_out,
        init=build("mlp", NETWORK, seed=SEED),
        eps=eps,
        norm=norm,
        robust=robust,
        jacobian_samples=len(training),
        seed=SEED,
        name=name,
        progress=report,
    ).record


def _verified(
    name: str, plan: Plan, network: nn.Module, held_out: Data, report: Progress
) -> tuple[dict[str, Any], ...]:
    """One verification record per norm, as the radii differ."""
    return tuple(
        verify(
            network,
            held_out,
            norm,
            radii,
            samples=plan.samples,
            seed=SEED,
            name=name,
            progress=partial(report, f"verdicts ({norm})"),
        ).record
        for norm, radii in plan.radii.items()
    )
