"""From Rademacher complexity to risk (L4.8)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.statements import Complexity, Gap, Step, bounded
from bounds.symbols import delta, n


def risk(complexity: Complexity) -> Gap:
    r"""E g <= Ê g + 2 R_S(G) + 3M \sqrt{ln(2/delta)/(2n)} for every g in G, with probability 1 - delta (theory L4.8).

    Args:
        complexity: empirical Rademacher complexity of the [0, M]-valued class G.

    Returns:
        The gap (risk minus empirical risk, unit of the loss; upper bound for a class fixed in advance).
    """
    confidence = 3 * complexity.loss_range * sp.sqrt(sp.log(2 / delta) / (2 * n))
    raw = 2 * complexity.raw + confidence
    step = Step(
        "L4.8",
        "symmetrisation and bounded differences",
        "standard; see Bartlett & Mendelson 2002",
        bounded(r"\mathbb E g-\widehat{\mathbb E}g", raw),
        premises=(complexity.step,),
    )
    return Gap(
        complexity.parts,
        complexity.increasing,
        complexity.decreasing | {delta},
        step,
        raw,
        2 * complexity.guaranteed + confidence,
        complexity.loss_range,
        (complexity.raw, complexity.guaranteed),
    )
