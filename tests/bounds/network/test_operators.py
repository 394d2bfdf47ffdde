"""Primitive operations and segments against dense matrices, the original module's Jacobians."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from bounds.network import Segment, trace
from bounds.network.nonlinear import MaxPool
from tests.cases import CASES, Shape, settle, traced


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def constant(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Shape]] = {
    "permute": (lambda x: x.permute(0, 3, 1, 2), (2, 3, 4)),
    "transpose": (lambda x: x.transpose(1, -1), (2, 3, 4)),
    "slice": (lambda x: x[:, 1:, ::2], (2, 3, 4)),
    "select": (lambda x: x[:, 1, -1], (2, 3, 4)),
    "index": (lambda x: x[:, [2, 0, 0]], (3, 2)),
    "index-tensor": (lambda x: x.index_select(1, torch.tensor([2, 0, 0])), (3, 2)),
    "chunk": (lambda x: x.chunk(2, dim=1)[1], (4, 3)),
    "split": (lambda x: x.split([1, 3], dim=1)[1], (4, 3)),
    "unbind": (lambda x: x.unbind(1)[2], (4, 3)),
    "flip": (lambda x: x.flip(2), (2, 3)),
    "roll": (lambda x: x.roll(1, dims=1), (5,)),
    "repeat": (lambda x: x.repeat(1, 3), (2,)),
    "expand": (lambda x: x.unsqueeze(1).expand(-1, 3, -1), (2,)),
    "unflatten": (lambda x: x.unflatten(1, (2, 3)).movedim(2, 1), (6,)),
    "pixel-shuffle": (lambda x: F.pixel_shuffle(x, 2), (4, 2, 2)),
    "upsample": (lambda x: F.interpolate(x, scale_factor=2), (1, 2, 3)),
    "unfold": (lambda x: F.unfold(x, 2, padding=1), (2, 3, 3)),
    "pad": (lambda x: F.pad(x, (1, 2, 0, 1)), (1, 2, 3)),
    "crop": (lambda x: F.pad(x, (-1, 1)), (1, 2, 3)),
    "pad-value": (lambda x: F.pad(x, (1, 2), value=0.5), (2, 3)),
    "pad-circular": (lambda x: F.pad(x, (2, 1, 1, 0), mode="circular"), (1, 3, 3)),
    "pad-reflect": (lambda x: F.pad(x, (2, 1), mode="reflect"), (2, 3)),
    "pad-replicate": (lambda x: F.pad(x, (2, 1), mode="replicate"), (2, 3)),
    "mean": (lambda x: x.mean((2, 3)), (2, 3, 4)),
    "mean-keepdim": (lambda x: x.mean(-1, keepdim=True), (2, 3)),
    "sum": (lambda x: x.sum(1), (3, 2)),
    "scale": (lambda x: -x * 3 / 2, (3,)),
    "constant-first": (lambda x: 2 * (1 - x), (3,)),
    "alpha": (lambda x: torch.sub(constant(3), torch.add(x, constant(3), alpha=2), alpha=3), (3,)),
    "subtract": (lambda x: torch.sub(x, constant(3), alpha=2), (3,)),
    "tensor-constants": (lambda x: (constant(3) + x * constant(2, 1)) / constant(1, 2, 3), (2, 3)),
    "rsub": (lambda x: torch.rsub(x, 3.0, alpha=2.0), (3,)),
    "matmul": (lambda x: x @ constant(4, 2), (3, 4)),
    "identities": (lambda x: F.dropout(x.clone().contiguous().double(), training=False) + 1, (3,)),
    "average-1d": (lambda x: F.avg_pool1d(x, 3, 2, padding=1, count_include_pad=False), (2, 7)),
    "average-2d": (lambda x: F.avg_pool2d(x, 2, divisor_override=3), (1, 4, 5)),
    "average-3d": (lambda x: F.avg_pool3d(x, 2, stride=1), (1, 2, 3, 2)),
    "adaptive-1d": (lambda x: F.adaptive_avg_pool1d(x, 3), (2, 7)),
    "adaptive-2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (1, 5, 4)),
    "conv3d": (lambda x: F.conv3d(x, constant(2, 1, 2, 2, 1), constant(2), padding=1), (1, 2, 3, 2)),
    "conv-valid": (lambda x: F.conv2d(x, constant(2, 1, 2, 2), padding="valid"), (1, 3, 3)),
    "conv-same": (lambda x: F.conv1d(x, constant(2, 1, 3), padding="same", dilation=2), (1, 5)),
    "conv-same-even": (lambda x: F.conv1d(x, constant(2, 1, 2), constant(2), padding="same"), (1, 5)),
    "transposed-1d": (
        lambda x: F.conv_transpose1d(x, constant(2, 1, 3), stride=2, dilation=3, output_padding=2, groups=2),
        (2, 4),
    ),
}


def single_segment(module: nn.Module, shape: Shape) -> tuple[nn.Module, Segment]:
    """The module with its output flattened, and the one segment that its trace is."""
    module = nn.Sequential(module, nn.Flatten()).double().eval()
    network = trace(module, constant(1, *shape))
    assert [type(node.operation).__name__ for node in network.nodes] == ["Input", "Segment"]
    return module, network.segments[0]


def check_segment(module: nn.Module, segment: Segment) -> None:
    """Linear part, adjoint and offset against the module's dense Jacobian and its value at zero."""
    zero = torch.zeros(1, *segment.in_shape, dtype=torch.float64)
    matrix = torch.autograd.functional.jacobian(module, zero).reshape(segment.d_out, segment.d_in)
    columns = segment.linear(torch.eye(segment.d_in, dtype=torch.float64).reshape(-1, *segment.in_shape))
    rows = segment.adjoint(torch.eye(segment.d_out, dtype=torch.float64).reshape(-1, *segment.out_shape))
    torch.testing.assert_close(columns.flatten(1).T, matrix, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rows.flatten(1), matrix, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(segment.offset[None], module(zero).detach(), rtol=1e-12, atol=1e-12)
    z = constant(3, *segment.in_shape)
    torch.testing.assert_close(segment(z), module(z).detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_affine_functions_are_their_dense_matrix(name: str) -> None:
    function, shape = FUNCTIONS[name]
    check_segment(*single_segment(Apply(function), shape))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, Shape]:
    """A convolution with any hyperparameters, perhaps between two batch-norms, and its input shape."""
    axes = draw(st.integers(1, 2))
    each = st.tuples(*[st.integers(1, 3)] * axes)
    size, stride, dilation = draw(each), draw(each), draw(st.tuples(*[st.integers(1, 2)] * axes))
    padding = draw(st.tuples(*[st.integers(0, 2)] * axes))
    groups = draw(st.integers(1, 2))
    mode = draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
    positions = tuple(
        max(d * (k - 1) + 1 - 2 * p, p + 1) + draw(st.integers(0, 3))
        for k, d, p in zip(size, dilation, padding, strict=True)
    )
    norm = nn.BatchNorm1d if axes == 1 else nn.BatchNorm2d
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 99)))
        conv = (nn.Conv1d if axes == 1 else nn.Conv2d)(
            2, 4, size, stride, padding, dilation, groups, bias=draw(st.booleans()), padding_mode=mode
        )
        norms = [norm(2), norm(4)]
        for part in norms:
            settle(part)
    before, after = draw(st.booleans()), draw(st.booleans())
    return nn.Sequential(*norms[: 1 * before], conv, *norms[2 - 1 * after :]), (2, *positions)


@settings(deadline=None, max_examples=15)
@given(convolutions())
def test_any_convolution_is_its_dense_matrix_and_its_kernel(drawn: tuple[nn.Module, Shape]) -> None:
    body, shape = drawn
    module, segment = single_segment(body, shape)
    check_segment(module, segment)
    conv = next(part for part in body if isinstance(part, nn.Conv1d | nn.Conv2d))
    copies = conv.padding_mode in ("reflect", "replicate")
    assert (segment.kernel is None) == copies
    if segment.kernel is not None:
        check_kernel(segment)
        assert segment.kernel.padding_mode == conv.padding_mode
        assert segment.kernel.weight.shape == conv.weight.shape


def check_kernel(segment: Segment) -> None:
    kernel = segment.kernel
    assert kernel is not None
    z = constant(3, *segment.in_shape)
    image, padding = z.reshape(-1, *kernel.in_shape), kernel.padding
    assert kernel.out_shape == tuple(kernel(image).shape[1:])
    if kernel.padding_mode == "circular":
        image = F.pad(image, [p for p in reversed(padding) for _ in range(2)], mode="circular")
        padding = (0,) * len(padding)
    convolve = F.conv1d if len(kernel.stride) == 1 else F.conv2d
    expected = convolve(image, kernel.weight, None, kernel.stride, padding, kernel.dilation, kernel.groups)
    torch.testing.assert_close(expected.flatten(1), segment.linear(z).flatten(1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(expected, kernel(z.reshape(-1, *kernel.in_shape)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_segments_of_every_case_are_affine_with_their_adjoint(name: str) -> None:
    for segment in traced(name).segments:
        z, u = constant(3, *segment.in_shape), constant(3, *segment.out_shape)
        left, right = (segment.linear(z) * u).sum(), (z * segment.adjoint(u)).sum()
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(segment(z), segment.linear(z) + segment.offset, rtol=1e-12, atol=1e-12)
        mixture = segment(0.3 * z[:1] + 0.7 * z[1:2])
        torch.testing.assert_close(mixture, 0.3 * segment(z[:1]) + 0.7 * segment(z[1:2]), rtol=1e-12, atol=1e-12)
        assert segment.offset.shape == segment.out_shape
        assert segment.has_bias or not segment.offset.any()
        assert not any(tensor.requires_grad for op in segment.operations for tensor in tensors(op))
        if segment.kernel is not None:
            check_kernel(segment)


def tensors(operation: object) -> list[Tensor]:
    return [value for value in vars(operation).values() if isinstance(value, Tensor)]


NO_KERNEL: dict[str, tuple[Callable[[], list[nn.Module]], Shape]] = {
    "two convolutions": (lambda: [nn.Conv2d(1, 2, 2), nn.Conv2d(2, 1, 2)], (1, 4, 4)),
    "average pool": (lambda: [nn.Conv2d(1, 2, 2), nn.AvgPool2d(2)], (1, 5, 5)),
    "reflection": (lambda: [nn.ReflectionPad2d(1), nn.Conv2d(1, 2, 2)], (1, 4, 4)),
    "one-sided padding": (lambda: [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 2, 2)], (1, 4, 4)),
    "circular and zeros": (lambda: [nn.CircularPad2d(1), nn.Conv2d(1, 2, 2, padding=1)], (1, 4, 4)),
    "two paddings": (lambda: [nn.ZeroPad2d(1), nn.ZeroPad2d(1), nn.Conv2d(1, 2, 2)], (1, 4, 4)),
    "reshaped padding": (
        lambda: [nn.ZeroPad2d(1), Apply(lambda x: x.reshape(-1, 1, 4, 9)), nn.Conv2d(1, 2, 2)],
        (1, 4, 4),
    ),
    "scaled pixels": (lambda: [Apply(lambda x: x * constant(1, 4, 4)), nn.Conv2d(1, 2, 2)], (1, 4, 4)),
    "scaled outputs": (lambda: [nn.Conv2d(1, 2, 2), Apply(lambda x: x * constant(3, 3))], (1, 4, 4)),
    "dense layer": (lambda: [nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(18, 2)], (1, 4, 4)),
    "transposed": (lambda: [nn.ConvTranspose2d(1, 2, 2)], (1, 3, 3)),
}


@pytest.mark.parametrize("name", NO_KERNEL)
def test_no_kernel_when_the_segment_is_not_one_convolution(name: str) -> None:
    make, shape = NO_KERNEL[name]
    module, segment = single_segment(nn.Sequential(*make()), shape)
    check_segment(module, segment)
    assert segment.kernel is None


def test_kernel_through_explicit_padding_scalings_and_flattening() -> None:
    body = nn.Sequential(
        nn.ZeroPad2d(1),
        Apply(lambda x: 2 * (x - constant(2, 1, 1)) / 3),
        nn.Conv2d(2, 4, 3, padding=1, groups=2),
        nn.Flatten(),
        Apply(lambda x: 0.5 * x),
    )
    module, segment = single_segment(body, (2, 3, 3))
    check_segment(module, segment)
    check_kernel(segment)
    assert segment.kernel is not None
    assert segment.kernel.padding == (2, 2)
    torch.testing.assert_close(segment.kernel.weight, body[2].weight.detach() / 3)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2), st.integers(1, 2), st.integers(0, 4))
def test_max_pool_overlap_counts_windows(size: int, stride: int, pad: int, dilation: int, extra: int) -> None:
    pad = min(pad, size // 2)
    n = max(1, dilation * (size - 1) + 1 - 2 * pad) + extra
    pool = MaxPool((1, n, n), (size, size), (stride, stride), (pad, pad), (dilation, dilation), False)
    ones = torch.ones(1, 1, n, n)
    windows = F.unfold(ones, size, dilation, pad, stride)
    counts = F.fold(windows, (n, n), size, dilation, pad, stride)
    assert pool.overlap == int(counts.max())


PRODUCTS: dict[str, tuple[Callable[[], nn.Module], Shape, int]] = {
    # dense: 2 x 5 outputs of 3 features each, their bias, their flattening
    "dense": (lambda: nn.Linear(3, 5), (2, 3), 10 * 3 + 10 + 10),
    # 4 x 2 x 2 outputs with 3 x 3 taps in the one channel of their group, their flattening
    "convolution": (lambda: nn.Conv2d(2, 4, 3, groups=2, bias=False), (2, 4, 4), 16 * 9 + 16),
    # every one of the 2 x 3 x 3 inputs meets 3 x 2 x 2 taps; 3 x 4 x 4 outputs
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 2, bias=False), (2, 3, 3), 18 * 12 + 48),
    "batch-norm": (lambda: nn.BatchNorm1d(6), (6,), 6 + 6),
    "average": (lambda: nn.AvgPool2d(2), (1, 4, 4), 4 * 4 + 4),
    "padding": (lambda: nn.ZeroPad2d(1), (1, 2, 2), 16 + 16),
    "copies": (lambda: Apply(lambda x: x.repeat(1, 3)), (2,), 6),
    "sum": (lambda: Apply(lambda x: x.sum(1)), (3, 2), 6 + 2),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_counted_from_the_shapes(name: str) -> None:
    make, shape, products = PRODUCTS[name]
    assert single_segment(make(), shape)[1].products == products
