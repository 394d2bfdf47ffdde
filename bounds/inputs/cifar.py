"""The two formats of CIFAR: binary, and pickled, which is read without running anything in it."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.errors import InputError

_PIXELS = 3 * 32 * 32
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def _plain_type(code: str | bytes, *_: object) -> np.dtype[Any]:
    """A fresh dtype of plain numbers; numpy's own constructor would interpret all kinds of text."""
    text = code.decode("ascii") if isinstance(code, bytes) else code
    if not re.fullmatch(r"[biuf][1248]", text):
        raise ValueError(f"array of type {text}")
    return np.dtype(text, copy=True)


# All that a pickled array needs. numpy's private constructors come from how numpy itself pickles an array.
_FROM_PICKLE_2 = np.zeros(1).__reduce__()[0]
_FROM_PICKLE_5 = np.zeros(1).__reduce_ex__(5)[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _plain_type,
    ("numpy.core.multiarray", "_reconstruct"): _FROM_PICKLE_2,
    ("numpy._core.multiarray", "_reconstruct"): _FROM_PICKLE_2,
    ("numpy.core.numeric", "_frombuffer"): _FROM_PICKLE_5,
    ("numpy._core.numeric", "_frombuffer"): _FROM_PICKLE_5,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),  # how Python 3 writes bytes for Python 2
}
# What the unpickler and numpy raise on bytes that are no pickle of plain values and arrays.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)


def read_binary(label_bytes: int) -> Callable[[list[tuple[str, bytes]]], tuple[Images, Labels]]:
    """Reader of binary CIFAR files: records of `label_bytes` labels (the last is the class) and 3072 pixels.

    >>> x, y = read_binary(1)([("batch.bin", bytes([3]) + bytes(3072))])
    >>> x.shape, y.tolist()
    ((1, 3, 32, 32), [3])
    """

    def read(files: list[tuple[str, bytes]]) -> tuple[Images, Labels]:
        parts = []
        for name, content in files:
            if not content or len(content) % (label_bytes + _PIXELS):
                raise InputError(
                    f"{name}: {len(content)} bytes, not a multiple of the record size {label_bytes + _PIXELS}"
                )
            parts.append(np.frombuffer(content, np.uint8).reshape(-1, label_bytes + _PIXELS))
        records = np.concatenate(parts)
        return _images(records[:, label_bytes:]), records[:, label_bytes - 1].astype(np.int64)

    return read


def read_pickled(label_key: bytes) -> Callable[[list[tuple[str, bytes]]], tuple[Images, Labels]]:
    """Reader of pickled CIFAR files: dictionaries with b"data" (n, 3072) and the labels under `label_key`."""

    def read(files: list[tuple[str, bytes]]) -> tuple[Images, Labels]:
        images, labels = [], []
        for name, content in files:
            batch = unpickle_arrays(content, name)
            try:
                pixels, classes = batch[b"data"], np.asarray(batch[label_key])
            except (KeyError, TypeError, ValueError) as error:
                keys = f"'data' and '{label_key.decode()}'"
                raise InputError(f"{name}: not a dictionary with {keys}") from error
            good = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[1:] == (_PIXELS,)
            if not good or classes.dtype.kind not in "iu" or classes.shape != pixels.shape[:1]:
                raise InputError(
                    f"{name}: 'data', '{label_key.decode()}' are not n rows of {_PIXELS} bytes and n labels"
                )
            images.append(pixels)
            labels.append(classes.astype(np.int64))
        return _images(np.concatenate(images)), np.concatenate(labels)

    return read


def unpickle_arrays(content: bytes, name: str) -> Any:
    """Unpickle plain values and numpy arrays; anything else is refused by name and not run.

    Python 2 strings come out as bytes.

    Raises:
        InputError: when the pickle wants anything but an array, or is damaged.
    """

    class ArrayUnpickler(pickle.Unpickler):
        def find_class(self, module: str, attribute: str) -> Any:
            if (module, attribute) not in _ALLOWED:
                raise InputError(f"{name}: refused: it wants to load '{module}.{attribute}'; not a CIFAR file")
            return _ALLOWED[module, attribute]

    try:
        return ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{name}: not a pickle, or truncated or corrupt") from error


def _images(rows: NDArray[np.uint8]) -> Images:
    return rows.reshape(-1, 3, 32, 32)
