"""Robust loss <= surrogate, decided on held-out samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from bounds.inputs import Data
from verification.summary import VERDICTS
from verification.verdicts import verify


def verdicts(
    network: nn.Module,
    training: Data,
    held_out: Data,
    *,
    norm: str,
    eps: Sequence[float],
    samples: int,
    effort: str,
    steps: int,
    restarts: int,
) -> dict[str, Any]:
    """Shares of the samples on which each surrogate is proved or refuted to bound the robust loss; see `verify`.

    Args:
        network: in eval mode.
        training: not used.
        held_out: random samples of them are decided, the same for every network.
        norm: "l2", "linf" or "l1".
        eps: increasing radii, input units.
        samples: how many.
        effort: of the certificates, "quick", "standard" or "thorough".
        steps: gradient steps per restart of the attacks.
        restarts: walks per sample.

    Returns:
        Per radius: mean losses in nats ("attack_loss" bounds the robust loss from below, "upper_loss" from above,
        None where it is not finite on every sample), accuracies (clean, under attack, certified), and per surrogate
        its mean (None where it is not finite) and the shares proved, undecided and refuted.

    >>> import torch
    >>> data = Data("toy", torch.eye(2), torch.tensor([0, 1]), 2)
    >>> options = {"norm": "l2", "eps": [0.1], "samples": 2, "effort": "quick", "steps": 5, "restarts": 1}
    >>> verdicts(nn.Linear(2, 2), data, data, **options)["results"][0]["surrogates"]["spectral"]["refuted"]
    0.0
    """
    radii, count = [float(radius) for radius in eps], min(samples, len(held_out))
    record = verify(
        network, held_out, norm, radii, samples=count, effort=effort, steps=steps, restarts=restarts, seed=0
    ).record
    kept = ("eps", "clean_loss", "attack_loss", "upper_loss", "accuracy", "attacked_accuracy", "certified_accuracy")
    return {
        "norm": norm,
        "samples": count,
        "results": [
            {key: result[key] for key in kept}
            | {
                "surrogates": {
                    name: {"mean": row["mean"]} | {verdict: row[verdict]["share"] for verdict in VERDICTS}
                    for name, row in result["surrogates"].items()
                }
            }
            for result in record["results"]
        ],
    }
