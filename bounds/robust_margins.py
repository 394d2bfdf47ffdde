"""Margins under attack and certified margins of a network, as `bounds.evaluate` receives them (no torch)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RobustMargins:
    """Worst-case margins z_y - max_{k != y} z_k over one attack set, from both sides; float64, logits.

    Attributes:
        norm: "l2", "linf" or "l1".
        eps: radius of the ball, input units.
        box: valid input values that the attacks kept to; None for the plain ball.
        attacked_train: upper bounds of the worst-case margin, from attacks on a subset of the training
            samples.
        attacked_test: the same on a subset of the test samples.
        certified_train: certified lower bounds of the worst-case margin, for every training sample.
        certified_test: the same for the test samples, or a random part of them.
    """

    norm: str
    eps: float
    box: tuple[float, float] | None
    attacked_train: NDArray[np.float64]
    attacked_test: NDArray[np.float64]
    certified_train: NDArray[np.float64]
    certified_test: NDArray[np.float64]
