"""Complexity from kernel-group distances with a ceiling per layer (entry 11 of theory §6)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.maurey import KERNEL
from bounds.calculus.propagation import input_norms, sample_norms, upstream
from bounds.calculus.statements import Complexity, Step, bounded
from bounds.symbols import X_F, L, Q, W_kernel, X_in, c, capacity, capacity_sum, g, gamma, i, n, s


def kernel_cover_complexity() -> Complexity:
    r"""4/n + 12 H_{n-1}/\sqrt n \sqrt{ln 2W} (Sum ceiling(C_i^{2/3}))^{3/2} of the ramp-margin class (upper bound).

    Source: Graf et al. 2022, norms form, with C_i = (4/gamma) g_i Q_i X_{i-1}/\sqrt n (own extension to offsets).
    """
    layer = Part(capacity, 4 * g[i] * Q[i] * X_in[i] / (gamma * sp.sqrt(n)), "capacity of layer i over its reference")
    total = Part(
        capacity_sum,
        sp.Sum(sp.ceiling(capacity[i] ** sp.Rational(2, 3)), (i, 1, L)) ** sp.Rational(3, 2),
        "capacity of the network",
    )
    raw = 4 / n + 12 * sp.harmonic(n - 1) / sp.sqrt(n) * sp.sqrt(sp.log(2 * W_kernel)) * capacity_sum
    step = Step(
        "entry 11",
        "covering with a ceiling per layer",
        "Graf, Zeng, Rieck, Niethammer & Kwitt 2022",
        bounded(r"\mathfrak R_S(r_\gamma\circ\mathcal F)", raw),
        premises=(KERNEL,),
    )
    one = sp.Integer(1)
    return Complexity(
        (total, layer, upstream, input_norms, sample_norms),
        frozenset({s, g, c, X_F}),
        frozenset({gamma}),
        step,
        raw,
        sp.Min(one / 2, raw),
        one,
    )
