"""Checkpoint files for tests: a network, factories for it, and what loading a file says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bounds.errors import InputError
from bounds.inputs import load_checkpoint

MODULE = """
from torch import nn
def net(width=4):
    body = nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(), nn.Linear(width, 3)
    return nn.Sequential(nn.Flatten(), *body)
class Whole(nn.Linear): pass
class Wrapped(nn.Module):
    def __init__(self, part):
        super().__init__()
        setattr(self, part, nn.Linear(4, 3))
def lazy(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
def half(): return net().half()
def wrong(): return 3
"""
NET = "my_networks:net"
X = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def trained(width: int = 4) -> nn.Module:
    """The network of `my_networks:net` with weights that no initialisation gives."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(), nn.Linear(width, 3))
    generator = torch.Generator().manual_seed(7)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module.eval()


def same(loaded: nn.Module, original: nn.Module) -> None:
    assert not loaded.training
    assert torch.equal(loaded(X), original(X))
    state = loaded.state_dict()
    assert list(state) == list(original.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in original.state_dict().items())


def save(content: object, name: str = "net.pt") -> Path:
    torch.save(content, name)
    return Path(name)


def refusal(path: Path | str, **options: Any) -> str:
    """The one line that refuses a file; it names it."""
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


STATE: Mapping[str, Tensor] = trained().state_dict()
