"""The robust loss bounded as a whole, where the rivals' leads cannot all be largest at once (our derivation).

With m_k = z_k - z_y in [l_k, u_k], exp lies below its chord: exp(m_k) <= w_k m_k + c_k. The sum of the chords is one
linear function of the logits, bounded by one backward pass: loss = log(sum exp m_k) <= log(max over the set of sum
(w_k m_k + c_k)).
"""

from __future__ import annotations

import torch
from torch import Tensor

from verification.certify.enclosure import Enclosure
from verification.certify.relaxation import Functionals, Relaxation
from verification.certify.rivals import Rivals
from verification.certify.rounding import sums


def direct_cap(relaxation: Relaxation, enclosure: Enclosure, rivals: Rivals, lead: Tensor) -> Tensor:
    """Upper bound of the robust cross-entropy, (n,), nats; +inf where it would overflow.

    Args:
        relaxation: of the network.
        enclosure: the hidden units' intervals.
        rivals: the labels, and the classes whose m_k are bounded by relaxation, too.
        lead: lower bounds of z_y - z_k, (n, K), 0 at k = y.
    """
    classes, output = lead.shape[1], len(enclosure.values) - 1
    relaxed = relaxation.lead(enclosure, -rivals.rows)
    low = (-rivals.high).scatter(1, rivals.classes, relaxed).scatter(1, rivals.y[:, None], 0.0)
    high = -lead
    top = high.amax(dim=1, keepdim=True)  # >= 0; exp(m - top) does not overflow
    low = torch.minimum(low, high)
    at_low, at_high, width = (low - top).exp(), (high - top).exp(), high - low
    slope = torch.where(width > 1e-6, (at_high - at_low) / width.clamp(min=1e-6), at_high)
    # exp is convex: whatever the slope, the line is above exp between the ends if it is above at the ends.
    ends = torch.stack([at_low - slope * low, at_high - slope * high])
    # exp is off by a unit or two, and by u times its exponent, whose size times exp is at most 1; then two products.
    error = sums(8) * (at_high + slope * torch.maximum(low.abs(), high.abs()) + 1)
    intercept = ends.amax(dim=0) + error
    others = slope.scatter(1, rivals.y[:, None], 0.0)
    weights = (-others).scatter(1, rivals.y[:, None], others.sum(1, keepdim=True))
    whole = -relaxation.minimum(enclosure, output, Functionals(weights[:, None]))
    # The weights of the label's logit are summed, which may round: by at most the sum of the weights a unit each.
    largest = enclosure.largest(output).amax(dim=1)
    total = whole[:, 0] + intercept.sum(dim=1)
    total = total + sums(classes + 8) * (intercept.abs().sum(dim=1) + whole[:, 0].abs() + slope.sum(dim=1) * largest)
    value = top[:, 0] + total.clamp(min=torch.finfo(torch.float64).tiny).log()
    cap = value + sums(8) * (1 + value.abs() + top[:, 0])
    # A total that rounding has made nonpositive says nothing.
    return torch.where((total > 0) & cap.isfinite(), cap, torch.inf)
