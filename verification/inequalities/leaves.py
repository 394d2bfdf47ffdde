"""The numbers that an instance is made of: arrays and floats inside mappings, tuples and dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same instance with every float and every array of floats replaced by `change` of it.

    Goes through mappings, tuples, lists and the constructor's fields of dataclasses; the rest stays as it is.

    >>> mapped({"x": (1.0, 2), "name": "l2"}, lambda number: -number)
    {'x': (-1.0, 2), 'name': 'l2'}
    """
    if isinstance(value, float | np.floating) or (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
        return change(value)
    if isinstance(value, Mapping):
        return {name: mapped(entry, change) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        made: Callable[[Any], Any] = getattr(value, "_make", type(value))  # a named tuple takes its fields one by one
        return made(mapped(entry, change) for entry in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: mapped(getattr(value, f.name), change) for f in fields(value) if f.init})
    return value


def count(value: Any) -> int:
    """How many such numbers and arrays there are."""
    found = 0

    def note(leaf: Any) -> Any:
        nonlocal found
        found += 1
        return leaf

    mapped(value, note)
    return found


def changed_at(value: Any, index: int, change: Callable[[Any], Any]) -> Any:
    """The same instance with only the number or array at `index` changed."""
    at = -1

    def only(leaf: Any) -> Any:
        nonlocal at
        at += 1
        return change(leaf) if at == index else leaf

    return mapped(value, only)


def leaf_at(value: Any, index: int) -> Any:
    """The number or array at `index`."""
    found: list[Any] = []

    def note(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    mapped(value, note)
    return found[index]
