from __future__ import annotations

from fractions import Fraction

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
from verification.certify.linear_piece import linear_piece_radius

NORMS = ("l2", "linf", "l1")
CASES = {
    "mlp": (networks.mlp, (4,)),
    "leaky": (networks.leaky, (4,)),
    "max-pool": (networks.cnn, (1, 4, 4)),
    "average-pool": (lambda seed: networks.cnn(seed, "average"), (1, 4, 4)),
    "overlapping": (networks.overlapping_pool, (1, 4, 4)),
    "residual": (networks.residual, (4,)),
}


def slow_radius(model, x, q):
    """min |h|/‖∇h‖_q over the units of a sequential network, one at a time, by automatic differentiation."""
    x = x.clone().requires_grad_(True)
    h, radius = x[None], np.inf
    for module in model:
        units = []
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            units = list(h.flatten())
        elif isinstance(module, nn.MaxPool2d):
            step, size, padding = module.stride, module.kernel_size, module.padding
            for channel in h[0]:
                for top in range(-padding, channel.shape[0] + padding - size + 1, step):
                    for left in range(-padding, channel.shape[1] + padding - size + 1, step):
                        rows = slice(max(top, 0), top + size)
                        window = channel[rows, max(left, 0) : left + size].flatten()
                        units += [window.max() - value for value in window]
        for unit in units:
            (gradient,) = torch.autograd.grad(unit, x, retain_graph=True)
            norm = np.linalg.norm(gradient.flatten().numpy(), q)
            if norm > 0:
                radius = min(radius, abs(unit.item()) / norm)
        h = module(h)
    return radius


@pytest.mark.parametrize("case", [case for case in CASES if case != "residual"])
@pytest.mark.parametrize("norm", NORMS)
def test_radius_against_every_unit_by_autograd(case, norm):
    factory, shape = CASES[case]
    model, x = factory(3).double(), networks.inputs(4, shape, 3)
    ours = linear_piece_radius(trace(model, x), x, norm).numpy()
    dual = {"l2": 2, "linf": 1, "l1": np.inf}[norm]
    slow = np.array([slow_radius(model, sample, dual) for sample in x])
    np.testing.assert_allclose(ours, slow, rtol=1e-11)
    assert (ours <= slow * (1 + 1e-15)).all()


@pytest.mark.parametrize("case", CASES)
@given(norm=st.sampled_from(NORMS), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=3)
def test_the_network_is_affine_inside_the_radius(case, norm, seed):
    """L2.2: f(x + delta) = f(x) + J(x) delta up to ‖delta‖_p = r(x)."""
    factory, shape = CASES[case]
    model, x = factory(seed).double(), networks.inputs(2, shape, seed)
    radius = linear_piece_radius(trace(model, x), x, norm)
    noise = torch.randn(300, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ball = AttackSet(norm, 1.0)
    for i in range(2):
        jacobian, logits = networks.dense_jacobian(model, x[i]), networks.dense_logits(model, x[i])
        for spread in (1e3, 0.1):  # corners and the interior of the sphere
            delta = radius[i].clamp(max=10) * ball.project(spread * noise, noise)
            with torch.no_grad():
                moved = model(x[i] + delta).numpy()
            np.testing.assert_allclose(moved, logits + delta.flatten(1).numpy() @ jacobian.T, atol=1e-11)


@pytest.mark.parametrize("norm", NORMS)
def test_radius_of_a_hand_example(norm):
    # Units 3x_1+4x_2-5 and -x_1+1 at x = (2, 0): distances |1|/‖(3,4)‖_q and |-1|/‖(-1,0)‖_q.
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 4.0], [-1.0, 0.0]]))
        model[0].bias.copy_(torch.tensor([-5.0, 1.0]))
    x = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    expected = {"l2": 1 / 5, "linf": 1 / 7, "l1": 1 / 4}[norm]
    assert linear_piece_radius(trace(model, x), x, norm).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("norm", NORMS)
def test_a_unit_flips_just_beyond_the_radius(norm):
    """Tightness: along the critical unit's dual direction its sign changes at r(x), not later."""
    model, x = networks.mlp(7, widths=(6,)).double(), networks.inputs(5, (4,), 7)
    radius = linear_piece_radius(trace(model, x), x, norm)
    weight, bias = model[1].weight.detach().numpy(), model[1].bias.detach().numpy()
    h = x.numpy() @ weight.T + bias
    dual = {"l2": 2, "linf": 1, "l1": np.inf}[norm]
    for i in range(5):
        distances = np.abs(h[i]) / np.linalg.norm(weight, dual, axis=1)
        unit = distances.argmin()
        row = -np.sign(h[i, unit]) * weight[unit]
        if norm == "l2":
            direction = row / np.linalg.norm(row)
        elif norm == "linf":
            direction = np.sign(row)
        else:
            direction = np.eye(4)[np.abs(row).argmax()] * np.sign(row)
        for factor, flips in ((0.999, False), (1.001, True)):
            moved = weight @ (x[i].numpy() + factor * radius[i].item() * direction) + bias
            assert bool((np.sign(moved) != np.sign(h[i])).any()) == flips


def pooled_pair(weight):
    """max of two affine units, each its own channel position."""
    model = nn.Sequential(
        nn.Linear(2, 2, bias=False), nn.Unflatten(1, (1, 2)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(1, 2)
    ).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(weight))
    return model


def test_max_pool_counts_the_lead_over_the_rival():
    x = torch.tensor([[1.0, 0.25]], dtype=torch.float64)
    model = pooled_pair([[1.0, 0.0], [0.0, 1.0]])
    assert linear_piece_radius(trace(model, x), x, "l2").item() == pytest.approx(0.75 / 2**0.5)
    assert linear_piece_radius(trace(model, x), x, "linf").item() == pytest.approx(0.75 / 2)


def test_ties_and_constants():
    # Equal values with different gradients: on the kink. Two constants: never apart.
    x = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    assert linear_piece_radius(trace(pooled_pair([[1.0, 0.0], [0.0, 1.0]]), x), x, "l2").item() == 0.0
    assert linear_piece_radius(trace(pooled_pair([[0.0, 0.0], [0.0, 0.0]]), x), x, "l2").item() == np.inf
    # Copies of one unit cannot be told from units that differ by less than rounding.
    assert linear_piece_radius(trace(pooled_pair([[1.0, 2.0], [1.0, 2.0]]), x), x, "l2").item() == 0.0


@pytest.mark.parametrize("norm", NORMS)
def test_zeros_behind_a_relu_tie_for_ever(norm):
    """Units -1 - x_1 and -2 - x_2 are off at 0: max(0, 0) stays 0 until the first of them wakes up."""
    model = nn.Sequential(
        nn.Linear(2, 2), nn.ReLU(), nn.Unflatten(1, (1, 2)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(1, 2)
    ).double()
    model[0].weight.data, model[0].bias.data = -torch.eye(2, dtype=torch.float64), -torch.tensor([1.0, 2.0]).double()
    x = torch.zeros(1, 2, dtype=torch.float64)
    assert linear_piece_radius(trace(model, x), x, norm).item() == pytest.approx(1.0, rel=1e-13)


@given(seed=st.integers(0, 10**6), norm=st.sampled_from(("linf", "l1")))
@settings(deadline=None, max_examples=8)
def test_never_above_the_exact_radius(seed, norm):
    """Units that all but vanish at x: |h| / ‖∇h‖ in fractions."""
    generator = np.random.default_rng(seed)
    weight, x = generator.normal(size=(3, 4)) * 1e6, torch.from_numpy(generator.random((1, 4)))
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    model[0].weight.data = torch.from_numpy(weight)
    model[0].bias.data = -torch.from_numpy(weight) @ x[0] + 10.0 ** -torch.arange(6.0, 9.0, dtype=torch.float64)
    exact = []
    for row, offset in zip(model[0].weight.tolist(), model[0].bias.tolist(), strict=True):
        h = sum((Fraction(w) * Fraction(v) for w, v in zip(row, x[0].tolist(), strict=True)), Fraction(offset))
        sizes = [abs(Fraction(w)) for w in row]
        exact.append(abs(h) / (sum(sizes) if norm == "linf" else max(sizes)))
    radius = linear_piece_radius(trace(model, x), x, norm).item()
    assert Fraction(radius) <= min(exact) <= Fraction(radius) + Fraction(1e-14)


def test_only_values_below_the_smallest_radius_of_interest_may_be_too_large():
    model, x = networks.mlp(3).double(), networks.inputs(8, (4,), 3)
    network = trace(model, x)
    exact = linear_piece_radius(network, x, "l2")
    smallest = exact.median().item() * (1 + 1e-6)
    cut = torch.cat([linear_piece_radius(network, sample[None], "l2", smallest=smallest) for sample in x])
    # Batches of one and of eight are summed in different orders: equal to rounding only.
    torch.testing.assert_close(cut[exact > smallest], exact[exact > smallest], rtol=1e-12, atol=0)
    assert bool((cut >= exact * (1 - 1e-12)).all()) and bool((cut[exact <= smallest] <= smallest).all())
    # With no radius of interest at all only the first layer is looked at.
    x = networks.inputs(40, (4,), 3)
    first_layer, exact = linear_piece_radius(network, x, "l2", smallest=np.inf), linear_piece_radius(network, x, "l2")
    assert bool((first_layer >= exact * (1 - 1e-12)).all()) and bool((first_layer > 1.01 * exact).any())


def test_a_linear_network_is_one_piece():
    model, x = networks.mlp(1, widths=()), networks.inputs(2, (4,), 1)
    assert linear_piece_radius(trace(model, x), x, "l2").tolist() == [np.inf, np.inf]


def test_a_smooth_network_has_no_pieces():
    x = networks.inputs(2, (4,), 1)
    with pytest.raises(InputError, match="tanh is not piecewise linear"):
        linear_piece_radius(trace(networks.mlp(1, "tanh"), x), x, "l2")
