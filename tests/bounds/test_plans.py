"""Plans from the shapes alone: what is measured, on how many samples, and what is said about it."""

from __future__ import annotations

import pytest

from bounds.measure.load import RATE, Load
from bounds.needs import Needs
from bounds.plans import JacobianPlan, plan_jacobians

NONE = Needs(frozenset(), frozenset(), robust=False)
SURROGATES = Needs(frozenset({"s"}), frozenset({"margin", "row-sum"}), robust=False)
SMALL, SIZES = Load(20, 10, 0, 1000), (5000, 300)


def plan(needs: Needs, each: Load = SMALL, asked: int | None = None, everything: bool = True) -> JacobianPlan:
    return plan_jacobians(each, needs, "linf", SIZES, asked=asked, everything=everything)


def test_the_usual_number_where_that_takes_no_time() -> None:
    assert plan(NONE) == JacobianPlan(1000, 0, ("spectral", "frobenius", "entrywise_l1", "row_sum"), (2,))
    everything = plan(SURROGATES)
    assert (everything.train, everything.test, everything.q, everything.note) == (1000, 300, (1.0, 2.0), "")
    assert everything.plain == plan(NONE).plain
    only = plan(SURROGATES, everything=False)
    assert (only.train, only.test, only.plain, only.q) == (1000, 300, ("row_sum",), (1.0,))


def test_nothing_for_no_one() -> None:
    assert plan(NONE, everything=False) == JacobianPlan()


@pytest.mark.parametrize("needs, both", [(NONE, 0), (SURROGATES, 1)])
def test_a_number_that_was_asked_for_is_kept(needs: Needs, both: int) -> None:
    asked = plan(needs, Load(20, 10, 0, 10**12), asked=400, everything=False)
    assert (asked.train, asked.test, asked.note) == (400, 300 * both, "")


def test_fewer_where_it_takes_long_and_no_norm_that_would_take_more() -> None:
    """1001 passes a sample; the spectral norm, which no surrogate here needs, would take 12 times as much."""
    slow = Load(10_000, 1000, 0, 10**6)
    few = plan(SURROGATES, slow)
    assert few.train == few.test == int(60 * RATE / (1001 * 10**6)) // 2
    assert few.plain == ("row_sum",) and few.q == (1.0,)
    sizes = f"{few.train} of 5000 training samples and {few.test} of 300 held-out samples"
    assert few.note == f"Jacobians are measured on {sizes}: more would take over 60 s (--jacobian-samples)"


def test_one_sample_at_least_where_a_bound_needs_it() -> None:
    huge = Load(10, 10, 0, 10**14)
    assert plan(SURROGATES, huge).train == plan(SURROGATES, huge).test == 1
    shown = plan(NONE, huge)
    assert shown.train == 0 and shown.note.startswith("Jacobians are not measured: one would take over 10 s")
