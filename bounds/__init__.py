"""From a trained network to a table of generalization bounds.

`evaluate` measures a network and evaluates the catalogue, `catalogue` holds the bounds, `measure` the norms, `trace`
turns a torch module into affine segments, `adapt` says how to read one with other inputs or outputs. Everything loads
on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bounds import catalogue, measure
    from bounds.evaluation import evaluate
    from bounds.network import trace
    from bounds.network.adapted import adapt

__all__ = ["adapt", "catalogue", "evaluate", "measure", "trace"]

_HOMES = {"adapt": "bounds.network.adapted", "evaluate": "bounds.evaluation", "trace": "bounds.network"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"bounds.{name}")
    raise AttributeError(f"module 'bounds' has no attribute {name!r}")
