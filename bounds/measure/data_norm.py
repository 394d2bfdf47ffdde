"""Norms of a sample (for empirical Rademacher complexities) and of the support (for PAC-Bayes), theory §0."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.sides import Exact, Upper


@dataclass(frozen=True)
class DataNorms:
    """Norms of the sample matrix X (rows = samples), in input units; for the support see `support_radius`.

    Attributes:
        frobenius: ‖X‖_F.
        column_max: max_j ‖X_{:,j}‖_2 over input coordinates j.
        sample_radius: B_S = max over samples of ‖x‖_2.
        n: number of samples.
    """

    frobenius: Exact
    column_max: Exact
    sample_radius: Exact
    n: int


def data_norms(
    batches: Iterable[tuple[Tensor, Tensor]], progress: Callable[[int, int], None] | None = None
) -> DataNorms:
    """Norms of a sample in one streaming pass, float64 (exact to rounding).

    Args:
        batches: pairs (x, y), x of shape (batch, *input_shape); y is not used.
        progress: called with (samples so far, 0), the total being unknown.

    Raises:
        InputError: if there is no sample, or a value is not finite.

    Example:
        >>> x = torch.tensor([[3.0, 4.0], [0.0, 12.0]])
        >>> norms = data_norms([(x, torch.zeros(2))])
        >>> norms.frobenius.value, norms.sample_radius.value, norms.n
        (13.0, 12.0, 2)
    """
    columns: Tensor | None = None
    radius, n = 0.0, 0
    for x, _ in batches:
        squares = x.to(torch.float64).flatten(1).square()
        if not len(squares):
            continue
        columns = squares.sum(0) if columns is None else columns + squares.sum(0)
        radius = max(radius, float(squares.sum(1).max()))
        n += len(squares)
        if progress is not None:
            progress(n, 0)
    if columns is None:
        raise InputError("data: there are no samples")
    if not bool(torch.isfinite(columns).all()):
        raise InputError("data: a value is not finite")
    frobenius = math.sqrt(float(columns.sum()))
    return DataNorms(Exact(frobenius), Exact(math.sqrt(float(columns.max()))), Exact(math.sqrt(radius)), n)


def support_radius(input_shape: tuple[int, ...], p: float, box: tuple[float, float] = (0.0, 1.0)) -> Upper:
    """B_𝒳: sup of ‖x‖_p over all inputs with coordinates in the box, in input units; attained at a corner.

    Raises:
        InputError: if p < 1 or the box is empty or unbounded.

    Example:
        >>> support_radius((1, 28, 28), 2).value
        28.0
    """
    low, high = box
    if not (p >= 1 and math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"support radius: needs p >= 1 and a bounded box, not p={p} and {box}")
    largest = max(abs(low), abs(high))
    return Upper(largest * math.prod(input_shape) ** (1 / p), f"corner of the box [{low}, {high}]")
