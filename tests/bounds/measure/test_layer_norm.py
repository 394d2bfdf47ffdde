from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bounds.budget import Budget
from bounds.errors import InputError
from bounds.measure import layer_norm
from bounds.measure.layer_norm import LayerNorms, _held, layer_norms, norms_work
from bounds.network import trace
from bounds.network.operators import Linear
from bounds.network.segment import Segment
from tests.bounds.measure.oracles import LAYERS, dense, segments


def close(measured: float, true: Tensor | float) -> None:
    assert math.isclose(measured, float(true), rel_tol=1e-10, abs_tol=1e-12)


def check(norms: LayerNorms, segment: Segment, reference: Segment | None) -> None:
    """Every norm from the dense matrices, except those of a kernel."""
    matrix, offset = dense(segment), segment.offset.flatten()
    start = torch.zeros_like(matrix) if reference is None else dense(reference)
    moved = offset if reference is None else offset - reference.offset.flatten()
    close(norms.frobenius.value, matrix.norm())
    close(norms.two_one.value, torch.cat([matrix - start, moved[:, None]], 1).norm(dim=1).sum())
    close(norms.row_sum.value, matrix.abs().sum(1).max())
    close(norms.biased_row_sum.value, torch.cat([matrix, offset[:, None]], 1).abs().sum(1).max())
    close(norms.offset.value, offset.norm())
    if segment.kernel is None:
        close(norms.kernel_group.value, norms.two_one.value)
        close(norms.parameter_distance.value, torch.cat([(matrix - start).flatten(), moved]).norm())


@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_agrees_with_the_dense_matrix(name: str, with_reference: bool) -> None:
    pairs = zip(segments(name, 0), segments(name, 1), strict=True)
    for segment, other in pairs:
        reference = other if with_reference else None
        check(layer_norms(segment, reference), segment, reference)


@pytest.mark.parametrize("name", LAYERS)
def test_fast_paths_agree_with_the_stream(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_norm, "_CHUNK", 50)  # several chunks
    for segment, reference in zip(segments(name, 0), segments(name, 1), strict=True):
        streamed = layer_norm._stream(segment, reference, None)
        fast = layer_norm._dense_rows(segment, reference) or layer_norm._kernel_rows(segment, reference)
        if fast is not None:
            for quick, slow in zip(vars(fast).values(), vars(streamed).values(), strict=True):
                torch.testing.assert_close(quick, slow, rtol=1e-10, atol=1e-12)


def test_kernel_group_by_hand() -> None:
    """One 1x2 kernel (3, 4) and bias -2 on 2x3 pixels: g = 3 + 4 + √4·2, t² = 25 + 4·4."""
    convolution = torch.nn.Conv2d(1, 1, (1, 2)).double()
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[[[3.0, 4.0]]]]))
        convolution.bias.fill_(-2.0)  # type: ignore[union-attr]
    network = torch.nn.Sequential(convolution, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4, 2).double())
    segment = trace(network, torch.zeros(1, 1, 2, 3, dtype=torch.float64)).segments[0]
    norms = layer_norms(segment)
    close(norms.kernel_group.value, 3 + 4 + 2 * 2)
    close(norms.parameter_distance.value, math.sqrt(25 + 16))
    close(norms.frobenius.value, math.sqrt(4 * 25))


@pytest.mark.parametrize("name", ["conv-strided", "conv-circular", "conv-bn", "bn-conv", "normalised", "conv1d"])
def test_kernel_quantities(name: str) -> None:
    segment, reference = segments(name, 0)[0], segments(name, 1)[0]
    assert segment.kernel is not None and reference.kernel is not None
    difference = segment.kernel.weight - reference.kernel.weight
    moved = (segment.offset - reference.offset).reshape(segment.kernel.out_shape[0], -1)
    by_tap = difference.flatten(2)
    group = sum(float(by_tap[o, :, tap].norm()) for o in range(len(by_tap)) for tap in range(by_tap.shape[2]))
    by_position = float(moved.abs().sum())
    by_channel = math.sqrt(moved.shape[1]) * float(moved[:, 0].abs().sum())
    constant = torch.allclose(moved, moved[:, :1].expand_as(moved), rtol=0, atol=1e-12)
    norms = layer_norms(segment, reference)
    close(norms.kernel_group.value, group + (by_channel if constant else by_position))
    close(norms.parameter_distance.value, math.hypot(float(difference.norm()), float(moved.norm())))
    assert constant == (name not in ("bn-conv", "normalised"))


def test_reference_with_the_same_weights_is_at_distance_zero() -> None:
    for segment in segments("lenet", 0):
        norms = layer_norms(segment, segment)
        assert norms.two_one.value == norms.kernel_group.value == norms.parameter_distance.value == 0.0
        assert norms.frobenius.value > 0


def test_refuses_a_reference_of_another_shape() -> None:
    first, second = (Segment("fc", (Linear((n,), torch.ones(2, n, dtype=torch.float64)),)) for n in (3, 4))
    with pytest.raises(InputError, match="fc: the reference maps other shapes"):
        layer_norms(first, second)


def test_reports_progress_of_the_stream() -> None:
    calls: list[tuple[int, int]] = []
    layer_norms(segments("conv-reflect", 0)[0], progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (16, 16)


@pytest.mark.parametrize("name", ["conv-circular", "conv-reflect"])
def test_the_stream_keeps_to_the_memory_and_reports(name: str) -> None:
    streamed = [segment for segment in segments(name) if norms_work(segment) > 3 * segment.products]
    assert streamed
    for segment in streamed:
        done: list[int] = []
        each = 4 * 8 * _held(segment)
        little = layer_norms(
            segment, progress=lambda so_far, _, done=done: done.append(so_far), memory=Budget(2 * each)
        )
        total = min(segment.d_in, segment.d_out)
        assert done == [*range(2, total, 2), total]
        assert little.frobenius.value == pytest.approx(layer_norms(segment).frobenius.value, rel=1e-13)
        with pytest.raises(InputError, match="a basis vector at .* takes"):
            layer_norms(segment, memory=Budget(each - 1))
