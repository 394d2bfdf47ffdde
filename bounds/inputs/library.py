"""Finding a known data set on disk, or fetching it, and checking that it is what it claims to be."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from bounds.errors import InputError
from bounds.inputs.data import Data
from bounds.inputs.download import Progress, download
from bounds.inputs.files import read_bytes, read_members
from bounds.inputs.known import KNOWN, KnownData, KnownFile, Layout

_ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")


@dataclass(frozen=True)
class _Found:
    """Where the files of a split are: one path each, or a single archive that holds them all."""

    layout: Layout
    paths: tuple[Path, ...]
    archive: Path | None = None

    def contents(self, files: tuple[KnownFile, ...]) -> list[tuple[Path, bytes]]:
        if self.archive is None:
            return [(path, read_bytes(path)) for path in self.paths]
        members = read_members(self.archive, [file.name for file in files])
        return [(self.archive / file.name, content) for file, content in zip(files, members, strict=True)]


def load_known(known: KnownData, split: str, data_dir: Path | None = None, progress: Progress | None = None) -> Data:
    """One split of a known data set: from the first folder that has all its files, else downloaded.

    The folders are `data_dir`, then the one that JACOBOUND_DATA names, then the cache folder; in each, the
    subfolders of the data set's name and the folder itself.

    Raises:
        InputError: when it is nowhere and cannot be downloaded, or its files are not the published ones.
    """
    found = _find(known, split, _folders(known, data_dir))
    if found is None:
        cache = cache_folder() / known.name
        try:
            _fetch(known, split, cache, progress)
        except InputError as error:
            raise InputError(f"{known.name}: not found; {error}{_lookalike(known, split, data_dir)}") from error
        found = _find(known, split, [cache])
        assert found is not None, "a download that succeeded is complete"
    return _read(known, split, found)


def cache_folder() -> Path:
    """Where downloads are kept: XDG_CACHE_HOME/jacobound, by default ~/.cache/jacobound."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jacobound"


def _folders(known: KnownData, data_dir: Path | None) -> list[Path]:
    variable = os.environ.get("JACOBOUND_DATA")
    named = [("the data folder", data_dir), ("JACOBOUND_DATA", Path(variable) if variable else None)]
    for source, folder in named:
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder}: no such folder (given as {source})")
    roots = [folder for _, folder in named if folder is not None] + [cache_folder()]
    return [folder for root in roots for folder in (*(root / name for name in known.folders), root)]


def _find(known: KnownData, split: str, folders: Iterable[Path]) -> _Found | None:
    for folder in folders:
        for layout in known.layouts:
            paths = [_existing(folder, file.name, ("", ".gz")) for file in layout.files(split)]
            complete = tuple(path for path in paths if path is not None)
            if len(complete) == len(paths):
                return _Found(layout, complete)
            archive = _existing(folder, layout.archive, _ARCHIVE_ENDINGS) if layout.archive else None
            if archive is not None:
                return _Found(layout, (), archive)
    return None


def _existing(folder: Path, stem: str, endings: tuple[str, ...]) -> Path | None:
    paths = (folder / f"{stem}{ending}" for ending in endings)
    return next((path for path in paths if os.path.isfile(path)), None)


def _read(known: KnownData, split: str, found: _Found) -> Data:
    files = found.layout.files(split)
    contents = found.contents(files)
    for file, (path, content) in zip(files, contents, strict=True):
        _verify(known, file, str(path), content)
    x, y = found.layout.read([(str(path), content) for path, content in contents])
    if len(x) != found.layout.count(split):
        where = contents[0][0].parent
        raise InputError(f"{where}: {len(x)} samples, but {known.name} ({split}) has {found.layout.count(split)}")
    return Data(known.name, torch.tensor(x), torch.tensor(y), known.classes, (0.0, 1.0), known.label)


def _verify(known: KnownData, file: KnownFile, where: str, content: bytes) -> None:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest == file.md5:
        return
    owner = next((other.name for other in KNOWN.values() if other is not known and digest in _checksums(other)), None)
    if owner is not None:
        raise InputError(f"{where}: this file is from {owner}, not {known.name}; ask for '{owner}' by that name")
    if file.md5 is not None:
        raise InputError(
            f"{where}: damaged or altered: its content has md5 {digest}, that of {known.name} has {file.md5} "
            "(a variant of your own can be given as an .npz file)"
        )


def _checksums(known: KnownData) -> set[str | None]:
    return {file.md5 for layout in known.layouts for file in (*layout.train, *layout.test)}


def _fetch(known: KnownData, split: str, cache: Path, progress: Progress | None) -> None:
    """Download what is missing of the first layout, each file checked before it gets its name."""
    mirror = os.environ.get("JACOBOUND_MIRROR")
    base = f"{mirror.rstrip('/')}/{known.name}/" if mirror else known.url
    if not base:
        raise InputError("it is not for download: name its folder as data folder or in JACOBOUND_DATA")
    layout = known.layouts[0]
    if layout.archive:
        _fetch_archive(known, layout, base, cache, progress)
        return
    for file in layout.files(split):
        if not (cache / f"{file.name}.gz").exists():
            _fetch_file(known, file, base, cache, progress)


def _fetch_file(known: KnownData, file: KnownFile, base: str, cache: Path, progress: Progress | None) -> None:
    url = f"{base}{file.name}.gz"
    download(url, cache / f"{file.name}.gz", lambda path: _verify(known, file, url, read_bytes(path)), progress)


def _fetch_archive(known: KnownData, layout: Layout, base: str, cache: Path, progress: Progress | None) -> None:
    name = f"{layout.archive}.tar.gz"
    files = layout.train + layout.test

    def check(path: Path) -> None:
        for file, content in zip(files, read_members(path, [file.name for file in files]), strict=True):
            _verify(known, file, f"{base}{name}: {file.name}", content)

    download(base + name, cache / name, check, progress)


def _lookalike(known: KnownData, split: str, data_dir: Path | None) -> str:
    other = KNOWN.get(known.lookalike)
    if other is None or _find(other, split, _folders(other, data_dir)) is None:
        return ""
    return f" (the similar '{other.name}' is there: ask for it by that name)"
