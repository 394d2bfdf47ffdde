"""Theory L3.4 and L3.5 against dense numpy oracles, inside the linear piece and where they must break."""

from __future__ import annotations

import functools
import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bounds.errors import InputError
from bounds.measure.pr_norm import power_iterates
from bounds.network import trace
from tests.verification import networks
from verification.attack_set import AttackSet
from verification.attacks import attack
from verification.certify.linear_piece import linear_piece_radius
from verification.power_method import alignment, compare_iterates, compare_objectives, infinite_step

EXPONENTS = {"l2": 2.0, "linf": np.inf, "l1": 1.0}
LOGIT_NORMS = (1.0, 2.0, np.inf)
CASES = {
    "mlp": (networks.mlp, (4,)),
    "leaky": (networks.leaky, (4,)),
    "max-pool": (networks.cnn, (1, 4, 4)),
    "residual": (networks.residual, (4,)),
}
STEPS = 6


@functools.cache
def traced(case):
    """One network per case, its trace and the shape of its inputs; tests only read them."""
    factory, shape = CASES[case]
    model = factory(5).double()
    return model, trace(model, networks.inputs(1, shape, 0)), shape


@functools.cache
def linear(*rows):
    """x -> Wx and its trace."""
    weight = torch.tensor(rows, dtype=torch.float64)
    model = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
    model.weight.data = weight
    return model, trace(model, torch.zeros(1, weight.shape[1]))


def project(point, norm, eps):
    """Euclidean projection onto a ball: scaling, clipping, soft thresholding by sorting."""
    if norm == "linf":
        return np.clip(point, -eps, eps)
    if np.linalg.norm(point, EXPONENTS[norm]) <= eps:
        return point
    if norm == "l2":
        return eps * point / np.linalg.norm(point)
    sizes = np.sort(np.abs(point))[::-1]
    excess = np.cumsum(sizes) - eps
    count = max(k for k in range(1, len(sizes) + 1) if sizes[k - 1] > excess[k - 1] / k)
    return np.sign(point) * np.maximum(np.abs(point) - excess[count - 1] / count, 0)


def dual_map(z, norm):
    """Argmax of v·z over the unit ball, z without ties or zeros."""
    if norm == "l2":
        return z / np.linalg.norm(z)
    if norm == "linf":
        return np.sign(z)
    return np.sign(z) * (np.abs(z) == np.abs(z).max())


def functional(w, r):
    """U with u·w = ‖w‖_r, of dual norm 1."""
    return dual_map(w, {1.0: "linf", 2.0: "l2", np.inf: "l1"}[r])


def start(x, norm, seed):
    noise = torch.randn(1, x.numel(), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return dual_map(noise[0].numpy(), norm)


def slow_distance(model, x, norm, eps, r, seed):
    """L3.4 by hand: the dense Jacobian's power method against ascent with long steps, both projected by sorting."""
    jacobian, logits = networks.dense_jacobian(model, x), networks.dense_logits(model, x)
    v = start(x, norm, seed)
    delta, largest = eps * v, 0.0
    for _ in range(STEPS + 1):
        largest = max(largest, np.linalg.norm(delta - eps * v, EXPONENTS[norm]) / eps)
        moved = x + torch.from_numpy(delta).reshape(x.shape)
        u = functional(networks.dense_logits(model, moved) - logits, r)
        gradient = networks.dense_jacobian(model, moved).T @ u
        length = (1e12 if norm == "l2" else 1e5) * eps  # the vertices of the others are reached exactly
        delta = project(delta + length * gradient / np.abs(gradient).max(), norm, eps)
        v = dual_map(jacobian.T @ functional(jacobian @ v, r), norm)
    return largest


def slow_operator_norm(jacobian, norm, r):
    """‖J‖_{p→r} by enumeration of the vertices of the ball or of the dual ball; by a full SVD for p = r = 2."""

    def signs(count):
        return np.array(list(itertools.product((1, -1), repeat=count)))

    if norm == "l1":
        return max(np.linalg.norm(column, r) for column in jacobian.T)
    if norm == "linf":
        return max(np.linalg.norm(jacobian @ s, r) for s in signs(jacobian.shape[1]))
    if r == 1:
        return max(np.linalg.norm(jacobian.T @ s) for s in signs(jacobian.shape[0]))
    return np.linalg.svd(jacobian)[1][0] if r == 2 else max(np.linalg.norm(row) for row in jacobian)


@pytest.mark.parametrize("norm", EXPONENTS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_an_infinite_step_is_the_limit_of_long_ones(norm, data):
    """Small integers, so that ties and zero coordinates are common."""
    d, eps = data.draw(st.integers(1, 5)), data.draw(st.sampled_from((0.5, 2.0)))
    vectors = st.lists(st.integers(-2, 2).map(float), min_size=d, max_size=d).map(np.array)
    delta, gradient = project(data.draw(vectors), norm, eps), data.draw(vectors)
    found = infinite_step(*map(torch.from_numpy, (delta[None], gradient[None])), AttackSet(norm, eps))[0].numpy()
    np.testing.assert_allclose(found, project(delta + 1e8 * gradient, norm, eps), atol=1e-7)


@pytest.mark.parametrize("norm", EXPONENTS)
@pytest.mark.parametrize("case", CASES)
def test_iterates_agree_inside_the_piece_and_the_distance_is_right_everywhere(case, norm):
    model, network, shape = traced(case)
    samples, checked = networks.inputs(3, shape, 5), 0
    for x, r in zip(samples, LOGIT_NORMS, strict=True):
        radius = linear_piece_radius(network, x[None], norm).item()
        for share in (0.9, 5.0, 30.0):
            found = compare_iterates(model, network, x[None], norm, share * radius, r, steps=STEPS, seed=9)
            assert found.radius.item() == radius and found.inside.item() == (share < 1) and not found.refuted.item()
            if found.unique.item():
                checked += 1
                expected = slow_distance(model, x, norm, share * radius, r, seed=9)
                assert found.distance.item() == pytest.approx(expected, abs=1e-9)
                if share < 1:
                    assert found.distance.item() < 1e-10
    assert checked >= 3


@pytest.mark.parametrize("r", LOGIT_NORMS)
@pytest.mark.parametrize("norm", EXPONENTS)
def test_iterates_part_beyond_the_piece(norm, r):
    (model, network, _), samples = traced("mlp"), networks.inputs(12, (4,), 5)
    eps = 30 * linear_piece_radius(network, samples, norm).median().item()
    found = compare_iterates(model, network, samples, norm, eps, r)
    assert int((~found.agrees & ~found.inside).sum()) >= 3
    assert not bool(found.refuted.any())


def test_the_top_singular_vector_is_reached():
    (model, network, _), x = traced("mlp"), networks.inputs(10, (4,), 2)
    eps = 0.5 * linear_piece_radius(network, x, "l2").min().item()
    np.testing.assert_allclose(compare_iterates(model, network, x, "l2", eps, steps=400).attained, 1, rtol=1e-6)


def test_elsewhere_a_stationary_value_is_reached():
    """Each column of diag(2, 1) is stationary for p = 1: half of the starts stay at the smaller one."""
    found = compare_iterates(*linear((2.0, 0.0), (0.0, 1.0)), networks.inputs(20, (2,), 0), "l1", 0.1)
    assert set(found.attained.tolist()) == {0.5, 1.0} and bool(found.agrees.all()) and bool(found.unique.all())


def test_on_the_boundary_an_iterate_may_sit_on_a_kink():
    """h = x + (1, 5), r(0) = 1 for l1: at delta = -e_1 the ReLU has no gradient, and torch's zero leads elsewhere."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    weights = ([[1.0, 0.0], [0.0, 1.0]], [1.0, 5.0], [[1.0, 0.5], [0.0, 1.0]], [0.0, 0.0])
    for parameter, value in zip(model.parameters(), weights, strict=True):
        parameter.data = torch.tensor(value, dtype=torch.float64)
    x = torch.zeros(20, 2, dtype=torch.float64)
    network = trace(model, x)
    below, at = (compare_iterates(model, network, x, "l1", eps, steps=1) for eps in (0.999, 1.0))
    assert bool(below.inside.all() and below.agrees.all())
    assert not bool(at.inside.any()) and not bool(at.agrees.all())


def test_only_almost_every_start_reaches_the_top_singular_vector():
    """The published "surely" fails for J = diag(2, 1) and v_0 = e_2."""
    stretch, second = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0.0, 1.0]])
    for v in itertools.islice(power_iterates(stretch, 2, 2, second), 20):
        assert torch.equal(v, second)


@pytest.mark.parametrize(
    ("norm", "r", "weight"),
    [
        ("linf", 2.0, [[3.0, 1.0, 0.0], [1.0, -2.0, 0.0]]),  # no logit depends on the third input
        ("l1", 2.0, [[2.0, 2.0, 0.5], [1.0, 1.0, 0.5]]),  # two equal columns
        ("l1", 2.0, [[0.0, 0.0], [0.0, 0.0]]),
        ("l2", 1.0, [[0.0, 0.0], [2.0, 1.0]]),  # a logit that never moves
        ("l2", np.inf, [[2.0, 1.0], [2.0, 1.0]]),  # two logits that move alike
    ],
)
def test_ties_and_zero_coordinates_are_reported_not_refuted(norm, r, weight):
    found = compare_iterates(*linear(*map(tuple, weight)), networks.inputs(1, (len(weight[0]),), 0), norm, 0.5, r)
    assert found.inside.item() and not found.unique.item() and not found.refuted.item()


@pytest.mark.parametrize("r", LOGIT_NORMS)
@pytest.mark.parametrize("norm", EXPONENTS)
def test_a_linear_network_is_the_power_method_at_every_radius(norm, r):
    model, network = linear((2.0, -1.1, 0.5), (0.3, 1.73, -4.0))
    x, y = networks.inputs(3, (3,), 1), torch.tensor([0, 1, 0])
    norm_of_j = slow_operator_norm(model.weight.detach().numpy(), norm, r)
    for eps in (1e-3, 100.0):
        assert bool(compare_iterates(model, network, x, norm, eps, r).agrees.all())
        found = compare_objectives(model, network, x, y, norm, eps, r, strength=0.7)
        loss = np.array([networks.loss(networks.dense_logits(model, x[i]), y[i]) for i in range(3)])
        np.testing.assert_allclose(found.perturbed, loss + 0.7 * eps * norm_of_j, rtol=1e-12)
        np.testing.assert_allclose(found.operator, loss + 0.7 * eps * norm_of_j, rtol=1e-12)
        assert bool((found.gradient_difference < 1e-10).all()) and bool(found.inside.all())


@pytest.mark.parametrize("norm", EXPONENTS)
@pytest.mark.parametrize("case", ["mlp", "leaky", "residual"])
def test_objectives_and_parameter_gradients_agree_inside_the_piece(case, norm):
    (model, network, _), y, apart = traced(case), torch.tensor([1]), []
    samples = networks.inputs(3, (4,), 4)[:, None]
    for x, r in zip(samples, LOGIT_NORMS, strict=True):
        radius = linear_piece_radius(network, x, norm).item()
        clean = networks.loss(networks.dense_logits(model, x[0]), 1)
        norm_of_j = slow_operator_norm(networks.dense_jacobian(model, x[0]), norm, r)
        inside, outside = (
            compare_objectives(model, network, x, y, norm, share * radius, r, strength=2.0) for share in (0.9, 30)
        )
        assert inside.inside.item() and not outside.inside.item()
        assert inside.perturbed.item() == pytest.approx(clean + 1.8 * radius * norm_of_j, rel=1e-10)
        assert inside.operator.item() == pytest.approx(clean + 1.8 * radius * norm_of_j, rel=1e-10)
        assert outside.operator.item() == pytest.approx(clean + 60 * radius * norm_of_j, rel=1e-10)
        assert inside.gradient_difference.item() < 1e-9
        assert inside.same_direction.item() == pytest.approx(1, abs=1e-9)
        apart.append(outside.gradient_difference.item())
    assert max(apart) > 1e-3


def test_beyond_the_piece_by_hand():
    """f(x) = c·phi(ax + b), phi with slope 2 below 0, x = 1, a = 1, b = 0, c = (1, 1): the worst of [-3, 3] is -3.

    ‖f(-2) - f(1)‖ = |2(a - 3a + b) - (a + b)|·‖c‖ = (5a - b)·√2 against 3·√2, so with the loss log 2 and strength 1
    the gradients in (a, b, c) differ by (2√2, -√2, √2, √2), and that of the second objective has squared norm
    (3√2)² + (3/√2 - 1/2)² + (3/√2 + 1/2)² + 1/2 = 28, the last 1/2 from the output's bias.
    """
    model = nn.Sequential(nn.Linear(1, 1), nn.LeakyReLU(2.0), nn.Linear(1, 2)).double()
    for parameter, value in zip(model.parameters(), ([[1.0]], [0.0], [[1.0], [1.0]], [0.0, 0.0]), strict=True):
        parameter.data = torch.tensor(value, dtype=torch.float64)
    x, y = torch.ones(1, 1, dtype=torch.float64), torch.tensor([0])
    network = trace(model, x)
    found = compare_objectives(model, network, x, y, "l2", 3.0)
    assert found.radius.item() == pytest.approx(1.0) and not found.inside.item()
    assert found.perturbed.item() == pytest.approx(math.log(2) + 5 * math.sqrt(2))
    assert found.operator.item() == pytest.approx(math.log(2) + 3 * math.sqrt(2))
    assert found.gradient_difference.item() == pytest.approx(math.sqrt(14 / 28))
    at_the_kink = compare_objectives(model, network, x, y, "l2", found.radius.item())
    assert not at_the_kink.inside.item()  # L3.5 needs eps < r(x)


@pytest.mark.parametrize(("norm", "r"), [("l2", 2.0), ("linf", 1.0), ("l1", np.inf)])
def test_both_maxima_change_alike_with_every_parameter(norm, r):
    """The envelope theorem, without it: finite differences with both maximisers found anew."""
    model, x, y = networks.mlp(8, inputs=2, widths=(4,)).double(), networks.inputs(1, (2,), 8), torch.tensor([2])
    network = trace(model, x)  # the parameters move too little to change the radius
    radius = linear_piece_radius(network, x, norm).item()

    def slopes(share):
        found = []
        for parameter in model.parameters():
            for k in range(parameter.numel()):
                values = []
                for step in (1e-6, -1e-6):
                    parameter.data.view(-1)[k] += step
                    value = compare_objectives(model, network, x, y, norm, share * radius, r, 3.0, steps=5)
                    values.append((value.perturbed.item(), value.operator.item()))
                    parameter.data.view(-1)[k] -= step
                found.append(np.subtract(*values) / 2e-6)
        return np.array(found).T

    perturbed, operator = slopes(0.9)
    assert np.linalg.norm(perturbed - operator) < 1e-6 * np.linalg.norm(operator)
    perturbed, operator = slopes(30.0)
    difference = np.linalg.norm(perturbed - operator) / np.linalg.norm(operator)
    found = compare_objectives(model, network, x, y, norm, 30 * radius, r, 3.0, steps=5)
    assert difference > 1e-3 and found.gradient_difference.item() == pytest.approx(difference, rel=1e-4)


@pytest.mark.parametrize(("norm", "r"), [("l2", 2.0), ("linf", 1.0), ("linf", 2.0), ("l1", np.inf)])
def test_alignment_against_a_dense_svd(norm, r):
    (model, network, _), x, y = traced("mlp"), networks.inputs(7, (4,), 5), torch.arange(7) % 3
    radii = [1e-3, 0.2]
    record = alignment(model, x, y, norm, radii, network=network, r=r, steps=10, restarts=1)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [result["eps"] for result in record["results"]] == radii
    piece = linear_piece_radius(network, x, norm).numpy()
    np.testing.assert_allclose(record["radius"]["values"], piece, rtol=1e-12)
    ascended = {
        "cross-entropy": "cross-entropy",
        "distance": {1: "distance-1", 2: "distance", np.inf: "distance-inf"}[r],
    }
    for result in record["results"]:
        eps = result["eps"]
        assert result["inside"] == (piece >= eps).mean()
        for key, found in result["attacks"].items():
            kept = attack(model, x, y, norm, eps, steps=10, restarts=1, box=None, loss=ascended[key])
            delta = kept.delta.numpy()
            columns = {"cosine": [], "gap": [], "deviation": [], "energy": []}
            for i in range(7):
                jacobian = networks.dense_jacobian(model, x[i])
                _, sizes, right = np.linalg.svd(jacobian, full_matrices=False)
                cosines = (right @ delta[i] / np.linalg.norm(delta[i])) * (sizes > 1e-6 * sizes[0])
                logits = networks.dense_logits(model, x[i])
                moved = networks.dense_logits(model, x[i] + torch.from_numpy(delta[i])) - logits
                largest = eps * slow_operator_norm(jacobian, norm, r)
                columns["cosine"].append(abs(cosines[0]))
                columns["energy"].append(np.cumsum(cosines**2))
                columns["gap"].append(np.linalg.norm(moved, r) / largest - 1)
                columns["deviation"].append(np.linalg.norm(moved - jacobian @ delta[i], r) / largest)
            for name, values in columns.items():
                expected = np.quantile(values, (0.25, 0.5, 0.75), axis=0).T
                np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("norm", EXPONENTS)
def test_inside_the_piece_the_distance_attack_is_the_top_direction(norm):
    (model, network, _), x, y = traced("mlp"), networks.inputs(6, (4,), 6), torch.arange(6) % 3
    smallest = linear_piece_radius(network, x, norm).min().item()
    record = alignment(model, x, y, norm, [0.9 * smallest, 300 * smallest], network=network)
    inside, outside = (result["attacks"]["distance"] for result in record["results"])
    assert record["results"][0]["inside"] == 1.0 and record["results"][1]["inside"] < 1.0
    np.testing.assert_allclose(inside["operator_cosine"], 1, atol=1e-3)
    np.testing.assert_allclose(inside["gap"], 0, atol=1e-4)
    np.testing.assert_allclose(inside["deviation"], 0, atol=1e-9)
    assert outside["deviation"][1] > 1e-3


def test_alignment_without_pieces_and_without_anything_to_see():
    x, y = networks.inputs(3, (4,), 0), torch.tensor([0, 1, 2])
    smooth = networks.mlp(0, "tanh")
    record = alignment(smooth, x, y, "l2", [0.1], network=trace(smooth, x), steps=3)
    assert record["radius"] is None and record["results"][0]["inside"] is None
    assert "tanh is not piecewise linear" in record["notes"][0]
    dead, _ = linear(*((0.0,) * 4,) * 3)
    record = alignment(dead, x, y, "l2", [0.1], steps=3)
    assert record["notes"] == ["no linear-piece radius: the network was not traced"]
    assert record["results"][0]["attacks"]["cross-entropy"]["cosine"] is None
    assert record["results"][0]["attacks"]["distance"]["energy"] == [None] * 3
    json.dumps(record, allow_nan=False)


def test_bad_input_is_named():
    (model, network, _), x, y = traced("mlp"), networks.inputs(2, (4,), 0), torch.tensor([0, 1])
    with pytest.raises(InputError, match="radius 0.0"):
        compare_iterates(model, network, x, "l2", 0.0)
    with pytest.raises(InputError, match="exponent must be >= 1, not 0.5"):
        compare_objectives(model, network, x, y, "l2", 0.1, 0.5)
    with pytest.raises(InputError, match="unknown norm 'l3'"):
        compare_iterates(model, network, x, "l3", 0.1)
    with pytest.raises(InputError, match="outside 0..2"):
        compare_objectives(model, network, x, y + 5, "l2", 0.1)
    smooth = networks.mlp(0, "tanh")
    with pytest.raises(InputError, match="tanh is not piecewise linear"):
        compare_iterates(smooth, trace(smooth, x), x, "l2", 0.1)
    for radii in ([], [0.2, 0.1], [0.1, 0.1]):
        with pytest.raises(InputError, match="must increase"):
            alignment(model, x, y, "l2", radii)
    with pytest.raises(InputError, match="1, 2 or inf to be attacked, not 3"):
        alignment(model, x, y, "l2", [0.1], r=3.0)
