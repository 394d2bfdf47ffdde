"""Yin, Kannan & Bartlett 2019: linear classifiers under l_inf attacks.

Example on paper: n = 4, d = 4, ‖w‖ = 1, epsilon = 1/2, gamma = 5. p_w = 2 with ‖X‖_F = 4: 4/4 + (1/2)·sqrt(4)/(2·2)
= 5/4, over gamma 1/4. p_w = 1 with max_j‖X_{:,j}‖ = 2: sqrt(2 ln 8)·2/4 + (1/2)/(2·2), over gamma 0.2289.

>>> from bounds.by_hand import Norms, complexity
>>> norms = Norms(s=(1,), d=4, X_F=4, X_col=2, eps=0.5, norm="linf", w=(1, 1))
>>> complexity("yin2019_linear_linf", norms, "p_w=2", gamma=5)
(0.25, 0.25)
>>> round(complexity("yin2019_linear_linf", norms, "p_w=1", gamma=5)[0], 12)
0.228933398034
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.adversary import attacked_linear_class
from bounds.calculus.contraction import contraction
from bounds.calculus.risk import risk
from bounds.catalogue.assumptions import (
    ATTACK,
    CERTIFIED,
    CHAIN,
    LINEAR,
    NO_BIAS,
    TWO_CLASSES,
    attack_norms,
)
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import A_1, A_2, d, gamma

REFERENCE = Reference(
    "Yin, Kannan & Bartlett 2019; the factor 1/2 of the attack term is an own derivation",
    """@inproceedings{yin2019rademacher,
  title = {Rademacher Complexity for Adversarially Robust Generalization},
  author = {Yin, Dong and Kannan, Ramchandran and Bartlett, Peter},
  booktitle = {International Conference on Machine Learning},
  year = {2019}
}""",
)


def _bound(p_w: int) -> Bound:
    # ‖w‖_1 <= d^{1-1/p_w}‖w‖_{p_w}
    factor = d ** (1 - sp.Rational(1, p_w))
    attacked = attacked_linear_class(p_w, factor, "Yin, Kannan & Bartlett 2019")
    return Bound(
        variant=f"p_w={p_w}",
        target="robust risk",
        gap=risk(contraction(attacked, 1 / gamma, sp.Integer(1))),
        assumptions=(ATTACK, attack_norms("linf"), CHAIN, LINEAR, TWO_CLASSES, NO_BIAS, CERTIFIED),
        empirical="ramp",
        shrink=(A_1 if p_w == 1 else A_2,),
        share=None,
        note="two classes, read as one real output: the difference of the two rows",
    )


ENTRY = Entry(
    key="yin2019_linear_linf",
    title="Linear classifiers under ℓ∞ attacks",
    reference=REFERENCE,
    statement=r"\mathfrak R_S(\mathrm{adv})\le\mathfrak R_S+\frac{\varepsilon A\,d^{1-1/p_w}}{2\sqrt n}",
    description="The attack costs a term that grows with the dimension unless the weights are bounded in ℓ1.",
    variants=(_bound(2), _bound(1)),
)
