"""Norms of the Jacobian, layer by layer, and both ends of the network's Lipschitz constant."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bounds.inputs import Data
from bounds.measure import jacobian_norms, operator_norm
from bounds.network import TracedNetwork, TraceError, trace
from bounds.network.nodes import Input
from bounds.network.nonlinear import Nonlinear
from bounds.sides import upper_end

CHUNK = 64


def jacobian(network: nn.Module, training: Data, held_out: Data, *, samples: int) -> dict[str, Any]:
    """Means of the Jacobian's norms over held-out samples, logits per input unit; exact per sample to rounding.

    Args:
        network: in eval mode.
        training: not used.
        held_out: measured are random samples of them, the same for every network.
        samples: how many.

    Returns:
        "spectral", "frobenius", "frobenius_squared", "entrywise_l1", "row_sum"; "margin_l2" and "margin_linf":
        max_k‖J_k - J_y‖_q for that attack norm. "lipschitz_lower": the largest ‖J‖_2 seen, a lower bound of the
        network's ℓ2 Lipschitz constant; "lipschitz_upper": Π s_i ρ_i with certified s_i, an upper bound, None if the
        network is not a chain. "layers": mean ‖∂f/∂z_i‖_F, the Jacobian of the logits in the input (i = 0) and in the
        output of each nonlinearity; only the input for a network that cannot be traced.

    >>> data = Data("toy", torch.eye(2), torch.tensor([0, 1]), 2)
    >>> linear = nn.Linear(2, 2, bias=False)
    >>> linear.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> found = jacobian(linear, data, data, samples=2)
    >>> found["frobenius"], found["lipschitz_lower"], round(found["lipschitz_upper"], 9)
    (5.0, 4.0, 4.0)
    """
    chosen = held_out.subset(min(samples, len(held_out)), seed=0)
    norms = jacobian_norms(network, chosen, q=(1, 2))
    try:
        traced = trace(network, next(chosen.batches(2))[0])
    except TraceError:
        traced = None
    return {
        "samples": len(chosen),
        "spectral": float(norms.spectral.mean()),
        "frobenius": float(norms.frobenius.mean()),
        "frobenius_squared": float(norms.frobenius.square().mean()),
        "entrywise_l1": float(norms.entrywise_l1.mean()),
        "row_sum": float(norms.row_sum.mean()),
        "margin_l2": float(norms.margins[2].mean()),
        "margin_linf": float(norms.margins[1].mean()),
        "lipschitz_lower": float(norms.spectral.max()),
        "lipschitz_upper": None if traced is None else _lipschitz_upper(traced),
        "layers": [{"name": "input", "frobenius": float(norms.frobenius.mean())}]
        if traced is None
        else _layers(traced, chosen),
    }


def _lipschitz_upper(network: TracedNetwork) -> float | None:
    if network.architecture.obstacles:
        return None
    rhos = [nonlinearity.rho for nonlinearity in network.architecture.nonlinearities]
    return math.prod(upper_end(operator_norm(segment)) for segment in network.segments) * math.prod(rhos)


def _layers(network: TracedNetwork, data: Data) -> list[dict[str, Any]]:
    """Mean ‖∂f/∂z_i‖_F over the samples, of the input and of every nonlinearity's output."""
    parts = [_layer_norms(network, x) for x, _ in data.batches(CHUNK)]
    names = ["input", *(node.operation.name for node in network.nodes if isinstance(node.operation, Nonlinear))]
    means = torch.cat(parts, dim=1).mean(dim=1).tolist()
    return [{"name": name, "frobenius": mean} for name, mean in zip(names, means, strict=True)]


def _layer_norms(network: TracedNetwork, x: Tensor) -> Tensor:
    """‖∂f/∂z_i‖_F, (places, n)."""
    values, places = [x.double().requires_grad_(True)], [0]
    for node in network.nodes:
        if isinstance(node.operation, Input):
            continue
        values.append(node.operation(*(values[source] for source in node.inputs)))
        if isinstance(node.operation, Nonlinear):
            places.append(len(values) - 1)
    inner = [values[place] for place in places]
    squares = torch.zeros(len(inner), len(x), dtype=torch.float64)
    for k in range(network.outputs):
        rows = torch.autograd.grad(values[-1][:, k].sum(), inner, retain_graph=True)
        squares += torch.stack([row.flatten(1).square().sum(1) for row in rows])
    return squares.sqrt()
