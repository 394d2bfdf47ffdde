"""What bounds need, against what their rows read: rows from nothing else are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bounds import catalogue
from bounds.architecture import Architecture, Obstacle
from bounds.by_hand import Norms
from bounds.catalogue.assumptions import Setting, Violation
from bounds.catalogue.entry import Bound, HoldOut
from bounds.measurements import LAYER_NORMS, LayerMeasurement
from bounds.needs import Candidate, candidates, needs
from bounds.readings import Settings
from bounds.rows import Sample, bound_row

BOUNDS = {
    f"{entry.key} {bound.variant}": (entry, bound)
    for entry in catalogue.entries()
    for bound in entry.variants
    if isinstance(bound, Bound)
}
NORMS = Norms(
    s=(0.5, 2), a=(1, 3), b=(2, 1), m=(1, 2), c=(0.1, 0.2), t=(1, 2), bias=(True, True), n=50, eps=0.1, w=(2, 1)
)
SAMPLE = Sample(np.array([0.5, 2.0]), np.array([0.5, 2.0]), np.array([0.1, 1.0]), "")


@pytest.mark.parametrize("name", BOUNDS)
def test_rows_read_no_norm_that_is_not_needed(name: str) -> None:
    entry, bound = BOUNDS[name]
    full = NORMS.measurements()
    needed = needs([Candidate(entry, bound, ())]).layers
    few = tuple(LayerMeasurement(**{norm: getattr(layer, norm) for norm in needed}) for layer in full.layers)
    rows = [
        bound_row(entry, bound, measured, Settings(), SAMPLE, lambda gamma: 0.1)
        for measured in (full, replace(full, layers=few))
    ]
    assert rows[0] == rows[1]


def test_some_bound_needs_each_norm_and_some_bound_does_not() -> None:
    needed = [needs([Candidate(entry, bound, ())]).layers for entry, bound in BOUNDS.values()]
    assert frozenset().union(*needed) == set(LAYER_NORMS)
    assert frozenset.intersection(*needed) == frozenset()


def find(key: str, *, certified: bool, norm: str | None = "l2", spoilt: tuple[Violation, ...] = ()) -> list[Candidate]:
    setting = Setting(n=10, attack_norm=norm, certified=certified, support=True)
    return list(candidates([catalogue.get(key)], NORMS.measurements().architecture, setting, spoilt))


def test_what_does_not_apply_needs_nothing() -> None:
    obstacle = Obstacle("join", "residual join", "not covered", "remove it")
    architecture = Architecture((), (), (obstacle,), 1, 2)
    chosen = list(candidates(catalogue.entries(), architecture, Setting(10, "l2", certified=True, support=True)))
    needed = needs(chosen)
    assert needed.robust  # the hold-out bound of the robust risk
    assert not needed.layers and not needed.surrogates
    assert all(isinstance(candidate.variant, HoldOut) for candidate in chosen if not candidate.reasons)


def test_holdout_bounds_of_the_robust_risk_need_certificates_and_samples_of_their_own() -> None:
    assert [c.variant.target for c in find("holdout_binomial", certified=True)] == ["risk", "robust risk"]
    assert [c.variant.target for c in find("holdout_binomial", certified=False)] == ["risk"]
    spoilt = (Violation("a", "b", "c"),)
    assert all(c.reasons == spoilt for c in find("holdout_binomial", certified=True, spoilt=spoilt))
    assert not needs(find("holdout_binomial", certified=True, spoilt=spoilt)).robust


def test_surrogates_of_another_attack_norm_are_no_candidates() -> None:
    kinds = {candidate.variant.surrogate for candidate in find("jacobian_surrogate", certified=False, norm="linf")}
    assert kinds == {"margin", "row-sum", "entrywise"}


def test_an_untraced_network_says_only_that() -> None:
    obstacle = Obstacle("untraced", "the network", "control flow", "no branches")
    found = candidates(
        catalogue.entries(), Architecture((), (), (obstacle,), 1, 2), Setting(10, None, certified=False, support=False)
    )
    for candidate in found:
        because = [violation.because for violation in candidate.reasons]
        assert because == ([] if isinstance(candidate.variant, HoldOut) else ["the network: control flow"])
