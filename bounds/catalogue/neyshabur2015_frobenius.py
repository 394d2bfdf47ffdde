"""Neyshabur, Tomioka & Srebro 2015: layer peeling, exponential in the depth."""

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
