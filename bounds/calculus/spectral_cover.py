"""Cover of a spectrally normalised network (L5.2)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.maurey import KERNEL, PUBLISHED, layer_weight
from bounds.calculus.propagation import input_norms, sample_norms, upstream
from bounds.calculus.statements import Cover, Step, bounded
from bounds.symbols import R_F, X_F, L, Q, W_bar, X_in, b, c, g, i, kappa, s, w_maurey

PROPAGATION = Step(
    "L5.3",
    "error propagation through the layers",
    "as in Bartlett, Foster & Telgarsky 2017",
    bounded(
        r"\left\|f-\hat f\right\|_S",
        sp.Sum(Q[i] * sp.IndexedBase("p")[i], (i, 1, L)),
    ),
)


def spectral_cover(audited: bool) -> Cover:
    """ln N(F,u) <= R_F^2/u^2 in ‖.‖_S, for the class with radii s_i, b_i (theory L5.2; upper bound).

    R_F = sqrt(ln 2W^2) (Sum kappa_i^{2/3})^{3/2} as printed in Bartlett, Foster & Telgarsky 2017, Theorem 3.3 (with
    b_i/s_i s replaced by kappa_i = b_i Q_i X_{i-1}, which also holds for a layer that is 0). `audited`: times sqrt 8
    (a factor 2 for the ceiling of Maurey's lemma, 4 for centres inside the balls), and per layer the smaller of the
    (2,1) pair and the kernel-group pair.
    """
    weight = w_maurey[i] if audited else b[i]
    kappas = Part(kappa, weight * Q[i] * X_in[i], "what layer i contributes to the cover")
    total = sp.Sum(kappa[i] ** sp.Rational(2, 3), (i, 1, L)) ** sp.Rational(3, 2)
    # The factor 2 sqrt 2 = sqrt 8 and sqrt(ln ..) stay visible: the formula keeps the paper's shape.
    factor = sp.sqrt(8) if audited else sp.sqrt(sp.log(2 * W_bar**2))
    cover = Part(R_F, sp.Mul(factor, total, evaluate=False), "radius of the cover of the network class")
    parts = (cover, kappas, *((layer_weight,) if audited else ()), upstream, input_norms, sample_norms)
    step = Step(
        "L5.2",
        "cover of a spectrally normalised network" + (", constants audited" if audited else ""),
        "own audit of Bartlett, Foster & Telgarsky 2017, Theorem 3.3"
        if audited
        else "Bartlett, Foster & Telgarsky 2017, Theorem 3.3",
        bounded(r"\ln\mathcal N(\mathcal F,u)", R_F**2 / sp.Symbol("u") ** 2),
        derived=audited,
        premises=(PROPAGATION, KERNEL if audited else PUBLISHED),
    )
    return Cover(parts, frozenset({s, b, c, X_F} | ({g} if audited else set())), frozenset(), step, R_F)
