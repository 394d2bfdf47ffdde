"""Linear classes and attacks on them (entries 9 and 10 of theory §6)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.massart import massart
from bounds.calculus.statements import Complexity, Step, bounded
from bounds.symbols import A_1, A_2, X_F, X_col, d, epsilon, n


def linear_class(p_w: int) -> Complexity:
    r"""R_S({x -> w·x : ‖w‖_{p_w} <= A}), p_w = 1 or 2 (upper bound).

    A‖X‖_F/n for p_w = 2; A \sqrt{2 ln 2d} max_j‖X_{:,j}‖_2/n for p_w = 1.
    """
    if p_w == 1:
        raw = A_1 * massart(X_col, 2 * d) / n
        increasing = frozenset({A_1, X_col})
        lemma, name, source = "L4.4", "Massart's lemma on the vertices of the l_1 ball", "Massart 2000"
    else:
        raw = A_2 * X_F / n
        increasing = frozenset({A_2, X_F})
        lemma, name, source = "base of entries 9 and 10", "Cauchy-Schwarz and Jensen", "standard"
    step = Step(lemma, name, source, bounded(r"\mathfrak R_S(\{w\cdot x\})", raw))
    return Complexity((), increasing, frozenset(), step, raw, raw, sp.oo)


def attacked_linear_class(p_w: int, factor: sp.Expr, source: str) -> Complexity:
    r"""R_S(adv) <= R_S + epsilon A factor/(2 \sqrt n) for the values y w·x - epsilon‖w‖_q (upper bound).

    What is subtracted varies with w alone, so its complexity is that of a scalar in an interval, whence the 1/2 (own
    derivation).

    Args:
        p_w: norm of the class.
        factor: bound on ‖w‖_q/‖w‖_{p_w}, q dual to the attack norm.
        source: paper.
    """
    base = linear_class(p_w)
    A = A_1 if p_w == 1 else A_2
    raw = base.raw + epsilon * A * factor / (2 * sp.sqrt(n))
    step = Step(
        "entries 9 and 10",
        "attack on a linear class",
        f"own derivation of the factor 1/2, after {source}",
        bounded(r"\mathfrak R_S(\mathrm{adv})", raw),
        derived=True,
        premises=(base.step,),
    )
    return Complexity((), base.increasing | {epsilon}, frozenset(), step, raw, raw, sp.oo)


def attack_factor(p_w: int, inverse_p: sp.Expr) -> sp.Expr:
    """max(d^{1 - 1/p - 1/p_w}, 1), the largest ‖w‖_q/‖w‖_{p_w} for q dual to p."""
    return d ** sp.Max(0, 1 - inverse_p - sp.Rational(1, p_w))
