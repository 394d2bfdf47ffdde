"""Neyshabur, Bhojanapalli & Srebro 2018: PAC-Bayes with spectral norms, constants made explicit.

Example on paper: one layer, n = 4, K = 2, delta = 3/4, gamma = 42e. h = 2, so KL = (42^2 e^2/2)·2·ln 8/(42 e)^2
= 3 ln 2; the logarithm is ln(6·4·1·sqrt(4)·4/3) = 6 ln 2; 4 sqrt(9 ln 2/3) = 4 sqrt(3 ln 2).

>>> from math import e
>>> from bounds.by_hand import Norms, complexity
>>> round(complexity("neyshabur2018_pacbayes", Norms(s=(1,)), gamma=42 * e)[0], 12)
5.768107546404
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.pac_bayes import pac_bayes
from bounds.catalogue.assumptions import CHAIN, HOMOGENEOUS, NO_BIAS, NO_MAX_POOL, SUPPORT, samples
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import KL, B, L, a, i, j, s

REFERENCE = Reference(
    "Neyshabur, Bhojanapalli & Srebro 2018; constants explicit from the proof",
    """@inproceedings{neyshabur2018pac,
  title = {A {PAC}-Bayesian Approach to Spectrally-Normalized Margin Bounds for Neural Networks},
  author = {Neyshabur, Behnam and Bhojanapalli, Srinadh and Srebro, Nathan},
  booktitle = {International Conference on Learning Representations},
  year = {2018}
}""",
)

SHARE = a[i] ** 2 * sp.Product(s[j] ** 2, (j, 1, i - 1)) * sp.Product(s[j] ** 2, (j, i + 1, L))

ENTRY = Entry(
    key="neyshabur2018_pacbayes",
    title="PAC-Bayes, spectral and Frobenius norms",
    reference=REFERENCE,
    statement=r"\Pr[\mathrm{error}]\le\widehat R_\gamma^{\mathrm{hard}}+4\sqrt{\frac{\mathrm{KL}"
    r"+\ln(6nL\,n^{1/(2L)}/\delta)}{n-1}},\quad \mathrm{KL}\le\frac{42^2e^2}{2}\,\frac{L^2B_{\mathcal X}^2"
    r"h\ln(4hL)}{\gamma^2}\prod_i s_i^2\sum_i\frac{a_i^2}{s_i^2}",
    description="Perturbs the weights within the margin. Holds for all weights at once, so only the margin is "
    "stratified. B is the radius of the support, not of the sample.",
    variants=(
        Bound(
            variant="",
            target="risk",
            gap=pac_bayes(B, (), "Neyshabur, Bhojanapalli & Srebro 2018", frozenset({B})),
            assumptions=(CHAIN, HOMOGENEOUS, NO_BIAS, NO_MAX_POOL, SUPPORT, samples(2)),
            empirical="hard margin",
            shrink=(KL,),
            share=SHARE,
            stratify_only_margin=True,
        ),
    ),
)
