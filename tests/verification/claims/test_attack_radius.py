"""Predicted and measured attack radii against closed forms, dense Hessians and a fine search in the plane."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from bounds.errors import InputError
from bounds.inputs import Data
from tests.verification.networks import mlp
from verification.claims.measurements.attack_radius import (
    FAR,
    attack_radius,
    certified_curvature,
    predicted_radius,
    smallest_found,
)

SIZES = st.floats(1e-3, 1e3)
FAST = {"steps": 5, "rounds": 3, "points": 1}


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    layer.weight.data = torch.tensor(weight)
    return layer


def plane(network: nn.Module, count: int = 40) -> Data:
    """Random points of the plane, labelled as the network classifies them."""
    x = 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(2)) - 1
    with torch.no_grad():
        return Data("plane", x, network(x).argmax(1), 3)


def loss_at(network: nn.Module, y: torch.Tensor):
    network = network.double().requires_grad_(False)
    return lambda x: functional.cross_entropy(network(x[None]), y[None])


@given(SIZES, SIZES, SIZES)
def test_the_predicted_radius_is_where_the_quadratic_reaches_c(c: float, slope: float, curvature: float) -> None:
    values = (torch.tensor([value], dtype=torch.float64) for value in (c, slope, curvature))
    radius = predicted_radius(*values).item()
    assert slope * radius + curvature * radius**2 / 2 == pytest.approx(c, rel=1e-9)


def test_the_predicted_radius_without_slope_or_curvature() -> None:
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    assert predicted_radius(one, 2 * one, -one).item() == 0.5  # concave: as if linear
    assert predicted_radius(one, zero, zero).item() == math.inf


def test_a_linear_network_has_the_distance_to_its_decision_boundaries() -> None:
    network = linear([[1.0, 0.0], [-1.0, 1.0], [-1.0, -2.0]])
    data = plane(network, 16)
    found = attack_radius(network, data, data, samples=16, steps=15, rounds=6, points=1)
    weight = network.weight.detach().double()
    distances = []
    for x, y in data.batches(1):
        if functional.cross_entropy(x @ weight.T, y) < math.log(2):
            rivals = [k for k in range(3) if k != int(y)]
            own = weight[int(y)]
            distances.append(min(float((own - weight[k]) @ x[0] / (own - weight[k]).norm()) for k in rivals))
    assert found["kept"] == len(distances) > 5
    assert found["measured"] == pytest.approx(distances, rel=0.1)
    assert all(measured >= true * (1 - 1e-5) for measured, true in zip(found["measured"], distances, strict=True))


def test_on_a_smooth_network_certified_is_below_the_truth_and_found_close_above_it() -> None:
    network = mlp(5, "tanh", inputs=2, widths=(6,))
    network[1].weight.data *= 3
    network[3].weight.data *= 3
    data = plane(network, 16)
    found = attack_radius(network, data, data, samples=16, steps=10, restarts=2, rounds=6, points=1)
    assert found["kept"] > 4 and found["above"]["certified"] == 0
    kept = [pair for pair in data.batches(1) if float(loss_at(network, pair[1][0])(pair[0][0])) < math.log(2)]
    checked = 0
    for (x, y), certified, measured in zip(kept, found["certified"], found["measured"], strict=True):
        true = nearest_wrong(network, x, y)
        assert certified <= true * 1.01  # the search in the plane is from above, on a grid of 1 %
        if measured is not None and true < 5:
            assert measured >= true * 0.97
            assert measured <= true * 1.25
            checked += 1
    assert checked > 3


def nearest_wrong(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Smallest radius of a grid in polar coordinates at which a point is misclassified."""
    radii = torch.logspace(-3, 1, 925, dtype=torch.float64)  # steps of 1 %
    angles = torch.linspace(0, 2 * math.pi, 181, dtype=torch.float64)[:-1]
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    points = x + radii[:, None, None] * circle
    with torch.no_grad():
        wrong = (network.double()(points.reshape(-1, 2)).argmax(1) != y).reshape(len(radii), -1).any(1)
    return float(radii[wrong][0]) if bool(wrong.any()) else math.inf


@pytest.mark.parametrize(
    ("seed", "widths", "activation"), [(0, (5,), "tanh"), (1, (4, 3), "tanh"), (2, (5,), "softplus")]
)
def test_certified_curvature_bounds_dense_hessians_where_the_label_has_half_the_mass(
    seed: int, widths: tuple[int, ...], activation: str
) -> None:
    network = mlp(seed, activation, widths=widths).float()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 4, generator=generator)
    network[-1].weight.data *= 5  # confident enough for p_y >= 1/2
    with torch.no_grad():
        y = network(x).argmax(1)
    bound, checked = certified_curvature(network, x, y), 0
    for sample, label, upper in zip(x, y, bound.tolist(), strict=True):
        for point in (sample + torch.randn(5, 4, generator=generator)).double():
            loss = loss_at(network, label)
            if float(loss(point)) <= math.log(2):
                top = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, point))[-1]
                assert float(top) <= upper
                checked += 1
    assert checked > 5


def test_the_radii_at_a_sample_are_those_of_the_dense_hessian() -> None:
    network = mlp(1, "tanh", inputs=2, widths=(5,))
    network[3].weight.data *= 6
    data = plane(network, 16)
    found = attack_radius(network, data, data, samples=16, **FAST)
    expected = []
    for x, y in data.batches(1):
        loss = loss_at(network, y[0])
        if float(loss(x[0])) >= math.log(2):
            continue
        c = math.log(2) - float(loss(x[0]))
        slope = float(torch.autograd.functional.jacobian(loss, x[0]).norm())
        top = max(0.0, float(torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, x[0]))[-1]))
        expected.append(2 * c / (slope + math.sqrt(slope**2 + 2 * top * c)))
    assert found["quadratic"] == pytest.approx(expected, rel=1e-4)
    assert all(s <= q * (1 + 1e-5) for s, q in zip(found["sampled"], found["quadratic"], strict=True))
    assert all(c <= s * (1 + 1e-5) for c, s in zip(found["certified"], found["sampled"], strict=True))
    ratios = [q / m for q, m in zip(found["quadratic"], found["measured"], strict=True) if m is not None]
    assert found["ratios"]["quadratic"] == pytest.approx(float(np.median(ratios)), rel=1e-4)


def test_it_is_deterministic_plain_json() -> None:
    network = mlp(1, "tanh", inputs=2)
    network[-1].weight.data *= 5
    data = plane(network, 10)
    found = attack_radius(network, data, data, samples=10, **FAST)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert attack_radius(network, data, data, samples=10, **FAST) == found


def test_a_piecewise_linear_network_has_no_certified_radius() -> None:
    network = mlp(1, "relu", inputs=2)
    network[-1].weight.data *= 30
    data = plane(network, 8)
    found = attack_radius(network, data, data, samples=8, **FAST)
    assert found["certified"] is None and found["certified_curvature"] is None
    assert found["kept"] and "certified" not in found["above"] and len(found["quadratic"]) == found["kept"]


def test_a_network_that_is_never_sure_keeps_no_sample() -> None:
    network = linear([[0.0, 0.0]] * 3)
    data = plane(network, 4)
    found = attack_radius(network, data, data, samples=4, **FAST)
    assert (found["samples"], found["kept"], found["measured"]) == (4, 0, [])
    assert found["medians"]["measured"] is None and found["spearman"]["quadratic"] is None
    json.dumps(found, allow_nan=False)


def test_where_no_attack_succeeds_there_is_no_measured_radius() -> None:
    network = nn.Linear(2, 2)
    network.weight.data.zero_()
    network.bias.data = torch.tensor([3.0, 0.0])
    data = Data("sure", torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), 2)
    found = attack_radius(network, data, data, samples=3, steps=3, rounds=2, points=1)
    assert found["measured"] == [None] * 3
    assert found["above"]["certified"] is None and found["quadratic"] == [None] * 3
    assert found["certified"] == [FAR] * 3


def test_found_radii_shrink_with_more_rounds() -> None:
    x, y = torch.tensor([[4.0, 0.0], [0.3, 0.0]], dtype=torch.float64), torch.tensor([0, 0])
    radii = [smallest_found(lambda x: x, x, y, steps=4, restarts=1, rounds=rounds) for rounds in (2, 9)]
    true = x[:, 0] / math.sqrt(2)
    assert bool((radii[1] >= true).all()) and bool((radii[1] <= radii[0]).all())
    assert radii[1].tolist() == pytest.approx(true.tolist(), rel=0.03)


def test_too_many_samples_are_refused() -> None:
    data = plane(linear([[1.0, 0.0]] * 3), 4)
    with pytest.raises(InputError, match="at most"):
        attack_radius(nn.Identity(), data, data, samples=1000)
