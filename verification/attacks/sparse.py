"""Attacks that change few pixels: l0 balls, which are not convex and for which no surrogate is claimed."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.network.running import Model
from verification.attack_set import AttackSet
from verification.attacks.ascent import Region
from verification.attacks.attack import climb
from verification.attacks.objectives import objective
from verification.attacks.result import FamilyAttack
from verification.attacks.search import Search, search_all

INFLATION, FIRST = 4.0, 20.0  # see `Region`; measured as for the norm balls


def sparse_attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    pixels: int,
    *,
    steps: int = 40,
    restarts: int = 2,
    box: tuple[float, float] = (0.0, 1.0),
    loss: str = "cross-entropy",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FamilyAttack:
    """Change at most `pixels` pixels of each input, each to any value of the box, so that the loss is large.

    The walks are those of `attack`; the region that shrinks is the number of pixels. A pixel is a position with all
    its channels for inputs (channels, height, width), else a coordinate.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        pixels: how many may change.
        steps: forward and backward passes per restart.
        restarts: number of walks.
        box: valid input values.
        loss: what is maximised, as in `attack`.
        seed: seed of the random starts; equal arguments give equal bits.
        progress: called with (samples done, samples).

    Returns:
        Side: lower bound of the robust loss over this family. No surrogate is claimed to bound it.

    Raises:
        InputError: for fewer than one pixel, step or restart, an unknown loss, a bad label, an input outside the box,
            or a model whose samples influence each other.

    >>> linear = torch.nn.Linear(3, 2, bias=False).double()
    >>> linear.weight.data = torch.tensor([[0.0, 0.0, 0.0], [1.0, 5.0, 2.0]], dtype=torch.float64)
    >>> sparse_attack(linear, torch.zeros(1, 3), torch.tensor([0]), pixels=2).delta
    tensor([[0., 1., 1.]], dtype=torch.float64)
    """
    if pixels < 1:
        raise InputError(f"sparse attack on {pixels} pixels: it needs at least 1")
    anywhere = AttackSet("linf", abs(box[1] - box[0]), box)
    generator = torch.Generator().manual_seed(seed)

    def search_chunk(run: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Search:
        def project(delta: Tensor, radius: float) -> Tensor:
            return few_pixels(delta, anywhere.project(delta, inputs), round(radius * pixels))

        def allowed(delta: Tensor) -> Tensor:
            return anywhere.contains(delta, inputs) & (_by_pixel(delta != 0).any(dim=2).sum(dim=1) <= pixels)

        search = Search(run, inputs, labels, objective(loss), allowed)
        region = Region(project, math.sqrt(pixels) * anywhere.eps, "l2", INFLATION, FIRST)
        climb(search, region, steps, restarts, generator)
        return search

    words = f"at most {pixels} pixels changed within [{box[0]:g}, {box[1]:g}]"
    return FamilyAttack(words, *search_all(model, x, y, search_chunk, progress))


def few_pixels(delta: Tensor, inside: Tensor, pixels: int) -> Tensor:
    """Projection onto an l0 ball within a box: keep those pixels that would be missed most.

    Args:
        delta: points, (n, *shape).
        inside: their projections onto the box.
        pixels: how many are kept.

    >>> few_pixels(torch.tensor([[3.0, -2.0, 1.9]]), torch.tensor([[0.5, -1.0, 1.9]]), 2)
    tensor([[ 0.0000, -1.0000,  1.9000]])
    """
    # Squared distance saved by keeping a coordinate: delta² - (delta - inside)².
    saved = _by_pixel(inside * (2 * delta - inside)).sum(dim=2)
    index = saved.topk(min(pixels, saved.shape[1]), dim=1).indices
    kept = torch.zeros_like(saved, dtype=torch.bool).scatter(1, index, True)
    positions = (1, *delta.shape[2:]) if delta.dim() == 4 else delta.shape[1:]
    return torch.where(kept.reshape(len(delta), *positions), inside, 0.0)


def _by_pixel(values: Tensor) -> Tensor:
    """(n, pixels, channels)."""
    return values.flatten(2).transpose(1, 2) if values.dim() == 4 else values.flatten(1)[:, :, None]
