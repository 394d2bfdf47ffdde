"""Parameter counting with covers in sup norm, for the standard and the robust risk. Own derivation.

Example on paper: one layer, n = 14400, two parameters, t = 1, gamma = 2 sqrt 2. K_1 = 1, so the resolution is
2·1·1·1·sqrt 2/(2 sqrt 2) = 1 and (12/120) sqrt(2(1 + ln 2)). Attacked in l_inf with epsilon = 1/2 and d = 4:
B' = 1 + (1/2)·2 = 2, resolution 2, sqrt(2(1 + ln 3))/10.

>>> from bounds.by_hand import Norms, complexity
>>> norms = Norms(s=(1,), n=14400, parameters=(2,), d=4, eps=0.5, norm="linf")
>>> round(complexity("parametric_cover", norms, "standard", gamma=8**0.5)[0], 12)
0.184018867541
>>> round(complexity("parametric_cover", norms, "adversarial", gamma=8**0.5)[0], 12)
0.204871290749
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.contraction import lipschitz_parametric
from bounds.calculus.dudley import dudley_parametric
from bounds.calculus.parametric_cover import parametric_cover
from bounds.calculus.risk import risk
from bounds.catalogue.assumptions import ATTACK, CERTIFIED, CHAIN, SUPPORT
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import N, S, cover_loss, gamma, i

REFERENCE = Reference(
    "own derivation (theory L5.5, L4.7); compare Xiao et al. on adversarial Rademacher complexity",
    "",
)


def _bound(adversarial: bool) -> Bound:
    cover = lipschitz_parametric(parametric_cover(adversarial), sp.sqrt(2) / gamma, cover_loss)
    needs = (ATTACK, CHAIN, SUPPORT, CERTIFIED) if adversarial else (CHAIN, SUPPORT)
    return Bound(
        variant="adversarial" if adversarial else "standard",
        target="robust risk" if adversarial else "risk",
        gap=risk(dudley_parametric(cover, sp.Integer(1))),
        assumptions=needs,
        empirical="ramp",
        shrink=(S,),
        share=N[i] * (1 + sp.log(1 + cover_loss[i])),
        note="norms enter only through logarithms; the number of parameters is what counts",
    )


ENTRY = Entry(
    key="parametric_cover",
    title="Parameter count, standard and adversarial",
    reference=REFERENCE,
    statement=r"\mathfrak R_S(r_\gamma\circ\mathcal F)\le\frac{12}{\sqrt n}\sqrt{\sum_i N_i\left(1+\ln\left(1+"
    r"\frac{2\sqrt2\,t_iLK_i}{\gamma}\right)\right)}",
    description="A grid on the parameters of each layer within distance t_i of the reference. A cover in sup norm over "
    "the attacked support covers the adversarial class as well.",
    variants=(_bound(False), _bound(True)),
)
