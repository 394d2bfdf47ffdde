"""What an entry of the catalogue is: a published result with its variants, each a bound with its derivation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.statements import Gap
from bounds.catalogue.assumptions import Assumption

Target = Literal["risk", "robust risk", "surrogate"]
Empirical = Literal["ramp", "hard margin", "surrogate"]


@dataclass(frozen=True)
class Reference:
    """A publication; `citation` is the short form, `bibtex` the entry."""

    citation: str
    bibtex: str


@dataclass(frozen=True)
class Bound:
    """One bound on the gap between a risk and its empirical counterpart.

    Attributes:
        variant: name within its entry ("audited"); "" where there is only one.
        target: what the risk bound bounds: "risk" (0-1), "robust risk" (0-1 under attack), "surrogate" (expected
            surrogate loss).
        gap: the statement, with parts, declared monotonicity and derivation.
        assumptions: each can be checked against an architecture and the settings.
        empirical: which empirical quantity the gap is added to.
        shrink: the parts of the formula that "how much smaller would it have to be" is asked of.
        share: unnormalised contribution of layer i: a term of the sum that the bound has over the layers (for the
            surrogate of the part for the Jacobian), or the logarithm, where positive, of its factor in the product.
        surrogate: key of the Jacobian norm (theory §2) where target is "surrogate".
        remainder: what has to be added to pass from the surrogate to the robust loss (L2.5).
        stratify_only_margin: PAC-Bayes statements already hold for all weights (L4.10).
        as_printed: whether the bound rests on a published statement that our own audit has to enlarge.
        note: what a reader must know.
    """

    variant: str
    target: Target
    gap: Gap
    assumptions: tuple[Assumption, ...]
    empirical: Empirical
    shrink: tuple[sp.Symbol, ...]
    share: sp.Expr | None
    surrogate: str | None = None
    remainder: sp.Expr | None = None
    stratify_only_margin: bool = False
    as_printed: bool = False
    note: str = ""


@dataclass(frozen=True)
class HoldOut:
    """A bound on the risk itself from samples that training never touched.

    Attributes:
        variant: name within its entry.
        target: "risk" or "robust risk".
        value: the bound, in the unit of the loss.
        parts: named parts.
        note: what a reader must know.
    """

    variant: str
    target: Target
    value: sp.Expr
    parts: tuple[Part, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Entry:
    """A published result (or own derivation) with its variants.

    Attributes:
        key: name in the catalogue.
        title: one line.
        reference: publication.
        statement: the theorem as published or as derived, in LaTeX.
        variants: bounds that evaluation plugs numbers into.
    """

    key: str
    title: str
    reference: Reference
    statement: str
    variants: tuple[Bound | HoldOut, ...]
    description: str

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.statement}$"

    def _repr_html_(self) -> str:
        from bounds.catalogue.describe import to_html

        return to_html(self)

    def __str__(self) -> str:
        from bounds.catalogue.describe import to_text

        return to_text(self)
