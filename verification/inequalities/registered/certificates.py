r"""The package's certificates against the laboratory's own attack: A - loss <= U - loss, route by route."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from verification.attack_set import AttackSet
from verification.certify.certifier import Certified, Certifier
from verification.inequalities.inequality import Inequality, inequality
from verification.inequalities.strategies import positive
from verification.inequalities.strategies.attacked import (
    CONFIDENT,
    Attacked,
    attacked,
    batch,
    logits,
    margin_rows,
    norms_above,
    points,
    robust_loss,
    traced,
)
from verification.inequalities.strategies.networks import Chain

EVERY = ("relu", "leaky_relu", "tanh", "sigmoid", "silu", "softplus")
SMOOTH = ("tanh", "sigmoid", "silu", "softplus")
KINKED = ("relu", "leaky_relu")


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


LINEAR, ACTIVE = _affine(), _affine(1)
PLAIN = st.one_of(attacked(EVERY, inputs=(2, 3)), LINEAR)
BOXED = st.one_of(attacked(EVERY, inputs=(2, 3), boxes=True), LINEAR)
MUTANTS: dict[str, dict[str, Any]] = {
    "half the radius": {"radius": 0.5},
    "the l_1 ball": {"norm": "l1"},
    "a twentieth too small": {"factor": 0.95},
}


def _certify(case: Attacked, effort: str, radius: float, norm: str | None) -> Certified:
    """The package's certificates; for another ball where a mutant says so."""
    x, y = batch(case)
    ball = AttackSet(norm or case.norm, radius * case.eps, case.attack_set.box)
    return Certifier(traced(case.chain), norms_above(case.chain)).certify(x, y, ball, effort=effort)


def _route(
    name: str, what: str, source: str, given: SearchStrategy[Attacked], effort: str = "quick", examples: int = 80
) -> Inequality:
    """A route's upper bound of the robust loss against the best of the laboratory's perturbations.

    The left side is a lower bound: the attack tries the corners of the ball, the steepest directions and what the
    search moves. Attained where the route is exact: by linear networks, and where no unit crosses its kink.
    """

    @inequality(
        f"certificate-{name.replace(' ', '-')}",
        r"\max_{\delta}\ell(f(x+\delta),y)-\ell(f(x),y)\le U-\ell(f(x),y)\quad\text{(" + what + ")}",
        source=source,
        given={"case": given},
        mutants=MUTANTS,
        attained=True,
        examples=examples,
        recheck=False,
    )
    def route(
        case: Attacked, radius: float = 1.0, norm: str | None = None, factor: float = 1.0
    ) -> tuple[Any, Any, float]:
        case.check()
        found = _certify(case, effort, radius, norm)
        bound = (found.loss if name == "combined" else found.losses[name]).item()
        loss = case.loss
        return robust_loss(case, as_torch=True) - loss, factor * (bound - loss), 2 * case.allowance

    object.__setattr__(route, "__doc__", _route.__doc__)
    route.function.__name__ = name.replace(" ", "_")  # what a counterexample's program imports
    return route


interval = _route("interval", "interval arithmetic, last layer exact", "Gowal et al. 2018", BOXED)
relaxation = _route(
    "relaxation",
    "linear relaxation of the margins",
    "CROWN, Zhang et al. 2018",
    BOXED,
)
optimised_slopes = _route(
    "optimised slopes",
    "linear relaxation, lines chosen by ascent",
    "alpha-CROWN, Xu et al. 2021",
    st.one_of(attacked((*KINKED, "tanh"), inputs=(2, 3), depth=(2, 2), boxes=True), ACTIVE),
    effort="standard",
    examples=20,
)
branching = _route(
    "branching",
    "branch and bound on the signs of units",
    "Bunel et al. 2020; beta-CROWN, Wang et al. 2021",
    st.one_of(attacked(KINKED, inputs=(2, 3), depth=(2, 2), boxes=True), ACTIVE),
    effort="thorough",
    examples=20,
)
jacobian_interval = _route(
    "jacobian interval",
    "mean values, Jacobian's interval",
    "theory L2.3; own derivation",
    BOXED,
)
jacobian_relaxation = _route(
    "jacobian relaxation",
    "mean values, relaxed derivative",
    "theory L2.3; own derivation",
    BOXED,
)
second_order = _route(
    "second order",
    "first order at x and a bound of the curvature",
    "theory L2.4, L2.5; own derivation",
    st.one_of(attacked(SMOOTH, inputs=(2, 3), boxes=True), LINEAR),
)
linear_piece = _route(
    "linear piece",
    "no unit crosses its kink",
    "theory L2.2; own derivation",
    st.one_of(attacked(KINKED, inputs=(2, 3), boxes=True, decades=(-2, -1)), ACTIVE),
)
lipschitz = _route("lipschitz", "global Lipschitz constants of a chain", "theory §0; own derivation", PLAIN)
combined = _route("combined", "the best of all routes", "own derivation", BOXED)


@inequality(
    "certificate-margin",
    r"M(f(x),y)-\min_{\delta}M(f(x+\delta),y)\le M(f(x),y)-\underline M",
    source="own derivation",
    given={"case": BOXED},
    mutants=MUTANTS,
    attained=True,
    examples=80,
    recheck=False,
)
def margin(case: Attacked, radius: float = 1.0, norm: str | None = None, factor: float = 1.0) -> tuple[Any, Any, float]:
    """The smallest margin that the attack's points reach against the certified one; attained by linear networks."""
    case.check()
    # The lead of y over its best rival.
    margins = -margin_rows(logits(case.chain, points(case), as_torch=True).T, case.y).max(axis=0)
    at_x = margins[-1]
    certified = _certify(case, "quick", radius, norm).margin.item()
    return at_x - margins.min(), factor * (at_x - certified), 2 * case.allowance
