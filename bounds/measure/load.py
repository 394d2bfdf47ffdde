"""What a sample takes while a model is run on it, from the shapes: batches follow it, and plans of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bounds.budget import Budget
from bounds.errors import InputError
from bounds.network.traced import TracedNetwork

if TYPE_CHECKING:
    from bounds.measure.margin import Batches

RATE = 5e9
"""Multiply-adds per second that plans assume, of one core in float64: they are the same on every machine."""

NUMBER = 8  # bytes in float64
_TAPS = 9  # of a 3×3 kernel
_PULSE = 1.0  # seconds that one pass should take at most, so that progress is seen


@dataclass(frozen=True)
class Load:
    """What one sample takes in float64.

    Attributes:
        inputs: d, entries of the input.
        outputs: K, entries of the output.
        kept: bytes while the sample is differentiated; roughly, and no less than a forward pass takes.
        products: multiply-adds of a forward pass; 0 where unknown.
    """

    inputs: int
    outputs: int
    kept: int
    products: int = 0

    @property
    def jacobian(self) -> int:
        """Bytes of its Jacobian."""
        return NUMBER * self.inputs * self.outputs

    def batch(self, memory: Budget | None, at_most: int, what: str, *, copies: float = 1.0, beside: float = 0.0) -> int:
        """How many samples to take at once: as many as fit into memory, and no more than pass in about a second.

        Args:
            memory: the budget; a share of what is available if None.
            at_most: samples beyond which nothing is gained.
            what: one sample takes memory for, in a message.
            copies: how many times what differentiating takes once is needed.
            beside: bytes of one sample beside.

        Raises:
            InputError: when not even one sample fits.

        >>> Load(3, 2, kept=100, products=10**9).batch(Budget(10**6), 32, "a pass")
        5
        """
        timely = max(1, int(_PULSE * RATE) // max(1, self.products))
        size = math.ceil(copies * self.kept + beside)
        return (memory or Budget.available()).pieces(size, min(at_most, timely), f"{what} of one sample")


def load(model: Callable[[Tensor], Tensor], x: Tensor) -> Load:
    """What one sample takes: of a traced network from its shapes, of any other model from a trial.

    The trial counts what is saved for the way back for three copies of a sample more than for two, so that weights do
    not count, and adds the columns that a 3×3 convolution would make of the largest.

    Args:
        model: maps (batch, *input_shape) to (batch, K).
        x: one or more inputs, float64.

    >>> load(lambda x: x.exp()[:, :2], torch.zeros(1, 3, dtype=torch.float64)).jacobian
    48
    """
    if isinstance(model, TracedNetwork):
        products = sum(segment.products for segment in model.segments)
        return Load(math.prod(model.input_shape), model.outputs, model.footprint, products)
    outputs, two = _trial(model, x[:1], 2)
    _, three = _trial(model, x[:1], 3)
    kept = sum(three) - sum(two) + 2 * _TAPS * (max(three) - max(two))
    return Load(x[0].numel(), outputs, NUMBER * kept)


def load_of(model: Callable[[Tensor], Tensor], data: Batches) -> Load:
    """What one sample of a data set takes.

    Raises:
        InputError: when there is none.
    """
    for x, _ in data.batches(1):
        return load(model, x)
    raise InputError("data: there are no samples")


def _trial(model: Callable[[Tensor], Tensor], sample: Tensor, copies: int) -> tuple[int, list[int]]:
    """Entries of one output, and of the input, the outputs and every value that is kept for the way back."""
    leaf = sample.detach().repeat(copies, *[1] * (sample.ndim - 1))
    leaf = leaf.requires_grad_(True) if leaf.is_floating_point() else leaf  # tokens
    kept = [leaf.numel()]

    def note(value: Tensor) -> Tensor:
        kept.append(value.numel())
        return value

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        outputs = model(leaf.clone())  # a copy: the model may work in place
    return outputs[0].numel(), [*kept, outputs.numel()]
