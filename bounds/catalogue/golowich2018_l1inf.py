"""Golowich, Rakhlin & Shamir 2018, Theorem 2: row 1-norms.

Example on paper: n = 4, K = 2, d = 1, max_j‖X_{:,j}‖ = 2, row 1-norms 1 and 2, gamma = 64. Published:
(2/4) sqrt(3)·2·2 = 2 sqrt 3, times 4/64: sqrt(3)/8. Sharper: (1/4) sqrt(4 ln 2)·4 = 2 sqrt(ln 2), times 1/16.

>>> from bounds.by_hand import Norms, complexity
>>> norms = Norms(m=(1, 2), X_col=2)
>>> round(complexity("golowich2018_l1inf", norms, "published", gamma=64)[0], 12)  # sqrt(3)/8
0.216506350946
>>> round(complexity("golowich2018_l1inf", norms, "sharper", gamma=64)[0], 12)  # sqrt(ln 2)/8
0.104069326395
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.multiclass import multiclass
from bounds.calculus.peeling import peel_rows
from bounds.calculus.risk import risk
from bounds.catalogue.assumptions import CHAIN, NO_MAX_POOL, ZERO_AT_ZERO
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import Pi, i, m_bias

REFERENCE = Reference(
    "Golowich, Rakhlin & Shamir 2018, Theorem 2",
    """@inproceedings{golowich2018size,
  title = {Size-Independent Sample Complexity of Neural Networks},
  author = {Golowich, Noah and Rakhlin, Alexander and Shamir, Ohad},
  booktitle = {Conference on Learning Theory},
  year = {2018}
}""",
)


def _bound(variant: str, sharper: bool, note: str) -> Bound:
    return Bound(
        variant=variant,
        target="risk",
        gap=risk(multiclass(peel_rows(sharper))),
        assumptions=(CHAIN, ZERO_AT_ZERO, NO_MAX_POOL),
        empirical="ramp",
        shrink=(Pi,),
        share=sp.Max(0, sp.log(m_bias[i])),
        note=note,
    )


ENTRY = Entry(
    key="golowich2018_l1inf",
    title="Row 1-norms, root of the depth",
    reference=REFERENCE,
    statement=r"\mathfrak R_S(f_k)\le\frac2n\sqrt{L+1+\ln d}\;\prod_{i=1}^L m_i\rho_i\;\max_j\|X_{:,j}\|_2",
    description="Any elementwise Lipschitz activation with phi(0) = 0. One output; the ramp of the multi-class margin "
    "costs 2K/gamma. Offsets are an own extension.",
    variants=(
        _bound("published", False, "constant as published"),
        _bound("sharper", True, "own derivation: (1/n) sqrt(2(L ln 2 + ln d))"),
    ),
)
