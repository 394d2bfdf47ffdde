"""Downloads from a server on this machine: checked, atomic, and clear about what went wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from bounds.errors import InputError
from bounds.inputs import load_data
from bounds.inputs.known import KNOWN

from .stand_ins import IMAGES, TINY_CIFAR, TINY_MNIST, Server, shrink, tar


@pytest.fixture(autouse=True)
def mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server carries tiny stand-ins for MNIST and CIFAR-10."""
    monkeypatch.setenv("JACOBOUND_MIRROR", server.url)
    monkeypatch.setitem(KNOWN, "mnist", shrink(KNOWN["mnist"], TINY_MNIST, (3, 2)))
    monkeypatch.setitem(KNOWN, "cifar10", shrink(KNOWN["cifar10"], TINY_CIFAR, (10, 2)))
    server.pages = {f"/mnist/{name}.gz": gzip.compress(content) for name, content in TINY_MNIST.items()}
    server.pages["/cifar10/cifar-10-python.tar.gz"] = tar(TINY_CIFAR)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_is_needed_is_fetched_once(server: Server, secluded: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = load_data("mnist", progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(data.x[:, 0].numpy(), IMAGES)
    assert files(secluded) == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    sizes = [len(server.pages[f"/mnist/train-{part}-ubyte.gz"]) for part in ("images-idx3", "labels-idx1")]
    assert seen == [(size, size) for size in sizes]
    assert load_data("mnist").digest() == data.digest()
    assert len(server.requests) == 2


def test_an_archive_is_fetched_for_both_splits(server: Server, secluded: Path) -> None:
    assert len(load_data("cifar10")) == 10
    assert len(load_data("cifar10", split="test")) == 2
    assert files(secluded) == ["cifar-10-python.tar.gz"]
    assert len(server.requests) == 1


def test_the_cache_is_completed_after_a_broken_run(server: Server, secluded: Path) -> None:
    labels = server.pages.pop("/mnist/train-labels-idx1-ubyte.gz")
    with pytest.raises(InputError, match="train-labels-idx1-ubyte.gz: the server answered 404"):
        load_data("mnist")
    assert files(secluded) == ["train-images-idx3-ubyte.gz"]
    server.pages["/mnist/train-labels-idx1-ubyte.gz"] = labels
    assert len(load_data("mnist")) == 3
    assert sum("images" in request for request in server.requests) == 1


def test_wrong_content_is_refused(server: Server, secluded: Path) -> None:
    server.pages["/mnist/train-images-idx3-ubyte.gz"] = gzip.compress(b"something else")
    with pytest.raises(InputError, match="^mnist: not found; http.*images-idx3-ubyte.gz: damaged or altered"):
        load_data("mnist")
    server.pages["/mnist/train-images-idx3-ubyte.gz"] = b"<html>not even gzip</html>"
    with pytest.raises(InputError, match="truncated or corrupt gzip file"):
        load_data("mnist")
    changed = {**TINY_CIFAR, "data_batch_3": TINY_CIFAR["data_batch_2"]}
    server.pages["/cifar10/cifar-10-python.tar.gz"] = tar(changed)
    with pytest.raises(InputError, match="cifar-10-python.tar.gz: data_batch_3: damaged or altered"):
        load_data("cifar10")
    assert files(secluded) == []


def test_a_short_answer_is_refused(server: Server, secluded: Path) -> None:
    server.missing_bytes = 5
    with pytest.raises(InputError, match="train-images-idx3-ubyte.gz: the download was cut short: [0-9]+ of [0-9]+"):
        load_data("mnist")
    assert files(secluded) == []


def test_an_interrupt_leaves_nothing(secluded: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        assert any(name.startswith(".part-") for name in files(secluded))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_data("mnist", progress=interrupt)
    assert files(secluded) == []


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, secluded: Path) -> None:
    monkeypatch.setenv("JACOBOUND_MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(InputError, match="http://127.0.0.1:9/mnist/train-images-idx3-ubyte.gz: cannot be reached: "):
        load_data("mnist")
    monkeypatch.setenv("JACOBOUND_MIRROR", "no address")
    with pytest.raises(InputError, match="no address/mnist/train-images-idx3-ubyte.gz: the download failed: "):
        load_data("mnist")
    assert files(secluded) == []


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="file/jacobound/mnist/train-images-idx3-ubyte.gz: cannot be written: "):
        load_data("mnist")
