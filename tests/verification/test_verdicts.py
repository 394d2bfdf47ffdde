"""Whole verifications: the record, interruption, memory, networks that cannot be certified, and bad input."""

from __future__ import annotations

import functools
import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import beta, binomtest
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bounds.errors import InputError
from bounds.inputs import Data, as_data
from bounds.network import trace
from tests.verification import networks
from verification import verdicts
from verification.attacks import attack
from verification.plan import Plan
from verification.summary import clopper_pearson
from verification.surrogates import SURROGATES, slopes
from verification.verdicts import robust_measurement, verify
from verification.witness import unpack

NORMS = ("l2", "linf", "l1")
QUICK = {"steps": 5, "restarts": 2, "effort": "quick"}


def data(n, seed, shape=(4,)):
    return Data("toy", networks.inputs(n, shape, seed), torch.arange(n) % 3, 3, (0.0, 1.0))


def steep(seed, activation="relu"):
    model = networks.mlp(seed, activation)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


@functools.cache
def traced(seed):
    return trace(steep(seed), torch.zeros(2, 4))


def run(seed=5, samples=7, norms=("l2", "linf"), radii=(0.01, 0.4), **more):
    settings = {"network": traced(seed), "batch": 3, "name": "m", **QUICK, **more}
    return verify(steep(seed), data(samples, 5), norms, radii, **settings).record


@functools.cache
def record():
    return run(samples=12, box=None)


def test_the_record_is_plain_json_with_one_result_per_attack_set():
    found = record()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [(r["norm"], r["eps"]) for r in found["results"]] == [
        ("l2", 0.01),
        ("l2", 0.4),
        ("linf", 0.01),
        ("linf", 0.4),
    ]
    assert (found["format"], found["version"], found["source"]) == ("jacobound-verification", 1, None)
    assert found["model"] == {"name": "m", "layers": ["layer 1", "layer 3", "layer 5"]}
    assert found["data"]["name"] == "toy" and found["data"]["indices"] == list(range(12))
    assert found["data"]["sha256"] == data(12, 5).digest() and found["data"]["samples"] == 12
    expected = {"box": None, "steps": 5, "restarts": 2, "effort": "quick", "seed": 0, "delta": 0.05}
    assert found["settings"] == expected and found["notes"] == []


def test_summaries_agree_with_the_samples():
    for result in record()["results"]:
        values, n = result["values"], result["samples"]
        assert n == 12 and result["failed"] == []
        for name in ("clean_loss", "attack_loss", "upper_loss"):
            assert result[name] == pytest.approx(np.mean(values[name]))
        assert all(a <= u + 1e-9 for a, u in zip(values["attack_loss"], values["upper_loss"], strict=True))
        assert result["certified_accuracy"] == np.mean(np.array(values["certified_margin"]) > 0)
        assert result["attacked_accuracy"] == np.mean(np.array(values["attacked_margin"]) > 0)
        assert result["certified_accuracy"] <= result["attacked_accuracy"] <= result["accuracy"]
        assert sum(result["routes"].values()) == n == len(values["routes"])
        uncertified = n - round(n * result["certified_accuracy"])
        bound = 1.0 if uncertified == n else beta.ppf(1 - 0.05 / 4, uncertified + 1, n - uncertified)
        assert result["robust_risk_bound"] == pytest.approx(bound, rel=1e-9)
        for name, row in result["surrogates"].items():
            assert row["claimed"] == SURROGATES[name].upper
            assert row["mean"] == pytest.approx(np.mean(values["surrogates"][name]))
            for verdict in ("refuted", "proved", "undecided"):
                count = values["verdicts"][name].count(verdict[0])
                interval = binomtest(count, n).proportion_ci(0.95, "exact")
                assert row[verdict]["count"] == count and row[verdict]["share"] == count / n
                assert row[verdict]["interval"] == pytest.approx([interval.low, interval.high], abs=1e-12)


def test_dominance_is_read_off_the_shares():
    found = record()
    for norm, rows in found["dominance"].items():
        results = [r for r in found["results"] if r["norm"] == norm]
        for name, row in rows.items():
            letters = [r["values"]["verdicts"][name] for r in results]
            proved = [r["eps"] for r, text in zip(results, letters, strict=True) if text.count("p") >= 0.99 * 12]
            clean = [r["eps"] for r, text in zip(results, letters, strict=True) if "r" not in text]
            assert row["proved"] == max(proved, default=None)
            assert row["not_refuted"] == (None if 0.01 not in clean else max(clean))


def test_every_verdict_occurs_and_witnesses_refute_by_hand():
    found, model, samples = record(), steep(5), data(12, 5)
    letters = "".join(text for r in found["results"] for text in r["values"]["verdicts"].values())
    assert set("pru") == set(letters)
    for result in found["results"]:
        order = {"l2": 2, "linf": np.inf}[result["norm"]]
        refuted = {i for text in result["values"]["verdicts"].values() for i, v in enumerate(text) if v == "r"}
        assert set(result["witnesses"]) == {str(i) for i in refuted}
        for i in refuted:
            delta = unpack(result["witnesses"][str(i)]).numpy()
            assert np.linalg.norm(delta, order) <= result["eps"]
            moved = networks.dense_logits(model, samples.x[i] + torch.from_numpy(delta))
            for name, text in result["values"]["verdicts"].items():
                if text[i] == "r":
                    assert networks.loss(moved, int(samples.y[i])) > result["values"]["surrogates"][name][i]


def test_examples_are_refutations_with_their_inputs():
    found, model, samples = record(), steep(5), data(12, 5)
    assert 1 <= len(found["examples"]) <= 8
    assert len({(e["norm"], e["surrogate"]) for e in found["examples"]}) > 1
    for example in found["examples"]:
        i = example["position"]
        result = next(r for r in found["results"] if (r["norm"], r["eps"]) == (example["norm"], example["eps"]))
        assert result["values"]["verdicts"][example["surrogate"]][i] == "r"
        assert example["attack_loss"] == result["values"]["attack_loss"][i] > example["surrogate_loss"]
        assert torch.equal(unpack(example["input"]), samples.x[i])
        moved = networks.dense_logits(model, samples.x[i] + unpack(result["witnesses"][str(i)]))
        assert (example["label"], example["predicted"]) == (int(samples.y[i]), int(moved.argmax()))


def test_samples_are_drawn_and_named_by_their_place():
    chosen = run(samples=7) | {}
    some = verify(steep(5), data(30, 5), "l2", 0.1, samples=4, seed=3, network=traced(5), **QUICK).record
    places = some["data"]["indices"]
    assert len(set(places)) == 4 and places != list(range(4))
    assert some["data"]["sha256"] != chosen["data"]["sha256"]
    losses = [networks.loss(networks.dense_logits(steep(5), data(30, 5).x[i]), i % 3) for i in places]
    assert some["results"][0]["values"]["clean_loss"] == pytest.approx(losses)


class Stop:
    """Interrupts after some units."""

    def __init__(self, after):
        self.after = after

    def __call__(self, done, total):
        assert total == 3 * 4
        if done == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("torn", [b"", b'{"key": [6, "l2", 0.0'], ids=["clean cut", "torn line"])
def test_interrupted_runs_continue_to_the_same_record(tmp_path, torn):
    journal = tmp_path / "record.json.partial"
    for after in (4, 9):
        with pytest.raises(KeyboardInterrupt):
            run(journal=journal, progress=Stop(after))
        assert len(journal.read_bytes().splitlines()) == 1 + after
        journal.write_bytes(journal.read_bytes() + torn)
    attacks = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "attack", lambda *a, **k: attacks.append(a) or attack(*a, **k))
        continued = run(journal=journal)
    assert len(attacks) == 12 - 9
    assert json.dumps(continued) == json.dumps(run())


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"radii": (0.01, 0.41)}, {"samples": 6}, {"seed_of_model": 6}, {"box": None}, {"batch": 2}]
)
def test_a_journal_of_another_run_is_refused(tmp_path, change):
    journal = tmp_path / "record.json.partial"
    with pytest.raises(KeyboardInterrupt):
        run(journal=journal, progress=Stop(1))
    kept = journal.read_bytes()
    if "seed_of_model" in change:
        change = {"seed": 0, "network": traced(6)}
        with pytest.raises(InputError, match="record.json.partial: left by a run with other settings.*delete it"):
            verify(steep(6), data(7, 5), ("l2", "linf"), (0.01, 0.4), batch=3, **QUICK, **change, journal=journal)
    else:
        with pytest.raises(InputError, match="record.json.partial: left by a run with other settings.*delete it"):
            run(journal=journal, **change)
    assert journal.read_bytes() == kept


def test_a_damaged_journal_is_refused(tmp_path):
    journal = tmp_path / "j"
    journal.write_text("not json\n")
    with pytest.raises(InputError, match="j: damaged; delete it"):
        run(journal=journal)


class Hungry:
    """A certifier that fails for more than two samples at a time."""

    def __init__(self, certifier, error):
        self.network, self.failure, self.certifier = certifier.network, certifier.failure, certifier
        self.error, self.sizes = error, []

    def certify(self, x, *rest, **more):
        self.sizes.append(len(x))
        if len(x) > 2:
            raise self.error
        return self.certifier.certify(x, *rest, **more)


@pytest.fixture
def hungry(monkeypatch):
    """Makes verifications use hungry certifiers, which are returned."""
    usual, made = Plan.certifier.func, []

    def apply(error):
        replaced = functools.cached_property(lambda plan: made.append(Hungry(usual(plan), error)) or made[-1])
        replaced.__set_name__(Plan, "certifier")
        monkeypatch.setattr(Plan, "certifier", replaced)
        return made

    return apply


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")], ids=type
)
def test_batches_are_halved_where_memory_does_not_suffice(hungry, error):
    expected = record()["results"][0]["values"]["clean_loss"][:7]  # kept for other tests, so not from a hungry one
    made = hungry(error)
    found = run(batch=5)
    assert found["notes"] == ["out of memory: batches of 5 samples halved to 2"]
    assert made[-1].sizes[:4] == [5, 2, 2, 1]
    assert [r["samples"] for r in found["results"]] == [7] * 4
    assert found["results"][0]["values"]["clean_loss"] == pytest.approx(expected)


def test_other_errors_are_not_taken_for_lack_of_memory(hungry):
    hungry(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        run()


class Root(nn.Module):
    """NaN where the first coordinate is negative, with infinite slope at 0; infinite, but flat, where the last is 1."""

    def forward(self, x):
        return torch.cat([x[:, :1].sqrt() * 3, x[:, 1:2], x[:, 2:].masked_fill(x[:, 2:] == 1, math.inf)], dim=1)


ROOTS = Data(
    "roots",
    torch.tensor([[0.5, 0.2, 0.1], [-0.5, 0.2, 0.1], [0.0, 0.3, 0.3], [0.5, 0.2, 1.0], [0.9, 0.1, 0.8]]),
    torch.tensor([1, 0, 1, 0, 0]),
    3,
)


@pytest.mark.parametrize("norm", NORMS)
def test_surrogates_are_nan_where_something_is_not_finite(norm):
    found = slopes(Root(), ROOTS.x, ROOTS.y, norm)
    for values in (found.loss, *found.slopes.values()):
        assert values.isnan().tolist() == [False, True, True, True, False] == found.failed.tolist()


def test_samples_without_finite_derivatives_fail_and_the_others_go_on():
    found = verify(Root(), ROOTS, NORMS, [0.01, 0.05], batch=2, **QUICK).record
    assert any("certificates are not available" in note for note in found["notes"])
    assert any("assumed, not derived" in note for note in found["notes"])
    for result in found["results"]:
        assert result["failed"] == [1, 2, 3]
        for name, letters in result["values"]["verdicts"].items():
            assert letters[1:4] == "fff" and "f" not in letters[0] + letters[4]
            assert result["values"]["surrogates"][name][1] is None
            assert result["surrogates"][name]["mean"] is not None
        assert result["values"]["clean_loss"][1] is None and result["upper_loss"] is None
        assert result["accuracy"] == 0.2  # by hand: (2.1, 0.2, 0.1), NaN, (0, 0.3, 0.3) tied, inf, (2.8, 0.1, 0.8)


class Sort(nn.Module):
    def forward(self, x):
        return torch.sort(x, dim=1).values


class Sorted(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.order, self.last = nn.Linear(4, 5), Sort(), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.order(self.first(x)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(torch.softmax(self.mix(x), dim=1) * x)


@pytest.mark.parametrize(("model", "layer"), [(Sorted(), "sort"), (Attention(), "softmax")])
def test_opaque_networks_are_attacked_and_never_certified(model, layer):
    found = verify(model, data(4, 1), "linf", [0.1], **QUICK).record
    (note,) = [note for note in found["notes"] if "certificates are not available" in note]
    assert layer in note.lower()
    (result,) = found["results"]
    assert result["upper_loss"] is None and result["values"]["upper_loss"] == [None] * 4
    assert result["values"]["certified_margin"] == [None] * 4 and result["routes"] == {}
    assert result["certified_accuracy"] == 0 and result["robust_risk_bound"] == 1
    assert all(a >= c for a, c in zip(result["values"]["attack_loss"], result["values"]["clean_loss"], strict=True))
    assert not any("p" in letters for letters in result["values"]["verdicts"].values())


def test_what_cannot_be_traced_is_attacked_all_the_same():
    model = networks.mlp(0).double()
    found = verify(lambda x: model(x), data(4, 1), "l2", 0.1, **QUICK).record
    assert any("not a torch module" in note for note in found["notes"])
    assert found["model"]["layers"] == [] and found["results"][0]["attack_loss"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radii": []}, "eps: no radius"),
        ({"radii": [-0.1, 0.2]}, "attack radius -0.1"),
        ({"radii": [0.1, math.inf]}, "attack radius inf"),
        ({"radii": [math.nan]}, "attack radius nan"),
        ({"radii": [0.2, 0.1, 0.2]}, "eps: the radius 0.2 is given twice"),
        ({"norms": []}, "norms: none"),
        ({"norms": ["l2", "l2"]}, "norms l2, l2: one is named twice"),
        ({"norms": ["l3"]}, "unknown norm 'l3'"),
        ({"effort": "through"}, "unknown effort 'through': did you mean 'thorough'"),
        ({"steps": 0}, "steps = 0"),
        ({"restarts": 0}, "restarts = 0"),
        ({"batch": 0}, "batch = 0"),
        ({"delta": 1.0}, "delta = 1"),
        ({"samples": 7, "box": (0.5, 1.0)}, "outside the box"),
    ],
    ids=str,
)
def test_bad_settings(change, message):
    with pytest.raises(InputError, match=message):
        run(**change)


def test_the_order_of_the_radii_does_not_matter():
    one, other = (run(samples=1, norms="l2", radii=radii) for radii in ((0.01, 0.0), (0.0, 0.01)))
    assert one == other
    assert [result["eps"] for result in one["results"]] == [0.0, 0.01]


def test_the_order_of_a_shuffling_loader_does_not_matter():
    records = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        loader = DataLoader(TensorDataset(data(9, 1).x, data(9, 1).y), batch_size=2, shuffle=True)
        records.append(verify(steep(5), as_data(loader), "l2", 0.1, samples=3, network=traced(5), **QUICK).record)
    assert records[0] == records[1]


def test_bad_data_and_models():
    x = networks.inputs(4, (4,), 0)
    with pytest.raises(InputError, match="7: 4 samples were asked for|7 samples were asked for"):
        verify(steep(5), data(4, 0), "l2", 0.1, samples=7, network=traced(5))
    with pytest.raises(InputError, match="toy: 5 classes, but the network has only 3 outputs"):
        verify(steep(5), Data("toy", x, torch.tensor([0, 1, 4, 2]), 5), "l2", 0.1)
    with pytest.raises(InputError, match="does not run on wide"):
        verify(steep(5), Data("wide", networks.inputs(4, (9,), 0), torch.zeros(4).long(), 3), "l2", 0.1)
    with pytest.raises(InputError, match="does not run on toy, inputs of shape .*: four pixels are needed"):
        verify(Asserting(), data(4, 0, (5,)), "l2", 0.1)
    with pytest.raises(InputError, match="^words: integer inputs are tokens, but real numbers are needed"):
        verify(steep(5), Data("words", torch.zeros(4, 4).long(), torch.zeros(4).long(), 3), "l2", 0.1)
    with pytest.raises(InputError, match="influence each other|rest of its batch"):
        verify(nn.Sequential(Centred(), networks.mlp(0)), data(4, 0), "l2", 0.1)
    with pytest.raises(InputError, match="nothing to attack"):
        verify(lambda z: torch.ones(len(z), 3), data(4, 0), "l2", 0.1)


class Asserting(nn.Module):
    def forward(self, x):
        assert x.shape[1] == 4, "four pixels are needed"
        return x


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


@pytest.mark.parametrize(("count", "samples"), [(0, 1), (1, 1), (0, 37), (5, 37), (37, 37), (999, 1000)])
def test_intervals_against_scipy(count, samples):
    expected = binomtest(count, samples).proportion_ci(0.9, "exact")
    assert clopper_pearson(count, samples, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_robust_measurement_brackets_the_worst_case_margin():
    model, train, test = networks.mlp(6), data(9, 6), data(5, 7)
    s_upper = [np.linalg.norm(p.detach().numpy(), 2) * 1.001 for n, p in model.named_parameters() if "weight" in n]
    network = trace(model, train.x)
    robust = robust_measurement(model, train, test, network, s_upper, "l2", 0.05, attack_samples=5)
    assert (len(robust.attacked_train), len(robust.attacked_test)) == (5, 5)
    assert (len(robust.certified_train), len(robust.certified_test)) == (9, 5)
    assert (robust.certified_test <= robust.attacked_test).all() and np.isfinite(robust.certified_test).all()
    assert np.isfinite(robust.certified_train).all()
    for missing in ((None, None), (trace(Sorted(), train.x), None)):
        uncertified = robust_measurement(model, train, test, *missing, "l2", 0.05, attack_samples=2)
        assert (uncertified.certified_test == -np.inf).all() and (uncertified.certified_train == -np.inf).all()
