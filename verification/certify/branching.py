"""Branch and bound on the signs of hidden units, for ReLU and leaky ReLU (after Bunel et al. 2020 and beta-CROWN)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from verification.certify.certificate import Certificate, loss_of_lead
from verification.certify.enclosure import Enclosure
from verification.certify.optimised import activations, optimised_lead
from verification.certify.relaxation import PIECEWISE_LINEAR, Functionals, Key, Relaxation

LEAVES = 24
STEPS = 8


@dataclass(frozen=True)
class Leaf:
    """One part of a sample's attack set: some hidden units are known to be on one side of 0.

    Attributes:
        enclosure: of this one sample, intervals clamped to the part.
        signs: per (node, part) and unit, the side: 1, -1, or 0 where unknown; (1, units).
        lead: lower bounds of z_y - z_k on the part, (1, K).
    """

    enclosure: Enclosure
    signs: dict[Key, Tensor]
    lead: Tensor

    @property
    def loss(self) -> float:
        """Upper bound of the loss on the part, nats."""
        return float(loss_of_lead(self.lead))


def branched(relaxation: Relaxation, enclosure: Enclosure, rows: Tensor, lead: Tensor, goal: float) -> Certificate:
    """Split the worst part of one sample's attack set until the loss is at most the goal, or there are LEAVES parts.

    Args:
        relaxation: of a network whose activations are all ReLU or leaky ReLU.
        enclosure: of one sample.
        rows: e_y - e_k, (1, K, K).
        lead: lower bounds found so far, (1, K).
        goal: a loss, nats.

    Returns:
        The leads that hold on every leaf, and the loss of the worst one.
    """
    none = {key: torch.zeros_like(enclosure.parts[key][0].flatten(1)) for key in activations(relaxation)}
    leaves = [Leaf(enclosure, none, lead)]
    while len(leaves) < LEAVES:
        leaves.sort(key=lambda leaf: leaf.loss)
        if leaves[-1].loss <= goal:
            break
        unit = _worst_unit(relaxation, leaves[-1], rows)
        if unit is None:
            break
        worst = leaves.pop()
        leaves += [_child(relaxation, worst, rows, *unit, side) for side in (-1, 1)]
    whole = torch.stack([leaf.lead for leaf in leaves]).amin(dim=0)
    return Certificate(whole, torch.tensor([max(leaf.loss for leaf in leaves)], dtype=torch.float64))


def _worst_unit(relaxation: Relaxation, leaf: Leaf, rows: Tensor) -> tuple[Key, int] | None:
    """The undecided unit whose line above costs most, over the rivals by their weight in the loss."""
    output = len(relaxation.network.nodes) - 1
    weights = torch.softmax(-leaf.lead, dim=1)[:, :, None]
    costs = relaxation.slack_of_lines(leaf.enclosure, output, Functionals(rows))
    scores = {}
    for key, cost in costs.items():
        low, high = (end.flatten() for end in leaf.enclosure.parts[key])
        # A decided unit's line may cost its rounding allowance, and has no other side.
        scores[key] = (weights * cost).sum(dim=(0, 1)).masked_fill((low >= 0) | (high <= 0), 0.0)
    key = min(scores, key=lambda key: float(scores[key].min()))
    unit = int(scores[key].argmin())
    return (key, unit) if float(scores[key][unit]) < 0 else None


def _child(relaxation: Relaxation, leaf: Leaf, rows: Tensor, key: Key, unit: int, side: int) -> Leaf:
    low, high = (end.clone() for end in leaf.enclosure.parts[key])
    end, limit = (low, torch.clamp_min) if side > 0 else (high, torch.clamp_max)
    end.flatten(1)[:, unit] = limit(end.flatten(1)[:, unit], 0.0)
    signs = leaf.signs | {key: leaf.signs[key].clone()}
    signs[key][:, unit] = side
    parent = leaf.enclosure
    enclosure = Enclosure(
        parent.network,
        parent.attack_set,
        parent.x,
        parent.values,
        parent.parts | {key: (low, high)},
        parent.magnitudes,
    )
    lead = optimised_lead(relaxation, enclosure, rows, signs=signs, steps=STEPS)
    return Leaf(enclosure, signs, torch.maximum(lead, leaf.lead))


def can_branch(relaxation: Relaxation) -> bool:
    """Whether every activation has a single kink, at 0."""
    nodes = relaxation.network.nodes
    parts = [nodes[node].operation.parts[part] for node, part in activations(relaxation)]  # type: ignore[union-attr]
    return bool(parts) and all(part.key in PIECEWISE_LINEAR for part in parts)  # type: ignore[union-attr]
