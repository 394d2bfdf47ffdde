"""Certificate from the global Lipschitz constant: margins that no perturbation in the ball can undercut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.network import Segment, TracedNetwork
from verification.attack_set import AttackSet

# Relative allowance, outwards, for the float64 rounding of logits and products of norms.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Certificate:
    """Bounds over the whole ball, float64.

    Attributes:
        margin: lower bound of the worst-case margin, (n,), logits.
        loss: upper bound of the robust cross-entropy, (n,), nats.
    """

    margin: Tensor
    loss: Tensor


def certified_margins(
    network: TracedNetwork, s_upper: Sequence[float], x: Tensor, y: Tensor, norm: str, eps: float
) -> Certificate:
    """Certify z_y - z_k - eps_2·Π_{i<L} s_i rho_i·‖row_k(W_L) - row_y(W_L)‖_2 for every rival k.

    eps_2 = eps·max(1, d^{1/2-1/p}) is the radius of an ℓ2 ball that contains the attack ball. With one layer
    the rows' dual norm ‖·‖_q and eps are used instead, which is exact. The bounds hold for the plain ball,
    hence also for its intersection with a box, and include a relative rounding allowance of 1e-9.

    Args:
        network: a chain of layers.
        s_upper: certified upper ends of the operator norms of layers 1..L; the last one is not used.
        x: inputs, (n, *shape).
        y: labels, (n,).
        norm: "l2", "linf" or "l1".
        eps: radius, input units.

    Returns:
        Side: lower bound of the worst-case margin, upper bound of the robust cross-entropy.

    Raises:
        InputError: if the network is not a chain, or the number of norms is not its depth.
    """
    attack_set = AttackSet(norm, eps)
    segments = [part for part in network.chain if isinstance(part, Segment)]
    if len(s_upper) != len(segments):
        raise InputError(f"{len(s_upper)} operator norms given for {len(segments)} layers")
    last = segments[-1]
    rows = last.adjoint(torch.eye(network.outputs, dtype=torch.float64)).flatten(1)
    if len(segments) == 1:
        reach, exponent = eps, attack_set.q
    else:
        widening = max(1.0, network.architecture.d ** (0.5 - 1 / attack_set.p))
        rhos = [nonlinearity.rho for nonlinearity in network.architecture.nonlinearities]
        lipschitz = math.prod(s_upper[:-1]) * math.prod(rhos)
        reach, exponent = (eps * widening * lipschitz if eps > 0 else 0.0), 2.0
    apart = torch.cdist(rows, rows, p=exponent, compute_mode="donot_use_mm_for_euclid_dist")
    logits = network(x.double())
    lead = logits.gather(1, y[:, None]) - logits  # z_y - z_k
    allowance = ROUNDING * (1 + logits.abs().amax(dim=1, keepdim=True))
    # 0 where the rows agree, also when the product of norms overflows.
    loss_of_lead = torch.where(apart[y] > 0, reach * apart[y] * (1 + ROUNDING), 0.0)
    worst = (lead - loss_of_lead - allowance).scatter(1, y[:, None], 0.0)
    rivals = worst.scatter(1, y[:, None], math.inf)
    return Certificate(rivals.amin(dim=1), (-worst).logsumexp(dim=1))
