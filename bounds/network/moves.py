"""Operations whose output entries are entries of the input or constants, recognised on numbered entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bounds.network.operators import Operation, Rearrange, Reshape, Scale, Shape, Shift

MOVES = frozenset(
    "_unsafe_view _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d as_strided "
    "broadcast_to cat channel_shuffle chunk copy diagonal expand fill flatten flip gather im2col index index_put "
    "index_select masked_fill movedim narrow permute pixel_shuffle pixel_unshuffle repeat repeat_interleave reshape "
    "roll rot90 scatter select select_scatter slice slice_scatter split split_with_sizes squeeze swapaxes t "
    "take_along_dim tensor_split tile transpose tril triu unbind unflatten unfold unsqueeze upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d view where".split()
)


def moved(shape: Shape, run: Callable[[Tensor], Any]) -> tuple[Operation, ...] | None:
    """The move `run` as primitive operations.

    Args:
        shape: of one input.
        run: the move of a batch of two inputs, (2, *shape) -> (2, *out_shape).

    Returns:
        Nothing for the identity, a Reshape, a Scale by zeros and ones or a Rearrange, and a Shift by the constants
        among the entries; None when the two inputs get mixed or treated differently, or a constant is infinite.

    >>> moved((2, 3), lambda z: z.transpose(1, 2))[0].index
    tensor([[1, 4],
            [2, 5],
            [3, 6]])
    """
    size = torch.Size(shape).numel()
    numbers = torch.arange(1, 2 * size + 1, dtype=torch.float64).reshape(2, *shape)  # float: some moves need it
    constants = run(torch.zeros_like(numbers))
    if constants.ndim == 0 or len(constants) != 2 or not bool(torch.isfinite(constants).all()):
        return None
    first, second = (run(numbers) - constants).long()  # exact: an entry is a number or the constant
    if not torch.equal(second, torch.where(first > 0, first + size, 0)) or not torch.equal(*constants):
        return None
    own = numbers[0].long()
    out_shape = tuple(first.shape)
    shift = (Shift(out_shape, constants[0].double()),) if bool(constants.any()) else ()
    if torch.equal(first.flatten(), own.flatten()):
        return (*(() if out_shape == shape else (Reshape(shape, out_shape),)), *shift)
    if out_shape == shape and bool(((first == own) | (first == 0)).all()):
        return (Scale(shape, (first > 0).double()), *shift)
    return (Rearrange(shape, first), *shift)
