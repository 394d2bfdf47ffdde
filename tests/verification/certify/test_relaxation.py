"""The backward relaxation against slow explicit oracles, exact arithmetic and dense twins."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bounds.network import trace
from tests.cases import CASES
from tests.verification import networks
from verification.attack_set import AttackSet
from verification.certify.branching import branched
from verification.certify.certificate import loss_of_lead
from verification.certify.direct import direct_cap
from verification.certify.enclosure import enclose
from verification.certify.optimised import optimised_lead
from verification.certify.relaxation import Functionals, Relaxation
from verification.certify.rivals import Rivals

DUAL = {"l2": 2, "linf": 1, "l1": np.inf}
seeds = st.integers(0, 10**6)
norms = st.sampled_from(sorted(DUAL))


def relaxed(module, x, norm, eps, box=None):
    network = trace(module, x)
    relaxation = Relaxation(network)
    return relaxation, enclose(network, x, AttackSet(norm, eps, box), relaxation.tighten)


def rows(y, classes):
    unit = torch.eye(classes, dtype=torch.float64)
    return unit[y][:, None] - unit[None]


def lead(module, x, y, norm, eps, box=None):
    relaxation, enclosure = relaxed(module, x, norm, eps, box)
    output = len(enclosure.values) - 1
    return relaxation.minimum(enclosure, output, Functionals(rows(y, enclosure.network.outputs)))


def crown_by_hand(weights, biases, x, eps, q):
    """One sample, dense ReLU layers, plain ball, one coefficient at a time, ranges cut with interval arithmetic."""

    def lowest(layer, row):
        a, constant = row @ weights[layer], row @ biases[layer]
        for below in range(layer - 1, -1, -1):
            pulled = np.zeros_like(a)
            for u, (low, high) in enumerate(ranges[below]):
                if high <= 0:
                    slope, intercept = 0.0, 0.0
                elif low >= 0:
                    slope, intercept = 1.0, 0.0
                elif a[u] >= 0:
                    slope, intercept = (1.0 if high > -low else 0.0), 0.0
                else:
                    slope = high / (high - low)
                    intercept = -slope * low
                pulled[u], constant = a[u] * slope, constant + a[u] * intercept
            constant += pulled @ biases[below]
            a = pulled @ weights[below]
        return constant + a @ x - eps * np.linalg.norm(a, q)

    ranges = []
    low, high = x - eps, x + eps
    for layer in range(len(weights) - 1):
        w = weights[layer]
        by_interval = (
            biases[layer] + np.maximum(w, 0) @ low + np.minimum(w, 0) @ high,
            biases[layer] + np.maximum(w, 0) @ high + np.minimum(w, 0) @ low,
        )
        unit = np.eye(len(w))
        crossing = (by_interval[0] < 0) & (by_interval[1] > 0)  # where no kink is crossed the range is not needed
        below, above = ([lowest(layer, sign * row) for row in unit] for sign in (1, -1))
        low = np.where(crossing, np.maximum(by_interval[0], below), by_interval[0])
        high = np.where(crossing, np.minimum(by_interval[1], np.negative(above)), by_interval[1])
        ranges.append(list(zip(low, high, strict=True)))
        low, high = np.maximum(low, 0), np.maximum(high, 0)
    return lowest


@given(seed=seeds, norm=norms, eps=st.sampled_from([0.0, 0.01, 0.3, 2.0]))
@settings(deadline=None, max_examples=8)
def test_dense_relu_networks_against_crown_written_out(seed, norm, eps):
    module = networks.mlp(seed, widths=(6, 5, 4)).double()
    x = networks.inputs(2, (4,), seed)
    layers = [layer for layer in module if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach().numpy() for layer in layers]
    biases = [layer.bias.detach().numpy() for layer in layers]
    network = trace(module, x)
    relaxation = Relaxation(network)
    for i, label in enumerate((0, 2)):  # one by one: a unit is looked at if any sample of the batch needs it
        enclosure = enclose(network, x[i : i + 1], AttackSet(norm, eps), relaxation.tighten)
        functionals = Functionals(rows(torch.tensor([label]), 3))
        found = relaxation.minimum(enclosure, len(network.nodes) - 1, functionals)[0].numpy()
        lowest = crown_by_hand(weights, biases, x[i].numpy(), eps, DUAL[norm])
        expected = [lowest(len(weights) - 1, np.eye(3)[label] - np.eye(3)[k]) for k in range(3)]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        assert (found <= np.array(expected) + 1e-14).all()  # rounding is paid for, never collected


class Strided(nn.Module):
    """Two strided convolutions and two dense layers: windows in the first layers, everything after."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 3, 3, stride=2, padding=1)
        self.two = nn.Conv2d(3, 4, 3, stride=1, padding=1, groups=1)
        self.three, self.four = nn.Linear(4 * 16, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.two(torch.relu(self.one(x))))
        return self.four(torch.relu(self.three(x.flatten(1))))


class Twin(nn.Module):
    """The same network with every convolution written as a matrix."""

    def __init__(self, module):
        super().__init__()
        self.layers = nn.ModuleList()
        shape = (1, 1, 7, 7)
        for layer in (module.one, module.two):
            zero = torch.zeros(shape, dtype=torch.float64)
            matrix = torch.autograd.functional.jacobian(lambda z, layer=layer: layer(z), zero)
            out = layer(zero)
            dense = nn.Linear(zero.numel(), out.numel()).double()
            dense.weight.data = matrix.reshape(out.numel(), zero.numel())
            dense.bias.data = out.detach().flatten()
            self.layers.append(dense)
            shape = out.shape
        self.layers += [module.three, module.four]

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


@pytest.mark.parametrize("norm", sorted(DUAL))
@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
def test_windows_of_convolutions_change_nothing(norm, box):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = Strided().double()
    x, y = networks.inputs(3, (1, 7, 7), 3), torch.tensor([0, 1, 2])
    eps = {"linf": 0.1, "l2": 0.5, "l1": 1.0}[norm]
    windows, dense = (lead(network, x, y, norm, eps, box) for network in (module, Twin(module).double()))
    torch.testing.assert_close(windows, dense, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("norm", sorted(DUAL))
def test_a_convolution_of_zeros_is_a_constant(norm):
    module = Strided().double()
    nn.init.zeros_(module.one.weight)
    x, y = networks.inputs(2, (1, 7, 7), 3), torch.tensor([0, 1])
    logits = module(x).detach()
    found = lead(module, x, y, norm, 1.0)
    torch.testing.assert_close(found, logits.gather(1, y[:, None]) - logits, rtol=0, atol=1e-12)


@given(
    seed=seeds, scale=st.sampled_from([1.0, 1e-8, 1e8]), eps=st.sampled_from([0.0, 2.0**-7, 0.5]), kink=st.booleans()
)
@settings(deadline=None, max_examples=16)
def test_allowances_cover_exact_arithmetic(seed, scale, eps, kink):
    """Affine layers that cancel, with or without a nonlinearity that does nothing: the minimum is rational."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(40, 9, generator=generator, dtype=torch.float64) * scale
    second = torch.randn(2, 40, generator=generator, dtype=torch.float64)
    second[0, 20:], first[20:] = second[0, :20], -first[:20] * (1 + 2.0**-40)  # large terms, small sums
    x = torch.rand(1, 9, generator=generator, dtype=torch.float64)
    between = [nn.LeakyReLU(1.0)] if kink else []
    module = nn.Sequential(nn.Linear(9, 40), *between, nn.Linear(40, 2, bias=False)).double()
    module[0].weight.data, module[-1].weight.data = first, second
    module[0].bias.data = torch.randn(40, generator=generator, dtype=torch.float64) * scale
    found = lead(module, x, torch.tensor([0]), "linf", eps)[0, 1].item()
    rational = np.vectorize(Fraction, otypes=[object])
    a = rational(second[0].numpy()) - rational(second[1].numpy())
    through = a @ rational(first.numpy())
    exact = a @ rational(module[0].bias.detach().numpy()) + through @ rational(x[0].numpy())
    exact -= Fraction(eps) * sum(abs(entry) for entry in through)
    size = float(sum(abs(entry) for entry in np.abs(a) @ np.abs(rational(first.numpy()))))
    assert Fraction(found) <= exact
    assert float(exact) - found <= 1e-11 * size + 1e-12 * scale  # and not by much


@given(
    seed=seeds,
    norm=norms,
    boxed=st.booleans(),
    eps=st.sampled_from([0.01, 0.2, 1.0]),
    name=st.sampled_from(sorted(CASES)),
)
@settings(deadline=None, max_examples=8)
def test_every_layer_kind_stays_below_every_perturbation(seed, norm, boxed, eps, name):
    case = CASES[name]
    module, x = case.module(seed % 7), case.inputs(2, seed)
    network = trace(module, x)
    if any(type(node.operation).__name__ == "Opaque" for node in network.nodes):
        return
    box = (0.0, 1.0) if boxed else None
    y = torch.zeros(2, dtype=torch.int64)
    found = lead(module, x, y, norm, eps, box)
    generator = torch.Generator().manual_seed(seed)
    attack_set = AttackSet(norm, eps, box)
    for scale in (0.3, 1.0, 30.0):
        noise = torch.randn(2 * 40, *case.input_shape, generator=generator, dtype=torch.float64)
        many = x.repeat_interleave(40, dim=0)
        logits = network(many + attack_set.project(scale * eps * noise, many)).reshape(2, 40, -1)
        assert bool((logits[:, :, :1] - logits >= found[:, None] - 1e-12 * (1 + found[:, None].abs())).all())


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_optimised_slopes_and_branches_only_improve_and_stay_sound(activation):
    module, x, y = (
        networks.mlp(5, activation, widths=(12, 10)).double(),
        networks.inputs(3, (4,), 5),
        torch.tensor([0, 1, 2]),
    )
    relaxation, enclosure = relaxed(module, x, "linf", 0.4)
    plain = lead(module, x, y, "linf", 0.4)
    better = torch.maximum(plain, optimised_lead(relaxation, enclosure, rows(y, 3)))
    assert bool((better > plain + 1e-6).any())
    corners = torch.cartesian_prod(*[torch.tensor([-0.4, 0.4], dtype=torch.float64)] * 4)
    inside = torch.cat([corners * t for t in (1.0, 0.7, 0.3)])
    logits = module((x[:, None] + inside).flatten(0, 1)).detach().reshape(3, len(inside), 3)
    truth = (logits.gather(2, y[:, None, None].expand(-1, len(inside), 1)) - logits).amin(dim=1)
    assert bool((better <= truth + 1e-12).all())
    if activation == "relu":
        for i in range(3):
            one = enclosure.subset(torch.tensor([i]))
            leaves = branched(relaxation, one, rows(y[i : i + 1], 3), better[i : i + 1], -1.0)
            loss = torch.logsumexp(logits[i] - logits[i][:, y[i], None], dim=1).amax().item()
            before = loss_of_lead(better[i : i + 1]).item()
            assert loss - 1e-9 <= leaves.cap.item() < before - 1e-4
            assert bool((leaves.lead <= truth[i] + 1e-12).all()) and bool((leaves.lead >= better[i]).all())


def test_the_direct_bound_is_exact_for_two_classes_and_better_where_rivals_exclude_each_other():
    # z = (0, 9 delta, -9 delta): both rivals cannot lead at once
    module = nn.Linear(1, 3).double()
    module.weight.data = torch.tensor([[0.0], [9.0], [-9.0]], dtype=torch.float64)
    module.bias.data.zero_()
    x, y = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0])
    relaxation, enclosure = relaxed(module, x, "linf", 1.0)
    leads = lead(module, x, y, "linf", 1.0)
    cap = direct_cap(relaxation, enclosure, Rivals.chosen(enclosure, y, 3), leads)
    truth = float(np.log(1 + np.exp(9.0) + np.exp(-9.0)))
    assert truth <= cap.item() <= truth + 1e-3 < loss_of_lead(leads).item() - 0.5
