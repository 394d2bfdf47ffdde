"""Curvature of the loss in the input, and its slope."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bounds.inputs import Data
from bounds.measure import hessian_norms
from bounds.measure.hessian import is_piecewise_linear
from bounds.network import TraceError, trace
from verification.surrogates import slopes

CHUNK = 64


def hessian(network: nn.Module, training: Data, held_out: Data, *, samples: int) -> dict[str, Any]:
    """Means of the input Hessian's norms over held-out samples, nats / input units².

    Args:
        network: in eval mode.
        training: not used.
        held_out: measured are random samples of them, the same for every network.
        samples: how many.

    Returns:
        "operator": mean ‖∇²_xℓ‖_2; "top": mean largest signed eigenvalue; "exact": whether both are exact to rounding,
        as for piecewise-linear networks (theory L2.7). Otherwise they are lower bounds, which Lanczos converges to
        from below. "gradient": mean ‖∇_xℓ‖_2, nats / input unit, exact to rounding. "samples": how many were measured.

    >>> data = Data("toy", torch.zeros(2, 1), torch.tensor([0, 1]), 2)
    >>> linear = nn.Linear(1, 2, bias=False)
    >>> linear.weight.data = torch.tensor([[3.0], [-1.0]])  # p = 1/2 at 0: (1/4)·4²
    >>> found = hessian(linear, data, data, samples=2)
    >>> round(found["operator"], 9), found["exact"], round(found["gradient"], 9)
    (4.0, True, 2.0)
    """
    chosen = held_out.subset(min(samples, len(held_out)), seed=0)
    norms = hessian_norms(network, chosen, piecewise_linear=_piecewise_linear(network, chosen))
    gradients = [slopes(network, x, y, "l2").slopes["gradient"] for x, y in chosen.batches(CHUNK)]
    return {
        "samples": len(chosen),
        "operator": float(norms.operator.mean()),
        "top": float(norms.top.mean()),
        "exact": norms.exact,
        "gradient": float(torch.cat(gradients).mean()),
    }


def _piecewise_linear(network: nn.Module, data: Data) -> bool:
    """Whether it is known to be; a network that cannot be traced is taken for smooth, which is valid for any."""
    try:
        return is_piecewise_linear(trace(network, next(data.batches(2))[0].float()))
    except TraceError:
        return False
