"""Empirical claims of papers: which networks to train, what to measure, what the measurements say."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verification.claims.experiment import Experiment


def _load(key: str) -> Experiment:
    experiment: Experiment = importlib.import_module(f"verification.claims.{key}").EXPERIMENT
    return experiment


EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    key: partial(_load, key) for key in ("wu2024", "roth2020", "mustafa2020", "ablation")
}
"""Loads the experiment of a paper by its name."""
