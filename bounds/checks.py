"""What an evaluation refuses, each with one line that names the thing and the cause."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bounds import catalogue
from bounds.calculus.stratification import Grid
from bounds.catalogue.entry import Entry
from bounds.errors import InputError, unknown_name
from bounds.inputs import Data
from bounds.measurements import ATTACK_NORMS
from bounds.robust_margins import RobustMargins


def check_settings(
    *,
    delta: float,
    margin: float,
    eps: float | None,
    norm: str,
    keys: Sequence[str] | None,
    eta: float = Grid.eta,
) -> list[Entry]:
    """The chosen entries, hold-out bounds first (the honest yardstick).

    Raises:
        InputError: for the first bad setting.

    >>> [entry.key for entry in check_settings(delta=0.05, margin=1, eps=None, norm="l2", keys=["holdout_binomial"])]
    ['holdout_binomial']
    """
    if not 0 < delta < 1:
        raise InputError(f"delta = {delta:g}: must lie between 0 and 1")
    if not 0 < eta < float("inf"):
        raise InputError(f"eta = {eta:g}: must be positive")
    if not 0 < margin < float("inf"):
        raise InputError(f"margin = {margin:g}: must be positive")
    if norm not in ATTACK_NORMS:
        raise unknown_name("norm", norm, ATTACK_NORMS)
    if eps is not None and not 0 <= eps < float("inf"):
        raise InputError(f"eps = {eps:g}: must be a number >= 0 (input units)")
    chosen = [catalogue.get(key) for key in keys] if keys else list(catalogue.entries())
    return sorted(chosen, key=lambda entry: (entry.key != "holdout_binomial", not entry.key.startswith("holdout")))


def refuse_mismatch(robust: RobustMargins | None, train: Data, test: Data, norm: str, eps: float | None) -> None:
    """Robust margins of another attack set, or of other samples, would make false bounds."""
    if robust is None:
        return
    if eps is None or (robust.norm, robust.eps) != (norm, eps):
        raise InputError(f"robust margins are for {robust.norm}, eps = {robust.eps:g}; evaluated: {norm}, eps = {eps}")
    if len(robust.certified_train) != len(train):
        raise InputError(f"{len(robust.certified_train)} certified margins for {len(train)} training samples")
    if not 2 <= len(robust.certified_test) <= len(test):
        raise InputError(f"{len(robust.certified_test)} certified margins for {len(test)} test samples")
    for values in (robust.certified_train, robust.certified_test, robust.attacked_train, robust.attacked_test):
        if np.isnan(values).any():
            raise InputError("robust margins: NaN")


def refuse_outside(train: Data, test: Data) -> None:
    """Bounds that use the support believe the box."""
    for data in (train, test):
        if train.box is None:
            return
        low, high = (float(v) / (255 if data.x.dtype == torch.uint8 else 1) for v in data.x.aminmax())
        if low < train.box[0] or high > train.box[1]:
            box = f"[{train.box[0]:g}, {train.box[1]:g}]"
            raise InputError(f"{data.name}: values in [{low:g}, {high:g}] leave the box {box} of the training data")


def refuse_small(*sets: Data) -> None:
    """The confidence terms and the hold-out variance need two samples."""
    for data in sets:
        if len(data) < 2:
            raise InputError(f"{data.name}: 1 sample; the bounds need at least 2 in training and test set each")


def refuse_nonfinite(model: nn.Module) -> None:
    """Weights that are NaN or infinite have no norms."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"model: '{name}' holds values that are not finite")
