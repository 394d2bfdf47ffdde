r"""Constants of activations: rho, beta and |phi(0)| against functions and slopes written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import sympy as sp
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch.nn import functional as F

from bounds.activations import DEFINITIONS, PARAMETERS, ActivationFacts, activation
from bounds.calculus.arithmetic import point
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import entries

LARGEST = 16.0  # activations are as good as linear beyond, and float64 knows no slope there


def _sigmoid(x: Any) -> Any:
    return (1 + reals.tanh(x / 2)) / 2


def _softplus(x: Any) -> Any:
    return max(x, reals.real(0)) + reals.log1p(reals.exp(-abs(x)))


def _bell(x: Any) -> Any:
    """Share of a standard normal variable below x."""
    return (1 + reals.erf(x / reals.sqrt(2))) / 2


def _density(x: Any) -> Any:
    return reals.exp(-x * x / 2) / reals.sqrt(2 * reals.real(sp.pi))


def _cubic(x: Any) -> Any:
    """Argument of the tanh in GELU's approximation."""
    return reals.sqrt(2 / reals.real(sp.pi)) * (x + reals.real(44715) / 10**6 * x**3)


def _gelu_tanh_slope(x: Any) -> Any:
    t = reals.tanh(_cubic(x))
    steepness = reals.sqrt(2 / reals.real(sp.pi)) * (1 + 3 * reals.real(44715) / 10**6 * x * x)
    return (1 + t) / 2 + x * (1 - t * t) * steepness / 2


PHI: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda x, _: max(x, reals.real(0)),
    "leaky_relu": lambda x, slope: x if x > 0 else slope * x,
    "tanh": lambda x, _: reals.tanh(x),
    "sigmoid": lambda x, _: _sigmoid(x),
    "softplus": lambda x, beta: _softplus(beta * x) / beta,
    "gelu": lambda x, _: x * _bell(x),
    "gelu_tanh": lambda x, _: x * (1 + reals.tanh(_cubic(x))) / 2,
    "silu": lambda x, _: x * _sigmoid(x),
    "elu": lambda x, alpha: x if x > 0 else alpha * (reals.exp(x) - 1),
}
"""phi of x and of its parameter."""

SLOPE: dict[str, Callable[[Any, Any], Any]] = {
    "tanh": lambda x, _: 1 / reals.cosh(x) ** 2,
    "sigmoid": lambda x, _: _sigmoid(x) * _sigmoid(-x),
    "softplus": lambda x, beta: _sigmoid(beta * x),
    "gelu": lambda x, _: _bell(x) + x * _density(x),
    "gelu_tanh": lambda x, _: _gelu_tanh_slope(x),
    "silu": lambda x, _: _sigmoid(x) * (1 + x * _sigmoid(-x)),
    "elu": lambda x, _: reals.real(1) if x > 0 else reals.exp(x),
}
"""phi' where it has no jump (ELU: alpha = 1)."""

TORCH: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "relu": lambda x, _: F.relu(x),
    "leaky_relu": F.leaky_relu,
    "tanh": lambda x, _: torch.tanh(x),
    "sigmoid": lambda x, _: torch.sigmoid(x),
    "softplus": lambda x, beta: F.softplus(x, beta, threshold=600),
    "gelu": lambda x, _: F.gelu(x),
    "gelu_tanh": lambda x, _: F.gelu(x, approximate="tanh"),
    "silu": lambda x, _: F.silu(x),
    "elu": F.elu,
}
"""What torch computes (its softplus jumps by 2e-9 at its threshold, which is moved away here)."""

STEEP: dict[str, float] = {"softplus": 15.0, "gelu": 1.4142, "gelu_tanh": 1.4192, "silu": 2.3994}
"""Where |phi'| is nearly largest, by hand; 0 for the others, on one of its sides."""
CURVED: dict[str, float] = {"tanh": 0.6585, "sigmoid": 1.317}
"""Where |phi''| is nearly largest, by hand; 0 for the others."""
SIGNED = ("leaky_relu", "elu")

SLOPES = (
    r"\rho=1\text{ (ReLU, tanh, softplus)},\ \max(1,|a|)\text{ (leaky ReLU of slope }a\text{, ELU of }\alpha=a),\ "
    r"\tfrac14\text{ (sigmoid)},\ 1.12891\text{ (GELU)},\ 1.129\text{ (its tanh form)},\ 1.09984\text{ (SiLU)}"
)
CURVATURES = (
    r"\beta=\tfrac{4}{3\sqrt3}\text{ (tanh)},\ \tfrac{1}{6\sqrt3}\text{ (sigmoid)},\ "
    r"\tfrac b4\text{ (softplus of }\beta=b),\ \sqrt{2/\pi}\text{ (GELU and its tanh form)},\ "
    r"\tfrac12\text{ (SiLU)},\ 1\text{ (ELU of }\alpha=1)"
)
AT_ZERO = (
    r"|\varphi(0)|=\tfrac12\text{ (sigmoid)},\ \tfrac{\ln2}{b}\text{ (softplus of }\beta=b),\ 0\text{ (the others)}"
)
"""The package's constants in LaTeX, decimals rounded up."""

Place = tuple[str, int, float, float]
"""Activation, its parameter in quarters, a point, a gap to the next point."""


@st.composite
def _place(draw: DrawFn, key: str, special: dict[str, float]) -> Place:
    """A point and a gap, half of the time where the constant is attained."""
    quarters = draw(st.integers(-8 if key in SIGNED else 1, 8).map(lambda k: 4 if k == 0 else k))
    gap = draw(st.integers(1, 4)) / 4 * 10.0 ** -draw(st.integers(0, 3))
    if draw(st.booleans()):
        return key, quarters, draw(entries(8.0)), gap
    gap /= 100
    side = draw(st.sampled_from([-1.0, 0.0]))  # to the left of the point or to its right
    return key, quarters, special.get(key, 0.0) + side * gap, gap


def _places(keys: tuple[str, ...], special: dict[str, float]) -> SearchStrategy[tuple[Place, ...]]:
    """One place per activation: a claim about all of them is searched at all of them."""
    return st.tuples(*(_place(key, special) for key in keys))


Sides = tuple[Any, Any, Any]


def _worst(sides: Iterable[Sides], identity: bool = False) -> Sides:
    """The comparison, relative to its size, that is nearest to failing."""

    def excess(comparison: Sides) -> float:
        left, right, allowance = comparison
        size = abs(left) + abs(right)
        beyond = (abs(left - right) if identity else left - right) - (0 if reals.is_precise() else allowance)
        return float(beyond / size) if size > 0 else -1.0

    return max(sides, key=excess)


def _facts(key: str, quarters: int) -> ActivationFacts:
    return activation(key, **{name: quarters / 4 for name in PARAMETERS.get(key, {})})


def _resolved(x: Any, gap: Any) -> Any:
    """The second point, for gaps whose quotient 35 digits can tell."""
    assume(abs(x) <= LARGEST and gap >= 1e-6)
    assume(x == 0 or abs(x) >= 1e-9)
    return x + gap


def _constant(keys: tuple[str, ...], what: str) -> dict[str, dict[str, Any]]:
    return {f"{what} of {key}, a hundredth smaller": {"smaller": key} for key in keys}


@inequality(
    "L0.1-slope",
    r"|\varphi(u)-\varphi(v)|\le\rho\,|u-v|,\quad " + SLOPES,
    source="own derivation: the constants by differentiation",
    given={"places": _places(tuple(PHI), STEEP)},
    mutants={"no activation is steeper than 1": {"most": 1.0}, **_constant(tuple(PHI), "rho")},
    attained=True,
    examples=100,
)
def slope(places: tuple[Place, ...], smaller: str = "", most: float = 1e9) -> Sides:
    """Difference quotients against the package's rho; attained (mutant by mutant) by each activation."""

    def sides(place: Place) -> Sides:
        key, quarters, x, gap = place
        y, parameter = _resolved(x, gap), reals.real(quarters) / 4
        rho = reals.real(min(_facts(key, quarters).rho, most))
        left, right = PHI[key](x, parameter), PHI[key](y, parameter)
        allowance = 2.0**-48 * (1 + abs(x) + abs(y)) * (1 + abs(quarters))
        return abs(right - left), (0.99 if smaller == key else 1) * rho * abs(y - x), allowance

    return _worst(map(sides, places))


@inequality(
    "L0.1-curvature",
    r"|\varphi'(u)-\varphi'(v)|\le\beta\,|u-v|,\quad " + CURVATURES,
    source="own derivation: the constants by differentiation",
    given={"places": _places(tuple(SLOPE), CURVED)},
    mutants={"softplus at its default": {"ignored": True}, **_constant(tuple(SLOPE), "beta")},
    attained=True,
    examples=100,
)
def curvature(places: tuple[Place, ...], smaller: str = "", ignored: bool = False) -> Sides:
    """Difference quotients of phi' against the package's beta; attained (mutant by mutant) by each activation.

    Where the package says that phi' has a jump, there is nothing to compare.
    """

    def sides(place: Place) -> Sides:
        key, quarters, x, gap = place
        quarters = 4 if key == "elu" else quarters
        y, parameter = _resolved(x, gap), reals.real(quarters) / 4
        beta = _facts(key, 4 if ignored else quarters).beta
        assert beta is not None
        left, right = SLOPE[key](x, parameter), SLOPE[key](y, parameter)
        allowance = 2.0**-47 * (1 + abs(x) + abs(y)) * (1 + abs(quarters))
        return abs(right - left), (0.99 if smaller == key else 1) * reals.real(beta) * abs(y - x), allowance

    return _worst(map(sides, places))


@inequality(
    "L0.1-growth",
    r"|\varphi(z)|\le|\varphi(0)|+\rho\,|z|,\quad " + f"{SLOPES}, {AT_ZERO}",
    source="own derivation: the constants by differentiation",
    given={"places": _places(tuple(PHI), {})},
    mutants={"every activation vanishes at 0": {"factor": 0.0}, "half of it": {"factor": 0.5}},
    attained=True,
    examples=100,
)
def growth(places: tuple[Place, ...], factor: float = 1.0) -> Sides:
    """What hidden states are bounded with, by the package's |phi(0)| and rho; attained at 0 and where phi is linear."""

    def sides(place: Place) -> Sides:
        key, quarters, x, _ = place
        assume(abs(x) <= LARGEST)
        facts = _facts(key, quarters)
        bound = factor * reals.real(facts.at_zero) + reals.real(facts.rho) * abs(x)
        return abs(PHI[key](x, reals.real(quarters) / 4)), bound, 2.0**-48 * (1 + abs(x)) * (1 + abs(quarters))

    return _worst(map(sides, places))


@inequality(
    "L0.1-homogeneous",
    r"\varphi(cz)=c\,\varphi(z)\text{ for }c\ge0\text{ and }\varphi\text{ ReLU or leaky ReLU}",
    source="standard",
    given={"places": _places(tuple(PHI), {}), "c": st.integers(0, 12).map(lambda k: k / 4)},
    mutants={"every activation with rho = 1": {"believed": True}, "negative factors too": {"sign": -1}},
    relation="==",
    attained=True,
    examples=100,
)
def homogeneous(places: tuple[Place, ...], c: float, believed: bool = False, sign: int = 1) -> Sides:
    """Of the activations that the package calls homogeneous."""

    def sides(place: Place) -> Sides:
        key, quarters, x, _ = place
        assume(abs(x) <= LARGEST)
        parameter, factor = reals.real(quarters) / 4, sign * c
        return PHI[key](factor * x, parameter), factor * PHI[key](x, parameter), 2.0**-48 * (1 + abs(c * x * quarters))

    def is_homogeneous(place: Place) -> bool:
        facts = _facts(*place[:2])
        return facts.homogeneous or (believed and facts.rho == 1)

    assume(c >= 0)
    return _worst((sides(place) for place in places if is_homogeneous(place)), identity=True)


@cache
def _expression(key: str, quarters: int) -> Callable[[Any], Any]:
    """The package's expression of an activation as a function of an mpmath number."""
    x = sp.Symbol("x", real=True)
    parameters = {name: sp.Rational(quarters, 4) for name in PARAMETERS.get(key, {})}
    function: Callable[[Any], Any] = sp.lambdify(x, DEFINITIONS[key].expression(sp, x, **parameters), "mpmath")
    return function


@inequality(
    "L0.1-definition",
    r"\varphi_{\mathrm{torch}}(z)=\varphi(z)\text{ for every activation of the package, with its parameter}",
    source="torch's documentation of its activations",
    given={"places": _places(tuple(PHI), {})},
    mutants={
        "the other form of GELU": {"read_as": {"gelu": "gelu_tanh", "gelu_tanh": "gelu"}},
        "SiLU is GELU's sigmoid form": {"read_as": {"silu": "gelu"}},
        "an inverse parameter": {"inverse": True},
    },
    relation="==",
    attained=True,
    examples=100,
    recheck=False,
)
def definition(places: tuple[Place, ...], read_as: dict[str, str] | None = None, inverse: bool = False) -> Sides:
    """The expression that the package differentiates, in 35 digits, against torch's function in float64."""

    def sides(place: Place) -> Sides:
        key, quarters, x, _ = place
        assume(abs(x) <= LARGEST)
        value = TORCH[key](torch.tensor([x], dtype=torch.float64), 4 / quarters if inverse else quarters / 4).item()
        expected = float(_expression((read_as or {}).get(key, key), quarters)(point.mpf(x)))
        return value, expected, 2.0**-46 * (1 + abs(x)) * (1 + abs(quarters))

    return _worst(map(sides, places), identity=True)
