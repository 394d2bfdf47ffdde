"""Graf et al. 2022: excess capacity from distances to the initialisation, norms form.

Example on paper: one layer, n = 4, g = 1, ‖X‖_F = 2, two parameters, gamma = 2. C = (4/2)(1/2)·2 = 2, its 2/3 power
1.59 rounds up to 2, 2^{3/2} = 2 sqrt 2; H_3 = 11/6: 4/4 + 12 (11/6)/2·sqrt(ln 4)·2 sqrt 2 = 1 + 44 sqrt(ln 2).

>>> from bounds.by_hand import Norms, complexity
>>> norms = Norms(s=(1,), X_F=2, parameters=(2,))
>>> round(complexity("graf2022_excess_capacity", norms, gamma=2)[0], 12)
37.632402890939
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.kernel_cover import kernel_cover_complexity
from bounds.calculus.risk import risk
from bounds.catalogue.assumptions import CHAIN, samples
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import capacity, capacity_sum, i

REFERENCE = Reference(
    "Graf, Zeng, Rieck, Niethammer & Kwitt 2022, norms form",
    """@inproceedings{graf2022measuring,
  title = {On Measuring Excess Capacity in Neural Networks},
  author = {Graf, Florian and Zeng, Sebastian and Rieck, Bastian and Niethammer, Marc and Kwitt, Roland},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2022}
}""",
)

ENTRY = Entry(
    key="graf2022_excess_capacity",
    title="Excess capacity over the initialisation",
    reference=REFERENCE,
    statement=r"\mathfrak R_S\le\frac4n+\frac{12H_{n-1}}{\sqrt n}\sqrt{\ln(2W)}\left(\sum_i\lceil C_i^{2/3}\rceil"
    r"\right)^{3/2},\quad C_i=\frac4\gamma\frac{\|X\|_F}{\sqrt n}\prod_j s_j\,\frac{g_i}{s_i}",
    description="Kernel-group distances instead of (2,1) distances of the unrolled operator: much smaller for "
    "convolutions. Keeps the harmonic number and the ceilings. "
    "Offsets, activations with rho != 1 and max-pools are own extensions.",
    variants=(
        Bound(
            variant="",
            target="risk",
            gap=risk(kernel_cover_complexity()),
            assumptions=(CHAIN, samples(2)),
            empirical="ramp",
            shrink=(capacity_sum,),
            share=sp.ceiling(capacity[i] ** sp.Rational(2, 3)),
        ),
    ),
)
