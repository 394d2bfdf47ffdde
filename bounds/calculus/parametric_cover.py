"""Parametric covers in sup norm over a ball (L5.5)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.jacobian_cover import jacobian_frobenius, smallest_frobenius
from bounds.calculus.propagation import (
    curvature,
    dimension_factor,
    downstream,
    resolution,
    support_norms,
    upstream,
)
from bounds.calculus.statements import ParametricCover, Step, bounded
from bounds.symbols import (
    S_J,
    E,
    G,
    K_theta,
    K_theta_J,
    L,
    N,
    P_out,
    Q,
    S,
    T,
    a,
    alpha,
    c,
    cover_c,
    cover_cJ,
    epsilon,
    i,
    k_pos,
    rho,
    s,
    t,
)


def _conclusion(what: str, constants: sp.IndexedBase) -> sp.Basic:
    return bounded(what, sp.Sum(N[i] * sp.log(1 + constants[i] / sp.Symbol("u")), (i, 1, L)))


def parametric_cover(adversarial: bool) -> ParametricCover:
    """ln N_inf(F,u) <= Sum N_i ln(1 + 2 t_i L K_i/u) over the support (theory L5.5, own derivation; upper bound).

    Args:
        adversarial: over the support moved by the attack; a cover in sup norm then also covers the adversarial class.
    """
    sensitivity = Part(K_theta, Q[i] * E[i], "change of the output per unit change of the parameters of layer i")
    constants = Part(cover_c, 2 * t[i] * L * K_theta[i], "resolution of layer i, in logits")
    attack = (dimension_factor,) if adversarial else ()
    parts = (constants, sensitivity, upstream, resolution, support_norms(adversarial), *attack)
    step = Step(
        "L5.5",
        "cover of the parameters" + (", over the attacked support" if adversarial else ""),
        "own derivation",
        _conclusion(r"\ln\mathcal N_\infty(\mathcal F,u)", cover_c),
        derived=True,
    )
    increasing = frozenset({s, c, t} | ({epsilon} if adversarial else set()))
    return ParametricCover(parts, increasing, frozenset(), step, cover_c, S)


def parametric_jacobian_cover() -> ParametricCover:
    """The same for the Jacobians of smooth networks, in Frobenius norm (theory L5.5, own derivation; upper bound)."""
    # G_{i-1} rho_{i-1}: Lipschitz constant from the input to z_{i-1}.
    to_input = sp.Piecewise((sp.Integer(1), sp.Eq(i, 1)), (G[i - 1] * rho[i - 1], True))
    slope = sp.Min(sp.sqrt(P_out[i]) * to_input, sp.sqrt(k_pos[i]) * alpha[i - 1])
    sensitivity = Part(
        K_theta_J,
        Q[i] * slope + T[i] * E[i],
        "change of the Jacobian per unit change of the parameters of layer i",
    )
    constants = Part(cover_cJ, 2 * t[i] * L * K_theta_J[i], "resolution of layer i for the Jacobian")
    parts = (
        constants,
        sensitivity,
        upstream,
        curvature,
        downstream,
        jacobian_frobenius,
        smallest_frobenius,
        resolution,
        support_norms(adversarial=False),
    )
    step = Step(
        "L5.5",
        "cover of the parameters, for Jacobians",
        "own derivation",
        _conclusion(r"\ln\mathcal N_\infty(\{J\},u)", cover_cJ),
        derived=True,
    )
    return ParametricCover(parts, frozenset({s, a, c, t}), frozenset(), step, cover_cJ, S_J)
