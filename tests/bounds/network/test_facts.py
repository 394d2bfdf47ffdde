"""Architecture facts against hand counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bounds.activations import activation
from bounds.architecture import Architecture, Layer, Nonlinearity
from bounds.network import trace
from tests.cases import ACTIVATIONS, CASES, traced

LAYERS = {
    # name: (d_in, d_out, bias, convolution, parameters, kernel positions, output positions) per layer
    "linear": [(4, 3, True, False, 15, 1, 1)],
    "linear-no-bias": [(4, 3, False, False, 12, 1, 1)],
    "mlp-batch-norm": [(4, 6, True, False, 30, 1, 1), (6, 3, True, False, 21, 1, 1)],
    "lenet": [
        (64, 192, True, True, 27 + 3, 9, 64),
        (48, 16, True, True, 108 + 4, 9, 4),
        (4, 6, True, False, 30, 1, 1),
        (6, 3, True, False, 21, 1, 1),
    ],
    # average pooling joins the dense layer after it: 2 x 6 x 6 inputs, 3 outputs
    "lenet-average": [(64, 72, True, True, 18 + 2, 9, 36), (72, 3, True, False, 219, 1, 1)],
    "conv-strided": [(98, 36, True, True, 36 + 4, 9, 9), (36, 3, True, False, 111, 1, 1)],
    "conv1d": [(16, 12, True, True, 18 + 3, 3, 4), (12, 3, True, False, 39, 1, 1)],
    "conv-circular": [(16, 32, True, True, 18 + 2, 9, 16), (32, 3, True, False, 99, 1, 1)],
    # reflected pixels: no kernel, so the class is that of all 16 x 32 matrices with 32 offsets
    "conv-reflect": [(16, 32, True, False, 512 + 32, 1, 1), (32, 3, True, False, 99, 1, 1)],
    "conv-transposed": [(18, 72, True, False, 18 * 72 + 72, 1, 1), (72, 3, True, False, 219, 1, 1)],
    # one offset per channel after the convolution
    "conv-bn": [(16, 48, True, True, 27 + 3, 9, 16), (48, 3, True, False, 147, 1, 1)],
    # an offset before zero padding is another one at the border: one parameter per unit
    "bn-conv": [(32, 48, True, True, 54 + 48, 9, 16), (48, 3, True, False, 147, 1, 1)],
    "normalised": [(32, 48, True, True, 54 + 48, 9, 16), (48, 3, True, False, 147, 1, 1)],
    "weight-norm": [(16, 8, True, True, 18 + 2, 9, 4), (8, 3, True, False, 27, 1, 1)],
}


def numbers(layer: Layer) -> tuple[int, int, bool, bool, int, int, int]:
    return (
        layer.d_in,
        layer.d_out,
        layer.bias,
        layer.convolution,
        layer.parameters,
        layer.kernel_positions,
        layer.output_positions,
    )


@pytest.mark.parametrize("name", LAYERS)
def test_layers_by_hand(name: str) -> None:
    architecture = traced(name).architecture
    assert [numbers(layer) for layer in architecture.layers] == LAYERS[name]
    assert architecture.d == LAYERS[name][0][0]
    assert architecture.classes == 3


def test_batch_norm_is_not_folded_through_the_padding() -> None:
    segment = traced("bn-conv").segments[0]
    image = segment.offset.reshape(3, 4, 4)
    interior, corner = image[:, 1:3, 1:3], image[:, :1, :1]
    torch.testing.assert_close(interior, interior[:, :1, :1].expand(3, 2, 2))
    assert ((interior[:, :1, :1] - corner).abs() > 1e-3).all()
    assert not segment.offset_per_channel
    assert traced("conv-bn").segments[0].offset_per_channel


def test_what_is_free_does_not_depend_on_the_trained_values() -> None:
    """A batch-norm before a padded convolution whose shift happens to be 0 has as many free offsets as any other."""
    module = CASES["bn-conv"].module()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.bias.zero_()
                part.running_mean.zero_()
    network = trace(module, CASES["bn-conv"].inputs(2))
    assert network.architecture.layers[0].parameters == traced("bn-conv").architecture.layers[0].parameters


@pytest.mark.parametrize(
    "size, taps, padding, injective",
    [(8, 3, 1, True), (8, 3, 2, False), (2, 3, 1, False), (4, 1, 1, False), (4, 2, 1, False)],
)
def test_wrapping_circular_convolutions_are_dense_for_covers(
    size: int, taps: int, padding: int, injective: bool
) -> None:
    """‖op‖ <= sqrt(k_pos)‖K‖_F and ‖op‖_F <= sqrt(P_out)‖K‖_F (L7.4) fail once pixels are used twice."""
    convolution = torch.nn.Conv2d(1, 1, taps, padding=padding, padding_mode="circular", bias=False).double()
    torch.nn.init.ones_(convolution.weight)
    outputs = size + 2 * padding - taps + 1
    module = torch.nn.Sequential(convolution, torch.nn.Flatten(), torch.nn.Linear(outputs**2, 2)).double()
    segment = trace(torch.nn.Sequential(convolution, torch.nn.Flatten()), torch.zeros(2, 1, size, size)).segments[0]
    assert module is not None
    matrix = segment.linear(torch.eye(size**2, dtype=torch.float64).reshape(-1, 1, size, size)).flatten(1).T
    norm = convolution.weight.norm()
    holds = torch.linalg.matrix_norm(matrix, 2) <= taps * norm * (1 + 1e-12) and matrix.norm() <= outputs * norm + 1e-9
    assert bool(holds) == injective
    assert segment.kernel is not None and segment.kernel.injective == injective
    layer = trace(
        torch.nn.Sequential(convolution, torch.nn.Flatten()), torch.zeros(2, 1, size, size)
    ).architecture.layers[0]
    assert layer.convolution == injective


@pytest.mark.parametrize("name", CASES)
def test_a_chain_fits_together(name: str) -> None:
    architecture: Architecture = traced(name).architecture
    assert bool(architecture.obstacles) != CASES[name].chain
    if not CASES[name].chain:
        return
    assert architecture.depth == CASES[name].depth == len(architecture.nonlinearities) + 1
    assert architecture.layers[0].d_in == architecture.d == math.prod(CASES[name].input_shape)
    assert architecture.layers[-1].d_out == architecture.classes
    for layer, found in zip(architecture.layers[1:], architecture.nonlinearities, strict=True):
        assert layer.d_in == found.d_out


@pytest.mark.parametrize("key", ACTIVATIONS)
def test_constants_of_one_activation_are_its_own(key: str) -> None:
    parameters = {"leaky_relu": {"negative_slope": 0.2}, "softplus": {"beta": 2.0}, "elu": {"alpha": 0.7}}
    facts = activation(key, **parameters.get(key, {}))
    found = traced(f"mlp-{key}").architecture.nonlinearities[0]
    name = f"{key} after layer 0"
    expected = (facts.rho, facts.beta, facts.at_zero, facts.homogeneous)
    assert found == Nonlinearity(name, (key,), *expected, max_pool_overlap=0, d_out=6)


@pytest.mark.parametrize(("name", "rho", "overlap"), [("lenet", 1.0, 1), ("max-pool-overlapping", 3.0, 9)])
def test_max_pool_multiplies_rho_by_the_root_of_its_overlap(name: str, rho: float, overlap: int) -> None:
    found = traced(name).architecture.nonlinearities[0]
    assert (found.functions, found.rho, found.max_pool_overlap) == (("relu", "max_pool"), rho, overlap)
    assert (found.beta, found.at_zero, found.homogeneous) == (None, 0.0, True)


def composed(*parts: nn.Module) -> Nonlinearity:
    module = nn.Sequential(nn.Linear(4, 6), *parts, nn.Linear(6, 3))
    return trace(module, torch.zeros(1, 4)).architecture.nonlinearities[0]


@pytest.mark.parametrize(("first", "second"), [("tanh", "sigmoid"), ("sigmoid", "tanh")])
def test_smooth_activations_compose_to_a_smooth_one(first: str, second: str) -> None:
    found = composed(ACTIVATIONS[first](), ACTIVATIONS[second]())
    inner, outer = activation(first), activation(second)
    assert found.functions == (first, second)
    assert inner.beta is not None
    assert outer.beta is not None
    assert found.rho == pytest.approx(0.25, rel=1e-15)
    assert found.beta == pytest.approx(outer.beta * inner.rho**2 + outer.rho * inner.beta, rel=1e-15)
    phi = torch.nn.Sequential(ACTIVATIONS[first](), ACTIVATIONS[second]())
    at_zero = float(phi(torch.zeros((), dtype=torch.float64)))
    assert at_zero <= found.at_zero <= at_zero * (1 + 1e-9)
    assert not found.homogeneous
    x = torch.linspace(-3, 3, 2001, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(phi(x).sum(), x, create_graph=True)[0]
    curvature = torch.autograd.grad(slope.sum(), x)[0]
    assert float(slope.detach().abs().max()) <= found.rho
    assert float(curvature.abs().max()) <= found.beta


def test_a_kink_anywhere_leaves_no_beta() -> None:
    assert composed(nn.Tanh(), nn.ReLU()).beta is None
    assert composed(nn.ReLU(), nn.Tanh()).beta is None
    assert composed(nn.ReLU(), nn.LeakyReLU(0.5)).homogeneous
    assert not composed(nn.ReLU(), nn.Tanh()).homogeneous
    assert composed(nn.GELU(), nn.SiLU()).rho >= activation("gelu").rho * activation("silu").rho
