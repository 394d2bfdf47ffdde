"""Lipschitz maps of a class: contraction of complexities (L4.2, L4.3) and of covers."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.statements import Complexity, Cover, ParametricCover, Step, bounded, merged
from bounds.symbols import L, N, gamma, i


def lipschitz_cover(cover: Cover, constant: sp.Expr, radius: sp.Symbol, meaning: str) -> Cover:
    """A cover of F maps to a cover of psi∘F with the radius times Lip(psi) (upper bound).

    Args:
        cover: cover of F in ‖.‖_S.
        constant: Lipschitz constant of psi, in the norm of the cover; may contain 1/gamma.
        radius: name of the new radius.
        meaning: what psi∘F is, in words.
    """
    part = Part(radius, sp.Mul(constant, cover.radius, evaluate=False), meaning)
    step = Step(
        "L4.2",
        "Lipschitz image of a cover",
        "standard",
        bounded(r"\ln\mathcal N(\psi\circ\mathcal F,u)", radius**2 / sp.Symbol("u") ** 2),
        premises=(cover.step,),
    )
    return Cover(merged((part,), cover.parts), cover.increasing, cover.decreasing | _decreasing(constant), step, radius)


def lipschitz_parametric(cover: ParametricCover, constant: sp.Expr, constants: sp.IndexedBase) -> ParametricCover:
    """A parametric cover of F maps to one of psi∘F with every constant times Lip(psi) (upper bound)."""
    part = Part(constants, constant * cover.constants[i], "resolution of layer i in the unit of the loss")
    step = Step(
        "L4.2",
        "Lipschitz image of a cover",
        "standard",
        bounded(r"\ln\mathcal N_\infty(\psi\circ\mathcal F,u)", _entropy(constants)),
        premises=(cover.step,),
    )
    return replace(
        cover,
        parts=merged((part,), cover.parts),
        decreasing=cover.decreasing | _decreasing(constant),
        step=step,
        constants=constants,
    )


def contraction(complexity: Complexity, constant: sp.Expr, loss_range: sp.Expr) -> Complexity:
    """R_S(psi∘F) <= Lip(psi) R_S(F) for real-valued F (theory L4.2, Talagrand's lemma; upper bound).

    Args:
        complexity: of a real-valued class.
        constant: Lipschitz constant of psi.
        loss_range: M, the range of psi; the guaranteed value is capped at M/2.
    """
    return _scaled(
        complexity,
        constant,
        loss_range,
        Step("L4.2", "Talagrand's contraction lemma", "Ledoux & Talagrand 1991", sp.true),
    )


def vector_contraction(complexity: Complexity, constant: sp.Expr, loss_range: sp.Expr) -> Complexity:
    r"""R_S(ℓ∘F) <= \sqrt2 L E sup (1/n) Sum sigma_{ik} f_k(x_i) for ℓ L-Lipschitz in ‖z‖_2 (theory L4.3; upper bound).

    Args:
        complexity: of the class with one sign per sample *and* output, as on the right-hand side.
        constant: Lipschitz constant of the loss in ‖z‖_2.
        loss_range: M, the range of the loss.
    """
    step = Step("L4.3", "vector contraction inequality", "Maurer 2016", sp.true)
    return _scaled(complexity, sp.sqrt(2) * constant, loss_range, step)


def _scaled(complexity: Complexity, factor: sp.Expr, loss_range: sp.Expr, step: Step) -> Complexity:
    raw = factor * complexity.raw
    M = sp.sympify(loss_range)
    step = replace(step, conclusion=bounded(r"\mathfrak R_S(\psi\circ\mathcal F)", raw), premises=(complexity.step,))
    return Complexity(
        complexity.parts,
        complexity.increasing,
        complexity.decreasing | _decreasing(factor),
        step,
        raw,
        sp.Min(M / 2, raw),
        M,
    )


def _entropy(constants: sp.IndexedBase) -> sp.Expr:
    return sp.Sum(N[i] * sp.log(1 + constants[i] / sp.Symbol("u")), (i, 1, L))


def _decreasing(constant: sp.Expr) -> frozenset[sp.Symbol]:
    """Ramp-type constants are proportional to 1/gamma."""
    return frozenset({gamma} & sp.sympify(constant).free_symbols)
