"""`Data` is valid by construction, and serves exactly what it holds."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from bounds.errors import InputError
from bounds.inputs import Data, check_fits, shared_samples


def toy(n: int = 10, classes: int = 3) -> Data:
    x = torch.arange(n * 4, dtype=torch.float32).reshape(n, 1, 2, 2) / (4 * n)
    return Data("toy", x, torch.arange(n) % classes, classes, (0.0, 1.0))


def test_batches_give_every_sample_in_order() -> None:
    data = toy()
    batches = list(data.batches(4))
    assert [len(y) for _, y in batches] == [4, 4, 2]
    assert all(x.dtype == torch.float64 for x, _ in batches)
    torch.testing.assert_close(torch.cat([x for x, _ in batches]), data.x.double(), rtol=0, atol=0)
    assert torch.equal(torch.cat([y for _, y in batches]), data.y)


def test_bytes_are_scaled_in_the_precision_asked_for() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(256, 1)
    data = Data("bytes", values, torch.zeros(256, dtype=torch.int64), 1, (0.0, 1.0))
    ((x, _),) = data.batches(256)
    np.testing.assert_array_equal(x.numpy().ravel(), np.arange(256) / 255)
    ((x, _),) = data.batches(256, torch.float32)
    assert x.dtype == torch.float32
    assert data.x.dtype == torch.uint8


def test_subsets_are_seeded_nested_and_in_order() -> None:
    data = toy(50)
    small, large = data.subset(10, seed=3), data.subset(20, seed=3)
    assert torch.equal(small.x, data.subset(10, seed=3).x)
    assert not torch.equal(small.x, data.subset(10, seed=4).x)
    ids = {len(part): part.x[:, 0, 0, 0].tolist() for part in (small, large)}
    assert set(ids[10]) < set(ids[20])
    assert ids[20] == sorted(ids[20])
    assert (small.classes, small.box, small.name) == (data.classes, data.box, data.name)


def test_subset_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    toy().subset(5, seed=0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("count", [0, -1, 11])
def test_impossible_subsets(count: int) -> None:
    with pytest.raises(InputError, match=f"^toy: {count} samples were asked for, but it holds 10$"):
        toy().subset(count, seed=0)


def test_batch_size_zero() -> None:
    with pytest.raises(InputError, match="batch size of 0"):
        next(toy().batches(0))


def test_digest_is_the_hash_of_types_shapes_and_bytes() -> None:
    data = toy(2)
    expected = hashlib.sha256()
    expected.update(b"float32(2, 1, 2, 2)" + data.x.numpy().tobytes())
    expected.update(b"int64(2,)" + data.y.numpy().tobytes())
    assert data.digest() == expected.hexdigest()
    y = data.y.clone()
    y[0] = 2
    assert Data("other name", data.x, data.y, 7).digest() == data.digest()
    assert Data("toy", data.x, y, 3).digest() != data.digest()
    assert Data("toy", data.x.reshape(2, 4), data.y, 3).digest() != data.digest()


X, Y = torch.zeros(3, 2), torch.tensor([0, 1, 0])


@pytest.mark.parametrize(
    ("x", "y", "classes", "box", "message"),
    [
        (X.int(), Y, 2, None, "inputs have type torch.int32; float32, float64 or uint8"),
        (X.long() - Y[:, None], Y, 2, None, "sample 1 has a negative number; integer inputs are tokens 0, 1, 2"),
        (X.long(), Y, 2, (0.0, 1.0), r"a box \[0, 1\] was given, but integer inputs are tokens"),
        (X.to(torch.complex64), Y, 2, None, "inputs have type torch.complex64"),
        (X, Y.float(), 2, None, "labels have type torch.float32; class indices"),
        (X, Y[:, None], 2, None, r"labels have shape \(3, 1\); one class index per sample"),
        (X[:, 0], Y, 2, None, r"inputs have shape \(3,\)"),
        (X, Y[:2], 2, None, "3 inputs, but 2 labels"),
        (X[:0], Y[:0], 2, None, "no samples"),
        (X[:, :0], Y, 2, None, r"inputs of shape \(3, 0\)"),
        (X, Y, 1, None, "label 1 of sample 1 is outside 0 to 0"),
        (X, Y - 1, 2, None, "label -1 of sample 0 is outside 0 to 1"),
        (X.index_fill(0, torch.tensor(2), torch.nan), Y, 2, None, "sample 2 has a NaN"),
        (X.index_fill(0, torch.tensor(1), -torch.inf), Y, 2, None, "sample 1 has an infinite value"),
        (X + 1.5, Y, 2, (0.0, 1.0), r"pixels lie in \[1.5, 1.5\], outside the box \[0, 1\]"),
        (X - 0.5, Y, 2, (0.0, 1.0), r"pixels lie in \[-0.5, -0.5\], outside the box"),
        (X, Y, 2, (1.0, 1.0), r"the box \[1, 1\] is empty"),
        (X, Y, 2, (0.0, float("nan")), r"the box \[0, nan\] is empty or unbounded"),
        (X, Y, 2, (0.0, float("inf")), r"the box \[0, inf\] is empty or unbounded"),
    ],
)
def test_invalid_data_is_refused_in_one_line(
    x: torch.Tensor, y: torch.Tensor, classes: int, box: tuple[float, float] | None, message: str
) -> None:
    with pytest.raises(InputError, match=f"^bad: {message}") as caught:
        Data("bad", x, y, classes, box)
    assert "\n" not in str(caught.value)


def test_fit() -> None:
    data = toy()
    check_fits(data, (1, 2, 2), 3)
    check_fits(data, torch.Size((1, 2, 2)), 10)
    with pytest.raises(InputError, match=r"inputs have shape \(1, 2, 2\), but the network takes \(3, 2, 2\)$"):
        check_fits(data, (3, 2, 2), 3)
    with pytest.raises(InputError, match=r"the network takes \(4,\): reshape them$"):
        check_fits(data, (4,), 3)
    with pytest.raises(InputError, match="3 classes, but the network has only 2 outputs"):
        check_fits(data, (1, 2, 2), 2)


def tokens() -> Data:
    return Data("words", torch.tensor([[2**60 + 1, 0], [7, 7]]), torch.tensor([0, 1]), 2)


def test_tokens_stay_what_they_are() -> None:
    data = tokens()
    assert data.is_discrete and not toy().is_discrete
    ((x, _),) = data.batches(2)
    assert x.dtype == torch.int64 and torch.equal(x, data.x)
    ((x, _),) = data.batches(2, torch.float32)
    assert x.dtype == torch.int64
    assert data.subset(1, seed=0).is_discrete and data.first_classes(2).is_discrete
    assert data.digest() != Data("reals", data.x.double(), data.y, 2).digest()


def test_tokens_fit_only_what_takes_tokens() -> None:
    check_fits(tokens(), (2,), 2, tokens=True)
    with pytest.raises(InputError, match="^words: integer inputs are tokens, but real numbers are needed; name"):
        check_fits(tokens(), (2,), 2)
    with pytest.raises(InputError, match=r"^toy: inputs have type torch.float32, but the network takes tokens"):
        check_fits(toy(), (1, 2, 2), 3, tokens=True)


def pixels(seed: int, count: int) -> Data:
    x = torch.randint(0, 256, (count, 1, 3, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Data("pixels", x, torch.arange(count) % 2, 2)


def test_shared_samples_are_counted_whatever_their_type_and_label() -> None:
    train, other = pixels(0, 9), pixels(1, 5)
    assert shared_samples(train, other) == 0
    assert shared_samples(train, train) == 9
    mixed = torch.cat([other.x, train.x[[3, 3, 8]]])
    y = torch.ones(8, dtype=torch.int64)
    for x in (mixed, mixed.float() / 255, mixed.double() / 255, mixed.flatten(1)):
        test = Data("mixed", x, y, 2)
        assert shared_samples(train, test) == 3
        assert shared_samples(test, train) == 2


def test_every_byte_is_the_same_pixel_in_every_type() -> None:
    x = torch.arange(256, dtype=torch.uint8)[:, None]
    y = torch.zeros(256, dtype=torch.int64)
    for same in (x.double() / 255, x.float() / 255, (x.double() / 255).float()):
        for one, other in zip(x, same, strict=True):
            assert shared_samples(Data("a", one[None], y[:1], 1), Data("b", other[None], y[:1], 1)) == 1


def test_a_negative_zero_is_a_zero_and_tokens_are_compared_exactly() -> None:
    zero = Data("zero", torch.zeros(1, 2), torch.tensor([0]), 1)
    assert shared_samples(zero, Data("negative", -zero.x, zero.y, 1)) == 1
    near = Data("near", tokens().x - 1 + (tokens().x == 0).long(), tokens().y, 2)
    assert shared_samples(tokens(), tokens()) == 2
    assert shared_samples(tokens(), near) == 0
