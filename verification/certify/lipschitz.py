"""Certificate from the global Lipschitz constant: leads that no perturbation in the ball can undercut."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.network import Segment, TracedNetwork
from verification.attack_set import AttackSet
from verification.certify.certificate import Certificate
from verification.certify.enclosure import Interval, outputs_at
from verification.certify.rivals import rows_of
from verification.certify.rounding import absolute, gamma, sums
from verification.certify.work import Work

TINY = 2.0**-500  # more than a norm can lose to squares that underflow


def lipschitz_lead(
    network: TracedNetwork,
    s_upper: Sequence[float],
    x: Tensor,
    y: Tensor,
    attack_set: AttackSet,
    logits: Interval | None = None,
) -> Certificate:
    """Certify z_y - z_k - eps_2·Π_{i<L} s_i rho_i·‖row_k(W_L) - row_y(W_L)‖_2 for every rival k.

    eps_2 = eps·max(1, d^{1/2-1/p}) is the radius of an ℓ2 ball that contains the attack ball. With one layer
    the rows' dual norm ‖·‖_q and eps are used instead, which is exact. The bounds hold for the plain ball,
    hence also for its intersection with a box.

    Rounding: the logits at x come as intervals (enclosure.py). A row W_L^T e_k errs by gamma·|W_L|^T e_k in every
    entry; any norm of this is at most its 1-norm, gamma·(|W_L| 1)_k. Norms, of d terms, and products are rounded up.

    Args:
        network: a chain of layers.
        s_upper: certified upper ends of the operator norms of layers 1..L; the last one is not used.
        x: inputs, (n, *shape).
        y: labels, (n,).
        attack_set: the perturbations; its box is not used.
        logits: their interval at x, where it is known.

    Returns:
        Lower bounds of the leads; no cap.

    Raises:
        InputError: if the network is not a chain, or the number of norms is not its depth.

    >>> from bounds.network import trace
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> x = torch.tensor([[1.0, 0.0]])
    >>> found = lipschitz_lead(trace(model, x), [4.0], x, torch.tensor([0]), AttackSet("l2", 0.1))
    >>> [round(lead, 9) for lead in found.lead[0].tolist()]
    [0.0, 2.5]
    """
    segments = [part for part in network.chain if isinstance(part, Segment)]
    if len(s_upper) != len(segments):
        raise InputError(f"{len(s_upper)} operator norms given for {len(segments)} layers")
    if len(segments) == 1:
        reach, exponent = attack_set.eps, attack_set.q
    else:
        widening = max(1.0, network.architecture.d ** (0.5 - 1 / attack_set.p))
        rhos = [nonlinearity.rho for nonlinearity in network.architecture.nonlinearities]
        lipschitz = math.prod(s_upper[:-1]) * math.prod(rhos)
        reach, exponent = (attack_set.eps * widening * lipschitz if attack_set.eps > 0 else 0.0), 2.0
    lost = reach * _apart(segments[-1], exponent, y) * (1 + sums(2 * len(network.chain) + 8))
    low, high = outputs_at(network, x) if logits is None else logits
    lead = low.gather(1, y[:, None]) - high - lost
    lead = (lead - sums(4) * (low.abs() + high.abs() + lead.abs())).scatter(1, y[:, None], 0.0)
    return Certificate(lead, torch.full((len(x),), math.inf, dtype=torch.float64))


def _apart(last: Segment, exponent: float, y: Tensor) -> Tensor:
    """‖row_k(W_L) - row_y(W_L)‖ of the labels and all classes, (n, K), from above."""
    labels, place = y.unique(return_inverse=True)
    of_labels = rows_of(last, labels)
    norms = torch.cat(
        [
            torch.cdist(of_labels, rows_of(last, classes), p=exponent, compute_mode="donot_use_mm_for_euclid_dist")
            for classes in torch.arange(last.d_out).split(Work().rows(1, last.d_in))
        ],
        dim=1,
    )
    ones = torch.ones(1, *last.in_shape, dtype=torch.float64)
    error = gamma(last) * absolute(last, ones).flatten()
    return ((norms + error[labels][:, None] + error + TINY) * (1 + sums(last.d_in + 6)))[place]
