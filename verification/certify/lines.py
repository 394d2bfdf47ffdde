"""Straight lines around an activation, and the ranges of its values, slopes and curvature over an interval.

A line below phi with slope s has the intercept min of phi(h) - s h over the interval. The minimum is at an end or in a
piece where phi is convex; there phi lies above its tangent at any point d of the piece, so that

    phi(h) - s h >= phi(d) - s d + (phi'(d) - s)(h - d),

which is smallest at an end of the piece. Whatever slope and d were chosen by whatever search, the intercept is sound.
Lines above phi are lines below -phi.

The best line below, of those that leave the smallest area, supports the convex envelope of phi over the interval in its
middle. The envelope is phi between the first and the last point of the convex piece whose tangents pass below both
ends of the graph, straight outside, and a chord if there are no such points.

Rounding, u = 2^-53. torch's exp, expm1, log1p, tanh and erf err by at most two units in the last place, 4u relative
(one for SLEEF's vectorised functions of 1.0 ULP, two for glibc's by its manual). Counting roundings,

- |computed - exact phi(h)| <= 16u (scale + |phi(h)|), with scale 1, |alpha| (ELU) or 1/|beta| (softplus). Relative
  errors are below 12u, except of GELU on the left: there 1 + erf and 1 + tanh, which err by 2u where they are small,
  are multiplied by |h|/2, and |h| <= 8.3, beyond which they are 0 as computed and less than u exactly.
- |computed - exact phi'(h)| <= 64u max(1, |alpha|), |computed - exact phi''(h)| <= 64u max(1, |beta|). The worst is
  GELU's tanh form: absolute sums of the terms at most 1.13 resp. 0.86, at most 27u relative each, and the logistic
  function's argument q, 6 roundings, changes a term T by 6u |qT| <= 6u 1.77.
- An intercept, with |h| <= H on an interval of width w, has in addition two roundings of s h, at most u |s| H each, and
  of (phi'(d) - s)(h - d), at most (64u max(1, |alpha|) + 4u |s|) w. Twice the sum of 16u (scale + |phi|), of
  16u |s| (H + w) and of 64u max(1, |alpha|) w covers these, the error of phi where the minimum is computed, and that
  of torch's phi at any other point.

So everything here holds for the exact phi as well as for what torch computes. For softplus these differ more: torch
returns h where beta h > 20, which is off by log(1 + e^-20)/|beta|, and its slope by 1/(1 + e^20); intervals that
reach there are widened by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bounds.activations import PARAMETERS
from bounds.errors import InputError
from bounds.network.nonlinear import Activation
from verification.certify.rounding import UNDERFLOW, UNIT, sums

VALUES = 16 * UNIT
SLOPES = 64 * UNIT
THRESHOLD = 19.99  # below the 20 at which torch's softplus becomes the identity, by far more than beta h is rounded
JUMP = 2.07e-9  # > log(1 + e^-20) > 1/(1 + e^20)
TAIL = 1000.0  # where all derivatives of h·Phi(h) and h·sigmoid(h) have reached their limits in float64
RESOLUTION = 2.0**-26  # how near the search gets to the outermost tangents; they stay on the safe side of them

Function = Callable[[Tensor], Tensor]
Free = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Lines:
    """below_slope h + below_intercept <= phi(h) <= above_slope h + above_intercept for every h of an interval.

    Shapes are those of the interval's ends, or broadcast with the free parameters where they depend on these.
    """

    below_slope: Tensor
    below_intercept: Tensor
    above_slope: Tensor
    above_intercept: Tensor


@dataclass(frozen=True)
class _Shape:
    """What the bounds need to know about an activation.

    Attributes:
        slope: phi'.
        bend: phi''; None where phi' jumps.
        convex: closed intervals on which phi is convex, with all points where it bends that way, a kink included.
        concave: likewise.
        turns: points between which phi is monotone.
        steepest: (point, slope there); between the points phi' is monotone.
        bent: points between which |phi''| is monotone.
        scale: size of phi where it bends.
        slopes: bound of |phi'| up to the factor 1.13.
    """

    slope: Function
    bend: Function | None = None
    convex: tuple[tuple[float, float], ...] = ()
    concave: tuple[tuple[float, float], ...] = ()
    turns: tuple[float, ...] = ()
    steepest: tuple[tuple[float, float], ...] = ()
    bent: tuple[float, ...] = ()
    scale: float = 1.0
    slopes: float = 1.0


def lines(phi: Activation, low: Tensor, high: Tensor, free: Free | None = None) -> Lines:
    """Lines below and above an activation (ReLU: Zhang et al. 2018, CROWN; the smooth ones: our derivation, see above).

    Args:
        phi: the activation.
        low: lower ends of the intervals, any shape; infinite ends give constant lines, NaN counts as infinite.
        high: upper ends.
        free: (t_below, t_above) in [0, 1], broadcast against the ends, choose among the lines that no other one
            dominates. A kink: the slope of the line through it, from that on the left (0) to that on the right (1);
            the other line is the chord. Smooth: the tangent, from the first (0) over the best one (0.5) to the last
            (1); no effect where only the chord is left. None: the smallest area (ELU with alpha outside [0, 1]:
            nearly so), never worse than `image`.

    Returns:
        Side: outer, rounding included; differentiable in `free`.

    Raises:
        InputError: if an interval is empty.

    >>> relu = lines(Activation("relu"), torch.tensor([-1.0]), torch.tensor([3.0]))
    >>> [round(value.item(), 9) for value in (relu.below_slope, relu.above_slope, relu.above_intercept)]
    [1.0, 0.75, 0.75]
    >>> free = torch.tensor([0.5]), torch.tensor([0.5])
    >>> lines(Activation("tanh"), torch.tensor([-2.0]), torch.tensor([0.0]), free).below_slope
    tensor([0.4200], dtype=torch.float64)
    """
    low, high = ordered(low, high)
    free = None if free is None else (free[0].double(), free[1].double())
    found = _kinked_lines(phi, low, high, free) if _is_kinked(phi) else _smooth_lines(phi, low, high, free)
    floor, ceiling = image(phi, low, high)
    below = _or_constant(found.below_slope, found.below_intercept, floor, low, high, free is None)
    above = _or_constant(-found.above_slope, -found.above_intercept, -ceiling, low, high, free is None)
    return Lines(*below, -above[0], -above[1])


def image(phi: Activation, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The interval of phi's values.

    Args:
        phi: the activation.
        low: lower ends of the intervals, any shape.
        high: upper ends.

    Returns:
        Side: outer, within rounding of the exact range.

    Raises:
        InputError: if an interval is empty.

    >>> [round(end.item(), 6) for end in image(Activation("silu"), torch.tensor([-2.0]), torch.tensor([1.0]))]
    [-0.278465, 0.731059]
    """
    low, high = ordered(low, high)
    # Only 0·inf is NaN: phi tends to 0 there.
    at_low, at_high = (phi(end).nan_to_num(0.0, math.inf, -math.inf) for end in (low, high))
    smallest, largest = torch.minimum(at_low, at_high), torch.maximum(at_low, at_high)
    for turn in _shape(phi).turns:
        inside = (low <= turn) & (turn <= high)
        value = phi(low.new_tensor(turn))
        smallest = torch.where(inside, torch.minimum(smallest, value), smallest)
        largest = torch.where(inside, torch.maximum(largest, value), largest)
    # Twice: computed ends stand for exact ones, and these for what torch computes in between.
    return (
        smallest - 2 * evaluation_error(phi, smallest.abs(), low, high),
        largest + 2 * evaluation_error(phi, largest.abs(), low, high),
    )


def derivative_range(phi: Activation, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The interval of phi's slopes, at a kink all between the slopes on both sides (Clarke).

    Args:
        phi: the activation.
        low: lower ends of the intervals, any shape.
        high: upper ends.

    Returns:
        Side: outer, within rounding of the exact range.

    Raises:
        InputError: if an interval is empty.

    >>> slopes = derivative_range(Activation("sigmoid"), torch.tensor([-1.0]), torch.tensor([2.0]))
    >>> [round(end.item(), 6) for end in slopes]
    [0.104994, 0.25]
    """
    low, high = ordered(low, high)
    shape = _shape(phi)
    at_low, at_high = shape.slope(low), shape.slope(high)
    smallest, largest = torch.minimum(at_low, at_high), torch.maximum(at_low, at_high)
    for point, slope in shape.steepest:
        inside = (low <= point) & (point <= high)
        smallest = torch.where(inside, smallest.clamp(max=slope), smallest)
        largest = torch.where(inside, largest.clamp(min=slope), largest)
    if _is_kinked(phi):
        return smallest, largest
    error = SLOPES * shape.slopes + _jump(phi, low, high)
    return smallest - error, largest + error


def curvature(phi: Activation, low: Tensor, high: Tensor) -> Tensor:
    """The largest |phi''| on intervals.

    Args:
        phi: a smooth activation.
        low: lower ends of the intervals, any shape.
        high: upper ends.

    Returns:
        Side: upper, within rounding of the exact value.

    Raises:
        InputError: if an interval is empty, or the activation's slope jumps.

    >>> round(curvature(Activation("softplus"), torch.tensor([-1.0]), torch.tensor([2.0])).item(), 6)
    0.25
    """
    low, high = ordered(low, high)
    shape = _shape(phi)
    if shape.bend is None:
        raise InputError(f"{phi.key} has no second derivative: its slope jumps at 0")
    largest = torch.maximum(shape.bend(low).abs(), shape.bend(high).abs())
    for point in shape.bent:
        inside = (low <= point) & (point <= high)
        largest = torch.where(inside, torch.maximum(largest, shape.bend(low.new_tensor(point)).abs()), largest)
    return largest + SLOPES * max(shape.slopes, 1 / shape.scale)


def ordered(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of intervals as float64 of one shape; NaN becomes infinite.

    Raises:
        InputError: if an interval is empty.
    """
    low, high = torch.broadcast_tensors(low.double(), high.double())
    low = torch.where(low.isnan(), -math.inf, low)
    high = torch.where(high.isnan(), math.inf, high)
    if bool((low > high).any()):
        raise InputError("an interval is empty: its lower end is above its upper end")
    return low, high


def _or_constant(
    slope: Tensor, intercept: Tensor, floor: Tensor, low: Tensor, high: Tensor, is_default: bool
) -> tuple[Tensor, Tensor]:
    """The line below, or the constant `floor` where the line is not finite or, by default, lower in the middle."""
    usable = (slope + intercept).isfinite()
    if is_default:
        usable = usable & (slope * (low / 2 + high / 2) + intercept >= floor)
    if bool(usable.all()):
        return slope, intercept
    return torch.where(usable, slope, 0.0), torch.where(usable, intercept, floor)


def evaluation_error(phi: Activation, size: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Bound of |computed - exact phi| where |phi| <= size, on an interval."""
    if phi.key == "relu":
        return torch.zeros_like(size)
    if phi.key == "leaky_relu":  # one product, on the left
        return torch.where(low < 0, sums(1) * size + UNDERFLOW, 0.0)
    scale = _shape(phi).scale
    return VALUES * (scale + size) + UNDERFLOW + _jump(phi, low, high) * scale


def _jump(phi: Activation, low: Tensor, high: Tensor) -> Tensor | float:
    """What torch's softplus is off by on an interval, in units of 1/|beta|, and its slope in units of 1."""
    if phi.key != "softplus":
        return 0.0
    beta = _parameter(phi)
    return torch.where(torch.maximum(beta * low, beta * high) > THRESHOLD, JUMP, torch.zeros_like(low))


# ---------------------------------------------------------------------------------------------------------- kinks


def _is_kinked(phi: Activation) -> bool:
    return phi.key in ("relu", "leaky_relu")


def _kinked_lines(phi: Activation, low: Tensor, high: Tensor, free: Free | None) -> Lines:
    """ReLU and leaky ReLU: lines through the kink on the convex side of it, the chord on the other one."""
    a = 0.0 if phi.key == "relu" else _parameter(phi)
    convex = a <= 1
    crossing = (low < 0) & (high > 0)
    stable = torch.where(high <= 0, a, torch.ones_like(low))

    # By area: the best line in the middle of the interval.
    t = (high > -low).double() if free is None else free[0 if convex else 1]
    through = torch.lerp(torch.full_like(t, a), torch.ones_like(t), t).clamp(min(a, 1.0), max(a, 1.0))
    through = torch.where(crossing, through, stable)

    chord = ((high - a * low) / (high - low)).clamp(min(a, 1.0), max(a, 1.0))
    chord = torch.where(crossing, chord, stable)
    at_ends = a * low - chord * low, high - chord * high
    size = torch.maximum(abs(a) * low.abs(), high.abs())
    slack = sums(2) * (size + chord.abs() * torch.maximum(low.abs(), high)) + UNDERFLOW
    intercept = torch.maximum(*at_ends) + slack if convex else torch.minimum(*at_ends) - slack
    intercept = torch.where(crossing, intercept, 0.0)

    error = evaluation_error(phi, size, low, high)
    if convex:
        return Lines(through, -error, chord, intercept + error)
    return Lines(chord, intercept - error, through, error)


# --------------------------------------------------------------------------------------------------------- smooth


def _smooth_lines(phi: Activation, low: Tensor, high: Tensor, free: Free | None) -> Lines:
    smallest, largest = derivative_range(phi, low, high)
    chord = torch.where(high > low, (phi(high) - phi(low)) / (high - low), smallest)
    chord = torch.minimum(torch.maximum(chord, smallest), largest)  # by the mean value theorem; saves tiny intervals
    t_below, t_above = (None, None) if free is None else free
    shape, size, width = _shape(phi), torch.maximum(low.abs(), high.abs()), high - low
    error = evaluation_error(phi, torch.maximum(phi(low).abs(), phi(high).abs()), low, high)

    def slack(slope: Tensor) -> Tensor:
        s = slope.detach().abs()
        return 2 * (error + VALUES * s * (size + width) + SLOPES * shape.slopes * width)

    below_slope, below = _line_below(phi, shape.slope, shape.convex, chord, low, high, t_below)
    above_slope, above = _line_below(
        lambda h: -phi(h), lambda h: -shape.slope(h), shape.concave, -chord, low, high, t_above
    )
    return Lines(below_slope, below - slack(below_slope), -above_slope, slack(above_slope) - above)


def _line_below(
    f: Function,
    slope_of: Function,
    convex: tuple[tuple[float, float], ...],
    slope: Tensor,
    low: Tensor,
    high: Tensor,
    t: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Slope and intercept, before rounding, of a line below f: a tangent of a convex piece or the given chord."""
    pieces = []
    for p, q in convex:
        # A piece outside the interval becomes one of its ends, where the bound is valid as well.
        start, stop = (torch.maximum(low, high.clamp(max=end)) for end in (p, q))
        with torch.no_grad():
            first = _furthest_tangent(f, slope_of, low, stop, start)
            last = _furthest_tangent(f, slope_of, high, start, stop)
            best = torch.minimum(torch.maximum(low / 2 + high / 2, first), last)
        at = best
        if t is not None:
            at = torch.where(t < 0.5, torch.lerp(first, best, 2 * t), torch.lerp(best, last, 2 * t - 1))
        # A piece outside the interval offers no tangent, nor does one whose tangents pass above an end of the graph.
        is_tangent = (first <= last) & (start < high) & (stop > low)
        is_tangent &= ~_is_above(f, slope_of, best, low) & ~_is_above(f, slope_of, best, high)
        slope = torch.where(is_tangent, slope_of(at), slope)
        # The tangent at `last` lies above the chord if there is no tangent below both ends.
        pieces.append((start, stop, torch.where(is_tangent, at, last)))

    intercept = torch.minimum(f(low) - slope * low, f(high) - slope * high)
    for start, stop, at in pieces:
        with torch.no_grad():  # the minimum is stationary in the point
            at = torch.minimum(torch.maximum(at, start), stop)
            turn = slope_of(at) - slope
            loss = torch.minimum(turn * (start - at), turn * (stop - at))
        intercept = torch.minimum(intercept, f(at) - slope * at + loss)
    return slope, intercept


def _furthest_tangent(f: Function, slope_of: Function, end: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """The point furthest from start towards stop, in a convex piece, whose tangent is not above f at `end`.

    On the way towards `end` tangents only rise there. Bisection, on the side where the tangent is below; start if there
    is no such point.
    """
    above = _is_above(f, slope_of, stop, end)
    if not bool(above.any()):
        return stop
    good, bad, end = start[above], stop[above], end[above]
    for _ in range(64):
        if bool(((good - bad).abs() <= RESOLUTION).all()):
            break
        middle = good / 2 + bad / 2
        rises = _is_above(f, slope_of, middle, end)
        good, bad = torch.where(rises, good, middle), torch.where(rises, middle, bad)
    furthest = stop.clone()
    furthest[above] = good
    return furthest


def _is_above(f: Function, slope_of: Function, h: Tensor, end: Tensor) -> Tensor:
    """Whether the tangent at h lies above f at `end`."""
    return f(h) + slope_of(h) * (end - h) > f(end)


# --------------------------------------------------------------------------------------------------------- shapes


def _parameter(phi: Activation) -> float:
    """The one parameter that an activation has."""
    ((name, default),) = PARAMETERS[phi.key].items()
    return dict(phi.parameters).get(name, default)


@cache
def _shape(phi: Activation) -> _Shape:
    """Inflection points and extrema; tests check them against mpmath."""
    everywhere = (-math.inf, math.inf)
    if phi.key in ("relu", "leaky_relu"):
        a = 0.0 if phi.key == "relu" else _parameter(phi)
        return _Shape(
            lambda h: torch.where(h > 0, 1.0, torch.full_like(h, a)), turns=(0.0,), steepest=((0.0, a), (0.0, 1.0))
        )
    if phi.key == "elu":
        return _elu(_parameter(phi))
    if phi.key == "softplus":
        beta = _parameter(phi)
        if beta == 0:
            raise InputError("softplus: beta must not be 0")
        return _Shape(
            lambda h: torch.sigmoid(beta * h),
            lambda h: beta * _logistic_density(beta * h),
            convex=(everywhere,) if beta > 0 else (),
            concave=(everywhere,) if beta < 0 else (),
            bent=(0.0,),
            scale=1 / abs(beta),
        )
    if phi.key == "tanh":
        return _s_shaped(
            lambda h: 4 * _logistic_density(2 * h),
            lambda h: -8 * torch.tanh(h) * _logistic_density(2 * h),
            steepest=1.0,
            bent=0.6584789484624083,
        )
    if phi.key == "sigmoid":
        return _s_shaped(
            _logistic_density,
            lambda h: -torch.tanh(h / 2) * _logistic_density(h),
            steepest=0.25,
            bent=1.3169578969248168,
        )
    return GATED[phi.key]


def _s_shaped(slope: Function, bend: Function, steepest: float, bent: float) -> _Shape:
    """Convex below 0, concave above."""
    return _Shape(
        slope,
        bend,
        convex=((-math.inf, 0.0),),
        concave=((0.0, math.inf),),
        steepest=((0.0, steepest),),
        bent=(-bent, bent),
    )


def _elu(alpha: float) -> _Shape:
    def slope(h: Tensor) -> Tensor:
        return torch.where(h > 0, 1.0, alpha * h.clamp(max=0.0).exp())

    def bend(h: Tensor) -> Tensor:
        return torch.where(h > 0, 0.0, h.clamp(max=0.0).exp())

    left, right = (-math.inf, 0.0), (0.0, math.inf)
    return _Shape(
        slope,
        bend if alpha == 1 else None,
        convex=((-math.inf, math.inf),) if 0 <= alpha <= 1 else (left,) if alpha > 1 else (right,),
        concave=() if 0 <= alpha <= 1 else (right,) if alpha > 1 else (left,),
        turns=(0.0,),
        steepest=((0.0, alpha), (0.0, 1.0)),
        bent=(0.0,),
        scale=abs(alpha),
        slopes=max(1.0, abs(alpha)),
    )


def _gated(slope: Function, bend: Function, turn: float, inflection: float, steepest: float, bent: float) -> _Shape:
    """h g(h), g a distribution function with g(h) + g(-h) = 1: convex around 0, concave on both sides."""
    return _Shape(
        lambda h: slope(h.clamp(-TAIL, TAIL)),
        lambda h: bend(h.clamp(-TAIL, TAIL)),
        convex=((-inflection, inflection),),
        concave=((-math.inf, -inflection), (inflection, math.inf)),
        turns=(turn,),
        steepest=((-inflection, 1 - steepest), (inflection, steepest)),
        bent=(-bent, 0.0, bent),
    )


def _gelu_slope(h: Tensor) -> Tensor:
    distribution: Tensor = torch.special.erfc(-h * math.sqrt(0.5)) / 2
    return distribution + h * _normal_density(h)


def _gelu_bend(h: Tensor) -> Tensor:
    return (2 - h * h) * _normal_density(h)


def _normal_density(h: Tensor) -> Tensor:
    return (-h * h / 2).exp() / math.sqrt(2 * math.pi)


def _logistic_density(q: Tensor) -> Tensor:
    return torch.sigmoid(q) * torch.sigmoid(-q)


def _silu_slope(h: Tensor) -> Tensor:
    return torch.sigmoid(h) + h * _logistic_density(h)


def _silu_bend(h: Tensor) -> Tensor:
    return (2 - h * torch.tanh(h / 2)) * _logistic_density(h)


def _gelu_tanh_slope(h: Tensor) -> Tensor:
    q, dq, _ = _gelu_tanh_gate(h)
    return torch.sigmoid(q) + h * dq * _logistic_density(q)


def _gelu_tanh_bend(h: Tensor) -> Tensor:
    q, dq, ddq = _gelu_tanh_gate(h)
    return (2 * dq + h * (ddq - torch.tanh(q / 2) * dq * dq)) * _logistic_density(q)


def _gelu_tanh_gate(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, q' and q'' where (1 + tanh(c (h + k h^3))) / 2 = sigmoid(q)."""
    c, k = math.sqrt(8 / math.pi), 0.044715
    return c * (h + k * h**3), c * (1 + 3 * k * h * h), 6 * c * k * h


GATED = {
    "gelu": _gated(_gelu_slope, _gelu_bend, -0.7517915246935645, 1.4142135623730951, 1.1289041451851548, 2.0),
    "gelu_tanh": _gated(
        _gelu_tanh_slope,
        _gelu_tanh_bend,
        -0.7524614220710163,
        1.4185040087908284,
        1.1289930686587718,
        2.013480724624258,
    ),
    "silu": _gated(
        _silu_slope,
        _silu_bend,
        -1.2784645427610738,
        2.3993572805154677,
        1.099839320128867,
        3.435840993535111,
    ),
}
