"""The public data sets that `--data` knows by name: their files, checksums and sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.inputs.cifar import read_binary, read_pickled
from bounds.inputs.idx import read_idx_pair

Reader = Callable[[list[tuple[str, bytes]]], tuple[NDArray[np.uint8], NDArray[np.int64]]]


@dataclass(frozen=True)
class KnownFile:
    """A file by its name and the md5 of its uncompressed content (None: its publisher states none)."""

    name: str
    md5: str | None = None


@dataclass(frozen=True)
class Layout:
    """One way in which a data set is distributed.

    Args:
        train, test: the files of each split, in the order that `read` wants them.
        samples: number of samples in each split.
        read: turns [(name, uncompressed content), ...] into images (n, channels, height, width) and labels.
        archive: name, without ending, of the tar archive that the files come in; empty: they come one by one.
    """

    train: tuple[KnownFile, ...]
    test: tuple[KnownFile, ...]
    samples: tuple[int, int]
    read: Reader
    archive: str = ""

    def files(self, split: str) -> tuple[KnownFile, ...]:
        """The files of a split."""
        return self.train if split == "train" else self.test

    def count(self, split: str) -> int:
        """The number of samples in a split."""
        return self.samples[0] if split == "train" else self.samples[1]


@dataclass(frozen=True)
class KnownData:
    """A public data set of 8-bit images.

    Args:
        name: the name users give.
        label: the full name for figures and tables.
        classes: number of classes.
        layouts: how it may lie on disk; the first one is what gets downloaded.
        folders: subfolders to look into, besides the given folder itself.
        url: folder that the first layout is downloaded from; empty: not for download.
        lookalike: name of another data set that is easily taken for this one.
    """

    name: str
    label: str
    classes: int
    layouts: tuple[Layout, ...]
    folders: tuple[str, ...]
    url: str = ""
    lookalike: str = ""


def _idx(train_images: str, train_labels: str, test_images: str, test_labels: str) -> Layout:
    return Layout(
        train=(
            KnownFile("train-images-idx3-ubyte", train_images),
            KnownFile("train-labels-idx1-ubyte", train_labels),
        ),
        test=(
            KnownFile("t10k-images-idx3-ubyte", test_images),
            KnownFile("t10k-labels-idx1-ubyte", test_labels),
        ),
        samples=(60000, 10000),
        read=read_idx_pair,
    )


_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"

_ALL = (
    KnownData(
        name="mnist",
        label="MNIST",
        classes=10,
        layouts=(
            _idx(
                "6bbc9ace898e44ae57da46a324031adb",
                "a25bea736e30d166cdddb491f175f624",
                "2646ac647ad5339dbf082846283269ea",
                "27ae3e4e09519cfbb04c329615203637",
            ),
        ),
        folders=("mnist", "MNIST/raw"),
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    KnownData(
        name="fashion-mnist",
        label="Fashion-MNIST",
        classes=10,
        layouts=(
            _idx(
                "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "9018921c3c673c538a1fc5bad174d6f9",
                "8181f5470baa50b63fa0f6fddb340f0a",
                "15d484375f8d13e6eb1aabb0c3f46965",
            ),
        ),
        folders=("fashion-mnist", "FashionMNIST/raw"),
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    KnownData(
        name="cifar10",
        label="CIFAR-10",
        classes=10,
        layouts=(
            Layout(
                train=(
                    KnownFile("data_batch_1", "c99cafc152244af753f735de768cd75f"),
                    KnownFile("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
                    KnownFile("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
                    KnownFile("data_batch_4", "634d18415352ddfa80567beed471001a"),
                    KnownFile("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
                ),
                test=(KnownFile("test_batch", "40351d587109b95175f43aff81a1287e"),),
                samples=(50000, 10000),
                read=read_pickled(b"labels"),
                archive="cifar-10-python",
            ),
            Layout(
                train=tuple(KnownFile(f"data_batch_{i}.bin") for i in range(1, 6)),
                test=(KnownFile("test_batch.bin"),),
                samples=(50000, 10000),
                read=read_binary(label_bytes=1),
                archive="cifar-10-binary",
            ),
        ),
        folders=("cifar10", "cifar-10-batches-py", "cifar-10-batches-bin"),
        url=_CIFAR_URL,
        lookalike="cifar10-jpeg",
    ),
    KnownData(
        name="cifar10-jpeg",
        label="CIFAR-10 (JPEG, 10k subset)",
        classes=10,
        layouts=(
            Layout(
                train=(KnownFile("data_batch_1.bin", "42760e2b1fff0bb467c40700a8afbc1d"),),
                test=(KnownFile("test_batch.bin", "2ca92051664f3baa2faef576e70d2835"),),
                samples=(10000, 2000),
                read=read_binary(label_bytes=1),
            ),
        ),
        folders=("cifar10-jpeg",),
    ),
    KnownData(
        name="cifar100",
        label="CIFAR-100",
        classes=100,
        layouts=(
            Layout(
                train=(KnownFile("train", "16019d7e3df5f24257cddd939b257f8d"),),
                test=(KnownFile("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
                samples=(50000, 10000),
                read=read_pickled(b"fine_labels"),
                archive="cifar-100-python",
            ),
            Layout(
                train=(KnownFile("train.bin"),),
                test=(KnownFile("test.bin"),),
                samples=(50000, 10000),
                read=read_binary(label_bytes=2),
                archive="cifar-100-binary",
            ),
        ),
        folders=("cifar100", "cifar-100-python", "cifar-100-binary"),
        url=_CIFAR_URL,
    ),
)

KNOWN = {known.name: known for known in _ALL}
