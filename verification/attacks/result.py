"""What an attack returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from verification.attack_set import AttackSet


@dataclass(frozen=True)
class Attack:
    """The worst perturbation found per sample, all float64.

    Attributes:
        set: the set of allowed perturbations.
        delta: perturbation, (n, *shape), input units; inside the set as measured in float64.
        clean_loss: cross-entropy at x, (n,), nats.
        clean_margin: z_y - max_{k != y} z_k at x, (n,), logits.
        loss: cross-entropy at x + delta, (n,), nats; a lower bound of the robust loss.
        margin: z_y - max_{k != y} z_k at x + delta, (n,), logits; an upper bound of the worst-case margin.
        failed: (n,) bool; logits or a gradient were not finite at x or at a point of the set; the best finite point
            is kept.
    """

    set: AttackSet
    delta: Tensor
    clean_loss: Tensor
    clean_margin: Tensor
    loss: Tensor
    margin: Tensor
    failed: Tensor


@dataclass(frozen=True)
class FamilyAttack:
    """The worst perturbation found per sample in a family that is no norm ball, all float64.

    No surrogate is claimed to bound the loss over such a family: `loss` is a lower bound of its robust loss and
    nothing more.

    Attributes:
        family: the allowed perturbations, in words.
        delta: perturbed input minus x, (n, *shape), input units.
        clean_loss: as in Attack, and so are the others.
    """

    family: str
    delta: Tensor
    clean_loss: Tensor
    clean_margin: Tensor
    loss: Tensor
    margin: Tensor
    failed: Tensor
