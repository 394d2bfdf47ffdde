"""Traced networks: a torch module in eval mode as affine segments, nonlinearities, joins, opaque regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bounds.network.errors import NotAChain, SamplesInteract, TraceError
    from bounds.network.segment import Segment
    from bounds.network.traced import TracedNetwork, trace

_MODULES = {
    "NotAChain": "errors",
    "SamplesInteract": "errors",
    "Segment": "segment",
    "TraceError": "errors",
    "TracedNetwork": "traced",
    "trace": "traced",
}
__all__ = ["NotAChain", "SamplesInteract", "Segment", "TraceError", "TracedNetwork", "trace"]


def __getattr__(name: str) -> Any:
    """Loads a public name on first use: importing the package does not import torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
