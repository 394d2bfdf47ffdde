"""Known data sets: where they are looked for, how they are checked, and the real ones where they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from bounds.errors import InputError
from bounds.inputs import load_data
from bounds.inputs.known import KNOWN

from .stand_ins import IMAGES, ROWS, TINY_CIFAR, TINY_CIFAR_BINARY, TINY_MNIST, lay, shrink, tar


@pytest.fixture(autouse=True)
def tiny(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST of 3 + 2 samples and CIFAR-10 of 10 + 2, except in tests of the real ones."""
    if "data_folder" not in request.fixturenames:
        monkeypatch.setitem(KNOWN, "mnist", shrink(KNOWN["mnist"], TINY_MNIST, (3, 2)))
        monkeypatch.setitem(KNOWN, "cifar10", shrink(KNOWN["cifar10"], TINY_CIFAR, (10, 2)))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("place", [".", "mnist", "MNIST/raw"])
def test_mnist_in_the_data_folder(tmp_path: Path, place: str, compress: bool) -> None:
    lay(tmp_path / place, TINY_MNIST, compress)
    data = load_data("mnist", data_dir=tmp_path)
    np.testing.assert_array_equal(data.x[:, 0].numpy(), IMAGES)
    assert data.y.tolist() == [4, 0, 9]
    assert (data.name, data.label, data.classes, data.box) == ("mnist", "MNIST", 10, (0.0, 1.0))
    assert len(load_data("mnist", split="test", data_dir=str(tmp_path))) == 2


def test_the_folders_in_their_order(tmp_path: Path, secluded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = {name: b"x" for name in TINY_MNIST}
    lay(secluded / "mnist", TINY_MNIST)
    assert len(load_data("mnist")) == 3
    lay(tmp_path / "variable" / "mnist", damaged)
    monkeypatch.setenv("JACOBOUND_DATA", str(tmp_path / "variable"))
    with pytest.raises(InputError, match="variable"):
        load_data("mnist")
    lay(tmp_path / "given" / "mnist", TINY_MNIST)
    assert len(load_data("mnist", data_dir=tmp_path / "given")) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="variable"):
        load_data("mnist", data_dir=tmp_path / "empty")


def test_missing_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"/gone: no such folder \(given as the data folder\)"):
        load_data("mnist", data_dir=tmp_path / "gone")
    monkeypatch.setenv("JACOBOUND_DATA", str(tmp_path / "away"))
    with pytest.raises(InputError, match=r"/away: no such folder \(given as JACOBOUND_DATA\)"):
        load_data("mnist")


@pytest.mark.parametrize("form", ["loose", "gz", "tar.gz", "tar", "binary", "binary gz", "binary tar.gz"])
def test_cifar10_in_every_form(tmp_path: Path, form: str) -> None:
    if form.startswith("binary"):
        contents, stem = TINY_CIFAR_BINARY, "cifar-10-binary"
    else:
        contents, stem = TINY_CIFAR, "cifar-10-python"
    if "tar" in form:
        ending = form.removeprefix("binary ")
        (tmp_path / f"{stem}.{ending}").write_bytes(tar(contents, "w:gz" if ending == "tar.gz" else "w"))
    else:
        lay(tmp_path / "cifar10", contents, compress="gz" in form)
    train, test = (
        load_data("cifar10", data_dir=tmp_path),
        load_data("cifar10", split="test", data_dir=tmp_path),
    )
    np.testing.assert_array_equal(test.x.flatten(1).numpy(), ROWS)
    np.testing.assert_array_equal(train.x.flatten(1).numpy(), np.concatenate([ROWS + i for i in range(1, 6)]))
    assert test.y.tolist() == [0, 1]
    assert train.y.tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert train.input_shape == (3, 32, 32)


def test_damage_and_variants_are_told_by_their_checksum(tmp_path: Path) -> None:
    altered = TINY_MNIST["train-images-idx3-ubyte"][:-1] + b"?"
    lay(tmp_path, TINY_MNIST | {"train-images-idx3-ubyte": altered})
    with pytest.raises(InputError, match="train-images-idx3-ubyte: damaged or altered: its content has md5 ") as caught:
        load_data("mnist", data_dir=tmp_path)
    assert hashlib.md5(altered).hexdigest() in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_files(tmp_path: Path) -> None:
    lay(tmp_path, TINY_MNIST, compress=True)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="train-labels-idx1-ubyte.gz: truncated or corrupt gzip file"):
        load_data("mnist", data_dir=tmp_path)
    path.write_bytes(b"no gzip")
    with pytest.raises(InputError, match="train-labels-idx1-ubyte.gz: truncated or corrupt gzip file"):
        load_data("mnist", data_dir=tmp_path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="train-labels-idx1-ubyte.gz: the file is empty"):
        load_data("mnist", data_dir=tmp_path)
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(tar(TINY_CIFAR)[:-3000])
    with pytest.raises(InputError, match="cifar-10-python.tar.gz: truncated or corrupt archive"):
        load_data("cifar10", data_dir=tmp_path)
    archive.write_bytes(tar({"test_batch": TINY_CIFAR["test_batch"]}))
    with pytest.raises(InputError, match="cifar-10-python.tar.gz: lacks data_batch_1, data_batch_2"):
        load_data("cifar10", data_dir=tmp_path)


def test_the_number_of_samples_is_checked_where_no_checksum_is_published(tmp_path: Path) -> None:
    contents = TINY_CIFAR_BINARY | {"test_batch.bin": TINY_CIFAR_BINARY["test_batch.bin"][:3073]}
    lay(tmp_path / "cifar10", contents)
    with pytest.raises(InputError, match=r"cifar10: 1 samples, but cifar10 \(test\) has 2"):
        load_data("cifar10", split="test", data_dir=tmp_path)


def test_not_found_names_a_lookalike_that_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^cifar10: not found; http://127.0.0.1:9/.*cannot be reached") as caught:
        load_data("cifar10", data_dir=tmp_path)
    assert "cifar10-jpeg" not in str(caught.value)
    lay(tmp_path / "cifar10-jpeg", {"data_batch_1.bin": b"x", "test_batch.bin": b"x"})
    for split in ("train", "test"):
        with pytest.raises(InputError, match=r"\(the similar 'cifar10-jpeg' is there: ask for it by that name\)$"):
            load_data("cifar10", split=split, data_dir=tmp_path)


def test_the_jpeg_subset_is_not_for_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JACOBOUND_MIRROR")
    with pytest.raises(InputError, match="^cifar10-jpeg: not found; it is not for download: name its folder"):
        load_data("cifar10-jpeg")


def test_the_table_is_sound() -> None:
    for name, known in KNOWN.items():
        assert known.name == name
        assert known.folders[0] == name
        assert known.url.startswith("http") and known.url.endswith("/") or name == "cifar10-jpeg"
        for layout in known.layouts:
            assert all(file.md5 is None or len(file.md5) == 32 for file in layout.train + layout.test)


@pytest.mark.parametrize(
    ("name", "train_counts", "test_counts", "shape"),
    [
        (
            "mnist",
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
            (1, 28, 28),
        ),
        ("fashion-mnist", [6000] * 10, [1000] * 10, (1, 28, 28)),
        ("cifar10-jpeg", [1000] * 10, [200] * 10, (3, 32, 32)),
    ],
)
def test_the_real_ones(
    data_folder: Path, name: str, train_counts: list[int], test_counts: list[int], shape: tuple[int, ...]
) -> None:
    for split, counts in (("train", train_counts), ("test", test_counts)):
        data = load_data(name, split=split, data_dir=data_folder)
        assert data.y.bincount(minlength=10).tolist() == counts
        assert data.input_shape == shape
        assert (data.name, data.box) == (name, (0.0, 1.0))
    assert data.label == KNOWN[name].label


def test_the_real_jpeg_subset_never_passes_for_cifar10(data_folder: Path) -> None:
    assert load_data("cifar10-jpeg", split="test", data_dir=data_folder).label == "CIFAR-10 (JPEG, 10k subset)"
    for folder in (data_folder, data_folder / "cifar10-jpeg"):
        for split in ("train", "test"):
            with pytest.raises(InputError, match="ask for (it|'cifar10-jpeg') by that name"):
                load_data("cifar10", split=split, data_dir=folder)


def test_the_real_fashion_mnist_never_passes_for_mnist(data_folder: Path) -> None:
    with pytest.raises(InputError, match="this file is from fashion-mnist, not mnist; ask for 'fashion-mnist'"):
        load_data("mnist", data_dir=data_folder / "fashion-mnist")
