"""Checked downloads: a file appears under its name only once it is complete and its content is verified."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bounds.errors import InputError
from bounds.inputs.files import atomic_write

Progress = Callable[[int, int], None]

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30


def download(url: str, target: Path, check: Callable[[Path], None], progress: Progress | None = None) -> None:
    """Fetch `url` into `target`, making its folder.

    Args:
        url: http(s) address.
        target: where the file goes.
        check: called with the complete temporary file; raises InputError to refuse it.
        progress: called with (bytes so far, bytes in all), the latter 0 if the server does not say.

    Raises:
        InputError: when the address cannot be reached or answers with an error, the answer is cut short,
            `check` refuses it, or the folder cannot be written. Nothing is left behind, nor on an interrupt.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            with temporary.open("wb") as sink:
                _fetch(url, sink, progress)
            check(temporary)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error


def _fetch(url: str, sink: IO[bytes], progress: Progress | None) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(_CHUNK):
                sink.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"{url}: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise InputError(f"{url}: cannot be reached: {error.reason}") from error
    except (ConnectionError, TimeoutError, http.client.HTTPException, ValueError) as error:
        raise InputError(f"{url}: the download failed: {error}") from error
    if done < total:
        raise InputError(f"{url}: the download was cut short: {done} of {total} bytes")
