"""`Data`: labelled inputs in memory, checked once when made and served in batches."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.errors import InputError


@dataclass(frozen=True, eq=False)
class Data:
    """Labelled inputs, valid by construction.

    Args:
        name: short name for messages and records, such as "mnist".
        x: inputs, shape (n, *input_shape), float32 or float64; or uint8, which is kept compact and stands for
            pixels x/255 in [0, 1]; or int64, tokens 0, 1, 2, ..., which stay what they are.
        y: class indices, shape (n,), int64, each in {0, ..., classes-1}.
        classes: number of classes K.
        box: the interval [low, high] that pixels of legal inputs lie in, in input units; None: no limit.
        label: name for figures and tables; `name` if not given.

    Raises:
        InputError: when any of this does not hold; the message names the data and the first culprit.

    >>> pixels = torch.tensor([[0, 255], [51, 0]], dtype=torch.uint8)
    >>> data = Data("toy", pixels, torch.tensor([0, 1]), classes=2)
    >>> len(data), data.input_shape
    (2, (2,))
    >>> [x.tolist() for x, y in data.batches(1)]
    [[[0.0, 1.0]], [[0.2, 0.0]]]
    """

    name: str
    x: Tensor
    y: Tensor
    classes: int
    box: tuple[float, float] | None = None
    label: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)
        _check_shapes(self)
        _check_labels(self)
        _check_pixels(self)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch dimension."""
        return tuple(self.x.shape[1:])

    @property
    def is_discrete(self) -> bool:
        """Whether inputs are tokens, such as word indices, between which there is nothing."""
        return self.x.dtype == torch.int64

    def batches(self, size: int, dtype: torch.dtype = torch.float64) -> Iterator[tuple[Tensor, Tensor]]:
        """The samples in order, `size` at a time (the last batch may be smaller).

        Yields:
            x of shape (batch, *input_shape) in input units and `dtype`, tokens in int64; y of shape (batch,), int64.
        """
        if size < 1:
            raise InputError(f"{self.name}: a batch size of {size} was asked for; it must be at least 1")
        for start in range(0, len(self), size):
            x = self.x[start : start + size].to(torch.int64 if self.is_discrete else dtype)
            yield (x / 255 if self.x.dtype == torch.uint8 else x), self.y[start : start + size]

    def subset(self, count: int, seed: int) -> Data:
        """A uniformly random subset of `count` samples, in their original order.

        Subsets with the same seed are nested: a smaller one is contained in every larger one.
        """
        if not 1 <= count <= len(self):
            raise InputError(f"{self.name}: {count} samples were asked for, but it holds {len(self)}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        chosen = order[:count].sort().values
        return Data(self.name, self.x[chosen], self.y[chosen], self.classes, self.box, self.label)

    def first_classes(self, count: int) -> Data:
        """The samples of classes 0..count-1, in their original order.

        >>> toy = Data("toy", torch.zeros(3, 2), torch.tensor([2, 0, 1]), classes=3)
        >>> toy.first_classes(2).y.tolist(), toy.first_classes(2).classes
        ([0, 1], 2)
        """
        if not 2 <= count <= self.classes:
            raise InputError(f"{self.name}: {count} classes were asked for, but it has {self.classes}")
        chosen = self.y < count
        return Data(self.name, self.x[chosen], self.y[chosen], count, self.box, self.label)

    def digest(self) -> str:
        """SHA-256 (hex) of x and y, types and shapes: equal digests mean equal samples in equal order."""
        digest = hashlib.sha256()
        for tensor in (self.x, self.y):
            array = tensor.contiguous().numpy()
            digest.update(f"{array.dtype.name}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def shared_samples(train: Data, test: Data) -> int:
    """How many test samples occur in the training set: the same pixels in float32, in whatever type and shape.

    >>> pixels = torch.tensor([[0, 51], [255, 7]], dtype=torch.uint8)
    >>> train = Data("train", pixels, torch.tensor([0, 1]), 2)
    >>> shared_samples(train, Data("test", torch.tensor([[0.0, 0.2], [0.5, 0.5]]), torch.tensor([0, 1]), 2))
    1
    """
    known = set(_pixel_digests(train))
    return sum(digest in known for digest in _pixel_digests(test))


def sample_digests(x: Tensor) -> list[bytes]:
    """SHA-256 of each sample's bytes; of inputs of one type, equal ones have equal digests."""
    return [hashlib.sha256(row).digest() for row in x.reshape(len(x), -1).contiguous().numpy()]


def refuse_tokens(data: Data) -> None:
    """Refuse tokens where real inputs are needed, as by attacks and ordinary networks.

    Raises:
        InputError: for them.
    """
    if data.is_discrete:
        remedy = "convert pixels to float32, or to uint8 (0..255)"
        raise InputError(f"{data.name}: integer inputs are tokens, but real numbers are needed; {remedy}")


def check_fits(data: Data, input_shape: Sequence[int], outputs: int, *, tokens: bool = False) -> None:
    """Check that a network with inputs of `input_shape` and `outputs` logits can be run on `data`.

    Args:
        data: to run it on.
        input_shape: of one input.
        outputs: number of logits.
        tokens: whether the network takes tokens, not real numbers.

    Raises:
        InputError: when the kinds of input or their shapes differ, or the data has more classes than the network
            has outputs.

    >>> data = Data("toy", torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 2]), classes=3)
    >>> check_fits(data, (64,), 3)
    Traceback (most recent call last):
        ...
    bounds.errors.InputError: toy: inputs have shape (1, 8, 8), but the network takes (64,): reshape them
    """
    if not tokens:
        refuse_tokens(data)
    elif not data.is_discrete:
        raise InputError(f"{data.name}: inputs have type {data.x.dtype}, but the network takes tokens (int64)")
    if data.input_shape != tuple(input_shape):
        same_size = data.x[0].numel() == torch.Size(input_shape).numel()
        hint = ": reshape them" if same_size else ""
        shapes = f"inputs have shape {data.input_shape}, but the network takes {tuple(input_shape)}"
        raise InputError(f"{data.name}: {shapes}{hint}")
    if data.classes > outputs:
        raise InputError(f"{data.name}: {data.classes} classes, but the network has only {outputs} outputs")


def _pixel_digests(data: Data) -> Iterator[bytes]:
    for x, _ in data.batches(4096, torch.float32):
        yield from sample_digests(x + 0)  # -0.0 becomes 0.0


def _check_shapes(data: Data) -> None:
    x, y, name = data.x, data.y, data.name
    if x.dtype not in (torch.uint8, torch.int64, torch.float32, torch.float64):
        kinds = "float32, float64 or uint8 (0..255), or int64 for tokens"
        raise InputError(f"{name}: inputs have type {x.dtype}; {kinds} is needed")
    if y.dtype != torch.int64:
        raise InputError(f"{name}: labels have type {y.dtype}; class indices (integers) are needed")
    if y.dim() != 1:
        raise InputError(f"{name}: labels have shape {tuple(y.shape)}; one class index per sample is needed")
    if x.dim() < 2:
        raise InputError(f"{name}: inputs have shape {tuple(x.shape)}; (samples, features...) is needed")
    if len(x) != len(y):
        raise InputError(f"{name}: {len(x)} inputs, but {len(y)} labels")
    if x.numel() == 0:
        raise InputError(f"{name}: no samples" if len(x) == 0 else f"{name}: inputs of shape {tuple(x.shape)}")


def _check_labels(data: Data) -> None:
    wrong = (data.y < 0) | (data.y >= data.classes)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        allowed = f"0 to {data.classes - 1}"
        raise InputError(f"{data.name}: label {int(data.y[first])} of sample {first} is outside {allowed}")


def _check_pixels(data: Data) -> None:
    if data.x.is_floating_point():
        flat = data.x.flatten(1)
        bad = ~flat.isfinite().all(dim=1)
        if bad.any():
            first = int(bad.nonzero()[0])
            value = "a NaN" if flat[first].isnan().any() else "an infinite value"
            raise InputError(f"{data.name}: sample {first} has {value}")
    if data.is_discrete and bool((data.x < 0).any()):
        first = int((data.x < 0).flatten(1).any(dim=1).nonzero()[0])
        raise InputError(f"{data.name}: sample {first} has a negative number; integer inputs are tokens 0, 1, 2, ...")
    if data.box is not None:
        _check_box(data, *data.box)


def _check_box(data: Data, low: float, high: float) -> None:
    if data.is_discrete:
        raise InputError(f"{data.name}: a box [{low:g}, {high:g}] was given, but integer inputs are tokens, not pixels")
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{data.name}: the box [{low:g}, {high:g}] is empty or unbounded")
    scale = 255 if data.x.dtype == torch.uint8 else 1
    smallest, largest = float(data.x.min()) / scale, float(data.x.max()) / scale
    if smallest < low or largest > high:
        raise InputError(f"{data.name}: pixels lie in [{smallest:g}, {largest:g}], outside the box [{low:g}, {high:g}]")
