from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs import Data, load_checkpoint, load_data, save_checkpoint
from tests.verification import networks
from verification.training.networks import FACTORIES, build
from verification.training.regularisers.adversarial import Adversarial
from verification.training.regularisers.hessian_operator import HessianOperator
from verification.training.regularisers.jacobian_frobenius import JacobianFrobenius
from verification.training.regularisers.jacobian_l1 import JacobianL1
from verification.training.trainer import Diverged, train

ARGUMENTS = {
    "linear": {"inputs": 64, "classes": 10, "bias": False},
    "mlp": {"inputs": 64, "widths": [20], "classes": 10, "activation": "softplus"},
    "cnn": {"size": 8, "filters": [4], "hidden": 8, "pool": "average"},
    "strided_cnn": {"size": 8, "filters": [4], "hidden": 8, "activation": "elu"},
    "digits_cnn": {"activation": "tanh"},
    "roth_cnn": {"channels": 1, "size": 8, "width": 2},
    "resnet": {"size": 8, "width": 2},
    "vit": {"size": 8, "patch": 4, "width": 8, "depth": 1, "heads": 2},
}


def accuracy(network, data):
    with torch.no_grad():
        return sum(int((network(x).argmax(1) == y).sum()) for x, y in data.batches(512, torch.float32)) / len(data)


def toy(n=60, inputs=4):
    x = networks.inputs(n, (inputs,), 0).float()
    return Data("toy", x, (x[:, 0] > x[:, 1]).long() + (x[:, 2] > 0.8).long(), 3, (0.0, 1.0))


@pytest.mark.parametrize(
    ("factory", "arguments"), [("mlp", {"inputs": 64, "widths": [64, 64], "classes": 10}), ("digits_cnn", {})]
)
def test_the_digits_are_learned(factory, arguments):
    network = build(factory, arguments, seed=0)
    history = train(network, load_data("digits"), epochs=20, seed=0)
    assert accuracy(network, load_data("digits", split="test")) >= 0.95
    assert history[-1].loss < 0.3 * history[0].loss and history[-1].accuracy > 0.97
    assert not network.training


def test_mnist_is_learned_from_a_tenth(data_folder):
    network = build("cnn", {}, seed=0)
    train(network, load_data("mnist", data_dir=data_folder).subset(6000, 0), epochs=2, seed=0)
    assert accuracy(network, load_data("mnist", split="test", data_dir=data_folder).subset(2000, 0)) >= 0.93


@pytest.mark.parametrize(
    "regulariser", [None, JacobianFrobenius(), JacobianFrobenius(1), JacobianL1(), HessianOperator(warm=True)]
)
def test_equal_seeds_give_equal_weights(regulariser):
    weights = []
    for seed in (0, 0, 1):
        network = networks.mlp(0)
        state = torch.get_rng_state()
        train(network, toy(), regulariser=regulariser, strength=0.01, epochs=2, batch_size=16, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("regulariser", [JacobianFrobenius(), JacobianL1()])
def test_the_penalty_shrinks_the_jacobian(regulariser):
    penalties = []
    for strength in (0.0, 0.1):
        network = networks.mlp(0)
        history = train(network, toy(), regulariser=regulariser, strength=strength, epochs=30, learning_rate=0.03)
        penalties.append(history[-1].penalty)
    assert penalties[1] < 0.6 * penalties[0]


def test_progress_and_history_have_one_entry_per_epoch():
    calls = []
    history = train(networks.mlp(0), toy(), epochs=3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)] and len(history) == 3
    assert all(epoch.penalty == 0 and 0 <= epoch.accuracy <= 1 for epoch in history)


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("bad", [float("inf"), -1.0, float("nan")])
def test_bad_strengths_are_refused_or_diverge(bad):
    with pytest.raises(InputError, match="diverged" if bad > 0 else "strength"):
        train(networks.mlp(0), toy(), regulariser=JacobianFrobenius(), strength=bad, epochs=1)


def test_divergence_keeps_the_last_good_epoch():
    calls = []

    def explodes(network, x, y, generator):
        calls.append(len(x))
        return torch.tensor(math.nan) if sum(calls) > 2 * 60 else weights_sum(network)

    network, twin = networks.mlp(0), networks.mlp(0)
    with pytest.raises(Diverged, match=r"diverged in epoch 3: loss [\d.]+, penalty nan"):
        train(network, toy(), regulariser=explodes, strength=1e-3, epochs=5)
    calls.clear()
    seen = []

    def remember(epoch, means):
        if epoch == 2:
            seen.append(weights(twin).clone())

    with pytest.raises(Diverged):
        train(twin, toy(), regulariser=explodes, strength=1e-3, epochs=5, on_epoch=remember)
    assert torch.equal(weights(network), seen[0])
    assert not network.training


def weights_sum(network):
    return sum(parameter.square().sum() for parameter in network.parameters())


class Killed(Exception):
    pass


@pytest.mark.parametrize("middle", [nn.BatchNorm1d, nn.Identity])  # with and without an evaluation of its own
@pytest.mark.parametrize(
    "regulariser", [None, JacobianFrobenius(1), Adversarial("linf", 0.1, steps=2), HessianOperator(warm=True)], ids=repr
)
@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_killed_training_ends_where_an_uninterrupted_one_does(regulariser, killed_after, middle, tmp_path):
    def model():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(4, 6), middle(6), nn.ReLU(), nn.Linear(6, 3))

    how = {"regulariser": regulariser, "strength": 0.01, "epochs": 4, "batch_size": 16, "seed": 7}
    whole = model()
    history = train(whole, toy(), **how)

    def kill(epoch, means):
        if epoch == killed_after:
            raise Killed

    state = tmp_path / "state"
    with pytest.raises(Killed):
        train(model(), toy(), **how, state=state, on_epoch=kill)
    resumed, seen = model(), []
    again = train(resumed, toy(), **how, state=state, on_epoch=lambda epoch, means: seen.append(epoch))
    assert seen == list(range(killed_after + 1, 5))
    assert again == history
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_directions_are_kept_between_epochs_for_each_sample():
    """With them one product per step reaches the norm; the strength 0 only measures it."""
    found = {}
    for warm in (True, False):
        network, data = networks.mlp(0, "tanh", inputs=12), toy(60, 12)
        how = {"strength": 0.0, "epochs": 12, "batch_size": 16, "learning_rate": 1e-3}
        history = train(network, data, regulariser=HessianOperator(warm=warm), **how)
        exact = HessianOperator(200)(network, data.x, data.y, torch.Generator().manual_seed(0)).item()
        found[warm] = history[-1].penalty / exact
    assert found[False] < 0.9 < found[True] < 1.05


@pytest.mark.parametrize(("middle", "evaluations"), [(nn.Identity, 1), (nn.BatchNorm1d, 3)])
def test_loss_and_penalty_share_an_evaluation_unless_batch_norm_tells_them_apart(middle, evaluations):
    network, calls = nn.Sequential(nn.Linear(4, 6), middle(6), nn.Tanh(), nn.Linear(6, 3)), []
    network.register_forward_hook(lambda *_: calls.append(None))
    train(network, toy(), regulariser=JacobianFrobenius(), strength=0.01, epochs=1, batch_size=20)
    assert len(calls) == 3 * evaluations


def test_a_state_of_another_training_is_refused(tmp_path):
    state = tmp_path / "state"
    train(networks.mlp(0), toy(), epochs=1, state=state)
    for change in ({"seed": 1}, {"epochs": 2}, {"strength": 0.5}, {"learning_rate": 1e-2}):
        with pytest.raises(InputError, match="other settings, data or network"):
            train(networks.mlp(0), toy(), **({"epochs": 1} | change), state=state)
    with pytest.raises(InputError, match="other settings, data or network"):
        train(networks.mlp(1), toy(), epochs=1, state=state)
    with pytest.raises(InputError, match="other settings, data or network"):
        train(networks.mlp(0), toy(50), epochs=1, state=state)
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(InputError, match="damaged"):
        train(networks.mlp(0), toy(), epochs=1, state=state)


@pytest.mark.parametrize("factory", FACTORIES)
def test_every_factory_survives_a_checkpoint(factory, tmp_path):
    network = build(factory, ARGUMENTS[factory], seed=3).eval()
    path = tmp_path / "network.pt"
    save_checkpoint(path, f"verification.training.networks:{factory}", ARGUMENTS[factory], network, {"seed": 3})
    x = networks.inputs(2, (1, 8, 8), 0).float()
    assert torch.equal(load_checkpoint(path)(x), network(x))


def test_the_strided_cnn_is_the_network_of_the_certificates():
    network = build("strided_cnn", {}, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 166_406
    assert network[:3](torch.zeros(1, 1, 28, 28)).shape[1:] == (32, 7, 7)


def test_the_seed_alone_decides_the_initial_weights():
    weights = []
    for seed, state in ((3, 0), (3, 1), (4, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state)
            weights.append(build("linear", {"inputs": 4, "classes": 2}, seed)[1].weight)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


def test_bad_networks_are_refused():
    with pytest.raises(InputError, match="did you mean 'mlp'"):
        build("mpl", {}, 0)
    with pytest.raises(InputError, match="unexpected keyword"):
        build("linear", {"inputs": 2, "classes": 2, "depth": 3}, 0)
    with pytest.raises(InputError, match="activation"):
        build("mlp", {"inputs": 2, "widths": [2], "classes": 2, "activation": "rellu"}, 0)
    with pytest.raises(InputError, match="halved"):
        build("cnn", {"size": 6}, 0)
    with pytest.raises(InputError, match="strided_cnn: size 6 cannot be halved 2 times"):
        build("strided_cnn", {"size": 6}, 0)
    with pytest.raises(InputError, match="patches of 3"):
        build("vit", {"patch": 3}, 0)
    with pytest.raises(InputError, match="pooling"):
        build("cnn", {"pool": "median"}, 0)
