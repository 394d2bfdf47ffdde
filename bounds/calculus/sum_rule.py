"""Complexity of a sum of classes (L4.1)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.statements import Complexity, Step, bounded, merged


def sum_rule(first: Complexity, factor: sp.Expr, second: Complexity) -> Complexity:
    """R_S(F + factor G) <= R_S(F) + factor R_S(G) (theory L4.1; upper bound). The ranges add likewise."""
    raw = first.raw + factor * second.raw
    step = Step(
        "L4.1",
        "complexity of a sum",
        "Bartlett & Mendelson 2002",
        bounded(r"\mathfrak R_S(\mathcal F+\lambda\mathcal G)", raw),
        premises=(first.step, second.step),
    )
    return Complexity(
        merged(first.parts, second.parts),
        first.increasing | second.increasing,
        first.decreasing | second.decreasing,
        step,
        raw,
        first.guaranteed + factor * second.guaranteed,
        first.loss_range + factor * second.loss_range,
    )
