"""From one real output to the multi-class margin (L4.9)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.statements import Complexity, Step, bounded
from bounds.symbols import K, gamma


def multiclass(complexity: Complexity) -> Complexity:
    """R_S(r_gamma∘F) <= (2K/gamma) R_S(one output) for the ramp of the multi-class margin (theory L4.9; upper bound).

    Args:
        complexity: of the class of one output, in logits.
    """
    raw = 2 * K / gamma * complexity.raw
    step = Step(
        "L4.9",
        "multi-class margin",
        "standard multi-class reduction (Mohri, Rostamizadeh & Talwalkar)",
        bounded(r"\mathfrak R_S(r_\gamma\circ\mathcal F)", raw),
        premises=(complexity.step,),
    )
    one = sp.Integer(1)
    return Complexity(
        complexity.parts,
        complexity.increasing,
        complexity.decreasing | {gamma},
        step,
        raw,
        sp.Min(one / 2, raw),
        one,
    )
