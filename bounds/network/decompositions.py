"""Operations that the exporter rewrites in terms of others: one identity per operation.

Each is called like the torch operation and returns what it returns; NotImplemented leaves the operation as it is.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

aten = torch.ops.aten
Rewritten = Any  # what the operation returns, or NotImplemented


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Rewritten:
    """A concatenation along a new axis."""
    return torch.cat([tensor.unsqueeze(axis) for tensor in tensors], axis)


def hstack(tensors: Sequence[Tensor]) -> Rewritten:
    """A concatenation."""
    if tensors[0].ndim == 1:
        return NotImplemented
    return torch.cat(list(tensors), 1)


def add(left: Tensor, right: Any, *, alpha: float = 1) -> Rewritten:
    """A sum of branches of one shape."""
    shape = _wide_shape(left, right)
    return NotImplemented if shape is None else torch.add(left.expand(shape), right.expand(shape), alpha=alpha)


def sub(left: Tensor, right: Any, *, alpha: float = 1) -> Rewritten:
    """A difference of branches of one shape."""
    shape = _wide_shape(left, right)
    return NotImplemented if shape is None else torch.sub(left.expand(shape), right.expand(shape), alpha=alpha)


def addmm(bias: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1) -> Rewritten:
    """A product and a sum, scaled."""
    return beta * bias + alpha * torch.matmul(left, right)


def addcmul(start: Tensor, left: Tensor, right: Tensor, *, value: float = 1) -> Rewritten:
    """A product and a sum."""
    return start + value * left * right


def lerp(start: Tensor, end: Tensor, weight: Any) -> Rewritten:
    """A mixture."""
    return (1 - weight) * start + weight * end


def slice_scatter(
    z: Tensor, new: Tensor, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Rewritten:
    """Entries overwritten; all of them by an assignment to z[:, ...]."""
    if start or end not in (None, sys.maxsize) or step != 1:
        return NotImplemented
    return new.clone()


def amax(z: Tensor, axes: Sequence[int] = (), keepdim: bool = False) -> Rewritten:
    """The largest entry along axes: a max-pool whose windows are what varies along them."""
    counted = sorted({axis % z.ndim for axis in axes})
    if not counted or counted[0] == 0:
        return NotImplemented
    return _windows_maximum(z, counted, keepdim)[0]


def amin(z: Tensor, axes: Sequence[int] = (), keepdim: bool = False) -> Rewritten:
    """Minus the largest entry of minus z."""
    return _minus(amax(-z, axes, keepdim))


def maximum_along(z: Tensor, axis: int, keepdim: bool = False) -> Rewritten:
    """The largest entry along an axis, and where it is."""
    if axis % z.ndim == 0:
        return NotImplemented
    return _windows_maximum(z, [axis % z.ndim], keepdim)


def minimum_along(z: Tensor, axis: int, keepdim: bool = False) -> Rewritten:
    """The smallest entry along an axis, and where it is."""
    found = maximum_along(-z, axis, keepdim)
    if found is NotImplemented:
        return NotImplemented
    return -found[0], found[1]


def maximum(left: Tensor, right: Tensor) -> Rewritten:
    """The larger entry of two."""
    if left.ndim < 2 or left.ndim != right.ndim:
        return NotImplemented
    if (shape := _wide_shape(left, right)) is not None:
        left, right = left.expand(shape), right.expand(shape)
    return NotImplemented if left.shape != right.shape else amax(torch.stack([left, right], 1), [1])


def minimum(left: Tensor, right: Tensor) -> Rewritten:
    """The smaller entry of two."""
    return _minus(maximum(-left, -right))


def sort(z: Tensor, axis: int = -1, descending: bool = False) -> Rewritten:
    """Pairs in order, as in GroupSort: one max-pool of z and -z, so that a chain stays a chain."""
    position = axis % z.ndim
    if position == 0 or z.shape[axis] != 2:
        return NotImplemented
    signs = torch.arange(-1, 2, 2, dtype=z.dtype, device=z.device).reshape(2, *(1,) * (z.ndim - 1))
    signs = -signs if descending else signs
    both = z.unsqueeze(1).expand(-1, 2, *z.shape[1:]) * signs
    values, places = _windows_maximum(both, [position + 1], keepdim=False)
    first = places.select(1, 0).unsqueeze(position)  # equal entries keep their order
    return (values * signs.squeeze(-1)).movedim(1, position), torch.cat((first, 1 - first), position)


def adaptive_max_pool(z: Tensor, output_size: Sequence[int]) -> Rewritten:
    """A max-pool with windows of one size, when they fit."""
    axes = len(output_size)
    sizes = z.shape[z.ndim - axes :]
    if z.ndim != axes + 2 or any(size % outputs for size, outputs in zip(sizes, output_size, strict=True)):
        return NotImplemented
    window = [size // outputs for size, outputs in zip(sizes, output_size, strict=True)]
    pools: Any = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
    values, places = pools[axes](z, window, return_indices=True)
    return values, places


def _wide_shape(left: Tensor, right: Any) -> list[Any] | None:
    """The shape of both together, when they differ and have the batch as first axis."""
    if not isinstance(right, Tensor) or left.ndim != right.ndim or left.ndim < 2:
        return None
    if not all(isinstance(tensor.shape[0], torch.SymInt) for tensor in (left, right)):
        return None  # a constant, which may stay small
    sizes = list(zip(left.shape[1:], right.shape[1:], strict=True))
    return None if all(one == other for one, other in sizes) else [-1, *(max(pair) for pair in sizes)]


def _windows_maximum(z: Tensor, axes: Sequence[int], keepdim: bool) -> Rewritten:
    kept = [axis for axis in range(z.ndim) if axis not in axes]
    size, count = (math.prod(z.shape[axis] for axis in some) for some in (axes, kept[1:]))
    rows = z.permute(*kept, *axes).reshape(z.shape[0], 1, count * size)
    values, places = F.max_pool1d(rows, size, return_indices=True)
    shape = [1 if axis in axes else z.shape[axis] for axis in range(z.ndim) if keepdim or axis not in axes]
    return values.reshape(shape), (places % size).reshape(shape)


def _minus(z: Tensor) -> Rewritten:
    if z is NotImplemented:
        return NotImplemented
    return -z


DECOMPOSITIONS: dict[torch._ops.OperatorBase, Callable[..., Any]] = {
    aten.stack.default: stack,
    aten.hstack.default: hstack,
    aten.add.Tensor: add,
    aten.sub.Tensor: sub,
    aten.addmm.default: addmm,
    aten.baddbmm.default: addmm,
    aten.addcmul.default: addcmul,
    aten.lerp.Scalar: lerp,
    aten.lerp.Tensor: lerp,
    aten.slice_scatter.default: slice_scatter,
    aten.amax.default: amax,
    aten.amin.default: amin,
    aten.max.dim: maximum_along,
    aten.min.dim: minimum_along,
    aten.maximum.default: maximum,
    aten.max.other: maximum,
    aten.min.other: minimum,
    aten.minimum.default: minimum,
    aten.sort.default: sort,
    aten.adaptive_max_pool1d.default: adaptive_max_pool,
    aten.adaptive_max_pool2d.default: adaptive_max_pool,
    aten.adaptive_max_pool3d.default: adaptive_max_pool,
}
