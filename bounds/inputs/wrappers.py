"""Modules around a network that only concern its training: found in pickles, and taken off."""

from __future__ import annotations

import pickle
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel

_COMPILED = "_orig_mod"


class Replicated(nn.Module):
    """Stands for DistributedDataParallel, which unpickles only inside a process group; its part is `module`."""


class TrustedPickle:
    """The pickle module for files that are trusted, with `Replicated` for what it stands for."""

    __name__ = pickle.__name__
    load = staticmethod(pickle.load)

    class Unpickler(pickle.Unpickler):
        """Runs what the file says."""

        def find_class(self, module: str, name: str) -> Any:
            """The object of that name."""
            stands_for = (module, name) == ("torch.nn.parallel.distributed", "DistributedDataParallel")
            return Replicated if stands_for else super().find_class(module, name)


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel, AveragedModel and torch.compile; others as they are.

    >>> unwrapped(nn.DataParallel(nn.Identity()))
    Identity()
    """
    if _COMPILED in module._modules:
        return unwrapped(module.get_submodule(_COMPILED))
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel | Replicated):
        return unwrapped(module.get_submodule("module"))
    return module
