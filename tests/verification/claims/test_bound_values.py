"""Values of the catalogue against formulas written out."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs import Data
from verification.claims.measurements.bound_values import bound_values


@pytest.fixture(scope="module")
def data() -> Data:
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(0))
    return Data("toy", x, torch.arange(40) % 3, 3, box=(0.0, 1.0))


def network(activation: type[nn.Module], bias: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5, bias=bias), activation(), nn.Linear(5, 3, bias=bias)).eval()


def test_the_value_is_the_formula(data: Data) -> None:
    """Layer peeling, multi-class: gap 2·(2K/γ)·2^(L-1)·Πa_i·‖X‖_F/n + 3√(ln(2/δ)/(2n)); theory §4, §6 entry 3."""
    net = network(nn.ReLU, bias=False)
    found = bound_values(net, data, data, eps=0.1, norm="l2", keys=["neyshabur2015_frobenius"])
    norms = [float(layer.weight.detach().double().norm()) for layer in net if isinstance(layer, nn.Linear)]
    complexity = 2 * math.prod(norms) * float(data.x.double().norm()) / 40
    expected = 2 * (2 * 3) * complexity + 3 * math.sqrt(math.log(2 / 0.05) / 80)
    (row,) = found["rows"].values()
    assert row["fixed_class"] == pytest.approx(math.log10(expected), rel=1e-6)
    assert row["vacuous"] and row["gap"] == pytest.approx(0.0)  # the held-out samples are the training samples


def test_smooth_networks_get_the_surrogate_and_the_others_a_reason(data: Data) -> None:
    keys = ["jacobian_surrogate", "golowich2018_frobenius"]
    # under an l1 attack there is one surrogate only, which makes this fast
    smooth = bound_values(network(nn.Tanh), data, data, eps=0.1, norm="l1", keys=keys, jacobian_samples=10)
    assert list(smooth["rows"]) == ["jacobian_surrogate margin, norm-based", "jacobian_surrogate margin, parametric"]
    assert "use ReLU" in smooth["not_applicable"]["golowich2018_frobenius"]
    kinked = bound_values(network(nn.ReLU), data, data, eps=0.1, norm="l1", keys=keys, jacobian_samples=10)
    assert list(kinked["rows"]) == ["golowich2018_frobenius"]
    assert "no Lipschitz derivative" in kinked["not_applicable"]["jacobian_surrogate"]
    fewer = bound_values(network(nn.Tanh), data, data, eps=0.1, norm="l1", keys=keys[:1], jacobian_samples=3)
    assert [row["fixed_class"] for row in fewer["rows"].values()] == [
        row["fixed_class"] for row in smooth["rows"].values()
    ]  # no bound depends on how many Jacobians are measured


def test_larger_weights_give_larger_values(data: Data) -> None:
    net = network(nn.ReLU)
    keys = ["golowich2018_frobenius"]
    before = bound_values(net, data, data, eps=0.1, norm="l2", keys=keys)
    for parameter in net.parameters():
        parameter.data *= 2
    after = bound_values(net, data, data, eps=0.1, norm="l2", keys=keys)
    assert all(after["rows"][name]["fixed_class"] > row["fixed_class"] for name, row in before["rows"].items())


def test_it_is_plain_json_even_for_a_dead_network(data: Data) -> None:
    net = network(nn.ReLU)
    for parameter in net.parameters():
        parameter.data.zero_()
    found = bound_values(net, data, data, eps=0.1, norm="l2", keys=["golowich2018_frobenius"])
    json.dumps(found, allow_nan=False)
    assert found["rows"]


def test_an_unknown_key_is_refused(data: Data) -> None:
    with pytest.raises(InputError, match="bartlett"):
        bound_values(network(nn.ReLU), data, data, eps=0.1, norm="l2", keys=["bartlett2017"])
