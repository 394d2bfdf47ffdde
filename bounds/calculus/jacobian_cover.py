r"""Cover of the class of Jacobians (L5.4), and what is Lipschitz in a Jacobian (L5.6)."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.maurey import KERNEL, layer_weight
from bounds.calculus.propagation import curvature, downstream, input_norms, sample_norms, upstream
from bounds.calculus.statements import Cover, Step, bounded
from bounds.symbols import (
    A_F,
    R_J,
    X_F,
    D_p,
    K,
    L,
    Q,
    T,
    X_in,
    a,
    alpha,
    b,
    c,
    d,
    d_min,
    epsilon,
    g,
    i,
    j,
    kappa_J,
    n,
    rho,
    s,
    w_maurey,
)

smallest_frobenius = Part(
    A_F,
    sp.Piecewise((a[i], sp.Eq(i, 1)), (sp.Min(A_F[i - 1] * s[i], a[i] * sp.Product(s[j], (j, 1, i - 1))), True)),
    "min over k <= i of a_k times the other layers' spectral norms",
    recursion="forward",
)

jacobian_frobenius = Part(
    alpha,
    sp.Piecewise(
        (sp.sqrt(d), sp.Eq(i, 0)),
        (
            sp.Min(A_F[i], sp.sqrt(d_min[i]) * sp.Product(s[j], (j, 1, i))) * sp.Product(rho[j], (j, 1, i)),
            True,
        ),
    ),
    "bound on the Frobenius norm of the partial Jacobian after nonlinearity i",
)

PROPAGATION = Step(
    "L5.3",
    "error propagation of Jacobians",
    "own derivation",
    bounded(
        r"\left\|J-\hat J\right\|_{S,F}",
        sp.Sum(Q[i] * sp.IndexedBase("q")[i] + T[i] * sp.IndexedBase("p")[i], (i, 1, L)),
    ),
    derived=True,
)


def jacobian_cover() -> Cover:
    """ln N({J}, u; ‖.‖_{S,F}) <= R_J^2/u^2 for smooth activations (theory L5.4, own derivation; upper bound).

    The class also fixes ‖W_i‖_F <= a_i. One Maurey cover per layer, on the hidden states and the partial Jacobians.
    """
    kappas = Part(
        kappa_J,
        w_maurey[i] * (Q[i] * sp.sqrt(n) * alpha[i - 1] + T[i] * X_in[i]),
        "what layer i contributes to the cover of the Jacobians",
    )
    total = sp.Sum(kappa_J[i] ** sp.Rational(2, 3), (i, 1, L)) ** sp.Rational(3, 2)
    cover = Part(R_J, sp.Mul(sp.sqrt(8), total, evaluate=False), "radius of the cover of the Jacobians")
    parts = (
        cover,
        kappas,
        layer_weight,
        upstream,
        curvature,
        downstream,
        jacobian_frobenius,
        smallest_frobenius,
        input_norms,
        sample_norms,
    )
    step = Step(
        "L5.4",
        "cover of the Jacobians",
        "own derivation",
        bounded(r"\ln\mathcal N(\{J\},u)", R_J**2 / sp.Symbol("u") ** 2),
        derived=True,
        premises=(PROPAGATION, KERNEL),
    )
    return Cover(parts, frozenset({s, a, b, g, c, X_F}), frozenset(), step, R_J)


@dataclass(frozen=True)
class JacobianNorm:
    """A norm N of the Jacobian in a surrogate loss + epsilon c N(J) (theory §2).

    Attributes:
        title: name in tables.
        coefficient: epsilon c.
        lipschitz: Lipschitz constant of N in the Frobenius norm (L5.6).
        attack: norms of the attack it is a surrogate for.
    """

    title: str
    coefficient: sp.Expr
    lipschitz: sp.Expr
    attack: tuple[str, ...]


JACOBIAN_NORMS: dict[str, JacobianNorm] = {
    "margin": JacobianNorm("margin-Jacobian", epsilon, sp.sqrt(2) * D_p, ("l1", "l2", "linf")),
    "spectral": JacobianNorm("spectral", sp.sqrt(2) * epsilon, sp.Integer(1), ("l2",)),
    "frobenius": JacobianNorm("Frobenius", sp.sqrt(2) * epsilon, sp.Integer(1), ("l2",)),
    "row-sum": JacobianNorm("row-sum", 2 * epsilon, sp.sqrt(d), ("linf",)),
    "entrywise": JacobianNorm("entrywise l1", epsilon, sp.sqrt(K * d), ("linf",)),
}
