"""What can be measured of a trained network, one kind per file.

A measurement is called with (network in eval mode, the samples it was trained on, held-out samples, arguments by name)
and returns plain json; equal arguments give equal results. Seeds are fixed: all networks are measured on the same
held-out samples.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from bounds.errors import unknown_name

MEASUREMENTS = (
    "attack_directions",
    "attack_radius",
    "attacked",
    "bound_values",
    "generalization",
    "hessian",
    "jacobian",
    "linearity",
    "piece_equality",
    "rademacher",
    "spectrum",
    "verdicts",
)
"""Each is a function in the file of the same name."""


def measurement(name: str) -> Callable[..., dict[str, Any]]:
    """The function that makes a measurement, by its name; loaded on first use.

    Raises:
        InputError: for an unknown name.
    """
    if name not in MEASUREMENTS:
        raise unknown_name("measurement", name, MEASUREMENTS)
    found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return found
