"""Tensors of inputs and labels from whatever holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bounds.errors import InputError


def tensor_of(values: Any, where: str) -> Tensor:
    """A tensor of what a tensor, array or nested list holds.

    Raises:
        InputError: for anything else; `where` names it.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values)
        return torch.tensor(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: a {type(values).__name__} that cannot be made a tensor") from error


def class_indices(y: Tensor) -> tuple[Tensor, int]:
    """Labels as class indices, from whole numbers, a column or one-hot rows, and how many classes they show.

    What is none of these stays as it is, for `Data` to refuse.

    >>> class_indices(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    (tensor([1, 0]), 3)
    """
    if y.is_complex() or y.numel() == 0 or bool((y.double().frac() != 0).any()):
        return y, 0
    y = y.long()
    if y.dim() == 2 and y.shape[1] == 1:
        y = y[:, 0]
    elif y.dim() == 2 and bool(((y == 0) | (y == 1)).all() & (y.sum(1) == 1).all()):
        return y.argmax(1), y.shape[1]
    return y, int(y.max()) + 1
