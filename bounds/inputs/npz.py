"""Data sets in .npz archives: x and y, or x_train, y_train, x_test and y_test."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bounds.errors import InputError
from bounds.inputs.conversion import as_data
from bounds.inputs.data import Data
from bounds.inputs.files import ZIP_DAMAGE, check_file


def load_npz(path: Path, split: str) -> Data:
    """The given split of an .npz file. An archive of only x and y is a training set.

    Float pixels are taken as they are; uint8 pixels stand for x/255 in [0, 1]. The number of classes is the
    largest label over both splits, plus one.

    Raises:
        InputError: for a damaged file, pickled contents, or missing arrays.
    """
    arrays = _read(path)
    x_key, y_key = _keys(arrays, split, path)
    labels = [arrays[key] for key in {y_key, "y_train", "y_test"} & set(arrays)]
    classes = max((int(y.max()) + 1 for y in labels if y.size and y.dtype.kind in "iu"), default=None)
    return as_data((arrays[x_key], arrays[y_key]), classes=classes, name=path.name)


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    check_file(path)
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: truncated or not an .npz file")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            wanted = {"x", "y", "x_train", "y_train", "x_test", "y_test"}
            return {key: archive[key] if key in wanted else np.empty(0) for key in archive.files}
    except ZIP_DAMAGE as error:
        pickled = "Object arrays" in str(error)
        raise InputError(f"{path}: {'holds pickled Python objects' if pickled else 'corrupt'}") from error


def _keys(arrays: dict[str, NDArray[np.generic]], split: str, path: Path) -> tuple[str, str]:
    if {f"x_{split}", f"y_{split}"} <= set(arrays):
        return f"x_{split}", f"y_{split}"
    if not {"x", "y"} <= set(arrays):
        listed = ", ".join(arrays) or "nothing"
        raise InputError(f"{path}: holds {listed}; x_{split} and y_{split} (or x and y) are needed")
    if split == "test":
        raise InputError(f"{path}: holds one set (x, y), a training set; x_test and y_test are missing")
    return "x", "y"
