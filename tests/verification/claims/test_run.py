"""A whole experiment: record, cost plan, interruption and continuation; the registered ones are well formed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bounds.errors import InputError
from verification.claims import EXPERIMENTS
from verification.claims.chart import Chart, Line, Panel
from verification.claims.claim import Claim, Effect
from verification.claims.experiment import PRESETS, Conclusions, Experiment, Measurement, Net, Result, Results
from verification.claims.run import cost_plan, experiment, reproduce
from verification.training.job import Training

SEEDS = {"quick": 3, "full": 5}


def nets(preset: str) -> tuple[Net, ...]:
    measurements = {"gap": Measurement("generalization")}
    return tuple(
        Net({"method": "plain"}, Training("digits", "linear", epochs=20, samples=100, seed=seed), measurements)
        for seed in range(3)
    )


def conclude(results: Results, preset: str) -> Conclusions:
    errors = results.values(lambda result: result.measured["gap"]["held_out"]["error"], method="plain")
    claim = Claim("learns", "It learns.", "own", "error", Effect(errors), "digits", direction="below", threshold=0.9)
    panel = Panel("digits", "seed", "error", (Line("plain", {0.0: errors}),))
    return Conclusions((claim,), (Chart("errors", "errors", "Errors.", (panel,)),))


TOY = Experiment("toy", "A toy", "own", nets, conclude, lambda preset: ("everything",), {"quick": 0.1, "full": 0.1})


def test_an_interrupted_experiment_continues_to_the_same_record(tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(done: int, total: int, result: Result) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(TOY, "quick", tmp_path, on_net=stop)
    assert seen == [1]
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert kept
    record = reproduce(TOY, "quick", tmp_path)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    again = reproduce(TOY, "quick", tmp_path)
    assert again == record
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["seeds"] == [0, 1, 2] and [net["seed"] for net in record["nets"]] == [0, 1, 2]
    assert record["claims"][0]["verdict"] == "supported" and record["cuts"] == ["everything"]
    plan = cost_plan(TOY, "quick", tmp_path)
    assert (plan.nets, plan.done, plan.minutes) == (3, 3, 0.0)


def test_the_cost_of_what_is_missing_is_estimated(tmp_path: Path) -> None:
    plan = cost_plan(TOY, "quick", tmp_path)
    assert (plan.nets, plan.done) == (3, 0) and 0 < plan.minutes < 1


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'roth2020'"):
        experiment("roth2002", "quick")
    with pytest.raises(InputError, match="did you mean 'quick'"):
        experiment("roth2020", "quik")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("key", EXPERIMENTS)
def test_registered_experiments_are_well_formed(key: str, preset: str) -> None:
    chosen = experiment(key, preset)
    trained = chosen.nets(preset)
    assert chosen.key == key and chosen.cuts(preset)
    assert {net.training.seed for net in trained} == set(range(1, SEEDS[preset] + 1))
    named = {(json.dumps(dict(net.labels), sort_keys=True), net.training.seed) for net in trained}
    assert len(named) == len(trained), "two networks with the same labels and seed"
    assert len({net.digest for net in trained}) == len(trained), "two workers would train the same network"
    assert json.dumps([dict(net.labels) for net in trained], allow_nan=False)
