"""The IDX format of MNIST and its kin: two zero bytes, type, number of axes, their lengths, the values."""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

from bounds.errors import InputError

_UNSIGNED_BYTE = 0x08


def parse_idx(content: bytes, name: str) -> NDArray[np.uint8]:
    """The array in an (uncompressed) IDX file of unsigned bytes.

    Raises:
        InputError: when `content` is not such a file, or longer or shorter than its header says.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]), "labels").tolist()
    [7, 8, 9]
    """
    if len(content) < 4 or content[:2] != b"\0\0":
        raise InputError(f"{name}: not an IDX file")
    kind, axes = content[2], content[3]
    if kind != _UNSIGNED_BYTE:
        raise InputError(f"{name}: an IDX file of type 0x{kind:02x}; unsigned bytes (0x08) are needed")
    start = 4 + 4 * axes
    if len(content) < start:
        raise InputError(f"{name}: truncated IDX header")
    shape = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise InputError(f"{name}: {len(content) - start} values, but its header says {shape}; truncated or corrupt")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_idx_pair(files: list[tuple[str, bytes]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images of shape (n, 1, height, width) and labels, from an image file and a label file in that order."""
    (images_name, images), (labels_name, labels) = files
    x, y = parse_idx(images, images_name), parse_idx(labels, labels_name)
    if x.ndim != 3 or y.ndim != 1:
        raise InputError(f"{images_name}: {x.ndim} axes and {y.ndim} in {labels_name}; 3 and 1 are needed")
    return x[:, None], y.astype(np.int64)
