"""Empirical Rademacher complexity of a network's norm class, sampled from below."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from bounds.inputs import Data
from bounds.measure import operator_norm
from bounds.network import Segment, TracedNetwork, trace
from bounds.network.nodes import Input
from bounds.sides import lower_end, upper_end

CONFIDENCE = 0.95
CHUNK = 256


def rademacher(network: nn.Module, training: Data, held_out: Data, *, samples: int, draws: int) -> dict[str, Any]:
    """A lower bound of the Rademacher complexity of one logit over the class {‖W_i‖_2 <= s_i}; own derivation.

    The class: the network's architecture and offsets, layers of operator norm at most the measured s_i, one logit.
    It contains every x -> w·z(x) + c with z(x) the trained network's last hidden features and ‖w‖_2 <= s_L: hidden
    layers as trained, w as one row of a last layer that is 0 elsewhere. The fixed offset averages out over the signs,
    so the complexity on the sample x_1..x_n is at least

        R = E_σ sup_w (1/n) Σ_j σ_j w·z(x_j) = (s_L/n) E_σ ‖Σ_j σ_j z(x_j)‖_2.

    The mean over D independent sign vectors estimates R. One sign moves a term by at most 2 s_L‖z_j‖/n, so by
    McDiarmid's inequality, with probability 0.95, R >= mean - 2 (s_L‖Z‖_F/n) √(ln 20/(2D)). For certain (Khintchine's
    inequality with the constant 1/√2 and Jensen's) s_L‖Z‖_F/(√2 n) <= R <= s_L‖Z‖_F/n. s_L enters "estimate" and
    "lower" by its certified lower end, so that "lower" is a bound for the class whatever the rounding.

    Args:
        network: in eval mode; its last operation is an affine layer.
        training: random samples of them are the sample.
        held_out: not used.
        samples: n.
        draws: D, sign vectors.

    Returns:
        In logits: "estimate", the Monte-Carlo mean; "lower", the lower bound of the class with probability
        "confidence", at least Khintchine's, which is certain; "upper", an upper bound of R (not of the class's
        complexity) by the certified upper end of s_L. Besides "last_layer", the lower end of s_L, "samples", "draws".

    Raises:
        InputError: if the network does not end in an affine layer.

    >>> data = Data("toy", torch.eye(2), torch.tensor([0, 1]), 2)
    >>> linear = nn.Linear(2, 2, bias=False)
    >>> linear.weight.data = torch.eye(2)
    >>> found = rademacher(linear, data, data, samples=2, draws=10)  # ‖(±1, ±1)‖_2/2 for all signs
    >>> round(found["estimate"], 9), round(found["upper"], 9), round(found["lower"], 9)
    (0.707106781, 0.707106781, 0.5)
    """
    chosen = training.subset(min(samples, len(training)), seed=0)
    features, last = _features(trace(network, next(chosen.batches(2))[0].float()), chosen)
    s = operator_norm(last)
    n, frobenius = len(features), float(features.norm())
    mean = float(sign_sums(features, draws).mean())
    sampled = mean - 2 * frobenius * math.sqrt(math.log(1 / (1 - CONFIDENCE)) / (2 * draws))
    return {
        "estimate": lower_end(s) * mean / n,
        "lower": lower_end(s) * max(sampled, frobenius / math.sqrt(2)) / n,
        "upper": upper_end(s) * frobenius / n,
        "confidence": CONFIDENCE,
        "last_layer": lower_end(s),
        "samples": n,
        "draws": draws,
    }


def sign_sums(features: Tensor, draws: int, seed: int = 0) -> Tensor:
    """‖Σ_j σ_j z_j‖_2 for independent uniform sign vectors σ, (draws,).

    Args:
        features: z_j as rows, (n, d), float64.
        draws: number of sign vectors.
        seed: of the signs.

    >>> sign_sums(torch.tensor([[3.0, 4.0]], dtype=torch.float64), 3)
    tensor([5., 5., 5.], dtype=torch.float64)
    """
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (draws, len(features)), generator=generator, dtype=torch.float64).mul_(2).sub_(1)
    lengths: Tensor = torch.linalg.vector_norm(signs @ features, dim=1)
    return lengths


def _features(network: TracedNetwork, data: Data) -> tuple[Tensor, Segment]:
    """Inputs of the last affine layer, (n, d), float64, and the layer."""
    final = network.nodes[-1]
    if not isinstance(final.operation, Segment):
        raise InputError(f"the network ends in {final.name}, not in an affine layer")
    return torch.cat([_value(network, x, final.inputs[0]).flatten(1) for x, _ in data.batches(CHUNK)]), final.operation


def _value(network: TracedNetwork, x: Tensor, position: int) -> Tensor:
    values = [x.double()]
    for node in network.nodes[: position + 1]:
        if not isinstance(node.operation, Input):
            values.append(node.operation(*(values[source] for source in node.inputs)))
    return values[position].detach()
