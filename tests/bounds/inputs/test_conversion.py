"""Everything that holds labelled inputs becomes `Data`, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

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
    ],
)
def test_every_source_gives_the_same_data(source: object) -> None:
    data = as_data(source)
    assert data.digest() == Data("expected", X, Y, 4).digest()
    assert data.classes == 4
    assert data.box is None
    assert not data.x.requires_grad


def test_a_shuffling_loader_keeps_pairs_together() -> None:
    x = torch.arange(20.0)[:, None]
    loader = DataLoader(
        TensorDataset(x, torch.arange(20)),
        batch_size=6,
        shuffle=True,
        generator=torch.Generator().manual_seed(1),
    )
    data = as_data(loader)
    assert data.y.tolist() != list(range(20))
    assert data.x[:, 0].tolist() == data.y.tolist()


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
        ((X, Y.float()), "labels have type torch.float32"),
        ((X, Y.to(torch.complex64)), "labels have type torch.complex64"),
        ((X, Y[:3]), "7 inputs, but 3 labels"),
        ((X[:0], Y[:0]), "no samples"),
        ((np.array([object()] * 7), Y), "inputs: a ndarray that cannot be made a tensor"),
        ((X, ["cat"] * 7), "labels: a list that cannot be made a tensor"),
        (([[1.0], [1.0, 2.0]], [0, 1]), "inputs: a list that cannot be made a tensor"),
        ((X.long(), Y), "inputs have type torch.int64"),
        (Items([]), "no samples"),
        (Items([X[0], X[1]]), "item 0 is a Tensor; a pair"),
        (Items([(X[0], 0), (X[0, :, :2], 1)]), "the samples differ in shape"),
        (Stream(), "the Stream has no length, so it may never end"),
        (DataLoader(Stream()), "the DataLoader has no length, so it may never end"),
        (DataLoader(Items([0.0, 1.0])), "batch 0 is a Tensor; a pair"),
    ],
)
def test_refusals(source: object, message: str) -> None:
    with pytest.raises(InputError, match=f"^data: {message}") as caught:
        as_data(source)
    assert "\n" not in str(caught.value)


def test_a_given_number_of_classes_is_checked() -> None:
    with pytest.raises(InputError, match="label 2 of sample 2 is outside 0 to 1"):
        as_data((X, Y), classes=2)
