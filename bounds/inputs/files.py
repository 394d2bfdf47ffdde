"""Reading and writing whole files: compressed or not, and never leaving half a file behind."""

from __future__ import annotations

import gzip
import os
import struct
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bounds.errors import InputError

# What the standard library raises on damaged archives (found by damaging some, byte by byte).
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, ValueError)
ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, RuntimeError)


def check_file(path: Path) -> None:
    """Refuse, in one line each, a path that is missing, a folder, empty or unreadable.

    >>> check_file(Path("nowhere.pt"))
    Traceback (most recent call last):
        ...
    bounds.errors.InputError: nowhere.pt: no such file
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder, not a file")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read it")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty")


def read_bytes(path: Path) -> bytes:
    """Content of a file, decompressed if its name ends in .gz.

    Raises:
        InputError: for an unreadable, empty, truncated or corrupt file.
    """
    check_file(path)
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except _DAMAGE as error:
        raise InputError(f"{path}: truncated or corrupt gzip file ({error})") from error


def read_members(path: Path, names: list[str]) -> list[bytes]:
    """Contents of the named files in a tar archive, compressed or not, whatever folder they lie in.

    Nothing is unpacked to disk.

    Raises:
        InputError: for a damaged archive or a missing member.
    """
    check_file(path)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                stream = archive.extractfile(member) if name in names and member.isfile() else None
                if stream is not None:
                    found[name] = stream.read()
    except _DAMAGE as error:
        raise InputError(f"{path}: truncated or corrupt archive ({error})") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}")
    return [found[name] for name in names]


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """A temporary path to write to; it becomes `target` only if the block succeeds, and vanishes otherwise.

    It keeps the name's ending, which says how to read it.
    """
    temporary = target.with_name(f".part-{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
