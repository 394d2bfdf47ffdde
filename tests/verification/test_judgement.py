"""The rule of three verdicts on made-up numbers, and the exactly known verdicts of networks solved by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bounds.inputs import Data
from bounds.network import Segment, TracedNetwork
from bounds.network.nodes import Input, Node
from bounds.network.operators import Linear, Shift
from verification.attack_set import AttackSet
from verification.attacks import Attack
from verification.judgement import Certificates, Clean, SoundnessError, judge
from verification.surrogates import SURROGATES, Slopes
from verification.verdicts import verify

DUAL = {"l2": 2, "linf": 1, "l1": np.inf}


def column(values):
    return torch.tensor(values, dtype=torch.float64)


def synthetic(losses, margins, failed=None, eps=0.5):
    delta = torch.zeros(len(losses), 1, dtype=torch.float64)
    failed = torch.zeros(len(losses), dtype=torch.bool) if failed is None else torch.tensor(failed)
    zero = torch.zeros(len(losses), dtype=torch.float64)
    return Attack(AttackSet("l2", eps), delta, zero, zero, column(losses), column(margins), failed)


def clean(loss, slopes, error=0.0):
    zero = torch.zeros(len(loss), dtype=torch.float64)
    return Clean(Slopes(column(loss), {k: column(v) for k, v in slopes.items()}), zero + error, zero)


def certifying(upper, margin=None, piece=None):
    def certify(goals, rows):
        lowest = column([-math.inf] * len(upper)) if margin is None else column(margin)
        same = torch.zeros(len(upper), dtype=torch.bool) if piece is None else torch.tensor(piece)
        return Certificates(column(upper)[rows], lowest[rows], ("interval",) * len(rows), same[rows])

    return certify


numbers = st.floats(0, 10)


@given(
    cases=st.lists(st.tuples(numbers, numbers, numbers, numbers, st.booleans()), min_size=1, max_size=6),
    error=st.sampled_from([0.0, 1e-9, 0.5]),
)
@settings(deadline=None, max_examples=100)
def test_letters_follow_the_definition(cases, error):
    """A = loss + rise <= U = A + gap against S = loss + eps·slope, for a claimed and an unclaimed surrogate."""
    attacked = [loss + rise for loss, rise, *_ in cases]
    upper = [a + gap for a, (_, _, gap, *_) in zip(attacked, cases, strict=True)]
    slope = [case[3] for case in cases]
    failed = [case[4] for case in cases]
    attack_error = torch.full((len(cases),), error, dtype=torch.float64)
    verdicts = judge(
        synthetic(attacked, [0.0] * len(cases), failed),
        attack_error,
        clean([case[0] for case in cases], {"spectral": slope, "gradient": slope}, error),
        certifying(upper),
    )
    for name in ("spectral", "gradient"):
        for i, letter in enumerate(verdicts.letters(name)):
            s = cases[i][0] + 0.5 * slope[i]
            if failed[i]:
                assert letter == "f"
            elif attacked[i] > s + 2 * error + 1e-12:
                assert letter == "r"
            elif upper[i] <= s - error - 1e-12:
                assert letter == "p"
            elif upper[i] > s - error + 1e-12 and attacked[i] < s + 2 * error - 1e-12:
                assert letter == "u"
        flags = [verdicts.failed, verdicts.refuted[name], verdicts.proved[name]]
        assert int(torch.stack(flags).sum(dim=0).max()) <= 1


def test_one_linear_piece_proves_the_claimed_rows_to_the_last_digit():
    verdicts = judge(
        synthetic([1.5], [0.0]),
        column([1e-9]),
        clean([1.0], {"margin-jacobian": [1.0], "gradient": [1.0]}, error=1e-9),
        certifying([math.inf], piece=[True]),
    )
    assert (verdicts.letters("margin-jacobian"), verdicts.letters("gradient")) == ("p", "u")


@pytest.mark.parametrize(
    ("certify", "attack"),
    [
        (certifying([1.999]), synthetic([2.0], [0.0])),
        (certifying([2.0], margin=[0.001]), synthetic([2.0], [0.0])),
        (certifying([math.inf], piece=[True]), synthetic([2.0], [0.0])),  # S = 1.5 refuted in one piece
    ],
    ids=["loss", "margin", "piece"],
)
def test_contradictions_are_noticed_and_named(certify, attack):
    surrogate = clean([1.0], {"spectral": [1.0]})
    with pytest.raises(SoundnessError, match=r"sample 7, .*loss 2 and margin 0"):
        judge(attack, column([1e-6]), surrogate, certify, where=lambda i: f"sample {i + 7}")


def test_certificates_are_asked_for_open_claims_only():
    asked = []

    def certify(goals, rows):
        asked.append((goals, rows))
        return Certificates.none(len(rows))

    surrogate = clean([1.0, 1.0, 1.0], {"gradient": [0, 0, 0], "spectral": [4, 0, 4], "frobenius": [6, 6, 6]}, 0.25)
    judge(synthetic([2.0, 2.0, 2.0], [0.0] * 3, [False, False, True]), column([0.0] * 3), surrogate, certify)
    ((goals, rows),) = asked
    assert rows.tolist() == [0, 1]
    np.testing.assert_allclose(goals, [[2.75, 3.75], [np.inf, 3.75], [np.inf, np.inf]])


def linear(weight, bias):
    """A linear network as if it had been traced."""
    d, outputs = weight.shape[1], len(weight)
    operations = (Linear((d,), torch.from_numpy(weight)), Shift((outputs,), torch.from_numpy(bias)))
    nodes = (Node(Input((d,)), ()), Node(Segment("fc", operations), (0,)))
    return TracedNetwork((d,), outputs, nodes)


def worst_lead(w, x, norm, eps, box):
    """Max of w·delta over the attack set, one coordinate at a time (l2: plain ball only)."""
    if norm == "l2" or not box:
        return eps * np.linalg.norm(w, DUAL[norm])
    room = np.where(w > 0, 1 - x, x)
    if norm == "linf":
        return float(np.abs(w) @ np.minimum(room, eps))
    gain, left = 0.0, eps
    for j in np.argsort(-np.abs(w)):
        step = min(left, room[j])
        gain, left = gain + abs(w[j]) * step, left - step
    return gain


@given(
    norm=st.sampled_from(list(DUAL)), box=st.booleans(), eps=st.sampled_from([0.03, 0.4]), seed=st.integers(0, 10**6)
)
@settings(deadline=None, max_examples=12)
def test_two_linear_classes_are_decided_exactly(norm, box, eps, seed):
    """R = log(1 + exp(-margin + max w·delta)) is known, so every row is refuted (R > S) or proved (R < S)."""
    rng = np.random.default_rng(seed)
    weight, bias, x = 3 * rng.normal(size=(2, 4)), rng.normal(size=2), rng.uniform(size=(5, 4))
    y, box = np.arange(5) % 2, box and norm != "l2"
    data = Data("linear", torch.from_numpy(x), torch.from_numpy(y), 2, (0.0, 1.0) if box else None)
    found = verify(linear(weight, bias), data, norm, eps, steps=10).result(norm, eps)
    for i in range(5):
        w = weight[1 - y[i]] - weight[y[i]]
        lead = w @ x[i] + bias[1 - y[i]] - bias[y[i]]
        loss, robust = np.logaddexp(0, lead), np.logaddexp(0, lead + worst_lead(w, x[i], norm, eps, box))
        assert robust * (1 - 1e-3) <= found["values"]["attack_loss"][i] <= robust + 1e-9
        assert robust - 1e-9 <= found["values"]["upper_loss"][i] <= robust * (1 + 1e-6) + 1e-9
        for name, letters in found["values"]["verdicts"].items():
            surrogate = found["values"]["surrogates"][name][i]
            if SURROGATES[name].upper:
                assert letters[i] == "p"
            elif robust > surrogate * (1 + 2e-3):
                assert letters[i] == "r"
        gradient = loss + eps * np.linalg.norm(w, DUAL[norm]) / (1 + np.exp(-lead))
        assert found["values"]["surrogates"]["gradient"][i] == pytest.approx(gradient, rel=1e-9)


def cliff(norm, x, edge, radii):
    """The record for z = (0, 20 max(x - edge, 0)) and the first label."""
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    values = ([[1.0]], [-edge], [[0.0], [20.0]], [0.0, 0.0])
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.data = torch.tensor(value, dtype=torch.float64)
    data = Data("cliff", torch.tensor([[x]]), torch.tensor([0]), 2, (0.0, 1.0))
    return verify(model, data, norm, radii, restarts=8).record


@pytest.mark.parametrize("norm", list(DUAL))
def test_a_cliff_refutes_every_row_beyond_the_linear_piece(norm):
    """At x = 0.5 before an edge at 0.6: J = 0, so S = log 2, and R = log(1 + exp(20 max(eps - 0.1, 0)))."""
    record = cliff(norm, 0.5, 0.6, [0.05, 0.099, 0.101, 0.4])
    for result in record["results"]:
        beyond = result["eps"] > 0.1
        robust = np.logaddexp(0, 20 * max(result["eps"] - 0.1, 0))
        assert result["attack_loss"] == pytest.approx(robust, abs=1e-6)
        assert set(result["witnesses"]) == ({"0"} if beyond else set())
        for name, letters in result["values"]["verdicts"].items():
            claimed = SURROGATES[name].upper
            assert letters == ("r" if beyond else "p" if claimed else letters)
            assert result["surrogates"][name]["claimed"] == claimed
    for name, row in SURROGATES.items():
        if norm in row.norms and row.upper:
            assert record["dominance"][norm][name] == {"proved": 0.099, "not_refuted": 0.099}


def test_at_the_very_edge_nothing_is_proved():
    """At x = edge = 0 a derivative is a matter of convention; with the box R = log(1 + exp(20 eps)) > S = log 2."""
    (result,) = cliff("linf", 0.0, 0.0, [0.1])["results"]
    assert result["attack_loss"] == pytest.approx(np.logaddexp(0, 2))
    for name, letters in result["values"]["verdicts"].items():
        assert letters != "p" and result["values"]["surrogates"][name] == pytest.approx([np.log(2)])
