"""Mean Hessian and gradient norms of held-out samples, against autograd's dense Hessian."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from bounds.inputs import Data
from tests.verification.networks import mlp
from verification.claims.measurements.hessian import hessian


def held_out(count: int = 12, inputs: int = 4) -> Data:
    generator = torch.Generator().manual_seed(1)
    return Data("toy", torch.rand(count, inputs, generator=generator), torch.arange(count) % 3, 3)


def dense(network: nn.Module, data: Data) -> dict[str, float]:
    """Means over the samples of the norms of Hessian and gradient, by autograd.functional."""
    network = network.double()
    operators, tops, gradients = [], [], []
    for x, y in data.batches(1):

        def loss(flat: torch.Tensor, x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
            return functional.cross_entropy(network(flat.reshape(x.shape)), y)

        eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, x.flatten()))
        operators.append(float(eigenvalues.abs().max()))
        tops.append(float(eigenvalues[-1]))
        gradients.append(float(torch.autograd.functional.jacobian(loss, x.flatten()).norm()))
    return {
        name: sum(values) / len(values)
        for name, values in {"operator": operators, "top": tops, "gradient": gradients}.items()
    }


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_means_are_those_of_the_dense_hessian(activation: str) -> None:
    data = held_out()
    found = hessian(mlp(0, activation), data, data, samples=5)
    assert found["samples"] == 5
    # few inputs: Lanczos has converged, too
    assert found["exact"] == (activation == "relu")
    for name, value in dense(mlp(0, activation), data.subset(5, seed=0)).items():
        assert found[name] == pytest.approx(value, rel=1e-6)


def test_it_is_deterministic_plain_json_and_takes_what_there_is() -> None:
    data, network = held_out(), mlp(3, "tanh")
    found = hessian(network, data, data, samples=100)
    assert found["samples"] == len(data)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert hessian(network, data, data, samples=100) == found


def test_a_network_that_cannot_be_traced_counts_as_smooth() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > -1e9 else -x

    data = Data("toy", torch.rand(4, 3, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 3, 3)
    found = hessian(Branching(), data, data, samples=4)
    assert not found["exact"]
    assert found["operator"] == pytest.approx(dense(nn.Identity(), data)["operator"], rel=1e-6)
