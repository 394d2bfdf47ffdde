"""Attacks in norm balls: exact where the maximum is known, inside the set, never weaker than simpler attacks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from bounds.errors import InputError
from bounds.network.errors import SamplesInteract
from tests.verification import networks
from verification.attack_set import AttackSet
from verification.attacks import attack

NORMS = ("l2", "linf", "l1")
DUAL = {"l2": 2, "linf": 1, "l1": np.inf}
seeds = st.integers(0, 10**6)


def linear_model(weight, bias=0.0):
    model = nn.Linear(weight.shape[1], weight.shape[0]).double()
    with torch.no_grad():
        model.weight.copy_(torch.as_tensor(weight))
        model.bias.copy_(torch.as_tensor(bias).expand(len(weight)))
    return model


def random_mlp(seed):
    return networks.mlp(seed, inputs=6, widths=(16, 16), classes=4).double().requires_grad_(False)


def linear_maximum(slope, x, norm, eps):
    """max <slope, delta> over ball and [0, 1]-box, by hand; slope and x of one sample."""
    room = np.where(slope > 0, 1 - x, x)
    size = np.abs(slope)
    if norm == "linf":
        return size @ np.minimum(room, eps)
    if norm == "l1":  # a knapsack: the steepest coordinates first
        gained, left = 0.0, eps
        for j in np.argsort(-size):
            spent = min(room[j], left)
            gained, left = gained + size[j] * spent, left - spent
        return gained
    if np.linalg.norm(room) <= eps:
        return size @ room
    low, high = 0.0, 1e6  # delta = min(t * slope, room), ‖delta‖_2 = eps
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if np.linalg.norm(np.minimum(t * size, room)) < eps else (low, t)
    return size @ np.minimum(low * size, room)


@given(norm=st.sampled_from(NORMS), eps=st.floats(0.01, 2.0), seed=seeds, steps=st.integers(1, 12))
@settings(deadline=None, max_examples=25)
def test_two_linear_classes_are_attacked_exactly(norm, eps, seed, steps):
    rng = np.random.default_rng(seed)
    weight, bias, x = rng.normal(size=(2, 7)), rng.normal(size=2), rng.uniform(size=7)
    worst = (weight[0] - weight[1]) @ x + bias[0] - bias[1]
    worst -= eps * np.linalg.norm(weight[0] - weight[1], DUAL[norm])
    found = attack(
        linear_model(weight, bias), torch.from_numpy(x)[None], torch.tensor([0]), norm, eps, box=None, steps=steps
    )
    assert found.margin.item() == pytest.approx(worst, abs=1e-9)
    assert found.loss.item() == pytest.approx(np.logaddexp(0, -worst), abs=1e-9)


@given(norm=st.sampled_from(NORMS), eps=st.floats(0.05, 3.0), seed=seeds, steps=st.integers(1, 12))
@settings(deadline=None, max_examples=25)
def test_two_linear_classes_in_a_box_are_attacked_exactly(norm, eps, seed, steps):
    rng = np.random.default_rng(seed)
    weight, x = rng.normal(size=(2, 9)), rng.uniform(size=(3, 9))
    x[0, :4] = (0.0, 1.0, 0.0, 1.0)
    slope = weight[1] - weight[0]
    worst = [-slope @ row - linear_maximum(slope, row, norm, eps) for row in x]
    y = torch.zeros(3, dtype=torch.int64)
    found = attack(linear_model(weight), torch.from_numpy(x), y, norm, eps, steps=steps)
    np.testing.assert_allclose(found.margin.numpy(), worst, atol=1e-8)


@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_convex_loss_against_every_vertex(norm, box):
    # The loss of linear classes is convex in delta, so over a polytope its maximum sits at a vertex.
    rng = np.random.default_rng(11)
    eps, d = 0.4, 6
    corners = np.array(list(itertools.product((-1, 1), repeat=d)))
    vertices = eps * (corners if norm == "linf" else np.concatenate([np.eye(d), -np.eye(d)]))
    weight, bias, y = 2 * rng.normal(size=(5, d)), rng.normal(size=5), rng.integers(0, 5, 12)
    x = rng.uniform(size=(12, d))
    if box and norm == "l1":
        x = x.clip(0.4, 0.6)  # the box cuts no vertex off
    truth = [
        max(networks.loss(weight @ (a + (np.clip(a + v, 0, 1) - a if box else v)) + bias, b) for v in vertices)
        for a, b in zip(x, y, strict=True)
    ]
    model = linear_model(weight, bias)
    found = attack(model, torch.from_numpy(x), torch.from_numpy(y), norm, eps, box=box, steps=20, restarts=8)
    assert (found.loss.numpy() <= np.array(truth) + 1e-12).all()
    np.testing.assert_allclose(found.loss.numpy(), truth, atol=0.01)  # local maxima exist


@given(
    norm=st.sampled_from(NORMS),
    box=st.sampled_from([None, (0.0, 1.0), (-0.5, 2.0)]),
    eps=st.floats(0.0, 3.0),
    seed=seeds,
    restarts=st.integers(1, 5),
)
@settings(deadline=None, max_examples=20)
def test_the_perturbation_stays_in_the_set_and_its_numbers_replay(norm, box, eps, seed, restarts):
    model, x, y = random_mlp(seed), networks.inputs(5, (6,), seed), torch.arange(5) % 4
    x[0], x[1] = 0.0, 1.0
    found = attack(model, x.float(), y, norm, eps, box=box, steps=10, restarts=restarts, seed=seed)
    start = x.float().double().numpy()
    delta = found.delta.numpy()
    assert (np.linalg.norm(delta, {"l2": 2, "linf": np.inf, "l1": 1}[norm], axis=1) <= eps * (1 + 1e-15)).all()
    if box:
        assert (start + delta >= box[0]).all() and (start + delta <= box[1]).all()
    for i in range(5):
        clean, moved = (networks.dense_logits(model, torch.from_numpy(z)) for z in (start[i], start[i] + delta[i]))
        assert found.loss[i].item() == pytest.approx(networks.loss(moved, y[i]), abs=1e-12)
        assert found.clean_loss[i].item() == pytest.approx(networks.loss(clean, y[i]), abs=1e-12)
        for logits, margin in ((moved, found.margin), (clean, found.clean_margin)):
            assert margin[i].item() == pytest.approx(logits[y[i]] - np.delete(logits, y[i]).max(), abs=1e-12)
    assert bool((found.loss >= found.clean_loss).all()) and not bool(found.failed.any())


@given(norm=st.sampled_from(NORMS), eps=st.floats(0.01, 2.0), seed=seeds)
@settings(deadline=None, max_examples=25)
def test_never_weaker_than_the_first_order_step(norm, eps, seed):
    # A large last layer: the loss has several poor local maxima.
    model, x, y = random_mlp(seed), networks.inputs(4, (6,), seed), torch.arange(4)
    model[-1].weight.mul_(20.0)
    z = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(model(z), y, reduction="sum"), z)
    if norm == "linf":
        step = gradient.sign()
    elif norm == "l2":
        step = gradient / gradient.norm(dim=1, keepdim=True)
    else:
        step = gradient.sign() * functional.one_hot(gradient.abs().argmax(dim=1), 6)
    loss = functional.cross_entropy(model(x + eps * step), y, reduction="none")
    found = attack(model, x, y, norm, eps, box=None, steps=4, restarts=1)
    assert bool((found.loss >= loss - 1e-9 * (1 + loss)).all())


def plain_pgd(model, x, y, norm, eps, steps):
    """Projected gradient ascent from x as in textbooks, ball then box; the best loss on the way."""
    delta, best = torch.zeros_like(x), torch.zeros(len(x), dtype=torch.float64)
    for _ in range(steps + 1):
        delta.requires_grad_(True)
        loss = functional.cross_entropy(model(x + delta), y, reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), delta)
        best, delta = torch.maximum(best, loss.detach()), delta.detach()
        if norm == "linf":
            delta = (delta + 2.5 * eps / steps * gradient.sign()).clamp(-eps, eps)
        elif norm == "l2":
            delta = delta + 2.5 * eps / steps * gradient / gradient.norm(dim=1, keepdim=True)
            delta = delta * (eps / delta.norm(dim=1, keepdim=True)).clamp(max=1)
        else:  # one coordinate at a time, then scaled back
            top = functional.one_hot(gradient.abs().argmax(dim=1), x.shape[1])
            delta = delta + 2.5 * eps / steps * gradient.sign() * top
            delta = delta * (eps / delta.abs().sum(dim=1, keepdim=True)).clamp(max=1)
        delta = (x + delta).clamp(0, 1) - x
    return best


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [5, 20])
def test_never_weaker_than_plain_projected_gradient_ascent(norm, steps):
    eps = {"l2": 0.5, "linf": 0.2, "l1": 0.8}[norm]
    for seed in range(3):
        model, x, y = random_mlp(seed), networks.inputs(50, (6,), seed), torch.arange(50) % 4
        found = attack(model, x, y, norm, eps, steps=steps)
        gain = (plain_pgd(model, x, y, norm, eps, steps) - found.clean_loss).mean()
        assert (found.loss - found.clean_loss).mean() >= 0.995 * gain


@pytest.mark.parametrize("norm", NORMS)
def test_random_search_finds_nothing_much_worse(norm):
    # The loss is not concave, so a random point may win on a sample now and then, but never by much.
    model, x, y = random_mlp(8), networks.inputs(6, (6,), 4), torch.arange(6) % 4
    found = attack(model, x, y, norm, 0.2, restarts=4)
    noise = torch.randn(300, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    attack_set = AttackSet(norm, 0.2, (0.0, 1.0))
    losses = [functional.cross_entropy(model(x + attack_set.project(v, x)), y, reduction="none") for v in noise]
    gain = found.loss - found.clean_loss
    assert bool((torch.stack(losses).amax(dim=0) <= found.loss + 0.05 * gain).all())


def test_more_restarts_are_never_worse():
    model, x, y = random_mlp(3), networks.inputs(20, (6,), 3), torch.arange(20) % 4
    losses = [attack(model, x, y, "linf", 0.3, steps=10, restarts=n).loss for n in range(1, 6)]
    assert all(bool((more >= less).all()) for less, more in itertools.pairwise(losses))
    assert losses[-1].sum() > losses[0].sum()


def test_it_goes_on_after_misclassification():
    x, y = torch.tensor([[0.1, 0.9]], dtype=torch.float64), torch.tensor([0])  # wrong from the start
    found = attack(linear_model(np.eye(2)), x, y, "linf", 0.5, box=None)
    assert found.margin.item() == pytest.approx(-1.8, abs=1e-12)


def test_equal_arguments_give_equal_bits_and_the_global_generator_is_left_alone():
    model, x, y = random_mlp(1), networks.inputs(10, (6,), 1), torch.arange(10) % 4
    state = torch.get_rng_state()
    first, again = (attack(model, x, y, "l2", 0.2, seed=3, restarts=4) for _ in range(2))
    assert torch.equal(first.delta, again.delta) and torch.equal(first.loss, again.loss)
    assert torch.equal(torch.get_rng_state(), state)
    other, same = (attack(model, x, y, "l2", 0.2, seed=seed, steps=4, restarts=1).delta for seed in (4, 3))
    assert not torch.equal(other, same)


def test_the_model_is_left_as_it_was():
    model = networks.mlp(1).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attack(model, networks.inputs(3, (4,), 1), torch.zeros(3, dtype=torch.int64), "l2", 0.2, steps=2)
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, before[name])


def test_progress_counts_samples_across_chunks():
    seen = []
    x, y = networks.inputs(300, (4,), 0), torch.arange(300) % 3
    found = attack(networks.mlp(0), x, y, "linf", 0.1, steps=1, progress=lambda *done: seen.append(done))
    assert seen == [(256, 300), (300, 300)] and len(found.loss) == 300


class SquareRootAtZero(nn.Module):
    """Its gradient is infinite where the first coordinate is 0, and it is NaN below."""

    def forward(self, x):
        return torch.stack([x[:, 0].sqrt() + x[:, 1], x[:, 1:].sum(dim=1)], dim=1)


@pytest.mark.parametrize("norm", NORMS)
def test_bad_gradients_and_logits_are_flagged_and_touch_no_other_sample(norm):
    good = torch.tensor([[0.9, 0.5, 0.2], [0.7, 0.1, 0.3]], dtype=torch.float64)
    steep = torch.tensor([[0.0, 0.5, 0.2]], dtype=torch.float64)
    y = torch.zeros(3, dtype=torch.int64)
    found = attack(SquareRootAtZero(), torch.cat([good, steep]), y, norm, 0.1, restarts=4)
    assert found.failed.tolist() == [False, False, True]
    assert bool((found.loss >= found.clean_loss).all())
    nan = steep - 1
    spoiled = attack(SquareRootAtZero(), torch.cat([good, nan]), y, norm, 0.1, restarts=4, box=None)
    assert spoiled.failed.tolist() == [False, False, True] and not bool(spoiled.loss[2].isfinite())
    alone = attack(SquareRootAtZero(), torch.cat([good, good[:1]]), y, norm, 0.1, restarts=4, box=None)
    assert torch.equal(spoiled.delta[:2], alone.delta[:2]) and torch.equal(spoiled.loss[:2], alone.loss[:2])


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
def test_confident_samples_are_attacked_as_well_as_others(scale):
    # Cross-entropy and its gradient underflow here long before the margin is lost.
    model, x, y = random_mlp(2), networks.inputs(8, (6,), 2), torch.arange(8) % 4
    y = model(x).argmax(dim=1)
    sharp = attack(lambda z: scale * model(z), x, y, "l2", 0.3)
    by_margin = attack(model, x, y, "l2", 0.3, loss="margin")
    np.testing.assert_allclose(sharp.margin.numpy() / scale, by_margin.margin.numpy(), atol=0.01)


def test_underflow_is_no_excuse():
    weight = np.array([[9000.0, 0.0], [0.0, 1000.0]])
    x, y = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    found = attack(linear_model(weight), x, y, "l2", 0.1, box=None)
    assert found.clean_loss.item() == found.loss.item() == 0.0
    assert found.margin.item() == pytest.approx(9000 - 0.1 * np.hypot(9000, 1000), abs=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_a_flat_neighbourhood_is_left(norm):
    # No gradient at x, nor anywhere near it: only the first coordinate beyond 0.8 matters.
    def model(x):
        rise = torch.relu(x[:, 0] - 0.8)
        return torch.stack([torch.zeros_like(rise), 5 * rise], dim=1)

    x, y = torch.full((4, 3), 0.5, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    found = attack(model, x, y, norm, 0.6)
    assert bool((found.margin <= -0.99).all())  # x_0 = 1


@pytest.mark.parametrize(("loss", "r"), [("distance-1", 1), ("distance", 2), ("distance-inf", np.inf)])
def test_the_logit_distance_of_a_linear_network_is_the_operator_norm(loss, r):
    weight = np.random.default_rng(5).normal(size=(3, 4))
    corners = np.array(list(itertools.product((-1, 1), repeat=4)))
    expected = 0.3 * max(np.linalg.norm(weight @ v, r) for v in corners)
    x, y = torch.zeros(1, 4), torch.tensor([0])
    found = attack(linear_model(weight), x, y, "linf", 0.3, box=None, loss=loss, restarts=8, steps=10)
    assert np.linalg.norm(weight @ found.delta[0].numpy(), r) == pytest.approx(expected, rel=1e-9)


def test_every_loss_has_an_attack_of_its_own():
    model, x, y = random_mlp(7), networks.inputs(40, (6,), 7), torch.arange(40) % 4
    found = {name: attack(model, x, y, "l2", 0.5, loss=name) for name in ("cross-entropy", "margin", "distance")}
    distances = {name: (model(x + a.delta) - model(x)).norm(dim=1).mean() for name, a in found.items()}
    assert min(found, key=lambda name: found[name].margin.mean()) == "margin"
    assert max(found, key=lambda name: found[name].loss.mean()) == "cross-entropy"
    assert max(distances, key=distances.__getitem__) == "distance"


def test_bad_input_is_refused():
    model, x, y = networks.mlp(0), networks.inputs(2, (4,), 0), torch.tensor([0, 1])
    with pytest.raises(InputError, match="0 steps and 2 restarts"):
        attack(model, x, y, "l2", 0.1, steps=0)
    with pytest.raises(InputError, match="40 steps and 0 restarts"):
        attack(model, x, y, "l2", 0.1, restarts=0)
    with pytest.raises(InputError, match="hinge"):
        attack(model, x, y, "l2", 0.1, loss="hinge")
    with pytest.raises(InputError, match="label"):
        attack(model, x, y + 2, "l2", 0.1)
    with pytest.raises(InputError, match="2 inputs with 1 labels"):
        attack(model, x, y[:1], "l2", 0.1)
    with pytest.raises(InputError, match="0 inputs"):
        attack(model, x[:0], y[:0], "l2", 0.1)
    with pytest.raises(InputError, match="outside the box"):
        attack(model, x + 1, y, "l2", 0.1)
    with pytest.raises(SamplesInteract):
        attack(lambda z: model.double()(z - z.mean(0)), x, y, "l2", 0.1)
