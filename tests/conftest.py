"""What all tests share: one thread, and the folder of real data where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the workers of pytest-xdist fill the cores


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data that JACOBOUND_DATA names; where it is unset, their tests skip visibly."""
    folder = os.environ.get("JACOBOUND_DATA")
    if not folder:
        pytest.skip("JACOBOUND_DATA is not set: no real data here")
    return Path(folder)
