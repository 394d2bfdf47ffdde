"""Dudley's entropy integral, for scale-free covers (L4.5, L4.6) and for parametric covers (L4.7)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part, XLog
from bounds.calculus.statements import Complexity, Cover, ParametricCover, Step, bounded, merged
from bounds.symbols import L, N, i, n

INTEGRAL = "Bartlett, Foster & Telgarsky 2017, Lemma A.5"


def dudley_scale_free(cover: Cover, loss_range: sp.Expr) -> Complexity:
    r"""Rademacher complexity of a [0, M]-valued class with ln N(u) <= R^2/u^2 (theory L4.5, L4.6; upper bound).

    With lower limit 3R/\sqrt n the integral is F(R) = (12R/n)(1 + ln(Mn/(3R))) for 3R <= Mn; the guaranteed value is
    min(M/2, F(R)) there and M/2 beyond, non-decreasing in R across the join. The raw value, which the literature
    plots, takes the lower limit 1/\sqrt n: V(R) = 4/n + (12R/n) ln(Mn), increasing in R and valid for every R.

    Args:
        cover: the cover; its radius is in the unit of the loss times the square root of n.
        loss_range: M.
    """
    R = cover.radius
    M = sp.sympify(loss_range)
    raw = 4 / n + 12 * R / n * sp.Max(0, sp.log(M * n))
    integral = 12 * (R + XLog(R, M * n / 3)) / n
    guaranteed = sp.Piecewise((sp.Min(M / 2, integral), sp.Le(3 * R, M * n)), (M / 2, True))
    step = Step("L4.6", "Dudley's entropy integral", INTEGRAL, bounded(r"\mathfrak R_S", raw), premises=(cover.step,))
    return Complexity(cover.parts, cover.increasing, cover.decreasing, step, raw, guaranteed, M)


def dudley_parametric(cover: ParametricCover, loss_range: sp.Expr) -> Complexity:
    r"""Rademacher complexity of a [0, M]-valued class with ln N(u) <= Sum N_i ln(1 + c_i/u) (theory L4.7; upper bound).

    (12 M/\sqrt n) sqrt(Sum N_i (1 + ln(1 + c_i/M))), by \int_0^M ln(1+c/u) du <= M(1 + ln(1+c/M)) and Jensen;
    guaranteed: capped at M/2. For a cover in sup norm, which costs nothing in ‖.‖_S.

    Args:
        cover: the cover, in the unit of the loss.
        loss_range: M.
    """
    M = sp.sympify(loss_range)
    summand = N[i] * (1 + sp.log(1 + cover.constants[i] / M))
    entropy = Part(cover.entropy, sp.Sum(summand, (i, 1, L)), "entropy of the parameters")
    # M^2 under the root: M itself may be a radius of the class.
    raw = 12 * M * sp.sqrt(cover.entropy / n)
    step = Step(
        "L4.7",
        "Dudley's integral of a parametric cover",
        "own derivation",
        bounded(r"\mathfrak R_S", raw),
        derived=True,
        premises=(cover.step,),
    )
    parts = merged(cover.parts, (entropy,))
    return Complexity(parts, cover.increasing, cover.decreasing, step, raw, sp.Min(M / 2, raw), M)
