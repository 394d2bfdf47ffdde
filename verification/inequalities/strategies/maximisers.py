"""Vectors that attain operator norms: dual maps, and vertices of the ball among which the best one is."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch

from verification.inequalities import reals

CLEAR = 1e-4
"""Relative lead by which a maximiser must win to count as the only one."""


def batch_of_one(x: Any) -> torch.Tensor:
    """A batch of one."""
    return torch.from_numpy(np.array(x, dtype=np.float64))[None]


def first_of(x: torch.Tensor) -> np.ndarray:
    """The only one of a batch."""
    found: np.ndarray = x[0].detach().numpy()
    return found


def dual_map(z: Any, p: float) -> Any:
    """Maximiser of v·z over ‖v‖_p <= 1: sign(z)|z|^{q-1} / ‖z‖_q^{q-1}; the first basis vector where z = 0."""
    z = reals.real(z)
    size = np.abs(z)
    sign = np.where(z < 0, reals.real(-1), np.where(z > 0, reals.real(1), reals.real(0)))
    if p == 1 or not (size > 0).any():
        at = int(np.argmax(size))
        unit = reals.real(np.zeros(len(z)))
        unit[at] = sign[at] if size[at] > 0 else reals.real(1)
        return unit
    if p == math.inf:
        return sign
    q = reals.dual(p)
    return sign * reals.power(size / reals.norm(z, q), q - 1)


def all_signs(count: int) -> np.ndarray:
    """{±1}^count, (2^count, count)."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=count)))


def vertices(J: Any, p: float, r: float) -> Any:
    """Vectors with ‖v‖_p = 1 among which ‖Jv‖_r is largest, (m, d); some more where no list is known."""
    K, d = J.shape
    axes = reals.real(np.eye(d))
    if p == 1:
        return axes
    if p == math.inf:
        return reals.real(all_signs(d))
    functionals = [*reals.real(np.eye(K)), *(reals.real(all_signs(K)) if r != math.inf else ())]
    found = [dual_map(J.T @ u, p) for u in functionals]
    if r not in (1, math.inf):
        found += [dual_map(axis, p) for axis in axes]
        found += [dual_map(v, p) for v in np.linalg.svd(np.asarray(J, dtype=np.float64))[2]]
    return np.array(found)


def enumerated_norm(J: Any, p: float, r: float) -> Any:
    """‖J‖_{p→r} by enumeration or, for p = r = 2, all singular values; otherwise a lower bound."""
    if p == r == 2:
        return reals.spectral(J)
    return reals.norm(vertices(J, p, r) @ J.T, r, axis=1).max()


def is_clear(z: Any, p: float) -> bool:
    """Whether the dual map of z is the only maximiser, by far."""
    size = np.sort(np.abs(np.asarray(z, dtype=np.float64)))[::-1]
    if not size[0] > 0:
        return False
    if p == 1:
        return len(size) == 1 or bool(size[1] <= size[0] * (1 - CLEAR))
    return p != math.inf or bool(size[-1] >= CLEAR * size[0])


def move(J: Any, v: Any, p: float, functional: float) -> tuple[Any, Any]:
    """U and the next iterate of the power method; `functional` is the exponent of u's own norm, dual to r."""
    u = dual_map(J @ v, functional)
    return u, dual_map(J.T @ u, p)
