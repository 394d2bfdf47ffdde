"""`evaluate` from module and data to rows: what is measured, what is said, what is refused."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bounds import evaluate, records
from bounds.errors import InputError
from bounds.evaluation import Evaluation
from bounds.inputs import Data
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
