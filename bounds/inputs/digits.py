"""The 8×8 handwritten digits that come with scikit-learn, split once and for all."""

from __future__ import annotations

import numpy as np
import torch

from bounds.inputs.data import Data

_TEST_SHARE = 0.2
_SPLIT_SEED = 0


def load_digits(split: str) -> Data:
    """The digits, pixels k/16 in [0, 1] (exact in float32), shape (1, 8, 8); 1438 for training, 359 for test.

    The split is stratified: within each class, the first fifth (rounded) of a seeded permutation is the test
    set. Within a split the samples keep scikit-learn's order.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    x, y = sklearn_digits(return_X_y=True)
    # RandomState, because numpy promises never to change its stream; Generator's may change.
    generator = np.random.RandomState(_SPLIT_SEED)
    test = np.zeros(len(y), dtype=bool)
    for label in range(10):
        members = generator.permutation(np.flatnonzero(y == label))
        test[members[: round(_TEST_SHARE * len(members))]] = True
    chosen = test if split == "test" else ~test
    images = torch.tensor(x[chosen] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return Data("digits", images, torch.tensor(y[chosen], dtype=torch.int64), 10, (0.0, 1.0), "Digits (8×8)")
