"""Cosines of attacks with singular vectors, where both are known."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from bounds.inputs import Data
from tests.verification import networks
from verification.claims.measurements.attack_directions import attack_directions, right_singular_vectors

WALK = {"norm": "l2", "steps": 8, "restarts": 1}


def linear(weight):
    network = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
    network.weight.data = weight.double()
    return network


def test_attack_on_a_binary_linear_network_is_the_difference_of_its_rows():
    """The loss grows along w_1 - w_0 only, so its cosine with v_k is known, for all radii."""
    weight = networks.inputs(2, (5,), 3)
    data = Data("toy", networks.inputs(4, (5,), 1), torch.zeros(4, dtype=torch.int64), 2)
    found = attack_directions(linear(weight), data, data, eps=[0.1, 2.0], samples=4, **WALK)
    w = weight.numpy()
    direction = (w[1] - w[0]) / np.linalg.norm(w[1] - w[0])
    expected = np.abs(np.linalg.svd(w, full_matrices=False)[2] @ direction)
    for result in found["results"]:
        np.testing.assert_allclose(result["attack"], expected, atol=1e-6)
    assert math.isclose(sum(c**2 for c in expected), 1.0)
    assert [result["eps"] for result in found["results"]] == [0.1, 2.0]


def test_sup_norm_attack_has_the_cosine_of_signs():
    weight = torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, -12.0]])
    data = Data("toy", torch.zeros(1, 3), torch.tensor([0]), 2)
    found = attack_directions(linear(weight), data, data, eps=[0.5], samples=1, **{**WALK, "norm": "linf"})
    assert math.isclose(found["results"][0]["attack"][0], 19 / (13 * math.sqrt(3)), rel_tol=1e-6)
    assert found["results"][0]["attack"][1] == 0 == found["random"][1]  # J maps v_2 to 0: not determined


def test_random_directions_have_the_cosine_of_their_dimension():
    d, n = 400, 300
    data = Data("toy", torch.zeros(n, d), torch.zeros(n, dtype=torch.int64), 2)
    found = attack_directions(linear(networks.inputs(2, (d,), 3)), data, data, eps=[], samples=n, **WALK)
    standard_error = math.sqrt((1 - 2 / math.pi) / d / n)
    for mean in found["random"]:
        assert abs(mean - math.sqrt(2 / math.pi / d)) < 5 * standard_error
    again = attack_directions(linear(networks.inputs(2, (d,), 3)), data, data, eps=[], samples=n, **WALK)
    assert again == found


def test_singular_vectors_are_numpy_s_up_to_their_sign():
    matrices = networks.inputs(3, (2, 6), 9)
    for matrix, rows in zip(matrices.numpy(), right_singular_vectors(matrices).numpy(), strict=True):
        expected = np.linalg.svd(matrix, full_matrices=False)[2]
        np.testing.assert_allclose(np.abs((expected * rows).sum(1)), 1.0, rtol=1e-12)
