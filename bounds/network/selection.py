"""A segment whose rows have one entry at most: scalings, moves and copies, such as a batch-norm on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.network.operators import Operation, Pad, Rearrange, Reshape, Scale, Shift


@dataclass(frozen=True, eq=False)
class Selection:
    """Row r is `entries[r]` in column `columns[r]` - 1; W^T W is diagonal.

    Attributes:
        entries: (d_out,), float64; 0 in a row of zeros.
        columns: (d_out,), int64; 0 in a row of zeros, as in `Rearrange.index`.
    """

    entries: Tensor
    columns: Tensor

    @property
    def norm(self) -> float:
        """The operator norm, exact to rounding: the largest root of the sum of squares in one column.

        >>> Selection(torch.tensor([3.0, -4.0, 4.0]), torch.tensor([1, 2, 1])).norm
        5.0
        """
        unit = float(self.entries.abs().max())  # squares must not under- or overflow
        if unit == 0:
            return 0.0
        squares = torch.zeros(int(self.columns.max()) + 1, dtype=torch.float64)
        squares.index_add_(0, self.columns, (self.entries.double() / unit).square())
        return unit * math.sqrt(float(squares.max()))


def find_selection(operations: Sequence[Operation]) -> Selection | None:
    """The one entry of each row, or None when the operations may sum entries."""
    if not all(isinstance(operation, Scale | Shift | Reshape | Rearrange | Pad) for operation in operations):
        return None
    entries = torch.ones(1, *operations[0].in_shape, dtype=torch.float64)
    columns = torch.arange(1, entries.numel() + 1, dtype=torch.float64).reshape(entries.shape)
    for operation in operations:
        entries, columns = operation.linear(entries), operation.reweighted(torch.ones_like).linear(columns)
    return Selection(entries.flatten(), columns.flatten().long())
