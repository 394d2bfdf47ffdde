"""Slow and obvious float64 references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bounds.network import trace
from bounds.network.segment import Segment
from tests.cases import CASES


@dataclass(frozen=True)
class Sample:
    """A labelled sample in memory."""

    x: Tensor
    y: Tensor

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(0, len(self), size):
            yield self.x[first : first + size], self.y[first : first + size]

    def __len__(self) -> int:
        return len(self.y)


LAYERS = (
    "linear",
    "mlp",
    "mlp-zero-layer",
    "mlp-batch-norm",
    "functional",
    "contracted",
    "lenet",
    "average-odd",
    "adaptive-average",
    "global-average",
    "conv-strided",
    "conv-asymmetric",
    "conv1d",
    "conv-transposed",
    "conv-circular",
    "conv-reflect",
    "conv-replicate",
    "conv-bn",
    "bn-conv",
    "bn-after-pool",
    "normalised",
    "resnet",
    "vit",
)
"""Cases that together hold every kind of affine segment."""


@cache
def segments(name: str, seed: int = 0) -> tuple[Segment, ...]:
    """The affine segments of a case."""
    case = CASES[name]
    return trace(case.module(seed), case.inputs(2)).segments


def dense(segment: Segment) -> Tensor:
    """The matrix W (d_out, d_in), one column at a time, from differences of the affine map."""
    zero = torch.zeros(1, *segment.in_shape, dtype=torch.float64)
    offset = segment(zero).flatten()
    columns = []
    for j in range(zero.numel()):
        unit = torch.zeros(zero.numel(), dtype=torch.float64)
        unit[j] = 1.0
        columns.append(segment(unit.reshape(zero.shape)).flatten() - offset)
    return torch.stack(columns, 1)


def jacobian(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(K, d) at one input without batch."""
    rows = torch.autograd.functional.jacobian(lambda z: model(z[None])[0], x)
    assert isinstance(rows, Tensor)
    return rows.flatten(1)


def hessian(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """(d, d) Hessian of the cross-entropy at one input without batch."""

    def loss(z: Tensor) -> Tensor:
        return F.cross_entropy(model(z[None]), y[None])

    with sdpa_kernel(SDPBackend.MATH):  # the other attention kernels have no second derivative
        matrix = torch.autograd.functional.hessian(loss, x)
    assert isinstance(matrix, Tensor)
    return matrix.reshape(x.numel(), x.numel())
