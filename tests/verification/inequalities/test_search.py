"""The search finds planted violations, shrinks them, climbs to sharp instances, and says what it cannot decide."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import assume as hypothesis_assume
from hypothesis import strategies as st

from bounds.errors import InputError
from verification.inequalities import Finding, assert_holds, assume, examine, inequality, reals
from verification.inequalities.ascent import ascend, simplified
from verification.inequalities.inequality import Comparison
from verification.inequalities.laboratory import found_again
from verification.inequalities.program import Budget, refuting
from verification.inequalities.search import Search
from verification.inequalities.strategies import matrices, vectors


def claim(function, given, **options):
    return inequality(options.pop("id", "test-claim"), "a \\le b", source="test", given=given, **options)(function)


FROBENIUS = claim(
    lambda A: (reals.spectral(A), reals.norm(A, 2)),
    {"A": matrices()},
    attained=True,
)
WRONG = claim(lambda A: (reals.norm(A, 2), reals.spectral(A)), {"A": matrices()})


def test_a_true_statement_holds_and_its_equality_is_settled_in_35_digits():
    found = examine(FROBENIUS, examples=100)
    assert found.verdict == "held"
    assert found.ratio == pytest.approx(1)
    assert found.undecidable == found.settled > 0
    assert found.complaints == []


def test_a_wrong_statement_is_refuted_by_a_small_instance():
    found = Search(WRONG).run(200).refutation
    assert found is not None
    matrix = found.instance["A"]
    assert np.linalg.matrix_rank(matrix) == 2
    assert set(np.abs(matrix).ravel()) <= {0.0, 1.0}
    assert found.comparison.left > found.comparison.right


def test_the_program_of_a_counterexample_fails_as_it_says(tmp_path):
    (tmp_path / "paper.py").write_text(
        "from verification.inequalities import inequality\n"
        "from dataclasses import dataclass\n"
        "from hypothesis import strategies as st\n"
        "@dataclass(frozen=True)\n"
        "class Box:\n    side: float\n    name: str\n"
        "boxes = st.builds(Box, st.floats(0, 10), st.just('unit'))\n"
        "@inequality('mine-1', 'a \\\\le b', source='me', given={'box': boxes, 'p': st.just(float('inf'))})\n"
        "def area(box, p):\n    return box.side**2, 10 * box.side / 2\n"
    )
    from verification.inequalities import load

    wrong = load(tmp_path / "paper.py")["mine-1"]
    found = examine(wrong)
    assert found.verdict == "refuted"
    done = subprocess.run(
        [sys.executable, "-c", found.counterexample], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
    left, right = map(float, done.stdout.split())
    assert left > right


def test_an_identity_is_refuted_from_both_sides():
    for factor in (0.999, 1.001):
        broken = claim(lambda x, f=factor: (f * x, x), {"x": st.floats(0, 5)}, relation="==")
        assert examine(broken, 50).verdict == "refuted"
    exact = claim(lambda x: (2 * x, x + x), {"x": st.floats(0, 5)}, relation="==", attained=True)
    assert examine(exact, 50).complaints == []


def test_the_ascent_sharpens_what_hypothesis_left_loose():
    """Cauchy-Schwarz in dimension 4: generic vectors are far from parallel."""

    def score(instance):
        x, y = instance["x"], instance["y"]
        return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))

    start = {"x": np.array([1.0, 0.2, -0.3, 0.1]), "y": np.array([-0.3, 1.0, 0.4, 0.2])}
    _, reached = ascend(start, score, 2000, np.random.default_rng(0), 0.9999)
    assert score(start) < 0
    assert reached > 0.999


def test_the_ascent_moves_floats_and_leaves_integers_and_names():
    visited = []

    def score(instance):
        visited.append(instance)
        return -abs(instance["x"] - 3)

    best, value = ascend({"x": 1.0, "k": 2, "name": "l2", "p": math.inf}, score, 300, np.random.default_rng(0), 0.0)
    assert value > -1e-3
    assert all((v["k"], v["name"], v["p"]) == (2, "l2", math.inf) for v in visited)
    assert best["x"] != 1.0


def test_simplified_counterexamples_are_rounder():
    instance = {"x": np.array([0.123456, 5.4321]), "c": 2.71828}
    found = simplified(instance, lambda candidate: candidate["x"][1] > 5)
    assert found["c"] == 0.0
    np.testing.assert_array_equal(found["x"], [0.0, 5.4])


def test_a_violation_only_the_ascent_can_reach_is_reported_as_a_counterexample():
    narrow = claim(lambda x: (1 - abs(x - 2.7183) / 10, 0.999), {"x": st.sampled_from([2.0, 3.0])})
    found = Search(narrow, seed=3).run(200).refutation
    assert found is not None
    assert 2.7083 < found.instance["x"] < 2.7283


@pytest.mark.parametrize("rejecting", [assume, hypothesis_assume])
def test_assumptions_that_never_hold_are_bad_input(rejecting):
    def sides(x):
        rejecting(x > 2)
        return x, x

    with pytest.raises(InputError, match=r"no instance satisfies its assumptions: \d+ of \d+ were rejected"):
        examine(claim(sides, {"x": st.floats(0, 1)}))


def test_rejections_are_counted():
    def sides(x):
        assume(x % 2 == 0)
        return x, x + 1

    found = examine(claim(sides, {"x": st.integers(0, 10**6)}), 50)
    assert found.rejected > 0 < found.instances


def test_nan_is_an_error_and_overflow_is_left_out():
    with pytest.raises(ValueError, match="NaN"):
        examine(claim(lambda x: (math.nan, x), {"x": st.floats(0, 1)}))
    huge = claim(lambda x: (x * 1e300, x * 1e301), {"x": st.floats(1, 1e20)})
    assert examine(huge, 50).verdict == "held"


def test_a_left_side_that_overflows_alone_is_decided_in_35_digits():
    wrong = claim(lambda x: (reals.exp(x), reals.exp(x / 2)), {"x": st.floats(720, 1000)})
    assert examine(wrong, 20).verdict == "refuted"
    spurious = claim(lambda x: (reals.exp(x) / reals.exp(x), 2.0), {"x": st.floats(1, 700)})
    assert examine(spurious, 20).verdict == "held"


def test_the_ascent_goes_past_equality():
    """An instance that only attains equality must not end the search for one that fails."""
    hill = claim(lambda x: (1.02 - 0.03 * (x - 5) ** 2, 1.0), {"x": st.sampled_from([5.0 + (2 / 3) ** 0.5, 3.5])})
    assert Search(hill).run(200).refutation is not None


def test_failures_within_the_allowance_are_undecidable_without_a_recheck():
    def sides(x):
        return 1 + 2.0**-48 * x, 1.0

    found = examine(claim(sides, {"x": st.floats(1, 2)}, recheck=False), 50)
    assert found.verdict == "held"
    assert found.undecidable == found.instances
    assert found.settled == 0
    # 35 digits see the difference
    assert examine(claim(lambda x: (1 + 2.0**-48 * x, 1.0), {"x": st.floats(1, 2)}), 50).verdict == "refuted"


def test_a_constant_that_was_rounded_to_a_float_refutes_nothing():
    given = {"x": st.floats(1, 2)}
    rounded = claim(lambda x: ((0.1 + 0.2) * x, 0.3 * x), given, relation="==")
    found = examine(rounded, 50)
    assert found.verdict == "held"
    assert found.undecidable > 0
    assert found.settled == 0


def test_an_allowance_may_be_stated():
    def sides(x):
        return 1.01, 1.0, 0.1

    assert claim(sides, {"x": st.just(1.0)}, recheck=False).compare({"x": 1.0}).verdict == "undecidable"


@pytest.mark.parametrize(
    ("comparison", "verdict", "ratio"),
    [
        (Comparison(1.0, 2.0, 0.0), "holds", 0.5),
        (Comparison(2.0, 1.0, 0.1), "violated", 2.0),
        (Comparison(1.001, 1.0, 0.002), "undecidable", 1.001),
        (Comparison(1.05, 1.0, 0.1), "undecidable", -math.inf),
        (Comparison(0.5e-9, 1e-9, 1e-6), "holds", -math.inf),
        (Comparison(0.0, 0.0, 0.0), "holds", -math.inf),
        (Comparison(1.0, 0.0, 0.1), "violated", math.inf),
        (Comparison(-1.0, 2.0, 0.0), "holds", -0.5),
        (Comparison(2.0, 1.0, 0.1, "=="), "violated", 0.5),
        (Comparison(1.0, 2.0, 0.1, "=="), "violated", 0.5),
        (Comparison(-1.0, -1.0, 0.001, "=="), "holds", 1.0),
    ],
)
def test_verdicts_and_ratios(comparison, verdict, ratio):
    assert comparison.verdict == verdict
    assert comparison.ratio == ratio


def test_surviving_mutants_and_missed_equality_are_complaints():
    loose = claim(
        lambda x, c=2: (x, c * x), {"x": st.floats(0.5, 1)}, attained=True, mutants={"still true": {"c": 1.5}}
    )
    found = examine(loose, 50)
    assert found.verdict == "held"
    assert len(found.complaints) == 2
    with pytest.raises(AssertionError, match="mutant 'still true' survived"):
        assert_holds(loose, 50)
    with pytest.raises(AssertionError, match="is refuted"):
        assert_holds(WRONG, 200)


def test_the_same_seed_visits_the_same_instances():
    def visited(seed):
        seen = []

        def sides(x):
            seen.append(x)
            return abs(x - 0.3), 1.0

        examine(claim(sides, {"x": st.floats(0, 1)}), 60, seed)
        return seen

    assert visited(5) == visited(5) != visited(6)
    assert isinstance(examine(FROBENIUS, 10), Finding)


def test_a_network_whose_weights_are_drawn_is_found_again():
    networks = st.builds(torch.nn.Linear, st.integers(1, 3), st.just(1))
    heavy = claim(lambda net: (float(net.weight.detach().abs().max()), 0.1), {"net": networks}, recheck=False)
    first, second = (found_again(heavy, 50, seed=2)["net"].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    examine(heavy, 5)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"given": {"y": st.just(1.0)}}, "the function takes"),
        ({"given": {"x": st.just(1.0)}, "mutants": {"typo": {"d": 1}}}, "mutant 'typo' changes"),
        ({"given": {"x": st.just(1.0)}, "mutants": {"none": {}}}, "changes nothing"),
    ],
)
def test_misspelt_arguments_are_found_when_written_down(options, message):
    with pytest.raises(TypeError, match=message):
        claim(lambda x, c=1: (x, c), **options)


def test_program_of_an_identity_states_its_allowance():
    half = claim(lambda x: (x, x / 2), {"x": st.just(1.0)}, relation="==")
    text = refuting(half, {"x": 1.0}, half.compare({"x": 1.0}), Budget(1, 0))
    assert "assert abs(left - right) <= " in text


def test_vectors_and_matrices_reach_their_extremes():
    """The strategies contain what sharp inequalities need: rank one, permutations, equal rows."""
    equal = claim(lambda A: (reals.norm(A, 1), reals.sqrt(A.size) * reals.norm(A, 2)), {"A": matrices()}, attained=True)
    assert examine(equal, 200).complaints == []
    longest = claim(lambda v: (reals.norm(v, 2), reals.norm(v, 1)), {"v": vectors()}, attained=True)
    assert examine(longest, 200).complaints == []
