"""`as_data`: tensors, arrays, torch data sets and loaders → `Data`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bounds.errors import InputError
from bounds.inputs.data import Data


def as_data(
    source: object,
    *,
    classes: int | None = None,
    box: tuple[float, float] | None = None,
    name: str = "data",
) -> Data:
    """Make `Data` out of whatever holds labelled inputs.

    Args:
        source: `Data`; a pair (x, y) of tensors or arrays; a map-style torch Dataset of pairs; or a finite
            DataLoader of pairs of batches, read once, in its order; that reading freezes any augmentation.
        classes: number of classes; largest label + 1 if None.
        box: the interval that legal pixels lie in, in input units. uint8 pixels stand for x/255, so their
            box is [0, 1] if None.
        name: name for messages and records.

    Raises:
        InputError: when `source` is none of these or not valid `Data`.

    >>> as_data((np.zeros((3, 2)), [0, 1, 1])).classes
    2
    """
    if isinstance(source, Data):
        given = {"classes": classes, "box": box}
        changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        return dataclasses.replace(source, **changed)
    x, y = _pair(source, name)
    # Half precision is exact in float32, and any integer label in int64. Data judges everything else.
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    y = y if y.is_floating_point() or y.is_complex() else y.long()
    if classes is None:
        classes = int(y.max()) + 1 if y.numel() and not y.is_complex() else 0
    if box is None and x.dtype == torch.uint8:
        box = (0.0, 1.0)
    return Data(name, x, y, classes, box)


def _pair(source: object, name: str) -> tuple[Tensor, Tensor]:
    if isinstance(source, DataLoader | Dataset):
        return _read(source, name)
    if isinstance(source, tuple | list) and len(source) == 2:
        return _tensor(source[0], f"{name}: inputs"), _tensor(source[1], f"{name}: labels")
    raise InputError(
        f"{name}: a {type(source).__name__} is not labelled data; (x, y), a Dataset or a DataLoader is needed"
    )


def _read(source: DataLoader[Any] | Dataset[Any], name: str) -> tuple[Tensor, Tensor]:
    kind = type(source).__name__
    try:
        length = len(source)  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(f"{name}: the {kind} has no length, so it may never end") from error
    if length == 0:
        raise InputError(f"{name}: no samples")
    if isinstance(source, DataLoader):
        pairs, join = [_item(batch, f"{name}: batch {i}") for i, batch in enumerate(source)], torch.cat
    else:
        pairs, join = [_item(source[i], f"{name}: item {i}") for i in range(length)], torch.stack
    try:
        return join([x for x, _ in pairs]), join([y for _, y in pairs])
    except RuntimeError as error:
        raise InputError(f"{name}: the samples differ in shape") from error


def _item(item: Any, where: str) -> tuple[Tensor, Tensor]:
    if not (isinstance(item, tuple | list) and len(item) == 2):
        raise InputError(f"{where} is a {type(item).__name__}; a pair (x, y) is needed")
    return _tensor(item[0], f"{where}: input"), _tensor(item[1], f"{where}: label")


def _tensor(values: Any, where: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values)
        return torch.tensor(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: a {type(values).__name__} that cannot be made a tensor") from error
