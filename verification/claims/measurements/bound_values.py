"""Values of the catalogue's bounds for a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from bounds.evaluation import evaluate
from bounds.inputs import Data
from bounds.records import finite


def bound_values(
    network: nn.Module,
    training: Data,
    held_out: Data,
    *,
    eps: float,
    norm: str,
    keys: Sequence[str] | None = None,
    jacobian_samples: int = 50,
) -> dict[str, Any]:
    """Raw (uncapped) gaps of every bound that applies: upper bounds, each with probability 0.95; see `evaluate`.

    Robust risk bounds that need certified margins are left out: nothing is attacked or certified here.

    Args:
        network: in eval mode.
        training: the samples whose norms enter the bounds.
        held_out: for the measured gaps and the hold-out rows.
        eps: attack radius, input units.
        norm: "l2", "linf" or "l1".
        keys: of the catalogue; all if None.
        jacobian_samples: how many samples the measured surrogate gaps are taken from; no bound depends on them.

    Returns:
        "rows": per bound and variant log10 of the raw gap for a class fixed in advance (margin 1 logit) and a
        posteriori (valid for this network, margin optimised), each None where it is not finite; whether the latter
        is vacuous; the measured gap of the same loss, None where there is none. "not_applicable": per bound and
        variant, why.

    >>> import torch
    >>> data = Data("toy", torch.eye(2).repeat(8, 1), torch.arange(16) % 2, 2)
    >>> found = bound_values(nn.Linear(2, 2), data, data, eps=0.1, norm="l2", keys=["bartlett2017_spectral"])
    >>> list(found["rows"]), found["rows"]["bartlett2017_spectral audited"]["vacuous"]
    (['bartlett2017_spectral published', 'bartlett2017_spectral audited'], True)
    """
    rows = evaluate(network, training, held_out, eps=eps, norm=norm, keys=keys, jacobian_samples=jacobian_samples).rows
    return {
        "eps": eps,
        "norm": norm,
        "rows": {_name(row): _numbers(row) for row in rows if row["status"] == "value"},
        "not_applicable": {
            _name(row): "; ".join(f"{reason['because']} ({reason['remedy']})" for reason in row["reasons"])
            for row in rows
            if row["status"] != "value"
        },
    }


def _name(row: dict[str, Any]) -> str:
    return f"{row['bound']} {row['variant']}".strip()


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "fixed_class": finite(row["fixed_class"]["raw_log10"]),
        "a_posteriori": finite(row["a_posteriori"]["raw_log10"]),
        "vacuous": bool(row["a_posteriori"]["vacuous"]),
        "gap": None if row["gap"]["measured"] is None else finite(row["gap"]["measured"]),
    }
