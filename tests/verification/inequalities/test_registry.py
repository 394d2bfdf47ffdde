"""The registry covers the theory, the calculus and the catalogue; every check in it holds and can fail."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption

from bounds import calculus, catalogue
from verification.inequalities import inequalities
from verification.inequalities.laboratory import examine

INEQUALITIES = inequalities()
THEORY = set(Path(__file__).with_name("theory_ids.txt").read_text().split())
# Machinery that states nothing, and the shapes that statements have.
NO_LEMMAS = {"arithmetic", "evaluator", "statements"}


def test_every_lemma_of_the_theory_is_registered_and_no_other() -> None:
    registered = {claim.lemma for claim in INEQUALITIES.values() if re.fullmatch(r"L\d+\.\d+", claim.lemma)}
    assert registered == THEORY


def test_the_other_ids_are_entries_of_the_catalogue_or_kinds_of_checks() -> None:
    others = {claim.lemma for claim in INEQUALITIES.values()} - THEORY
    assert others <= set(catalogue.keys()) | {"certificate", "measure", "metamorphic", "reduction"}


def test_every_bound_of_the_catalogue_is_registered() -> None:
    wanted = {f"{e.key}-{v.variant}" if v.variant else e.key for e in catalogue.entries() for v in e.variants}
    missing = {name for name in wanted if not any(id == name or id.startswith(f"{name}-") for id in INEQUALITIES)}
    assert not missing


def test_every_combinator_of_the_calculus_is_exercised() -> None:
    exercised = {f"{c.__module__}.{c.__name__}" for claim in INEQUALITIES.values() for c in claim.combinators}
    combinators = set()
    for info in pkgutil.iter_modules(calculus.__path__):
        module = importlib.import_module(f"{calculus.__name__}.{info.name}")
        for name, value in vars(module).items():
            own = inspect.isfunction(value) and value.__module__ == module.__name__
            if own and not name.startswith("_") and info.name not in NO_LEMMAS:
                combinators.add(f"{module.__name__}.{name}")
    assert combinators <= exercised
    assert len(combinators) >= 20


def test_size_and_mutants() -> None:
    assert len(INEQUALITIES) >= 60
    assert [claim.id for claim in INEQUALITIES.values() if len(claim.mutants) < 2] == []
    assert [claim.id for claim in INEQUALITIES.values() if not claim.function.__doc__] == []


@pytest.mark.parametrize("first", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("id", INEQUALITIES)
def test_holds_with_every_mutant_refuted(id: str, first: int) -> None:
    """What is attained comes within 1 %. A quarter of the default budget mostly finds all; what is missed gets more."""
    claim = INEQUALITIES[id]
    for part in (part for part in (4, 2, 1) if part <= first):
        finding = examine(claim, claim.examples // part)
        assert finding.verdict == "held"
        if not finding.complaints:
            break
    assert finding.complaints == []


@pytest.mark.parametrize("id", [claim.id for claim in INEQUALITIES.values() if claim.recheck])
def test_both_precisions_compute_the_same(id: str) -> None:
    """What is rechecked in 35 digits is the same statement: sides agree where float64 is accurate."""
    claim = INEQUALITIES[id]
    seen = []

    @seed(1)
    @settings(
        max_examples=3, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(st.fixed_dictionaries(dict(claim.given)))
    def compare(instance):
        coarse = claim.compare(instance)
        try:
            fine = claim.compare_precisely(instance)
        except UnsatisfiedAssumption:
            return  # a boundary case: float64 rounds it inside
        size = abs(coarse.left) + abs(coarse.right)
        slack = 1e-6 * size + float(coarse.allowance)
        sides = max(abs(float(fine.left) - coarse.left), abs(float(fine.right) - coarse.right)) <= slack
        # A claim may pick the place where its ratio is largest: of equal ones either precision picks its own.
        assert sides or abs(fine.ratio - coarse.ratio) <= 1e-6
        seen.append(instance)

    compare()
    assert seen
