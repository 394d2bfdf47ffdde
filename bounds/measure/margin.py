"""Margins and cross-entropy of a model on a sample, in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bounds.budget import Budget
from bounds.errors import InputError
from bounds.measure.load import load_of
from bounds.network.logits import Logits, as_logits
from bounds.network.modes import with_gradients
from bounds.network.running import Model
from bounds.network.traced import TracedNetwork


class Batches(Protocol):
    """A labelled sample that can be streamed: see `bounds.inputs.Data`."""

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs (x, y) of at most `size` samples, in input units."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Margins:
    """Margins z_y - max_{k≠y} z_k and losses of a sample, float64, exact to rounding.

    Attributes:
        values: margins in logits, shape (n,).
        losses: cross-entropy in nats, shape (n,).
        correct: margin > 0 (a tie is an error), shape (n,).
    """

    values: Tensor
    losses: Tensor
    correct: Tensor

    @property
    def error(self) -> float:
        """Share of samples whose margin is not positive."""
        return float((~self.correct).to(torch.float64).mean())

    def ramp(self, gamma: float) -> float:
        """R̂_γ, the mean ramp loss: 1 for a margin ≤ 0, linear on [0, γ], 0 beyond (theory L1.3)."""
        return float((1 - self.values / _positive(gamma)).clamp(0, 1).mean())

    def hard(self, gamma: float) -> float:
        """R̂_γ^hard, the share of samples with margin ≤ γ (theory L1.4)."""
        return float((self.values <= _positive(gamma)).to(torch.float64).mean())

    def quantile(self, share: float) -> float:
        """Margin below which the given share of the samples lies (linear interpolation)."""
        ordered = self.values.sort().values
        position = share * (len(ordered) - 1)
        low = int(position)
        high = min(low + 1, len(ordered) - 1)
        return float(ordered[low] + (position - low) * (ordered[high] - ordered[low]))


@with_gradients
def margins(
    model: Model,
    data: Batches,
    *,
    batch_size: int = 256,
    memory: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Margins:
    """Margins and losses of a model on a sample.

    Args:
        model: maps (batch, *input_shape) to logits (batch, K); a module is run in eval mode and float64.
        data: the labelled sample.
        batch_size: samples per forward pass, at most.
        memory: what the passes may take; a share of what is available if None.
        progress: called with (samples done, total).

    Raises:
        InputError: if there are no samples, fewer than two outputs, a label out of range or a logit that is
            not finite.
    """
    run = logits_on(model, data, differentiable=False)
    size = load_of(run, data).batch(memory, batch_size, "a forward pass")
    values, losses, done = [], [], 0
    with torch.no_grad():
        for x, y in data.batches(size):
            margin, loss = margins_of_logits(run(x), y)
            values.append(margin)
            losses.append(loss)
            done += len(y)
            if progress is not None:
                progress(done, len(data))
    margin = torch.cat(values)
    return Margins(margin, torch.cat(losses), margin > 0)


def logits_on(model: Model, data: Batches, *, differentiable: bool = True) -> TracedNetwork | Logits:
    """A model as a checked function (see `as_logits`), tried on the first samples of some data.

    Raises:
        InputError: if there are no samples, or for what `as_logits` refuses.
    """
    if len(data) == 0:
        raise InputError("data: there are no samples")
    return as_logits(model, next(data.batches(3))[0], differentiable=differentiable)


def margins_of_logits(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Margins and cross-entropy losses from logits (batch, K) and labels (batch,).

    The loss is log(1 + Σ_{k≠y} exp(z_k - z_y)), which keeps its relative accuracy for confident samples.

    Example:
        >>> logits = torch.tensor([[50.0, 0.0]], dtype=torch.float64)
        >>> margin, loss = margins_of_logits(logits, torch.tensor([0]))
        >>> margin.item(), f"{loss.item():.4g}"
        (50.0, '1.929e-22')
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise InputError(f"model: margins need outputs of shape (batch, classes >= 2), not {tuple(logits.shape)}")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < logits.shape[1]:
        raise InputError(f"data: a label is outside 0..{logits.shape[1] - 1}, the classes of the model")
    if not bool(torch.isfinite(logits).all()):
        raise InputError("model: an output is not finite")
    own = logits.gather(1, y[:, None])
    others = (logits - own).scatter(1, y[:, None], -torch.inf)
    excess = torch.logsumexp(others, 1)
    return -others.amax(1), torch.logaddexp(torch.zeros_like(excess), excess)


def _positive(gamma: float) -> float:
    if not gamma > 0:
        raise InputError(f"margin: gamma must be positive, not {gamma}")
    return gamma
