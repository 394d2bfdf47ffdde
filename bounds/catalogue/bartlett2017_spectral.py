"""Bartlett, Foster & Telgarsky 2017: spectral norms and distances to a reference."""

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
