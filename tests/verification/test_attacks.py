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
from verification.attack_set import AttackSet
from verification.attacks import attack, steepest
from verification.training.networks import build

NORMS = ("l2", "linf", "l1")
DUAL = {"l2": 2, "linf": 1, "l1": np.inf}


def linear_model(weight, bias):
    model = nn.Linear(weight.shape[1], weight.shape[0]).double()
    with torch.no_grad():
        model.weight.copy_(torch.as_tensor(weight))
        model.bias.copy_(torch.as_tensor(bias))
    return model


def numpy_loss(logits, y):
    shifted = logits - logits.max()
    return float(np.log(np.exp(shifted).sum()) - shifted[y])


def random_mlp(seed):
    return build("mlp", {"inputs": 6, "widths": [16, 16], "classes": 4}, seed)


def uniform(shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(norm=st.sampled_from(NORMS), eps=st.floats(0.01, 2.0), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_two_class_linear_model_is_attacked_exactly(norm, eps, seed):
    rng = np.random.default_rng(seed)
    weight, bias, x = rng.normal(size=(2, 7)), rng.normal(size=2), rng.uniform(size=7)
    worst = (weight[0] - weight[1]) @ x + bias[0] - bias[1]
    worst -= eps * np.linalg.norm(weight[0] - weight[1], DUAL[norm])
    found = attack(
        linear_model(weight, bias), torch.from_numpy(x)[None], torch.tensor([0]), norm, eps, box=None, steps=5
    )
    assert found.margin.item() == pytest.approx(worst, abs=1e-9)
    assert found.loss.item() == pytest.approx(np.logaddexp(0, -worst), abs=1e-9)


@given(eps=st.floats(0.05, 1.5), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_two_class_linear_model_in_a_box_under_linf_is_attacked_exactly(eps, seed):
    rng = np.random.default_rng(seed)
    weight, x = rng.normal(size=(2, 7)), rng.uniform(size=7)
    slope = weight[1] - weight[0]
    delta = np.where(slope > 0, np.minimum(eps, 1 - x), -np.minimum(eps, x))
    found = attack(
        linear_model(weight, np.zeros(2)), torch.from_numpy(x)[None], torch.tensor([0]), "linf", eps, steps=5
    )
    assert found.margin.item() == pytest.approx(-slope @ (x + delta), abs=1e-9)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_two_class_linear_model_in_a_box_is_attacked_almost_exactly(norm):
    # The maximum of a linear function over ball ∩ box is what a long walk along it projects to.
    rng = np.random.default_rng(3)
    weight, x = rng.normal(size=(2, 30)), torch.from_numpy(rng.uniform(size=(8, 30)))
    slope = torch.from_numpy(weight[1] - weight[0])
    attack_set = AttackSet(norm, 1.5, (0.0, 1.0))
    far = attack_set.project(x * 0 + 1e4 * slope, x)
    best = ((x + far) @ slope).numpy()
    found = attack(linear_model(weight, np.zeros(2)), x, torch.zeros(8, dtype=torch.int64), norm, 1.5)
    assert (-found.margin.numpy() <= best + 1e-7).all()
    np.testing.assert_allclose(-found.margin.numpy(), best, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_many_class_linear_model_against_every_vertex(norm):
    # The loss is convex in delta, so over a polytope its maximum sits at a vertex.
    rng = np.random.default_rng(11)
    eps, d = 0.4, 6
    vertices = (
        eps * np.array(list(itertools.product((-1, 1), repeat=d)))
        if norm == "linf"
        else eps * np.concatenate([np.eye(d), -np.eye(d)])
    )
    weight, bias = 2 * rng.normal(size=(5, d)), rng.normal(size=5)
    x, y = rng.uniform(size=(12, d)), rng.integers(0, 5, 12)
    truth = [max(numpy_loss(weight @ (a + v) + bias, b) for v in vertices) for a, b in zip(x, y, strict=True)]
    found = attack(
        linear_model(weight, bias), torch.from_numpy(x), torch.from_numpy(y), norm, eps, box=None, restarts=8
    )
    assert (found.loss.numpy() <= np.array(truth) + 1e-12).all()
    np.testing.assert_allclose(found.loss.numpy(), truth, atol=0.01)  # local maxima exist


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
def test_attack_stays_in_the_set_and_its_numbers_replay(norm, box):
    model, x = random_mlp(5), uniform((40, 6), 2)
    x[0], x[1] = 0.0, 1.0
    y = torch.arange(40) % 4
    found = attack(model, x.float(), y, norm, 0.3, box=box, steps=10)
    assert bool(AttackSet(norm, 0.3, box).contains(found.delta, x.float()).all())
    replayed = model.double()(x.float().double() + found.delta).detach().numpy()
    clean = model(x.float().double()).detach().numpy()
    for i in range(40):
        assert found.loss[i].item() == pytest.approx(numpy_loss(replayed[i], y[i]), abs=1e-12)
        assert found.clean_loss[i].item() == pytest.approx(numpy_loss(clean[i], y[i]), abs=1e-12)
        rivals = np.delete(replayed[i], y[i])
        assert found.margin[i].item() == pytest.approx(replayed[i][y[i]] - rivals.max(), abs=1e-12)
    assert bool((found.loss >= found.clean_loss).all())
    assert found.loss.mean().item() > found.clean_loss.mean().item() + 0.01


@pytest.mark.parametrize("norm", NORMS)
def test_random_search_finds_nothing_much_worse(norm):
    # The loss is not concave, so a random point may win on a sample now and then, but never by much.
    model, x, y = random_mlp(8), uniform((6, 6), 4), torch.arange(6) % 4
    found = attack(model, x, y, norm, 0.2, restarts=4)
    noise = torch.randn(1000, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    attack_set = AttackSet(norm, 0.2, (0.0, 1.0))
    with torch.no_grad():
        logits = [model.double()(x + attack_set.project(v, x)) for v in noise]
    losses = [functional.cross_entropy(z, y, reduction="none") for z in logits]
    gain = found.loss - found.clean_loss
    assert bool((torch.stack(losses).amax(dim=0) <= found.loss + 0.05 * gain).all())


def test_attack_goes_on_after_misclassification():
    weight = np.array([[1.0, 0.0], [0.0, 1.0]])
    x, y = torch.tensor([[0.1, 0.9]], dtype=torch.float64), torch.tensor([0])  # wrong from the start
    found = attack(linear_model(weight, np.zeros(2)), x, y, "linf", 0.5, box=None)
    assert found.margin.item() == pytest.approx(-1.8, abs=1e-12)


def test_equal_arguments_give_equal_bits_and_the_global_generator_is_left_alone():
    model, x, y = random_mlp(1), uniform((10, 6), 1), torch.arange(10) % 4
    state = torch.get_rng_state()
    first, again = (attack(model, x, y, "l2", 0.2, seed=3) for _ in range(2))
    assert torch.equal(first.delta, again.delta) and torch.equal(first.loss, again.loss)
    assert torch.equal(torch.get_rng_state(), state)
    other = attack(model, x, y, "l2", 0.2, seed=4, steps=1)
    assert not torch.equal(other.delta, attack(model, x, y, "l2", 0.2, seed=3, steps=1).delta)


def test_the_model_is_left_as_it_was():
    model = random_mlp(1).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attack(model, uniform((3, 6), 1), torch.zeros(3, dtype=torch.int64), "l2", 0.2, steps=2)
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, before[name])


class SquareRootAtZero(nn.Module):
    """Its gradient is infinite at inputs whose first coordinate is 0."""

    def forward(self, x):
        return torch.stack([x[:, 0].sqrt() + x[:, 1], x[:, 1:].sum(dim=1)], dim=1)


def test_a_sample_with_a_bad_gradient_is_flagged_and_the_run_goes_on():
    x = torch.tensor([[0.0, 0.5, 0.2], [0.9, 0.5, 0.2]], dtype=torch.float64)
    y = torch.tensor([0, 0])
    found = attack(SquareRootAtZero(), x, y, "l2", 0.1)
    assert found.failed.tolist() == [True, False]
    assert bool(found.loss.isfinite().all()) and bool((found.loss >= found.clean_loss).all())
    alone = attack(SquareRootAtZero(), x[1:], y[1:], "l2", 0.1, restarts=1)
    assert found.loss[1].item() >= alone.loss[0].item() - 1e-12


def test_confident_samples_are_attacked_too():
    # softmax rounds to one-hot here; the accurate loss still has a gradient that points at the nearest rival.
    weight = np.array([[90.0, 0.0], [0.0, 10.0]])
    x, y = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    found = attack(linear_model(weight, np.zeros(2)), x, y, "l2", 0.1, box=None)
    assert found.margin.item() == pytest.approx(90 - 0.1 * np.hypot(90, 10), abs=1e-9)


@given(norm=st.sampled_from(NORMS), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_the_steepest_step_attains_the_dual_norm(norm, seed):
    gradient = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 9)))
    step = steepest(gradient, norm)
    assert AttackSet(norm, 1.0).size(step).item() == pytest.approx(1.0, abs=1e-12)
    assert (step * gradient).sum().item() == pytest.approx(np.linalg.norm(gradient[0], DUAL[norm]), rel=1e-12)
    assert not steepest(gradient * 0, norm).any()


def test_an_attack_without_steps_is_refused():
    with pytest.raises(InputError, match="steps"):
        attack(random_mlp(0), uniform((1, 6), 0), torch.tensor([0]), "l2", 0.1, steps=0)
