"""One rule per torch operation that multiplies with a constant and sums: products of tensors, interpolation.

A rule is called like the torch operation, with the shape of the input (without the batch) first and None in the
place of the input, and returns the same as those of `bounds.network.affine_rules`.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bounds.network.moves import moved
from bounds.network.operators import Contraction, Linear, Operation, Reshape, Shape, Sum

Affine = tuple[Operation, ...]
BATCH, AXES = string.ascii_letters[0], string.ascii_letters[1:]


def contraction(shape: Shape, axes: str, weight: Tensor, weight_axes: str, out_axes: str) -> Affine:
    """torch.einsum(f"{axes},{weight_axes}->{out_axes}", input, weight), without the batch: a dense layer if possible.

    >>> contraction((2, 3), "ij", torch.ones(2, 3, 5, dtype=torch.float64), "ijk", "k")[1].weight.shape
    torch.Size([5, 6])
    """
    read = "".join(axis for axis in axes if axis in weight_axes + out_axes)
    total: Affine = ()
    if read != axes:
        total = (Sum(shape, tuple(1 + i for i, axis in enumerate(axes) if axis not in read), False),)
        shape = total[0].out_shape
    used = "".join(axis for axis in weight_axes if axis in read + out_axes)
    weight = torch.einsum(f"{weight_axes}->{used}", weight)
    kept = "".join(axis for axis in read if axis in out_axes)
    summed, new = read.replace(kept, "", 1), out_axes.replace(kept, "", 1)
    if read == kept + summed and out_axes == kept + new and set(used) == set(summed + new):
        matrix = torch.einsum(f"{used}->{new + summed}", weight)
        return (*total, *_dense(shape, matrix, len(kept), len(summed)))
    return (*total, Contraction(shape, f"{read},{used}->{out_axes}", weight))


def _dense(shape: Shape, matrix: Tensor, kept: int, summed: int) -> Affine:
    """A matrix (*new axes, *summed axes) on the last axes of the input."""
    new = tuple(matrix.shape[: matrix.ndim - summed])
    flat, out_shape = (*shape[:kept], math.prod(shape[kept:])), (*shape[:kept], *new)
    linear = Linear(flat, matrix.reshape(math.prod(new), flat[-1]))
    before = () if flat == shape else (Reshape(shape, flat),)
    return (*before, linear, *(() if linear.out_shape == out_shape else (Reshape(linear.out_shape, out_shape),)))


def einsum(shape: Shape, equation: str, operands: Sequence[Tensor | None], path: Any = None) -> Affine | None:
    """An einsum of the input and at most one constant."""
    ranks = [len(shape) + 1 if operand is None else operand.ndim for operand in operands]
    *letters, out_axes = _spelled_out(equation, ranks)
    position = next(i for i, operand in enumerate(operands) if operand is None)
    batch, axes = letters[position][0], letters[position][1:]
    if any(len(set(each)) < len(each) for each in letters) or out_axes[:1] != batch:
        return None  # diagonals
    if len(operands) == 1:
        return _reordered(shape, axes, out_axes[1:])
    if len(operands) > 2:
        return None
    weight, weight_axes = operands[1 - position], letters[1 - position]
    assert weight is not None
    size = dict(zip(axes, shape, strict=True)) | {batch: 2}
    for axis in weight_axes:  # an axis of length one stands for any length
        if axis in size and weight.shape[weight_axes.index(axis)] != size[axis]:
            if weight.shape[weight_axes.index(axis)] != 1:
                return None
            weight, weight_axes = weight.squeeze(weight_axes.index(axis)), weight_axes.replace(axis, "")
    return None if batch in weight_axes else contraction(shape, axes, weight, weight_axes, out_axes[1:])


def _spelled_out(equation: str, ranks: Sequence[int]) -> list[str]:
    """The axes of the operands and of the output, with letters for dots.

    >>> _spelled_out("...i, ij", [3, 2])
    ['abi', 'ij', 'abj']
    """
    operands, arrow, out_axes = equation.replace(" ", "").partition("->")
    letters = operands.split(",")
    spare = "".join(letter for letter in string.ascii_letters if letter not in equation)
    dots = [
        rank - len(axes.replace("...", "")) if "..." in axes else 0 for axes, rank in zip(letters, ranks, strict=True)
    ]
    if not arrow:
        out_axes = "..." * ("..." in equation) + "".join(
            letter for letter in sorted(set(operands)) if letter.isalpha() and operands.count(letter) == 1
        )
    counts = [*dots, max(dots)]
    return [
        axes.replace("...", spare[max(dots) - count : max(dots)])
        for axes, count in zip((*letters, out_axes), counts, strict=True)
    ]


def _reordered(shape: Shape, axes: str, out_axes: str) -> Affine | None:
    """Sums and permutations of the input alone."""
    kept = "".join(axis for axis in axes if axis in out_axes)
    summed = tuple(1 + i for i, axis in enumerate(axes) if axis not in out_axes)
    total = (Sum(shape, summed, False),) if summed else ()
    order = (0, *(1 + kept.index(axis) for axis in out_axes))
    permutation = moved(total[0].out_shape if total else shape, lambda z: z.permute(order))
    return None if permutation is None else (*total, *permutation)


def matmul(shape: Shape, left: Tensor | None, right: Tensor | None) -> Affine | None:
    """Input times a constant or a constant times the input: vectors, matrices, one matrix per head."""
    weight = right if left is None else left
    assert weight is not None
    while weight.ndim > 2 and len(weight) == 1:  # the same for all samples
        weight = weight[0]
    axes, new = AXES[: len(shape)], AXES[len(shape)]
    heads = axes[: len(shape) - 2][-max(0, weight.ndim - 2) :] if weight.ndim > 2 else ""
    if len(heads) < weight.ndim - 2 or (left is not None and len(shape) < 2):
        return None
    if left is None:
        weight_axes, out_axes = (axes[-1], axes[:-1]) if weight.ndim == 1 else (axes[-1] + new, axes[:-1] + new)
    elif weight.ndim == 1:
        weight_axes, out_axes = axes[-2], axes[:-2] + axes[-1]
    else:
        weight_axes, out_axes = new + axes[-2], axes[:-2] + new + axes[-1]
    letters = [BATCH + axes, heads + weight_axes]
    equation = f"{','.join(letters)}->{BATCH}{out_axes}"
    return einsum(shape, equation, [None, weight])


def tensordot(
    shape: Shape, left: Tensor | None, right: Tensor | None, left_axes: Sequence[int], right_axes: Sequence[int]
) -> Affine | None:
    """Sums over pairs of axes."""
    ranks = [len(shape) + 1 if operand is None else operand.ndim for operand in (left, right)]
    one, other = list(string.ascii_letters[: ranks[0]]), list(string.ascii_letters[ranks[0] : sum(ranks)])
    for axis, partner in zip(left_axes, right_axes, strict=True):
        other[partner] = one[axis]
    out_axes = [axis for axis in (*one, *other) if (axis in one) != (axis in other)]
    return einsum(shape, f"{''.join(one)},{''.join(other)}->{''.join(out_axes)}", [left, right])


def inner(shape: Shape, left: Tensor | None, right: Tensor | None) -> Affine | None:
    """Sums over the last axes."""
    return tensordot(shape, left, right, [-1], [-1])


def running_sum(shape: Shape, source: None, axis: int, dtype: Any = None) -> Affine | None:
    """Running sums along an axis other than the batch."""
    position = axis % (len(shape) + 1) - 1
    return None if position < 0 else along(shape, position, _eye(shape[position]).cumsum(0))


def difference(shape: Shape, source: None, n: int = 1, axis: int = -1) -> Affine | None:
    """Differences of neighbours, n times, along an axis other than the batch."""
    position = axis % (len(shape) + 1) - 1
    return None if position < 0 else along(shape, position, _eye(shape[position]).diff(n, dim=0))


def interpolation(
    mode: str,
    antialias: bool,
    shape: Shape,
    source: None,
    output_size: Sequence[int] | None,
    align_corners: bool = False,
    scale_factors: Sequence[float] | None = None,
) -> Affine:
    """Resizing by weights that are products over the axes: one matrix per axis."""
    affine: Affine = ()
    for position in range(1, len(shape)):
        matrix = F.interpolate(
            _eye(shape[position])[:, None, None, :],
            size=None if output_size is None else (1, output_size[position - 1]),
            scale_factor=None if scale_factors is None else (1.0, scale_factors[position - 1]),
            mode=mode,
            align_corners=align_corners,
            antialias=antialias,
        )[:, 0, 0, :].T
        affine += along(affine[-1].out_shape if affine else shape, position, matrix)
    return affine


def along(shape: Shape, position: int, matrix: Tensor) -> Affine:
    """A matrix (out, in) on one axis.

    >>> along((2, 3), 0, torch.ones(4, 2, dtype=torch.float64))[0].out_shape
    (4, 3)
    """
    axes, new = AXES[: len(shape)], AXES[len(shape)]
    return contraction(shape, axes, matrix, new + axes[position], axes.replace(axes[position], new))


def _eye(size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)


RULES: dict[str, Callable[..., Affine | None]] = {
    **dict.fromkeys(("matmul", "mm", "bmm"), matmul),
    "einsum": einsum,
    "tensordot": tensordot,
    "inner": inner,
    "cumsum": running_sum,
    "diff": difference,
    **dict.fromkeys(
        ("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"), partial(interpolation, "bilinear", False)
    ),
    "upsample_bicubic2d": partial(interpolation, "bicubic", False),
    "_upsample_bilinear2d_aa": partial(interpolation, "bilinear", True),
    "_upsample_bicubic2d_aa": partial(interpolation, "bicubic", True),
}
