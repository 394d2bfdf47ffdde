"""Bounds of max-pools against torch's pooling, exact fractions and every corner of small boxes."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.errors import InputError
from bounds.network.nonlinear import MaxPool
from verification.certify.max_pool import image, relax, rivals

POOLS = [
    MaxPool((2, 4, 4), (2, 2), (2, 2), (0, 0), (1, 1), ceil_mode=False),
    MaxPool((2, 5, 4), (3, 2), (2, 1), (1, 1), (1, 1), ceil_mode=False),
    MaxPool((1, 5, 5), (2, 2), (2, 2), (0, 0), (1, 1), ceil_mode=True),
    MaxPool((2, 6, 5), (2, 2), (1, 2), (1, 0), (2, 2), ceil_mode=False),
    MaxPool((3, 7), (3,), (2,), (1,), (1,), ceil_mode=True),
    MaxPool((1, 3, 4, 3), (2, 2, 2), (1, 2, 1), (0, 1, 1), (1, 1, 1), ceil_mode=False),
]
PAIR = MaxPool((1, 2), (2,), (2,), (0,), (1,), ceil_mode=False)
pools = st.sampled_from(POOLS)
seeds = st.integers(0, 10**9)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def box(pool, seed, n=2):
    """Intervals of widths from 0 to a few units, with ties."""
    rng = generator(seed)
    low = torch.randn(n, *pool.in_shape, generator=rng, dtype=torch.float64)
    width = torch.rand(n, *pool.in_shape, generator=rng, dtype=torch.float64) * 2
    tied = torch.rand(n, *pool.in_shape, generator=rng) < 0.3
    low, width = torch.where(tied, low.round(), low), torch.where(tied, width.round(), width)
    scale = 10.0 ** torch.randint(-3, 4, (), generator=rng).item()
    return scale * low, scale * (low + width)


def windows_by_hand(pool):
    """Per window the positions of its taps, None for padding, in the order of the loops."""
    found = []
    for window in itertools.product(*(range(count) for count in pool.out_shape[1:])):
        taps = []
        for tap in itertools.product(*(range(size) for size in pool.kernel_size)):
            axes = zip(window, tap, pool.stride, pool.padding, pool.dilation, strict=True)
            at = [w * stride - padding + t * dilation for w, t, stride, padding, dilation in axes]
            inside = all(0 <= i < size for i, size in zip(at, pool.in_shape[1:], strict=True))
            position = 0
            for i, size in zip(at, pool.in_shape[1:], strict=True):
                position = position * size + i
            taps.append(position if inside else None)
        found.append(taps)
    return found


@pytest.mark.parametrize("pool", POOLS)
def test_windows_are_those_of_loops_and_of_torch(pool):
    taps, inside = pool.windows
    expected = windows_by_hand(pool)
    assert taps.tolist() == [[position or 0 for position in window] for window in expected]
    assert inside.tolist() == [[position is not None for position in window] for window in expected]
    z = torch.randn(3, *pool.in_shape, generator=generator(0), dtype=torch.float64)
    largest = z.flatten(2)[:, :, taps].masked_fill(~inside, -math.inf).amax(3)
    assert torch.equal(largest.reshape(3, *pool.out_shape), pool(z))


@given(pool=pools, seed=seeds)
@settings(deadline=None, max_examples=25)
def test_bounds_hold_at_corners_in_exact_arithmetic(pool, seed):
    """y - (slope h + intercept) is convex, so that its largest value over the box is at a corner."""
    low, high = box(pool, seed, n=1)
    found = relax(pool, low, high)
    flat_low, flat_high = low.flatten(2)[0], high.flatten(2)[0]
    everything = windows_by_hand(pool)
    for channel, window in itertools.product(range(pool.in_shape[0]), range(0, len(everything), 3)):
        taps = [tap for tap in everything[window] if tap is not None]
        below, above = (int(index[0, channel, window]) for index in (found.below, found.above))
        slope, intercept = (Fraction(float(v[0, channel, window])) for v in (found.slope, found.intercept))
        assert below in taps and above in taps
        for corner in itertools.product(*({float(flat_low[channel, t]), float(flat_high[channel, t])} for t in taps)):
            values = {tap: Fraction(value) for tap, value in zip(taps, corner, strict=True)}
            assert values[below] <= max(values.values()) <= slope * values[above] + intercept


@given(pool=pools, seed=seeds)
@settings(deadline=None, max_examples=25)
def test_pulled_back_coefficients_bound_every_point_of_the_box(pool, seed):
    low, high = box(pool, seed)
    rng = generator(seed + 1)
    coefficients = torch.randn(2, 3, *pool.out_shape, generator=rng, dtype=torch.float64)
    pulled, constant = relax(pool, low, high).pull_back_lower(coefficients)
    assert pulled.shape == (2, 3, *pool.in_shape) and constant.shape == (2, 3)
    for _ in range(20):
        share = torch.rand(low.shape, generator=rng, dtype=torch.float64)
        if torch.rand((), generator=rng) < 0.5:
            share = share.round()
        z = low + share * (high - low)
        exact = (coefficients * pool(z)[:, None]).flatten(2).sum(2)
        bound = (pulled * z[:, None]).flatten(2).sum(2) + constant
        assert bool((bound <= exact + 1e-11 * (1 + high.abs().max())).all())


@given(pool=pools, seed=seeds)
@settings(deadline=None, max_examples=15)
def test_a_pull_back_is_exact_where_every_winner_is_certain(pool, seed):
    z = torch.randn(2, *pool.in_shape, generator=generator(seed), dtype=torch.float64)
    coefficients = torch.randn(2, 2, *pool.out_shape, generator=generator(seed + 1), dtype=torch.float64)
    pulled, constant = relax(pool, z - 1e-9, z + 1e-9).pull_back_lower(coefficients)
    z.requires_grad_(True)
    rows = [torch.autograd.grad((coefficients[:, row] * pool(z)).sum(), z, retain_graph=True)[0] for row in range(2)]
    assert torch.allclose(pulled, torch.stack(rows, 1), rtol=0, atol=1e-12)
    assert bool((constant == 0).all())


@given(pool=pools, seed=seeds)
@settings(deadline=None, max_examples=15)
def test_the_bound_above_is_below_the_largest_end_and_touches_the_chord(pool, seed):
    low, high = box(pool, seed)
    found, largest = relax(pool, low, high), pool(high).flatten(2)
    at_high, at_low = (found.slope * end.flatten(2).gather(2, found.above) + found.intercept for end in (high, low))
    rounding = 1e-14 * (1 + high.abs().max() + low.abs().max())
    assert bool(((at_high - largest).abs() <= rounding).all()) and bool((at_low <= largest + rounding).all())
    windows = [[tap for tap in window if tap is not None] for window in windows_by_hand(pool)]
    second = [
        [[sorted([-math.inf, *channel[taps].tolist()])[-2] for taps in windows] for channel in sample]
        for sample in high.flatten(2)
    ]
    own = low.flatten(2).gather(2, found.above)
    expected = torch.maximum(torch.tensor(second, dtype=torch.float64), own)
    assert torch.allclose(at_low, expected, rtol=0, atol=rounding.item())


def test_two_taps_by_hand():
    found = relax(PAIR, torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[4.0, 2.0]]]))
    assert (found.below.item(), found.above.item(), found.slope.item()) == (1, 0, 0.5)
    assert found.intercept.item() == pytest.approx(2.0, abs=1e-14)
    pulled, constant = found.pull_back_lower(torch.tensor([[[[3.0]], [[-3.0]]]], dtype=torch.float64))
    assert pulled.tolist() == [[[[0.0, 3.0]], [[-1.5, 0.0]]]]
    assert constant[0].tolist() == pytest.approx([0.0, -6.0], abs=1e-13)


@given(pool=pools, seed=seeds)
@settings(deadline=None, max_examples=15)
def test_image_and_rivals_against_points_of_the_box(pool, seed):
    low, high = box(pool, seed)
    floor, ceiling = image(pool, low, high)
    can_win = rivals(pool, low, high)
    assert torch.equal(floor, pool(low)) and torch.equal(ceiling, pool(high))
    everything = windows_by_hand(pool)
    assert can_win.shape == (2, pool.in_shape[0], len(everything), math.prod(pool.kernel_size))
    for sample, channel in itertools.product(range(2), range(pool.in_shape[0])):
        down, up = low[sample, channel].flatten(), high[sample, channel].flatten()
        for window, taps in enumerate(everything):
            for tap, position in enumerate(taps):
                # A tap can be largest if it is so at its upper end with the others at their lower ends.
                best_case = position is not None and all(
                    up[position] >= down[other] for other in taps if other not in (None, position)
                )
                assert bool(can_win[sample, channel, window, tap]) == best_case


def test_padding_never_wins_over_taps_without_a_lower_end():
    pool = MaxPool((1, 3), (3,), (3,), (1,), (1,), ceil_mode=False)  # the window is padding, 0, 1
    infinite = torch.full((1, 1, 3), math.inf)
    found = relax(pool, -infinite, torch.tensor([[[1.0, 2.0, 9.0]]]))
    square = MaxPool((1, 3, 3), (2, 2), (2, 2), (1, 1), (1, 1), ceil_mode=False)  # the second window: padding, 1, 2
    unknown = torch.full((1, 1, 3, 3), math.inf)
    assert relax(square, -unknown, unknown).below[0, 0, 1].item() in (1, 2)
    assert (found.slope.item(), found.intercept.item()) == (0.0, 2.0)
    assert rivals(pool, -infinite, infinite).tolist() == [[[[False, True, True]]]]
    found = relax(pool, torch.tensor([[[-3.0, -2.0, 0.0]]]), torch.tensor([[[-2.5, -1.0, 0.0]]]))
    assert (found.below.item(), found.above.item(), found.slope.item(), found.intercept.item()) == (1, 1, 1.0, 0.0)
    unbounded = relax(PAIR, torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[math.inf, 2.0]]]))
    assert (unbounded.slope.item(), unbounded.intercept.item()) == (0.0, math.inf)


def test_the_pull_back_is_differentiable():
    pool = POOLS[1]
    low, high = box(pool, 5)
    coefficients = torch.randn(2, 1, *pool.out_shape, generator=generator(0), dtype=torch.float64, requires_grad=True)
    pulled, constant = relax(pool, low, high).pull_back_lower(coefficients)
    (gradient,) = torch.autograd.grad(pulled.sum() + constant.sum(), coefficients)
    assert bool((gradient != 0).all())


def test_an_empty_interval_is_refused():
    for function in (relax, image, rivals):
        with pytest.raises(InputError, match="interval is empty"):
            function(PAIR, torch.ones(1, 1, 2), torch.zeros(1, 1, 2))
