"""Everything that holds labelled inputs becomes `Data`, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from bounds.errors import InputError
from bounds.inputs import Data, as_data

X = torch.rand(7, 1, 3, 3, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 3, 0, 1, 2])


class Items(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield X[0], Y[0]


@pytest.mark.parametrize(
    "source",
    [
        (X, Y),
        [X.numpy(), Y.numpy()],
        (X.numpy(), Y.tolist()),
        (X.clone().requires_grad_(), Y.int()),
        TensorDataset(X, Y),
        Items([(x.numpy(), int(y)) for x, y in zip(X, Y, strict=True)]),
        DataLoader(TensorDataset(X, Y), batch_size=3),
        Data("x", X, Y, 4),
        (X, Y[:, None]),
        (X, Y.double()),
        (X, torch.eye(4)[Y]),
        (X.numpy(), np.eye(4, dtype=bool)[Y]),
        Items([(x, y, i) for i, (x, y) in enumerate(zip(X, Y, strict=True))]),
        Items([{"image": x, "label": int(y), "id": i} for i, (x, y) in enumerate(zip(X, Y, strict=True))]),
        DataLoader(TensorDataset(X, Y, Y), batch_size=3),
        DataLoader(Items([{"pixel_values": x, "labels": y} for x, y in zip(X, Y, strict=True)]), batch_size=3),
        DataLoader(TensorDataset(X, torch.eye(4)[Y]), batch_size=3),
    ],
    ids=[
        "tensors",
        "arrays",
        "labels as list",
        "grad and int32",
        "TensorDataset",
        "Dataset",
        "DataLoader",
        "Data",
        "column",
        "float labels",
        "one-hot",
        "boolean one-hot",
        "triples",
        "dictionaries",
        "DataLoader of triples",
        "DataLoader of dictionaries",
        "DataLoader of one-hot",
    ],
)
def test_every_source_gives_the_same_data(source: object) -> None:
    data = as_data(source)
    assert data.digest() == Data("expected", X, Y, 4).digest()
    assert data.classes == 4
    assert data.box is None
    assert not data.x.requires_grad


def test_bytes_are_pixels_in_the_unit_box() -> None:
    data = as_data((np.full((2, 3), 51, np.uint8), [0, 1]))
    assert data.box == (0.0, 1.0)
    assert next(iter(data.batches(2)))[0].unique().tolist() == [0.2]


def test_half_precision_and_foreign_byte_order() -> None:
    assert as_data((X.half(), Y)).x.dtype == torch.float32
    data = as_data((X.numpy().astype(">f8"), Y.numpy().astype(">i2")))
    torch.testing.assert_close(data.x, X.double(), rtol=0, atol=0)
    assert torch.equal(data.y, Y)


def test_given_properties_win() -> None:
    data = as_data((X, Y), classes=10, box=(-1.0, 2.0), name="mine")
    assert (data.classes, data.box, data.name) == (10, (-1.0, 2.0), "mine")
    again = as_data(data, classes=12)
    assert (again.classes, again.box, again.name) == (12, (-1.0, 2.0), "mine")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "a int is not labelled data"),
        ((X,), "a tuple is not labelled data"),
        ((X, Y + 0.5), "labels have type torch.float32"),
        ((X, torch.full((7,), torch.nan)), "labels have type torch.float32"),
        ((X, torch.full((7,), torch.inf)), "labels have type torch.float32"),
        ((X, torch.eye(7)[:, :3]), r"labels have shape \(7, 3\)"),
        ((X, torch.ones(7, 2)), r"labels have shape \(7, 2\)"),
        ((X, torch.zeros(7, 1, 1)), r"labels have shape \(7, 1, 1\)"),
        ((X, Y.to(torch.complex64)), "labels have type torch.complex64"),
        ((X, Y[:3]), "7 inputs, but 3 labels"),
        ((X[:0], Y[:0]), "no samples"),
        ((np.array([object()] * 7), Y), "inputs: a ndarray that cannot be made a tensor"),
        ((X, ["cat"] * 7), "labels: a list that cannot be made a tensor"),
        (([[1.0], [1.0, 2.0]], [0, 1]), "inputs: a list that cannot be made a tensor"),
        ((X.short(), Y), "inputs have type torch.int16"),
        ((X.long() - 1, Y), "sample 0 has a negative number; integer inputs are tokens"),
        (Items([]), "no samples"),
        (Items([X[0], X[1]]), "item 0 is a Tensor; a pair"),
        (Items([(X[0], 0), (X[0, :, :2], 1)]), "the samples differ in shape"),
        (Stream(), "the Stream has no length, so it may never end"),
        (DataLoader(Stream()), "the DataLoader has no length, so it may never end"),
        (DataLoader(Items([0.0, 1.0])), "batch 0 is a Tensor; a pair"),
        (Items([(X[0], 0, 1, 2)]), "item 0 is a tuple; a pair"),
        (Items([{"image": X[0], "class": 0}]), "item 0 is a dictionary of image, class; exactly one of y, label"),
        (Items([{"image": X[0], "x": X[0], "y": 0}]), "item 0 is a dictionary of image, x, y; exactly one of x, image"),
        (Items([{}]), "item 0 is a dictionary of nothing; exactly one of x, image"),
    ],
)
def test_refusals(source: object, message: str) -> None:
    with pytest.raises(InputError, match=f"^data: {message}") as caught:
        as_data(source)
    assert "\n" not in str(caught.value)


def test_a_given_number_of_classes_is_checked() -> None:
    with pytest.raises(InputError, match="label 2 of sample 2 is outside 0 to 1"):
        as_data((X, Y), classes=2)


def test_one_hot_rows_say_how_many_classes_there_are() -> None:
    assert as_data((X[:2], torch.eye(9)[:2])).classes == 9
    assert as_data((X[:2], torch.eye(9)[:2]), classes=12).classes == 12


def test_integers_other_than_bytes_are_tokens() -> None:
    data = as_data((np.array([[3, 0], [7, 7]], np.int32), [0, 1]))
    assert data.is_discrete
    assert data.box is None
    assert next(data.batches(2))[0].tolist() == [[3, 0], [7, 7]]


# Loaders that shuffle

TWICE = TensorDataset(torch.cat([X, X]), torch.cat([Y, Y.flip(0)]))  # equal inputs with different labels


class ByTwos(BatchSampler):
    """Batches in an order of its own."""


@pytest.mark.parametrize(
    "options",
    [
        lambda: {"batch_size": 3, "shuffle": True},
        lambda: {"batch_size": 7, "shuffle": True, "drop_last": True},
        lambda: {"batch_size": None, "sampler": RandomSampler(TWICE)},
        lambda: {"batch_size": 2, "sampler": SubsetRandomSampler(range(14))},
        lambda: {"batch_sampler": BatchSampler(RandomSampler(TWICE), 3, drop_last=False)},
        lambda: {"batch_sampler": ByTwos(RandomSampler(TWICE), 2, drop_last=False)},
    ],
    ids=["shuffle", "drop nothing", "no batches", "subset", "batch sampler", "own batch sampler"],
)
def test_the_order_of_a_shuffling_loader_does_not_matter(options: Any) -> None:
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(as_data(DataLoader(TWICE, **options())))
    one, other = found
    assert one.digest() == other.digest()
    whole = {(*x.flatten().tolist(), int(y)) for x, y in zip(*TWICE.tensors, strict=True)}
    assert {(*x.flatten().tolist(), int(y)) for x, y in zip(one.x, one.y, strict=True)} == whole


@pytest.mark.parametrize(
    "options",
    [
        lambda: {"batch_size": 4, "drop_last": True},
        lambda: {"batch_size": 4, "sampler": SequentialSampler(TWICE)},
        lambda: {"batch_sampler": BatchSampler(SequentialSampler(TWICE), 4, drop_last=True)},
    ],
)
def test_other_loaders_keep_their_order(options: Any) -> None:
    data = as_data(DataLoader(TWICE, **options()))
    assert torch.equal(data.x, TWICE.tensors[0][: len(data)])


@pytest.mark.parametrize(
    ("options", "how"),
    [
        (lambda: {"batch_size": 4, "shuffle": True, "drop_last": True}, "shuffling with drop_last leaves out"),
        (
            lambda: {"batch_sampler": BatchSampler(RandomSampler(TWICE), 4, drop_last=True)},
            "shuffling with drop_last leaves out",
        ),
        (
            lambda: {"batch_sampler": ByTwos(RandomSampler(TWICE), 4, drop_last=True)},
            "shuffling with drop_last leaves out",
        ),
        (lambda: {"sampler": RandomSampler(TWICE, replacement=True)}, "a RandomSampler draws"),
        (lambda: {"sampler": RandomSampler(TWICE, num_samples=5)}, "a RandomSampler draws"),
        (lambda: {"sampler": WeightedRandomSampler([1.0] * 14, 14)}, "a WeightedRandomSampler draws"),
        (lambda: {"sampler": WeightedRandomSampler([1.0] * 14, 9, False)}, "a WeightedRandomSampler draws"),
    ],
)
def test_loaders_that_draw_other_samples_each_time(options: Any, how: str) -> None:
    with pytest.raises(InputError, match=f"^data: {how} other samples in each run; give the data set itself"):
        as_data(DataLoader(TWICE, **options()))
