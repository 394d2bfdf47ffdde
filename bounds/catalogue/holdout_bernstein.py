"""Hold-out with the empirical Bernstein inequality, for losses in [0, M].

Example on paper: losses (0, 1, 0, 1), delta = 2/e^2, so ln(2/delta) = 2 and V = 1/3:
1/2 + sqrt(2·(1/3)·2/4) + 7·2/(3·3) = 1/2 + 1/sqrt 3 + 14/9.

>>> import numpy as np
>>> from bounds.rows import holdout_value
>>> losses = np.array([0.0, 1.0, 0.0, 1.0])
>>> round(float(holdout_value(ENTRY.variants[0], m=4, errors=2, delta=2 / np.e**2, losses=losses)), 12)
2.632905824745
"""

from __future__ import annotations

import sympy as sp

from bounds.catalogue.entry import Entry, HoldOut, Reference
from bounds.symbols import M, V_loss, delta, m_holdout, mean_loss

REFERENCE = Reference(
    "Maurer & Pontil 2009",
    """@inproceedings{maurer2009empirical,
  title = {Empirical {Bernstein} Bounds and Sample Variance Penalization},
  author = {Maurer, Andreas and Pontil, Massimiliano},
  booktitle = {Conference on Learning Theory},
  year = {2009}
}""",
)

LOG = sp.log(2 / delta)

ENTRY = Entry(
    key="holdout_bernstein",
    title="Hold-out, empirical Bernstein",
    reference=REFERENCE,
    statement=r"\mathbb E\ell\le\widehat\ell+\sqrt{\frac{2\widehat V\ln(2/\delta)}m}+\frac{7M\ln(2/\delta)}{3(m-1)}",
    description="For a loss in [0, M] with small sample variance. Evaluated here for the ramp loss of the margin "
    "(M = 1), which bounds the 0-1 risk from above.",
    variants=(
        HoldOut(
            "ramp loss",
            "risk",
            mean_loss + sp.sqrt(2 * V_loss * LOG / m_holdout) + 7 * M * LOG / (3 * (m_holdout - 1)),
        ),
    ),
)
