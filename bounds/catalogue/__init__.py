"""The catalogue of published bounds: one file per entry, found by walking this folder.

>>> from bounds import catalogue
>>> catalogue.keys()[0]
'awasthi2020_linear'
>>> print(catalogue.get("bartlett2017_spectral").title)
Spectrally normalised margin bound
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from bounds.errors import unknown_name

if TYPE_CHECKING:
    from bounds.catalogue.entry import Entry

NOT_ENTRIES = {"entry", "assumptions", "describe"}


@cache
def keys() -> tuple[str, ...]:
    """Keys of all entries, in alphabetical order."""
    return tuple(sorted(info.name for info in pkgutil.iter_modules(__path__) if info.name not in NOT_ENTRIES))


def get(key: str) -> Entry:
    """The entry with this key.

    Raises:
        InputError: for an unknown key; suggests the nearest.
    """
    if key not in keys():
        raise unknown_name("bound", key, keys())
    entry: Entry = importlib.import_module(f"{__name__}.{key}").ENTRY
    return entry


def entries() -> tuple[Entry, ...]:
    """All entries, in alphabetical order of their keys."""
    return tuple(get(key) for key in keys())
