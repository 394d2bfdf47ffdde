"""Projected gradient ascent on the loss: a lower bound of the robust loss with its perturbation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bounds.errors import InputError
from bounds.measure.margin import margins_of_logits
from bounds.measure.models import Model, float64_model, refuse_mixing
from verification.attack_set import AttackSet

CHUNK = 256  # samples per forward pass
# Lengths in units of eps; a long step lands where the linearised loss is largest.
FIRST_STEP, LAST_STEP = 20.0, 0.02


@dataclass(frozen=True)
class Attack:
    """The worst perturbation found per sample, all float64.

    Attributes:
        set: the set of allowed perturbations.
        delta: perturbation, (n, *shape), input units; inside the set as measured in float64.
        clean_loss: cross-entropy at x, (n,), nats.
        clean_margin: z_y - max_{k != y} z_k at x, (n,), logits.
        loss: cross-entropy at x + delta, (n,), nats; a lower bound of the robust loss, >= clean_loss.
        margin: z_y - max_{k != y} z_k at x + delta, (n,), logits; an upper bound of the worst-case margin.
        failed: (n,) bool; a loss or gradient was not finite on the way; the best finite point is kept.
    """

    set: AttackSet
    delta: Tensor
    clean_loss: Tensor
    clean_margin: Tensor
    loss: Tensor
    margin: Tensor
    failed: Tensor


def attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    norm: str,
    eps: float,
    *,
    steps: int = 40,
    restarts: int = 2,
    box: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Attack:
    """Maximise the cross-entropy over the attack set; it does not stop at misclassification (theory §7).

    Points visited: delta = 0; eps times the dual map of the gradient there (theory L3.1; the gradient-sign
    attack for linf), which is the exact maximum for two linear classes; then `steps` steps from 0, and from a
    random point for every further restart. Steps go along the gradient (its sign for linf), shrink
    geometrically and are projected exactly in the Euclidean sense, which makes them sparse for l1; odd
    restarts leave out the coordinates that stand at a wall of the box. The best point of all is kept.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        norm: "l2", "linf" or "l1".
        eps: radius, input units.
        steps: gradient steps per restart.
        restarts: number of starting points.
        box: valid input values; None for the plain ball.
        seed: seed of the random starts; equal arguments give equal bits.
        progress: called with (samples done, samples).

    Returns:
        Side: lower bound of the robust loss, upper bound of the worst-case margin.

    Raises:
        InputError: for a bad norm, radius, box or number of steps, an input outside the box, or a model whose
            samples influence each other.

    >>> linear = torch.nn.Linear(2, 2).double()
    >>> linear.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    >>> linear.bias.data.zero_()
    tensor([0., 0.], dtype=torch.float64)
    >>> attack(linear, torch.zeros(1, 2), torch.tensor([0]), "l2", 0.5, box=None).margin  # -0.5·‖(3, -4)‖
    tensor([-2.5000], dtype=torch.float64)
    """
    if steps < 1 or restarts < 1:
        raise InputError(f"attack with {steps} steps and {restarts} restarts: both must be at least 1")
    attack_set = AttackSet(norm, eps, box)
    run = float64_model(model)
    refuse_mixing(run, x.double())
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, len(x), CHUNK):
        inputs, labels = x[start : start + CHUNK].double(), y[start : start + CHUNK]
        parts.append(_attack_chunk(run, inputs, labels, attack_set, steps, restarts, generator))
        if progress is not None:
            progress(min(start + CHUNK, len(x)), len(x))
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    return Attack(attack_set, *columns)


def _attack_chunk(
    model: Model,
    x: Tensor,
    y: Tensor,
    attack_set: AttackSet,
    steps: int,
    restarts: int,
    generator: torch.Generator,
) -> tuple[Tensor, ...]:
    with torch.no_grad():
        margin, clean, failed = _evaluate(model(x), y)
    best = _Best(torch.zeros_like(x), clean, margin, failed)
    gradient = best.visit(model, x, y, torch.zeros_like(x))
    best.visit(model, x, y, attack_set.project(attack_set.eps * steepest(gradient, attack_set.norm), x))
    along = "linf" if attack_set.norm == "linf" else "l2"
    lower, upper = attack_set.limits(x)
    for restart in range(restarts):
        delta = torch.zeros_like(x) if restart == 0 else _random_start(attack_set, x, generator)
        for step in range(steps):
            gradient = best.visit(model, x, y, delta)
            if restart % 2 == 1:  # spend the step on the coordinates that the box lets move
                blocked = ((delta >= upper) & (gradient > 0)) | ((delta <= lower) & (gradient < 0))
                gradient = gradient.masked_fill(blocked, 0.0)
            direction = steepest(gradient, along)
            length = attack_set.eps * FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (step / max(steps - 1, 1))
            delta = attack_set.project(delta + length * direction, x)
        best.visit(model, x, y, delta)
    return best.delta, clean, margin, best.loss, best.margin, best.failed


@dataclass
class _Best:
    """The best point so far, per sample."""

    delta: Tensor
    loss: Tensor
    margin: Tensor
    failed: Tensor

    def visit(self, model: Model, x: Tensor, y: Tensor, delta: Tensor) -> Tensor:
        """Record delta where it is better; returns the loss gradient there, zero where it is not finite."""
        moved = (x + delta).requires_grad_(True)
        with torch.enable_grad():
            margin, loss, failed = _evaluate(model(moved), y)
            (gradient,) = torch.autograd.grad(loss.sum(), moved)
        margin, loss = margin.detach(), loss.detach()
        self.failed = self.failed | failed | ~gradient.flatten(1).isfinite().all(dim=1)
        # Where the loss underflows to 0 everywhere, the margin still tells the better point.
        better = ~failed & ((loss > self.loss) | ((loss == self.loss) & (margin < self.margin)))
        self.delta = torch.where(_like(better, delta), delta, self.delta)
        self.loss = torch.where(better, loss, self.loss)
        self.margin = torch.where(better, margin, self.margin)
        return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _evaluate(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Margins, losses (both NaN where a logit is not finite) and whether a logit is not finite."""
    failed = ~logits.isfinite().all(dim=1)
    margin, loss = margins_of_logits(logits.masked_fill(failed[:, None], 0.0), y)
    return margin.masked_fill(failed, math.nan), loss.masked_fill(failed, math.nan), failed


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """Unit vector of the norm along which the loss rises fastest, per sample: the dual map (theory L3.1).

    A zero gradient gives a zero step.

    >>> steepest(torch.tensor([[3.0, -4.0]]), "l2"), steepest(torch.tensor([[3.0, -4.0]]), "l1")
    (tensor([[ 0.6000, -0.8000]]), tensor([[ 0., -1.]]))
    """
    flat = gradient.flatten(1)
    if norm == "linf":
        step = flat.sign()
    elif norm == "l2":
        # Scaled first: the squares of a confident sample's gradient underflow.
        scaled = flat / flat.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
        step = functional.normalize(scaled, dim=1)
    else:
        largest = flat.abs().argmax(dim=1, keepdim=True)
        step = torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest).sign())
    return step.reshape(gradient.shape)


def _random_start(attack_set: AttackSet, x: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    return attack_set.project(attack_set.eps * noise / _like(attack_set.size(noise), noise), x)


def _like(per_sample: Tensor, tensor: Tensor) -> Tensor:
    """A value per sample, shaped so that it broadcasts over the sample's coordinates."""
    return per_sample.reshape(-1, *(1,) * (tensor.dim() - 1))
