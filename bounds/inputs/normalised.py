"""`Normalised`: a network behind a per-channel normalisation, so that inputs stay in pixel units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bounds.errors import InputError


class Normalised(nn.Module):
    """x ↦ module((x - mean) / std), channel by channel (dimension 1).

    Bounds and attacks then speak of the raw pixels, and the normalisation counts as part of the first layer.

    Args:
        module: the network behind it.
        mean, std: one number per channel, or a single one for all.

    Raises:
        InputError: for unequal lengths, a non-finite number, or a std that is not positive.

    >>> Normalised(nn.Identity(), mean=[0.5], std=[0.25])(torch.ones(1, 1, 1, 1)).item()
    2.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, module: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())
        self.module = module
        self.register_buffer("mean", torch.tensor(mean, dtype=dtype))
        self.register_buffer("std", torch.tensor(std, dtype=dtype))
        if len(mean) != len(std) or len(mean) == 0:
            raise InputError(f"normalisation: {len(mean)} means and {len(std)} stds; one of each per channel is needed")
        if not bool((self.mean.isfinite() & self.std.isfinite() & (self.std > 0)).all()):
            raise InputError(f"normalisation: means must be finite and stds positive, not {list(mean)}, {list(std)}")
        self.train(module.training)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of inputs x of shape (batch, channels, ...)."""
        if len(self.mean) not in (1, x.shape[1]):
            raise InputError(f"normalisation: {len(self.mean)} channels, but the input has {x.shape[1]}")
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return self.module((x - self.mean.view(shape)) / self.std.view(shape))  # type: ignore[no-any-return]
