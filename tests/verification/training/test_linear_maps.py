"""Quick convolutions, pools and rectifiers: the same values and derivatives of every order as torch's own."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn
from torch.nn import functional

from verification.training import networks
from verification.training.regularisers import make, penalty
from verification.training.regularisers.linear_maps import QuickLinearMaps, inputs_only

CONVOLUTIONS = [
    {},
    {"padding": 1},
    {"stride": 2, "padding": (1, 0)},
    {"stride": (1, 2), "padding": 2, "dilation": 2},
    {"groups": 2},
    {"padding": "same"},
]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def quick(function):
    def inside(*arguments):
        with QuickLinearMaps():
            return function(*arguments)

    return inside


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_convolutions_and_their_first_and_second_derivatives(options, biased):
    x, weight = drawn(2, 4, 5, 6), drawn(4, 4 // options.get("groups", 1), 3, 3, seed=1)
    bias = drawn(4, seed=2) if biased else None
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias) if tensor is not None]
    convolve = quick(lambda x, w, b=None: functional.conv2d(x, w, b, **options))
    assert torch.equal(convolve(*inputs), functional.conv2d(x, weight, bias, **options))
    assert torch.autograd.gradcheck(convolve, inputs)
    assert torch.autograd.gradgradcheck(convolve, inputs)


@pytest.mark.parametrize("arguments", [(2,), (3,), ((2, 3),), (2, 1), (2, 2, 1), (3, None, 1), (4,)], ids=str)
def test_average_pools_and_their_derivatives(arguments):
    x = drawn(2, 3, 6, 6).requires_grad_()
    pool = quick(lambda x: functional.avg_pool2d(x, *arguments))
    assert torch.equal(pool(x), functional.avg_pool2d(x, *arguments))
    assert torch.autograd.gradcheck(pool, (x,)) and torch.autograd.gradgradcheck(pool, (x,))


def test_rectifiers_and_their_derivatives():
    x = drawn(3, 7).requires_grad_()
    rectify = quick(lambda x: functional.relu(x))
    assert torch.equal(rectify(x), torch.relu(x))
    assert torch.autograd.gradcheck(rectify, (x,)) and torch.autograd.gradgradcheck(rectify, (x,))
    zero = torch.zeros(2, requires_grad=True)
    (slope,) = torch.autograd.grad(rectify(zero).sum(), zero)
    assert torch.equal(slope, torch.zeros(2))


def test_a_rectifier_in_place_leaves_its_input():
    x = -torch.ones(2)
    with QuickLinearMaps():
        assert functional.relu(x, inplace=True).tolist() == [0.0, 0.0]
    assert x.tolist() == [-1.0, -1.0]


def test_derivatives_in_weights_are_left_out_inside_only():
    x, weight = drawn(1, 1, 3, 3).requires_grad_(), drawn(1, 1, 2, 2).requires_grad_()
    with QuickLinearMaps():
        output = functional.conv2d(x, weight).sum()
    with inputs_only():
        (inside,) = torch.autograd.grad(output, x, retain_graph=True)
        (left_out,) = torch.autograd.grad(output, weight, retain_graph=True, allow_unused=True)
    outside, in_weight = torch.autograd.grad(output, (x, weight))
    assert torch.equal(inside, outside) and left_out is None and in_weight.abs().sum() > 0


@pytest.mark.parametrize("name", ["jacobian-frobenius", "jacobian-l1", "data-spectral", "hessian-operator", "cure"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_penalties_of_a_network_and_their_gradients(name, activation, monkeypatch):
    network = nn.Sequential(
        networks.cnn(size=8, filters=(3, 4), hidden=6, classes=3, activation=activation), nn.ReLU()
    ).double()
    x, y = drawn(5, 1, 8, 8), torch.arange(5) % 3

    def gradients():
        value = make(name, {})(network, x, y, torch.Generator().manual_seed(1))
        return value, torch.autograd.grad(value, list(network.parameters()), allow_unused=True, materialize_grads=True)

    fast, fast_gradients = gradients()
    monkeypatch.setattr(penalty, "QuickLinearMaps", contextlib.nullcontext)
    slow, slow_gradients = gradients()
    assert fast.item() == pytest.approx(slow.item(), rel=1e-10)
    for one, other in zip(fast_gradients, slow_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-8, atol=1e-12)
