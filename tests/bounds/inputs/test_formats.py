"""IDX, CIFAR and .npz files written here byte by byte, and damaged in every way."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.errors import InputError
from bounds.inputs import load_data
from bounds.inputs.cifar import read_binary, read_pickled, unpickle_arrays
from bounds.inputs.files import read_bytes, read_members
from bounds.inputs.idx import parse_idx, read_idx_pair

from .stand_ins import tar

ROWS = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_idx_round_trip() -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    x, y = read_idx_pair([("images", idx(images)), ("labels", idx(np.array([3, 1], np.uint8)))])
    np.testing.assert_array_equal(x[:, 0], images)
    assert x.shape == (2, 1, 3, 4)
    assert y.dtype == np.int64
    assert y.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x1f\x8b\x08\x00", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "an IDX file of type 0x0d"),
        (b"\0\0\x08\x03\0\0", "truncated IDX header"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], r"5 values, but its header says \(2, 3\)"),
        (idx(np.zeros((2, 3), np.uint8)) + b"\0", r"7 values, but its header says \(2, 3\)"),
    ],
)
def test_damaged_idx(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^file: {message}"):
        parse_idx(content, "file")


def test_idx_files_in_the_wrong_places() -> None:
    labels = ("labels", idx(np.zeros(2, np.uint8)))
    with pytest.raises(InputError, match="labels: 1 axes and 1 in labels; 3 and 1 are needed"):
        read_idx_pair([labels, labels])


def test_cifar_binary() -> None:
    content = b"".join(bytes([label]) + row.tobytes() for label, row in zip((7, 2), ROWS, strict=True))
    x, y = read_binary(1)([("a.bin", content), ("b.bin", content)])
    np.testing.assert_array_equal(x, np.concatenate([ROWS, ROWS]).reshape(4, 3, 32, 32))
    assert y.tolist() == [7, 2, 7, 2]


def test_cifar100_binary_takes_the_fine_label() -> None:
    x, y = read_binary(2)([("train.bin", bytes([9, 77]) + ROWS[0].tobytes())])
    np.testing.assert_array_equal(x.ravel(), ROWS[0])
    assert y.tolist() == [77]


@pytest.mark.parametrize("content", [b"", b"\0" * 3072, b"\0" * 3074])
def test_damaged_cifar_binary(content: bytes) -> None:
    with pytest.raises(InputError, match=f"^a.bin: {len(content)} bytes, not a multiple of the record size 3073"):
        read_binary(1)([("a.bin", content)])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_cifar_pickled_by_python_3(protocol: int) -> None:
    batch = {b"data": ROWS, b"labels": [7, 2], b"filenames": [b"a.png", b"b.png"]}
    x, y = read_pickled(b"labels")([("data_batch_1", pickle.dumps(batch, protocol))])
    np.testing.assert_array_equal(x, ROWS.reshape(2, 3, 32, 32))
    assert y.tolist() == [7, 2]


def test_cifar_pickled_by_python_2() -> None:
    """The canonical files: opcodes of Python 2 strings and numpy's old module name, written out here."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x02M\x00\x0c\x86"
        b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"I00\nT" + struct.pack("<i", ROWS.nbytes) + ROWS.tobytes() + b"tb"
    )
    content = b"\x80\x02}(U\x04data" + array + b"U\x0bfine_labels](K\x4dK\x05eu."
    x, y = read_pickled(b"fine_labels")([("train", content)])
    np.testing.assert_array_equal(x, ROWS.reshape(2, 3, 32, 32))
    assert y.tolist() == [77, 5]


class Malicious:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_named_and_not_run(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({b"data": Malicious(tmp_path / "harm")}, protocol)
    with pytest.raises(InputError, match=rf"^data_batch_1: refused: it wants to load '{os.mkdir.__module__}.mkdir'"):
        unpickle_arrays(content, "data_batch_1")
    assert not (tmp_path / "harm").exists()
    pickle.loads(content)  # the same bytes do harm in an ordinary unpickler
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({b"data": ROWS}, "not a dictionary with 'data' and 'labels'"),
        ([1, 2], "not a dictionary with 'data' and 'labels'"),
        (
            {b"data": ROWS[:, :-1], b"labels": [0, 1]},
            "'data', 'labels' are not n rows of 3072 bytes and n labels",
        ),
        ({b"data": ROWS.astype(float), b"labels": [0, 1]}, "'data', 'labels' are not n rows"),
        ({b"data": ROWS, b"labels": [0, 1, 2]}, "'data', 'labels' are not n rows"),
        ({b"data": ROWS, b"labels": [0.5, 1]}, "'data', 'labels' are not n rows"),
        ({b"data": [1], b"labels": [0]}, "'data', 'labels' are not n rows"),
    ],
)
def test_pickles_that_are_not_cifar(batch: object, message: str) -> None:
    with pytest.raises(InputError, match=f"^batch: {message}"):
        read_pickled(b"labels")([("batch", pickle.dumps(batch))])


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.data())
def test_a_damaged_pickle_raises_nothing_but_input_errors(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps({b"data": ROWS[:, :8].copy(), b"labels": [7, 2]}, 2))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(content)))
    try:
        unpickle_arrays(bytes(content[:kept]), "batch")
    except InputError as error:
        assert str(error).startswith("batch: ")


def npz(path: Path, **arrays: object) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_npz_with_both_splits_agrees_on_the_classes(tmp_path: Path) -> None:
    x = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
    name = npz(
        tmp_path / "mine.npz", x_train=x, y_train=[0, 1, 1, 0], x_test=x[:2], y_test=np.array([2, 0], np.int32), z=1
    )
    train, test = load_data(name), load_data(name, split="test")
    np.testing.assert_array_equal(train.x.numpy(), x)
    assert (len(train), len(test)) == (4, 2)
    assert train.classes == test.classes == 3
    assert train.name == "mine.npz"
    assert train.box is None


def test_npz_with_one_set_is_a_training_set(tmp_path: Path) -> None:
    name = npz(tmp_path / "one.npz", x=np.full((2, 1, 4, 4), 255, np.uint8), y=np.array([0, 1]))
    data = load_data(name)
    assert data.box == (0.0, 1.0)
    assert next(iter(data.batches(2)))[0].max() == 1
    with pytest.raises(InputError, match=r"one.npz: holds one set \(x, y\), a training set; x_test and y_test"):
        load_data(name, split="test")


def test_npz_without_the_arrays(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds images, labels; x_train and y_train \(or x and y\) are needed; --x-key"
    ):
        load_data(npz(tmp_path / "a.npz", images=[1], labels=[2]))


def test_npz_labels_in_columns_and_one_hot_rows(tmp_path: Path) -> None:
    x = np.linspace(0, 1, 12).reshape(4, 3)
    column = npz(tmp_path / "a.npz", x_train=x, y_train=[[0.0], [1.0], [1.0], [0.0]], x_test=x[:1], y_test=[[2.0]])
    hot = npz(tmp_path / "b.npz", x_train=x, y_train=np.eye(3)[[0, 1, 1, 0]], x_test=x[:1], y_test=np.eye(3)[[2]])
    for name in (column, hot):
        train, test = load_data(name), load_data(name, split="test")
        assert (train.y.tolist(), test.y.tolist(), train.classes, test.classes) == ([0, 1, 1, 0], [2], 3, 3)


def test_npz_with_other_names(tmp_path: Path) -> None:
    arrays = {"images_train": [[1.0], [2.0]], "labels_train": [0, 1], "images_test": [[3.0]], "labels_test": [2]}
    name = npz(tmp_path / "a.npz", **arrays, x=[[9.0]], y=[0])
    keys = ("images_{split}", "labels_{split}")
    train, test = load_data(name, keys=keys), load_data(name, split="test", keys=keys)
    assert (train.x.tolist(), test.x.tolist(), train.classes, test.classes) == ([[1.0], [2.0]], [[3.0]], 3, 3)
    one = load_data(name, keys=("images_test", "labels_test"))
    assert one.x.tolist() == [[3.0]]
    with pytest.raises(InputError, match=r"holds one set \(x, y\), a training set; names with {split} in them"):
        load_data(name, split="test", keys=("x", "y"))
    with pytest.raises(InputError, match="labels_test, x, y; pixels_test and y are needed; --x-key and --y-key name"):
        load_data(name, split="test", keys=("pixels_{split}", "y"))
    with pytest.raises(InputError, match=r"^digits: names of arrays \(x, y\) are for .npz files$"):
        load_data("digits", keys=("x", "y"))


def test_npz_never_unpickles(tmp_path: Path) -> None:
    bad = np.array([Malicious(tmp_path / "harm")], dtype=object)
    with pytest.raises(InputError, match="a.npz: holds pickled Python objects"):
        load_data(npz(tmp_path / "a.npz", x=bad, y=[0]))
    assert not (tmp_path / "harm").exists()


def test_npz_damage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone.npz: no such file"):
        load_data(str(tmp_path / "gone.npz"))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.random.default_rng(0).random((50, 4)), y=np.zeros(50, int))
    content = bytearray(buffer.getvalue())
    (tmp_path / "half.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="half.npz: truncated or not an .npz file"):
        load_data(str(tmp_path / "half.npz"))
    content[len(content) // 3] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(content)
    with pytest.raises(InputError, match="flipped.npz: corrupt"):
        load_data(str(tmp_path / "flipped.npz"))


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.integers(0, 2**30), st.integers(1, 255), st.booleans(), st.sampled_from(["npz", "gz", "tar.gz"]))
def test_damaged_archives_raise_nothing_but_input_errors(place: int, change: int, cut: bool, kind: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.arange(20.0).reshape(5, 4), y=np.arange(5))
    archives = {
        "npz": buffer.getvalue(),
        "gz": gzip.compress(b"hello" * 9),
        "tar.gz": tar({"a": b"1", "b": b"2"}),
    }
    content = bytearray(archives[kind])
    place %= len(content)
    content[place] ^= change
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"damaged.{kind}"
        path.write_bytes(content[:place] if cut else content)
        try:
            if kind == "npz":
                load_data(str(path))
            elif kind == "gz":
                read_bytes(path)
            else:
                read_members(path, ["a", "b"])
        except InputError as error:
            assert f"damaged.{kind}: " in str(error)
