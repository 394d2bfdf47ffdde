from __future__ import annotations

import itertools
import math

import pytest
import torch

from bounds.measure import max_pool_lipschitz
from bounds.network.nonlinear import MaxPool

POOLS = [
    ((2,), (2,), (0,), (1,), False),
    ((3,), (2,), (1,), (1,), False),
    ((3,), (1,), (1,), (1,), False),
    ((3,), (2,), (0,), (1,), True),
    ((2,), (1,), (0,), (3,), False),
    ((3, 2), (2, 1), (1, 0), (1, 2), False),
    ((3, 3), (2, 3), (1, 1), (2, 1), True),
    ((2,), (3,), (0,), (1,), False),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil_mode"), POOLS)
def test_is_attained_and_never_exceeded(
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool,
) -> None:
    pool = MaxPool((1, *(7, 6)[: len(kernel)]), kernel, stride, padding, dilation, ceil_mode)
    constant = max_pool_lipschitz(pool).value
    low = torch.zeros(1, *pool.in_shape, dtype=torch.float64)
    stretches = []
    for pixel in itertools.product(*(range(n) for n in pool.in_shape)):
        high = low.clone()
        high[(0, *pixel)] = 1.0
        stretches.append(float((pool(high) - pool(low)).norm()))
    assert math.isclose(max(stretches), constant, rel_tol=1e-12)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(200, *pool.in_shape, generator=generator, dtype=torch.float64) for _ in range(2))
    moved = (pool(a) - pool(b)).flatten(1).norm(dim=1)
    assert bool((moved <= constant * (a - b).flatten(1).norm(dim=1) * (1 + 1e-12)).all())
