from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.verification import networks
from verification.training.regularisers.jacobian_frobenius import JacobianFrobenius
from verification.training.regularisers.jacobian_l1 import JacobianL1

REGULARISERS = {
    "frobenius": (JacobianFrobenius(), lambda jacobian: (jacobian**2).sum()),
    "l1": (JacobianL1(), lambda jacobian: np.abs(jacobian).sum()),
}
CASES = {
    "tanh": (lambda: networks.mlp(1, "tanh"), (4,)),
    "relu": (lambda: networks.mlp(2), (4,)),
    "cnn": (lambda: networks.cnn(3), (1, 4, 4)),
}


@pytest.mark.parametrize("name", REGULARISERS)
@pytest.mark.parametrize("case", CASES)
def test_value_is_the_mean_of_the_dense_norm(name, case):
    regulariser, oracle = REGULARISERS[name]
    factory, shape = CASES[case]
    model, x = factory().double(), networks.inputs(5, shape, 0)
    value = regulariser(model, x, torch.zeros(len(x)).long(), torch.Generator()).item()
    assert value == pytest.approx(np.mean([oracle(networks.dense_jacobian(model, sample)) for sample in x]), rel=1e-12)


@pytest.mark.parametrize("name", REGULARISERS)
@pytest.mark.parametrize("case", CASES)
def test_parameter_gradient_against_finite_differences(name, case):
    regulariser, oracle = REGULARISERS[name]
    factory, shape = CASES[case]
    model, x = factory().double(), networks.inputs(3, shape, 1)
    regulariser(model, x, torch.zeros(len(x)).long(), torch.Generator()).backward()
    for parameter in model.parameters():
        flat = parameter.data.view(-1)
        for i in range(0, len(flat), max(1, len(flat) // 3)):
            original, values = flat[i].item(), []
            for step in (1e-6, -1e-6):
                flat[i] = original + step
                values.append(np.mean([oracle(networks.dense_jacobian(model, sample)) for sample in x]))
            flat[i] = original
            # the last bias does not enter the Jacobian: no gradient at all
            slope = 0.0 if parameter.grad is None else parameter.grad.view(-1)[i].item()
            assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_random_projections_are_unbiased_and_seeded():
    model, x = networks.mlp(1, "tanh").double(), networks.inputs(4, (4,), 0)
    y = torch.zeros(4, dtype=torch.int64)
    exact = JacobianFrobenius()(model, x, y, torch.Generator()).item()
    estimate = JacobianFrobenius(projections=4000)
    first, again, other = (estimate(model, x, y, torch.Generator().manual_seed(s)).item() for s in (0, 0, 1))
    assert first == again != other
    # the relative standard deviation of one projection is below 1, of 16000 below 0.008
    assert first == pytest.approx(exact, rel=0.04)
