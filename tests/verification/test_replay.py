"""Packed perturbations, and the replay that must believe nothing it has not recomputed."""

from __future__ import annotations

import copy
import functools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.errors import InputError
from bounds.inputs import Data
from bounds.network import trace
from tests.verification import networks
from verification.attack_set import AttackSet
from verification.replay import replay
from verification.verdicts import verify
from verification.witness import compact, pack, unpack

DTYPES = {"float16": 2.0**-10, "float32": 2.0**-23, "float64": 0.0}


@given(
    values=st.lists(st.floats(-70000, 70000, allow_subnormal=False), min_size=1, max_size=8),
    dtype=st.sampled_from(list(DTYPES)),
)
@settings(deadline=None)
def test_packing_rounds_towards_zero(values, dtype):
    given_values = torch.tensor(values, dtype=torch.float64)
    stored = unpack(pack(given_values, dtype))
    assert bool((stored.abs() <= given_values.abs()).all()) and bool((stored * given_values >= 0).all())
    limit = 65504.0 if dtype == "float16" else np.inf
    expected = given_values.clamp(-limit, limit)
    assert bool(((stored - expected).abs() <= DTYPES[dtype] * expected.abs() + 2.0**-24).all())


@pytest.mark.parametrize("change", [{"data": "no base64!"}, {"data": "AAAA"}, {"shape": [5]}, {"dtype": "int8"}])
def test_damaged_packing_is_refused(change):
    with pytest.raises(InputError, match="damaged"):
        unpack(pack(torch.zeros(4)) | change)


@given(norm=st.sampled_from(["l2", "linf", "l1"]), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_compact_perturbations_stay_inside_and_refute(norm, seed):
    """What refutes needs more precision from row to row: by how much of the gain may be lost."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3, 6, generator=generator, dtype=torch.float64)
    attack_set = AttackSet(norm, 0.3, (0.0, 1.0))
    delta = attack_set.project(torch.randn(3, 6, generator=generator, dtype=torch.float64), x)
    needed = delta.abs().sum(dim=1) * (1 - torch.tensor([0.1, 1e-5, 0.0], dtype=torch.float64))
    packed = compact(attack_set, x, delta, lambda rows, stored: stored.abs().sum(dim=1) >= needed[rows])
    assert [one["dtype"] for one in packed[:2]] == ["float16", "float32"]
    stored = torch.stack([unpack(one) for one in packed])
    assert bool(attack_set.contains(stored, x).all()) and bool((stored.abs().sum(dim=1) >= needed).all())


MODEL = networks.mlp(5)
with torch.no_grad():
    for parameter in MODEL.parameters():
        parameter.mul_(2.0)


def data(seed=5):
    return Data("toy", networks.inputs(40, (4,), seed), torch.arange(40) % 3, 3, (0.0, 1.0))


@functools.cache
def record():
    network = trace(MODEL, torch.zeros(2, 4))
    settings = {"network": network, "samples": 20, "steps": 5, "effort": "quick", "batch": 8}
    return verify(MODEL, data(), ["l2", "linf"], [0.05, 0.4], **settings).record


def result(changed):
    return next(r for r in changed["results"] if r["witnesses"])


def first(changed):
    """Position of a witness and the surrogates that it refutes."""
    found = result(changed)
    i = next(iter(found["witnesses"]))
    return i, [name for name, letters in found["values"]["verdicts"].items() if letters[int(i)] == "r"]


def test_an_honest_record_is_confirmed_throughout():
    calls = []
    found = replay(record(), MODEL, data(), progress=lambda done, total: calls.append((done, total)))
    claims = [text.count("r") for r in record()["results"] for text in r["values"]["verdicts"].values()]
    assert found.failures == () and found.confirmed == found.claimed
    assert sum(found.claimed.values()) == sum(claims) > 10
    assert calls[-1] == (calls[-1][1],) * 2 and calls[-1][1] == sum(len(r["witnesses"]) for r in record()["results"])


def scaled(factor):
    def change(found):
        i, _ = first(found)
        witness = result(found)["witnesses"]
        witness[i] = pack(factor * unpack(witness[i]))

    return change


def without_witness(found):
    del result(found)["witnesses"][first(found)[0]]


def of_another_shape(found):
    result(found)["witnesses"][first(found)[0]] = pack(torch.zeros(3))


def not_unpackable(found):
    result(found)["witnesses"][first(found)[0]]["data"] = "?"


def with_more_claims(found):
    i = int(first(found)[0])
    letters = result(found)["values"]["verdicts"]
    letters["frobenius"] = letters["frobenius"][:i] + "r" + letters["frobenius"][i + 1 :]


def with_an_invented_surrogate(found):
    verdicts = result(found)["values"]["verdicts"]
    verdicts["nuclear"] = verdicts["gradient"]


def with_a_smaller_radius(found):
    result(found)["eps"] /= 2


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (scaled(0.0), "loss .*, surrogate "),
        (scaled(1.01), "leaves the attack set"),
        (without_witness, "no perturbation"),
        (of_another_shape, r"has shape \(3,\)"),
        (not_unpackable, "damaged"),
        (with_more_claims, "frobenius: loss .*, surrogate "),
        (with_an_invented_surrogate, "nuclear: no such surrogate"),
        (with_a_smaller_radius, "leaves the attack set"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_tampering_is_found(tamper, message):
    changed = copy.deepcopy(record())
    tamper(changed)
    found = replay(changed, MODEL, data())
    assert found.failures and sum(found.confirmed.values()) + len(found.failures) == sum(found.claimed.values())
    assert any(re.search(f"sample {first(record())[0]}, l2, eps = .*{message}", f) for f in found.failures)


def test_another_network_does_not_confirm():
    assert replay(record(), networks.mlp(6), data()).failures


def test_other_data_are_refused():
    with pytest.raises(InputError, match="toy: not the data that the record was made with"):
        replay(record(), MODEL, data(6))
    with pytest.raises(InputError, match="toy: 3 samples, too few"):
        replay(record(), MODEL, Data("toy", data().x[:3], data().y[:3], 3))


def test_a_record_with_missing_parts_is_refused():
    changed = copy.deepcopy(record())
    del changed["results"][0]["values"]
    with pytest.raises(InputError, match="the record is damaged"):
        replay(changed, MODEL, data())
