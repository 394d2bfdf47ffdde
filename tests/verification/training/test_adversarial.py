from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from bounds.errors import InputError
from bounds.inputs import load_data
from tests.verification import networks
from verification.attack_set import AttackSet
from verification.training.networks import build
from verification.training.regularisers.adversarial import Adversarial
from verification.training.trainer import train


def excess(network, x, y, worst):
    """Mean loss at x + worst minus at x, by numpy."""
    differences = []
    for sample, label, delta in zip(x, y, worst, strict=True):
        clean, attacked = (networks.dense_logits(network, point) for point in (sample, sample + delta))
        differences.append(networks.loss(attacked, label) - networks.loss(clean, label))
    return np.mean(differences)


def two_class_problem(seed):
    """A linear network of two classes and, per sample, the direction that raises its loss."""
    network = build("linear", {"inputs": 4, "classes": 2}, seed).double()
    x, y = networks.inputs(6, (4,), seed), torch.arange(6) % 2
    with torch.no_grad():
        weight = network[1].weight
        return network, x, y, weight[1 - y] - weight[y]


@pytest.mark.parametrize("seed", range(3))
def test_linf_with_box_is_the_closed_form_of_two_linear_classes(seed):
    network, x, y, upwards = two_class_problem(seed)
    eps = 0.4
    worst = (x + eps * upwards.sign()).clamp(0, 1) - x
    value = Adversarial("linf", eps)(network, x, y, torch.Generator().manual_seed(seed)).item()
    assert value == pytest.approx(excess(network, x, y, worst), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_l2_plain_ball_is_the_closed_form_of_two_linear_classes(seed):
    network, x, y, upwards = two_class_problem(seed)
    eps = 0.4
    worst = eps * upwards / upwards.norm(dim=1, keepdim=True)
    value = Adversarial("l2", eps, None, steps=40)(network, x, y, torch.Generator().manual_seed(seed)).item()
    exact = excess(network, x, y, worst)
    assert 0.97 * exact <= value <= exact * (1 + 1e-9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_perturbation_lies_in_the_set(norm):
    seen = []

    class Spy(torch.nn.Linear):
        def forward(self, z):
            seen.append(z.detach().clone())
            return super().forward(z)

    network, x, y = Spy(4, 3), networks.inputs(5, (4,), 0).float(), torch.arange(5) % 3
    x[0], x[1] = 0.0, 1.0
    Adversarial(norm, 0.7)(network, x, y, torch.Generator().manual_seed(0))
    ball = AttackSet(norm, 0.7 * (1 + 1e-6), (-1e-6, 1 + 1e-6))  # the network's inputs are float32
    assert len(seen) == 12 and all(bool(ball.contains(point - x, x).all()) for point in seen)
    assert ball.size(seen[-2] - x).max() > 0.6


def test_the_parameter_gradient_is_that_of_the_two_losses_at_a_fixed_perturbation():
    network, x, y, upwards = two_class_problem(1)
    eps = 0.3
    worst = (x + eps * upwards.sign()).clamp(0, 1) - x
    Adversarial("linf", eps)(network, x, y, torch.Generator().manual_seed(0)).backward()
    weight, step = network[1].weight, 1e-6
    for i, j in ((0, 0), (1, 2)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[i, j] += sign * step
                values.append(excess(network, x, y, worst))
                weight[i, j] -= sign * step
        assert weight.grad[i, j].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize(("norm", "eps"), [("l2", 0.6), ("linf", 0.1)])
def test_training_with_it_makes_the_network_robust(norm, eps):
    data, test, robust_losses = load_data("digits").subset(600, 0), load_data("digits", split="test"), {}
    x, y = test.x.float(), test.y
    for strength in (0.0, 1.0):
        network = build("mlp", {"inputs": 64, "widths": [32], "classes": 10}, seed=0)
        train(
            network,
            data,
            regulariser=Adversarial(norm, eps),
            strength=strength,
            epochs=20,
            batch_size=100,
            learning_rate=0.02,
        )
        excess = Adversarial(norm, eps, steps=30)(network, x, y, torch.Generator().manual_seed(1))
        robust_losses[strength] = (excess + functional.cross_entropy(network(x), y)).item()
    assert robust_losses[1.0] < 0.7 * robust_losses[0.0]


def test_the_generator_alone_decides():
    network, x, y = networks.mlp(0), networks.inputs(4, (4,), 0).float(), torch.arange(4) % 3
    torch.manual_seed(1)
    state = torch.get_rng_state()
    values = [
        Adversarial("l2", 0.5, steps=1)(network, x, y, torch.Generator().manual_seed(s)).item() for s in (0, 0, 1)
    ]
    assert values[0] == values[1] != values[2] and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("l1", 0.1), "norm"),
        (("l3", 0.1), "norm"),
        (("l2", -0.1), "radius"),
        (("linf", 0.1, (1.0, 0.0)), "box"),
        (("linf", 0.1, None, 0), "0 steps"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Adversarial(*arguments)
