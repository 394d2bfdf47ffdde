r"""The mean value inequality (L2.3): suprema over-estimated independently, and the package's certified ones."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bounds.activations import activation
from verification.attack_set import AttackSet
from verification.certify.enclosure import enclose
from verification.certify.jacobian_range import JacobianRange, jacobian_range
from verification.inequalities import reals
from verification.inequalities.inequality import inequality
from verification.inequalities.strategies.attacked import (
    Attacked,
    attacked,
    batch,
    margin_rows,
    norms_above,
    points,
    robust_loss,
    traced,
)
from verification.inequalities.strategies.networks import PIECEWISE_LINEAR, SLOPE

SOURCE = "own derivation, from the mean value theorem"
STATEMENT = (
    r"\max_{\|\delta\|_p\le\varepsilon}\ell(f(x+\delta),y)-\ell(f(x),y)\le"
    r"\varepsilon\sup_{\|\delta\|_p\le\varepsilon}\max_k\|J_k(x+\delta)-J_y(x+\delta)\|_q,\quad 1/p+1/q=1"
)
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "silu")  # torch's softplus jumps: no mean value inequality
GRID = 9


def _jacobians(case: Attacked) -> list[Any]:
    """The Jacobian of every combination of slopes that units may have on the ball, and of some that they have not."""
    weights = [reals.real(weight) for weight in case.chain.weights]
    steep, flat = reals.real(1), reals.real(SLOPE if case.chain.activation == "leaky_relu" else 0)
    slopes = []
    for layer in range(len(weights) - 1):
        for unit in range(len(weights[layer])):
            both = True
            if layer == 0:
                row = weights[0][unit]
                h = row @ reals.real(case.x) + case.chain.offsets[0][unit]
                both = abs(h) <= case.eps * reals.norm(row, case.q) * 1.000001 + 1e-9
            slopes.append((steep, flat) if both else ((steep,) if h > 0 else (flat,)))
    found = []
    for chosen in itertools.product(*slopes):
        pattern, jacobian = iter(chosen), weights[0]
        for weight in weights[1:]:
            jacobian = weight @ (np.array([next(pattern) for _ in jacobian])[:, None] * jacobian)
        found.append(jacobian)
    return found


def _largest(jacobian: Any, case: Attacked, exponent: float) -> Any:
    return reals.norm(margin_rows(jacobian, case.y), exponent, axis=1).max()


@inequality(
    "L2.3-pieces",
    STATEMENT + r"\quad(f\text{ piecewise linear})",
    source=SOURCE,
    given={"case": attacked(PIECEWISE_LINEAR, inputs=(2, 3))},
    mutants={
        "the Jacobian at x": {"at_x": True},
        "the norm of the attack": {"exponent": float},
        "a fiftieth too small": {"factor": 0.98},
    },
    attained=True,
)
def piecewise_linear(
    case: Attacked, at_x: bool = False, exponent: Any = reals.dual, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """An attack against the largest value over all slopes that the units may have; attained by confident mistakes.

    The left side is a lower bound. The right side is exact to which combinations of slopes occur: in the first layer
    units that keep their sign keep their slope, all else is free.
    """
    case.check()
    jacobians = [case.at_x.jacobian] if at_x else _jacobians(case)
    bound = max(_largest(jacobian, case, exponent(case.p)) for jacobian in jacobians)
    return robust_loss(case) - case.loss, factor * case.eps * bound + case.cancelled, case.allowance


@inequality(
    "L2.3-grid",
    STATEMENT + r"\quad(f\text{ smooth},\ d=1)",
    source=SOURCE,
    given={"case": attacked(("tanh", "sigmoid", "softplus", "silu"), inputs=(1, 1), norms=("l2",))},
    mutants={
        "the Jacobian at x": {"grid": 1, "slack": 0},
        "the Jacobian at the ends": {"grid": 2, "slack": 0},
        "a fiftieth too small": {"factor": 0.98},
    },
    attained=True,
)
def one_dimensional(case: Attacked, grid: int = GRID, slack: int = 1, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """An attack against the largest value on a grid, plus how far it can be between grid points.

    The left side is a lower bound, the right side an upper one, off by at most the slack, which is negligible for
    small radii. Attained by confident mistakes.
    """
    case.check()
    inputs = [reals.real(case.x)] if grid == 1 else [case.x + case.eps * t for t in np.linspace(-1, 1, grid)]
    bound = max(_largest(case.chain.network.jacobian(x), case, 2.0) for x in inputs)
    facts = activation(case.chain.activation)
    first, *others = norms_above(case.chain)
    norm, lipschitz = first, 0.0  # of h_k's derivative
    for s in others:
        norm, lipschitz = s * facts.rho * norm, s * (facts.rho * lipschitz + (facts.beta or 0.0) * norm**2)
    between = slack * math.sqrt(2) * 1.000001 * lipschitz * case.eps / max(1, grid - 1)
    return robust_loss(case) - case.loss, factor * case.eps * (bound + between) + case.cancelled, case.allowance


def _certified(case: Attacked, radius: float, norm: str | None) -> JacobianRange:
    """The package's norms; of another ball where a mutant says so."""
    x, y = batch(case)
    ball = AttackSet(norm or case.norm, radius * case.eps, case.attack_set.box)
    return jacobian_range(enclose(traced(case.chain), x, ball), y)


CASES = attacked(ACTIVATIONS, boxes=True)
CERTIFIED: dict[str, Any] = {
    "source": SOURCE,
    "attained": True,
    "examples": 100,
    "recheck": False,
}


@inequality(
    "L2.3-certified",
    STATEMENT + r"\quad(\text{the supremum as certified})",
    given={"case": CASES},
    mutants={
        "the Jacobian at x": {"radius": 0.0},
        "the l_1 ball": {"norm": "l1"},
        "a tenth too small": {"factor": 0.9},
    },
    **CERTIFIED,
)
def certified(
    case: Attacked, radius: float = 1.0, norm: str | None = None, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """An attack against the package's certified supremum; attained by confident mistakes of linear networks."""
    case.check()
    bound = _certified(case, radius, norm).margins.item()
    return robust_loss(case) - case.loss, factor * case.eps * bound, case.allowance


@inequality(
    "L2.3-norms",
    r"\max_k\|J_k(x')-J_y(x')\|_q,\ \|J(x')\|_2,\ \|J(x')\|_F\le\text{as certified}"
    r"\quad(\|x'-x\|_p\le\varepsilon,\ 1/p+1/q=1)",
    given={"case": CASES, "which": st.sampled_from(["margins", "spectral", "frobenius"])},
    mutants={"the Jacobian at x": {"radius": 0.0}, "the l_1 ball": {"norm": "l1"}},
    **CERTIFIED,
)
def norms(case: Attacked, which: str, radius: float = 1.0, norm: str | None = None) -> tuple[Any, Any, Any]:
    """The Jacobian at points of the set against the certificates; attained by linear networks."""
    case.check()
    measured = {"margins": lambda J: _largest(J, case, case.q), "spectral": reals.spectral, "frobenius": _frobenius}
    found = max(measured[which](jacobian) for jacobian in _sampled(case))
    return found, getattr(_certified(case, radius, norm), which).item(), _jacobian_allowance(case)


def _frobenius(jacobian: Any) -> Any:
    return reals.norm(jacobian, 2)


def _sampled(case: Attacked) -> list[Any]:
    """Jacobians at x and at points of the set."""
    tried = points(case)
    return [case.chain.network.jacobian(point) for point in (tried[-1], *tried[: len(tried) // 2])]


def _jacobian_allowance(case: Attacked) -> float:
    """What float64 may lose in the Jacobian's norms: rounding errors of slopes are those of hidden units."""
    return case.allowance * 4 * math.prod(1 + float(np.linalg.norm(weight)) for weight in case.chain.weights)
