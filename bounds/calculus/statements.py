"""What the lemmas of the calculus pass to one another: covers, complexities, gaps, each with its derivation.

A statement carries the expression, its named parts, the symbols it is declared non-decreasing and non-increasing in
(L4.10 may only stratify a radius that is declared non-decreasing), and the tree of lemmas that led to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sympy as sp

from bounds.calculus.evaluator import Part

Symbols = frozenset[Any]


@dataclass(frozen=True)
class Step:
    """One node of a derivation tree.

    Attributes:
        lemma: id in the theory notes ("L4.6").
        name: what the lemma is called.
        source: paper and theorem number; "own derivation" where `derived`.
        conclusion: what holds after this step.
        derived: whether the step is our own derivation rather than a published statement.
        premises: the steps it rests on.
    """

    lemma: str
    name: str
    source: str
    conclusion: sp.Basic
    derived: bool = False
    premises: tuple[Step, ...] = ()

    def walk(self, level: int = 0) -> Iterator[tuple[int, Step]]:
        """The tree, depth first, with levels."""
        yield level, self
        for premise in self.premises:
            yield from premise.walk(level + 1)


@dataclass(frozen=True)
class Statement:
    """An inequality with its named parts, declared monotonicity and derivation."""

    parts: tuple[Part, ...]
    increasing: Symbols
    decreasing: Symbols
    step: Step


@dataclass(frozen=True)
class Cover(Statement):
    """Scale-free cover: ln N(u) <= radius^2 / u^2 in the unnormalised norm ‖.‖_S."""

    radius: sp.Symbol


@dataclass(frozen=True)
class ParametricCover(Statement):
    """Parametric cover in sup norm: ln N(u) <= Sum_i N_i ln(1 + constants_i / u)."""

    constants: sp.IndexedBase
    entropy: sp.Symbol  # name of Sum N_i (1 + ln(1 + constants_i/M)) once Dudley's integral is taken


@dataclass(frozen=True)
class Complexity(Statement):
    """Empirical Rademacher complexity: raw (uncapped) and guaranteed (capped) upper bounds."""

    raw: sp.Expr
    guaranteed: sp.Expr
    loss_range: sp.Expr


@dataclass(frozen=True)
class Gap(Statement):
    """Bound on (risk) - (empirical risk) for a whole class, with probability 1 - delta.

    Attributes:
        raw: uncapped, with the confidence term.
        guaranteed: capped, with the confidence term.
        trivial: the value at which the risk bound says nothing: the range of the loss.
        complexity: (raw, guaranteed) of the class alone: Rademacher complexity, or the PAC-Bayes excess itself.
    """

    raw: sp.Expr
    guaranteed: sp.Expr
    trivial: sp.Expr
    complexity: tuple[sp.Expr, sp.Expr]


def merged(*groups: tuple[Part, ...]) -> tuple[Part, ...]:
    """Named parts of several statements, each once, in order of first use."""
    parts: dict[Any, Part] = {}
    for part in (part for group in groups for part in group):
        known = parts.setdefault(part.symbol, part)
        if known.expression != part.expression:
            raise ValueError(f"two definitions of {part.symbol}")
    return tuple(parts.values())


def bounded(name: str, value: sp.Expr) -> sp.Basic:
    """The relation "name <= value", unevaluated; `name` is LaTeX."""
    return sp.Le(sp.Symbol(name), value, evaluate=False)
