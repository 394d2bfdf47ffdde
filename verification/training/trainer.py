"""A small deterministic trainer: Adam with a one-cycle learning rate on cross-entropy plus a penalty."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from bounds.errors import InputError
from bounds.inputs import Data
from verification.training.regularisers.penalty import Regulariser


@dataclass(frozen=True)
class Epoch:
    """Means over one epoch of training, on the parameters as they changed.

    Attributes:
        loss: cross-entropy, nats.
        penalty: value of the regulariser, 0 without one.
        accuracy: fraction of samples classified correctly.
    """

    loss: float
    penalty: float
    accuracy: float


def train(
    network: nn.Module,
    data: Data,
    *,
    regulariser: Regulariser | None = None,
    strength: float = 0.0,
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Epoch, ...]:
    """Train in place on cross-entropy + strength · regulariser; equal arguments give equal weights.

    Args:
        network: maps (n, *shape) inputs to logits; left in eval mode.
        data: the training set.
        regulariser: penalty on a batch; None for plain training.
        strength: weight of the penalty.
        epochs: passes over the data.
        batch_size: samples per step.
        learning_rate: peak of the one-cycle schedule.
        seed: seed of the shuffling and of the regulariser's random directions and starts.
        progress: called with (epochs done, epochs).

    Raises:
        InputError: if a parameter stops being finite.
    """
    x = torch.cat([inputs for inputs, _ in data.batches(4096, dtype=torch.float32)])
    y = data.y
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    steps = epochs * math.ceil(len(data) / batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=learning_rate, total_steps=max(steps, 2))
    history = []
    network.train()
    for epoch in range(epochs):
        totals = torch.zeros(3, dtype=torch.float64)
        for batch in torch.randperm(len(data), generator=generator).split(batch_size):
            logits = network(x[batch])
            loss = functional.cross_entropy(logits, y[batch])
            penalty = torch.zeros(()) if regulariser is None else regulariser(network, x[batch], y[batch], generator)
            optimiser.zero_grad()
            (loss + strength * penalty).backward()
            optimiser.step()
            schedule.step()
            hits = (logits.argmax(dim=1) == y[batch]).double().mean()
            totals += len(batch) * torch.stack([loss.detach().double(), penalty.detach().double(), hits])
        if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
            raise InputError(f"training diverged in epoch {epoch + 1}: lower the learning rate or strength")
        history.append(Epoch(*(totals / len(data)).tolist()))
        if progress is not None:
            progress(epoch + 1, epochs)
    network.eval()
    return tuple(history)
