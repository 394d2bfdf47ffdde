"""Accuracy and loss under attack, on the training samples and on held-out ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from bounds.inputs import Data
from verification.attacks import attack

CHUNK = 250


def attacked(
    network: nn.Module,
    training: Data,
    held_out: Data,
    *,
    norm: str,
    eps: Sequence[float],
    samples: int,
    steps: int,
    restarts: int,
    sides: Sequence[str] = ("train", "held_out"),
) -> dict[str, Any]:
    """Mean loss (nats) and accuracy at the worst perturbations found, in the data's box.

    Losses are lower bounds of the robust loss, accuracies upper bounds of the robust accuracy, of these samples.

    Args:
        network: in eval mode.
        training: random samples of them are attacked, ...
        held_out: ... and of these, the same for every network.
        norm: "l2", "linf" or "l1".
        eps: radii, input units; 0 for no attack.
        samples: how many on each side.
        steps: gradient steps per restart.
        restarts: walks per sample.
        sides: which of the two are attacked.

    >>> import torch
    >>> data = Data("toy", torch.eye(2), torch.tensor([0, 1]), 2)
    >>> found = attacked(nn.Identity(), data, data, norm="linf", eps=[0, 0.75], samples=2, steps=5, restarts=1)
    >>> [result["held_out"]["accuracy"] for result in found["results"]]
    [1.0, 0.0]
    """
    both = {"train": training, "held_out": held_out}
    chosen = {side: both[side].subset(min(samples, len(both[side])), seed=0) for side in sides}

    def at(data: Data, radius: float) -> dict[str, float]:
        loss, correct = 0.0, 0
        for number, (x, y) in enumerate(data.batches(CHUNK)):
            seed = 1 + number
            worst = attack(network, x, y, norm, radius, steps=steps, restarts=restarts, box=data.box, seed=seed)
            loss += float(worst.loss.sum())
            # the largest loss need not have the smallest margin, but a positive margin is needed either way
            correct += int((worst.margin > 0).sum())
        return {"loss": loss / len(data), "accuracy": correct / len(data)}

    return {
        "norm": norm,
        "samples": min(map(len, chosen.values())),
        "steps": steps,
        "restarts": restarts,
        "results": [
            {"eps": float(radius), **{side: at(data, radius) for side, data in chosen.items()}} for radius in eps
        ],
    }
