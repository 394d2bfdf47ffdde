"""Jacobians, attacks, gaps and verdicts of networks small enough to compute them by hand in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bounds.inputs import Data
from verification.claims.measurements.attacked import attacked
from verification.claims.measurements.generalization import generalization
from verification.claims.measurements.jacobian import jacobian
from verification.claims.measurements.verdicts import verdicts


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double().eval()


def data(n: int = 6) -> Data:
    x = torch.rand(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return Data("toy", x, torch.arange(n) % 3, 3)


def test_norms_of_the_jacobian_in_every_layer() -> None:
    model, samples = network(), data()
    first, last = (model[k].weight.detach().numpy() for k in (0, 2))
    slopes = 1 - np.tanh(samples.x.numpy() @ first.T + model[0].bias.detach().numpy()) ** 2
    dense = np.stack([last @ np.diag(slope) @ first for slope in slopes])
    rows = [np.delete(j, int(y), 0) - j[int(y)] for j, y in zip(dense, samples.y, strict=True)]
    spectral = [np.linalg.norm(j, 2) for j in dense]
    wanted = {
        "spectral": np.mean(spectral),
        "lipschitz_lower": max(spectral),
        "lipschitz_upper": np.linalg.norm(first, 2) * np.linalg.norm(last, 2),
        "frobenius": np.mean([np.linalg.norm(j) for j in dense]),
        "frobenius_squared": np.mean([np.linalg.norm(j) ** 2 for j in dense]),
        "entrywise_l1": np.mean([np.abs(j).sum() for j in dense]),
        "row_sum": np.mean([np.abs(j).sum(1).max() for j in dense]),
        "margin_l2": np.mean([np.linalg.norm(r, axis=1).max() for r in rows]),
        "margin_linf": np.mean([np.abs(r).sum(1).max() for r in rows]),
    }
    found = jacobian(model, samples, samples, samples=6)
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, rel=1e-9)
    layers = [layer["frobenius"] for layer in found["layers"]]
    assert layers == pytest.approx([wanted["frobenius"], np.linalg.norm(last)], rel=1e-9)


@pytest.mark.parametrize(("norm", "q"), [("l2", 2), ("linf", 1)])
def test_a_linear_network_under_attack(norm: str, q: int) -> None:
    """Two classes: the margin falls by eps·‖row difference‖_q, and the loss is that of the margin."""
    linear = nn.Linear(3, 2).double()
    x = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    samples = Data("toy", x, torch.arange(8) % 2, 2)
    weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    signs = np.where(samples.y.numpy() == 0, 1.0, -1.0)
    margins = signs * (x.numpy() @ (weight[0] - weight[1]) + bias[0] - bias[1])
    eps, reach = 0.4, 0.4 * np.linalg.norm(weight[0] - weight[1], q)
    found = attacked(linear, samples, samples, norm=norm, eps=[0, eps], samples=8, steps=10, restarts=1)
    for result, worst in zip(found["results"], (margins, margins - reach), strict=True):
        for side in ("train", "held_out"):
            assert result[side]["loss"] == pytest.approx(np.log1p(np.exp(-worst)).mean(), rel=1e-6)
            assert result[side]["accuracy"] == (worst > 0).mean()
    decided = verdicts(linear, samples, samples, norm=norm, eps=[eps], samples=8, effort="quick", steps=10, restarts=1)[
        "results"
    ][0]
    robust = np.log1p(np.exp(-(margins - reach))).mean()
    assert decided["attack_loss"] == pytest.approx(robust, rel=1e-6)
    assert decided["upper_loss"] == pytest.approx(robust, rel=1e-6)
    slope = {"l2": "frobenius", "linf": "entrywise-l1"}[norm]
    size = np.sqrt(2) * np.linalg.norm(weight) if norm == "l2" else np.abs(weight).sum()
    clean = np.log1p(np.exp(-margins)).mean()
    assert decided["surrogates"][slope]["mean"] == pytest.approx(clean + eps * size, rel=1e-9)


def test_gaps_are_those_of_each_side() -> None:
    model = network()
    training, held_out = data(3), data(6)
    found = generalization(model, training, held_out)
    for side, samples in (("train", training), ("held_out", held_out)):
        logits = model(samples.x)
        assert found[side]["loss"] == pytest.approx(nn.functional.cross_entropy(logits, samples.y).item(), rel=1e-9)
        assert found[side]["error"] == pytest.approx((logits.argmax(1) != samples.y).double().mean().item())
