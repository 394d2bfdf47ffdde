"""The experiment on Roth et al.: every claim comes out both ways; failed networks leave sentences, not errors."""

from __future__ import annotations

import inspect
import json
import math

import pytest

from verification.claims.chart import Chart
from verification.claims.experiment import Result, Results
from verification.claims.measurements import measurement
from verification.claims.roth2020 import EXPERIMENT, conclude
from verification.claims.roth2020.nets import (
    ADVERSARIAL,
    DATA_SPECTRAL,
    DISTANCE,
    GLOBAL,
    PLAIN,
    SIZES,
    cuts,
    nets,
    piece_name,
)

PRESETS = ("quick", "full")

# method -> size of singular values, accuracy under attack, cosine with v_1, deviation, difference inside the piece
AS_CLAIMED = {
    PLAIN: (10.0, 0.2, 0.4, 1.0, 1e-10),
    ADVERSARIAL: (2.0, 0.8, 0.7, 0.3, 1e-10),
    DATA_SPECTRAL: (2.2, 0.7, 0.7, 0.3, 1e-10),
    DISTANCE: (2.4, 0.7, 0.7, 0.3, 1e-10),
    GLOBAL: (9.0, 0.3, 0.5, 0.9, 1e-10),
}
OPPOSITE = {
    PLAIN: (2.0, 0.8, 0.04, 0.3, 1e-3),
    ADVERSARIAL: (10.0, 0.2, 0.02, 1.0, 1e-3),
    DATA_SPECTRAL: (3.0, 0.3, 0.02, 1.0, 1e-3),
    DISTANCE: (4.0, 0.3, 0.02, 1.0, 1e-3),
    GLOBAL: (20.0, 0.4, 0.02, 1.0, 1e-3),
}


def distances(preset):
    """How many series have networks of the distance form."""
    return sum(DISTANCE in series.methods for series in SIZES[preset].series)


def measured(net, sizes, world, seed):
    """What the measurements of one network would return."""
    sigma, accuracy, cosine, deviation, difference = (value * (1 + 0.01 * seed) for value in world)
    found = {}
    for name, wanted in net.measurements.items():
        arguments = wanted.arguments
        if name == "spectrum":
            found[name] = {"logits": [sigma / k for k in range(1, 11)], "features": [sigma / k for k in range(1, 17)]}
        elif name == "directions":
            by_rank = [cosine, *(0.1 for _ in range(9))]
            rows = [{"eps": eps, "attack": by_rank} for eps in arguments["eps"]]
            found[name] = {"random": [0.05] * 10, "results": rows}
        elif name == "linearity":
            deviations = {"deviation": deviation, "linear": 1.0, "relative": deviation}
            row = {"logits": deviations, "features": deviations, "sigma_1": sigma}
            rows = [row | {"distance": t} for t in arguments["distances"]]
            found[name] = {"sigma_1": sigma, "directions": {"attack": rows, "random": rows}}
        elif name == "attacked":
            sides = dict.fromkeys(("train", "held_out"), {"loss": 1.0, "accuracy": accuracy})
            found[name] = {"results": [sides | {"eps": eps} for eps in arguments["eps"]]}
        else:
            differences = {"objective": difference, "gradient": difference}
            found[name] = {"results": [differences | {"fraction": share} for share in arguments["fractions"]]}
    return found


def results(preset, world, failed=lambda net: False):
    made = []
    for net in nets(preset):
        lost = failed(net)
        values = {} if lost else measured(net, SIZES[preset], world[net.labels["method"]], net.training.seed)
        made.append(Result(net, {"failed": "loss is not finite" if lost else None, "test_accuracy": 0.9}, values))
    return Results(made)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("world", "verdict"), [(AS_CLAIMED, "supported"), (OPPOSITE, "contradicted")])
def test_every_claim_comes_out_both_ways(preset, world, verdict):
    found = conclude(results(preset, world), preset)
    assert {claim.key: claim.verdict for claim in found.claims} == {claim.key: verdict for claim in found.claims}
    keys = [claim.key for claim in found.claims]
    assert len(set(keys)) == len(keys) == 20 * len(SIZES[preset].series) + 2 * distances(preset)
    assert all(len(claim.effect.values) == SIZES[preset].seeds for claim in found.claims)


def test_effects_are_those_of_the_spectra():
    by_key = {claim.key: claim for claim in conclude(results("quick", AS_CLAIMED), "quick").claims}
    assert by_key["mnist-cnn-adversarial-damps"].effect.mean == pytest.approx(math.log(0.2))
    assert by_key["mnist-cnn-alike"].effect.mean == pytest.approx(math.log(1.1))
    assert by_key["mnist-cnn-distance-alike"].effect.mean == pytest.approx(math.log(1.2))
    assert "mnist-resnet-distance-alike" not in by_key
    assert by_key["mnist-cnn-global-hardly"].effect.mean == pytest.approx(math.log(1 / 0.9) + math.log(0.2) / 2)
    assert by_key["mnist-cnn-adversarial-robust"].effect.values == pytest.approx((0.606, 0.612, 0.618))
    assert by_key["mnist-cnn-top-vector-first"].effect.values[0] == pytest.approx(0.607)
    assert by_key["mnist-cnn-piece-gradient-linf"].effect.values[0] == pytest.approx(-9)


def test_one_network_that_differs_inside_the_piece_shows():
    """The worst of plain and adversarial counts, and a difference of exactly 0 has a logarithm."""
    world = {**AS_CLAIMED, PLAIN: (*AS_CLAIMED[PLAIN][:4], 0.0), ADVERSARIAL: (*AS_CLAIMED[ADVERSARIAL][:4], 1e-2)}
    by_key = {claim.key: claim for claim in conclude(results("quick", world), "quick").claims}
    assert by_key["mnist-cnn-piece-objective-l2"].verdict == "contradicted"
    world[ADVERSARIAL] = world[PLAIN]
    by_key = {claim.key: claim for claim in conclude(results("quick", world), "quick").claims}
    assert by_key["mnist-cnn-piece-objective-l2"].effect.values == (-9.0, -9.0, -9.0)


def test_spectra_of_another_shape_are_not_alike():
    """Ranks damped by 3 and by 1/3 cancel in the mean damping, not in likeness."""
    made = results("quick", {**AS_CLAIMED, DATA_SPECTRAL: AS_CLAIMED[ADVERSARIAL]})
    for result in made.all:
        if result.net.labels["method"] == DATA_SPECTRAL:
            values = result.measured["spectrum"]["logits"]
            values[:] = [value * (3 if rank % 2 else 1 / 3) for rank, value in enumerate(values)]
    by_key = {claim.key: claim for claim in conclude(made, "quick").claims}
    assert by_key["mnist-cnn-alike"].verdict == "contradicted"
    assert by_key["mnist-cnn-alike"].effect.mean == pytest.approx(math.log(3))


def test_diverged_networks_become_sentences():
    def lost(net):
        return net.labels["method"] == ADVERSARIAL and net.labels["net"] == "ResNet" and net.training.seed > 0

    found = conclude(results("quick", AS_CLAIMED, lost), "quick")
    keys = {claim.key for claim in found.claims}
    assert "mnist-cnn-alike" in keys and "mnist-resnet-alike" not in keys and "mnist-resnet-data-damps" in keys
    assert any("ResNet" in sentence and "Too few" in sentence for sentence in found.not_reproduced)
    # plain networks of all seeds still tell about pieces
    assert "mnist-resnet-piece-objective-l2" in keys


@pytest.mark.parametrize("lost", [lambda net: True, lambda net: net.labels["method"] != DATA_SPECTRAL])
def test_hardly_any_network_left(lost):
    found = conclude(results("quick", AS_CLAIMED, lost), "quick")
    assert not found.claims and len(found.not_reproduced) >= 40
    assert all(json.dumps(chart.record(), allow_nan=False) for chart in (*found.charts, *found.tables))


@pytest.mark.parametrize("preset", PRESETS)
def test_charts_and_tables(preset):
    found = conclude(results(preset, AS_CLAIMED), preset)
    names = [chart.name for chart in found.charts]
    assert len(set(names)) == len(names) == 7 * len(SIZES[preset].series)
    for chart in found.charts:
        assert isinstance(chart, Chart) and json.dumps(chart.record(), allow_nan=False)
        assert all(line.record()["points"] for panel in chart.panels for line in panel.lines)
    rows = found.tables[0].record()["rows"]
    assert len(rows) == sum(len(series.methods) for series in SIZES[preset].series)
    published = {row[0]: row[1] for row in rows}
    assert published["MNIST, 7-layer CNN: adversarial"] is None and published["MNIST, ResNet: adversarial"] is None
    if preset == "full":
        assert published["CIFAR-10 (JPEG, 10k subset), 7-layer CNN: adversarial"] == "83.6"


@pytest.mark.parametrize("preset", PRESETS)
def test_nets(preset):
    found, sizes = nets(preset), SIZES[preset]
    assert (
        len({net.digest for net in found})
        == len(found)
        == sizes.seeds * sum(len(series.methods) for series in sizes.series)
    )
    assert {net.training.seed for net in found} == set(range(1, sizes.seeds + 1)) and sizes.seeds >= {
        "quick": 3,
        "full": 5,
    }[preset]
    for net in found:
        assert (piece_name("l2") in net.measurements) == (net.labels["method"] in (PLAIN, ADVERSARIAL))
        for wanted in net.measurements.values():
            inspect.signature(measurement(wanted.name)).bind(None, None, None, **wanted.arguments)
            assert json.dumps(dict(wanted.arguments), allow_nan=False)
    assert all(cuts(preset)) and EXPERIMENT.measuring[preset] > 0
