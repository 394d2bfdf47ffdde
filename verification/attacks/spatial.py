"""Attacks that rotate and shift images: no norm ball, and no surrogate is claimed for them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from bounds.errors import InputError
from bounds.network.running import Model
from verification.attacks.objectives import log_odds
from verification.attacks.result import FamilyAttack
from verification.attacks.search import Search, search_all


def spatial_attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    degrees: float,
    shift: float,
    *,
    grid: int = 5,
    draws: int = 50,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FamilyAttack:
    """The worst of many rotations by at most `degrees` and shifts by at most `shift` pixels along either axis.

    Tried are all combinations of `grid` evenly spaced angles and shifts, then random ones. Images are resampled
    bilinearly; what comes from outside is 0.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        x: images, (n, channels, height, width), input units.
        y: labels, (n,), int64.
        degrees: largest angle.
        shift: largest shift along each axis, pixels.
        grid: angles and shifts per axis on the grid, odd so that the image itself is among them.
        draws: random transformations tried after the grid.
        seed: seed of these; equal arguments give equal bits.
        progress: called with (samples done, samples).

    Returns:
        Side: lower bound of the robust loss over this family. No surrogate is claimed to bound it.

    Raises:
        InputError: for inputs that are no images, negative limits, or an even grid.

    >>> corner = torch.zeros(1, 1, 3, 3); corner[..., 0, 0] = 1.0
    >>> reads_it = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2, bias=False)).double()
    >>> reads_it[1].weight.data = torch.stack([corner.flatten(), torch.zeros(9)]).double()
    >>> round(spatial_attack(reads_it, corner, torch.tensor([0]), degrees=0.0, shift=1.0).loss.item(), 6)  # ln 2
    0.693147
    """
    if x.dim() != 4:
        raise InputError(
            f"spatial attack on inputs of shape {tuple(x.shape[1:])}: images (channels, height, width) needed"
        )
    if degrees < 0 or shift < 0 or grid < 1 or grid % 2 == 0:
        raise InputError(
            f"spatial attack by {degrees:g} degrees and {shift:g} pixels on a grid of {grid}: limits must not be"
            " negative, the grid odd"
        )
    steps = torch.linspace(-1.0, 1.0, grid, dtype=torch.float64).tolist() if grid > 1 else [0.0]
    random = torch.rand(draws, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    tried = [*itertools.product(steps, steps, steps), *map(tuple, random.tolist())]

    def search_chunk(run: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Search:
        search = Search(run, inputs, labels, log_odds, lambda delta: torch.ones(len(delta), dtype=torch.bool))
        for turn, right, down in tried:
            search.look(moved(inputs, degrees * turn, shift * right, shift * down) - inputs)
        return search

    words = f"rotated by at most {degrees:g} degrees, shifted by at most {shift:g} pixels"
    return FamilyAttack(words, *search_all(model, x, y, search_chunk, progress))


def moved(images: Tensor, degrees: float, right: float, down: float) -> Tensor:
    """Images rotated about their centre, then shifted; bilinear, zero outside.

    >>> moved(torch.tensor([[[[1.0, 0.0, 0.0]] * 3]]).double(), 0.0, 1.0, 0.0)[0, 0, 0].round(decimals=9)
    tensor([0., 1., 0.], dtype=torch.float64)
    """
    height, width = images.shape[2:]
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    # affine_grid maps output to input positions, in coordinates that run from -1 to 1 along each axis.
    across, along = -2 * right / width, -2 * down / height
    matrix = torch.tensor(
        [
            [cos, sin * height / width, cos * across + sin * height / width * along],
            [-sin * width / height, cos, -sin * width / height * across + cos * along],
        ],
        dtype=images.dtype,
    )
    positions = functional.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, positions, align_corners=False)
