"""A pickled network loads without what was wrapped around it for training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from bounds.inputs import load_checkpoint

from .checkpoint_files import NET, same, save, trained

pytestmark = pytest.mark.usefixtures("workshop")


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        AveragedModel,
        lambda module: torch.compile(module, backend="eager"),
        lambda module: nn.DataParallel(AveragedModel(module)),
    ],
    ids=["DataParallel", "AveragedModel", "compile", "both"],
)
def test_wrappers_are_taken_off(wrap: Callable[[nn.Module], nn.Module]) -> None:
    save({"model": wrap(trained())})
    loaded = load_checkpoint("net.pt", trust=True)
    assert type(loaded) is nn.Sequential
    same(loaded, trained())
    same(load_checkpoint("net.pt", trust=True, model=NET), trained())


def test_distributed_modules_load_without_their_process_group() -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        save(nn.parallel.DistributedDataParallel(trained().train()))
    finally:
        torch.distributed.destroy_process_group()
    loaded = load_checkpoint("net.pt", trust=True)
    assert type(loaded) is nn.Sequential
    same(loaded, trained())
