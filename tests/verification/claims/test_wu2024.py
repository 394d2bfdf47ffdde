"""What the experiments on Wu & Li 2024 conclude from made-up measurements, for which the verdict is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pytest
import torch

from bounds.inputs import Data
from verification.claims.experiment import Conclusions, Net, Result, Results
from verification.claims.measurements import MEASUREMENTS
from verification.claims.wu2024 import EXPERIMENT, conclude, nets, readings
from verification.claims.wu2024.nets import DATA, NETS, SIZES, SURROGATE, TRAINED
from verification.training.networks import build, fitted

World = Callable[[str, float, int], float]
"""(what, strength, classes) -> a number; per seed a little noise is added."""


def good(what: str, strength: float, classes: int) -> float:
    """A world in which everything is as claimed."""
    collapsed = strength >= 10
    shrink = 1 / (1 + 10 * strength)
    return {
        "norm": 5 * shrink,
        "lipschitz_upper": 40 * shrink,
        "rademacher": shrink,
        "bound": 6 + math.log10(shrink),
        "gap": 0.3 * shrink,
        "accuracy": 0.1 if collapsed else 0.9,
        "attacked": 0.1 if collapsed else 0.7 - 0.4 * shrink,
        "attack_loss": 1.5 * shrink + 0.1,
        "refuted": 0.0,
        "proved": 1.0,
    }.get(what, 0.0)


def bad(what: str, strength: float, classes: int) -> float:
    """A world in which the regulariser does the opposite, and never collapses."""
    growth = math.sqrt(1 + 1000 * strength)
    return {
        "norm": 5 * growth * (11 / classes),
        "lipschitz_upper": 40 * growth,
        "rademacher": growth,
        "bound": 5 + growth + classes,
        "gap": 0.03 * growth * classes,
        "accuracy": 0.9,
        "attacked": 0.7 - 0.05 * math.log(growth),
        "attack_loss": 3 * growth,
        "refuted": 0.2,
        "proved": 0.3,
    }.get(what, 0.0)


def measured(net: Net, world: World) -> dict[str, Any]:
    """Measurements of one network in a made-up world."""
    seed, classes = net.training.seed, net.labels["classes"]
    strength = net.labels["strength"]

    def at(what: str) -> float:
        value = world(what, strength, classes)
        return value if what in ("refuted", "proved", "accuracy") else value * (1 + 0.001 * seed)

    return {name: _kind(wanted.name, wanted.arguments, at) for name, wanted in net.measurements.items()}


def _kind(kind: str, arguments: Mapping[str, Any], at: Callable[[str], float]) -> dict[str, Any]:
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "generalization": lambda: {
            "train": {"loss": 0.2, "error": 0.0},
            "held_out": {"loss": 0.2 + at("gap"), "error": at("gap") / 3},
        },
        "jacobian": lambda: {
            **{key: at("norm") for key in ("frobenius", "spectral", "entrywise_l1", "lipschitz_lower")},
            "lipschitz_upper": at("lipschitz_upper"),
            "layers": [{"name": str(i), "frobenius": at("norm") / (i + 1)} for i in range(4)],
        },
        "attacked": lambda: {
            "norm": arguments["norm"],
            "results": [
                {
                    "eps": eps,
                    "train": {"loss": at("attack_loss"), "accuracy": at("attacked") + at("gap") / 3},
                    "held_out": {"loss": at("attack_loss") + at("gap"), "accuracy": at("attacked")},
                }
                for eps in arguments["eps"]
            ],
        },
        "rademacher": lambda: {"estimate": at("rademacher"), "lower": 0.9 * at("rademacher")},
        "bound_values": lambda: {
            "rows": {
                row: {"fixed_class": at("bound"), "a_posteriori": at("bound"), "vacuous": True}
                for row in readings.BOUND_LABELS
            }
        },
        "verdicts": lambda: {
            "results": [
                {
                    "eps": eps,
                    "attack_loss": at("attack_loss"),
                    "upper_loss": None if eps > 0.5 else 0.7,
                    "surrogates": {
                        SURROGATE[arguments["norm"]]: {
                            "mean": 0.9,
                            "refuted": at("refuted"),
                            "proved": at("proved"),
                            "undecided": 0.0,
                        }
                    },
                }
                for eps in arguments["eps"]
            ]
        },
    }
    return makers[kind]()


def results(
    preset: str, world: World, failed: Callable[[Net], bool] = lambda net: False, seeds: int | None = None
) -> Results:
    found = []
    for net in nets(preset):
        if seeds is not None and net.training.seed >= seeds:
            continue
        limit = 0.03 if net.training.data == "cifar10-jpeg" else 0.1
        collapse = net.labels["method"] == "‖J‖_{1,1}" and net.labels["strength"] >= limit

        def at(what: str, strength: float, classes: int, collapse: bool = collapse) -> float:
            return 0.1 if what == "accuracy" and collapse and world is good else world(what, strength, classes)

        summary = {
            "failed": "diverged" if failed(net) else None,
            "test_accuracy": at("accuracy", net.labels["strength"], net.labels["classes"]),
            "seconds_per_epoch": 0.1 * (1 + net.labels["strength"]),
            "peak_memory": None,
        }
        found.append(Result(net, summary, {} if failed(net) else measured(net, at)))
    return Results(found)


def verdicts(found: Conclusions) -> dict[str, str]:
    return {claim.key: claim.verdict for claim in found.claims}


@pytest.mark.parametrize("preset", ["quick", "full"])
def test_a_good_world_supports_everything(preset: str) -> None:
    found = verdicts(conclude(results(preset, good), preset))
    assert set(found.values()) == {"supported"}, {key: verdict for key, verdict in found.items()}
    assert len(found) > 50


@pytest.mark.parametrize("preset", ["quick", "full"])
def test_every_claim_can_come_out_contradicted(preset: str) -> None:
    supported = verdicts(conclude(results(preset, good), preset))
    found = verdicts(conclude(results(preset, bad), preset))
    assert found.keys() == supported.keys()
    assert set(found.values()) == {"contradicted"}, {k: v for k, v in found.items() if v != "contradicted"}


def test_statements_stand_alone_and_keys_are_unique() -> None:
    found = conclude(results("full", good), "full")
    assert len({claim.key for claim in found.claims}) == len(found.claims)
    assert all(claim.key == claim.key.lower() and not set(claim.key) & set(" ,_") for claim in found.claims)
    names = [chart.name for chart in found.charts] + [table.name for table in found.tables]
    assert len(set(names)) == len(names)
    json.dumps([one.record() for group in (found.claims, found.charts, found.tables) for one in group], allow_nan=False)


def test_tables_are_rectangular_and_charts_are_not_empty() -> None:
    found = conclude(results("quick", good), "quick")
    assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)
    for chart in found.charts:
        for panel in chart.panels:
            assert panel.lines and all(line.record()["points"] for line in panel.lines), (chart.name, panel.title)


def test_diverged_networks_are_left_out() -> None:
    found = conclude(results("quick", good, lambda net: net.labels["strength"] >= 1), "quick")
    assert set(verdicts(found).values()) == {"supported"}
    collapse = [sentence for sentence in found.not_reproduced if "strong enough collapses" in sentence]
    assert len(collapse) == sum(series.strengths[-1] >= 1 for series in SIZES["quick"].series)
    assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)


@pytest.mark.parametrize("left", [0, 1])
def test_with_fewer_than_two_seeds_claims_become_sentences(left: int) -> None:
    found = conclude(results("quick", good, seeds=left), "quick")
    assert not found.claims
    assert len(found.not_reproduced) > 20


def test_without_the_plain_networks_nothing_fails() -> None:
    found = conclude(results("quick", good, lambda net: net.labels["strength"] == 0), "quick")
    assert 0 < len(found.claims) < 30


@pytest.mark.parametrize(("preset", "seeds"), [("quick", 3), ("full", 5)])
def test_every_network_can_be_trained(preset: str, seeds: int) -> None:
    chosen = nets(preset)
    assert len({net.digest for net in chosen}) == len(chosen)
    by_labels: dict[str, set[int]] = {}
    for net in chosen:
        by_labels.setdefault(json.dumps(dict(net.labels), sort_keys=True), set()).add(net.training.seed)
        assert {wanted.name for wanted in net.measurements.values()} <= set(MEASUREMENTS)
    assert all(found == set(range(1, seeds + 1)) for found in by_labels.values())
    assert len(by_labels) * seeds == len(chosen)  # equal labels, equal training


def test_the_trainings_fit_the_data() -> None:
    shapes = {"mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "cifar10-jpeg": (3, 32, 32)}
    kinds = {(net.training.data, net.training.net, json.dumps(net.training.net_arguments)) for net in nets("full")}
    for data, name, arguments in kinds:
        toy = Data(data, torch.rand(10, *shapes[data]), torch.arange(10), 10)
        assert build(name, fitted(name, json.loads(arguments), toy), 0)(toy.x).shape == (10, 10)


def test_the_surrogate_is_what_is_trained() -> None:
    """Strength times penalty is eps·c·N(J): √2·eps of the unsquared Frobenius norm, eps of the entrywise one."""
    chosen = {json.dumps(dict(net.labels), sort_keys=True): net for net in nets("quick")}
    for trained in TRAINED:
        net = chosen[json.dumps(trained.at(trained.main), sort_keys=True)]
        settings = asdict(net.training)
        if trained.norm == "l2":
            assert settings["regulariser_arguments"] == {"squared": False}
            assert settings["strength"] == pytest.approx(math.sqrt(2) * 0.5)
        else:
            assert settings["regulariser"] == "jacobian-l1" and settings["strength"] == 0.01
        assert f"verdicts {trained.norm}" in net.measurements


def test_series_are_measured_for_their_charts() -> None:
    for preset in ("quick", "full"):
        found = {json.dumps(dict(net.labels), sort_keys=True): net for net in nets(preset)}
        for series in SIZES[preset].series:
            assert series.reference in series.strengths and list(series.strengths) == sorted(series.strengths)
            assert series.data in DATA and series.net in NETS
            for strength in series.all_strengths:
                names = found[json.dumps(series.at(strength), sort_keys=True)].measurements
                assert {"jacobian", "generalization", "rademacher"} <= set(names)


@pytest.mark.parametrize(
    ("values", "rise"), [([4.0, 2.0, 1.0], -math.log(2)), ([1.0, 0.5, 0.75], math.log(1.5)), ([1.0, 1e-5, 1e-4], 0.0)]
)
def test_the_largest_rise(values: list[float], rise: float) -> None:
    assert readings.largest_rise(values) == pytest.approx(rise)


def test_radii_up_to_which_the_surrogate_dominates() -> None:
    entries = [
        {"eps": eps, "surrogates": {"frobenius": {"refuted": refuted, "proved": proved}}}
        for eps, refuted, proved in ((0.1, 0.0, 1.0), (0.5, 0.005, 0.5), (1.0, 0.2, 0.0), (2.0, 0.0, 1.0))
    ]
    result = Result(nets("quick")[0], {"failed": None}, {"verdicts l2": {"results": entries}})
    assert readings.not_refuted_up_to("l2", 0.01)(result) == 0.5  # what comes after a refuted radius does not count
    assert readings.proved_up_to("l2", 0.01)(result) == 0.1


def test_the_experiment_is_described() -> None:
    for preset in ("quick", "full"):
        assert EXPERIMENT.cuts(preset) and EXPERIMENT.measuring[preset] > 0


def test_training_on_the_surrogate_has_the_surrogate_as_its_objective():
    """loss + √2·eps·‖J‖_F (l2) and loss + eps·‖J‖_{1,1} (linf): the constants of theory §2."""
    l2 = {net.training.strength for net in nets("quick") if net.labels["method"] == "‖J‖_F"}
    assert sorted(l2) == pytest.approx([2**0.5 * eps for eps in (0.1, 0.25, 0.5)], rel=1e-12)
    for net in nets("quick"):
        if net.labels["method"] == "‖J‖_F":
            assert net.training.regulariser_arguments == {"squared": False}
    linf = {net.training.strength for net in nets("quick") if net.labels["method"] == "‖J‖_{1,1}"}
    assert {0.003, 0.01, 0.03} <= linf
