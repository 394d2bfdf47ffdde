"""Lipschitz constant of max-pooling (theory L7.3)."""

from __future__ import annotations

import math

from bounds.network.nonlinear import MaxPool
from bounds.sides import Exact


def max_pool_lipschitz(pool: MaxPool) -> Exact:
    """Lipschitz constant of a max-pool in ‖·‖_2: the root of the largest number of windows that share a unit.

    Each output moves by at most the largest move in its window, and a unit is counted once per window that
    holds it.
    Attained: raise the most shared unit above all others, and every window that holds it moves along (theory
        L7.3).

    Example:
        >>> max_pool_lipschitz(MaxPool((1, 8, 8), (3, 3), (2, 2), (1, 1), (1, 1), ceil_mode=False)).value
        2.0
    """
    return Exact(math.sqrt(pool.overlap), "root of the overlap (L7.3)")
