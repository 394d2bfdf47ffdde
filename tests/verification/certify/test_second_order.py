"""Second-order bounds: sampled losses, Jacobians of one-dimensional networks in closed form, quadratic limits."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from bounds.errors import InputError
from bounds.network import trace
from tests.cases import ACTIVATIONS, CASES, mlp, traced
from tests.verification.certify.test_jacobian_range import dense, perturbations
from verification.attack_set import AttackSet
from verification.certify.enclosure import enclose
from verification.certify.second_order import (
    _growth_by_norms,
    jacobian_lipschitz,
    second_order,
    why_not_second_order,
)

DUAL = {"l2": 2, "linf": 1, "l1": np.inf}
SMOOTH = ("tanh", "sigmoid", "softplus", "gelu", "gelu_tanh", "silu")


@cache
def network(activation, widths=(4, 6, 5, 3), scale=1.0):
    """A dense network and its trace."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = mlp(widths, activation=ACTIVATIONS[activation]).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "weight" in name:
                parameter.mul_(scale)
    return model, trace(model, torch.zeros(1, widths[0]))


def inputs(n, seed):
    return torch.rand(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def norms_of(model):
    return [np.linalg.norm(part.weight.detach().numpy(), 2) * (1 + 1e-14) for part in model if hasattr(part, "weight")]


def losses(model, x, label):
    with torch.no_grad():
        return F.cross_entropy(model(x), torch.full((len(x),), label), reduction="none")


@pytest.mark.parametrize("activation", SMOOTH)
@given(
    norm=st.sampled_from(sorted(DUAL)),
    eps=st.sampled_from([1e-3, 0.05, 0.5, 2.0]),
    box=st.sampled_from([None, (0.0, 1.0)]),
    scale=st.sampled_from([0.3, 3.0]),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=4)
def test_no_sample_exceeds_it(activation, norm, eps, box, scale, seed):
    model, traced_model = network(activation, scale=scale)
    x, y = inputs(2, seed), torch.tensor([0, 2])
    enclosure = enclose(traced_model, x, AttackSet(norm, eps, box))
    by_units = second_order(enclosure, y)
    best = second_order(enclosure, y, norms_of(model))
    assert bool((best <= by_units).all())
    for i, label in enumerate(y.tolist()):
        found = losses(model, x[i] + perturbations(x[i], norm, eps, box, 3000, seed), label)
        assert float(found.max()) <= best[i] + 1e-13


@pytest.mark.parametrize("name", ["adaptive-average", "normalised-inline"])
def test_convolutions(name):
    x, y = CASES[name].inputs(2), torch.tensor([0, 1])
    bound = second_order(enclose(traced(name), x, AttackSet("linf", 0.02)), y)
    for i, label in enumerate(y.tolist()):
        found = losses(CASES[name].module(), x[i] + perturbations(x[i], "linf", 0.02, None, 2000, i), label)
        assert float(found.max()) <= bound[i]


class SmoothResidual(nn.Module):
    """x + tanh(W x), then a classifier."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = x + torch.tanh(self.inner(x))
        return self.head(torch.cat([x, torch.sigmoid(x)], 1)[:, 2:6])


def test_a_smooth_residual_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = SmoothResidual().double()
    x, y = inputs(2, 0), torch.tensor([0, 1])
    bound = second_order(enclose(trace(model, x), x, AttackSet("l2", 0.3)), y)
    for i, label in enumerate(y.tolist()):
        found = losses(model, x[i] + perturbations(x[i], "l2", 0.3, None, 3000, i), label).max()
        clean = losses(model, x[i][None], label)[0]
        assert found <= bound[i] <= clean + 1.5 * (found - clean)


@pytest.mark.parametrize("with_norms", [False, True])
@pytest.mark.parametrize("norm", sorted(DUAL))
def test_first_order_exact_and_the_rest_quadratic(norm, with_norms):
    model, traced_model = network("tanh")
    x, y = inputs(3, 5), torch.arange(3)
    point = x.clone().requires_grad_(True)
    loss = F.cross_entropy(model(point), y, reduction="none")
    gradient = torch.autograd.grad(loss.sum(), point)[0].numpy()
    first_order = np.linalg.norm(gradient, DUAL[norm], axis=1)
    rests = []
    for eps in (1e-2, 1e-3, 1e-4):
        enclosure = enclose(traced_model, x, AttackSet(norm, eps))
        bound = second_order(enclosure, y, norms_of(model) if with_norms else None)
        rests.append((bound.numpy() - loss.detach().numpy() - eps * first_order) / eps**2)
    assert (rests[0] > 0).all() and (rests[0] < 20).all()
    np.testing.assert_allclose(rests[0], rests[1], rtol=0.3)
    np.testing.assert_allclose(rests[1], rests[2], rtol=0.1)


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_lambda_of_a_narrow_network_is_its_second_derivative(activation, depth):
    """Width 1, everything increasing: where all curvatures have one sign the terms of Lambda add up to |f''|."""
    layers = []
    weights = (1.5, 0.7, 2.0, 3.0)[:depth]
    for weight in weights:
        layers += [nn.Linear(1, 1), ACTIVATIONS[activation]()]
        layers[-2].weight.data, layers[-2].bias.data = torch.tensor([[weight]]), torch.tensor([0.2])
    model = nn.Sequential(*layers[:-1], nn.Linear(1, 2, bias=False)).double()
    model[-1].weight.data = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    x = torch.tensor([[0.3]], dtype=torch.float64)
    enclosure = enclose(trace(model, x), x, AttackSet("l2", 1e-9))
    bound = jacobian_lipschitz(enclosure, [*weights[:-1], weights[-1]]).item()

    point = x.clone().requires_grad_(True)
    terms, value, slope = 0.0, point, 1.0
    for part in model[:-1]:
        if isinstance(part, nn.Linear):
            weight = part.weight.item()
            value, slope, terms = part(value).detach(), slope * weight, terms * weight
        else:
            h = value.clone().requires_grad_(True)
            (first,) = torch.autograd.grad(part(h), h, create_graph=True)
            (second,) = torch.autograd.grad(first, h)
            terms = abs(first.item()) * terms + abs(second.item()) * slope**2
            slope, value = slope * first.item(), part(h).detach()
    assert bound == pytest.approx(terms, rel=1e-6)


@given(scale=st.sampled_from([0.3, 3.0]), seed=st.integers(0, 10**6), activation=st.sampled_from(SMOOTH))
@settings(deadline=None, max_examples=8)
def test_the_jacobian_never_changes_faster_than_lambda(scale, seed, activation):
    model, traced_model = network(activation, scale=scale)
    x = inputs(1, seed)
    for eps in (1e-3, 0.5):
        enclosure = enclose(traced_model, x, AttackSet("l2", eps))
        bound = jacobian_lipschitz(enclosure, norms_of(model)).item()
        points = x + perturbations(x[0], "l2", eps, None, 200, seed)
        jacobian, centre = dense(model, points), dense(model, x)
        rates = np.linalg.norm(jacobian - centre, 2, axis=(1, 2)) / np.linalg.norm((points - x).numpy(), axis=1)
        assert rates.max() <= bound * (1 + 1e-9)


def test_by_hand():
    """f = (0, 3 tanh(2x)) at its most curved point: J = 6 sech², |J'| = 12·beta, a tiny ball."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Tanh(), nn.Linear(1, 2, bias=False)).double()
    model[0].weight.data = torch.tensor([[2.0]], dtype=torch.float64)
    model[2].weight.data = torch.tensor([[0.0], [3.0]], dtype=torch.float64)
    at = -np.arctanh(1 / np.sqrt(3)) / 2  # there phi'' is largest, and positive
    x, y, eps = torch.tensor([[at]], dtype=torch.float64), torch.tensor([0]), 1e-3
    traced_model = trace(model, x)
    enclosure = enclose(traced_model, x, AttackSet("l2", eps))
    beta = 4 / (3 * np.sqrt(3))
    assert jacobian_lipschitz(enclosure, [2.0, 3.0]).item() == pytest.approx(12 * beta, rel=1e-4)
    z, first, second = 3 * np.tanh(2 * at), 6 * (1 - np.tanh(2 * at) ** 2), 12 * beta
    leads = np.log1p(np.exp(z + eps * first + eps**2 * second / 2))
    p = 1 / (1 + np.exp(-z))
    whole = np.log1p(np.exp(z)) + p * (eps * first + eps**2 * second / 2) + (2 * eps * first) ** 2 / 8
    exact = float(losses(model, x + eps, 0)[0])
    assert exact <= second_order(enclosure, y).item() <= min(leads, whole) * (1 + 1e-8)
    at_x, row = enclose(traced_model, x, AttackSet("l2", 0.0)), torch.tensor([[[-1.0, 1.0]]], dtype=torch.float64)
    by_norms = _growth_by_norms(enclosure, at_x, row, [2.0, 3.0])
    assert by_norms[0, 0].item() == pytest.approx(eps * first + np.sqrt(2) * eps**2 * second / 2, rel=1e-6)


@pytest.mark.parametrize("name", ["mlp-relu", "mlp-elu", "lenet", "vit"])
def test_why_not(name):
    why_not = why_not_second_order(traced(name))
    assert why_not is not None and ("derivative" in why_not or "LayerNorm" in why_not)
    if name != "vit":
        x = CASES[name].inputs(1)
        with pytest.raises(InputError, match="no second-order bound: .* has no Lipschitz derivative"):
            second_order(enclose(traced(name), x, AttackSet("l2", 0.1)), torch.tensor([0]))


def test_a_missing_norm_is_named():
    x = CASES["mlp-tanh"].inputs(1)
    with pytest.raises(InputError, match="1 operator norms given for 2 layers"):
        second_order(enclose(traced("mlp-tanh"), x, AttackSet("l2", 0.1)), torch.tensor([0]), [1.0])
