"""Singular values of the Jacobian of the logits, and of that of the penultimate features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from bounds.inputs import Data
from bounds.measure.jacobian import jacobians
from bounds.measure.margin import logits_on
from bounds.network.running import frozen

CHUNK = 32


def spectrum(network: nn.Module, training: Data, held_out: Data, *, samples: int, features: bool) -> dict[str, Any]:
    """Mean over held-out samples of every singular value of J(x), in decreasing order; exact to rounding, float64.

    With K logits and d inputs there are min(K, d) singular values.

    Args:
        network: in eval mode.
        training: not used.
        held_out: measured are random samples of them, the same for every network.
        samples: how many.
        features: whether the Jacobian of the penultimate features is measured, too: one backward pass per feature.

    Returns:
        "samples"; "logits": mean σ_k(J), logits per input unit; "features": the same of the features, or None.

    >>> data = Data("toy", torch.eye(2), torch.tensor([0, 1]), 2)
    >>> stretch = nn.Linear(2, 2, bias=False)
    >>> stretch.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> spectrum(stretch, data, data, samples=2, features=True)
    {'samples': 2, 'logits': [4.0, 3.0], 'features': [1.0, 1.0]}
    """
    chosen = held_out.subset(min(samples, len(held_out)), seed=0)
    return {
        "samples": len(chosen),
        "logits": _mean_singular_values(logits_on(network, chosen), chosen),
        "features": _mean_singular_values(penultimate(network), chosen) if features else None,
    }


def penultimate(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """What the last dense layer reads, (n, features), of a float64 copy in eval mode with frozen weights.

    The last one in the order of the network's modules.

    Raises:
        InputError: for a network without dense layers.

    >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> penultimate(network)(torch.zeros(5, 2, dtype=torch.float64)).shape
    torch.Size([5, 3])
    """
    run = frozen(network)
    heads = [part for part in run.modules() if isinstance(part, nn.Linear)]
    if not heads:
        raise InputError("penultimate features: the network has no dense layer")

    def features(x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        hook = heads[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            run(x)
        finally:
            hook.remove()
        return seen[-1].flatten(1)

    return features


def _mean_singular_values(run: Callable[[Tensor], Tensor], data: Data) -> list[float]:
    values = [torch.linalg.svdvals(jacobians(run, x).flatten(2)) for x, _ in data.batches(CHUNK)]
    means: list[float] = torch.cat(values).mean(dim=0).tolist()
    return means
