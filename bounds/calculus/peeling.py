"""Layer peeling: Rademacher complexity of one output of a norm-bounded network (entries 1-3 of theory §6)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.statements import Complexity, Step, Symbols, bounded
from bounds.symbols import X_F, L, Pi, X_col, a, any_bias, c, d, i, m, m_bias, n, rho

HALF = sp.Rational(1, 2)


def _one_output(raw: sp.Expr, parts: tuple[Part, ...], increasing: Symbols, step: Step) -> Complexity:
    """The class of one output is unbounded: there is no cap before a loss is applied."""
    return Complexity(parts, increasing, frozenset(), step, raw, raw, sp.oo)


def _frobenius_product() -> Part:
    """Product of the layers' Frobenius norms; offsets enter as one more coordinate that is carried along."""
    inner = sp.Piecewise((a[i] ** 2 + c[i] ** 2 + any_bias, sp.Le(i + 1, L)), (a[i] ** 2 + c[i] ** 2, True))
    return Part(Pi, sp.Product(sp.sqrt(inner), (i, 1, L)), "product of the layers' Frobenius norms, offsets included")


def peel_exponential() -> Complexity:
    r"""(‖X‖_F/n)(\sqrt{2L ln 2} + 1) Prod ‖W_i‖_F, phi 1-Lipschitz and positively homogeneous (upper bound).

    Source: Golowich, Rakhlin & Shamir 2018, Theorem 1; with offsets: own extension (theory §0).
    """
    raw = sp.sqrt(X_F**2 + n * any_bias) / n * (sp.sqrt(2 * L * sp.log(2)) + 1) * Pi
    step = Step(
        "entry 1",
        "peeling inside an exponential moment",
        "Golowich, Rakhlin & Shamir 2018, Theorem 1",
        bounded(r"\mathfrak R_S(f_k)", raw),
    )
    return _one_output(raw, (_frobenius_product(),), frozenset({a, c, X_F}), step)


def peel_layers() -> Complexity:
    """2^{L-1} Prod ‖W_i‖_F ‖X‖_F/n, assumptions of `peel_exponential` (upper bound).

    Source: Neyshabur, Tomioka & Srebro 2015, Corollary 2 up to its constant; with offsets: own extension.
    """
    raw = 2 ** (L - 1) * Pi * sp.sqrt(X_F**2 + n * any_bias) / n
    step = Step(
        "entry 3",
        "layer peeling",
        "Neyshabur, Tomioka & Srebro 2015, Corollary 2 up to its constant",
        bounded(r"\mathfrak R_S(f_k)", raw),
    )
    return _one_output(raw, (_frobenius_product(),), frozenset({a, c, X_F}), step)


def peel_rows(sharper: bool) -> Complexity:
    r"""Row 1-norms: (2/n)\sqrt{L+1+ln d} Prod m_i rho_i max_j‖X_{:,j}‖_2, Lipschitz phi with phi(0)=0 (upper bound).

    Source: Golowich, Rakhlin & Shamir 2018, Theorem 2. `sharper`: (1/n)\sqrt{2(L ln 2 + ln d)} instead, own
    derivation. With offsets (own extension) a constant joins the hidden units at every layer: one more column in X,
    every factor m_i rho_i at least 1, and, since phi need not map 1 to 1, two more terms in the exponential moment.
    """
    with_offset = sp.Max(m_bias[i], 1 / rho[i]) * any_bias + m[i] * (1 - any_bias)
    last = m_bias[i] * any_bias + m[i] * (1 - any_bias)
    factor = sp.Piecewise((with_offset * rho[i], sp.Le(i + 1, L)), (last, True))
    product = Part(Pi, sp.Product(factor, (i, 1, L)), "product of the layers' largest row 1-norms")
    column = sp.Max(X_col, sp.sqrt(n) * any_bias)
    if sharper:
        raw = sp.sqrt(2 * (L * sp.log(2) + sp.log(d + 2 * any_bias))) / n * Pi * column
        step = Step("entry 2", "peeling of row norms, sharper constant", "own derivation", sp.true, derived=True)
    else:
        raw = 2 * sp.sqrt(L + 1 + sp.log(d + any_bias)) / n * Pi * column
        step = Step("entry 2", "peeling of row norms", "Golowich, Rakhlin & Shamir 2018, Theorem 2", sp.true)
    step = Step(step.lemma, step.name, step.source, bounded(r"\mathfrak R_S(f_k)", raw), step.derived)
    return _one_output(raw, (product,), frozenset({m, m_bias, X_col}), step)
