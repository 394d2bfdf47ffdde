"""The demo: two small networks on the embedded digits, one plain and one Jacobian-regularised."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bounds.evaluation import Evaluation, Progress, evaluate
from bounds.inputs import Data, load_data, save_checkpoint
from bounds.network import trace
from verification.training.networks import build
from verification.training.regularisers.jacobian_frobenius import JacobianFrobenius
from verification.training.trainer import train
from verification.verdicts import compare, robust_measurement

NETWORK = {"inputs": 64, "widths": [64, 32], "classes": 10, "activation": "relu", "bias": False}
RADII = {"l2": (0.02, 0.05, 0.1, 0.2, 0.4, 0.8), "linf": (0.005, 0.01, 0.02, 0.05, 0.1)}
EVALUATED = ("l2", 0.1)
SEED = 0


def demonstrate(out: Path, report: Progress) -> list[dict[str, Any]]:
    """Train, evaluate and compare both networks; checkpoints go to `out`.

    Args:
        out: folder for the checkpoints.
        report: called with (stage, done, total).

    Returns:
        Evaluation and comparison records of both networks.
    """
    training, held_out = load_data("digits", split="train"), load_data("digits", split="test")
    records = []
    for name, strength in (("plain", 0.0), ("jacobian-frobenius", 0.02)):
        records += _one(name, strength, training, held_out, out, report)
    return sorted(records, key=lambda record: record["format"], reverse=True)


def _one(
    name: str, strength: float, training: Data, held_out: Data, out: Path, report: Progress
) -> list[dict[str, Any]]:
    def staged(stage: str, done: int, total: int) -> None:
        report(f"{name}: {stage}", done, total)

    network = build("mlp", NETWORK, seed=SEED)
    history = train(
        network,
        training,
        regulariser=JacobianFrobenius() if strength else None,
        strength=strength,
        epochs=30,
        seed=SEED,
        progress=lambda done, total: staged("training", done, total),
    )
    save_checkpoint(
        out / f"{name}.pt",
        "verification.training.networks:mlp",
        NETWORK,
        network,
        {
            "regulariser": name,
            "strength": strength,
            "seed": SEED,
            "history": [asdict(epoch) for epoch in history],
        },
    )
    norm, eps = EVALUATED
    evaluation: Evaluation = evaluate(
        network,
        training,
        held_out,
        init=build("mlp", NETWORK, seed=SEED),
        eps=eps,
        norm=norm,
        robust=lambda traced, s: robust_measurement(
            traced, training, held_out, traced, s, norm, eps, seed=SEED
        ),
        jacobian_samples=len(training),
        seed=SEED,
        name=name,
        progress=staged,
    )
    s_upper = [layer["s"]["upper"] for layer in evaluation.record["layers"]]
    traced = trace(network, training.x[:2].float())
    comparisons = []
    for attack_norm, radii in RADII.items():
        comparison = compare(
            traced,
            held_out,
            attack_norm,
            radii,
            network=traced,
            s_upper=s_upper,
            seed=SEED,
            name=name,
            progress=lambda done, total, n=attack_norm: staged(f"attacks ({n})", done, total),  # type: ignore[misc]
        )
        comparisons.append(comparison.record())
    merged = comparisons[0] | {"results": [result for record in comparisons for result in record["results"]]}
    return [evaluation.record, merged]
