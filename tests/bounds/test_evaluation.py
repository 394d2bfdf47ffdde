"""`evaluate` from module and data to rows: what is measured, what is said, what is refused."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bounds import adapt, evaluate, records
from bounds.budget import Budget
from bounds.errors import InputError
from bounds.evaluation import Evaluation
from bounds.inputs import Data
from bounds.network import SamplesInteract
from bounds.robust_margins import RobustMargins


def network(activation: type[nn.Module] = nn.ReLU, bias: bool = False) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8, bias=bias), activation(), nn.Linear(8, 3, bias=bias))


def sample(n: int, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 6, generator=generator, dtype=torch.float64)
    return Data("uniform", x, torch.arange(n) % 3, 3, (0.0, 1.0))


TRAIN, TEST = sample(40, 0), sample(20, 1)


@cache
def standard() -> Evaluation:
    return evaluate(network(), TRAIN, TEST)


@cache
def smooth() -> Evaluation:
    return evaluate(network(nn.Tanh), TRAIN, TEST, eps=0.1, norm="l2")


def test_holdout_comes_first_and_is_the_binomial_tail() -> None:
    from scipy import stats

    first = standard().rows[0]
    errors = round((1 - standard().record["accuracy"]["test"]) * 20)
    assert first["bound"] == "holdout_binomial" and first["target"] == "risk"
    assert first["fixed_class"]["guaranteed"] == pytest.approx(stats.beta.ppf(0.95, errors + 1, 20 - errors), rel=1e-9)


def test_numbers_of_a_row_against_numpy() -> None:
    """Layer peeling from the weights themselves, ramp risk and gap from the logits."""
    module = network().double()
    weights = [module[0].weight.detach().numpy(), module[2].weight.detach().numpy()]
    row = standard().row("neyshabur2015_frobenius")
    data = np.linalg.norm(TRAIN.x.numpy())
    product = np.prod([np.linalg.norm(w) for w in weights])
    complexity = 2 * 3 / 1.0 * 2 * data * product / 40
    gap = 2 * complexity + 3 * np.sqrt(np.log(2 / 0.05) / 80)
    assert row["fixed_class"]["raw_log10"] == pytest.approx(np.log10(gap), rel=1e-9)

    def ramp(data: Data) -> float:
        logits = module(data.x).detach().numpy()
        own = logits[np.arange(len(data)), data.y]
        logits[np.arange(len(data)), data.y] = -np.inf
        return float(np.clip(1 - (own - logits.max(1)), 0, 1).mean())

    assert row["gap"]["measured"] == pytest.approx(ramp(TEST) - ramp(TRAIN), abs=1e-12)
    assert row["fixed_class"]["empirical"] == pytest.approx(ramp(TRAIN), abs=1e-12)


def test_pac_bayes_counts_small_margins() -> None:
    """Hard margin risk on the training set, plain errors on the test set: not the ramp (theory L1.4)."""
    module = network().double()

    def margins(data: Data) -> np.ndarray:
        logits = module(data.x).detach().numpy()
        own = logits[np.arange(len(data)), data.y]
        logits[np.arange(len(data)), data.y] = -np.inf
        return own - logits.max(1)

    row = evaluate(network(), TRAIN, TEST, margin=0.2, keys=["neyshabur2018_pacbayes"]).row("neyshabur2018_pacbayes")
    small, wrong = float((margins(TRAIN) <= 0.2).mean()), float((margins(TEST) <= 0).mean())
    assert float((margins(TRAIN) <= 0).mean()) < small < 1
    assert row["fixed_class"]["empirical"] == pytest.approx(small, abs=1e-12)
    assert row["gap"]["measured"] == pytest.approx(wrong - small, abs=1e-12)


def test_every_way_to_give_data_gives_the_same_numbers() -> None:
    loader = DataLoader(TensorDataset(TRAIN.x, TRAIN.y), batch_size=7)
    for train in ((TRAIN.x, TRAIN.y), TensorDataset(TRAIN.x, TRAIN.y), loader):
        table = evaluate(network(), train, (TEST.x, TEST.y), keys=["golowich2018_frobenius"])
        ours = standard().row("golowich2018_frobenius")
        assert table.row("golowich2018_frobenius")["fixed_class"] == ours["fixed_class"]


def test_same_seed_same_record() -> None:
    assert evaluate(network(), TRAIN, TEST).record == standard().record


def test_the_model_is_left_alone() -> None:
    module = network().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    evaluate(module, TRAIN, TEST, keys=["golowich2018_frobenius"])
    assert module.training and module[0].weight.dtype == torch.float32
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_reference_at_the_initialisation() -> None:
    """Trained = initial: every distance is 0, and only the confidence term and 4/n remain."""
    module = network()
    row = evaluate(module, TRAIN, TEST, init=module, keys=["bartlett2017_spectral"]).row(
        "bartlett2017_spectral", "audited"
    )
    expected = 2 * 4 / 40 + 3 * np.sqrt(np.log(2 / 0.05) / 80)
    assert row["fixed_class"]["raw_log10"] == pytest.approx(np.log10(expected), abs=1e-6)
    assert (
        row["fixed_class"]["raw_log10"] < standard().row("bartlett2017_spectral", "audited")["fixed_class"]["raw_log10"]
    )


def test_surrogate_rows_for_a_smooth_network() -> None:
    rows = [row for row in smooth().rows if row["bound"] == "jacobian_surrogate"]
    assert {row["variant"].split(",")[0] for row in rows} == {"margin", "spectral", "frobenius"}
    for row in rows:
        assert row["robust_loss_gap_log10"] >= row["fixed_class"]["raw_log10"]
        assert row["gap"]["measured"] is not None


def test_surrogate_is_the_loss_plus_the_jacobian() -> None:
    module = network(nn.Tanh).double()
    row = smooth().row("jacobian_surrogate", "frobenius, norm-based")

    def mean(data: Data) -> float:
        losses = []
        for x, y in zip(data.x, data.y, strict=True):
            jacobian = torch.autograd.functional.jacobian(module, x)
            loss = nn.functional.cross_entropy(module(x)[None], y[None])
            losses.append(float((loss + 0.1 * 2**0.5 * jacobian.norm()).detach()))
        return float(np.mean(losses))

    assert row["gap"]["measured"] == pytest.approx(mean(TEST) - mean(TRAIN), rel=1e-9)
    assert row["fixed_class"]["empirical"] == pytest.approx(mean(TRAIN), rel=1e-9)


def test_not_applicable_says_why_and_what_would_help() -> None:
    row = next(row for row in standard().rows if row["bound"] == "jacobian_surrogate")
    assert row["status"] == "not applicable" and row["fixed_class"] is None
    assert any("no attack set" in reason["because"] for reason in row["reasons"])
    relu = next(row for row in evaluate(network(), TRAIN, TEST, eps=0.1).rows if row["bound"] == "jacobian_surrogate")
    assert any("relu after" in reason["because"] and "softplus" in reason["remedy"] for reason in relu["reasons"])


def robust(certified: float) -> RobustMargins:
    train, test = np.full(40, certified), np.full(20, certified)
    return RobustMargins("l2", 0.1, (0.0, 1.0), train + 0.1, test, train, test)


def test_robust_rows_use_certificates_and_say_when_there_are_none() -> None:
    without = evaluate(network(), TRAIN, TEST, eps=0.1)
    row = next(row for row in without.rows if row["bound"] == "xiao2023_robust_pacbayes")
    assert any("no certified margins" in reason["because"] for reason in row["reasons"])
    assert not any(row["bound"] == "holdout_binomial" and row["target"] == "robust risk" for row in without.rows)
    table = evaluate(network(), TRAIN, TEST, eps=0.1, robust=robust(0.4))
    row = table.row("parametric_cover", "adversarial")
    assert row["fixed_class"]["empirical"] == pytest.approx(0.6)  # ramp of certified margins 0.4 at margin 1
    assert row["gap"]["measured"] == pytest.approx(0.1)  # attacked: 0.4 on test, 0.5 on training samples
    assert table.row("holdout_binomial", "robust")["fixed_class"]["guaranteed"] == pytest.approx(1 - 0.05 ** (1 / 20))
    uncertified = evaluate(network(), TRAIN, TEST, eps=0.1, robust=lambda *measured: robust(-1.0))
    assert uncertified.row("holdout_binomial", "robust")["fixed_class"]["vacuous"]


def test_a_non_vacuous_bound_says_so() -> None:
    """Tiny weights on many samples: the certificate is worth something, and the sentence says it."""
    module = nn.Linear(6, 3, bias=False)
    with torch.no_grad():
        module.weight.zero_()
        module.weight[0] = 1e-3
    n = 4000
    data = Data(
        "constant", torch.full((n, 6), 0.5, dtype=torch.float64), torch.zeros(n, dtype=torch.int64), 3, (0.0, 1.0)
    )
    row = evaluate(module, data, data, margin=2e-3, keys=["golowich2018_frobenius"]).row("golowich2018_frobenius")
    assert not row["fixed_class"]["vacuous"] and row["sentence"].startswith("not vacuous")


def test_records_are_json_without_nan_and_round_trip(tmp_path) -> None:
    text = records.dumps(smooth().record)
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == smooth().record
    records.write(smooth().record, tmp_path / "evaluation.json")
    assert records.read(tmp_path / "evaluation.json") == smooth().record
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_a_failed_write_leaves_nothing(tmp_path) -> None:
    with pytest.raises(ValueError):
        records.write({"value": float("nan")}, tmp_path / "record.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "not a JSON record"),
        ("[]", "not a jacobound record"),
        ('{"format": "jacobound-evaluation", "version": 99}', "newer"),
    ],
)
def test_bad_records(tmp_path, content: str, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        records.read(path)
    with pytest.raises(InputError, match="no such file"):
        records.read(tmp_path / "missing.json")


def test_notebook_table_escapes_and_lists_every_row() -> None:
    html = smooth()._repr_html_()
    assert html.count("<tr>") == len(smooth().rows) + 1 and "<script" not in html


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"eps": -0.1}, "eps = -0.1: must be a number >= 0"),
        ({"eps": float("nan")}, "eps = nan"),
        ({"delta": 0}, "delta = 0"),
        ({"margin": -1}, "margin = -1"),
        ({"norm": "l3"}, "unknown norm 'l3'"),
        ({"keys": ["bartlett"]}, "did you mean 'bartlett2017_spectral'"),
    ],
)
def test_bad_settings(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(network(), TRAIN, TEST, **arguments)


def test_bad_networks_and_data() -> None:
    broken = network()
    with torch.no_grad():
        broken[0].weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="'0.weight' holds values that are not finite"):
        evaluate(broken, TRAIN, TEST)
    with pytest.raises(InputError):
        evaluate(nn.Linear(5, 3), TRAIN, TEST)
    with pytest.raises(InputError, match="other shapes"):
        evaluate(network(), TRAIN, TEST, init=nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)))


def test_one_sample_is_too_few() -> None:
    one = Data("one", TRAIN.x[:1], TRAIN.y[:1], 3, (0.0, 1.0))
    for train, test in ((one, TEST), (TRAIN, one)):
        with pytest.raises(InputError, match="one: 1 sample; the bounds need at least 2"):
            evaluate(network(), train, test)


def refused(*arguments: object, **named: object) -> None:
    pytest.fail("measured what no bound needs")


def test_a_holdout_bound_takes_forward_passes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    full = standard().row("holdout_binomial", "standard")
    for measure in ("evaluation.operator_norm", "evaluation.layer_norms", "empirical.jacobian_norms"):
        monkeypatch.setattr(f"bounds.{measure}", refused)
    table = evaluate(network(), TRAIN, TEST, eps=0.1, robust=robust(0.4), keys=["holdout_binomial"])
    assert table.row("holdout_binomial", "standard") == full
    assert table.record["layers"] == [] and table.record["jacobians"] == {"samples": 0}
    assert "norms of layers" in table.record["notes"][0]


def test_margins_under_attack_are_measured_only_for_rows_about_them() -> None:
    evaluate(network(), TRAIN, TEST, eps=0.1, robust=refused, keys=["golowich2018_frobenius"])


@pytest.mark.parametrize("key", ["golowich2018_frobenius", "bartlett2017_spectral", "golowich2018_l1inf"])
def test_norms_that_no_bound_needs_are_not_measured(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Where listing the layers would take long; the numbers of the rows are the same."""
    full = [row for row in standard().rows if row["bound"] == key]
    monkeypatch.setattr("bounds.plans.SHOWN", 0.0)
    if key != "bartlett2017_spectral":
        monkeypatch.setattr("bounds.evaluation.operator_norm", refused)
    table = evaluate(network(), TRAIN, TEST, keys=[key])
    assert table.rows == full
    listed = key == "bartlett2017_spectral"  # which needs all of them
    assert bool(table.record["layers"]) == listed and bool(table.record["notes"]) == (not listed)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x + self.first(x).relu())


def test_layers_that_no_bound_applies_to_are_listed_where_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(evaluate(Residual(), TRAIN, TEST).record["layers"]) == 2
    monkeypatch.setattr("bounds.plans.SHOWN", 0.0)
    for measure in ("evaluation.operator_norm", "evaluation.layer_norms", "empirical.jacobian_norms"):
        monkeypatch.setattr(f"bounds.{measure}", refused)
    record = evaluate(Residual(), TRAIN, TEST).record
    assert record["layers"] == [] and record["jacobians"] == {"samples": 0}
    assert "no bound that applies needs norms of layers" in record["notes"][0]


def test_jacobians_on_as_many_samples_as_time_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """tanh, 6 -> 8 -> 3: 4 x 72 products and 3 x 3 x 12 for the Gram matrix; 20 samples of both sets fit."""
    monkeypatch.setattr("bounds.plans.LIMIT", 20 * (4 * 72 + 3 * 3 * 12) / 5e9)
    table = evaluate(network(nn.Tanh), TRAIN, TEST, eps=0.1)
    row = table.row("jacobian_surrogate", "frobenius, norm-based")
    assert table.record["jacobians"]["samples"] == 10
    assert row["gap"]["what"].endswith("on 10 test and 10 training samples") and "on a part" in row["sentence"]
    (note,) = table.record["notes"]
    assert note.startswith("Jacobians are measured on 10 of 40 training samples and 10 of 20 held-out samples: more")
    asked = evaluate(network(nn.Tanh), TRAIN, TEST, eps=0.1, jacobian_samples=15)
    assert asked.record["jacobians"]["samples"] == 15 and asked.record["notes"] == []


class Checking(nn.Module):
    """Its control flow depends on the values: no exporter can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-1, 1, 18).reshape(3, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.isnan().any():
            raise ValueError("NaN")
        return self.linear(x)


def test_a_network_that_cannot_be_traced_gets_its_holdout_bounds(tmp_path) -> None:
    module = Checking()
    table = evaluate(module, TRAIN, TEST, eps=0.1, robust=refused)
    traced = evaluate(module.linear, TRAIN, TEST, eps=0.1)
    for key, variant in (("holdout_binomial", "standard"), ("holdout_bernstein", "ramp loss")):
        assert table.row(key, variant) == traced.row(key, variant)
    assert table.record["accuracy"] == pytest.approx(traced.record["accuracy"])
    others = [row for row in table.rows if not row["bound"].startswith("holdout")]
    assert {row["bound"] for row in others} == {row["bound"] for row in traced.rows[2:]}
    for row in others:
        assert row["status"] == "not applicable" and len(row["reasons"]) == 1
        assert "Checking.forward" in row["reasons"][0]["because"] and "x.shape[0]" in row["reasons"][0]["remedy"]
    records.write(table.record, tmp_path / "record.json")


def test_untraced_networks_that_are_no_function_of_one_input_are_refused() -> None:
    class Mixing(Checking):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x - x.mean(0) if len(x) > 1 else x)

    class Random(Checking):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x + torch.rand(x.shape))

    with pytest.raises(SamplesInteract, match="model, on uniform: the output for a sample changes"):
        evaluate(Mixing(), TRAIN, TEST)
    with pytest.raises(InputError, match="random in eval mode"):
        evaluate(Random(), TRAIN, TEST)


def test_samples_of_the_training_set_are_not_held_out() -> None:
    both = Data("both", torch.cat([TEST.x[:15], TRAIN.x[:5]]), torch.cat([TEST.y[:15], TRAIN.y[:5]]), 3, (0.0, 1.0))
    some, every = (evaluate(network(), TRAIN, test, keys=["holdout_binomial"]) for test in (both, TRAIN))
    assert some.record["data"]["shared"] == 5 and every.record["data"]["shared"] == 40
    assert some.record["notes"][0].startswith("5 of 20 held-out samples occur in the training set")
    assert some.rows[0]["status"] == "value" and every.rows[0]["status"] == "not applicable"
    assert every.rows[0]["reasons"][0]["because"] == "all 40 held-out samples occur in the training set"
    assert standard().record["data"]["shared"] == 0 and standard().record["notes"] == []


def test_what_does_not_fit_into_memory_is_refused_with_the_number() -> None:
    with pytest.raises(InputError, match=r"takes .* B, the budget is 100 B: raise it with --memory"):
        evaluate(network(), TRAIN, TEST, memory=Budget(100))


class Tokens(nn.Module):
    """A text classifier."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embed, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.embed(tokens)).mean(1))


def test_tokens_have_hold_out_rows_and_so_has_the_space_of_a_learned_embedding() -> None:
    generator = torch.Generator().manual_seed(0)
    train, test = ((torch.randint(0, 9, (20, 5), generator=generator), torch.arange(20) % 3) for _ in range(2))
    plain = evaluate(Tokens(), train, test)
    behind = evaluate(adapt(Tokens(), input_module="embed"), train, test, eps=0.1)
    for table, because in ((plain, "its inputs are integers"), (behind, "what 'embed' returns was learned")):
        applied = {row["bound"] for row in table.rows if row["status"] == "value"}
        assert applied == {"holdout_binomial", "holdout_bernstein"}
        assert because in table.row("golowich2018_frobenius")["sentence"]
    assert plain.record["accuracy"] == behind.record["accuracy"]
    assert behind.record["data"]["input_shape"] == [5, 4]
