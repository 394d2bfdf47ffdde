"""Singular values of Jacobians against dense oracles; penultimate features of every kind of network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs import Data
from tests.verification import networks
from verification.claims.measurements.spectrum import penultimate, spectrum
from verification.training.networks import build


def data(n, shape, classes=3):
    x = networks.inputs(n, shape, 1)
    return Data("toy", x, torch.arange(n) % classes, classes)


def trained_like(factory, arguments, shape):
    """A network whose batch-norms have seen data."""
    network = build(factory, arguments, seed=3)
    with torch.no_grad():
        network.train()(networks.inputs(16, shape, 2).float())
    return network.eval()


def test_singular_values_of_a_dense_relu_network():
    network, samples = networks.mlp(4, widths=(7,)).double(), data(9, (4,))
    first, last = (part.weight.detach().numpy() for part in network if isinstance(part, nn.Linear))
    bias = network[1].bias.detach().numpy()
    of_features = [first * (first @ x + bias > 0)[:, None] for x in samples.x.double().numpy()]
    found = spectrum(network, samples, samples, samples=9, features=True)
    for key, matrices in (("features", of_features), ("logits", [last @ matrix for matrix in of_features])):
        expected = np.mean([np.linalg.svd(matrix, compute_uv=False) for matrix in matrices], axis=0)
        np.testing.assert_allclose(found[key], expected, rtol=1e-10, atol=1e-14)
    assert found["samples"] == 9 and len(found["logits"]) == 3 and len(found["features"]) == 4
    assert spectrum(network, samples, samples, samples=99, features=False)["features"] is None


@pytest.mark.parametrize(
    ("factory", "arguments", "shape"),
    [
        ("roth_cnn", {"channels": 1, "size": 8, "classes": 3, "width": 2}, (1, 8, 8)),
        ("resnet", {"channels": 1, "size": 8, "classes": 3, "width": 2}, (1, 8, 8)),
        ("mlp", {"inputs": 4, "widths": [5], "classes": 3}, (4,)),
    ],
)
def test_features_are_what_the_last_layer_reads(factory, arguments, shape):
    network, x = trained_like(factory, arguments, shape), networks.inputs(2, shape, 5)
    exact = network.double()
    features = penultimate(network)
    torch.testing.assert_close(features(x), exact[:-1](x))
    rows = [torch.autograd.functional.jacobian(lambda z: exact[:-1](z[None])[0], sample).flatten(1) for sample in x]
    expected = torch.stack([torch.linalg.svdvals(matrix) for matrix in rows]).mean(dim=0)
    toy = Data("toy", x, torch.tensor([0, 1]), 3)
    found = spectrum(network, toy, toy, samples=2, features=True)["features"]
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected, rtol=1e-9, atol=1e-13)


def test_features_of_a_transformer_are_its_mean_token():
    network = build("vit", {"size": 8, "patch": 4, "width": 8, "depth": 1, "heads": 2, "classes": 3}, seed=0).eval()
    x = networks.inputs(2, (1, 8, 8), 5)
    head = network.double().head[-1]
    torch.testing.assert_close(head(penultimate(network)(x)), network(x))


def test_a_network_without_dense_layers_has_no_features():
    with pytest.raises(InputError, match="no dense layer"):
        penultimate(nn.Flatten())
