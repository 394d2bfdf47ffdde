"""What torch data sets and loaders serve: pairs of inputs and labels, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedRandomSampler,
)

from bounds.errors import InputError
from bounds.inputs.tensors import tensor_of

_INPUT_KEYS = ("x", "image", "images", "img", "input", "inputs", "pixel_values")
_LABEL_KEYS = ("y", "label", "labels", "target", "targets")


def read_pairs(source: DataLoader[Any] | Dataset[Any], name: str) -> tuple[Tensor, Tensor]:
    """All inputs and all labels that a data set or a loader serves, read once.

    Raises:
        InputError: when it may never end, serves something else, or other samples in each run.
    """
    kind = type(source).__name__
    try:
        length = len(source)  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(f"{name}: the {kind} has no length, so it may never end") from error
    if length == 0:
        raise InputError(f"{name}: no samples")
    if isinstance(source, DataLoader):
        pairs = [_pair(batch, f"{name}: batch {i}") for i, batch in enumerate(source)]
        join = torch.cat if pairs[0][1].dim() else torch.stack  # a loader without batches serves single samples
    else:
        pairs, join = [_pair(source[i], f"{name}: item {i}") for i in range(length)], torch.stack
    try:
        x, y = join([x for x, _ in pairs]), join([y for _, y in pairs])
    except RuntimeError as error:
        raise InputError(f"{name}: the samples differ in shape") from error
    if isinstance(source, DataLoader):
        _refuse_chance(source, len(y), name)
    return x, y


def _pair(item: Any, where: str) -> tuple[Tensor, Tensor]:
    if isinstance(item, Mapping):
        x, y = (_entry(item, keys, where) for keys in (_INPUT_KEYS, _LABEL_KEYS))
    elif isinstance(item, tuple | list) and len(item) in (2, 3):
        x, y, *_ = item
    else:
        raise InputError(f"{where} is a {type(item).__name__}; a pair (x, y) is needed")
    return tensor_of(x, f"{where}: input"), tensor_of(y, f"{where}: label")


def _entry(item: Mapping[Any, Any], keys: tuple[str, ...], where: str) -> Any:
    found = [key for key in keys if key in item]
    if len(found) != 1:
        listed = ", ".join(map(str, item)) or "nothing"
        raise InputError(f"{where} is a dictionary of {listed}; exactly one of {', '.join(keys)} is needed")
    return item[found[0]]


def _sampler(loader: DataLoader[Any]) -> Sampler[Any] | None:
    """What orders a loader's samples; None where batches, or a stream, are made in a way of their own."""
    batches = loader.batch_sampler
    if isinstance(loader.dataset, IterableDataset) or not (batches is None or type(batches) is BatchSampler):
        return None
    return loader.sampler if batches is None else batches.sampler  # type: ignore[return-value]


def in_order(loader: DataLoader[Any]) -> bool:
    """Whether a loader surely serves its data set in the set's own order."""
    return isinstance(_sampler(loader), SequentialSampler)


def _refuse_chance(loader: DataLoader[Any], served: int, name: str) -> None:
    """Samples that a loader draws by chance would be others in each run."""
    sampler, size = _sampler(loader), len(loader.dataset)  # type: ignore[arg-type]
    drawn = isinstance(sampler, RandomSampler | WeightedRandomSampler) and (
        sampler.replacement or sampler.num_samples != size
    )
    whole = size if sampler is None else len(sampler)  # type: ignore[arg-type]
    dropped = getattr(loader.batch_sampler, "drop_last", False) and not in_order(loader) and served < whole
    if drawn or dropped:
        how = f"a {type(sampler).__name__} draws" if drawn else "shuffling with drop_last leaves out"
        raise InputError(f"{name}: {how} other samples in each run; give the data set itself, or a loader of all of it")
