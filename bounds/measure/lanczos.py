"""Lanczos with full reorthogonalisation, and what it certifies about the largest eigenvalue (theory L7.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDING = 1e-12
UNDERFLOW = 1e-200
"""Relative allowance for floating point in float64 products and dot products; added outwards."""


@dataclass(frozen=True)
class Krylov:
    """State after k steps of b independent Lanczos runs.

    Attributes:
        basis: shape (b, k, N), orthonormal rows per run.
        alpha: shape (b, k), diagonal of the tridiagonal matrices T.
        beta: shape (b, k), off-diagonals; the last one couples to the next, unseen vector.
    """

    basis: Tensor
    alpha: Tensor
    beta: Tensor

    def tridiagonal(self) -> Tensor:
        """T, shape (b, k, k): the operator seen from the Krylov space."""
        off_diagonal = self.beta[:, :-1]
        return torch.diag_embed(self.alpha) + torch.diag_embed(off_diagonal, 1) + torch.diag_embed(off_diagonal, -1)


def lanczos(
    product: Callable[[Tensor], Tensor], start: Tensor, steps: int, generator: torch.Generator
) -> Iterator[Krylov]:
    """Unrestarted Lanczos on b symmetric operators of dimension N at once; yields its state after every step.

    A run whose Krylov space is exhausted goes on with a fresh random direction orthogonal to it and records a
    zero off-diagonal, so that T stays a projection of the operator.

    Args:
        product: maps (b, N) to (b, N), symmetric in each row.
        start: shape (b, N), float64.
        steps: largest number of products; at most N are made.
        generator: source of the fresh directions.

    Example:
        >>> diagonal = torch.tensor([3.0, 1.0, -2.0], dtype=torch.float64)
        >>> start = torch.ones(1, 3, dtype=torch.float64)
        >>> *_, last = lanczos(lambda v: v * diagonal, start, 10, torch.Generator())
        >>> [round(value, 9) for value in torch.linalg.eigvalsh(last.tridiagonal())[0].tolist()]
        [-2.0, 1.0, 3.0]
    """
    runs, dimension = start.shape
    steps = min(steps, dimension)
    basis = start.new_zeros(runs, steps, dimension)
    alpha, beta = start.new_zeros(runs, steps), start.new_zeros(runs, steps)
    basis[:, 0] = start / start.norm(dim=1, keepdim=True)
    for k in range(steps):
        known = basis[:, : k + 1]
        image = product(known[:, k])
        scale = _norm(image)
        alpha[:, k] = (image * known[:, k]).sum(1)
        rest = image - alpha[:, k, None] * known[:, k]
        if k:
            rest -= beta[:, k - 1, None] * known[:, k - 1]
        rest = _orthogonalise(rest, known)
        beta[:, k] = _norm(rest)
        exhausted = beta[:, k] <= ROUNDING * torch.maximum(scale, alpha[:, : k + 1].abs().amax(1))
        beta[exhausted, k] = 0.0
        yield Krylov(known, alpha[:, : k + 1], beta[:, : k + 1])
        if k + 1 == steps:
            return
        if exhausted.any():
            fresh = torch.randn(start.shape, generator=generator, dtype=start.dtype)
            rest = torch.where(exhausted[:, None], _orthogonalise(fresh, known), rest)
        basis[:, k + 1] = _normalised(rest)
        if (beta[:, k] < 1e-6 * scale).any():  # cancellation has magnified what was left along the basis
            basis[:, k + 1] = _normalised(_orthogonalise(basis[:, k + 1], known))


def largest_eigenvalue_upper(krylov: Krylov, dimension: int, failure: float) -> float:
    """Upper bound of λ_1 of a positive semidefinite operator from Lanczos with independent Gaussian starts.

    [derived; theory L7.2 and a sharper form] A run with unit start b can only mislead if |<b, v_1>| < τ for
    the top eigenvector v_1, which has probability at most τ√(2N/π). With r runs all of them must miss, so τ =
    failure^(1/r)·√(π/(2N)); the event does not depend on k, so k may be chosen while looking at the result.
    If |<b, v_1>| ≥ τ:

    * λ_1 ≤ θ_k/(1-ε), ε = tanh²(arccosh(1/τ)/(2k-1)), whatever the spectrum (the Chebyshev polynomial
      T_{2k-1} of √(1-λ/μ), after Kuczyński & Woźniakowski 1992);
    * Σ_{j≤k} p_j(λ_1)² ≤ 1/τ² for the polynomials p_j orthonormal under the spectral measure of b, whose
      recurrence is T (Christoffel function: with p = Σ_j p_j(λ_1)p_j, ∫p² ≥ τ²p(λ_1)²). The left side grows
      beyond θ_k.

    Rounding: the entries of T are moved outwards by `ROUNDING`·θ_k; with two runs τ stays far above the
        rounding of b.

    Args:
        krylov: r runs on the same operator.
        dimension: N.
        failure: probability, over the starts, that the result is below λ_1.

    Example:
        >>> diagonal = torch.linspace(0, 1, 500, dtype=torch.float64)
        >>> start = torch.randn(2, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> *_, last = lanczos(lambda v: v * diagonal, start, 80, torch.Generator())
        >>> 1.0 <= largest_eigenvalue_upper(last, 500, failure=1e-12) < 1.01
        True
    """
    inverse_tau = math.sqrt(2 * dimension / math.pi) / failure ** (1 / len(krylov.alpha))
    ritz = torch.linalg.eigvalsh(krylov.tridiagonal())[:, -1].tolist()
    # Squares below float64's range vanish: an operator that is not 0 is not taken to be smaller than this.
    floor = UNDERFLOW if bool((krylov.alpha != 0).any()) else 0.0
    runs = zip(ritz, krylov.alpha.tolist(), krylov.beta.tolist(), strict=True)
    return max(floor, *(_one_run_upper(theta, alpha, beta, max(inverse_tau, 1.0)) for theta, alpha, beta in runs))


def _one_run_upper(theta: float, alpha: list[float], beta: list[float], inverse_tau: float) -> float:
    allowance = ROUNDING * max(theta, 0.0)
    low = theta + 4 * allowance
    high = low * math.cosh(math.acosh(inverse_tau) / (2 * len(alpha) - 1)) ** 2  # 1/(1-ε)
    if _christoffel_sum(high, alpha, beta, allowance, inverse_tau**2) < inverse_tau**2:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        if _christoffel_sum(middle, alpha, beta, allowance, inverse_tau**2) < inverse_tau**2:
            low = middle
        else:
            high = middle
    return high


def _christoffel_sum(x: float, alpha: list[float], beta: list[float], allowance: float, enough: float) -> float:
    """Σ_j p_j(x)², cut off once it is `enough`; each p_j falls when an entry of T grows, so T is inflated."""
    previous, current, coupling = 0.0, 1.0, 0.0
    total = 1.0
    for a, b in zip(alpha, beta, strict=True):
        ahead = (x - a - allowance) * current - coupling * previous
        if ahead <= 0 or b + allowance == 0:  # x is not safely beyond the inflated T, or T = 0
            return total
        coupling = b + allowance
        previous, current = current, ahead / coupling
        total += current * current
        if total >= enough or b == 0:  # after a zero off-diagonal T no longer describes the first start
            return total
    return total


def _orthogonalise(vectors: Tensor, basis: Tensor) -> Tensor:
    return vectors - torch.einsum("bk,bkn->bn", torch.einsum("bkn,bn->bk", basis, vectors), basis)


def _normalised(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors / _largest(vectors), dim=1, eps=0.0)


def _norm(vectors: Tensor) -> Tensor:
    """Euclidean norms, (b,), also of vectors whose squares are out of float64's range."""
    largest = _largest(vectors)
    norms: Tensor = torch.linalg.vector_norm(vectors / largest, dim=1) * largest[:, 0]
    return norms


def _largest(vectors: Tensor) -> Tensor:
    """Largest entry of each, (b, 1); 1 for 0."""
    largest = vectors.abs().amax(dim=1, keepdim=True)
    return torch.where(largest > 0, largest, 1.0)
