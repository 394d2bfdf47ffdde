"""Deviation from linearity where it is known: parabolas, and a dense ReLU network by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bounds.inputs import Data
from tests.verification import networks
from verification.claims.measurements.linearity import linearity

WALK = {"eps": 0.5, "steps": 10, "restarts": 1}


class Parabolas(nn.Module):
    """f(x) = W x², features x²."""

    def __init__(self, weight):
        super().__init__()
        self.head = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.head.weight.data = weight

    def forward(self, x):
        return self.head(x.square())


def test_one_parabola():
    """f = (0, 3x²) at x = 2 with label 1: the attack goes towards 0, v = -1."""
    data = Data("toy", torch.tensor([[2.0]]), torch.tensor([1]), 2)
    found = linearity(
        Parabolas(torch.tensor([[0.0], [3.0]])), data, data, distances=[0.5, 1], samples=1, jacobian_samples=1, **WALK
    )
    assert found["sigma_1"] == pytest.approx(12)
    for row, t in zip(found["directions"]["attack"], (0.5, 1.0), strict=True):
        assert row["distance"] == t
        assert row["features"] == pytest.approx({"deviation": t**2, "linear": 4 * t, "relative": t / 4})
        assert row["logits"] == pytest.approx({"deviation": 3 * t**2, "linear": 12 * t, "relative": t / 4})
        assert row["sigma_1"] == pytest.approx(6 * (2 - t))


def test_no_linear_part_has_no_quotient():
    data = Data("toy", torch.tensor([[0.0]]), torch.tensor([1]), 2)
    network = Parabolas(torch.tensor([[3.0], [0.0]]))
    found = linearity(network, data, data, distances=[1], samples=1, jacobian_samples=1, **WALK)
    row = found["directions"]["random"][0]
    assert row["features"] == {"deviation": pytest.approx(1.0), "linear": 0.0, "relative": None}


def test_random_directions_of_a_dense_relu_network():
    """Against numpy, direction by direction; the directions are those of generator seed 0."""
    n, distances = 6, [0.3, 3.0]
    network, x = networks.mlp(4, widths=(7,)).double(), networks.inputs(n, (4,), 1)
    data = Data("toy", x, torch.arange(n) % 3, 3)
    found = linearity(network, data, data, distances=distances, samples=n, jacobian_samples=2, **WALK)
    first, last = (part for part in network if isinstance(part, nn.Linear))
    (w, b), (u, c) = ((part.weight.detach().numpy(), part.bias.detach().numpy()) for part in (first, last))

    def features(z):
        return np.maximum(w @ z + b, 0)

    def jacobian(z):
        return w * (w @ z + b > 0)[:, None]

    noise = torch.randn((n, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    directions = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    for row, t in zip(found["directions"]["random"], distances, strict=True):
        pairs = list(zip(x.numpy(), directions, strict=True))
        for key, head in (("features", np.eye(7)), ("logits", u)):
            away = [head @ (features(z + t * v) - features(z) - t * jacobian(z) @ v) for z, v in pairs]
            linear = [head @ (t * jacobian(z) @ v) for z, v in pairs]
            assert row[key]["deviation"] == pytest.approx(np.mean(np.linalg.norm(away, axis=1)), rel=1e-9)
            assert row[key]["linear"] == pytest.approx(np.mean(np.linalg.norm(linear, axis=1)), rel=1e-9)
        sigmas = [np.linalg.norm(u @ jacobian(z + t * v), 2) for z, v in pairs[:2]]
        assert row["sigma_1"] == pytest.approx(np.mean(sigmas), rel=1e-9)
    assert found["directions"]["random"][1]["logits"]["deviation"] > 0
    assert (found["samples"], found["jacobian_samples"]) == (n, 2)


def test_attack_directions_are_those_of_the_attack_at_eps():
    """Whatever the distance: the rows of a binary linear network say where the attack goes."""
    network, x = nn.Linear(4, 2).double(), networks.inputs(5, (4,), 1)
    data = Data("toy", x, torch.zeros(5, dtype=torch.int64), 2)
    found = linearity(network, data, data, distances=[0.01, 4.0], samples=5, jacobian_samples=1, **WALK)
    w = network.weight.detach().numpy()
    v = (w[1] - w[0]) / np.linalg.norm(w[1] - w[0])
    for row in found["directions"]["attack"]:
        assert row["logits"]["linear"] == pytest.approx(row["distance"] * np.linalg.norm(w @ v), rel=1e-6)
        assert row["features"]["linear"] == pytest.approx(row["distance"])
        assert row["logits"]["deviation"] < 1e-12 and row["sigma_1"] == pytest.approx(found["sigma_1"])
    again = linearity(network, data, data, distances=[0.01, 4.0], samples=5, jacobian_samples=1, **WALK)
    assert again == found
