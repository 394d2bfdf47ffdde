"""The Jacobian's range against dense Jacobians at sampled points, exact arithmetic and limits that are known."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bounds.network import Segment, trace
from tests.cases import CASES, mlp, traced
from verification.attack_set import AttackSet
from verification.certify.enclosure import enclose
from verification.certify.jacobian_range import changes, jacobian_interval, jacobian_range, mean_value_range
from verification.certify.relaxation import Relaxation

DUAL = {"l2": 2, "linf": 1, "l1": np.inf}
NAMES = (
    "mlp",
    "mlp-leaky_relu",
    "mlp-tanh",
    "mlp-sigmoid",
    "mlp-softplus",
    "mlp-gelu",
    "mlp-gelu_tanh",
    "mlp-silu",
    "mlp-elu",
    "mlp-zero-layer",
    "functional",
    "lenet",
    "max-pool-overlapping",
    "bn-after-pool",
    "normalised",
    "resnet",
    "densenet",
    "relu-start",
    "relu-end",
)
ROUNDING = 1e-12  # of the oracles


def perturbations(x, norm, eps, box, count, seed):
    """Vertices, points of the sphere and of the inside of the ball; the box only brings coordinates nearer to 0."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(count, x.numel()))
    signs = np.sign(noise)
    if norm == "linf":
        delta = np.where(generator.random((count, 1)) < 0.5, signs, generator.uniform(-1, 1, noise.shape))
    elif norm == "l2":
        delta = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    else:
        few = np.where(generator.random(noise.shape) < 2 / x.numel(), noise, 0)
        few[:, 0] += 1e-9
        delta = few / np.abs(few).sum(1, keepdims=True)
    delta = eps * delta * np.where(generator.random((count, 1)) < 0.3, generator.random((count, 1)), 1)
    if box is not None:
        delta = np.clip(delta, box[0] - x.numpy().ravel(), box[1] - x.numpy().ravel())
    return torch.from_numpy(delta).reshape(-1, *x.shape)


def dense(model, points):
    """(n, K, d), one backward pass per output."""
    points = points.clone().requires_grad_(True)
    outputs = model(points)
    rows = [torch.autograd.grad(outputs[:, k].sum(), points, retain_graph=True)[0] for k in range(outputs.shape[1])]
    return torch.stack(rows, 1).flatten(2).detach().numpy()


def enclosed(name, norm, eps, box=None, n=2, seed=0):
    x = CASES[name].inputs(n, seed)
    return enclose(traced(name), x, AttackSet(norm, eps, box)), x, (torch.arange(n) + seed) % 3


@pytest.mark.parametrize("name", NAMES)
@given(
    norm=st.sampled_from(sorted(DUAL)),
    eps=st.sampled_from([1e-3, 0.03, 0.3, 1.5]),
    box=st.sampled_from([None, (0.0, 1.0)]),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=3)
def test_never_exceeded(name, norm, eps, box, seed):
    if name == "relu-end":
        box = None
    model = CASES[name].module()
    enclosure, x, y = enclosed(name, norm, eps, box, seed=seed)
    bounds, norms = changes(enclosure, y), jacobian_range(enclosure, y)
    assert set(bounds) == {"jacobian interval", "jacobian relaxation"}
    for i, label in enumerate(y.tolist()):
        delta = perturbations(x[i], norm, eps, box, 400, seed)
        jacobian = dense(model, x[i] + perturbations(x[i], norm, eps, box, 400, seed + 1))
        margins = jacobian - jacobian[:, [label]]
        products = np.einsum("mkd,nd->mnk", margins[:50], delta.flatten(1).numpy()).max((0, 1))
        logits = (model(x[i] + delta) - model(x[i][None])).detach().numpy()
        growth = (logits - logits[:, [label]]).max(0)
        for bound in bounds.values():
            assert (growth <= bound[i].numpy() + ROUNDING).all() and bound[i, label] == 0
        assert (products <= bounds["jacobian interval"][i].numpy() + ROUNDING).all()
        assert np.linalg.norm(margins, DUAL[norm], axis=2).max() <= norms.margins[i] + ROUNDING
        assert np.linalg.norm(jacobian, axis=(1, 2)).max() <= norms.frobenius[i] + ROUNDING
        assert np.linalg.svd(jacobian, compute_uv=False).max() <= norms.spectral[i] + ROUNDING


@pytest.mark.parametrize("name", ["mlp-gelu", "lenet", "resnet", "densenet"])
@pytest.mark.parametrize("norm", sorted(DUAL))
def test_values_of_hidden_nodes_stay_in_their_mean_value_range(name, norm):
    enclosure, x, _ = enclosed(name, norm, 0.3, (0.0, 1.0))
    nodes = traced(name).nodes
    hidden = [position for position, node in enumerate(nodes) if isinstance(node.operation, Segment)][1:]
    values = [[x[i] + perturbations(x[i], norm, 0.3, (0.0, 1.0), 300, i)] for i in range(2)]
    for node in nodes[1:]:
        for outputs in values:
            outputs.append(node.operation(*(outputs[source] for source in node.inputs)))
    for position in hidden:
        low, high = mean_value_range(enclosure, position)
        for i in range(2):
            assert bool(((values[i][position] >= low[i] - 1e-13) & (values[i][position] <= high[i] + 1e-13)).all())
        if norm == "l1" and name == "lenet":
            plain_low, plain_high = enclosure.values[position]
            assert (high - low).mean() < 0.8 * (plain_high - plain_low).mean()


@pytest.mark.parametrize("name", ["mlp-deep", "lenet", "resnet", "densenet", "mlp-gelu"])
@pytest.mark.parametrize("norm", sorted(DUAL))
def test_a_point_has_its_own_jacobian(name, norm):
    eps = 1e-9
    enclosure, x, y = enclosed(name, norm, eps, n=3)
    jacobian = dense(CASES[name].module(), x)
    margins = jacobian - jacobian[np.arange(3), y][:, None]
    exact = np.linalg.norm(margins, DUAL[norm], axis=2)
    for bound in changes(enclosure, y).values():
        np.testing.assert_allclose(bound.numpy(), eps * exact, rtol=1e-5, atol=1e-13)
    norms = jacobian_range(enclosure, y)
    np.testing.assert_allclose(norms.margins, exact.max(1), rtol=1e-5)
    np.testing.assert_allclose(norms.frobenius, np.linalg.norm(jacobian, axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norms.spectral, np.linalg.svd(jacobian, compute_uv=False)[:, 0], rtol=1e-5)


def test_a_linear_network_is_exact_also_with_a_box():
    eps, enclosures = 0.3, {norm: enclosed("linear", norm, 0.3, (0.0, 1.0), n=4) for norm in DUAL}
    weight = CASES["linear"].module().weight.detach().numpy()
    enclosure, x, y = enclosures["linf"]
    down, up = np.maximum(-eps, -x.numpy()), np.minimum(eps, 1 - x.numpy())
    rows = weight[None] - weight[y][:, None]
    expected = np.maximum(rows * down[:, None], rows * up[:, None]).sum(2)
    for bound in changes(enclosure, y).values():
        np.testing.assert_allclose(bound, expected, rtol=1e-13, atol=1e-100)
    for norm, (enclosure, _, labels) in enclosures.items():
        norms = jacobian_range(enclosure, labels)
        dual_norms = np.linalg.norm(rows, DUAL[norm], axis=2).max(1)
        np.testing.assert_allclose(norms.margins, dual_norms, rtol=1e-13)
        np.testing.assert_allclose(norms.spectral, np.full(4, np.linalg.norm(weight, 2)), rtol=1e-13)
        assert bool((norms.margins >= torch.from_numpy(dual_norms) * (1 - 1e-15)).all())


def test_one_crossing_unit_by_hand():
    """f = (0, 3 relu(2 x)) around x = 0: slopes in [0, 6]."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2, bias=False)).double()
    model[0].weight.data = torch.tensor([[2.0]], dtype=torch.float64)
    model[2].weight.data = torch.tensor([[0.0], [3.0]], dtype=torch.float64)
    x, y = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0])
    enclosure = enclose(trace(model, x), x, AttackSet("l2", 0.5))
    for bound in changes(enclosure, y).values():
        assert bound[0].tolist() == pytest.approx([0.0, 3.0], rel=1e-13)
    norms = jacobian_range(enclosure, y)
    assert [value.item() for value in (norms.margins, norms.frobenius, norms.spectral)] == pytest.approx([6.0] * 3)
    low, high = jacobian_interval(enclosure, torch.eye(2, dtype=torch.float64)[None])
    assert low.flatten().tolist() == pytest.approx([0.0, 0.0]) and high.flatten().tolist() == pytest.approx([0.0, 6.0])


def test_a_pool_with_two_possible_winners_by_hand():
    """f = (0, max(x_1, 2 x_2)) around 0: the derivative is any mean of (1, 0) and (0, 2), the largest growth 2 eps."""
    model = nn.Sequential(
        nn.Linear(2, 2, bias=False), nn.Unflatten(1, (1, 2)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(1, 2, bias=False)
    ).double()
    model[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    model[4].weight.data = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    x, y = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])
    enclosure = enclose(trace(model, x), x, AttackSet("l1", 0.5))
    low, high = jacobian_interval(enclosure, torch.eye(2, dtype=torch.float64)[None])
    assert low[0, 1].tolist() == pytest.approx([0.0, 0.0]) and high[0, 1].tolist() == pytest.approx([1.0, 2.0])
    for bound in changes(enclosure, y).values():
        assert bound[0].tolist() == pytest.approx([0.0, 1.0], rel=1e-13)


@pytest.mark.parametrize("name", ["mlp", "lenet"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_relaxing_the_derivative_is_better_in_deep_networks(name, norm):
    x, y, network = CASES[name].inputs(4), torch.arange(4) % 3, traced(name)
    enclosure = enclose(network, x, AttackSet(norm, 0.2), Relaxation(network).tighten)
    bounds = {route: bound.mean().item() for route, bound in changes(enclosure, y).items()}
    assert bounds["jacobian relaxation"] < bounds["jacobian interval"]


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-3, 1.0, 1e6]))
@settings(deadline=None, max_examples=3)
def test_rounding_against_fractions(seed, scale):
    """Entries that nearly cancel: the exact Jacobian lies in the interval, which is only as wide as rounding is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp((3, 4, 4, 2)).double()
    with torch.no_grad():
        model[2].weight.mul_(scale)
        model[4].weight[:, 1] = -model[4].weight[:, 0] * (1 + 2.0**-40)
        model[2].weight[1] = model[2].weight[0]
        model[2].bias[1] = model[2].bias[0]
    x = torch.rand(1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    enclosure = enclose(trace(model, x), x, AttackSet("l2", 0.0))
    low, high = (end[0].tolist() for end in jacobian_interval(enclosure, torch.eye(2, dtype=torch.float64)[None]))

    def exact(matrix):
        return [[Fraction(value) for value in row] for row in matrix]

    def times(left, right):
        return [[sum((a * b for a, b in zip(row, column, strict=True)), Fraction(0)) for column in zip(*right, strict=True)] for row in left]  # noqa: E501  # fmt: skip

    z, product = [[Fraction(value)] for value in x[0].tolist()], [[Fraction(int(i == j)) for j in range(3)] for i in range(3)]  # noqa: E501  # fmt: skip
    for layer in (0, 2, 4):
        weight = exact(model[layer].weight.tolist())
        product = times(weight, product)
        z = [[h[0] + Fraction(c)] for h, c in zip(times(weight, z), model[layer].bias.tolist(), strict=True)]
        if layer < 4:
            active = [int(h[0] > 0) for h in z]
            product = [[on * value for value in row] for on, row in zip(active, product, strict=True)]
            z = [[on * h[0]] for on, h in zip(active, z, strict=True)]
    for k, i in itertools.product(range(2), range(3)):
        assert Fraction(low[k][i]) <= product[k][i] <= Fraction(high[k][i])
        assert high[k][i] - low[k][i] <= 1e-13 * scale


def test_rounding_within_one_layer():
    """Two dense maps in one segment, whose product all but cancels in every entry."""
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(8, 3, dtype=torch.float64, generator=generator)
    head = torch.randn(2, 8, dtype=torch.float64, generator=generator)
    model = nn.Sequential(nn.Linear(3, 16, bias=False), nn.Linear(16, 2, bias=False)).double()
    model[0].weight.data = torch.cat([half, -half * (1 + 1e-10)])
    model[1].weight.data = torch.cat([head, head * (1 - 1e-10)], 1)
    x = torch.zeros(1, 3, dtype=torch.float64)
    enclosure = enclose(trace(model, x), x, AttackSet("l2", 0.0))
    low, high = (end[0].tolist() for end in jacobian_interval(enclosure, torch.eye(2, dtype=torch.float64)[None]))
    for k, i in itertools.product(range(2), range(3)):
        pairs = zip(model[1].weight[k].tolist(), model[0].weight[:, i].tolist(), strict=True)
        exact = sum((Fraction(left) * Fraction(right) for left, right in pairs), Fraction(0))
        assert Fraction(low[k][i]) <= exact <= Fraction(high[k][i])
        assert high[k][i] - low[k][i] <= 1e-12


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=3)
def test_the_spectral_norm_is_an_upper_end_and_tight(seed):
    """Of a linear network whose two singular values nearly coincide."""
    generator = np.random.default_rng(seed)
    left, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    right, _ = np.linalg.qr(generator.normal(size=(5, 3)))
    model = nn.Linear(5, 3, bias=False).double()
    model.weight.data = torch.from_numpy(left @ np.diag([1.0, 1 - 1e-9, 1e-5]) @ right.T).contiguous()
    x = torch.zeros(1, 5, dtype=torch.float64)
    spectral = jacobian_range(enclose(trace(model, x), x, AttackSet("l2", 0.1)), torch.tensor([0])).spectral.item()
    assert 1 - 1e-15 <= spectral <= 1 + 1e-13


def test_no_number_is_lost_to_overflow():
    model = mlp((4,) + (5,) * 11 + (3,)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(30)
    x, y = torch.rand(1, 4, dtype=torch.float64), torch.tensor([1])
    enclosure = enclose(trace(model, x), x, AttackSet("linf", 1e300))
    for bound in changes(enclosure, y).values():
        assert not bool(bound.isnan().any()) and bound[0, 1] == 0
        assert bound[0, 0] == np.inf
