"""Networks whose gradients hide the worst case: what a weak attack misses must not be proved.

Inputs have one or two dimensions, so the robust loss is known from a dense grid; in one dimension the grid holds every
kink, and for piecewise-linear networks its value is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from bounds.inputs import Data
from bounds.network import trace
from tests.oracles.certificates import losses_and_margins
from verification.attack_set import AttackSet
from verification.attacks import attack
from verification.certify.certifier import Certifier
from verification.verdicts import verify

GRID = 100_000


def dense(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    """A linear layer with given weights, float64."""
    layer = nn.Linear(len(weight[0]), len(weight), dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight, dtype=torch.float64))
        layer.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    return layer


def saturated(activation: type[nn.Module]) -> nn.Sequential:
    """Logits in the thousands: around (0.3, 0.6) the gradient of the loss is exactly 0 in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = nn.Sequential(
            nn.Linear(2, 12), activation(), nn.Linear(12, 6), activation(), nn.Linear(6, 3)
        ).double()
    with torch.no_grad():
        network[-1].weight.mul_(3e5)
        network[-1].bias.sub_(network(torch.tensor([[0.3, 0.6]]).double())[0]).add_(torch.tensor([800.0, 0.0, 0.0]))
    return network


def sawtooth(folds: int, height: float) -> nn.Sequential:
    """2^folds teeth, the last the highest: the gradient does not say where to go. It bends at multiples of 2^-folds-1.

    tent(t) = 2 relu(t) - 4 relu(t - 1/2), folded `folds` times; x itself is carried along by a third unit.
    """
    layers: list[nn.Module] = [dense([[1.0], [1.0], [1.0]], [0.0, -0.5, 0.0]), nn.ReLU()]
    for _ in range(folds - 1):
        fold = [2.0, -4.0, 0.0]
        layers += [dense([fold, fold, [0.0, 0.0, 1.0]], [0.0, -0.5, 0.0]), nn.ReLU()]
    return nn.Sequential(
        *layers, dense([[0.0, 0.0, 0.0], [2 * height, -4 * height, 0.5 * height]], [height, -0.1 * height])
    )


def dead(steepness: float) -> nn.Sequential:
    """Constant up to x = 0.7, then a cliff."""
    return nn.Sequential(dense([[1.0]], [-0.7]), nn.ReLU(), dense([[0.0], [steepness]], [3.0, 0.0]))


def needle(at: float, width: float, height: float) -> nn.Sequential:
    """A peak of the second logit that is narrower than any step."""
    rise = height / width
    hat = dense([[1.0], [1.0], [1.0]], [-at, -at - width, -at - 2 * width])
    return nn.Sequential(hat, nn.ReLU(), dense([[0.0, 0.0, 0.0], [rise, -2 * rise, rise]], [5.0, 0.0]))


def staircase(activation: type[nn.Module], steepness: float, inputs: int = 1) -> nn.Sequential:
    """A sum of steps in the mean of the inputs, as quantisation makes them: flat between, nearly vertical there."""
    at = [0.1, 0.25, 0.45, 0.55, 0.62, 0.8, 0.93]
    steps = dense([[steepness / inputs] * inputs] * len(at), [-steepness * a for a in at])
    heights = [3.0, -4.0, 2.0, 1.0, -5.0, 9.0, -2.0]
    return nn.Sequential(steps, activation(), dense([[0.0] * len(at), heights], [3.0, 0.0]))


class Channels(nn.Module):
    """Units as positions of one channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1)


def hidden_branch() -> nn.Sequential:
    """max(-x, 40 x - 24): the rival, unseen by the gradient at 1/2, wins further away."""
    first = dense([[-1.0], [40.0]], [0.0, -24.0])
    return nn.Sequential(first, Channels(), nn.MaxPool1d(2), nn.Flatten(), dense([[0.0], [1.0]], [6.0, 0.0]))


@dataclass(frozen=True)
class Masked:
    """A network of one or two inputs in [0, 1], where it looks harmless, and how far the attack may go.

    Attributes:
        kinks: where a piecewise-linear network of one input bends; None: the grid is not exact.
    """

    make: Callable[[], nn.Sequential]
    x: tuple[float, ...]
    eps: float
    kinks: tuple[float, ...] | None = None


CASES = {
    "saturated relu": Masked(lambda: saturated(nn.ReLU), (0.3, 0.6), 0.4),
    "saturated tanh": Masked(lambda: saturated(nn.Tanh), (0.3, 0.6), 0.4),
    "saturated gelu": Masked(lambda: saturated(nn.GELU), (0.3, 0.6), 0.4),
    "sawtooth": Masked(lambda: sawtooth(5, 8.0), (0.4 + 1 / 128,), 0.3, tuple(i / 64 for i in range(65))),
    "fine sawtooth": Masked(lambda: sawtooth(9, 20.0), (0.2,), 0.7, tuple(i / 1024 for i in range(1025))),
    "dead": Masked(lambda: dead(500.0), (0.5,), 0.3, (0.7,)),
    "needle": Masked(lambda: needle(0.71, 1e-6, 50.0), (0.5,), 0.3, (0.71, 0.71 + 1e-6, 0.71 + 2e-6)),
    "sigmoid steps": Masked(lambda: staircase(nn.Sigmoid, 2000.0), (0.5,), 0.45),
    "softplus kinks": Masked(lambda: staircase(nn.Softplus, 300.0), (0.5,), 0.2),
    "tanh steps in the plane": Masked(lambda: staircase(nn.Tanh, 400.0, inputs=2), (0.5, 0.5), 0.45),
    "hidden branch": Masked(hidden_branch, (0.5,), 0.3, (24 / 41,)),
}
NORMS = ("l2", "linf", "l1")


def predicted(name: str) -> tuple[nn.Sequential, Tensor, Tensor]:
    network, x = CASES[name].make(), torch.tensor([CASES[name].x], dtype=torch.float64)
    return network, x, network(x).argmax(1).detach()


@cache
def certifier_of(name: str) -> Certifier:
    network, x, _ = predicted(name)
    return Certifier(trace(network, x))


@cache
def truth(name: str, norm: str) -> tuple[float, float, float]:
    """Largest loss and smallest margin on the grid, and the largest step of the loss between neighbours."""
    case, (network, x, y) = CASES[name], predicted(name)
    d = x.shape[1]
    axes, reach = [], case.eps * (1 - 1e-12)  # inside the set in whatever way it is rounded
    for centre in x[0]:
        ends = max(0.0, centre - reach), min(1.0, centre + reach)
        axis = torch.linspace(*ends, round(GRID ** (1 / d)), dtype=torch.float64)
        axes.append(torch.cat([axis, torch.tensor(case.kinks or (), dtype=torch.float64)]).clamp(0, 1).unique())
    points = torch.cartesian_prod(*axes).reshape(-1, d)
    size = torch.linalg.vector_norm(points - x, ord={"l2": 2, "linf": math.inf, "l1": 1}[norm], dim=1)
    with torch.no_grad():
        loss, margin = losses_and_margins(network(points), y.expand(len(points)))
    jump = 0.0
    if case.kinks is None:
        grid = loss.reshape(*map(len, axes))
        jump = sum(float(grid.diff(dim=axis).abs().max()) for axis in range(d))
    inside = size <= case.eps * (1 - 5e-13)
    return float(loss[inside].max()), float(margin[inside].min()), jump


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_masked(name: str) -> None:
    """A step along the sign of the loss gradient, what a weak attack does, misses most of the worst case."""
    case, (network, x, y) = CASES[name], predicted(name)
    moving = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(losses_and_margins(network(moving), y)[0].sum(), moving)
    weak = (x + case.eps * gradient.sign()).clamp(0, 1)
    reached = losses_and_margins(network(weak).detach(), y)[0].item()
    assert reached < 0.7 * truth(name, "linf")[0]


@pytest.mark.parametrize("effort", ["quick", "standard", pytest.param("thorough", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_attack_truth_certificate_are_in_order(name: str, effort: str) -> None:
    case, (network, x, y) = CASES[name], predicted(name)
    certifier = certifier_of(name)
    for norm in NORMS:
        loss, margin, jump = truth(name, norm)
        found = certifier.certify(x, y, AttackSet(norm, case.eps, (0.0, 1.0)), effort=effort)
        assert loss <= found.loss.item() and found.margin.item() <= margin
        assert all(loss <= bound.item() for bound in found.losses.values()), found.losses
        attacked = attack(network, x, y, norm, case.eps, steps=10, restarts=1)
        assert attacked.loss.item() <= loss + jump + 1e-7


@pytest.mark.parametrize("name", CASES)
def test_no_verdict_contradicts_the_grid(name: str) -> None:
    """Whatever the attack misses: proved surrogates lie above the true robust loss, refuted ones below."""
    case, (network, x, y) = CASES[name], predicted(name)
    data = Data("toy", x, y, classes=int(network(x).shape[1]), box=(0.0, 1.0))
    for result in verify(network, data, NORMS, case.eps, steps=3, restarts=1).record["results"]:
        loss, _, jump = truth(name, result["norm"])
        values = result["values"]
        for surrogate, letter in values["verdicts"].items():
            value = values["surrogates"][surrogate][0]
            if letter == "p":
                assert loss <= value * (1 + 1e-9), (surrogate, loss, value)
            if letter == "r":
                assert value < loss + jump + 1e-7, (surrogate, loss, value)
