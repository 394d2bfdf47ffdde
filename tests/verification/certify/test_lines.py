"""Lines against mpmath at 50 digits where they are nearest to the curve, and against dense grids in between."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.errors import InputError
from bounds.network.nonlinear import FUNCTIONS, Activation
from verification.certify.lines import curvature, derivative_range, image, lines

MP = mp.MPContext()
MP.dps = 50


def mp_leaky(x, negative_slope):
    return x if x > 0 else MP.mpf(negative_slope) * x


def mp_elu(x, alpha):
    return x if x > 0 else MP.mpf(alpha) * MP.expm1(x)


def mp_gelu_tanh(x):
    return x * (1 + MP.tanh(MP.sqrt(2 / MP.pi) * (x + MP.mpf("0.044715") * x**3))) / 2


EXACT = {
    "relu": lambda x: max(x, MP.mpf(0)),
    "leaky_relu": mp_leaky,
    "tanh": MP.tanh,
    "sigmoid": lambda x: 1 / (1 + MP.exp(-x)),
    "softplus": lambda x, beta: MP.log1p(MP.exp(MP.mpf(beta) * x)) / MP.mpf(beta),
    "gelu": lambda x: x * MP.erfc(-x / MP.sqrt(2)) / 2,
    "gelu_tanh": mp_gelu_tanh,
    "silu": lambda x: x / (1 + MP.exp(-x)),
    "elu": mp_elu,
}
PARAMETERS = {
    "leaky_relu": [{"negative_slope": a} for a in (0.01, 0.3, 1.0, 2.5, -0.7, -3.0)],
    "softplus": [{"beta": b} for b in (1.0, 0.2, 7.0, -1.3)],
    "elu": [{"alpha": a} for a in (1.0, 0.4, 2.0, 0.0, -0.8)],
}
CASES = [Activation(key, tuple(p.items())) for key in FUNCTIONS for p in PARAMETERS.get(key, [{}])]
SMOOTH = [phi for phi in CASES if phi.facts.beta is not None]
ENVELOPED = [phi for phi in CASES if phi.key != "elu" or 0 <= phi.parameters[0][1] <= 1]


def name(phi):
    return phi.key + "".join(f" {value}" for _, value in phi.parameters)


cases, smooth = pytest.mark.parametrize("phi", CASES, ids=name), pytest.mark.parametrize("phi", SMOOTH, ids=name)


def exact(phi, h):
    return EXACT[phi.key](MP.mpf(h), **dict(phi.parameters))


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def grid(low, high, points=1001):
    """Points of every interval, (points, intervals), ends included."""
    share = torch.linspace(0, 1, points, dtype=torch.float64)[:, None]
    return torch.minimum(torch.maximum(low + share * (high - low), low), high)


def intervals(seed, count=16):
    """Intervals of all widths, some of them narrow, around and away from 0."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(0, 3, count) * 10 ** rng.choice([-6.0, -1.0, 0.0, 0.0, 0.0, 1.0], count)
    width = 10 ** rng.uniform(-14, 1.2, count) * np.where(rng.random(count) < 0.5, 1, 0) + 10 ** rng.uniform(
        -1, 1, count
    )
    width = np.where(rng.random(count) < 0.3, 10 ** rng.uniform(-17, -3, count), width)
    shift = rng.uniform(0, 1, count)
    low, high = torch.from_numpy(middle - shift * width), torch.from_numpy(middle + (1 - shift) * width)
    return low, torch.maximum(low, high)


def assert_sound(phi, found, low, high):
    """Exactly, in 50 digits, at the ends, the kink and where on a grid the lines are nearest to the curve."""
    h = grid(low, high)
    values = phi(h)
    below = values - found.below_slope * h - found.below_intercept
    above = found.above_slope * h + found.above_intercept - values
    size = 1 + h.abs() + values.abs()
    assert bool((below >= -1e-12 * size).all()) and bool((above >= -1e-12 * size).all())
    for unit in range(len(low)):
        nearest = {int(gap[:, unit].argmin()) for gap in (below, above)}
        points = {low[unit].item(), high[unit].item(), *(h[row, unit].item() for row in nearest)}
        points |= {0.0} if low[unit] <= 0 <= high[unit] else set()
        a, b, c, d = (
            MP.mpf(torch.broadcast_to(v, low.shape)[unit].item())
            for v in (found.below_slope, found.below_intercept, found.above_slope, found.above_intercept)
        )
        for point in points:
            computed = MP.mpf(phi(double(point)).item())
            for value in (exact(phi, point), computed):
                assert a * point + b <= value <= c * point + d, (name(phi), low[unit].item(), high[unit].item(), point)


@cases
@given(seed=st.integers(0, 10**9), is_free=st.booleans())
@settings(deadline=None, max_examples=3)
def test_lines_hold_for_the_exact_and_for_the_computed_activation(phi, seed, is_free):
    low, high = intervals(seed)
    rng = torch.Generator().manual_seed(seed)
    t = torch.rand(2, len(low), generator=rng, dtype=torch.float64)
    t[:, ::3] = t[:, ::3].round()
    assert_sound(phi, lines(phi, low, high, (t[0], t[1]) if is_free else None), low, high)


@cases
def test_lines_hold_and_are_near_for_huge_tiny_and_single_point_intervals(phi):
    ends = [(-1e8, 1e8), (-1e8, -0.5), (1e8, 1e8 + 1), (-1e8 - 1, -1e8), (0.0, 0.0), (1.5, 1.5), (-1e-300, 1e-300)]
    ends += [
        (1e-300, 2e-300),
        (0.3, math.nextafter(0.3, 1)),
        (-math.nextafter(2.0, 3), -2.0),
        (-3.0, 1e8),
        (-1e12, 2.0),
    ]
    ends += [(0.0, 1.0), (-1.0, 0.0), (-5e-324, 5e-324), (15.0, 30.0), (-30.0, -15.0), (-800.0, 800.0)]
    low, high = double(*ends).T
    found = lines(phi, low, high)
    assert_sound(phi, found, low, high)
    narrow = high - low <= 1e-14 * (1 + high.abs())
    rounding = torch.where(high.abs() > 10, 1e-8 * (phi.key == "softplus"), 0.0) + 1e-12 * (1 + high.abs())
    gap = (found.above_slope - found.below_slope) * high + found.above_intercept - found.below_intercept
    assert bool((gap <= rounding)[narrow].all())


@cases
def test_the_gap_closes_with_the_square_of_the_width_away_from_kinks(phi):
    for middle in (-1.7, -0.4, 0.9, 2.1):
        width = double(1e-1, 1e-2, 1e-3, 1e-4)
        low, high = middle - width / 2, middle + width / 2
        found = lines(phi, low, high)
        for h in (low, high):
            gap = (found.above_slope - found.below_slope) * h + found.above_intercept - found.below_intercept
            beta = max(abs(value) for _, value in phi.parameters) if phi.parameters else 1
            assert bool((gap <= max(1, beta) * width.square() + 1e-12).all())


def convex_envelope_in_the_middle(h, values):
    """Of points with increasing h: the lower hull (Andrew's chain) at the middle of their range."""
    hull = []
    for point in zip(h, values, strict=True):
        while len(hull) > 1 and (hull[-1][0] - hull[-2][0]) * (point[1] - hull[-2][1]) <= (
            hull[-1][1] - hull[-2][1]
        ) * (point[0] - hull[-2][0]):
            hull.pop()
        hull.append(point)
    return np.interp((h[0] + h[-1]) / 2, *zip(*hull, strict=True))


@pytest.mark.parametrize("phi", ENVELOPED, ids=name)
@given(low=st.floats(-9, 8), width=st.floats(0.05, 12))
@settings(deadline=None, max_examples=8)
def test_default_lines_are_those_of_the_smallest_area(phi, low, width):
    low, high = double(low), double(low + width)
    h = grid(low, high, 2001)[:, 0]
    found, middle = lines(phi, low, high), (low + high) / 2
    below = convex_envelope_in_the_middle(h.numpy(), phi(h).numpy())
    above = -convex_envelope_in_the_middle(h.numpy(), -phi(h).numpy())
    # The hull of a grid is off by at most the curvature times the square of its spacing.
    tolerance = 1e-6 + 7 * (width / 2000) ** 2 + 1e-8
    assert (found.below_slope * middle + found.below_intercept).item() == pytest.approx(below, abs=tolerance)
    assert (found.above_slope * middle + found.above_intercept).item() == pytest.approx(above, abs=tolerance)


@cases
@given(seed=st.integers(0, 10**9))
@settings(deadline=None, max_examples=3)
def test_default_lines_are_never_worse_than_the_image(phi, seed):
    low, high = intervals(seed)
    found, (floor, ceiling), middle = lines(phi, low, high), image(phi, low, high), (low + high) / 2
    rounding = 1e-15 * (1 + low.abs() + high.abs()) * (1 + found.below_slope.abs() + found.above_slope.abs())
    assert bool((found.below_slope * middle + found.below_intercept >= floor - rounding).all())
    assert bool((found.above_slope * middle + found.above_intercept <= ceiling + rounding).all())


def test_relu_in_closed_form():
    low, high = double(-1.0, -3.0, 1.0, -2.0, 0.0, -2.0, 0.0), double(3.0, 1.0, 2.0, -1.0, 2.0, 0.0, 0.0)
    found = lines(Activation("relu"), low, high)
    assert found.below_slope.tolist() == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    assert found.below_intercept.tolist() == [0.0] * 7
    assert found.above_slope.tolist() == [0.75, 0.25, 1.0, 0.0, 1.0, 0.0, 0.0]
    assert found.above_intercept[2:].tolist() == [0.0] * 5
    assert found.above_intercept[:2].tolist() == pytest.approx([0.75, 0.75], abs=1e-14)
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    free = lines(Activation("relu"), low, high, (t, 1 - t))
    assert free.below_slope[:2].tolist() == t[:2].tolist() and free.below_slope[2:].tolist() == [1, 0, 1, 0, 0]
    assert bool((free.below_intercept == 0).all())
    assert torch.equal(free.above_slope, found.above_slope) and torch.equal(free.above_intercept, found.above_intercept)


@pytest.mark.parametrize(("a", "sides"), [(0.2, "convex"), (-2.0, "convex"), (3.0, "concave")])
def test_leaky_relu_swaps_its_lines_where_it_is_concave(a, sides):
    phi, low, high, t = Activation("leaky_relu", (("negative_slope", a),)), double(-1.0), double(2.0), double(0.25)
    found = lines(phi, low, high, (t, t))
    through, chord = a + 0.25 * (1 - a), (2 + a) / 3
    slopes = (through, chord) if sides == "convex" else (chord, through)
    assert (found.below_slope.item(), found.above_slope.item()) == pytest.approx(slopes)
    away = found.above_intercept if sides == "convex" else found.below_intercept
    assert away.item() == pytest.approx(2 - 2 * chord)


@pytest.mark.parametrize("phi", SMOOTH, ids=name)
def test_free_lines_run_over_tangents_and_are_best_in_the_middle(phi):
    low, high = double(-1.5, -4.0, -0.3, 0.4), double(2.0, 0.5, 3.0, 1.0)
    best = lines(phi, low, high)
    middle = (low + high) / 2
    t = torch.linspace(0, 1, 21, dtype=torch.float64)[:, None]
    found = lines(phi, low, high, (t, t))
    for sign, slope, intercept, name_ in (
        (1, found.below_slope, found.below_intercept, "below"),
        (-1, found.above_slope, found.above_intercept, "above"),
    ):
        height = sign * (slope * middle + intercept)
        at_best = sign * (getattr(best, f"{name_}_slope") * middle + getattr(best, f"{name_}_intercept"))
        assert bool((height <= at_best + 1e-12).all())
        assert torch.allclose(torch.broadcast_to(height, (21, 4))[10], at_best, atol=1e-12)
        steps = sign * torch.broadcast_to(slope, (21, 4)).diff(dim=0)
        assert bool((steps >= -1e-12).all())  # from the first tangent to the last the slope of a convex piece rises


@cases
def test_gradients_with_respect_to_the_free_parameters_are_those_of_finite_differences(phi):
    low, high = double(-1.5, -4.0, -0.3, 0.4, -0.7), double(2.0, 0.5, 3.0, 1.0, 0.6)
    t = torch.full((2, 5), 0.3, dtype=torch.float64)
    t[:, 3:] = 0.8
    weights = torch.linspace(-1, 2, 20, dtype=torch.float64).reshape(4, 5)

    def objective(t):
        found = lines(phi, low, high, (t[0], t[1]))
        fields = (found.below_slope, found.below_intercept, found.above_slope, found.above_intercept)
        return sum((w * values).sum() for w, values in zip(weights, fields, strict=True))

    if phi.key == "leaky_relu" and phi.parameters[0][1] == 1.0:
        assert objective(t).item() == objective(1 - t).item()
        return
    t.requires_grad_(True)
    (found,) = torch.autograd.grad(objective(t), t)
    step = 1e-6
    for index in np.ndindex(2, 5):
        shift = torch.zeros_like(t)
        shift[index] = step
        with torch.no_grad():
            difference = (objective(t + shift) - objective(t - shift)) / (2 * step)
        assert found[index].item() == pytest.approx(difference.item(), abs=2e-6)


@cases
def test_gradients_stay_finite_on_wide_intervals(phi):
    low, high = double(-1.0, -1000.0, -1e4, 700.0), double(1000.0, 1.0, 1e4, 800.0)
    t = torch.full((2, 4), 0.9, dtype=torch.float64, requires_grad=True)
    found = lines(phi, low, high, (t[0], t[1]))
    total = (found.below_slope + found.below_intercept + found.above_slope + found.above_intercept).sum()
    if total.requires_grad:
        (gradient,) = torch.autograd.grad(total, t)
        assert bool(gradient.isfinite().all())


@cases
def test_slopes_are_those_of_the_activation_however_narrow_the_interval(phi):
    low = torch.cat([sign * 10.0 ** torch.linspace(-20, 0.5, 400, dtype=torch.float64) for sign in (-1, 1)])
    for high in (low.nextafter(low + 1), low + low.abs() * 1e-13):
        found, (smallest, largest) = lines(phi, low, high), derivative_range(phi, low, high)
        for slope in (found.below_slope, found.above_slope):
            assert bool(((smallest <= slope) & (slope <= largest) | (slope == 0)).all())


@cases
@given(seed=st.integers(0, 10**9))
@settings(deadline=None, max_examples=3)
def test_image_contains_the_values_and_is_attained(phi, seed):
    low, high = intervals(seed)
    floor, ceiling = image(phi, low, high)
    values = phi(grid(low, high))
    assert bool((floor <= values).all()) and bool((values <= ceiling).all())
    # A smallest value inside is missed by at most the curvature times the square of the spacing, a kink by a slope.
    jump = 5e-9 / abs(phi.parameters[0][1]) if phi.key == "softplus" else 0.0
    reach = 1e-12 * (1 + values.abs().amax(0)) + jump
    reach = reach + 3 * ((high - low) / 1000) ** (2 if phi.facts.beta else 1)
    assert bool((values.amin(0) <= floor + reach).all()) and bool((values.amax(0) >= ceiling - reach).all())
    for unit in range(0, len(low), 4):
        for h in (low[unit].item(), high[unit].item()):
            assert MP.mpf(floor[unit].item()) <= exact(phi, h) <= MP.mpf(ceiling[unit].item())


def derivatives(phi, h, order):
    """torch's own, by automatic differentiation; its softplus is the identity from 20 on."""
    h = h.clone().requires_grad_(True)
    values = phi(h)
    for number in range(order):
        (values,) = torch.autograd.grad(values.sum(), h, create_graph=number < order - 1)
    return values


@cases
@given(seed=st.integers(0, 10**9))
@settings(deadline=None, max_examples=3)
def test_slopes_are_in_their_range_and_attain_it(phi, seed):
    low, high = intervals(seed)
    smallest, largest = derivative_range(phi, low, high)
    h = grid(low, high)
    slopes = derivatives(phi, h, 1)
    assert bool((smallest - 1e-14 <= slopes).all()) and bool((slopes <= largest + 1e-14).all())
    spacing = (high - low) / 1000
    # A kink on the grid has one slope only; 0 is an end of no such interval here.
    reach = 1e-8 + 10 * spacing**2 if phi.facts.beta else 1e-8 + spacing * 3
    reach = reach + 5 * spacing * ((low - 1 < 0) & (high + 1 > 0) & (phi.key == "elu"))
    assert bool((slopes.amin(0) <= smallest + reach).all()) and bool((slopes.amax(0) >= largest - reach).all())


@smooth
@given(seed=st.integers(0, 10**9))
@settings(deadline=None, max_examples=3)
def test_curvature_is_an_attained_upper_bound(phi, seed):
    low, high = intervals(seed)
    largest = curvature(phi, low, high)
    h = grid(low, high)
    bends = derivatives(phi, h, 2).abs()
    assert bool((bends <= largest + 1e-13 * (1 + largest)).all())
    spacing, beta = (high - low) / 1000, abs(dict(phi.parameters).get("beta", 1))
    reach = 1e-7 + 3 * beta**3 * spacing**2 + spacing * (phi.key == "elu")
    reach = torch.where(beta * high.abs().maximum(low.abs()) > 19, math.inf, reach) if phi.key == "softplus" else reach
    assert bool((bends.amax(0) >= largest - reach).all())


@smooth
def test_slopes_and_curvature_in_50_digits(phi):
    for low, high in ((-0.3, -0.1), (-3.0, 2.0), (1.2, 1.6), (-2.5, -1.3), (4.0, 6.0), (0.05, 0.06)):
        smallest, largest = (MP.mpf(end.item()) for end in derivative_range(phi, double(low), double(high)))
        bend = MP.mpf(curvature(phi, double(low), double(high)).item())
        for h in np.linspace(low, high, 9).tolist():
            if h == 0:
                continue
            _, slope, half = MP.taylor(lambda x: exact(phi, x), MP.mpf(h), 2)
            assert smallest <= slope <= largest and abs(2 * half) <= bend


@smooth
def test_ranges_over_everything_are_the_activations_constants(phi):
    low, high = double(-300.0), double(300.0)
    smallest, largest = derivative_range(phi, low, high)
    rho, jump = (1.0, 3e-9) if phi.key == "softplus" else (phi.facts.rho, 0.0)
    assert max(-smallest.item(), largest.item()) == pytest.approx(rho, rel=0, abs=2e-14 + jump)
    assert curvature(phi, low, high).item() == pytest.approx(phi.facts.beta, rel=0, abs=2e-13)


def test_slopes_at_a_kink_are_all_in_between():
    ends = derivative_range(
        Activation("relu"), double(-1.0, 0.0, -1.0, 1e-300, -2.0), double(1.0, 1.0, 0.0, 1.0, -1e-300)
    )
    assert [end.tolist() for end in ends] == [[0, 0, 0, 1, 0], [1, 1, 1, 1, 0]]
    steep = derivative_range(Activation("leaky_relu", (("negative_slope", 3.0),)), double(-1.0, 1.0), double(1.0, 2.0))
    assert [end.tolist() for end in steep] == [[1, 1], [3, 1]]


@pytest.mark.parametrize("beta", [1.0, 4.0, -0.5])
def test_softplus_around_the_threshold_covers_what_torch_computes_and_the_exact_function(beta):
    phi = Activation("softplus", (("beta", beta),))
    edge = 20 / beta
    ends = sorted([edge - 1e-9, edge + 1e-9]), sorted([edge / 2, edge * 1.5]), sorted([edge * 1.01, edge * 2])
    low, high = double(*ends).T
    assert_sound(phi, lines(phi, low, high), low, high)
    floor, ceiling = image(phi, low, high)
    for unit, h in ((0, edge - 1e-9), (0, edge + 1e-9), (1, edge), (2, edge * 1.01)):
        for value in (MP.mpf(phi(double(h)).item()), exact(phi, h)):
            assert floor[unit].item() <= value <= ceiling[unit].item()


@cases
def test_intervals_without_ends_give_sound_constants(phi):
    low, high = double(-math.inf, -2.0, -math.inf, math.nan, 3.0), double(1.0, math.inf, math.inf, 2.0, math.inf)
    h = grid(low.nan_to_num(neginf=-50.0, nan=-50.0), high.nan_to_num(posinf=50.0))
    for free in (None, (double(0.5), double(0.5))):
        found, (floor, ceiling) = lines(phi, low, high, free), image(phi, low, high)
        below, above = found.below_slope * h + found.below_intercept, found.above_slope * h + found.above_intercept
        assert bool((below <= phi(h)).all()) and bool((phi(h) <= above).all())
        assert bool((floor <= phi(h)).all()) and bool((phi(h) <= ceiling).all())
    assert floor[1].isfinite() and not any(v.isnan().any() for v in (floor, ceiling, *derivative_range(phi, low, high)))


def test_bad_input_is_named():
    for function in (lines, image, derivative_range, curvature):
        with pytest.raises(InputError, match="interval is empty"):
            function(Activation("tanh"), double(1.0), double(0.0))
    with pytest.raises(InputError, match="relu has no second derivative"):
        curvature(Activation("relu"), double(-1.0), double(1.0))
    with pytest.raises(InputError, match="beta"):
        image(Activation("softplus", (("beta", 0.0),)), double(-1.0), double(1.0))


def test_ends_of_any_shape_and_precision_are_broadcast():
    low, high = torch.full((2, 1, 3), -1.0), torch.tensor([1.0, 2.0, 3.0])
    found = lines(Activation("gelu"), low, high)
    assert found.below_slope.shape == (2, 1, 3) and found.below_slope.dtype == torch.float64
    free = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor(0.5)
    assert lines(Activation("gelu"), low, high, free).below_intercept.shape == (2, 4, 3)
