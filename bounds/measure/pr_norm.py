"""Operator norms ‖J‖_{p→r} of a batch of matrices (theory §3), from both sides."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.errors import InputError

_SIGNS_UP_TO = 12  # rows up to which {±1}^K is enumerated
_POWER_STEPS = 50
_PIECE = 1 << 20  # numbers worked on at once: Jacobians can be large, and are not to be copied


@dataclass(frozen=True)
class SampleBounds:
    """Lower and upper bounds of one quantity at every sample, shape (n,); equal where the value is exact."""

    lower: Tensor
    upper: Tensor


def spectral(jacobian: Tensor) -> Tensor:
    """‖J‖_2 of a batch (n, K, d), from the smaller Gram matrix; exact to rounding.

    >>> spectral(torch.tensor([[[3.0, 0.0], [0.0, 4.0]]], dtype=torch.float64))
    tensor([4.], dtype=torch.float64)
    """
    unit = _largest(jacobian, (1, 2))  # in this unit squares neither under- nor overflow
    wide = jacobian if jacobian.shape[1] <= jacobian.shape[2] else jacobian.mT
    squares: Tensor = torch.linalg.eigvalsh(_gram(wide, unit))[:, -1]
    return squares.clamp(min=0).sqrt() * unit[:, 0, 0]


def _gram(matrices: Tensor, unit: Tensor) -> Tensor:
    """A A^T of a batch A (n, k, l), in the given unit (n, 1, 1)."""
    gram = matrices.new_zeros(len(matrices), matrices.shape[1], matrices.shape[1])
    for piece in pieces(matrices, 2):
        scaled = piece / unit
        gram += scaled @ scaled.mT
    return gram


def pieces(matrices: Tensor, dim: int) -> tuple[Tensor, ...]:
    """A large batch (n, k, l) in pieces along one axis (views), so that work on one after another takes little memory.

    >>> [tuple(piece.shape) for piece in pieces(torch.empty(1, 1, 1 << 21), 2)]
    [(1, 1, 1048576), (1, 1, 1048576)]
    """
    views: tuple[Tensor, ...] = matrices.split(max(1, _PIECE * matrices.shape[dim] // max(1, matrices.numel())), dim)
    return views


def row_norms(matrices: Tensor, q: float) -> Tensor:
    """‖·‖_q of every row of a batch (n, k, l): shape (n, k).

    >>> row_norms(torch.tensor([[[3.0, 4.0], [0.0, 2.0]]]), 2)
    tensor([[5., 2.]])
    """
    return torch.cat([vector_norms(piece, q, 2) for piece in pieces(matrices, 1)], 1)


def _column_norms(matrices: Tensor, r: float) -> Tensor:
    return torch.cat([vector_norms(piece, r, 1) for piece in pieces(matrices, 2)], 1)


def vector_norms(vectors: Tensor, p: float, dim: int) -> Tensor:
    """‖·‖_p along one axis.

    >>> vector_norms(torch.tensor([[3.0, -4.0]]), 1, 1)
    tensor([7.])
    """
    if p in (1, math.inf):
        norms: Tensor = torch.linalg.vector_norm(vectors, p, dim=dim)
        return norms
    unit = _largest(vectors.detach(), (dim,))  # in this unit powers neither under- nor overflow
    norms = torch.linalg.vector_norm(vectors / unit, p, dim=dim)
    return norms * unit.squeeze(dim)


def _largest(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Largest absolute value along some axes, which are kept; 1 where all are 0."""
    largest = torch.maximum(values.amax(dims, keepdim=True), -values.amin(dims, keepdim=True))
    return torch.where(largest > 0, largest, 1.0)


def operator_norm_pr(jacobian: Tensor, p: float, r: float) -> SampleBounds:
    """‖J‖_{p→r} = max over ‖v‖_p ≤ 1 of ‖Jv‖_r, of a batch (n, K, d), from both sides (theory L3.3).

    Exact for p = 1, r = ∞, p = r = 2, and r = 1 with K ≤ 12 (or p = ∞ with d ≤ 12, by duality). Otherwise the
    lower end comes from the power method (L3.2), and the upper end is the smallest of ‖(‖row_k‖_q)_k‖_r,
    ‖(‖column_j‖_r)_j‖_q (q dual to p) and d^{max(0,1/2-1/p)}·K^{max(0,1/r-1/2)}·σ_1 (L5.6).

    Raises:
        InputError: if p or r is below 1.

    Example:
        >>> hadamard = torch.tensor([[[1.0, 1.0], [1.0, -1.0]]], dtype=torch.float64)
        >>> operator_norm_pr(hadamard, math.inf, 1).upper
        tensor([2.], dtype=torch.float64)
    """
    if min(p, r) < 1:
        raise InputError(f"operator norm: needs p, r >= 1, not ({p}, {r})")
    exact = _exact_operator_norm(jacobian, p, r)
    if exact is not None:
        return SampleBounds(exact, exact)
    lower, upper = power_method(jacobian, p, r)[0], _operator_norm_upper(jacobian, p, r)
    return SampleBounds(lower, torch.maximum(lower, upper))


def dual_exponent(p: float) -> float:
    """Q with 1/p + 1/q = 1.

    >>> dual_exponent(1), dual_exponent(2), dual_exponent(math.inf)
    (inf, 2.0, 1.0)
    """
    return math.inf if p == 1 else 1.0 if p == math.inf else p / (p - 1)


def dual_vector(z: Tensor, p: float) -> Tensor:
    """Argmax of v·z over ‖v‖_p ≤ 1, along the last axis (theory L3.1); the first basis vector where z = 0.

    >>> dual_vector(torch.tensor([3.0, -4.0]), 2)
    tensor([ 0.6000, -0.8000])
    """
    largest = z.abs().amax(-1, keepdim=True)
    first = torch.zeros_like(z)
    first[..., 0] = 1.0
    z = torch.where(largest > 0, z / torch.where(largest > 0, largest, 1.0), first)
    if p == 1:
        top = z.abs().argmax(-1, keepdim=True)
        return torch.zeros_like(z).scatter(-1, top, z.gather(-1, top).sign())
    if p == math.inf:
        return z.sign()
    powers = z.sign() * z.abs() ** (dual_exponent(p) - 1)
    return powers / vector_norms(powers, p, -1).unsqueeze(-1)


def power_method(
    jacobian: Tensor, p: float, r: float, steps: int = _POWER_STEPS, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Lower bounds of ‖J‖_{p→r} and the vectors, ‖v‖_p = 1, that attain them (theory L3.2; Boyd, Higham).

    Starts: the row with the largest q-norm, the dual of the top right singular vector and two random vectors;
    the value never decreases along the iteration. Only a stationary value in general; the maximum for p = r = 2.

    Returns:
        Values, shape (n,), and vectors, shape (n, d).
    """
    generator = torch.Generator().manual_seed(seed)
    n, _, d = jacobian.shape
    rows = _longest_row(jacobian, dual_exponent(p))
    starts = [dual_vector(rows, p), dual_vector(_top_right_singular_vector(jacobian), p)]
    starts += [
        dual_vector(torch.randn(n, d, generator=generator, dtype=torch.float64).to(jacobian), p) for _ in range(2)
    ]
    best, vectors = torch.full((n,), -1.0).to(jacobian), torch.zeros_like(rows)
    for start in starts:
        for v in itertools.islice(power_iterates(jacobian, p, r, start), steps):
            value = vector_norms(_apply(jacobian, v), r, 1)
            better = value > best
            best, vectors = torch.where(better, value, best), torch.where(better[:, None], v, vectors)
    return best, vectors


def power_iterates(jacobian: Tensor, p: float, r: float, start: Tensor) -> Iterator[Tensor]:
    """The vectors v_0 = start, v_1, v_2, ... of the power method for ‖J‖_{p→r}, without end (theory L3.2).

    Args:
        jacobian: batch (n, K, d).
        p: exponent of the input norm.
        r: exponent of the output norm.
        start: v_0, (n, d), ‖v_0‖_p = 1.

    Yields:
        (n, d), ‖v_k‖_p = 1; ‖J v_k‖_r never decreases.

    Example:
        >>> stretch = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
        >>> iterates = power_iterates(stretch, math.inf, math.inf, torch.tensor([[0.25, -1.0]]))
        >>> next(iterates), next(iterates)
        (tensor([[ 0.2500, -1.0000]]), tensor([[ 0., -1.]]))
    """
    v = start
    while True:
        yield v
        u = dual_vector(_apply(jacobian, v), dual_exponent(r))  # the functional of r-norm: u·w = ‖w‖_r
        v = dual_vector(torch.einsum("nkd,nk->nd", jacobian, u), p)


def maximiser(jacobian: Tensor, p: float, r: float) -> Tensor:
    """A vector with ‖v‖_p = 1 and the largest ‖Jv‖_r that is known, of a batch (n, K, d): shape (n, d).

    It attains ‖J‖_{p→r} where `operator_norm_pr` is exact, and its lower end elsewhere.

    >>> maximiser(torch.tensor([[[3.0, 0.0], [0.0, 4.0]]]), 1, 2)
    tensor([[0., 1.]])
    """
    exact = _exact_maximiser(jacobian, p, r)
    return power_method(jacobian, p, r)[1] if exact is None else exact


def _exact_operator_norm(jacobian: Tensor, p: float, r: float) -> Tensor | None:
    v = _exact_maximiser(jacobian, p, r)
    return None if v is None else vector_norms(_apply(jacobian, v), r, 1)


def _exact_maximiser(jacobian: Tensor, p: float, r: float) -> Tensor | None:
    n, outputs, inputs = jacobian.shape
    if p == 1:
        column = _column_norms(jacobian, r).argmax(1, keepdim=True)
        return jacobian.new_zeros(n, inputs).scatter(1, column, 1.0)
    if r == math.inf:
        return dual_vector(_longest_row(jacobian, dual_exponent(p)), p)
    if p == r == 2:
        return dual_vector(_top_right_singular_vector(jacobian), 2)
    if r == 1 and outputs <= _SIGNS_UP_TO:
        return dual_vector(torch.einsum("nkd,nk->nd", jacobian, _best_signs(jacobian, dual_exponent(p))), p)
    if p == math.inf and inputs <= _SIGNS_UP_TO:
        return _best_signs(jacobian.mT, r)
    return None


def _best_signs(jacobian: Tensor, q: float) -> Tensor:
    """Argmax over s in {±1}^K of ‖J^T s‖_q, (n, K); s and -s agree, so s_1 = 1."""
    best, chosen = jacobian.new_full((len(jacobian),), -1.0), jacobian.new_zeros(jacobian.shape[:2])
    signs = torch.tensor([(1, *s) for s in itertools.product((1, -1), repeat=jacobian.shape[1] - 1)]).to(jacobian)
    for block in signs.split(64):
        value, at = vector_norms(block @ jacobian, q, 2).max(1)
        better = value > best
        best, chosen = torch.where(better, value, best), torch.where(better[:, None], block[at], chosen)
    return chosen


def _apply(jacobian: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("nkd,nd->nk", jacobian, v)


def _longest_row(jacobian: Tensor, q: float) -> Tensor:
    return jacobian[torch.arange(len(jacobian)), row_norms(jacobian, q).argmax(1)]


def _operator_norm_upper(jacobian: Tensor, p: float, r: float) -> Tensor:
    _, outputs, inputs = jacobian.shape
    q = dual_exponent(p)
    by_rows = vector_norms(row_norms(jacobian, q), r, 1)
    by_columns = vector_norms(_column_norms(jacobian, r), q, 1)
    by_spectrum = inputs ** max(0.0, 0.5 - 1 / p) * outputs ** max(0.0, 1 / r - 0.5) * spectral(jacobian)
    return torch.minimum(torch.minimum(by_rows, by_columns), by_spectrum) * (1 + 1e-12)


def _top_right_singular_vector(jacobian: Tensor) -> Tensor:
    unit = _largest(jacobian, (1, 2))
    left = torch.linalg.eigh(_gram(jacobian, unit))[1][:, :, -1]
    return torch.cat([torch.einsum("nkd,nk->nd", piece / unit, left) for piece in pieces(jacobian, 2)], 1)
