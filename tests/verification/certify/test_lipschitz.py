from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.errors import InputError
from bounds.network import trace
from tests.verification import networks
from verification.attacks import attack
from verification.certify.lipschitz import certified_margins

NORMS = ("l2", "linf", "l1")
DUAL = {"l2": 2, "linf": 1, "l1": np.inf}


def dense_norms(model):
    return [np.linalg.norm(p.detach().numpy(), 2) for name, p in model.named_parameters() if "weight" in name]


@given(norm=st.sampled_from(NORMS), eps=st.floats(0.001, 1), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=5)
def test_certificate_against_numpy_and_never_beaten_by_an_attack(norm, eps, seed):
    model, x, y = networks.mlp(seed).double(), networks.inputs(5, (4,), seed), torch.arange(5) % 3
    s = dense_norms(model)
    certificate = certified_margins(trace(model, x), s, x, y, norm, eps)
    rows = model[-1].weight.detach().numpy()
    reach = eps * (2.0 if norm == "linf" else 1.0) * s[0] * s[1]  # √4 = 2
    for i in range(5):
        z, label = networks.dense_logits(model, x[i]), int(y[i])
        leads = [z[label] - z[k] - reach * np.linalg.norm(rows[k] - rows[label]) for k in range(3) if k != label]
        assert certificate.margin[i].item() == pytest.approx(min(leads), rel=1e-7, abs=1e-7)
        assert certificate.margin[i].item() <= min(leads)
        loss = np.logaddexp.reduce([0.0, *(-lead for lead in leads)])
        assert certificate.loss[i].item() == pytest.approx(loss, rel=1e-7, abs=1e-7)
        assert certificate.loss[i].item() >= loss
    found = attack(model, x, y, norm, eps, box=None, steps=10)
    assert bool((found.margin >= certificate.margin).all()) and bool((found.loss <= certificate.loss).all())


@pytest.mark.parametrize("norm", NORMS)
def test_linear_certificate_is_the_exact_worst_case(norm):
    model, x, y = networks.mlp(4, widths=()).double(), networks.inputs(6, (4,), 4), torch.arange(6) % 3
    certificate = certified_margins(trace(model, x), [123.0], x, y, norm, 0.3)
    weight = model[-1].weight.detach().numpy()
    for i in range(6):
        z, label = networks.dense_logits(model, x[i]), int(y[i])
        worst = min(
            z[label] - z[k] - 0.3 * np.linalg.norm(weight[k] - weight[label], DUAL[norm])
            for k in range(3)
            if k != label
        )
        assert certificate.margin[i].item() == pytest.approx(worst, abs=1e-7)
    two = networks.mlp(4, widths=(), classes=2).double()
    two_certificate = certified_margins(trace(two, x), [123.0], x, y % 2, norm, 0.3)
    found = attack(two, x, y % 2, norm, 0.3, box=None)
    np.testing.assert_allclose(found.margin, two_certificate.margin, atol=1e-7)


def test_convolutional_chain_with_overlapping_pool():
    """The pool's factor √overlap must be in: the certificate with the true operator norms is never beaten."""
    model, x, y = networks.overlapping_pool(2).double(), networks.inputs(8, (1, 4, 4), 2), torch.arange(8) % 3
    network = trace(model, x)
    first = network.segments[0]
    dense = first.linear(torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)).flatten(1).numpy()
    s = [np.linalg.norm(dense, 2), 1.0]
    certificate = certified_margins(network, s, x, y, "l2", 0.2)
    rows = model[-1].weight.detach().numpy()
    z = networks.dense_logits(model, x[0])
    reach = 0.2 * s[0] * 2.0  # windows 3, stride 2: a pixel is in up to 4 windows
    worst = min(z[0] - z[k] - reach * np.linalg.norm(rows[k] - rows[0]) for k in (1, 2))
    assert certificate.margin[0].item() == pytest.approx(worst, abs=1e-7)
    assert bool((attack(model, x, y, "l2", 0.2).margin >= certificate.margin).all())


def test_overflowing_norms_certify_nothing_but_stay_numbers():
    model, x, y = networks.mlp(1), networks.inputs(2, (4,), 1), torch.tensor([0, 1])
    network = trace(model, x)
    certificate = certified_margins(network, [1e300, 1e300, 1.0], x, y, "l2", 0.1)
    assert certificate.margin.tolist() == [-np.inf, -np.inf] and certificate.loss.tolist() == [np.inf, np.inf]
    assert bool(certified_margins(network, [1e300, 1e300, 1.0], x, y, "l2", 0.0).margin.isfinite().all())


def test_a_network_with_joins_or_a_missing_norm_is_refused():
    x, y = networks.inputs(2, (4,), 1), torch.tensor([0, 1])
    with pytest.raises(InputError, match="not a chain"):
        certified_margins(trace(networks.residual(0), x), [1.0] * 3, x, y, "l2", 0.1)
    with pytest.raises(InputError, match="2 operator norms given for 3 layers"):
        certified_margins(trace(networks.mlp(0), x), [1.0] * 2, x, y, "l2", 0.1)
