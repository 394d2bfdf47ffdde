"""Attacks that are no norm balls: their limits, and the maximum where it can be found by trying everything."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.errors import InputError
from tests.verification import networks
from verification.attacks import sparse_attack, spatial_attack, user_attack
from verification.attacks.spatial import moved

seeds = st.integers(0, 10**6)


def worst_by_trying(model, x, y, pixels):
    """The largest loss with at most so many coordinates at an end of the box; exact for linear networks."""
    worst = -math.inf
    for chosen in itertools.combinations(range(len(x)), pixels):
        for ends in itertools.product((0.0, 1.0), repeat=pixels):
            changed = x.clone()
            changed[list(chosen)] = torch.tensor(ends, dtype=torch.float64)
            worst = max(worst, networks.loss(networks.dense_logits(model, changed), y))
    return worst


@given(seed=seeds, pixels=st.integers(1, 3))
@settings(deadline=None, max_examples=10)
def test_two_linear_classes_are_attacked_at_the_best_pixels(seed, pixels):
    model, x = networks.mlp(seed, inputs=5, widths=(), classes=2), networks.inputs(2, (5,), seed)
    y = torch.tensor([0, 1])
    found = sparse_attack(model, x, y, pixels, steps=3, seed=seed)
    for i in range(2):
        expected = worst_by_trying(model, x[i], int(y[i]), pixels)
        assert found.loss[i].item() == pytest.approx(max(expected, found.clean_loss[i].item()), rel=1e-12)
    assert bool(((found.delta != 0).sum(dim=1) <= pixels).all())


def test_small_relu_networks_are_attacked_nearly_as_well_as_by_trying():
    gained, possible = 0.0, 0.0
    for seed in range(5):
        model, x, y = networks.mlp(seed, inputs=6), networks.inputs(3, (6,), seed), torch.tensor([0, 1, 2])
        found = sparse_attack(model, x, y, 2, steps=200, seed=seed)
        gained += float((found.loss - found.clean_loss).sum())
        # only corners of the box are tried here, so that the attack may even do better
        expected = sum(worst_by_trying(model, x[i], int(y[i]), 2) for i in range(3))
        possible += expected - float(found.clean_loss.sum())
    assert gained >= 0.9 * possible > 0


def test_a_pixel_is_all_its_channels_and_stays_in_the_box():
    model = networks.build("cnn", {"channels": 3, "size": 4, "filters": [2], "hidden": 5, "classes": 3}, 0)
    x = networks.inputs(2, (3, 4, 4), 0)
    found = sparse_attack(model, x, torch.tensor([0, 1]), 2, box=(-0.5, 1.5))
    changed = (found.delta != 0).any(dim=1).flatten(1).sum(dim=1)
    assert changed.tolist() == [2, 2]
    assert bool((x + found.delta >= -0.5).all()) and bool((x + found.delta <= 1.5).all())
    again = sparse_attack(model, x, torch.tensor([0, 1]), 2, box=(-0.5, 1.5))
    assert torch.equal(again.delta, found.delta)


@pytest.mark.parametrize("degrees", [-90.0, 30.0])
def test_images_turn_about_their_centre_and_then_shift(degrees):
    image = np.zeros((21, 21))
    image[4:9, 6:15] = np.random.default_rng(0).random((5, 9))
    turned = moved(torch.from_numpy(image)[None, None], degrees, 2.0, -1.0)[0, 0].numpy()
    # scipy turns the other way round because its first axis points down
    expected = scipy.ndimage.rotate(image, -degrees, reshape=False, order=1)
    expected = scipy.ndimage.shift(expected, (-1, 2), order=1)
    np.testing.assert_allclose(turned, expected, atol=1e-9)


def test_the_worst_transformation_is_found_and_kept():
    model, x, y = networks.cnn(3, "average"), networks.inputs(3, (1, 4, 4), 3), torch.tensor([0, 1, 2])
    found = spatial_attack(model, x, y, 30.0, 1.0, grid=3, draws=5)
    tried = [moved(x, a, r, d) for a, r, d in itertools.product((-30.0, 0.0, 30.0), (-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0))]
    for i in range(3):
        losses = [networks.loss(networks.dense_logits(model, z[i]), int(y[i])) for z in tried]
        assert found.loss[i].item() >= max(losses) - 1e-12
        assert networks.loss(networks.dense_logits(model, x[i] + found.delta[i]), int(y[i])) == pytest.approx(
            found.loss[i].item(), rel=1e-12
        )
    nothing = spatial_attack(model, x, y, 0.0, 0.0, grid=1, draws=2)
    torch.testing.assert_close(nothing.loss, found.clean_loss, rtol=1e-9, atol=1e-12)


def test_a_users_attack_is_judged_like_the_others():
    model, x, y = networks.mlp(1), networks.inputs(3, (4,), 1), torch.tensor([0, 1, 2])

    def spoiled(run, inputs, labels):
        assert run(inputs).dtype == torch.float64
        changed = inputs + 0.1
        changed[1] = math.nan
        return changed

    found = user_attack(model, x, y, spoiled)
    assert found.failed.tolist() == [False, True, False]
    assert found.loss[1] == found.clean_loss[1] and "spoiled" in found.family
    for i in (0, 2):
        there = networks.loss(networks.dense_logits(model, x[i] + 0.1), int(y[i]))
        assert found.loss[i].item() == pytest.approx(max(there, found.clean_loss[i].item()), rel=1e-12)
    with pytest.raises(InputError, match="returned \\(3, 5\\) for inputs of shape \\(3, 4\\)"):
        user_attack(model, x, y, lambda run, inputs, labels: torch.zeros(3, 5))
    with pytest.raises(InputError, match="returned list"):
        user_attack(model, x, y, lambda run, inputs, labels: inputs.tolist())


def test_bad_settings_are_refused():
    model, x, y = networks.mlp(1), networks.inputs(2, (4,), 1), torch.tensor([0, 1])
    with pytest.raises(InputError, match="at least 1"):
        sparse_attack(model, x, y, 0)
    with pytest.raises(InputError, match="outside the box"):
        sparse_attack(model, x + 1, y, 1)
    with pytest.raises(InputError, match="images"):
        spatial_attack(model, x, y, 10.0, 1.0)
    with pytest.raises(InputError, match="the grid odd"):
        spatial_attack(networks.cnn(0), networks.inputs(2, (1, 4, 4), 0), y, 10.0, 1.0, grid=4)
