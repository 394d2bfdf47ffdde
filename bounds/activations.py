"""Lipschitz constants of activations, derived from their expressions (theory §0).

Each activation is one sympy expression in x together with the points where |phi'| and |phi''| are largest; the
constants rho = sup|phi'| and beta = sup|phi''| follow by differentiating and are rounded upwards to float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from bounds.errors import InputError, unknown_name

DIGITS = 40  # working precision; the conversion to float64 then rounds up


@dataclass(frozen=True)
class ActivationFacts:
    """Constants of an elementwise activation phi.

    Attributes:
        key: name of the activation.
        rho: Lipschitz constant of phi, rounded up (upper bound, attained up to rounding).
        beta: Lipschitz constant of phi', rounded up; None where phi' has a jump.
        at_zero: |phi(0)|, rounded up.
        homogeneous: phi(cz) = c phi(z) for every c >= 0.
    """

    key: str
    rho: float
    beta: float | None
    at_zero: float
    homogeneous: bool


@dataclass(frozen=True)
class _Definition:
    expression: Callable[..., Any]  # phi as a sympy expression of x and the activation's parameters
    steepest: Callable[..., Any]  # where |phi'| is largest: a point, oo, or a starting point for the root of phi''
    most_curved: Callable[..., Any] | None  # where |phi''| is largest: likewise; None where phi' has a jump
    homogeneous: bool = False


def activation(key: str, **parameters: float) -> ActivationFacts:
    """Constants of the activation `key` with torch's parameters (theory L0.1).

    Args:
        key: relu, leaky_relu (negative_slope), tanh, sigmoid, softplus (beta), gelu, gelu_tanh, silu, elu (alpha).
        **parameters: torch's name and value; torch's default where absent.

    Returns:
        The constants, each an upper bound that is attained up to rounding.

    Raises:
        InputError: for an unknown activation or parameter.

    >>> activation("tanh").beta, activation("relu").beta
    (0.769800358919501..., None)
    >>> activation("leaky_relu", negative_slope=2.0).rho
    2.0
    """
    defaults = PARAMETERS.get(key, {})
    for name in parameters:
        if key in DEFINITIONS and name not in defaults:
            raise InputError(f"activation '{key}' has no parameter '{name}'")
    if key not in DEFINITIONS:
        raise unknown_name("activation", key, DEFINITIONS)
    return _facts(key, tuple(sorted((defaults | parameters).items())))


PARAMETERS: dict[str, dict[str, float]] = {
    "leaky_relu": {"negative_slope": 0.01},
    "softplus": {"beta": 1.0},
    "elu": {"alpha": 1.0},
}


def _relu(sp: Any, x: Any) -> Any:
    return sp.Piecewise((x, x > 0), (0, True))


def _leaky_relu(sp: Any, x: Any, negative_slope: Any) -> Any:
    return sp.Piecewise((x, x > 0), (negative_slope * x, True))


def _elu(sp: Any, x: Any, alpha: Any) -> Any:
    return sp.Piecewise((x, x > 0), (alpha * (sp.exp(x) - 1), True))


def _gelu(sp: Any, x: Any) -> Any:
    return x * (1 + sp.erf(x / sp.sqrt(2))) / 2


def _gelu_tanh(sp: Any, x: Any) -> Any:
    inner = sp.sqrt(2 / sp.pi) * (x + sp.Rational(44715, 1000000) * x**3)
    return x * (1 + sp.tanh(inner)) / 2


DEFINITIONS: dict[str, _Definition] = {
    "relu": _Definition(_relu, lambda sp: sp.Integer(1), None, homogeneous=True),
    "leaky_relu": _Definition(
        _leaky_relu,
        lambda sp, negative_slope: sp.Integer(-1 if abs(negative_slope) > 1 else 1),
        None,
        homogeneous=True,
    ),
    "tanh": _Definition(lambda sp, x: sp.tanh(x), lambda sp: sp.Integer(0), lambda sp: sp.atanh(1 / sp.sqrt(3))),
    "sigmoid": _Definition(
        lambda sp, x: 1 / (1 + sp.exp(-x)), lambda sp: sp.Integer(0), lambda sp: sp.log(2 + sp.sqrt(3))
    ),
    "softplus": _Definition(
        lambda sp, x, beta: sp.log(1 + sp.exp(beta * x)) / beta,
        lambda sp, beta: sp.oo,
        lambda sp, beta: sp.Integer(0),
    ),
    "gelu": _Definition(_gelu, lambda sp: sp.sqrt(2), lambda sp: sp.Integer(0)),
    "gelu_tanh": _Definition(_gelu_tanh, lambda sp: 1.4, lambda sp: sp.Integer(0)),
    "silu": _Definition(lambda sp, x: x / (1 + sp.exp(-x)), lambda sp: 2.4, lambda sp: sp.Integer(0)),
    # The steepest point of ELU is the left end of the linear branch (alpha <= 1) or the right end of the other one.
    "elu": _Definition(
        _elu,
        lambda sp, alpha: sp.Integer(0 if abs(alpha) > 1 else 1),
        lambda sp, alpha: sp.Integer(0) if alpha == 1 else None,
    ),
}


@cache
def _facts(key: str, parameters: tuple[tuple[str, float], ...]) -> ActivationFacts:
    import sympy as sp

    x = sp.Symbol("x", real=True)
    definition = DEFINITIONS[key]
    exact = {name: sp.Rational(value) for name, value in parameters}
    phi = definition.expression(sp, x, **exact)
    steepest = definition.steepest(sp, **dict(parameters))
    most_curved = definition.most_curved(sp, **dict(parameters)) if definition.most_curved else None
    slope = _derivative(sp, phi, x, 1)
    return ActivationFacts(
        key,
        rho=_largest(sp, slope, _derivative(sp, phi, x, 2), x, steepest),
        beta=None
        if most_curved is None
        else _largest(sp, _derivative(sp, phi, x, 2), _derivative(sp, phi, x, 3), x, most_curved),
        at_zero=_rounded_up(sp, abs(phi.subs(x, 0))),
        homogeneous=definition.homogeneous,
    )


def _derivative(sp: Any, phi: Any, x: Any, order: int) -> Any:
    """Derivative branch by branch: sympy would differentiate a Piecewise's conditions as well."""
    if isinstance(phi, sp.Piecewise):
        return sp.Piecewise(*((sp.diff(branch, x, order), condition) for branch, condition in phi.args))
    return sp.diff(phi, x, order)


def _largest(sp: Any, function: Any, its_derivative: Any, x: Any, point: Any) -> float:
    """|function| at `point`; a float names a starting value for the exact critical point."""
    if isinstance(point, float):
        point = sp.nsolve(its_derivative, x, point, prec=DIGITS)
    if point == sp.oo:
        return _rounded_up(sp, abs(sp.limit(function, x, sp.oo)))
    return _rounded_up(sp, abs(function.subs(x, point)))


def _rounded_up(sp: Any, value: Any) -> float:
    nearest = float(value.evalf(DIGITS)) if not value.is_Rational else float(value)
    exact_enough = sp.Rational(str(value.evalf(DIGITS))) if not value.is_Rational else value
    return nearest if sp.Rational(nearest) >= exact_enough else math.nextafter(nearest, math.inf)
