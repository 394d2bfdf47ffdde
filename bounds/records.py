"""The one result format: versioned JSON without nan or inf, written whole or not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from bounds.errors import InputError
from bounds.inputs.files import atomic_write

VERSIONS = dict.fromkeys(
    (
        "jacobound-evaluation",
        "jacobound-verification",
        "jacobound-alignment",
        "jacobound-inequalities",
        "jacobound-reproduction",
    ),
    1,
)


def dumps(record: dict[str, Any]) -> str:
    r"""A record as JSON; on one line if it holds thousands of numbers, for every sample or every seed.

    Raises:
        ValueError: for nan or inf, which JSON has no word for.

    >>> dumps({"raw_log10": 400.5})
    '{\n  "raw_log10": 400.5\n}\n'
    """
    indent = None if record.get("format") in {"jacobound-verification", "jacobound-reproduction"} else 2
    return json.dumps(record, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def write(record: dict[str, Any], path: Path) -> None:
    """Write a record atomically: an interrupted run leaves the old file or none."""
    write_text(dumps(record), path)


def write_text(text: str, path: Path) -> None:
    """Write a text file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        InputError: if the file is missing, not JSON, not a record, or of a newer version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON record ({error})") from None
    kind = record.get("format") if isinstance(record, dict) else None
    if kind not in VERSIONS:
        raise InputError(f"{path}: not a jacobound record")
    if record.get("version", 0) > VERSIONS[kind]:
        raise InputError(f"{path}: written by a newer jacobound (version {record['version']} of {kind})")
    return dict(record)


def finite(value: float) -> float | None:
    """A number for a record; None where it is not finite.

    >>> finite(1.5), finite(float("inf"))
    (1.5, None)
    """
    return float(value) if math.isfinite(value) else None
