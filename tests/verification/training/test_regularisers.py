"""Every regulariser against a dense float64 oracle, and its parameter gradient against differences of that oracle."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from bounds.errors import InputError
from tests.verification import networks
from verification.training.regularisers.adversarial import Adversarial
from verification.training.regularisers.cure import Cure
from verification.training.regularisers.data_spectral import DataSpectral, DataSpectralDistance
from verification.training.regularisers.global_spectral import GlobalSpectral
from verification.training.regularisers.hessian_frobenius import HessianFrobenius
from verification.training.regularisers.hessian_operator import HessianOperator
from verification.training.regularisers.input_gradient import InputGradient
from verification.training.regularisers.jacobian_frobenius import JacobianFrobenius
from verification.training.regularisers.jacobian_l1 import JacobianL1
from verification.training.regularisers.jacobian_operator import JacobianOperator
from verification.training.regularisers.logit_pairing import LogitPairing
from verification.training.regularisers.margin_jacobian import MarginJacobian
from verification.training.regularisers.penalty import Shared, frozen_statistics
from verification.training.regularisers.trades import Trades

CONVERGED = 300  # power steps
CASES = {
    "tanh": (lambda: networks.mlp(1, "tanh"), (4,)),
    "relu": (lambda: networks.mlp(2), (4,)),
    "cnn": (lambda: networks.cnn(3, pool="average"), (1, 4, 4)),
}


def cross_entropy(logits, y):
    return networks.loss(logits, y)


def dense_gradient(model, x, y):
    leaf = x.double().clone().requires_grad_(True)
    logits = model.double()(leaf[None])
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, torch.tensor([y])), leaf)
    return gradient.flatten().numpy()


def dense_hessian(model, x, y):
    """Columns by central differences of the gradient: exact enough at smooth points."""
    d, step = x.numel(), 1e-5
    columns = []
    for i in range(d):
        shift = torch.zeros(d, dtype=torch.float64)
        shift[i] = step
        shift = shift.reshape(x.shape)
        columns.append((dense_gradient(model, x + shift, y) - dense_gradient(model, x - shift, y)) / (2 * step))
    return np.stack(columns, axis=1)


def of_jacobian(norm):
    return lambda model, x, y: norm(networks.dense_jacobian(model, x), y)


def infinity_to_one(jacobian):
    signs = np.array(list(itertools.product((-1, 1), repeat=len(jacobian))))
    return np.abs(signs @ jacobian).sum(axis=1).max()


def margin(q):
    return lambda jacobian, y: np.linalg.norm(jacobian - jacobian[y], q, axis=1).max()


# name: the regulariser and the same quantity of one sample, from dense float64 derivatives
DENSE = {
    "frobenius squared": (JacobianFrobenius(), of_jacobian(lambda J, y: (J**2).sum())),
    "frobenius": (JacobianFrobenius(squared=False), of_jacobian(lambda J, y: np.linalg.norm(J))),
    "l1": (JacobianL1(), of_jacobian(lambda J, y: np.abs(J).sum())),
    "margin l2": (MarginJacobian("l2"), of_jacobian(margin(2))),
    "margin linf": (MarginJacobian("linf"), of_jacobian(margin(1))),
    "margin l1": (MarginJacobian("l1"), of_jacobian(margin(np.inf))),
    "data spectral": (DataSpectral(CONVERGED), of_jacobian(lambda J, y: np.linalg.norm(J, 2) ** 2 / 2)),
    "operator 2-2": (JacobianOperator("l2", 2, CONVERGED), of_jacobian(lambda J, y: np.linalg.norm(J, 2))),
    "gradient l2": (InputGradient("l2"), lambda m, x, y: np.linalg.norm(dense_gradient(m, x, y))),
    "gradient linf": (InputGradient("linf"), lambda m, x, y: np.abs(dense_gradient(m, x, y)).sum()),
    "hessian operator": (HessianOperator(CONVERGED), lambda m, x, y: np.linalg.norm(dense_hessian(m, x, y), 2)),
}


def value(regulariser, model, x, y, seed=0):
    return regulariser(model, x, y, torch.Generator().manual_seed(seed))


def mean(oracle, model, x, y):
    return np.mean([oracle(model, sample, int(label)) for sample, label in zip(x, y, strict=True)])


def drawn(case, n, seed):
    factory, shape = CASES[case]
    return factory().double(), networks.inputs(n, shape, seed), torch.arange(n) % 3


def assert_gradient(model, penalty, oracle, rtol=1e-5, atol=1e-7, step=1e-6):
    """The penalty's parameter gradient against central differences of `oracle()`, at a few parameters of each kind."""
    penalty.backward()
    for parameter in model.parameters():
        flat = parameter.data.view(-1)
        for i in range(0, len(flat), max(1, len(flat) // 3)):
            original, values = flat[i].item(), []
            for change in (step, -step):
                flat[i] = original + change
                values.append(oracle())
            flat[i] = original
            # the last bias does not enter the Jacobian: no gradient at all
            slope = 0.0 if parameter.grad is None else parameter.grad.view(-1)[i].item()
            assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=rtol, abs=atol)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("case", CASES)
def test_value_is_the_mean_of_the_dense_norm(name, case):
    regulariser, oracle = DENSE[name]
    model, x, y = drawn(case, 5, 0)
    accuracy = 1e-5 if "hessian" in name else 1e-9
    assert value(regulariser, model, x, y).item() == pytest.approx(mean(oracle, model, x, y), rel=accuracy)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("case", CASES)
def test_parameter_gradient_against_finite_differences(name, case):
    regulariser, oracle = DENSE[name]
    model, x, y = drawn(case, 3, 1)
    penalty = value(regulariser, model, x, y)
    slack = {"rtol": 2e-3, "atol": 1e-4, "step": 1e-4} if "hessian" in name else {}
    assert_gradient(model, penalty, lambda: mean(oracle, model, x, y), **slack)


def curvatures(model, x, y, v):
    """|v^T H v| of each sample, dense."""
    sides = zip(x, y, v, strict=True)
    return [
        abs(d @ dense_hessian(model, s, int(label)) @ d)
        for s, label, d in ((s, label, d.numpy()) for s, label, d in sides)
    ]


def test_one_product_at_kept_directions_and_its_gradient():
    model, x, y = drawn("tanh", 3, 1)
    regulariser = HessianOperator()
    v = regulariser.start(x, torch.Generator().manual_seed(0))
    assert torch.allclose(v.norm(dim=1), torch.ones(3).double())
    penalty, turned = regulariser.visit(model, x, y, v)
    assert not turned.requires_grad
    for sample, label, before, after in zip(x, y, v, turned, strict=True):
        product = dense_hessian(model, sample, int(label)) @ before.numpy()
        assert after.numpy() == pytest.approx(product / np.linalg.norm(product), rel=1e-4, abs=1e-6)

    def oracle():
        return np.mean(curvatures(model, x, y, v))

    assert penalty.item() == pytest.approx(oracle(), rel=1e-5)
    assert_gradient(model, penalty, oracle, rtol=2e-3, atol=1e-4, step=1e-4)


def test_a_kept_direction_reaches_the_norm_while_the_network_learns():
    """One product per visit: each epoch is a power step, though the network has moved since."""
    model, x, y = networks.mlp(1, "tanh", inputs=16).double(), networks.inputs(12, (16,), 0), torch.arange(12) % 3
    regulariser = HessianOperator()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    v = regulariser.start(x, torch.Generator().manual_seed(0))
    for _ in range(8):
        penalty, v = regulariser.visit(model, x, y, v)
        optimiser.zero_grad()
        (nn.functional.cross_entropy(model(x), y) + 0.1 * penalty).backward()
        optimiser.step()
    exact = mean(DENSE["hessian operator"][1], model, x, y)
    kept = regulariser.visit(model, x, y, v)[0].item()
    cold = [value(HessianOperator(1), model, x, y, seed).item() for seed in range(5)]
    assert 0.9 * exact <= kept <= exact * (1 + 1e-6)
    assert max(cold) < 0.9 * exact


def test_a_direction_without_curvature_is_kept():
    """0 would stay 0 for ever."""
    model, x, y = drawn("tanh", 3, 1)
    torch.nn.init.zeros_(model[-1].weight)
    v = HessianOperator().start(x, torch.Generator().manual_seed(0))
    penalty, after = HessianOperator().visit(model, x, y, v)
    assert penalty.item() == 0 and torch.equal(after, v)


OPERATORS = {
    ("linf", 1.0): infinity_to_one,
    ("l2", np.inf): lambda J: np.linalg.norm(J, axis=1).max(),
    ("l1", 2.0): lambda J: np.linalg.norm(J, axis=0).max(),
}


@pytest.mark.parametrize(("norm", "r"), OPERATORS)
@pytest.mark.parametrize("case", CASES)
def test_other_operator_norms_from_below(case, norm, r):
    """The power method ends at a stationary value, which need not be the largest."""
    model, x, y = drawn(case, 5, 0)
    found = max(value(JacobianOperator(norm, r, 20), model, x, y, seed).item() for seed in range(3))
    largest = mean(of_jacobian(lambda J, y: OPERATORS[norm, r](J)), model, x, y)
    assert 0.5 * largest <= found <= largest * (1 + 1e-12)


@pytest.mark.parametrize("case", CASES)
def test_few_power_steps_give_a_lower_bound(case):
    model, x, y = drawn(case, 5, 0)
    exact = value(DataSpectral(CONVERGED), model, x, y).item()
    few = [value(DataSpectral(steps), model, x, y).item() for steps in (1, 2, 5, 20)]
    assert few == sorted(few)
    assert few[-1] <= exact * (1 + 1e-12)


def test_the_distance_form_is_the_spectral_form_inside_a_linear_piece():
    model, x, y = drawn("relu", 6, 0)
    eps = 1e-6
    spectral = value(DataSpectral(CONVERGED), model, x, y).item()
    assert value(DataSpectralDistance(eps, CONVERGED), model, x, y).item() == pytest.approx(eps**2 * spectral, rel=1e-6)


def test_the_distance_form_and_its_gradient_at_a_frozen_direction():
    model, x, y = drawn("tanh", 3, 1)
    eps = 0.3
    v = [np.linalg.svd(networks.dense_jacobian(model, sample))[2][0] for sample in x]

    def oracle():
        distances = []
        for sample, direction in zip(x, v, strict=True):
            moved = networks.dense_logits(model, sample + eps * torch.from_numpy(direction))
            other = networks.dense_logits(model, sample - eps * torch.from_numpy(direction))
            clean = networks.dense_logits(model, sample)
            distances.append([((image - clean) ** 2).sum() / 2 for image in (moved, other)])
        return np.array(distances)

    per_sample = [
        value(DataSpectralDistance(eps, CONVERGED), model, x[i : i + 1], y[i : i + 1], seed=i) for i in range(3)
    ]
    sides = oracle()
    chosen = [int(np.argmin(np.abs(sides[i] - per_sample[i].item()))) for i in range(3)]  # v is unique up to its sign
    for i in range(3):
        assert per_sample[i].item() == pytest.approx(sides[i, chosen[i]], rel=1e-8)
    assert_gradient(model, sum(per_sample) / 3, lambda: oracle()[range(3), chosen].mean())


@pytest.mark.parametrize("case", CASES)
def test_the_global_norm_is_that_of_every_layer_as_an_operator(case):
    model, x, y = drawn(case, 2, 0)

    def oracle():
        total, sample = 0.0, x[:1]
        for layer in model:
            image = layer(sample)
            if isinstance(layer, nn.Linear | nn.Conv2d):
                jacobian = torch.autograd.functional.jacobian(layer, sample)
                total += np.linalg.norm(jacobian.reshape(image.numel(), sample.numel()).numpy(), 2) ** 2 / 2
            sample = image.detach()
        return total

    penalty = value(GlobalSpectral(CONVERGED), model, x, y)
    assert penalty.item() == pytest.approx(oracle(), rel=1e-6)
    assert_gradient(model, penalty, oracle, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("case", ["tanh", "relu"])
def test_hessian_frobenius_is_unbiased(case):
    model, x, y = drawn(case, 3, 0)
    exact = mean(lambda m, sample, label: (dense_hessian(m, sample, label) ** 2).sum(), model, x, y)
    # relative standard deviation of one direction below 1, of the mean of 3·3000 below 0.02
    assert value(HessianFrobenius(3000), model, x, y).item() == pytest.approx(exact, rel=0.06)


def test_hessian_frobenius_gradient_at_its_directions():
    model, x, y = drawn("tanh", 2, 1)
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0)).flatten(1)
    directions = (noise / noise.norm(dim=1, keepdim=True)).numpy()

    def oracle():
        products = [dense_hessian(model, x[i], int(y[i])) @ directions[i] for i in range(2)]
        return x[0].numel() * np.mean([(product**2).sum() for product in products])

    penalty = value(HessianFrobenius(), model, x, y)
    assert penalty.item() == pytest.approx(oracle(), rel=1e-5)
    assert_gradient(model, penalty, oracle, rtol=2e-3, atol=1e-4, step=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_cure_is_a_difference_of_gradients(case):
    model, x, y = drawn(case, 3, 1)
    h, steps = 0.2, []
    for sample, label in zip(x, y, strict=True):
        sign = np.sign(dense_gradient(model, sample, int(label)))
        steps.append(torch.from_numpy(h * sign / np.linalg.norm(sign)).reshape(sample.shape))

    def oracle():
        squares = []
        for sample, step, label in zip(x, steps, y, strict=True):
            change = dense_gradient(model, sample + step, int(label)) - dense_gradient(model, sample, int(label))
            squares.append((change**2).sum())
        return np.mean(squares)

    penalty = value(Cure(h), model, x, y)
    assert penalty.item() == pytest.approx(oracle(), rel=1e-10)
    assert_gradient(model, penalty, oracle)


def divergence(clean, moved):
    p, q = (np.exp(z - z.max()) / np.exp(z - z.max()).sum() for z in (clean, moved))
    return float((p * np.log(p / q)).sum())


ATTACKED = {
    "trades": (Trades, lambda clean, moved: divergence(clean, moved)),
    "pairing 2": (LogitPairing, lambda clean, moved: np.linalg.norm(moved - clean)),
    "pairing 1": (partial(LogitPairing, r=1), lambda clean, moved: np.abs(moved - clean).sum()),
}


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", ATTACKED)
def test_what_an_attack_changes_at_its_perturbation(name, norm, monkeypatch):
    """Value and gradient at the perturbation that was found, which is not differentiated through."""
    make, oracle = ATTACKED[name]
    model, x, y = drawn("tanh", 3, 1)
    regulariser = make(norm, 0.2)
    kept = []
    ascend = type(regulariser).ascend

    def recorded(self, *arguments):
        kept.append(ascend(self, *arguments))
        return kept[-1]

    monkeypatch.setattr(type(regulariser), "ascend", recorded)
    penalty = value(regulariser, model, x, y)
    (delta,) = kept
    size = delta.abs().amax() if norm == "linf" else delta.flatten(1).norm(dim=1).amax()
    assert 0.19 <= size <= 0.2 * (1 + 1e-12)
    assert bool(((x + delta >= -1e-15) & (x + delta <= 1 + 1e-15)).all())

    def dense():
        pairs = [
            (networks.dense_logits(model, sample), networks.dense_logits(model, sample + step))
            for sample, step in zip(x, delta, strict=True)
        ]
        return np.mean([oracle(*pair) for pair in pairs])

    assert penalty.item() == pytest.approx(dense(), rel=1e-9)
    random_point = value(make(norm, 0.2, steps=1), model, x, y).item()
    assert penalty.item() >= random_point * 0.999
    assert_gradient(model, penalty, dense, rtol=1e-4)


def test_logit_pairing_is_the_operator_norm_inside_a_linear_piece():
    """Theory L3.5."""
    model, x, y = drawn("relu", 4, 0)
    eps = 1e-6
    paired = value(LogitPairing("l2", eps, None, steps=200), model, x, y).item()
    assert paired == pytest.approx(eps * value(JacobianOperator("l2", 2, CONVERGED), model, x, y).item(), rel=2e-2)


def test_random_projections_are_unbiased_and_seeded():
    model, x = networks.mlp(1, "tanh").double(), networks.inputs(4, (4,), 0)
    y = torch.zeros(4, dtype=torch.int64)
    exact = JacobianFrobenius()(model, x, y, torch.Generator()).item()
    estimate = JacobianFrobenius(projections=4000)
    first, again, other = (estimate(model, x, y, torch.Generator().manual_seed(s)).item() for s in (0, 0, 1))
    assert first == again != other
    # the relative standard deviation of one projection is below 1, of 16000 below 0.008
    assert first == pytest.approx(exact, rel=0.04)
    rooted = JacobianFrobenius(projections=4000, squared=False)(model, x, y, torch.Generator().manual_seed(0)).item()
    assert rooted == pytest.approx(JacobianFrobenius(squared=False)(model, x, y, torch.Generator()).item(), rel=0.04)


SMALL = [
    *(regulariser for regulariser, _ in DENSE.values()),
    DataSpectralDistance(0.1),
    GlobalSpectral(),
    HessianFrobenius(),
    Cure(),
    Adversarial("linf", 0.1),
    Trades("l2", 0.1),
    LogitPairing("linf", 0.1),
]


@pytest.mark.parametrize("regulariser", SMALL, ids=repr)
@pytest.mark.parametrize("case", CASES)
def test_an_evaluation_shared_with_the_loss_changes_nothing(case, regulariser):
    model, x, y = drawn(case, 5, 0)
    parameters, found = list(model.parameters()), []
    for network in (model, Shared(model, x)):
        penalty = value(regulariser, network, x, y)
        objective = nn.functional.cross_entropy(network(x), y) + penalty
        found.append((penalty, torch.autograd.grad(objective, parameters)))
    (alone, gradients), (shared, others) = found
    assert shared.item() == pytest.approx(alone.item(), rel=1e-12)
    for gradient, other in zip(gradients, others, strict=True):
        assert torch.allclose(gradient, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("regulariser", SMALL, ids=repr)
def test_batch_norm_does_not_mix_samples_and_keeps_its_mode(regulariser):
    """Derivatives at a sample are that sample's own, with the batch's statistics; training mode and buffers survive."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = networks.inputs(5, (4,), 0), torch.arange(5) % 3
    attacks = isinstance(regulariser, Adversarial | Trades | LogitPairing)  # these look at the network as it trains
    model.train()
    before = [layer.training for layer in model.modules()]
    penalty = value(regulariser, model, x, y)
    penalty.backward()
    assert [layer.training for layer in model.modules()] == before
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    if attacks:
        return
    assert int(model[1].num_batches_tracked) == 0
    with torch.no_grad():
        hidden = model[0](x)
        model[1].running_mean.copy_(hidden.mean(0))
        model[1].running_var.copy_(hidden.var(0, correction=0))
    model.eval()
    assert value(regulariser, model, x, y).item() == pytest.approx(penalty.item(), rel=1e-10)


@pytest.mark.parametrize("regulariser", [JacobianFrobenius(), DataSpectral(), DataSpectralDistance(0.5)], ids=repr)
def test_a_scale_that_batch_norm_undoes_is_not_penalised(regulariser):
    """With running statistics the gradient would point there, and the Jacobian would stay as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, eps=0.0), nn.ReLU(), nn.Linear(6, 3)).double()
    x, y = networks.inputs(8, (4,), 0), torch.arange(8) % 3
    penalty = value(regulariser, model, x, y)
    penalty.backward()
    along = (model[0].weight.grad * model[0].weight.detach()).sum() + (
        model[0].bias.grad * model[0].bias.detach()
    ).sum()
    assert abs(along.item()) < 1e-10 * penalty.item()
    assert model[0].weight.grad.abs().max() > 1e-3 * penalty.item()
    with torch.no_grad():
        model[0].weight.mul_(3.0)
    assert value(regulariser, model, x, y).item() == pytest.approx(penalty.item(), rel=1e-9)


def test_statistics_thaw_after_an_error():
    layer, x = nn.BatchNorm1d(3).train(), torch.arange(6.0).reshape(2, 3)
    with pytest.raises(ZeroDivisionError), frozen_statistics(layer, x):
        assert torch.allclose(layer(x[:1]), -torch.ones(1, 3), atol=1e-4)
        raise ZeroDivisionError
    assert int(layer.num_batches_tracked) == 0
    layer(x)
    assert int(layer.num_batches_tracked) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MarginJacobian("l3"), "unknown norm"),
        (lambda: InputGradient("linf2"), "did you mean 'linf'"),
        (lambda: DataSpectral(0), "at least 1"),
        (lambda: DataSpectralDistance(0.0), "must be positive"),
        (lambda: JacobianOperator("l2", 0.5), ">= 1"),
        (lambda: JacobianOperator("l2", 2, 0), "at least 1"),
        (lambda: GlobalSpectral(0), "at least 1"),
        (lambda: HessianOperator(0), "at least 1"),
        (lambda: HessianFrobenius(0), "at least 1"),
        (lambda: Cure(-1.0), "must be positive"),
        (lambda: Trades("l1", 0.1), "unknown norm"),
        (lambda: LogitPairing("l2", 0.1, r=0.0), ">= 1"),
        (lambda: LogitPairing("l2", -0.1), "radius"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
