"""L3.5 as a measurement: zero inside the piece, the closed form outside, nothing on a kink."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs import Data
from tests.verification import networks
from verification.claims.measurements.piece_equality import piece_equality
from verification.training.networks import build


def kink(slope):
    """x -> (0, 5·leaky_relu(x))."""
    network = nn.Sequential(nn.Linear(1, 1), nn.LeakyReLU(slope), nn.Linear(1, 2)).double()
    with torch.no_grad():
        network[0].weight[:], network[0].bias[:] = 1.0, 0.0
        network[2].weight[:], network[2].bias[:] = torch.tensor([[0.0], [5.0]]), 0.0
    return network


def points(*values):
    return Data("toy", torch.tensor(values)[:, None], torch.zeros(len(values), dtype=torch.int64), 2)


def test_closed_form_inside_and_outside():
    """At x = -1 the piece ends at distance 1; at distance 3 the logit moves by 5·(2 + 0.3), J says 5·0.9."""
    data = points(-1.0)
    found = piece_equality(kink(0.3), data, data, norm="l2", r=2, samples=1, fractions=[0.9, 3.0])
    inside, outside = found["results"]
    assert found["radius"] == {"median": pytest.approx(1.0), "smallest": pytest.approx(1.0)}
    assert (inside["fraction"], inside["inside"], inside["compared"], inside["gradients_compared"]) == (0.9, 1, 1, 1)
    assert inside["objective"] < 1e-12 and inside["gradient"] < 1e-12
    assert outside["objective"] == outside["mean_objective"] == pytest.approx(1.4 / 0.9)
    assert outside["inside"] == 0 and outside["gradient"] > 0.1


def test_samples_on_a_kink_or_without_slope_are_not_compared():
    data = points(0.0, -1.0)
    found = piece_equality(kink(0.0), data, data, norm="linf", r=1, samples=2, fractions=[0.9])
    assert found["results"][0] == {
        "fraction": 0.9,
        "objective": None,
        "gradient": None,
        "mean_objective": None,
        "mean_gradient": None,
        "compared": 0,
        "gradients_compared": 0,
        "inside": 0,
    }


@pytest.mark.parametrize(("norm", "r"), [("l2", 2), ("linf", 1), ("l1", 2)])
def test_small_networks_with_batch_norm(norm, r):
    network = build("roth_cnn", {"channels": 1, "size": 4, "classes": 3, "width": 1}, seed=1)
    with torch.no_grad():
        network.train()(networks.inputs(16, (1, 4, 4), 2).float())
    data = Data("toy", networks.inputs(3, (1, 4, 4), 5), torch.tensor([0, 1, 2]), 3)
    found = piece_equality(network.eval(), data, data, norm=norm, r=r, samples=3, fractions=[0.5, 1000.0])
    inside, outside = found["results"]
    assert inside["compared"] == inside["inside"] > 0
    assert inside["objective"] < 1e-7 and (inside["gradient"] or 0) < 1e-7
    assert outside["objective"] > 1e-3


def test_smooth_networks_have_no_pieces():
    data = Data("toy", networks.inputs(2, (4,), 1), torch.tensor([0, 1]), 3)
    with pytest.raises(InputError, match="not piecewise linear"):
        piece_equality(networks.mlp(1, "tanh"), data, data, norm="l2", r=2, samples=1, fractions=[0.9])
