"""Robust losses against their surrogates: attacks from below, certificates from above, verdicts, training.

`attack` and `certify.certify` enclose the robust loss of samples, `verify` decides which surrogates bound it.
Everything loads on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verification.attacks import attack
    from verification.verdicts import verify

__all__ = ["attack", "verify"]

_HOMES = {"attack": "verification.attacks", "verify": "verification.verdicts"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'verification' has no attribute {name!r}")
