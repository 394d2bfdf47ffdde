"""Hold-out bounds: the honest yardstick, first row of every table.

Example on paper: no error among two samples at delta = 1/4: (1 - p)^2 = 1/4, p = 1/2.

>>> from bounds.rows import holdout_value
>>> round(float(holdout_value(ENTRY.variants[0], m=2, errors=0, delta=0.25)), 12)
0.5
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import BetaQuantile
from bounds.catalogue.entry import Entry, HoldOut, Reference
from bounds.symbols import delta, k_errors, m_holdout

REFERENCE = Reference(
    "Clopper & Pearson 1934",
    """@article{clopper1934use,
  title = {The use of confidence or fiducial limits illustrated in the case of the binomial},
  author = {Clopper, C. J. and Pearson, E. S.},
  journal = {Biometrika},
  volume = {26},
  number = {4},
  pages = {404--413},
  year = {1934}
}""",
)

VALUE = sp.Piecewise(
    (sp.Integer(1), sp.Le(m_holdout, k_errors)),
    (BetaQuantile(1 - delta, k_errors + 1, m_holdout - k_errors), True),
)

ENTRY = Entry(
    key="holdout_binomial",
    title="Hold-out, exact binomial tail",
    reference=REFERENCE,
    statement=r"\Pr[\mathrm{error}]\le\mathrm{Beta}^{-1}(1-\delta;\,k+1,\,m-k)",
    description="k errors among m samples that training, selection and batch-norm statistics never touched. With k = "
    "samples not certified robust it bounds the robust risk. Several epsilon: divide delta.",
    variants=(
        HoldOut("standard", "risk", VALUE),
        HoldOut("robust", "robust risk", VALUE, note="counts every sample without a certificate as an error"),
    ),
)
