"""Golowich, Rakhlin & Shamir 2018, Theorem 1: depth enters only as its square root.

Example on paper: n = 4, K = 2, ‖X‖_F = 2, Frobenius norms 1 and 2, gamma = 32. One output costs
(2/4)(sqrt(4 ln 2) + 1)·2 = 1 + 2 sqrt(ln 2), the multi-class margin 2·2/32 = 1/8 of it: 0.3331.

>>> from bounds.by_hand import Norms, complexity
>>> round(complexity("golowich2018_frobenius", Norms(a=(1, 2), X_F=2), gamma=32)[0], 12)
0.333138652789
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.multiclass import multiclass
from bounds.calculus.peeling import peel_exponential
from bounds.calculus.risk import risk
from bounds.catalogue.assumptions import CHAIN, HOMOGENEOUS, NO_MAX_POOL
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import Pi, a, c, i

REFERENCE = Reference(
    "Golowich, Rakhlin & Shamir 2018, Theorem 1",
    """@inproceedings{golowich2018size,
  title = {Size-Independent Sample Complexity of Neural Networks},
  author = {Golowich, Noah and Rakhlin, Alexander and Shamir, Ohad},
  booktitle = {Conference on Learning Theory},
  year = {2018}
}""",
)

ENTRY = Entry(
    key="golowich2018_frobenius",
    title="Frobenius norms, root of the depth",
    reference=REFERENCE,
    statement=r"\mathfrak R_S(f_k)\le\frac{\|X\|_F}{n}\left(\sqrt{2L\ln 2}+1\right)\prod_{i=1}^L\|W_i\|_F",
    description="Peels the layers inside an exponential moment. One output; the ramp of the multi-class margin costs "
    "2K/gamma. Offsets are an own extension.",
    variants=(
        Bound(
            variant="",
            target="risk",
            gap=risk(multiclass(peel_exponential())),
            assumptions=(CHAIN, HOMOGENEOUS, NO_MAX_POOL),
            empirical="ramp",
            shrink=(Pi,),
            share=sp.Max(0, sp.log(a[i] ** 2 + c[i] ** 2)),
        ),
    ),
)
