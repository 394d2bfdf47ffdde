from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.errors import InputError
from tests.verification import networks
from verification.attacks import attack
from verification.surrogates import SURROGATES, surrogates

NORMS = ("l2", "linf", "l1")
DUAL = {"l2": 2, "linf": 1, "l1": np.inf}


def dense_surrogates(logits, jacobian, y, norm, eps):
    """Theory §2's table with numpy, one sample."""
    q = DUAL[norm]
    softmax = np.exp(logits - logits.max())
    u = softmax / softmax.sum()
    u[y] -= 1
    slopes = {
        "gradient": np.linalg.norm(jacobian.T @ u, q),
        "margin-jacobian": max(np.linalg.norm(row - jacobian[y], q) for row in jacobian),
    }
    if norm == "l2":
        top = np.linalg.svd(jacobian)[1][0]
        slopes |= {"spectral": 2**0.5 * top, "frobenius": 2**0.5 * np.sqrt((jacobian**2).sum())}
        slopes["operator"] = 2**0.5 * top
    elif norm == "linf":
        slopes |= {"row-sum": 2 * np.abs(jacobian).sum(1).max(), "entrywise-l1": np.abs(jacobian).sum()}
        corners = itertools.product((-1, 1), repeat=jacobian.shape[1])
        slopes["operator"] = 2**0.5 * max(np.linalg.norm(jacobian @ s) for s in corners)
    else:
        slopes["operator"] = 2**0.5 * np.sqrt((jacobian**2).sum(0)).max()
    return {name: networks.loss(logits, y) + eps * slope for name, slope in slopes.items()}


@given(norm=st.sampled_from(NORMS), eps=st.floats(0, 2), seed=st.integers(0, 10**6), scale=st.floats(0.1, 20))
@settings(deadline=None, max_examples=25)
def test_every_row_against_numpy(norm, eps, seed, scale):
    model, x, y = networks.mlp(seed, "tanh"), networks.inputs(3, (4,), seed), torch.tensor([0, 1, 2])
    with torch.no_grad():
        model[-1].weight.mul_(scale)
    values = surrogates(model, x, y, norm, eps)
    assert list(values) == [row.name for row in SURROGATES.values() if norm in row.norms]
    for i in range(3):
        logits, jacobian = networks.dense_logits(model, x[i]), networks.dense_jacobian(model, x[i])
        expected = dense_surrogates(logits, jacobian, int(y[i]), norm, eps)
        for name, value in expected.items():
            ours = values[name][i].item()
            if name == "operator" and norm == "linf":  # its certified upper end
                assert (
                    value * (1 - 1e-12)
                    <= ours
                    <= networks.loss(logits, y[i]) + 2.0 * (value - networks.loss(logits, y[i])) + 1e-12
                )
            else:
                assert ours == pytest.approx(value, rel=1e-9, abs=1e-12)


@given(norm=st.sampled_from(NORMS), eps=st.floats(0.01, 3), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_gradient_below_linearised_loss_below_every_upper_row(norm, eps, seed):
    """L2.1. A linear network is its own linearisation, so an attack on it bounds R_lin from below."""
    model, x, y = networks.mlp(seed, widths=()), networks.inputs(4, (4,), seed), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        model[-1].weight.mul_(3.0)
    values = surrogates(model, x, y, norm, eps)
    attacked = attack(model, x, y, norm, eps, box=None, steps=15).loss
    for name, value in values.items():
        if SURROGATES[name].upper:
            assert bool((attacked <= value + 1e-9).all()), name
            assert bool((values["margin-jacobian"] <= value + 1e-9).all()), name
        else:
            assert bool((value <= attacked + 1e-9).all()), name


def test_margin_jacobian_is_attained_far_from_the_decision():
    """For two classes and a hopeless sample the loss is linear, so R = S up to the log."""
    model = networks.mlp(3, inputs=4, widths=(), classes=2)
    with torch.no_grad():
        model[-1].weight.mul_(50)
        model[-1].bias.copy_(torch.tensor([-100.0, 100.0]))
    x, y = networks.inputs(1, (4,), 0), torch.tensor([0])
    for norm in NORMS:
        tight = surrogates(model, x, y, norm, 0.5)["margin-jacobian"].item()
        assert attack(model, x, y, norm, 0.5, box=None).loss.item() == pytest.approx(tight, abs=1e-9)


def test_bad_settings_are_refused():
    model, x, y = networks.mlp(0), networks.inputs(2, (4,), 0), torch.tensor([0, 1])
    with pytest.raises(InputError, match="norm"):
        surrogates(model, x, y, "l7", 0.1)
    with pytest.raises(InputError, match="radius"):
        surrogates(model, x, y, "l2", -1.0)
    with pytest.raises(InputError, match="sample 1 is not finite"):
        surrogates(lambda z: torch.stack([z[:, 0].sqrt(), z[:, 1]], 1), torch.tensor([[1.0, 1], [0, 1]]), y, "l2", 1)
