"""Massart's finite-class lemma (L4.4)."""

from __future__ import annotations

import sympy as sp


def massart(radius: sp.Expr, size: sp.Expr) -> sp.Expr:
    r"""E max_a sigma·a <= max‖a‖_2 \sqrt{2 ln|A|} over a finite set A (theory L4.4; Massart 2000; upper bound).

    Args:
        radius: largest Euclidean norm in A.
        size: number of elements of A.

    >>> import sympy as sp
    >>> massart(sp.Integer(3), sp.E)
    3*sqrt(2)
    """
    return radius * sp.sqrt(2 * sp.log(size))
