r"""The package's certificates against the laboratory's own attack: A - loss <= U - loss, A from below, U from above."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from verification.attack_set import AttackSet
from verification.certify.certifier import Certified, Certifier
from verification.inequalities import reals
from verification.inequalities.inequality import inequality
from verification.inequalities.strategies import positive
from verification.inequalities.strategies.attacked import (
    CONFIDENT,
    Attacked,
    attacked,
    batch,
    logits,
    losses,
    margin_rows,
    norms_above,
    points,
    robust_loss,
    traced,
)
from verification.inequalities.strategies.networks import PIECEWISE_LINEAR, SMOOTH, Chain


@st.composite
def _affine(draw: DrawFn, hidden: int = 0) -> Attacked:
    """Confident mistakes of two classes that read all inputs alike, through active units: routes are exact."""
    inputs, y = draw(st.integers(2, 3)), draw(st.integers(0, 1))
    rows = draw(positive(2.0, 0.01)) * np.array([[-1.0], [1.0]]) * (1 - 2 * y)
    wrong = np.where(np.arange(2) == y, 0.0, CONFIDENT)
    ones = np.ones((1, inputs))
    weights, offsets = ((ones, rows), (np.array([8.0]), wrong)) if hidden else ((rows @ ones,), (wrong,))
    norm, eps = draw(st.sampled_from(["linf", "l2"])), draw(positive(1.0, 0.01))
    return Attacked(Chain(weights, offsets, "relu"), np.zeros(inputs), y, norm, eps, np.ones(inputs))


SOURCE = (
    "interval: Gowal et al. 2018; relaxation: CROWN, Zhang et al. 2018, for the loss as a whole own derivation;"
    " Jacobian's range, second order, linear piece, Lipschitz constants, leads of several routes: own derivation"
)
CASES = st.one_of(
    attacked((*PIECEWISE_LINEAR, *SMOOTH), inputs=(2, 3), boxes=True),
    attacked(SMOOTH, inputs=(2, 3), decades=(-2, -1)),
    attacked(PIECEWISE_LINEAR, inputs=(2, 3), boxes=True, decades=(-2, -1)),  # often no unit crosses its kink
    _affine(),
    _affine(1),
)
REFINED: dict[str, Any] = {
    "mutants": {"half the radius": {"radius": 0.5}, "a twentieth too small": {"factor": 0.95}},
    "attained": True,
    "examples": 40,
    "recheck": False,
}


def _deep(*activations: str) -> st.SearchStrategy[Attacked]:
    """Chains with one or two hidden layers, for the routes that refine what is known of them."""
    return st.one_of(attacked(activations, inputs=(2, 3), depth=(2, 3), boxes=True), _affine(1))


def _certify(case: Attacked, effort: str, radius: float = 1.0, norms: list[float] | None = None) -> Certified:
    """The package's certificates; for another ball or with other norms of layers where a mutant says so."""
    x, y = batch(case)
    ball = AttackSet(case.norm, radius * case.eps, case.attack_set.box)
    return Certifier(traced(case.chain), norms or norms_above(case.chain)).certify(x, y, ball, effort=effort)


def _beyond(case: Attacked, bound: float, factor: float = 1.0) -> tuple[Any, Any, float]:
    """The best of the laboratory's perturbations and a bound of the robust loss, both beyond the loss at x."""
    loss = case.loss
    return robust_loss(case, as_torch=True) - loss, factor * (bound - loss), 2 * case.allowance


def _mean_value_at_x(case: Attacked) -> float:
    """Leads that grow as the Jacobian at x lets them: what L2.2 says where f is affine, and L2.3 nowhere else."""
    state = case.at_x
    growth = np.zeros(len(state.z))
    growth[np.arange(len(growth)) != case.y] = case.eps * reals.norm(case.margins, case.q, axis=1)
    return float(losses((state.z + growth)[None], case.y)[0])


def _linear_network(case: Attacked) -> float:
    """L2.4 with the Jacobian at x and without the network's own curvature."""
    reach = case.eps * len(case.x) ** max(0.0, 0.5 - 1 / case.p)
    curvature = reals.spectral(case.at_x.jacobian) ** 2 / 2
    return float(case.loss + case.eps * reals.norm(case.gradient, case.q) + reach**2 * curvature / 2)


@inequality(
    "certificate-routes",
    r"\max_\delta\ell(f(x+\delta),y)-\ell(f(x),y)\le\min_rU_r-\ell(f(x),y)"
    r"\quad(r\text{: every route without refinement})",
    source=SOURCE,
    given={"case": CASES},
    mutants={
        "half the radius": {"radius": 0.5},
        "the Jacobian at x": {"route": _mean_value_at_x},
        "no curvature of the network": {"route": _linear_network},
        "the first layer left out of the Lipschitz constant": {"start": 1},
        "a twentieth too small": {"factor": 0.95},
    },
    attained=True,
    examples=60,
    recheck=False,
)
def routes(
    case: Attacked,
    radius: float = 1.0,
    route: Callable[[Attacked], float] | None = None,
    start: int = 0,
    factor: float = 1.0,
) -> tuple[Any, Any, float]:
    """The least upper bound that any route gives, so that a route which is too small anywhere is found out.

    The left side is a lower bound: the attack tries the corners of the ball, the steepest directions and what the
    search moves. Attained by linear networks, and where no unit crosses its kink.
    """
    case.check()
    norms = [1.0] * start + norms_above(case.chain)[start:]
    bound = _certify(case, "quick", radius, norms).loss.item()
    return _beyond(case, bound if route is None else min(bound, route(case)), factor)


@inequality(
    "certificate-optimised-slopes",
    r"\max_\delta\ell(f(x+\delta),y)-\ell(f(x),y)\le U-\ell(f(x),y)"
    r"\quad\text{(linear relaxation, lines chosen by ascent)}",
    source="alpha-CROWN, Xu et al. 2021",
    given={"case": _deep(*PIECEWISE_LINEAR, "tanh")},
    **REFINED,
)
def optimised_slopes(case: Attacked, radius: float = 1.0, factor: float = 1.0) -> tuple[Any, Any, float]:
    """As for the routes without refinement."""
    case.check()
    return _beyond(case, _certify(case, "standard", radius).losses["optimised slopes"].item(), factor)


@inequality(
    "certificate-branching",
    r"\max_\delta\ell(f(x+\delta),y)-\ell(f(x),y)\le U-\ell(f(x),y)"
    r"\quad\text{(branch and bound on the signs of units)}",
    source="Bunel et al. 2020; beta-CROWN, Wang et al. 2021",
    given={"case": _deep(*PIECEWISE_LINEAR)},
    **REFINED,
)
def branching(case: Attacked, radius: float = 1.0, factor: float = 1.0) -> tuple[Any, Any, float]:
    """As for the routes without refinement."""
    case.check()
    return _beyond(case, _certify(case, "thorough", radius).losses["branching"].item(), factor)


@inequality(
    "certificate-margin",
    r"M(x)-\min_\delta M(x+\delta)\le M(x)-\underline M,\quad M(x)=f_y(x)-\max_{k\ne y}f_k(x)",
    source=SOURCE,
    given={"case": CASES},
    mutants={
        "half the radius": {"radius": 0.5},
        "the first layer left out of the Lipschitz constant": {"start": 1},
        "a twentieth too small": {"factor": 0.95},
    },
    attained=True,
    examples=40,
    recheck=False,
)
def margin(case: Attacked, radius: float = 1.0, start: int = 0, factor: float = 1.0) -> tuple[Any, Any, float]:
    """The smallest margin that the attack's points reach against the certified one; attained by linear networks."""
    case.check()
    # The lead of y over its best rival.
    margins = -margin_rows(logits(case.chain, points(case), as_torch=True).T, case.y).max(axis=0)
    norms = [1.0] * start + norms_above(case.chain)[start:]
    certified = _certify(case, "quick", radius, norms).margin.item()
    return margins[-1] - margins.min(), factor * (margins[-1] - certified), 2 * case.allowance
