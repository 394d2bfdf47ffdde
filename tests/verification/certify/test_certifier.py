"""The certifier: routes against each other, refinement towards goals, bad input."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bounds.errors import InputError
from bounds.network import trace
from tests.verification import networks
from verification.attack_set import AttackSet
from verification.certify.certifier import Certifier
from verification.certify.float_errors import loss_allowance, slope_allowance
from verification.certify.linear_piece import linear_piece_radius
from verification.surrogates import slopes

seeds = st.integers(0, 10**6)
norms = st.sampled_from(["l2", "linf", "l1"])


def labels(n):
    return torch.arange(n) % 3


@given(seed=seeds, norm=norms, factor=st.sampled_from([0.98, 1.02]))
@settings(deadline=None, max_examples=6)
def test_the_linear_piece_route_ends_at_the_radius_of_the_linear_piece(seed, norm, factor):
    module, x = networks.mlp(seed).double(), networks.inputs(1, (4,), seed)
    network = trace(module, x)
    eps = float(factor * linear_piece_radius(network, x, norm))
    found = Certifier(network).certify(x, labels(1), AttackSet(norm, eps), effort="quick")
    assert math.isfinite(found.losses["linear piece"].item()) == (factor < 1)
    if factor < 1:  # inside, the bound is the robust loss of an affine function: margins fall by eps times dual norms
        jacobian = torch.from_numpy(networks.dense_jacobian(module, x[0]))
        dual = torch.linalg.vector_norm(jacobian - jacobian[0], {"l2": 2, "linf": 1, "l1": math.inf}[norm], dim=1)
        logits = network(x)[0]
        expected = torch.logsumexp(logits - logits[0] + eps * dual, dim=0)
        torch.testing.assert_close(found.losses["linear piece"][0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_loss_is_the_best_of_all_routes_and_batches_do_not_matter(activation):
    module, x, y = networks.mlp(2, activation).double(), networks.inputs(5, (4,), 2), labels(5)
    certifier = Certifier.measured(trace(module, x))
    whole = certifier.certify(x, y, AttackSet("l2", 0.1, (0.0, 1.0)))
    routes = torch.stack(list(whole.losses.values())).amin(dim=0)
    assert bool((whole.loss <= routes).all())
    for i, route in enumerate(whole.routes):
        if route != "combined":
            assert whole.losses[route][i] == routes[i]
    alone = certifier.certify(x, y, AttackSet("l2", 0.1, (0.0, 1.0)), batch=2)
    torch.testing.assert_close(alone.loss, whole.loss, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(alone.margin, whole.margin, rtol=1e-9, atol=1e-9)


def test_only_samples_above_their_goal_are_refined_and_more_effort_never_hurts():
    module, x, y = networks.mlp(5, widths=(12, 10)).double(), networks.inputs(4, (4,), 5), labels(4)
    certifier, attack_set = Certifier(trace(module, x)), AttackSet("linf", 0.4)
    quick = certifier.certify(x, y, attack_set, effort="quick")
    goals = torch.stack([quick.loss + 1, torch.full((4,), math.inf)], dim=1).double()
    goals[1, 0], goals[2, 0] = 0.0, math.inf
    standard = certifier.certify(x, y, attack_set, goals=goals)
    assert standard.losses["optimised slopes"].isfinite().tolist() == [False, True, False, False]
    refined = certifier.certify(x, y, attack_set)
    thorough = certifier.certify(x, y, attack_set, effort="thorough")
    assert bool((refined.loss <= quick.loss).all()) and bool((refined.loss < quick.loss - 1e-6).any())
    assert bool((thorough.loss <= refined.loss).all()) and bool((thorough.loss < refined.loss - 1e-6).any())
    assert "branching" in thorough.routes
    assert torch.equal(certifier.certify(x, y, attack_set, effort="thorough").loss, thorough.loss)


def test_radius_zero_gives_the_clean_loss():
    module, x, y = networks.cnn(1).double(), networks.inputs(3, (1, 4, 4), 1), labels(3)
    found = Certifier(trace(module, x)).certify(x, y, AttackSet("linf", 0.0, (0.0, 1.0)))
    clean = nn.functional.cross_entropy(module(x), y, reduction="none")
    torch.testing.assert_close(found.loss, clean, rtol=0, atol=1e-10)
    assert bool((found.loss >= clean - 1e-13).all())


def test_bad_input_is_refused():
    x = networks.inputs(2, (4,), 0)
    gated = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1), nn.Linear(4, 3))
    with pytest.raises(InputError, match="certificates are not available: .*Softmax"):
        Certifier(trace(gated, x))
    certifier = Certifier(trace(networks.mlp(0), x))
    with pytest.raises(InputError, match="effort"):
        certifier.certify(x, labels(2), AttackSet("l2", 0.1), effort="great")
    with pytest.raises(InputError, match="3 classes"):
        certifier.certify(x, torch.tensor([0, 3]), AttackSet("l2", 0.1))
    with pytest.raises(InputError, match="outside the box"):
        certifier.certify(x + 2, labels(2), AttackSet("l2", 0.1, (0.0, 1.0)))


def exact_forward(module, x):
    """Logits and Jacobian of a dense ReLU network with 600 bits, in which all sums here are exact."""
    exactly = np.vectorize(mpmath.mpf, otypes=[object])
    h, jacobian = exactly(x.numpy()), None
    for layer in module:
        if isinstance(layer, nn.Linear):
            w = exactly(layer.weight.detach().numpy())
            h = w @ h + exactly(layer.bias.detach().numpy())
            jacobian = w if jacobian is None else w @ jacobian
        elif isinstance(layer, nn.ReLU):
            jacobian = np.where((h > 0)[:, None], jacobian, mpmath.mpf(0))
            h = np.where(h > 0, h, mpmath.mpf(0))
    return h, jacobian


@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 1e4]))
@settings(deadline=None, max_examples=6)
def test_float_errors_cover_exact_arithmetic_and_not_much_more(seed, scale):
    module, x = networks.mlp(seed, widths=(20, 20)).double(), networks.inputs(1, (4,), seed)
    module[1].weight.data.mul_(scale)
    network, y = trace(module, x), torch.tensor([0])
    computed = slopes(network, x, y, "linf")
    with mpmath.workprec(600):
        logits, jacobian = exact_forward(module, x[0])
        loss = mpmath.log(sum(mpmath.exp(z) for z in logits)) - logits[0]
        largest = float(max(abs(logits)))
        allowed = loss_allowance(network, x).item()
        assert abs(computed.loss.item() - loss) <= allowed <= 1e-11 * (1 + largest)
        allowed = slope_allowance(network, x).item()
        exact = {
            "margin-jacobian": max(sum(abs(row - jacobian[0])) for row in jacobian),
            "row-sum": 2 * max(sum(abs(row)) for row in jacobian),
            "entrywise-l1": sum(sum(abs(row)) for row in jacobian),
        }
        for name, value in exact.items():
            assert abs(computed.slopes[name].item() - value) <= allowed, name
        assert allowed <= 1e-11 * (1 + largest) * float(exact["entrywise-l1"])
