"""The sampled Rademacher complexity against enumeration of all signs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs import Data
from verification.claims.measurements.rademacher import rademacher, sign_sums


def sample(n: int, d: int = 4, seed: int = 0) -> Data:
    x = torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Data("toy", x, torch.arange(n) % 3, 3)


def network(seed: int = 0, bias: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3, bias=bias)).eval()


def exact(net: nn.Sequential, data: Data) -> float:
    """(s_L/n) E‖Σσ_j z_j‖_2 over all 2^n sign vectors, dense and in numpy."""
    first, last = (layer for layer in net if isinstance(layer, nn.Linear))
    offset = 0.0 if first.bias is None else first.bias.detach().double().numpy()
    z = np.maximum(data.x.numpy() @ first.weight.detach().double().numpy().T + offset, 0)
    s = np.linalg.svd(last.weight.detach().double().numpy(), compute_uv=False)[0]
    lengths = [np.linalg.norm(np.array(signs) @ z) for signs in itertools.product((-1, 1), repeat=len(z))]
    return float(s * np.mean(lengths) / len(z))


@pytest.mark.parametrize(("n", "bias", "seed"), [(1, True, 0), (2, False, 1), (5, True, 2), (10, True, 3)])
def test_it_brackets_the_enumerated_value(n: int, bias: bool, seed: int) -> None:
    net, data = network(seed, bias), sample(n, seed=seed)
    found, truth = rademacher(net, data, data, samples=n, draws=4000), exact(net, data)
    assert found["estimate"] == pytest.approx(truth, rel=0.03)
    assert found["lower"] <= truth * (1 + 1e-9) and truth <= found["upper"] * (1 + 1e-9)
    assert found["lower"] >= found["upper"] / math.sqrt(2) * (1 - 1e-9)  # never below what is certain
    assert (found["samples"], found["draws"], found["confidence"]) == (n, 4000, 0.95)


def test_khintchine_is_attained() -> None:
    # two equal features: E|σ_1 + σ_2| = 1 = ‖Z‖/√2 for ‖Z‖ = √2
    data = Data("toy", torch.ones(2, 1), torch.tensor([0, 1]), 2)
    linear = nn.Linear(1, 2, bias=False)
    linear.weight.data = torch.tensor([[1.0], [0.0]])
    found = rademacher(linear, data, data, samples=2, draws=4000)
    assert found["lower"] == pytest.approx(0.5) and found["estimate"] == pytest.approx(0.5, rel=0.05)
    assert found["upper"] == pytest.approx(1 / math.sqrt(2))


def test_the_sampled_lower_end_holds_as_often_as_it_says_and_beats_the_certain_one_for_many_samples() -> None:
    net, data = network(), sample(60)
    found = rademacher(net, data, data, samples=60, draws=20_000)
    certain = found["upper"] / math.sqrt(2)
    assert certain < found["lower"] < found["estimate"] <= found["upper"]
    slack = 2 * found["upper"] * math.sqrt(math.log(20) / 40_000)
    assert found["lower"] == pytest.approx(found["estimate"] - slack, rel=1e-6)


def test_it_scales_with_the_last_layer_whose_offset_plays_no_part() -> None:
    net, data = network(), sample(6)
    before = rademacher(net, data, data, samples=6, draws=50)
    assert isinstance(net[2], nn.Linear)
    net[2].bias.data += 7.0
    net[2].weight.data *= 4.0
    after = rademacher(net, data, data, samples=6, draws=50)
    assert all(after[key] == pytest.approx(4 * before[key]) for key in ("estimate", "lower", "upper"))


def test_convolutions_end_in_an_affine_layer_too() -> None:
    x = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    data = Data("toy", x, torch.tensor([0, 1, 0, 1]), 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)).eval()
    z = net[:3].double()(x.double()).detach()
    s = float(torch.linalg.matrix_norm(net[3].weight.detach().double(), 2))
    found = rademacher(net.float(), data, data, samples=4, draws=10)
    assert found["upper"] == pytest.approx(s * float(z.norm()) / 4, rel=1e-5)


def test_sign_sums_are_of_independent_fair_signs() -> None:
    # one feature per sample on its own axis: every length is √n; on a common axis the mean is E|Σσ|
    assert torch.equal(sign_sums(torch.eye(9, dtype=torch.float64), 5), torch.full((5,), 3.0, dtype=torch.float64))
    lengths = sign_sums(torch.ones(4, 1, dtype=torch.float64), 20_000)
    assert float(lengths.mean()) == pytest.approx(1.5, abs=0.03)
    assert set(lengths.tolist()) == {0.0, 2.0, 4.0}


def test_a_network_that_ends_in_an_activation_is_refused() -> None:
    data = sample(4)
    with pytest.raises(InputError, match="not in an affine layer"):
        rademacher(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), data, data, samples=4, draws=3)
