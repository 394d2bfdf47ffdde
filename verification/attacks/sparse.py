"""Attacks that change few pixels: l0 balls, which are not convex and for which no surrogate is claimed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.measure.models import Model
from verification.attack_set import AttackSet
from verification.attacks.objectives import log_odds
from verification.attacks.result import FamilyAttack
from verification.attacks.search import Search, search_all


def sparse_attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    pixels: int,
    *,
    steps: int = 40,
    box: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FamilyAttack:
    """Change at most `pixels` pixels of each input, each to any value of the box, so that the loss is large.

    Every other step changes the pixels that promise most to first order, to the values that promise most; the steps
    between exchange some pixels of the best point so far for random ones at random ends of the box. A pixel is a
    position with all its channels for inputs (channels, height, width), else a coordinate.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        pixels: how many may change.
        steps: forward and backward passes.
        box: valid input values.
        seed: seed of the random choices; equal arguments give equal bits.
        progress: called with (samples done, samples).

    Returns:
        Side: lower bound of the robust loss over this family. No surrogate is claimed to bound it.

    Raises:
        InputError: for fewer than one pixel or step, an input outside the box, or a model whose samples influence
            each other.

    >>> linear = torch.nn.Linear(3, 2, bias=False).double()
    >>> linear.weight.data = torch.tensor([[0.0, 0.0, 0.0], [1.0, 5.0, 2.0]], dtype=torch.float64)
    >>> sparse_attack(linear, torch.zeros(1, 3), torch.tensor([0]), pixels=2).delta
    tensor([[0., 1., 1.]], dtype=torch.float64)
    """
    if pixels < 1 or steps < 1:
        raise InputError(f"sparse attack on {pixels} pixels with {steps} steps: both must be at least 1")
    anywhere = AttackSet("linf", box[1] - box[0], box)
    generator = torch.Generator().manual_seed(seed)

    def search_chunk(run: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Search:
        lower, upper = anywhere.limits(inputs)
        search = Search(run, inputs, labels, log_odds, lambda delta: _changed(delta).sum(dim=1) <= pixels)
        delta = torch.zeros_like(inputs)
        for step in range(steps):
            gradient = search.gradient(delta)
            if step % 2 == 0:
                ends = torch.where(gradient > 0, upper, lower)
                # What a pixel adds to the objective at its best value, to first order.
                chosen = _largest(_by_pixel((gradient * ends).clamp(min=0)).sum(dim=2), pixels)
                delta = torch.where(_spread(chosen, inputs), ends, 0.0)
            else:
                delta = _exchanged(search.delta, lower, upper, pixels, generator)
        search.look(delta)
        return search

    words = f"at most {pixels} pixels changed within [{box[0]:g}, {box[1]:g}]"
    return FamilyAttack(words, *search_all(model, x, y, search_chunk, progress))


def _exchanged(delta: Tensor, lower: Tensor, upper: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Some of the changed pixels, few or many, make room for random ones at random ends of the box."""
    changed = _changed(delta)
    noise, leaving = torch.rand(2, *changed.shape, dtype=torch.float64, generator=generator)
    rate = torch.rand(len(delta), 1, dtype=torch.float64, generator=generator).square()
    kept = changed & (leaving >= rate)
    chosen = _largest(noise.masked_fill(kept, torch.inf), pixels)
    up = torch.rand(delta.shape, dtype=torch.float64, generator=generator) < 0.5
    moved = torch.where(_spread(kept, delta), delta, torch.where(up, upper, lower))
    return torch.where(_spread(chosen, delta), moved, 0.0)


def _by_pixel(values: Tensor) -> Tensor:
    """(n, pixels, channels)."""
    if values.dim() == 4:
        return values.flatten(2).transpose(1, 2)
    return values.flatten(1)[:, :, None]


def _spread(chosen: Tensor, like: Tensor) -> Tensor:
    """A mask of pixels, (n, pixels), as a mask of coordinates."""
    if like.dim() == 4:
        return chosen.reshape(len(like), 1, *like.shape[2:]).expand_as(like)
    return chosen.reshape(like.shape)


def _changed(delta: Tensor) -> Tensor:
    return (_by_pixel(delta) != 0).any(dim=2)


def _largest(values: Tensor, count: int) -> Tensor:
    """A mask of the largest values of each row."""
    index = values.topk(min(count, values.shape[1]), dim=1).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter(1, index, True)
