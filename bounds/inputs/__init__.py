"""Checkpoints and data sets, safely loaded. Names load on first use, so that torch does only when needed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bounds.inputs.checkpoints import load_checkpoint, save_checkpoint
    from bounds.inputs.conversion import as_data
    from bounds.inputs.data import Data, check_fits, refuse_tokens, shared_samples
    from bounds.inputs.datasets import load_data
    from bounds.inputs.normalised import Normalised

__all__ = [
    "Data",
    "Normalised",
    "as_data",
    "check_fits",
    "load_checkpoint",
    "load_data",
    "refuse_tokens",
    "save_checkpoint",
    "shared_samples",
]

_HOMES = {
    "Data": "data",
    "Normalised": "normalised",
    "as_data": "conversion",
    "check_fits": "data",
    "load_checkpoint": "checkpoints",
    "load_data": "datasets",
    "refuse_tokens": "data",
    "save_checkpoint": "checkpoints",
    "shared_samples": "data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
