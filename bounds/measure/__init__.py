"""Numbers measured from networks and data, one quantity per file, each typed by its side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bounds.measure.data_norm import DataNorms, data_norms, support_radius
    from bounds.measure.hessian import HessianNorms, hessian_norms
    from bounds.measure.jacobian import jacobians
    from bounds.measure.jacobian_norm import JacobianNorms, jacobian_norms
    from bounds.measure.layer_norm import LayerNorms, layer_norms, row_norms
    from bounds.measure.margin import Margins, margins
    from bounds.measure.max_pool import max_pool_lipschitz
    from bounds.measure.pr_norm import SampleBounds
    from bounds.measure.spectral_norm import operator_norm

_MODULES = {
    "DataNorms": "data_norm",
    "HessianNorms": "hessian",
    "JacobianNorms": "jacobian_norm",
    "LayerNorms": "layer_norm",
    "Margins": "margin",
    "SampleBounds": "pr_norm",
    "data_norms": "data_norm",
    "hessian_norms": "hessian",
    "jacobian_norms": "jacobian_norm",
    "jacobians": "jacobian",
    "layer_norms": "layer_norm",
    "margins": "margin",
    "max_pool_lipschitz": "max_pool",
    "operator_norm": "spectral_norm",
    "row_norms": "layer_norm",
    "support_radius": "data_norm",
}
__all__ = [
    "DataNorms",
    "HessianNorms",
    "JacobianNorms",
    "LayerNorms",
    "Margins",
    "SampleBounds",
    "data_norms",
    "hessian_norms",
    "jacobian_norms",
    "jacobians",
    "layer_norms",
    "margins",
    "max_pool_lipschitz",
    "operator_norm",
    "row_norms",
    "support_radius",
]


def __getattr__(name: str) -> Any:
    """Loads a public name on first use: importing the package does not import torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
