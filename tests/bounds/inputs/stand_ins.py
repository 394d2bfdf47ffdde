"""Small stand-ins for public data sets, written byte by byte, and the state of a small web server."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bounds.inputs.known import KnownData, KnownFile

RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.integers(0, 256, (3, 28, 28), dtype=np.uint8)
LABELS = np.array([4, 0, 9], np.uint8)
TINY_MNIST = {
    "train-images-idx3-ubyte": bytes([0, 0, 8, 3]) + struct.pack(">III", *IMAGES.shape) + IMAGES.tobytes(),
    "train-labels-idx1-ubyte": bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + LABELS.tobytes(),
    "t10k-images-idx3-ubyte": bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 28, 28) + IMAGES[:2].tobytes(),
    "t10k-labels-idx1-ubyte": bytes([0, 0, 8, 1]) + struct.pack(">I", 2) + LABELS[:2].tobytes(),
}
ROWS = RANDOM.integers(0, 256, (2, 3072), dtype=np.uint8)
TINY_CIFAR = {
    name: pickle.dumps({b"data": ROWS + i, b"labels": [i, i + 1]}, 2)
    for i, name in enumerate(["test_batch", *(f"data_batch_{k}" for k in range(1, 6))])
}
TINY_CIFAR_BINARY = {
    f"{name}.bin": b"".join(bytes([label]) + row.tobytes() for label, row in zip((i, i + 1), ROWS + i, strict=True))
    for i, name in enumerate(TINY_CIFAR)
}


def shrink(known: KnownData, contents: dict[str, bytes], samples: tuple[int, int]) -> KnownData:
    """The same data set, as if these small files were the published ones."""

    def check(file: KnownFile) -> KnownFile:
        md5 = hashlib.md5(contents[file.name]).hexdigest() if file.md5 and file.name in contents else file.md5
        return KnownFile(file.name, md5)

    layouts = tuple(
        dataclasses.replace(
            layout,
            train=tuple(map(check, layout.train)),
            test=tuple(map(check, layout.test)),
            samples=samples,
        )
        for layout in known.layouts
    )
    return dataclasses.replace(known, layouts=layouts)


def lay(folder: Path, contents: dict[str, bytes], compress: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / (f"{name}.gz" if compress else name)).write_bytes(gzip.compress(content) if compress else content)
    return folder


def tar(contents: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in contents.items():
            member = tarfile.TarInfo(f"some-folder/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Server:
    """A web server on this machine: `pages` maps paths to contents; `missing_bytes` are cut off answers."""

    url: str
    pages: dict[str, bytes] = field(default_factory=dict)
    missing_bytes: int = 0
    requests: list[str] = field(default_factory=list)
