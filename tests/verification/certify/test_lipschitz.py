from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bounds.errors import InputError
from bounds.network import trace
from tests.verification import networks
from verification.attack_set import AttackSet
from verification.attacks import attack
from verification.certify.lipschitz import lipschitz_lead

NORMS = ("l2", "linf", "l1")
DUAL = {"l2": 2, "linf": 1, "l1": np.inf}


def dense_norms(model):
    return [np.linalg.norm(p.detach().numpy(), 2) for name, p in model.named_parameters() if "weight" in name]


@given(norm=st.sampled_from(NORMS), eps=st.floats(0.001, 1), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=3)
def test_leads_against_numpy_and_never_beaten_by_an_attack(norm, eps, seed):
    model, x, y = networks.mlp(seed).double(), networks.inputs(5, (4,), seed), torch.arange(5) % 3
    s = dense_norms(model)
    certificate = lipschitz_lead(trace(model, x), s, x, y, AttackSet(norm, eps))
    rows = model[-1].weight.detach().numpy()
    reach = eps * (2.0 if norm == "linf" else 1.0) * s[0] * s[1]  # √4 = 2
    for i in range(5):
        z, label = networks.dense_logits(model, x[i]), int(y[i])
        leads = z[label] - z - reach * np.linalg.norm(rows - rows[label], axis=1)
        np.testing.assert_allclose(certificate.lead[i], leads, rtol=1e-11, atol=1e-12)
        assert (certificate.lead[i].numpy() <= leads).all()
        loss = np.logaddexp.reduce(-leads)
        assert certificate.loss[i].item() == pytest.approx(loss, rel=1e-11)
        assert certificate.loss[i].item() >= loss
    found = attack(model, x, y, norm, eps, box=None, steps=10)
    assert bool((found.margin >= certificate.margin(y)).all()) and bool((found.loss <= certificate.loss).all())


@pytest.mark.parametrize("norm", NORMS)
def test_linear_certificate_is_the_exact_worst_case(norm):
    model, x, y = networks.mlp(4, widths=()).double(), networks.inputs(6, (4,), 4), torch.arange(6) % 3
    certificate = lipschitz_lead(trace(model, x), [123.0], x, y, AttackSet(norm, 0.3))
    weight = model[-1].weight.detach().numpy()
    for i in range(6):
        z, label = networks.dense_logits(model, x[i]), int(y[i])
        leads = z[label] - z - 0.3 * np.linalg.norm(weight - weight[label], DUAL[norm], axis=1)
        np.testing.assert_allclose(certificate.lead[i], leads, atol=1e-13)
    two = networks.mlp(4, widths=(), classes=2).double()
    margin = lipschitz_lead(trace(two, x), [123.0], x, y % 2, AttackSet(norm, 0.3)).margin(y % 2)
    np.testing.assert_allclose(attack(two, x, y % 2, norm, 0.3, box=None).margin, margin, atol=1e-7)


def test_convolutional_chain_with_overlapping_pool():
    """The pool's factor √overlap must be in: the certificate with the true operator norms is never beaten."""
    model, x, y = networks.overlapping_pool(2).double(), networks.inputs(8, (1, 4, 4), 2), torch.arange(8) % 3
    network = trace(model, x)
    first = network.segments[0]
    dense = first.linear(torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)).flatten(1).numpy()
    s = [np.linalg.norm(dense, 2), 1.0]
    margin = lipschitz_lead(network, s, x, y, AttackSet("l2", 0.2)).margin(y)
    rows = model[-1].weight.detach().numpy()
    z = networks.dense_logits(model, x[0])
    reach = 0.2 * s[0] * 2.0  # windows 3, stride 2: a pixel is in up to 4 windows
    worst = min(z[0] - z[k] - reach * np.linalg.norm(rows[k] - rows[0]) for k in (1, 2))
    assert margin[0].item() == pytest.approx(worst, abs=1e-12)
    assert bool((attack(model, x, y, "l2", 0.2).margin >= margin).all())


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=3)
def test_rounding_against_fractions(seed):
    """Logits near 1 from terms near 1e9, as exact fractions: the lead at eps = 0 is below, and within rounding."""
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(3, 4)) * 1e9
    model, x = nn.Linear(4, 3).double(), torch.from_numpy(generator.random((1, 4)))
    model.weight.data = torch.from_numpy(weight)
    model.bias.data = 1 - (torch.from_numpy(weight) @ x[0])
    certificate = lipschitz_lead(trace(model, x), [1.0], x, torch.tensor([0]), AttackSet("linf", 0.0))
    z = [
        sum((Fraction(w) * Fraction(v) for w, v in zip(row, x[0].tolist(), strict=True)), Fraction(c))
        for row, c in zip(model.weight.tolist(), model.bias.tolist(), strict=True)
    ]
    for k in (1, 2):
        lead = certificate.lead[0, k].item()
        assert Fraction(lead) <= z[0] - z[k] <= Fraction(lead) + Fraction(1e-4)


def test_overflowing_norms_certify_nothing_but_stay_numbers():
    model, x, y = networks.mlp(1), networks.inputs(2, (4,), 1), torch.tensor([0, 1])
    network = trace(model, x)
    certificate = lipschitz_lead(network, [1e300, 1e300, 1.0], x, y, AttackSet("l2", 0.1))
    assert certificate.margin(y).tolist() == [-np.inf, -np.inf] and certificate.loss.tolist() == [np.inf, np.inf]
    still = lipschitz_lead(network, [1e300, 1e300, 1.0], x, y, AttackSet("l2", 0.0))
    assert bool(still.margin(y).isfinite().all())


def test_a_network_with_joins_or_a_missing_norm_is_refused():
    x, y = networks.inputs(2, (4,), 1), torch.tensor([0, 1])
    with pytest.raises(InputError, match="not a chain"):
        lipschitz_lead(trace(networks.residual(0), x), [1.0] * 3, x, y, AttackSet("l2", 0.1))
    with pytest.raises(InputError, match="2 operator norms given for 3 layers"):
        lipschitz_lead(trace(networks.mlp(0), x), [1.0] * 2, x, y, AttackSet("l2", 0.1))
