"""The laboratory's networks are the torch networks they say they are, and the strategies reach what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from verification.inequalities import reals
from verification.inequalities.strategies import chains, convolutions, matrices, networks
from verification.inequalities.strategies.networks import ACTIVATIONS, Activation, MaxPool, Network, State
from verification.inequalities.strategies.numbers import entries, exponents, positive, scales, vectors

QUIET = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), database=None)


@st.composite
def with_input(draw):
    network = draw(networks(tuple(ACTIVATIONS)))
    return network, draw(vectors(network.inputs, 2.0))


@given(with_input())
@QUIET
def test_networks_are_their_torch_twins(drawn):
    network, x = drawn
    state, module = network.at(x), network.torch()
    point = torch.from_numpy(x)[None]
    with torch.no_grad():
        np.testing.assert_allclose(module(point)[0].numpy(), state.z, rtol=1e-11, atol=1e-11)
    if all(h != 0 for h, _ in state.kinks):
        jacobian = torch.autograd.functional.jacobian(lambda z: module(z[None])[0], point[0])
        np.testing.assert_allclose(jacobian.numpy(), state.jacobian, rtol=1e-10, atol=1e-10)


@given(with_input())
@QUIET
def test_networks_compute_the_same_in_35_digits(drawn):
    network, x = drawn
    state = network.at(x)
    with reals.precise():
        fine = reals.lifted(network).at(reals.lifted(x))
    np.testing.assert_allclose(fine.z.astype(float), state.z, rtol=1e-10, atol=1e-10)


@given(convolutions())
@QUIET
def test_dense_matrices_of_convolutions(convolution):
    inputs = int(np.prod(convolution.shape))
    with torch.no_grad():
        images = convolution.torch()(torch.eye(inputs, dtype=torch.float64))
        zero = convolution.torch()(torch.zeros(1, inputs, dtype=torch.float64))
    np.testing.assert_allclose(convolution.matrix, (images - zero).T.numpy(), atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_derivatives(name):
    phi, slope = ACTIVATIONS[name]
    h = np.array([-3.0, -0.3, 0.4, 2.0])
    numeric = (phi(h + 1e-6) - phi(h - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope(h), numeric, rtol=1e-8, atol=1e-9)


def test_kinks_of_a_max_pool_are_winner_minus_rivals():
    state = State(np.array([1.0, 4.0, 2.0]), np.eye(3))
    pooled = MaxPool(2, 1).push(state)
    np.testing.assert_array_equal(pooled.z, [4.0, 4.0])
    assert [float(h) for h, _ in pooled.kinks] == [3.0, 2.0]
    np.testing.assert_array_equal(pooled.kinks[0][1], [-1.0, 1.0, 0.0])


def test_only_piecewise_linear_activations_have_kinks():
    state = State(np.array([1.0, -2.0]), np.eye(2))
    assert len(Activation("relu").push(state).kinks) == 2
    assert Activation("tanh").push(state).kinks == ()


def found(strategy, condition):
    return find(strategy, condition, settings=settings(max_examples=3000, database=None, deadline=None))


def test_strategies_reach_the_adversarial_cases():
    assert (
        found(matrices((2, 3), (2, 3)), lambda A: np.linalg.matrix_rank(A) == 1 and np.count_nonzero(A) > 3) is not None
    )
    assert found(matrices((2, 2), (2, 2)), lambda A: np.array_equal(A, np.eye(2))) is not None
    assert found(matrices((2, 2), (2, 2), 8), lambda A: 0 < np.abs(A).max() < 1e-6) is not None
    assert found(matrices((2, 2), (2, 2), 8), lambda A: np.abs(A).max() > 1e6) is not None
    assert found(chains(depth=(2, 2)), lambda c: all(np.linalg.matrix_rank(w) == 1 for w in c.weights)) is not None
    assert found(chains(depth=(3, 3)), lambda c: c.depth == 3 and not c.weights[1].any()) is not None
    kinds = [type(layer).__name__ for layer in found(networks(), lambda n: len(n.layers) >= 6).layers]
    assert {"Convolution", "Residual"} & set(kinds)
    strided = found(convolutions(), lambda c: c.stride == 2 and c.padding and c.dilation == 2 and c.groups == 2)
    assert strided.out_shape[0] % 2 == 0


def test_examples_shrink_to_simple_ones():
    assert found(entries(), lambda x: True) == 0.0
    assert found(scales(), lambda x: True) == 1.0
    assert found(exponents(), lambda p: True) == 2.0
    assert found(positive(), lambda x: True) == 1.0
    assert found(vectors(3), lambda v: True).tolist() == [0.0, 0.0, 0.0]
    simple = found(networks(), lambda n: True)
    assert isinstance(simple, Network)
    assert len(simple.layers) <= 4
