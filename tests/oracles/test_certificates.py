"""The search stays inside the set as exact numbers, and finds the worst case where it is known in closed form."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from tests.cases import ACTIVATIONS, mlp
from tests.oracles.certificates import (
    Ball,
    exact_logits,
    exact_loss_and_margin,
    exact_vertices,
    losses_and_margins,
    search,
)

NORMS = ("l2", "linf", "l1")
BOXES = ((-math.inf, math.inf), (0.0, 1.0))


def problem(seed: int, classes: int = 2, d: int = 5):
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Linear(d, classes).double()
    x = torch.rand(4, d, generator=generator, dtype=torch.float64)
    x[0], x[1, :2] = 0.0, 1.0
    return model, x, torch.arange(4) % classes


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [1e-20, 1e-6, 1e-2, 0.7, 3.0])
def test_points_lie_in_the_set_exactly(norm, box, eps):
    model, x, y = problem(0, classes=3)
    ball = Ball(x, norm, eps, *box)
    worst = search(model, x, y, ball, seed=0)
    for i in range(len(x)):
        assert ball.contains(i, worst.loss_point[i]) and ball.contains(i, worst.margin_point[i])
        assert not ball.contains(i, x[i] + 1.01 * eps + 1e-15)  # beyond every ball
        points = worst.margin_point[i].expand(1, -1)
        # Matrix products round differently for one point and for many.
        margin = losses_and_margins(model(points).detach(), y[i : i + 1])[1].item()
        assert margin == pytest.approx(worst.margin[i].item(), rel=1e-14, abs=1e-14)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [1e-6, 1e-2, 0.7])
def test_plain_balls_of_linear_networks_have_the_dual_norm(norm, eps):
    model, x, y = problem(1)
    with torch.no_grad():
        w = model.weight[0] - model.weight[1]
        clean = losses_and_margins(model(x), y)[1]
    dual = {"l2": 2, "linf": 1, "l1": math.inf}[norm]
    worst = search(model, x, y, Ball(x, norm, eps), seed=0)
    torch.testing.assert_close(worst.margin, clean - eps * w.norm(dual), rtol=0, atol=1e-6 * eps)


@pytest.mark.parametrize("norm", NORMS)
def test_with_the_box_nothing_found_by_brute_force_is_better(norm):
    model, x, y = problem(2, d=2)
    ball = Ball(x, norm, 0.6, 0.0, 1.0)
    worst = search(model, x, y, ball, seed=0)
    axis = torch.linspace(0, 1, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    for i in range(len(x)):
        size = torch.linalg.vector_norm(grid - x[i], ord={"l2": 2, "linf": math.inf, "l1": 1}[norm], dim=1)
        inside = grid[size <= 0.6]
        best = losses_and_margins(model(inside).detach(), y[i].expand(len(inside)))[1].min()
        assert worst.margin[i] <= best + 1e-9
        assert worst.margin[i] >= best - 0.02


def test_losses_and_margins():
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 50.0, 0.0], [2.0, 2.0, 2.0], [0.0, 1000.0, 0.0]]).double()
    loss, margin = losses_and_margins(logits, torch.tensor([0, 1, 2, 0]))
    expected = [math.log(1 + 2 * math.exp(-3)), 2 * math.exp(-50), math.log(3), 1000.0]
    assert loss.tolist() == pytest.approx(expected, rel=1e-12)
    assert margin.tolist() == [3.0, 50.0, 0.0, -1000.0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_exact_logits_agree_with_torch(activation):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mlp((3, 5, 4, 3), activation=ACTIVATIONS[activation]).double()
    x = torch.randn(3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = [float(z) for z in exact_logits(model, [Fraction(value) for value in x.tolist()])]
    assert exact == pytest.approx(model(x).tolist(), rel=1e-13, abs=1e-14)
    loss, margin = losses_and_margins(model(x[None]).detach(), torch.tensor([1]))
    exact = exact_loss_and_margin(exact_logits(model, [Fraction(value) for value in x.tolist()]), 1)
    assert [float(value) for value in exact] == pytest.approx([loss.item(), margin.item()], rel=1e-12)


def test_exact_vertices_have_the_norm_of_the_radius():
    for norm, size in (("l1", sum), ("linf", max), ("l2", lambda v: sum(a * a for a in v) ** Fraction(1, 2))):
        vertices = list(exact_vertices(norm, 0.3, 3))
        assert len(vertices) >= 6
        assert all(size([abs(a) for a in v]) == pytest.approx(0.3, rel=1e-15) for v in vertices)
