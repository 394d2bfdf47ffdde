"""The linear relaxation: never beaten, exact where the network is affine over the ball, better than Lipschitz."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.measure import operator_norm
from bounds.network import trace
from tests.verification import networks
from verification.attack_set import AttackSet
from verification.attacks import attack
from verification.certify.lipschitz import certified_margins
from verification.certify.relaxation import relaxation, why_not_relaxed

NORMS = ("l2", "linf", "l1")
MODELS = {
    "relu": lambda seed: (networks.mlp(seed), (4,)),
    "leaky": lambda seed: (networks.leaky(seed), (4,)),
    "cnn": lambda seed: (networks.cnn(seed, pool="average"), (1, 4, 4)),
}


def prepared(name: str, seed: int):
    model, shape = MODELS[name](seed)
    model = model.double()
    x, y = networks.inputs(6, shape, seed), torch.arange(6) % 3
    network = trace(model, x)
    return model, network, [operator_norm(segment).upper.value for segment in network.segments], x, y


@pytest.mark.parametrize("name", sorted(MODELS))
@given(norm=st.sampled_from(NORMS), eps=st.floats(1e-4, 2), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=4)
def test_never_beaten(name: str, norm: str, eps: float, seed: int) -> None:
    model, network, s, x, y = prepared(name, seed)
    certificate = relaxation(network, s, norm, eps).certify(x, y)
    found = attack(model, x, y, norm, eps, box=None, steps=15)
    assert bool((certificate.margin <= found.margin).all()) and bool((found.loss <= certificate.loss).all())
    # and by brute force on the boundary of the ball
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((2000, *x.shape[1:]), generator=generator, dtype=torch.float64)
    ball = AttackSet(norm, eps)
    noise = noise * (eps / ball.size(noise)).reshape(-1, *[1] * (x.dim() - 1))
    for i in range(len(x)):
        logits = model(x[i] + noise).detach()
        own = logits[:, y[i]].clone()
        logits[:, y[i]] = -torch.inf
        assert float((own - logits.amax(1)).min()) >= float(certificate.margin[i])


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("norm", NORMS)
def test_exact_while_no_unit_can_switch(name: str, norm: str) -> None:
    """Inside one linear piece the margin's worst case is known: min over k of z_y - z_k - eps ‖J_y - J_k‖_q."""
    model, network, s, x, y = prepared(name, 3)
    eps = 1e-7
    certificate = relaxation(network, s, norm, eps).certify(x, y)
    q = {"l2": 2, "linf": 1, "l1": np.inf}[norm]
    for i in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda v: model(v[None])[0], x[i]).flatten(1).numpy()
        z = model(x[i][None])[0].detach().numpy()
        label = int(y[i])
        worst = min(
            z[label] - z[k] - eps * np.linalg.norm(jacobian[label] - jacobian[k], q) for k in range(3) if k != label
        )
        assert float(certificate.margin[i]) == pytest.approx(worst, abs=3e-8)
        assert float(certificate.margin[i]) <= worst


def test_better_than_the_global_lipschitz_constant() -> None:
    _, network, s, x, y = prepared("relu", 5)
    relaxed = relaxation(network, s, "l2", 0.05).certify(x, y)
    lipschitz = certified_margins(network, s, x, y, "l2", 0.05)
    assert float((relaxed.margin - lipschitz.margin).mean()) > 0.01


def test_hidden_ranges_contain_what_the_units_do() -> None:
    x = networks.inputs(6, (4,), 7)
    model = networks.mlp(7).double()
    with torch.no_grad():  # norms well above 1, so that leaving one out of a product shows
        for name, parameter in model.named_parameters():
            if "weight" in name:
                parameter.mul_(8)
    network = trace(model, x)
    s = [operator_norm(segment).upper.value for segment in network.segments]
    for norm in NORMS:
        ranges = relaxation(network, s, norm, 0.3).ranges
        noise = torch.randn(5000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        noise = 0.3 * noise / AttackSet(norm, 0.3).size(noise)[:, None]
        z, moved = x[:1], x[:1] + noise
        layers = [part for part in network.chain[:-1]]
        for number, part in enumerate(layers):
            z, moved = part(z), part(moved)
            if number % 2 == 0:
                assert bool(((moved - z).abs() <= ranges[number // 2]).all())


@pytest.mark.parametrize(
    "model, shape, message",
    [
        (networks.mlp(0, "tanh"), (4,), "tanh after .* is not ReLU or leaky ReLU"),
        (networks.overlapping_pool(0), (1, 4, 4), "is not ReLU or leaky ReLU"),
        (networks.residual(0), (4,), "residual join|concat"),
    ],
)
def test_why_not(model, shape, message: str) -> None:
    import re

    why = why_not_relaxed(trace(model, torch.zeros(2, *shape)))
    assert why is not None and re.search(message, why)
