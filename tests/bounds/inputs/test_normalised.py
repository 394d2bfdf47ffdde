"""`Normalised` is (x - mean)/std in front of a network, and survives export and double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs import Normalised


def test_each_channel_has_its_own_numbers() -> None:
    x = np.random.default_rng(0).random((2, 3, 4, 5))
    mean, std = [0.5, 0.25, 0.125], [0.5, 0.25, 2.0]
    module = Normalised(nn.Identity(), mean, std).double()
    expected = np.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], axis=1)
    np.testing.assert_allclose(module(torch.tensor(x)).numpy(), expected, rtol=1e-15)


def test_one_number_for_all_channels_and_flat_inputs() -> None:
    assert Normalised(nn.Identity(), [1.0], [2.0])(torch.full((1, 3, 2), 5.0)).unique().tolist() == [2.0]
    assert Normalised(nn.Identity(), [1.0, 2.0], [2.0, 1.0])(torch.full((1, 2), 5.0)).tolist() == [[2.0, 3.0]]


def test_mode_and_precision_follow_the_network() -> None:
    assert not Normalised(nn.Linear(2, 2).eval(), [0.0], [1.0]).training
    assert Normalised(nn.Linear(2, 2).double(), [0.1], [1.0]).mean.item() == 0.1
    assert Normalised(nn.Linear(2, 2), [0.1], [1.0]).mean.dtype == torch.float32


def test_it_can_be_exported() -> None:
    module = Normalised(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), [0.5] * 3, [0.25] * 3).eval()
    x = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    dynamic = ({0: torch.export.Dim("b", min=1)},)
    program = torch.export.export(module, (x,), dynamic_shapes=dynamic)
    torch.testing.assert_close(program.module()(x), module(x))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.0], [0.0], "stds positive"),
        ([0.0, 0.0], [1.0, -1.0], "stds positive"),
        ([math.nan], [1.0], "means must be finite"),
        ([0.0], [math.inf], "means must be finite"),
        ([0.0], [1.0, 1.0], "1 means and 2 stds"),
        ([], [], "0 means and 0 stds"),
    ],
)
def test_refusals(mean: list[float], std: list[float], message: str) -> None:
    with pytest.raises(InputError, match=f"^normalisation: .*{message}"):
        Normalised(nn.Identity(), mean, std)


def test_wrong_number_of_channels() -> None:
    with pytest.raises(InputError, match="^normalisation: 3 channels, but the input has 1"):
        Normalised(nn.Identity(), [0.0] * 3, [1.0] * 3)(torch.zeros(1, 1, 2, 2))
