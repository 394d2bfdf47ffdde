"""Effects, intervals and verdicts, against Student's table and by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounds.errors import InputError
from verification.claims.claim import Claim, Effect, interval

# two-sided 95 % quantiles of Student's distribution, from a printed table
TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262}


def claim(values: tuple[float, ...], **options: object) -> Claim:
    return Claim("key", "It is so.", "own", "size", Effect(values), conditions="toy", **options)


@pytest.mark.parametrize("freedom", TABLE)
def test_the_interval_is_the_one_of_the_printed_table(freedom: int) -> None:
    values = [float(k * k) for k in range(freedom + 1)]
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / freedom)
    half = TABLE[freedom] * deviation / math.sqrt(freedom + 1)
    assert interval(values) == pytest.approx((mean - half, mean + half), abs=1e-3 * half)


def test_an_effect_needs_two_finite_values() -> None:
    with pytest.raises(InputError, match="two seeds"):
        Effect((1.0,))
    with pytest.raises(InputError, match="finite"):
        Effect((1.0, math.nan))


@pytest.mark.parametrize(
    ("values", "direction", "threshold", "verdict"),
    [
        ((1.0, 1.1, 0.9), "above", 0.0, "supported"),
        ((1.0, 1.1, 0.9), "below", 0.0, "contradicted"),
        ((1.0, 1.1, 0.9), "above", 2.0, "contradicted"),
        ((1.0, 1.1, 0.9), "below", 2.0, "supported"),
        ((1.0, -1.0, 0.5), "above", 0.0, "inconclusive"),
        ((1.0, -1.0, 0.5), "below", 0.0, "inconclusive"),
        ((0.0, 0.0, 0.0), "below", 0.0, "inconclusive"),
        ((0.0, 0.0, 0.0), "below", 0.01, "supported"),
        ((0.1, -0.1, 0.0), "within", 0.5, "supported"),
        ((0.9, 1.0, 1.1), "within", 0.5, "contradicted"),
        ((-0.9, -1.0, -1.1), "within", 0.5, "contradicted"),
        ((0.4, 0.5, 0.6), "within", 0.5, "inconclusive"),
        ((5.0, -5.0, 0.0), "within", 0.5, "inconclusive"),
    ],
)
def test_the_verdict(values: tuple[float, ...], direction: str, threshold: float, verdict: str) -> None:
    assert claim(values, direction=direction, threshold=threshold).verdict == verdict


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=6), st.floats(-1e3, 1e3))
def test_a_claim_and_its_opposite_are_never_both_supported(values: list[float], threshold: float) -> None:
    effect = tuple(values)
    above, below = (claim(effect, direction=way, threshold=threshold).verdict for way in ("above", "below"))
    opposite = {"supported": "contradicted", "contradicted": "supported", "inconclusive": "inconclusive"}
    assert below == opposite[above]
    mirrored = claim(tuple(-v for v in effect), direction="below", threshold=-threshold).verdict
    assert mirrored == above


def test_the_record_is_plain() -> None:
    record = claim((1.0, 2.0, 3.0), remark="so").record()
    assert record["values"] == [1.0, 2.0, 3.0] and record["mean"] == 2.0 and record["remark"] == "so"
    assert record["interval"][0] < 0 < record["interval"][1] and record["verdict"] == "inconclusive"
