"""`as_data`: tensors, arrays, torch data sets and loaders → `Data`."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bounds.errors import InputError
from bounds.inputs.data import Data, sample_digests
from bounds.inputs.loaders import in_order, read_pairs
from bounds.inputs.tensors import class_indices, tensor_of


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
            DataLoader of pairs of batches, read once; that reading freezes any augmentation. Triples (x, y, index)
            and dictionaries such as {"image": x, "label": y} do for pairs. Labels are class indices, a column of
            them, or one-hot rows. Samples come in the order of the source, but those of a loader that shuffles
            in one that depends on the samples alone.
        classes: number of classes; largest label + 1 if None.
        box: the interval that legal pixels lie in, in input units. uint8 pixels stand for x/255, so their
            box is [0, 1] if None. Inputs of another integer type are tokens, which have none.
        name: name for messages and records.

    Raises:
        InputError: when `source` is none of these or not valid `Data`.

    >>> as_data((torch.zeros(3, 2), [0, 1, 1])).classes
    2
    """
    if isinstance(source, Data):
        given = {"classes": classes, "box": box}
        changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        return dataclasses.replace(source, **changed)
    x, y = _pair(source, name)
    # Half precision is exact in float32, and any integer label in int64. Data judges everything else.
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    x = x.long() if x.dtype == torch.int32 else x
    y, shown = class_indices(y)
    if box is None and x.dtype == torch.uint8:
        box = (0.0, 1.0)
    data = Data(name, x, y, shown if classes is None else classes, box)
    return _in_canonical_order(data) if isinstance(source, DataLoader) and not in_order(source) else data


def _pair(source: object, name: str) -> tuple[Tensor, Tensor]:
    if isinstance(source, DataLoader | Dataset):
        return read_pairs(source, name)
    if isinstance(source, tuple | list) and len(source) == 2:
        return tensor_of(source[0], f"{name}: inputs"), tensor_of(source[1], f"{name}: labels")
    raise InputError(
        f"{name}: a {type(source).__name__} is not labelled data; (x, y), a Dataset or a DataLoader is needed"
    )


def _in_canonical_order(data: Data) -> Data:
    """The samples by the hashes of their inputs, then by label: the same order whatever the source's was."""
    digests, labels = sample_digests(data.x), data.y.tolist()
    order = sorted(range(len(data)), key=lambda i: (digests[i], labels[i]))
    return dataclasses.replace(data, x=data.x[order], y=data.y[order])
