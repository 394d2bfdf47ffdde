"""PAC-Bayes margin bound of a perturbation-stable network (entries 5 and 6 of theory §6)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.statements import Gap, Step, Symbols, bounded
from bounds.symbols import KL, L, a, delta, gamma, h, i, j, n, s


def pac_bayes(radius: sp.Expr, parts: tuple[Part, ...], source: str, increasing: Symbols) -> Gap:
    r"""Excess over the hard margin risk: 4 \sqrt{(KL + ln(6nL n^{1/(2L)}/delta))/(n-1)} (upper bound).

    KL <= (42^2 e^2/2) L^2 radius^2 h ln(4hL) gamma^{-2} Sum_i a_i^2 Prod_{j≠i} s_j^2: the paper's
    Prod s_i^2 Sum a_i^2/s_i^2 without dividing by a norm that may be 0.

    Args:
        radius: bound on ‖x‖_2 over the support (moved by the attack).
        parts: named parts of the radius.
        source: paper and theorem.
        increasing: symbols of the radius.
    """
    others = sp.Product(s[j] ** 2, (j, 1, i - 1)) * sp.Product(s[j] ** 2, (j, i + 1, L))
    constant = sp.Mul(sp.Rational(42**2, 2), sp.E**2, evaluate=False)
    kl = Part(
        KL,
        constant * L**2 * radius**2 * h * sp.log(4 * h * L) * sp.Sum(a[i] ** 2 * others, (i, 1, L)) / gamma**2,
        "divergence of the perturbed posterior from the prior",
    )
    raw = 4 * sp.sqrt((KL + sp.log(6 * n * L * n ** (1 / (2 * L)) / delta)) / (n - 1))
    step = Step(
        "entry 5",
        "PAC-Bayes with weights perturbed within the margin",
        source,
        bounded(r"\mathrm{excess}", raw),
        derived=source.startswith("own "),
    )
    return Gap(
        (kl, *parts),
        frozenset({s, a}) | increasing,
        frozenset({gamma, delta}),
        step,
        raw,
        sp.Min(1, raw),
        sp.Integer(1),
        (raw, sp.Min(1, raw)),
    )
