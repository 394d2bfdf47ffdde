"""Some samples under attack: their objective, its gradient, and the best point so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.measure.jacobian import gradient as gradient_of
from bounds.measure.margin import margins_of_logits
from bounds.network.logits import as_logits
from bounds.network.modes import with_gradients
from bounds.network.running import Model
from verification.attacks.objectives import Objective

CHUNK = 256  # samples per forward pass


class Search:
    """Keeps the best allowed point per sample while others look for better ones.

    Attributes:
        x: inputs, (n, *shape), float64.
        y: labels, (n,).
        delta: the best perturbation so far, (n, *shape).
        clean: loss and margin at x, (n,) each; NaN where the logits are not finite.
        best: loss and margin at the best point.
        failed: (n,) bool; logits or a gradient were not finite at an allowed point.
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        objective: Objective,
        allowed: Callable[[Tensor], Tensor],
    ) -> None:
        """Starts at delta = 0.

        Args:
            model: float64 logits of a batch of inputs.
            x: inputs, (n, *shape), float64.
            y: labels, (n,).
            objective: what is maximised.
            allowed: which perturbations may be returned, (n, *shape) -> (n,) bool.
        """
        self.x, self.y = x, y
        self._model, self._objective, self._allowed = model, objective, allowed
        self.delta = torch.zeros_like(x)
        with torch.no_grad():
            logits = model(x)
        self._clean_logits = logits
        self._value = torch.full((len(x),), -math.inf, dtype=torch.float64)
        self.failed = torch.zeros(len(x), dtype=torch.bool)
        self.best = (torch.full_like(self._value, math.nan), torch.full_like(self._value, math.nan))
        self._offer(self.delta, logits)
        self.clean = self.best

    @cached_property
    def slope(self) -> Tensor:
        """The gradient at x, (n, *shape); the pass is made on first use."""
        return self.gradient(torch.zeros_like(self.x))

    def look(self, delta: Tensor) -> Tensor:
        """The objective at delta, (n,), -inf where it is not finite; a forward pass.

        Wherever delta is allowed and better than the best so far it becomes the best.
        """
        with torch.no_grad():
            return self._offer(delta, self._model(self.x + delta))

    def gradient(self, delta: Tensor, objective: Objective | None = None) -> Tensor:
        """The gradient at delta, zero where it is not finite; a forward and a backward pass.

        The point is looked at, too.

        Args:
            delta: perturbations, (n, *shape).
            objective: whose gradient; None for what is maximised.
        """
        moved = (self.x + delta).requires_grad_(True)
        with torch.enable_grad():
            logits = self._model(moved)
            gradient = gradient_of(self._values(logits, objective or self._objective).sum(), moved)
        self._offer(delta, logits.detach(), gradient)
        return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    def _values(self, logits: Tensor, objective: Objective) -> Tensor:
        return objective(logits, self.y, self._clean_logits)

    def _offer(self, delta: Tensor, logits: Tensor, gradient: Tensor | None = None) -> Tensor:
        allowed, finite = self._allowed(delta), logits.isfinite().all(dim=1)
        usable = finite if gradient is None else finite & gradient.flatten(1).isfinite().all(dim=1)
        self.failed = self.failed | (allowed & ~usable)
        margin, loss = margins_of_logits(logits.masked_fill(~finite[:, None], 0.0), self.y)  # checks the labels, too
        value = self._values(logits, self._objective).masked_fill(~finite, -math.inf)
        better = allowed & (value > self._value)
        self.delta = torch.where(per_sample(better, delta), delta, self.delta)
        self._value = torch.where(better, value, self._value)
        self.best = (torch.where(better, loss, self.best[0]), torch.where(better, margin, self.best[1]))
        return value


@with_gradients
def search_all(
    model: Model,
    x: Tensor,
    y: Tensor,
    search: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Search],
    progress: Callable[[int, int], None] | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Search all samples, chunk by chunk.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        search: what is done with a chunk: (model, inputs, labels) -> search.
        progress: called with (samples done, samples).

    Returns:
        The fields that all results of attacks have, in their order: delta, clean_loss, clean_margin, loss, margin,
        failed.

    Raises:
        InputError: for no samples, another number of labels than of samples, or a model whose samples influence each
            other.
    """
    if len(x) == 0 or len(x) != len(y):
        raise InputError(f"attack on {len(x)} inputs with {len(y)} labels: both must be equally many, and some")
    run = as_logits(model, x)
    parts = []
    for inputs, labels in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
        found = search(run, inputs.double(), labels)
        parts.append((found.delta, *found.clean, *found.best, found.failed))
        if progress is not None:
            progress(min(len(parts) * CHUNK, len(x)), len(x))
    delta, clean_loss, clean_margin, loss, margin, failed = (torch.cat(part) for part in zip(*parts, strict=True))
    return delta, clean_loss, clean_margin, loss, margin, failed


def per_sample(values: Tensor, tensor: Tensor) -> Tensor:
    """A value per sample, (n,), shaped so that it broadcasts over the coordinates of (n, *shape).

    >>> per_sample(torch.tensor([1, 2]), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    return values.reshape(-1, *(1,) * (tensor.dim() - 1))
