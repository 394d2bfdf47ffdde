from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from bounds.budget import Budget
from bounds.errors import InputError
from bounds.measure import deterministic_norm, fourier, spectral_norm
from bounds.measure.deterministic_norm import deterministic_upper
from bounds.measure.fourier import torus_norm
from bounds.measure.spectral_norm import operator_norm
from bounds.network.operators import Convolution, Linear, Operation, Pad, Scale, TransposedConvolution
from bounds.network.segment import Segment
from tests.bounds.measure.oracles import LAYERS, dense, segments

SLACK = 1 + 1e-11


def norm(segment: Segment) -> float:
    return float(torch.linalg.svdvals(dense(segment))[0])


def convolution(weight: Tensor, size: tuple[int, ...], groups: int = 1, **options: tuple[int, ...]) -> Segment:
    axes = weight.ndim - 2
    settings = {"stride": (1,) * axes, "padding": (0,) * axes, "dilation": (1,) * axes} | options
    operation = Convolution(
        (weight.shape[1] * groups, *size),
        weight,
        settings["stride"],
        settings["padding"],
        settings["dilation"],
        groups,
    )
    return Segment("conv", (operation,))


@pytest.mark.parametrize("name", LAYERS)
def test_encloses_the_norm_of_every_segment(name: str) -> None:
    for segment in segments(name):
        true, measured = norm(segment), operator_norm(segment)
        assert measured.lower.value <= true * SLACK
        assert true <= measured.upper.value * SLACK
        assert measured.upper.value <= measured.lower.value * (1 + 1e-9)
        assert deterministic_upper(segment).value * SLACK >= true


@pytest.mark.parametrize(
    "name", ["lenet", "conv-strided", "conv-circular", "conv-reflect", "conv-transposed", "mlp", "vit"]
)
def test_without_a_matrix_encloses_the_norm_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral_norm, "DENSE_SIDE", 0)
    for segment in segments(name):
        true, measured = norm(segment), operator_norm(segment)
        assert true * (1 - 1e-5) <= measured.lower.value <= true * SLACK
        assert true <= measured.upper.value * SLACK


@st.composite
def convolutions(draw: st.DrawFn) -> Segment:
    """Random convolutions: 1 or 2 axes, strides, paddings, dilations, groups, zero and circular padding."""
    axes = draw(st.integers(1, 2))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))

    groups = draw(st.sampled_from([1, 1, 2]))
    outputs, inputs, taps = groups * draw(st.integers(1, 2)), draw(st.integers(1, 2)), each(1, 4)
    size, stride, padding, dilation = each(1, 6), each(1, 3), each(0, 5), each(1, 3)
    circular = draw(st.booleans())
    if circular:
        padding = tuple(min(p, n) for p, n in zip(padding, size, strict=True))
    reach = [1 + (k - 1) * d for k, d in zip(taps, dilation, strict=True)]
    assume(all(r <= n + 2 * p for r, n, p in zip(reach, size, padding, strict=True)))
    # integer taps make exact cancellations, where a wrong grid shows most
    count = outputs * inputs * math.prod(taps)
    values = draw(st.lists(st.integers(-2, 2), min_size=count, max_size=count))
    weight = torch.tensor(values, dtype=torch.float64).reshape(outputs, inputs, *taps)
    if not circular:
        return convolution(weight, size, groups, stride=stride, padding=padding, dilation=dilation)
    amounts = tuple(p for p in reversed(padding) for _ in range(2))
    pad = Pad((inputs * groups, *size), amounts, "circular")
    padded = tuple(n + 2 * p for n, p in zip(size, padding, strict=True))
    return Segment("", (pad, *convolution(weight, padded, groups, stride=stride, dilation=dilation).operations))


@settings(deadline=None, max_examples=300)
@given(segment=convolutions())
def test_deterministic_upper_is_above_the_norm_of_any_convolution(segment: Segment) -> None:
    assert segment.kernel is not None
    assert norm(segment) <= deterministic_upper(segment).value * SLACK


@settings(deadline=None, max_examples=40)
@given(segment=convolutions(), seed=st.integers(0, 100))
def test_lanczos_encloses_the_norm_of_any_convolution(segment: Segment, seed: int) -> None:
    true, measured = norm(segment), spectral_norm._matrix_free(segment, seed, 1e-12)
    assert measured.lower.value <= true * SLACK <= measured.upper.value * SLACK**2


@pytest.mark.parametrize(("size", "taps", "stride"), [(8, 3, 1), (8, 3, 2), (6, 5, 3), (4, 4, 2), (3, 5, 1)])
def test_circular_with_dividing_stride_is_exact(size: int, taps: int, stride: int) -> None:
    weight = torch.randn(3, 2, taps, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = taps // 2
    pad = Pad((2, size), (before, before), "circular")
    padded = convolution(weight, (size + 2 * before,), stride=(stride,)).operations[0]
    segment = Segment("", (pad, padded))
    outputs = segment.out_shape[-1]
    if outputs == size // stride:
        assert math.isclose(deterministic_upper(segment).value, norm(segment), rel_tol=1e-10)
    else:
        assert deterministic_upper(segment).value >= norm(segment)


def test_same_padding_needs_the_padded_grid() -> None:
    """Theory L7.1: on the grid n = 2 the symbol of [1, 0, -1] vanishes, while the operator has norm 1."""
    weight = torch.tensor([[[1.0, 0.0, -1.0]]], dtype=torch.float64)
    segment = convolution(weight, (2,), padding=(1,))
    assert norm(segment) == 1.0
    assert torus_norm(weight, [1], [1], [2]) < 1e-12
    assert 1.0 <= deterministic_upper(segment).value <= 2.0


def test_deterministic_upper_is_close_for_a_large_image() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for stride in ((1, 1), (2, 2)):
        segment = convolution(weight, (24, 24), padding=(1, 1), stride=stride)
        measured = spectral_norm._matrix_free(segment, 0, 1e-12)
        assert measured.lower.value <= deterministic_upper(segment).value <= 1.02 * measured.lower.value


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_transposed_convolution_has_the_norm_of_the_convolution(axes: int) -> None:
    generator = torch.Generator().manual_seed(axes)
    weight = torch.randn(3, 2, *(2,) * axes, generator=generator, dtype=torch.float64)
    ones, zeros = (1,) * axes, (0,) * axes
    operation = TransposedConvolution((3, *(3,) * axes), weight, (2,) * axes, zeros, ones, ones, 1)
    segment = Segment("", (operation,))
    assert norm(segment) <= deterministic_upper(segment).value * SLACK


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular", "constant"])
def test_norm_of_a_padding_is_exact(mode: str) -> None:
    segment = Segment("", (Pad((1, 4, 3), (2, 1, 3, 0), mode),))
    assert math.isclose(deterministic_upper(segment).value, norm(segment), rel_tol=1e-10)


def test_large_convolution_two_sided() -> None:
    weight = 0.02 + torch.randn(16, 8, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    segment = convolution(weight, (16, 16), padding=(1, 1))
    measured = operator_norm(segment)
    assert measured.lower.value <= measured.upper.value <= 1.005 * measured.lower.value
    assert measured == operator_norm(segment), "the same seed gives the same result"
    assert measured.lower != operator_norm(segment, seed=1).lower


def test_says_which_bound_won_and_its_failure_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.diag(torch.linspace(1, 2, 700, dtype=torch.float64))
    measured = operator_norm(Segment("fc", (Linear((700,), weight),)), failure=1e-6)
    assert measured.upper.how.startswith("product"), "a diagonal matrix is sharp in the Schur test"
    assert measured.upper.failure == 0.0
    monkeypatch.setattr(deterministic_norm, "_matrix_upper", lambda weight: math.inf)
    measured = operator_norm(Segment("fc", (Linear((700,), weight),)), failure=1e-6)
    assert measured.upper.how.startswith("Lanczos")
    assert measured.upper.failure == 1e-6
    assert 2.0 <= measured.upper.value <= 2.01


@pytest.mark.parametrize("side", [5, 700])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-180, 1e150])
def test_scale_is_no_obstacle(side: int, value: float) -> None:
    operations: tuple[Operation, ...] = (Scale((side,), torch.full((side,), value, dtype=torch.float64)),)
    measured = operator_norm(Segment("scale", operations))
    assert measured.lower.value <= value <= measured.upper.value
    assert measured.upper.value <= value * (1 + 1e-9)


@pytest.mark.parametrize("value", [0.0, 1e-180, 1e150])
def test_scale_of_a_kernel_or_a_large_matrix_is_no_obstacle(value: float) -> None:
    kernel = convolution(value * torch.ones(1, 1, 1, 1, dtype=torch.float64), (2, 2))
    matrix = Segment("fc", (Linear((700,), value * torch.eye(700, dtype=torch.float64)),))
    for segment in (kernel, matrix):
        assert value <= deterministic_upper(segment).value <= value * (1 + 1e-9)


@pytest.mark.parametrize("side", [5, 700])
def test_refuses_weights_that_are_not_finite(side: int) -> None:
    weight = torch.eye(side, dtype=torch.float64)
    weight[0, 0] = torch.nan
    with pytest.raises(InputError, match="head: its weights are not all finite"):
        operator_norm(Segment("head", (Linear((side,), weight),)))


@pytest.mark.parametrize("failure", [0.0, 1.0, -1e-12, math.nan])
def test_refuses_a_failure_that_is_no_probability(failure: float) -> None:
    with pytest.raises(InputError, match="failure probability"):
        operator_norm(Segment("fc", (Linear((2,), torch.eye(2, dtype=torch.float64)),)), failure=failure)


def test_reports_every_step_and_every_part_of_the_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fourier, "_CHUNK", 50)
    weight = torch.randn(5, 5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    segment = convolution(weight, (12, 12), padding=(1, 1))
    assert segment.d_in > deterministic_norm.DENSE_SIDE
    calls: list[tuple[int, int]] = []
    operator_norm(segment, progress=lambda *call: calls.append(call))
    assert calls.count((0, 150)) > 10 and [done for done, _ in calls if done] == list(range(1, calls[-1][0] + 1))


def test_takes_as_many_steps_as_there_is_memory_for() -> None:
    weight = torch.randn(5, 5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    segment = convolution(weight, (12, 12), padding=(1, 1))
    calls: list[tuple[int, int]] = []
    few = operator_norm(segment, memory=Budget(12 * 2 * 8 * 720), progress=lambda *call: calls.append(call))
    assert calls[-1] == (12, 12)
    many = operator_norm(segment)
    assert few.lower.value <= many.lower.value * SLACK and many.upper.value <= few.upper.value * SLACK
    with pytest.raises(InputError, match="a pair of Lanczos vectors of conv takes 11.5 kB, the budget is 5 kB"):
        operator_norm(segment, memory=Budget(5000))


@pytest.mark.parametrize("name", LAYERS)
def test_the_work_is_that_of_some_operations(name: str) -> None:
    for segment in segments(name):
        assert spectral_norm.norm_work(segment) > segment.products > 0
