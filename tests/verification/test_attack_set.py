from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bounds.errors import InputError
from verification.attack_set import AttackSet

NORMS = ("l2", "linf", "l1")
P = {"l2": 2, "linf": np.inf, "l1": 1}


def slow_projection(v, x, norm, eps, box):
    """Nearest point of ball ∩ box by a general-purpose solver, on delta = a - b with a, b >= 0."""
    d = len(v)
    low, high = (box[0] - x, box[1] - x) if box else (np.full(d, -1e3), np.full(d, 1e3))
    bounds = [(0, h) for h in high] + [(0, -lo) for lo in low]
    if norm == "l1":
        ball = {"type": "ineq", "fun": lambda z: eps - z.sum()}
    elif norm == "l2":
        ball = {"type": "ineq", "fun": lambda z: eps**2 - ((z[:d] - z[d:]) ** 2).sum()}
    else:
        bounds = [(0, min(h, eps)) for _, h in bounds]
        ball = ()
    result = minimize(
        lambda z: ((z[:d] - z[d:] - v) ** 2).sum(),
        np.zeros(2 * d),
        bounds=bounds,
        constraints=ball,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    return result.x[:d] - result.x[d:]


@given(
    norm=st.sampled_from(NORMS),
    boxed=st.booleans(),
    eps=st.floats(0.05, 2.0),
    spread=st.floats(0.1, 3.0),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=40)
def test_projection_is_the_nearest_point(norm, boxed, eps, spread, seed):
    rng = np.random.default_rng(seed)
    x, v = rng.uniform(0, 1, 4), rng.normal(0, spread, 4)
    attack_set = AttackSet(norm, eps, (0.0, 1.0) if boxed else None)
    ours = attack_set.project(torch.from_numpy(v)[None], torch.from_numpy(x)[None])[0].numpy()
    slow = slow_projection(v, x, norm, eps, attack_set.box)
    # The solver is accurate to about 1e-6; being strictly nearer than it is no fault, being outside would be
    # one.
    assert np.linalg.norm(ours, P[norm]) <= eps
    assert np.linalg.norm(ours - v) <= np.linalg.norm(slow - v) + 1e-6
    np.testing.assert_allclose(ours, slow, atol=2e-4)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("box", [None, (0.0, 1.0), (-0.3, 0.7)])
def test_projection_lands_inside_whatever_it_is_given(norm, box):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(50, 3, 5, 5, generator=generator, dtype=torch.float64)
    x = x if box is None else (box[0] + (box[1] - box[0]) * x).clamp(*box)
    for size in (1e-9, 1.0, 1e9):
        delta = size * torch.randn(x.shape, generator=generator, dtype=torch.float64)
        for eps in (0.0, 1e-12, 0.1, 4.0):
            attack_set = AttackSet(norm, eps, box)
            projected = attack_set.project(delta, x)
            flat = projected.flatten(1).numpy()
            assert (np.linalg.norm(flat, P[norm], axis=1) <= eps).all()
            if box is not None:
                assert float((x + projected).min()) >= box[0] and float((x + projected).max()) <= box[1]
            assert bool(attack_set.contains(projected, x).all())


@pytest.mark.parametrize("norm", NORMS)
def test_a_point_inside_is_left_alone(norm):
    x = torch.full((1, 4), 0.5, dtype=torch.float64)
    delta = torch.tensor([[0.05, -0.05, 0.0, 0.02]], dtype=torch.float64)
    assert torch.equal(AttackSet(norm, 0.2, (0.0, 1.0)).project(delta, x), delta)


def test_projection_onto_the_plain_l2_ball_is_a_scaling():
    v = torch.tensor([[30.0, 40.0]], dtype=torch.float64)
    projected = AttackSet("l2", 1.0).project(v, torch.zeros(1, 2))
    torch.testing.assert_close(projected, v / 50, rtol=1e-13, atol=0)


def test_contains_notices_each_way_out():
    x = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    boxed = AttackSet("l1", 1.0, (0.0, 1.0))
    assert boxed.contains(torch.tensor([[0.5, -0.5]]), x).item()
    assert not boxed.contains(torch.tensor([[0.6, 0.0]]), x).item()
    assert not boxed.contains(torch.tensor([[0.51, -0.5]]), x).item()
    assert AttackSet("l1", 1.0).contains(torch.tensor([[0.6, 0.0]]), x).item()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("l3", 0.1), "did you mean"),
        (("l2", -0.1), "radius"),
        (("l2", math.nan), "radius"),
        (("l2", 0.1, (1.0, 0.0)), "box"),
    ],
)
def test_bad_sets_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        AttackSet(*arguments)


def test_inputs_outside_the_box_are_refused():
    with pytest.raises(InputError, match="outside the box"):
        AttackSet("l2", 0.1, (0.0, 1.0)).limits(torch.tensor([[1.5]]))
