"""The ablation's conclusions on made-up measurements, where every verdict is known, both ways."""

from __future__ import annotations

import math
from typing import Any

import pytest

from verification.claims.ablation import EXPERIMENT
from verification.claims.ablation.nets import BRACKET, JACOBIAN_METHODS, L2, LINF, METHODS, SIZES
from verification.claims.experiment import Net, Result, Results
from verification.training.networks import FACTORIES


def gaps(train: float, held_out: float) -> dict[str, Any]:
    return {"train": {"loss": train, "error": train}, "held_out": {"loss": held_out, "error": held_out}}


def attacks(radii: list[float], train: float, held_out: float) -> dict[str, Any]:
    sides = {"train": {"accuracy": train, "loss": 1.0}, "held_out": {"accuracy": held_out, "loss": 1.0}}
    return {"results": [{"eps": eps, **sides} for eps in radii]}


def made_up(net: Net, robust: dict[str, float], robust_gap: dict[int, float], growth: float) -> Result:
    """Accuracy under attack per method, robust gap per data size, and log10 of every bound per layer."""
    noise = 0.001 * net.training.seed
    labels, measured = net.labels, {"generalization": gaps(0.01, 0.03)}
    if labels["series"] == "methods":
        held_out = robust.get(labels["method"], 0.5) + noise
        measured["attacked l2"] = attacks([L2], held_out + 0.1, held_out)
        measured["attacked linf"] = attacks([LINF], held_out + 0.1, held_out)
        measured |= {
            f"verdicts {norm}": {"results": [{"certified_accuracy": 0.3, "attacked_accuracy": 0.4}]} for norm in BRACKET
        }
        measured["jacobian"] = {"spectral": 1.0, "frobenius": 2.0, "entrywise_l1": 3.0}
        measured["hessian"] = {"operator": 4.0}
    elif labels["series"] == "data size":
        gap = robust_gap[labels["samples"]]
        measured["attacked l2"] = attacks([0.0], 0.97, 0.95)
        measured["attacked l2"]["results"] += attacks([L2], 0.5 + gap + noise, 0.5)["results"]
    else:
        depth = labels["size"]
        measured["attacked l2"] = attacks([0.1], 0.9, 0.8)
        measured["generalization"] = gaps(0.0, 0.02 * 1.1 ** (depth + noise))
        names = ("bartlett2017_spectral published", "golowich2018_frobenius", "neyshabur2015_frobenius")
        measured["bounds"] = {"rows": {name: {"fixed_class": 3 + growth * depth} for name in names}}
    summary = {"failed": None, "seconds_per_epoch": 1.0, "peak_memory": 300.0}
    return Result(net, summary, measured)


def verdicts(robust: dict[str, float], robust_gap: dict[int, float], growth: float) -> dict[str, str]:
    results = Results([made_up(net, robust, robust_gap, growth) for net in EXPERIMENT.nets("quick")])
    return {claim.key: claim.verdict for claim in EXPERIMENT.conclude(results, "quick").claims}


SIZES_OF_DATA = list(SIZES["quick"].data_sizes)


def test_everything_comes_out_supported() -> None:
    robust = dict.fromkeys(JACOBIAN_METHODS, 0.7) | {"weight decay": 0.6, "adversarial ℓ2": 0.9}
    found = verdicts(robust, dict(zip(SIZES_OF_DATA, (0.3, 0.2, 0.1), strict=True)), growth=0.5)
    assert len(found) == 10 and set(found.values()) == {"supported"}


def test_everything_comes_out_contradicted() -> None:
    robust = dict.fromkeys(JACOBIAN_METHODS, 0.4) | {"weight decay": 0.6, "adversarial ℓ2": 0.1}
    found = verdicts(robust, dict(zip(SIZES_OF_DATA, (0.0, 0.005, 0.01), strict=True)), growth=0.01)
    assert len(found) == 10 and set(found.values()) == {"contradicted"}


def test_one_weak_jacobian_regulariser_is_enough_against_all() -> None:
    robust = dict.fromkeys(JACOBIAN_METHODS, 0.7) | {JACOBIAN_METHODS[2]: 0.3}
    found = verdicts(robust, dict.fromkeys(SIZES_OF_DATA, 0.1), growth=0.1)
    assert found["jacobian-over-plain"] == "contradicted"


def test_a_method_that_failed_leaves_a_sentence_and_an_empty_row() -> None:
    nets = EXPERIMENT.nets("quick")
    results = [made_up(net, {}, dict.fromkeys(SIZES_OF_DATA, 0.1), 0.1) for net in nets]
    broken = [
        Result(r.net, {"failed": "diverged"}, {}) if r.net.labels.get("method") == "weight decay" else r
        for r in results
    ]
    conclusions = EXPERIMENT.conclude(Results(broken), "quick")
    assert any("jacobian-over-weight-decay" in sentence for sentence in conclusions.not_reproduced)
    rows = {row[0]: row for row in conclusions.tables[0].rows}
    assert set(rows) == set(METHODS) and rows["weight decay"][2:] == (None,) * (len(rows["weight decay"]) - 2)


def test_the_table_shows_what_was_measured() -> None:
    results = Results(
        [made_up(net, {"CURE": 0.8}, dict.fromkeys(SIZES_OF_DATA, 0.1), 0.1) for net in EXPERIMENT.nets("quick")]
    )
    robustness, cost = EXPERIMENT.conclude(results, "quick").tables
    row = next(row for row in robustness.rows if row[0] == "CURE")
    assert row[robustness.columns.index("attacked, ℓ2 1 (%)")] == pytest.approx((80.1, 80.2, 80.3))
    assert row[robustness.columns.index("clean accuracy (%)")] == pytest.approx((97.0,) * 3)
    row = next(row for row in cost.rows if row[0] == "CURE")
    assert row[cost.columns.index("‖∇²ℓ‖_2")] == (4.0,) * 3


@pytest.mark.parametrize("preset", SIZES)
def test_conditions_are_identical(preset: str) -> None:
    nets = [net for net in EXPERIMENT.nets(preset) if net.labels["series"] == "methods"]
    assert {net.labels["method"] for net in nets} == set(METHODS)
    shared = {
        (t.data, t.net, str(t.net_arguments), t.epochs, t.batch_size, t.learning_rate, t.samples)
        for t in (net.training for net in nets)
    }
    assert len(shared) == 1
    assert all(net.training.net in FACTORIES for net in EXPERIMENT.nets(preset))


def test_the_bounds_figure_has_every_size() -> None:
    results = Results([made_up(net, {}, dict.fromkeys(SIZES_OF_DATA, 0.1), 0.1) for net in EXPERIMENT.nets("quick")])
    charts = {chart.name: chart for chart in EXPERIMENT.conclude(results, "quick").charts}
    line = next(line for line in charts["bounds-depth"].panels[0].lines if line.label == "Neyshabur 2015")
    depths = [point["x"] for point in line.record()["points"]]
    assert depths == [float(depth) for depth in SIZES["quick"].depths]
    assert not math.isnan(line.record()["points"][0]["values"][0])
