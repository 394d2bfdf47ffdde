"""Xiao, Sun & Luo 2023: the PAC-Bayes margin bound for the robust risk.

Example on paper: one layer, n = 4, d = 4, l_inf, epsilon = 1/2, gamma = 42e, delta = 3/4. Published: radius
sqrt(4)(1 + 1/2) = 3 and h = 4: KL = 9·4·4 ln 2/2 = 72 ln 2, 4 sqrt((72 + 6) ln 2/3) = 4 sqrt(26 ln 2). Audited: radius
1 + (1/2)·2 = 2, KL = 32 ln 2, 4 sqrt(38 ln 2/3).

>>> from math import e
>>> from bounds.by_hand import Norms, complexity
>>> norms = Norms(s=(1,), d=4, eps=0.5, norm="linf")
>>> round(complexity("xiao2023_robust_pacbayes", norms, "published", gamma=42 * e)[0], 12)
16.980848833699
>>> round(complexity("xiao2023_robust_pacbayes", norms, "audited", gamma=42 * e)[0], 12)
11.85233430989...
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.pac_bayes import pac_bayes
from bounds.calculus.propagation import dimension_factor
from bounds.calculus.statements import Symbols
from bounds.catalogue.assumptions import (
    ATTACK,
    CERTIFIED,
    CHAIN,
    HOMOGENEOUS,
    NO_BIAS,
    NO_MAX_POOL,
    SUPPORT,
    samples,
)
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import KL, B, B_adv, B_p, D_p, L, a, epsilon, i, j, s

REFERENCE = Reference(
    "Xiao, Sun & Luo 2023",
    """@inproceedings{xiao2023pac,
  title = {{PAC}-Bayesian Spectrally-Normalized Bounds for Adversarially Robust Generalization},
  author = {Xiao, Jiancong and Sun, Ruoyu and Luo, Zhi-Quan},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2023}
}""",
)

SHARE = a[i] ** 2 * sp.Product(s[j] ** 2, (j, 1, i - 1)) * sp.Product(s[j] ** 2, (j, i + 1, L))


def _bound(variant: str, radius: sp.Expr, increasing: Symbols, source: str, note: str) -> Bound:
    part = Part(B_adv, radius, "l_2 radius of the attacked support")
    return Bound(
        variant=variant,
        target="robust risk",
        gap=pac_bayes(B_adv, (part, dimension_factor), source, increasing),
        assumptions=(ATTACK, CHAIN, HOMOGENEOUS, NO_BIAS, NO_MAX_POOL, SUPPORT, CERTIFIED, samples(2)),
        empirical="hard margin",
        shrink=(KL,),
        share=SHARE,
        stratify_only_margin=True,
        note=note,
    )


ENTRY = Entry(
    key="xiao2023_robust_pacbayes",
    title="PAC-Bayes for the robust risk",
    reference=REFERENCE,
    statement=r"\Pr[\exists\,\|\delta\|_p\le\varepsilon:\mathrm{error}]\le\widehat R_\gamma^{\mathrm{hard,adv}}"
    r"+4\sqrt{\frac{\mathrm{KL}'+\ln(6nL\,n^{1/(2L)}/\delta)}{n-1}}",
    description="The standard bound with the radius of the attacked support. The empirical term counts samples with "
    "some perturbed margin <= gamma: what no certificate excludes counts as 1.",
    variants=(
        _bound(
            "published",
            D_p * (B_p + epsilon),
            frozenset({B_p, epsilon}),
            "Xiao, Sun & Luo 2023",
            "radius max(1, d^{1/2-1/p})(B_p + epsilon) as published",
        ),
        _bound(
            "audited",
            B + epsilon * D_p,
            frozenset({B, epsilon}),
            "own audit of the radius in Xiao, Sun & Luo 2023",
            "radius B_2 + epsilon max(1, d^{1/2-1/p}), own audit: never larger",
        ),
    ),
)
