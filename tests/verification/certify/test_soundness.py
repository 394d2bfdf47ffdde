"""No point of an attack set ever exceeds a certificate: networks, samples, norms and radii drawn at random.

A case is one (network, sample, norm, eps). Nothing here knows how a certificate is made.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from fractions import Fraction

import mpmath
import pytest
import torch
from torch import nn

from bounds.errors import InputError
from bounds.network import trace
from tests.cases import ACTIVATIONS, CASES, mlp, traced
from tests.oracles import random_networks
from tests.oracles.certificates import (
    Ball,
    exact_logits,
    exact_loss_and_margin,
    exact_vertices,
    losses_and_margins,
    search,
)
from verification.attack_set import AttackSet
from verification.attacks import attack
from verification.certify.certifier import Certifier

NORMS = ("l2", "linf", "l1")
OPAQUE = ("vit", "gru", "gated")
CERTIFIABLE = tuple(name for name in CASES if name not in OPAQUE)


def samples(rng: random.Random, n: int, shape: tuple[int, ...], boxed: bool) -> torch.Tensor:
    """Inputs: noise, corners of the box, constants, multiples of 1/4 (kinks and ties); beyond the box without one."""
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    x = torch.rand(n, *shape, generator=generator, dtype=torch.float64)
    kinds = rng.choices(["noise", "corner", "constant", "grid", "sparse"], [5, 1, 1, 1, 1], k=n)
    for i, kind in enumerate(kinds):
        if kind == "corner":
            x[i] = x[i].round()
        elif kind == "constant":
            x[i] = rng.choice([0.0, 0.5, 1.0])
        elif kind == "grid":
            x[i] = (4 * x[i]).round() / 4
        elif kind == "sparse":
            x[i] = torch.where(x[i] < 0.7, 0.0, x[i])
    return x if boxed else (x - rng.choice([0.0, 0.5])) * rng.choice([1.0, 1.0, 4.0])


def violations(model, network, certifier, rng: random.Random, n: int, effort: str = "quick") -> Iterator[str]:
    """Certifies n samples at one random radius of each norm; what a search, or an attack, found beyond."""
    for norm in NORMS:
        boxed, eps = rng.random() < 0.6, math.exp(rng.uniform(math.log(1e-6), math.log(3)))
        x = samples(rng, n, network.input_shape, boxed)
        y = torch.tensor(rng.choices(range(network.outputs), k=n))
        if rng.random() < 0.5:
            y = model(x).argmax(1)
        box = (0.0, 1.0) if boxed else None
        goals = None
        if rng.random() < 0.3:  # a goal may end the work early, never the soundness
            clean = losses_and_margins(model(x).detach(), y)[0]
            goals = (clean * rng.choice([1.0, 1.5]) + eps * rng.choice([0.1, 1.0, 10.0]))[:, None]
        found = certifier.certify(
            x, y, AttackSet(norm, eps, box), goals=goals, effort=effort, batch=rng.choice([3, 64, 64, 64])
        )
        ball = Ball(x.flatten(1), norm, eps, *(box or (-math.inf, math.inf)))
        worst = search(model, x, y, ball, rng.randrange(2**31))
        losses, margins = [worst.loss], [worst.margin]
        if rng.random() < 0.2:
            attacked = attack(model, x, y, norm, eps, steps=8, restarts=2, box=box, seed=rng.randrange(2**31))
            losses.append(attacked.loss)
            margins.append(attacked.margin)
        reached, lowest = torch.stack(losses).amax(0), torch.stack(margins).amin(0)
        claims = {"loss": found.loss, **found.losses}
        assert len(found.loss) == len(found.margin) == len(found.routes) == n
        assert set(found.routes) <= {*found.losses, "combined"}
        assert bool((found.loss <= torch.stack(list(found.losses.values())).amin(0)).all())
        for i in range(n):
            where = f"{norm} eps={eps!r} box={box} effort={effort} sample {i}, route {found.routes[i]}"
            for route, claim in claims.items():
                if not reached[i] <= claim[i]:  # also where the claim is not a number
                    yield f"{where}: loss {reached[i]:.17g} > {claim[i]:.17g} by {route}; x={x[i].tolist()} y={y[i]}"
            if not found.margin[i] <= lowest[i]:
                yield f"{where}: margin {lowest[i]:.17g} < {found.margin[i]:.17g}; x={x[i].tolist()} y={y[i]}"


def check(model, network, rng: random.Random, rounds: int, n: int, effort: str = "quick") -> int:
    """Runs rounds · 3 norms · n cases; returns their number."""
    certifier = Certifier.measured(network)
    wrong = [line for _ in range(rounds) for line in violations(model, network, certifier, rng, n, effort)]
    assert not wrong, f"{len(wrong)} violations, for example\n" + "\n".join(wrong[:5])
    return rounds * len(NORMS) * n


@pytest.mark.parametrize("name", CERTIFIABLE)
def test_no_point_of_the_set_beats_a_certificate(name: str) -> None:
    assert check(CASES[name].module(), traced(name), random.Random(name), rounds=1, n=8) == 24


@pytest.mark.parametrize("seed", [0, 1, 2, 13])
def test_no_point_of_the_set_beats_a_certificate_of_a_random_network(seed: int) -> None:
    model, shape = random_networks.draw(seed)
    network = trace(model, torch.zeros(2, *shape, dtype=torch.float64))
    assert check(model, network, random.Random(seed), rounds=1, n=8) == 24


@pytest.mark.parametrize("name", ["mlp-leaky_relu", "mlp-gelu", "max-pool-overlapping"])
@pytest.mark.parametrize("effort", ["standard", "thorough"])
def test_no_point_of_the_set_beats_a_certificate_of_higher_effort(name: str, effort: str) -> None:
    assert check(CASES[name].module(), traced(name), random.Random(name), rounds=1, n=3, effort=effort) == 9


@pytest.mark.slow
def test_twenty_thousand_random_cases() -> None:
    """All shared networks with fresh weights and 100 random ones; a tenth of the cases at higher effort."""
    total = 0
    drawn = [(name, CASES[name].module(seed=1), CASES[name].input_shape) for name in CERTIFIABLE]
    drawn += [(str(seed), *random_networks.draw(seed)) for seed in range(1000, 1100)]
    for name, model, shape in drawn:
        network = trace(model, torch.zeros(2, *shape, dtype=torch.float64))
        rng = random.Random(f"slow {name}")
        total += check(model, network, rng, rounds=2, n=23)
        total += check(model, network, rng, rounds=1, n=1, effort=rng.choice(["standard", "thorough"]))
    assert total == len(drawn) * (138 + 3) >= 20_000


def cancelling(seed: int, size: float) -> nn.Sequential:
    """Pairs of hidden units, equal but for their last bits, subtracted again: rounding errors grow by `size`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        first, second = model[0], model[2]
        first.weight.mul_(size)
        first.bias.mul_(size)
        first.weight[1::2] = first.weight[::2] + torch.randn(3, 3, dtype=torch.float64)
        first.bias[1::2] = first.bias[::2]
        second.weight[:, 1::2] = -second.weight[:, ::2]
    return model


def check_exactly(model: nn.Sequential, radii: tuple[float, ...], effort: str = "quick") -> None:
    """At vertices of the plain balls, to 60 digits: too small an allowance for rounding shows."""
    x, y = torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), torch.arange(3)
    certifier = Certifier.measured(trace(model, x))
    for norm, eps in itertools.product(NORMS, radii):
        found = certifier.certify(x, y, AttackSet(norm, eps, None), effort=effort)
        for i in range(len(x)):
            centre = [Fraction(value) for value in x[i].tolist()]
            for delta in exact_vertices(norm, eps, 3):
                logits = exact_logits(model, [c + v for c, v in zip(centre, delta, strict=True)])
                loss, margin = exact_loss_and_margin(logits, i)
                assert mpmath.mpf(found.margin[i].item()) <= margin
                for route, bound in found.losses.items():
                    assert loss <= mpmath.mpf(bound[i].item()), (norm, eps, route, i)


@pytest.mark.parametrize("effort", ["quick", pytest.param("standard", marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", [1.0, 1e6, 1e12])
def test_exact_values_never_beat_a_certificate_where_units_cancel(size: float, effort: str) -> None:
    check_exactly(cancelling(0, size), (0.0, 1e-9, 1e-3), effort)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_exact_values_never_beat_a_certificate_of_any_activation(activation: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mlp((3, 5, 4, 3), activation=ACTIVATIONS[activation]).double()
    with torch.no_grad():
        model[0].weight.mul_(4.0)
    check_exactly(model, (1e-12, 1e-6))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("start", "eps"), [(19.5, 0.4), (20.5, 0.4), (20.0, 0.3), (20.0, 1e-9), (15.0, 10.0)])
def test_the_jump_of_torchs_softplus(sign: float, start: float, eps: float) -> None:
    """Above 20 torch's softplus is the identity, 2e-9 below the formula; the network multiplies this by 1e9."""
    model = nn.Sequential(nn.Linear(1, 2), nn.Softplus(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [1.0]]))
        model[0].bias.copy_(torch.tensor([start, start + 100.0]))
        model[2].weight.copy_(torch.tensor([[0.0, 0.0], [1e9 * sign, -1e9 * sign]]))
        model[2].bias.copy_(torch.tensor([0.0, 1e11 * sign]))
    x, y = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0])
    points = torch.linspace(-eps, eps, 2001, dtype=torch.float64)[:, None] * (1 - 1e-12)
    worst = losses_and_margins(model(points).detach(), y.expand(2001))[0].max()
    certifier = Certifier(trace(model, x))
    for norm in NORMS:
        found = certifier.certify(x, y, AttackSet(norm, eps, None))
        # the points are evaluated in float64, the certificate is about exact numbers: logits of 1e11 differ by 1e-4
        assert worst <= found.loss[0] + 1e-3


@pytest.mark.parametrize("name", ["gated"])
def test_an_opaque_layer_is_refused_by_name(name: str) -> None:
    network = traced(name)
    first = next(obstacle.name for obstacle in network.architecture.obstacles)
    with pytest.raises(InputError, match=first.split()[0].replace("(", r"\(")):
        Certifier(network)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
def test_radius_zero_is_the_clean_loss(norm: str, box: tuple[float, float] | None) -> None:
    for name in ("mlp-tanh", "lenet", "densenet"):
        model, x = CASES[name].module(), CASES[name].inputs(4)
        y = torch.arange(4) % 3
        found = Certifier(traced(name)).certify(x, y, AttackSet(norm, 0.0, box))
        loss, margin = losses_and_margins(model(x).detach(), y)
        assert bool((found.loss >= loss).all()) and bool((found.margin <= margin).all())
        torch.testing.assert_close(found.loss, loss, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(found.margin, margin, rtol=1e-9, atol=1e-9)
