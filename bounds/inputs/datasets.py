"""`load_data`: a data set by its name, from disk if it is there and by a checked download if not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from bounds.errors import InputError, unknown_name
from bounds.inputs.conversion import as_data
from bounds.inputs.data import Data
from bounds.inputs.digits import load_digits
from bounds.inputs.download import Progress
from bounds.inputs.factory import call_factory
from bounds.inputs.known import KNOWN
from bounds.inputs.library import load_known
from bounds.inputs.npz import load_npz

SPLITS = ("train", "test")


def load_data(
    name: str,
    *,
    split: str = "train",
    data_dir: str | Path | None = None,
    keys: tuple[str, str] | None = None,
    box: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Data:
    """Load one split of a data set.

    Args:
        name: "digits" (bundled with scikit-learn), "mnist", "fashion-mnist", "cifar10", "cifar100" or
            "cifar10-jpeg"; the path of an .npz file; or "module:factory", a function without arguments that
            returns (train, test), each anything that `as_data` takes, or one such training set.
        split: "train" or "test".
        data_dir: folder to look into first, itself and its subfolder of that name; then come the folder that
            the environment variable JACOBOUND_DATA names, the cache folder, and a download into it.
        keys: names of inputs and labels in an .npz file, such as ("images_{split}", "labels_{split}").
        box: the interval that legal pixels lie in, in place of one that the data set has.
        progress: called with (bytes so far, bytes in all) during a download.

    Raises:
        InputError: for an unknown name or split, or data that is missing, damaged or not what it claims.

    >>> data = load_data("digits", split="test")
    >>> len(data), data.input_shape, data.classes, data.box
    (359, (1, 8, 8), 10, (0.0, 1.0))
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if keys is not None and not name.endswith(".npz"):
        raise InputError(f"{name}: names of arrays ({', '.join(keys)}) are for .npz files")
    folder = None if data_dir is None else Path(data_dir).expanduser()
    return as_data(_load(name, split, folder, keys, progress), box=box)


def _load(
    name: str, split: str, data_dir: Path | None, keys: tuple[str, str] | None, progress: Progress | None
) -> Data:
    if name.endswith(".npz"):
        return load_npz(Path(name).expanduser(), split, keys)
    if ":" in name:
        return _from_factory(name, split)
    if name == "digits":
        return load_digits(split)
    if name not in KNOWN:
        raise unknown_name("data set", name, ["digits", *KNOWN, "FILE.npz", "MODULE:FACTORY"])
    return load_known(KNOWN[name], split, data_dir, progress)


def _from_factory(spec: str, split: str) -> Data:
    made = call_factory(spec)
    if isinstance(made, tuple | list) and len(made) == 2 and not isinstance(made[0], Tensor | np.ndarray):
        return as_data(made[SPLITS.index(split)], name=spec)
    if split == "test":
        raise InputError(f"{spec}: returned one set, a training set; (train, test) is needed")
    return as_data(made, name=spec)
