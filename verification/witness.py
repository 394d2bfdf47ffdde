"""Counterexamples in records: perturbations packed small, and only if what is stored still refutes."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bounds.errors import InputError
from verification.attack_set import AttackSet

TYPES = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}


def pack(values: Tensor, dtype: str = "float64") -> dict[str, Any]:
    """A tensor as plain json: its values rounded towards zero to a type, little-endian, compressed, in base64.

    Args:
        values: any shape.
        dtype: "float16", "float32" or "float64".

    >>> packed = pack(torch.tensor([0.5, -1 / 3]), "float16")
    >>> packed["dtype"], packed["shape"], unpack(packed)
    ('float16', [2], tensor([ 0.5000, -0.3333], dtype=torch.float64))
    """
    stored = _towards_zero(values.double().numpy(), dtype)
    text = base64.b64encode(zlib.compress(stored.tobytes(), 9)).decode("ascii")
    return {"dtype": dtype, "shape": list(values.shape), "data": text}


def unpack(packed: Mapping[str, Any]) -> Tensor:
    """The values of `pack`, float64.

    Raises:
        InputError: for damaged content.
    """
    try:
        raw = zlib.decompress(base64.b64decode(packed["data"], validate=True))
        values = np.frombuffer(raw, TYPES[packed["dtype"]]).reshape(packed["shape"])
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise InputError(f"a packed array is damaged ({error})") from error
    return torch.from_numpy(values.astype(np.float64))


def compact(
    attack_set: AttackSet, x: Tensor, delta: Tensor, refutes: Callable[[Tensor, Tensor], Tensor]
) -> list[dict[str, Any]]:
    """Perturbations in the smallest type in which they stay inside the set and refute what they refuted.

    Rounding towards zero never leaves a ball, nor a box that contains x; both are checked all the same.

    Args:
        attack_set: the set.
        x: inputs, (n, *shape).
        delta: perturbations, (n, *shape).
        refutes: from positions and perturbations of these samples, whether each refutes what it should.

    Returns:
        Packed perturbations, one per sample; in float64 where nothing smaller will do.
    """
    packed = [pack(one) for one in delta]
    waiting = torch.arange(len(delta))
    for dtype in ("float16", "float32"):
        if len(waiting) == 0:
            break
        stored = torch.from_numpy(_towards_zero(delta[waiting].numpy(), dtype).astype(np.float64))
        kept = attack_set.contains(stored, x[waiting]) & refutes(waiting, stored)
        for position, one in zip(waiting[kept].tolist(), stored[kept], strict=True):
            packed[position] = pack(one, dtype)
        waiting = waiting[~kept]
    return packed


def _towards_zero(values: NDArray[np.float64], dtype: str) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        stored = values.astype(TYPES[dtype])
    too_large = np.abs(stored.astype(np.float64)) > np.abs(values)
    nearer = np.nextafter(stored, np.zeros_like(stored)).astype(TYPES[dtype])
    return np.where(too_large & np.isfinite(values), nearer, stored).astype(TYPES[dtype])
