"""Data sets in .npz archives: x and y, or x_train, y_train, x_test and y_test, or under names that are given."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bounds.errors import InputError
from bounds.inputs.conversion import as_data
from bounds.inputs.data import Data
from bounds.inputs.files import ZIP_DAMAGE, check_file
from bounds.inputs.tensors import class_indices, tensor_of

SPLIT = "{split}"
_USUAL = ((f"x_{SPLIT}", f"y_{SPLIT}"), ("x", "y"))


def load_npz(path: Path, split: str, keys: tuple[str, str] | None = None) -> Data:
    """The given split of an .npz file. An archive of one set is a training set.

    Float pixels are taken as they are; uint8 pixels stand for x/255 in [0, 1]. The number of classes is the
    largest that the labels of either split show.

    Args:
        path: the file.
        split: "train" or "test".
        keys: names of inputs and labels, in which "{split}" stands for the split; the usual ones if None.

    Raises:
        InputError: for a damaged file, pickled contents, or missing arrays.
    """
    names = list(_read(path, ()))
    x_key, y_key = _keys(names, split, path, keys)
    y_keys = {y_key.replace(SPLIT, each) for each in ("train", "test")}
    arrays = _read(path, {x_key, *y_keys})
    labels = {key: class_indices(tensor_of(arrays[key], f"{path}: {key}")) for key in y_keys & set(names)}
    y, _ = labels[y_key.replace(SPLIT, split)]
    return as_data((arrays[x_key], y), classes=max(count for _, count in labels.values()), name=path.name)


def _read(path: Path, wanted: Collection[str]) -> dict[str, NDArray[np.generic]]:
    """The wanted arrays under their names; the others are there, but empty."""
    check_file(path)
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: truncated or not an .npz file")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] if key in wanted else np.empty(0) for key in archive.files}
    except ZIP_DAMAGE as error:
        pickled = "Object arrays" in str(error)
        raise InputError(f"{path}: {'holds pickled Python objects' if pickled else 'corrupt'}") from error


def _keys(names: Collection[str], split: str, path: Path, keys: tuple[str, str] | None) -> tuple[str, str]:
    """Name of the split's inputs, and that of the labels, in which "{split}" still stands for a split."""
    for x_key, y_key in _USUAL if keys is None else (keys,):
        x, y = x_key.replace(SPLIT, split), y_key.replace(SPLIT, split)
        if x in names and y in names:
            if split == "test" and SPLIT not in x_key:
                more = "x_test and y_test are missing" if keys is None else f"names with {SPLIT} in them are needed"
                raise InputError(f"{path}: holds one set ({x}, {y}), a training set; {more}")
            return x, y_key
    needed = f"x_{split} and y_{split} (or x and y)" if keys is None else f"{x} and {y}"
    listed = ", ".join(names) or "nothing"
    raise InputError(f"{path}: holds {listed}; {needed} are needed; --x-key and --y-key name others")
