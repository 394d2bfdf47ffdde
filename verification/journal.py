"""A journal keeps what a long job has decided: JSON lines, so that an interrupted job continues where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from bounds.errors import InputError

Key = tuple[int, str, float]
"""Of a unit of work: first sample, norm, radius."""


class Journal:
    """Finished units of work, in memory and, with a path, line by line on disk.

    The first line holds the fingerprint of the job. A last line without its end (the job was killed while writing)
    is dropped.

    Args:
        path: the file; read first if it exists. None: nothing is kept on disk.
        fingerprint: of everything that the units depend on.

    Raises:
        InputError: when the file belongs to another job, is damaged, or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "record.json.partial"
    ...     with Journal(path, "job") as journal:
    ...         journal.add((0, "l2", 0.1), {"loss": [0.5]})
    ...     Journal(path, "job").units
    {(0, 'l2', 0.1): {'loss': [0.5]}}
    """

    def __init__(self, path: Path | None, fingerprint: str) -> None:
        self.units: dict[Key, dict[str, Any]] = {}
        self._path, self._fingerprint = path, fingerprint
        self._file: BinaryIO | None = None
        self._complete = 0  # bytes of whole lines
        if path is not None and path.exists():
            self._read(path)

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab")
                self._file.truncate(self._complete)
            except OSError as error:
                raise InputError(f"{self._path}: cannot be written: {error.strerror}") from error
            if self._complete == 0:
                self._append({"fingerprint": self._fingerprint})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, key: Key, unit: dict[str, Any]) -> None:
        """Keep a finished unit: plain json values."""
        self._append({"key": key, "unit": unit})
        self.units[key] = unit

    def _append(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            self._file.flush()

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        self._complete = content.rfind(b"\n") + 1
        lines = content[: self._complete].splitlines()
        if not lines:
            return
        try:
            header, *units = map(json.loads, lines)
            found = header["fingerprint"]
            self.units = {(start, norm, eps): line["unit"] for line in units for start, norm, eps in [line["key"]]}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged; delete it to start anew") from error
        if found != self._fingerprint:
            raise InputError(
                f"{path}: left by a run with other settings, data or network; delete it or choose another --out"
            )
