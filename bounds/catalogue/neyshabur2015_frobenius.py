"""Neyshabur, Tomioka & Srebro 2015: layer peeling, exponential in the depth.

Example on paper: n = 4, K = 2, ‖X‖_F = 2, Frobenius norms 1 and 2, gamma = 32: (2·2/32)·2·(1·2)·2/4 = 1/4.

>>> from bounds.by_hand import Norms, complexity
>>> complexity("neyshabur2015_frobenius", Norms(a=(1, 2), X_F=2), gamma=32)
(0.25, 0.25)
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.multiclass import multiclass
from bounds.calculus.peeling import peel_layers
from bounds.calculus.risk import risk
from bounds.catalogue.assumptions import CHAIN, HOMOGENEOUS, NO_MAX_POOL
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import Pi, a, c, i

REFERENCE = Reference(
    "Neyshabur, Tomioka & Srebro 2015, Corollary 2 up to its constant",
    """@inproceedings{neyshabur2015norm,
  title = {Norm-Based Capacity Control in Neural Networks},
  author = {Neyshabur, Behnam and Tomioka, Ryota and Srebro, Nathan},
  booktitle = {Conference on Learning Theory},
  year = {2015}
}""",
)

ENTRY = Entry(
    key="neyshabur2015_frobenius",
    title="Frobenius norms, layer peeling",
    reference=REFERENCE,
    statement=r"\mathfrak R_S(f_k)\le\frac{2^{L-1}\|X\|_F}{n}\prod_{i=1}^L\|W_i\|_F",
    description="Peels one layer at a time, a factor 2 each. One output; the ramp of the multi-class margin costs "
    "2K/gamma. Offsets are an own extension.",
    variants=(
        Bound(
            variant="",
            target="risk",
            gap=risk(multiclass(peel_layers())),
            assumptions=(CHAIN, HOMOGENEOUS, NO_MAX_POOL),
            empirical="ramp",
            shrink=(Pi,),
            share=sp.Max(0, sp.log(a[i] ** 2 + c[i] ** 2)),
        ),
    ),
)
