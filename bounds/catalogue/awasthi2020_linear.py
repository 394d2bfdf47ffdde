"""Awasthi, Frank & Mohri 2020: linear classifiers under l_r attacks.

Example on paper: n = 4, d = 4, ‖w‖_2 = 1, ‖X‖_F = 4, l_2 attack with epsilon = 1/2, gamma = 5: max(4^0, 1) = 1 and
(4/4 + (1/2)/(2·2))/5 = 0.225.

>>> from bounds.by_hand import Norms, complexity
>>> norms = Norms(s=(1,), d=4, X_F=4, eps=0.5, w=(1, 1))
>>> complexity("awasthi2020_linear", norms, "p_w=2", gamma=5)
(0.225, 0.225)
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.adversary import attack_factor, attacked_linear_class
from bounds.calculus.contraction import contraction
from bounds.calculus.risk import risk
from bounds.catalogue.assumptions import ATTACK, CERTIFIED, CHAIN, LINEAR, NO_BIAS, TWO_CLASSES
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import A_1, A_2, gamma, inverse_p

REFERENCE = Reference(
    "Awasthi, Frank & Mohri 2020; the factor 1/2 of the attack term is an own derivation",
    """@inproceedings{awasthi2020adversarial,
  title = {Adversarial Learning Guarantees for Linear Hypotheses and Neural Networks},
  author = {Awasthi, Pranjal and Frank, Natalie and Mohri, Mehryar},
  booktitle = {International Conference on Machine Learning},
  year = {2020}
}""",
)


def _bound(p_w: int) -> Bound:
    attacked = attacked_linear_class(p_w, attack_factor(p_w, inverse_p), "Awasthi, Frank & Mohri 2020")
    return Bound(
        variant=f"p_w={p_w}",
        target="robust risk",
        gap=risk(contraction(attacked, 1 / gamma, sp.Integer(1))),
        assumptions=(ATTACK, CHAIN, LINEAR, TWO_CLASSES, NO_BIAS, CERTIFIED),
        empirical="ramp",
        shrink=(A_1 if p_w == 1 else A_2,),
        share=None,
        note="two classes, read as one real output: the difference of the two rows",
    )


ENTRY = Entry(
    key="awasthi2020_linear",
    title="Linear classifiers under ℓr attacks",
    reference=REFERENCE,
    statement=r"\mathfrak R_S(\mathrm{adv})\le\mathfrak R_S+\frac{\varepsilon A\max(d^{1-1/r-1/p_w},1)}{2\sqrt n}",
    description="Any ℓr attack on a linear class bounded in ℓ_{p_w}.",
    variants=(_bound(2), _bound(1)),
)
