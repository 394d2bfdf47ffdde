"""Upper ends stay upper ends where squares underflow and where taps cancel."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from bounds.errors import InputError
from bounds.measure import layer_norms
from bounds.measure.deterministic_norm import deterministic_upper
from bounds.measure.pr_norm import operator_norm_pr, spectral, vector_norms
from bounds.network.operators import Convolution, Linear, Pad
from bounds.network.segment import Segment


@pytest.mark.parametrize("size", [1e-170, 1e-25, 1.0, 1e170])
def test_norms_of_tiny_and_huge_matrices_scale(size):
    plain = torch.randn(1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert spectral(size * plain).item() == pytest.approx(size * spectral(plain).item(), rel=1e-12)
    for p, r in ((2, 2), (1.5, 3), (math.inf, 2)):
        scaled, expected = operator_norm_pr(size * plain, p, r), operator_norm_pr(plain, p, r)
        assert scaled.lower.item() == pytest.approx(size * expected.lower.item(), rel=1e-9)
        assert scaled.upper.item() == pytest.approx(size * expected.upper.item(), rel=1e-9)
    assert vector_norms(size * plain, 3, 2)[0, 0].item() == pytest.approx(
        size * vector_norms(plain, 3, 2)[0, 0].item(), rel=1e-12
    )


@pytest.mark.parametrize("rest", [1e-12, 1e-10, 1e-6])
def test_the_symbol_bounds_taps_that_wrap_and_cancel(rest):
    """On a circle of one pixel the operator is the exact sum of the taps."""
    weight = torch.tensor([[[0.1, 0.2, -0.3 + rest]]], dtype=torch.float64)
    circle = Segment("c", (Pad((1, 1), (1, 1), "circular"), Convolution((1, 3), weight, (1,), (0,), (1,), 1)))
    exact = abs(sum(Fraction(tap) for tap in weight.flatten().tolist()))
    bound = deterministic_upper(circle).value
    assert exact <= Fraction(bound) <= exact + Fraction(1, 10**13)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_weights_that_cannot_be_squared_are_refused(size):
    layer = Segment("fc", (Linear((1,), torch.tensor([[size]], dtype=torch.float64)),))
    with pytest.raises(InputError, match="fc: weights of size 1e.200 cannot be squared"):
        layer_norms(layer)
