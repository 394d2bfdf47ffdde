"""Bartlett, Foster & Telgarsky 2017: spectral norms and distances to a reference.

Example on paper: n = 4, s = (2, 1), b = (1, 4), gamma = 1000 sqrt 5. kappa = (1·1·1, 4·1·2) = (1, 8), so
(1 + 4)^{3/2} = 5 sqrt 5; W = 2 and ln(2·4) = 3 ln 2; R = (2/gamma) sqrt(3 ln 2)·5 sqrt 5 = sqrt(3 ln 2)/100. Raw:
4/4 + (12 R/4) ln 4 = 1 + 6 R ln 2; guaranteed: (12 R/4)(1 + ln(4/(3R))). The audited radius is 2 sqrt 2/sqrt 2 = 2
times as large (with four parameters per layer both Maurey pairs agree).

>>> from bounds.by_hand import Norms, complexity
>>> norms = Norms(s=(2, 1), b=(1, 4), parameters=(4, 4))
>>> tuple(round(v, 12) for v in complexity("bartlett2017_spectral", norms, "published", gamma=1000 * 5**0.5))
(1.059972212244, 0.239093937276)
>>> tuple(round(v, 12) for v in complexity("bartlett2017_spectral", norms, "audited", gamma=1000 * 5**0.5))
(1.119944424489, 0.418215662309)
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.contraction import lipschitz_cover
from bounds.calculus.dudley import dudley_scale_free
from bounds.calculus.risk import risk
from bounds.calculus.spectral_cover import spectral_cover
from bounds.catalogue.assumptions import CHAIN
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import R, gamma, i, kappa

REFERENCE = Reference(
    "Bartlett, Foster & Telgarsky 2017, Theorem 3.3 and Lemma A.5",
    """@inproceedings{bartlett2017spectrally,
  title = {Spectrally-normalized margin bounds for neural networks},
  author = {Bartlett, Peter L. and Foster, Dylan J. and Telgarsky, Matus},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017}
}""",
)


def _bound(variant: str, audited: bool, lipschitz: sp.Expr, note: str) -> Bound:
    loss = lipschitz_cover(spectral_cover(audited), lipschitz, R, "radius of the cover of the ramp-margin class")
    return Bound(
        variant=variant,
        target="risk",
        gap=risk(dudley_scale_free(loss, sp.Integer(1))),
        assumptions=(CHAIN,),
        empirical="ramp",
        shrink=(R,),
        share=kappa[i] ** sp.Rational(2, 3),
        as_printed=not audited,
        note=note,
    )


ENTRY = Entry(
    key="bartlett2017_spectral",
    title="Spectrally normalised margin bound",
    reference=REFERENCE,
    statement=r"\ln\mathcal N(\mathcal F,u)\le\frac{\|X\|_F^2\ln(2\overline W^2)}{u^2}\prod_j s_j^2\rho_j^2"
    r"\left(\sum_i (b_i/s_i)^{2/3}\right)^3",
    description="A product of spectral norms times a (2,1) distance to the reference M_i, through Maurey's lemma and "
    "Dudley's integral. Offsets and convolution kernels are own extensions.",
    variants=(
        _bound("published", False, 2 / gamma, "cover as printed, with the optimal lower limit of Dudley's integral"),
        _bound(
            "audited",
            True,
            sp.sqrt(2) / gamma,
            "sqrt(8) for the ceiling in Maurey's lemma and for centres inside the balls; ramp constant sqrt(2)/gamma; "
            "per layer the smaller of the (2,1) and the kernel-group pair",
        ),
    ),
)
