r"""The inequality laboratory: every lemma under property-based attack, every check able to fail.

An inequality is a decorated function of one instance that returns both sides::

    import numpy as np
    from verification.inequalities import inequality, reals
    from verification.inequalities.strategies import matrices

    @inequality(
        "folklore-1", r"\|A\|_2 \le \|A\|_F", source="folklore", attained=True,
        given={"A": matrices()},
        mutants={"the largest entry instead": {"p": float("inf")}},
    )
    def spectral_at_most_frobenius(A, p=2):
        return reals.spectral(A), reals.norm(A, p)

`assert_holds` puts it under attack in a test, `jacobound falsify FILE` on the command line.
"""

from __future__ import annotations

from verification.inequalities import reals
from verification.inequalities.inequality import Inequality, SideError, assume, inequality
from verification.inequalities.laboratory import (
    Finding,
    assert_holds,
    chosen,
    examine,
    examine_all,
    inequalities,
    load,
)

__all__ = [
    "Finding",
    "Inequality",
    "SideError",
    "assert_holds",
    "assume",
    "chosen",
    "examine",
    "examine_all",
    "inequalities",
    "inequality",
    "load",
    "reals",
]
