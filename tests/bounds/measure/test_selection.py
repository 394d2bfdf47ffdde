"""Scalings, moves and copies on their own are measured without a matrix, and like one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bounds.measure import layer_norm
from bounds.measure.deterministic_norm import deterministic_upper
from bounds.measure.layer_norm import layer_norms, row_norms
from bounds.measure.spectral_norm import operator_norm
from bounds.network.operators import Contraction, Operation, Pad, Rearrange, Reshape, Scale, Shift
from bounds.network.segment import Segment
from tests.bounds.measure.oracles import dense, segments
from tests.bounds.measure.test_layer_norm import check


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def index(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)


SELECTIONS: dict[str, Callable[[int], tuple[Operation, ...]]] = {
    "batch-norm": lambda seed: (Scale((3, 2, 2), numbers(3, 1, 1, seed=seed)), Shift((3, 2, 2), numbers(3, 1, 1))),
    "shift": lambda seed: (Shift((3,), numbers(3, seed=seed)),),
    "flattened": lambda seed: (Reshape((2, 3), (6,)), Scale((6,), numbers(6, seed=seed)), Scale((6,), numbers(1))),
    "copies": lambda seed: (Rearrange((3,), index([1, 1, 3], [1, 0, 2])), Scale((2, 3), numbers(2, 3, seed=seed))),
    "moves": lambda seed: (Rearrange((4,), torch.randperm(4, generator=torch.Generator().manual_seed(seed)) + 1),),
    "border": lambda seed: (Scale((1, 3), numbers(3, seed=seed)), Pad((1, 3), (2, 1), "reflect")),
    "token": lambda seed: (Pad((2, 3), (0, 0, 1, 0), "constant"), Shift((3, 3), numbers(3, 3, seed=seed))),
    "zeros": lambda seed: (Scale((2,), torch.zeros(2, dtype=torch.float64)),),
}


def selected(name: str, seed: int = 0) -> Segment:
    return Segment(name, SELECTIONS[name](seed))


@pytest.mark.parametrize("name", SELECTIONS)
def test_is_its_dense_matrix(name: str) -> None:
    segment = selected(name)
    assert segment.selection is not None
    matrix = torch.zeros(segment.d_out, segment.d_in + 1, dtype=torch.float64)
    matrix[torch.arange(segment.d_out), segment.selection.columns] = segment.selection.entries
    torch.testing.assert_close(matrix[:, 1:], dense(segment), rtol=1e-14, atol=1e-15)
    assert not matrix[:, 0].any()


@pytest.mark.parametrize("reference", [None, 0, 1])
@pytest.mark.parametrize("name", SELECTIONS)
def test_norms_are_read_off(name: str, reference: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(layer_norm, "_stream")
    segment = selected(name)
    check(
        layer_norms(segment, None if reference is None else selected(name, reference)),
        segment,
        None if reference is None else selected(name, reference),
    )
    euclidean, absolute = row_norms(segment)
    torch.testing.assert_close(euclidean, dense(segment).norm(dim=1))
    torch.testing.assert_close(absolute, dense(segment).abs().sum(1))


@pytest.mark.parametrize("name", SELECTIONS)
def test_the_operator_norm_is_exact(name: str) -> None:
    segment = selected(name)
    true, measured = float(torch.linalg.matrix_norm(dense(segment), 2)), operator_norm(segment)
    assert measured.lower.value <= true * (1 + 1e-14) and true <= measured.upper.value * (1 + 1e-14)
    assert measured.upper.value <= measured.lower.value * (1 + 1e-11)
    assert measured.upper == deterministic_upper(segment)
    assert measured.upper.how == "one entry per row" and measured.upper.failure == 0


@pytest.mark.parametrize("size", [1e-170, 1e170])
def test_the_operator_norm_of_tiny_and_huge_entries(size: float) -> None:
    factor = size * torch.tensor([3.0, 4.0], dtype=torch.float64)
    segment = Segment("scale", (Rearrange((1,), index([1, 1]).flatten()), Scale((2,), factor)))
    assert operator_norm(segment).upper.value == pytest.approx(5 * size, rel=1e-11)


def test_sums_are_no_selection() -> None:
    for name in ("linear", "conv-bn", "average-odd"):
        assert all(segment.selection is None for segment in segments(name))


@pytest.mark.parametrize(
    ("equation", "shape", "sizes"),
    [("hi,hij->hj", (4, 3), (4, 3, 2)), ("ij,ki->kj", (3, 4), (5, 3)), ("hij,hkj->ihk", (2, 3, 4), (2, 5, 4))],
)
def test_a_contraction_is_as_large_as_its_largest_block(
    equation: str, shape: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    segment = Segment("einsum", (Contraction(shape, equation, numbers(*sizes)),))
    true = float(torch.linalg.matrix_norm(dense(segment), 2))
    assert true <= deterministic_upper(segment).value * (1 + 1e-14)
    assert deterministic_upper(segment).value == pytest.approx(true, rel=1e-11)
    block = segment.operations[0].matrices.shape  # type: ignore[attr-defined]
    assert segment.products == segment.d_out * block[2] and segment.operations[0].roundings == max(block[1:]) + 1


def test_the_stream_holds_a_bounded_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the 4 inputs and the 4 outputs the image has 256 pixels."""
    grow = Contraction((2, 2), "ij,kjil->kl", numbers(16, 2, 2, 16).abs())
    shrink = Contraction((16, 16), "ij,kijl->kl", numbers(2, 16, 16, 2))
    taken = []
    images = layer_norm._images
    monkeypatch.setattr(layer_norm, "_CHUNK", 600)
    monkeypatch.setattr(
        layer_norm, "_images", lambda segment, basis, side: (taken.append(len(basis)), images(segment, basis, side))[1]
    )
    norms = layer_norms(Segment("hourglass", (grow, shrink)))
    assert taken == [2, 2]
    assert math.isclose(norms.frobenius.value, float(dense(Segment("hourglass", (grow, shrink))).norm()), rel_tol=1e-12)


def test_a_batch_norm_before_a_convolution_is_a_selection() -> None:
    """As in PreAct-ResNets: an activation stands between the two."""
    from bounds.network import trace

    module = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.Flatten())
    first = trace(module, torch.zeros(1, 2, 4, 4)).segments[0]
    assert first.selection is not None and len(first.selection.entries) == 32
