"""The steps of a walk and where walks begin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verification import networks
from verification.attack_set import AttackSet
from verification.attacks import attack
from verification.attacks.ascent import Region, ascend, schedule, steepest
from verification.attacks.attack import ball
from verification.attacks.objectives import objective
from verification.attacks.search import Search
from verification.attacks.starts import bent_point, clean_point, random_point, stretched_point

NORMS = ("l2", "linf", "l1")
DUAL = {"l2": 2, "linf": 1, "l1": np.inf}
seeds = st.integers(0, 10**6)


def search_for(model, x, attack_set, loss="cross-entropy"):
    y = torch.arange(len(x)) % 3
    return Search(model, x, y, objective(loss), lambda delta: attack_set.contains(delta, x))


@given(norm=st.sampled_from(NORMS), seed=seeds)
@settings(deadline=None, max_examples=25)
def test_the_steepest_step_attains_the_dual_norm(norm, seed):
    gradient = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 9)))
    step = steepest(gradient, norm)
    assert AttackSet(norm, 1.0).size(step).item() == pytest.approx(1.0, abs=1e-12)
    assert (step * gradient).sum().item() == pytest.approx(np.linalg.norm(gradient[0], DUAL[norm]), rel=1e-12)
    assert not steepest(gradient * 0, norm).any()
    tiny = steepest(gradient * 1e-300, norm)
    torch.testing.assert_close(tiny, step)


@given(steps=st.integers(1, 60), inflation=st.floats(1.0, 10.0), first=st.floats(0.1, 20.0))
@settings(deadline=None, max_examples=25)
def test_a_walk_ends_in_the_true_set_with_short_steps(steps, inflation, first):
    radii, lengths = np.array(list(schedule(steps, inflation, first))).T
    assert len(radii) == steps and radii[0] <= inflation and radii[-1] == 1.0
    assert (np.diff(radii) <= 0).all()
    assert steps < 4 or lengths[-1] == pytest.approx(0.05)


def test_steps_follow_the_schedule_with_momentum():
    model, x, noise = networks.mlp(5).double(), networks.inputs(2, (4,), 5), torch.ones(2, 4, dtype=torch.float64)
    points, radii = [torch.zeros_like(x)], []

    def project(delta, radius):
        points.append(delta / (1 + delta.norm()))  # some region
        radii.append(radius)
        return points[-1]

    search = search_for(model, x, AttackSet("l2", 1e9))
    ascend(search, Region(project, 0.2, "l2", 3.0, 7.0), points[0], noise, 8, growth=2)
    expected = [9.0 ** (1 - step / 4) for step in (1, 2, 3)] + [1.0] * 5
    assert radii == pytest.approx(expected)
    lengths = [length for _, length in schedule(8, 9.0, 7.0)]
    for step in range(8):
        z = (x + points[step]).requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(model(z), search.y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, z)
        unit = gradient / gradient.norm(dim=1, keepdim=True)
        moved = points[step] + 0.25 * (points[step] - points[max(step - 1, 0)]) + 0.2 * lengths[step] * unit
        torch.testing.assert_close(points[step + 1], moved / (1 + moved.norm()))


def test_gradients_are_finite_where_those_of_the_network_are_not():
    def model(x):
        return torch.stack([x[:, 0].sqrt() + 2 * x[:, 1], x[:, 1]], dim=1)

    x = torch.tensor([[0.0, 0.5], [0.25, 0.5], [-1.0, 0.5]], dtype=torch.float64)
    search = Search(model, x, torch.zeros(3, dtype=torch.int64), objective("margin"), lambda delta: delta[:, 0] < 9)
    gradient = search.gradient(torch.zeros_like(x))
    assert gradient.tolist() == [[0.0, -1.0], [-1.0, -1.0], [0.0, 0.0]]
    assert search.failed.tolist() == [True, False, True]


class Counted(torch.nn.Module):
    """Counts forward passes, and those among them that a gradient goes back through."""

    def __init__(self, model):
        super().__init__()
        self.model, self.forwards, self.backwards = model, 0, 0

    def forward(self, x):
        self.forwards += 1
        if x.requires_grad:
            x.register_hook(self._count)
        return self.model(x)

    def _count(self, gradient):
        self.backwards += 1


@pytest.mark.parametrize("start", [random_point, bent_point, stretched_point, clean_point])
def test_a_walk_takes_as_many_gradient_passes_as_it_may(start):
    model = Counted(networks.mlp(3).double())
    x, attack_set = networks.inputs(2, (4,), 3), AttackSet("l2", 0.3)
    search = search_for(model, x, attack_set)
    point = start(search, ball(attack_set, x), torch.ones_like(x), 3)
    spent = {bent_point: 4, stretched_point: 3}.get(start, 0)  # the gradient at x included
    assert model.backwards == spent
    ascend(search, ball(attack_set, x), point, torch.ones_like(x), 7)
    assert model.backwards == spent + 7
    assert model.forwards - model.backwards <= 4  # x, both ends of a direction, the last point


@pytest.mark.parametrize("steps", [1, 10, 23])
def test_an_attack_takes_as_many_gradient_passes_as_it_may(steps):
    model = Counted(networks.mlp(3).double())
    attack(lambda x: model(x), networks.inputs(1, (4,), 3), torch.tensor([0]), "l2", 0.3, steps=steps, restarts=5)
    assert model.backwards == 5 * steps + 2  # the gradient at x, and the one that is checked


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_network_stretches_most_along_the_top_singular_vector(activation):
    model, x = networks.mlp(1, activation).double(), networks.inputs(3, (4,), 1)
    attack_set = AttackSet("l2", 0.01)
    noise = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start = stretched_point(search_for(model, x, attack_set), ball(attack_set, x), noise, 300)
    for i in range(3):
        top = np.linalg.svd(networks.dense_jacobian(model, x[i]))[2][0]
        assert abs(start[i].numpy() @ top) == pytest.approx(0.01, rel=1e-6)


def test_the_objective_bends_most_along_the_top_eigenvector_of_its_hessian():
    model, x = networks.mlp(2, "tanh").double(), networks.inputs(3, (4,), 2)
    attack_set = AttackSet("l2", 0.01)
    search = search_for(model, x, attack_set)
    noise = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start = bent_point(search, ball(attack_set, x), noise, 300)
    for i in range(3):

        def value(z, i=i):
            return objective("cross-entropy")(model(z[None]), search.y[i : i + 1], torch.zeros(1, 3)).sum()

        values, vectors = np.linalg.eigh(torch.autograd.functional.hessian(value, x[i]).numpy())
        top = vectors[:, np.abs(values).argmax()]
        assert abs(start[i].numpy() @ top) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("start", [stretched_point, bent_point])
@pytest.mark.parametrize("passes", [0, 1, 4])
def test_of_two_opposite_starts_the_worse_for_the_network_is_taken(start, passes):
    model, x = networks.mlp(4, "tanh").double(), networks.inputs(5, (4,), 4)
    attack_set = AttackSet("l2", 0.5)
    noise = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    search = search_for(model, x, attack_set)
    point = start(search, ball(attack_set, x), noise, passes)
    np.testing.assert_allclose(point.norm(dim=1).numpy(), 0.5, rtol=1e-9)
    for i in range(5):
        one, other = (
            networks.loss(networks.dense_logits(model, x[i] + sign * point[i]), int(search.y[i])) for sign in (1, -1)
        )
        assert one >= other


@given(seed=seeds, size=st.floats(0.1, 1e3))
@settings(deadline=None, max_examples=15)
def test_the_log_odds_rise_with_the_cross_entropy(seed, size):
    logits = size * torch.from_numpy(np.random.default_rng(seed).normal(size=(6, 4)))
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    logits.requires_grad_(True)
    odds = objective("cross-entropy")(logits, y, logits)
    for i in range(6):
        others = np.delete(logits[i].detach().numpy(), y[i])
        expected = np.log(np.exp(others - others.max()).sum()) + others.max() - logits[i, y[i]].item()
        assert odds[i].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert np.logaddexp(0, odds[i].item()) == pytest.approx(
            networks.loss(logits[i].detach().numpy(), y[i]), rel=1e-6, abs=1e-9
        )
    (gradient,) = torch.autograd.grad(odds.sum(), logits)
    torch.testing.assert_close(gradient.gather(1, y[:, None]), -torch.ones(6, 1, dtype=torch.float64))
