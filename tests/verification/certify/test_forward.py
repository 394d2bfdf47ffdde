"""Outputs at many inputs: exact values lie inside, intervals say nothing else, and not much is given away."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from bounds.network import trace
from tests.cases import CASES, traced
from tests.oracles.certificates import exact_logits
from tests.verification.certify.test_soundness import CERTIFIABLE, cancelling
from verification.certify.enclosure import outputs_at
from verification.certify.forward import outputs


@pytest.mark.parametrize("name", CERTIFIABLE)
def test_both_ways_enclose_the_same_outputs(name: str) -> None:
    network, x = traced(name), CASES[name].inputs(4)
    (low, high), (lowest, highest) = outputs(network, x), outputs_at(network, x)
    logits = network(x)
    assert bool(((low <= logits) & (logits <= high)).all())
    assert bool((torch.maximum(low, lowest) <= torch.minimum(high, highest)).all())
    assert bool((high - low <= 1e-11 * (1 + logits.abs().max())).all())


@pytest.mark.parametrize("size", [1.0, 1e6, 1e12])
def test_exact_outputs_lie_inside_where_units_cancel(size: float) -> None:
    model = cancelling(0, size)
    x = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = outputs(trace(model, x), x)
    for i in range(len(x)):
        exact = exact_logits(model, [Fraction(value) for value in x[i].tolist()])
        for k, logit in enumerate(exact):
            assert low[i, k].item() <= logit <= high[i, k].item()


def test_the_bound_covers_every_sample_of_those_that_share_it() -> None:
    """One large input among small ones: its rounding error is the largest."""
    model = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.3), nn.Linear(3, 2)).double()
    x = torch.tensor([[1e-3, 2e-3], [1e9, -3e9], [1e-3, 0.0]], dtype=torch.float64)
    low, high = outputs(trace(model, x), x)
    alone = [outputs(trace(model, x), one) for one in x.split(1)]
    assert bool((high - low >= torch.cat([end for _, end in alone]) - torch.cat([end for end, _ in alone])).all())
