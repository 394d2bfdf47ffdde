"""Optimised slopes: the free lines of the relaxation, chosen per sample and rival by gradient ascent (alpha-CROWN)."""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.network.nonlinear import Activation, Nonlinear
from verification.certify.certificate import loss_of_lead
from verification.certify.enclosure import Enclosure
from verification.certify.lines import Lines, lines
from verification.certify.relaxation import PIECEWISE_LINEAR, Functionals, Key, Relaxation

STEPS = 20
STEP_LENGTH = 0.2


def optimised_lead(
    relaxation: Relaxation,
    enclosure: Enclosure,
    rows: Tensor,
    *,
    signs: dict[Key, Tensor] | None = None,
    steps: int = STEPS,
) -> Tensor:
    """Lower bounds over the attack set of linear functions of the logits; the best of all steps, row by row.

    Every choice of lines gives valid bounds, and so does every nonnegative multiplier of a branch's constraints, so
    that the best bound of each row may be taken whatever the ascent does.

    Args:
        relaxation: of the network.
        enclosure: the hidden units' intervals, clamped to the branch if there is one.
        rows: functions of the logits, (n, rows, K); what is minimised is log(sum over the rows of exp(-bound)).
        signs: per (node, part) the sign of the units that a branch keeps on one side of 0, else 0; (n, units).
        steps: steps of Adam.

    Returns:
        (n, rows), logits.
    """
    free = {key: _start(relaxation, enclosure, key, rows.shape[1]) for key in activations(relaxation)}
    multipliers = {key: torch.zeros_like(free[key][0], requires_grad=True) for key in signs or {}}
    parameters = [t for pair in free.values() for t in pair] + list(multipliers.values())
    optimiser = torch.optim.Adam(parameters, lr=STEP_LENGTH)
    output = len(relaxation.network.nodes) - 1
    best = rows.new_full(rows.shape[:2], -torch.inf)

    def lines_of(_: Enclosure, key: Key, units: Tensor | None) -> Lines:
        assert units is None  # the logits depend on all units
        phi, (low, high) = _activation(relaxation, key), (end.flatten(1)[:, None] for end in enclosure.parts[key])
        return lines(phi, low, high, free[key])

    for step in range(steps + 1):
        with torch.set_grad_enabled(step < steps):
            pulls = {key: signs[key][:, None] * multipliers[key] for key in multipliers} if signs else {}
            lead = relaxation.minimum(enclosure, output, Functionals(rows), lines_of, pulls)
            loss = loss_of_lead(lead).sum()
        best = torch.maximum(best, lead.detach())
        if step < steps:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                for pair in free.values():
                    for t in pair:
                        t.clamp_(0.0, 1.0)
                for multiplier in multipliers.values():
                    multiplier.clamp_(min=0.0)
    return best


def activations(relaxation: Relaxation) -> list[Key]:
    """The (node, part) of every activation."""
    return [
        (position, number)
        for position, node in enumerate(relaxation.network.nodes)
        if isinstance(node.operation, Nonlinear)
        for number, part in enumerate(node.operation.parts)
        if isinstance(part, Activation)
    ]


def _activation(relaxation: Relaxation, key: Key) -> Activation:
    operation = relaxation.network.nodes[key[0]].operation
    assert isinstance(operation, Nonlinear)
    part = operation.parts[key[1]]
    assert isinstance(part, Activation)
    return part


def _start(relaxation: Relaxation, enclosure: Enclosure, key: Key, rows: int) -> tuple[Tensor, Tensor]:
    """The default lines: the larger side of a kink, the middle one of the tangents elsewhere; (n, rows, units)."""
    low, high = (end.flatten(1)[:, None].expand(-1, rows, -1) for end in enclosure.parts[key])
    kinked = _activation(relaxation, key).key in PIECEWISE_LINEAR
    start = (high > -low).double() if kinked else torch.full_like(low, 0.5)
    return start.clone().requires_grad_(True), start.clone().requires_grad_(True)
