"""Operations that only move, copy or drop entries, recognised by running them on numbered entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bounds.network.operators import Operation, Rearrange, Reshape, Shape

MOVES = frozenset(
    "_unsafe_view channel_shuffle chunk expand flatten flip im2col index index_select movedim narrow permute "
    "pixel_shuffle pixel_unshuffle repeat reshape roll rot90 select slice split split_with_sizes squeeze "
    "swapaxes t tensor_split tile transpose unbind unflatten unfold unsqueeze upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d view".split()
)


def moved(shape: Shape, run: Callable[[Tensor], Any]) -> tuple[Operation, ...] | None:
    """The move `run` as primitive operations.

    Args:
        shape: of one input.
        run: the move of a batch of two inputs, (2, *shape) -> (2, *out_shape).

    Returns:
        Nothing for the identity, a Reshape or a Rearrange; None when the two inputs get mixed.

    >>> moved((2, 3), lambda z: z.transpose(1, 2))[0].index
    tensor([[1, 4],
            [2, 5],
            [3, 6]])
    """
    size = torch.Size(shape).numel()
    numbers = torch.arange(1, 2 * size + 1, dtype=torch.float64).reshape(2, *shape)  # float: some moves need it
    result = run(numbers).long()
    if result.ndim == 0 or len(result) != 2:
        return None
    first, second = result
    if not torch.equal(second, torch.where(first > 0, first + size, 0)):
        return None
    if torch.equal(first.flatten(), numbers[0].flatten().long()):
        return () if first.shape == shape else (Reshape(shape, tuple(first.shape)),)
    return (Rearrange(shape, first),)
