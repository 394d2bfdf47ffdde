"""The Jacobian's range over an attack set (theory L2.3), by intervals and by a relaxation of the derivative.

Both replace the slopes of every unit by their range over the unit's interval, and let a max-pool weigh the taps that
can win in any way (Clarke's derivative), so that they enclose J(xi) for every xi in the set.

Interval: the rows J_k - J_y are multiplied backwards through the network in interval arithmetic, entry by entry
(derivative_interval.py). Relaxation (our derivation): J(xi) delta is the output of a tangent network (tangents.py).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.measure import row_norms
from bounds.network import Segment, TracedNetwork
from verification.attack_set import AttackSet
from verification.certify.derivative_interval import pulled_back_interval, support_of_interval
from verification.certify.enclosure import Enclosure, Interval
from verification.certify.lines import derivative_range
from verification.certify.matrices import unit_vectors
from verification.certify.rivals import all_classes, margin_rows
from verification.certify.rounding import absolute, centred, gamma, outwards, sums
from verification.certify.tangents import Linearised, Slopes, Tangents, moves, tangents

CHANGES = ("jacobian interval", "jacobian relaxation")


@dataclass(frozen=True)
class JacobianRange:
    """Upper bounds over x + delta, delta in the attack set, (n,), float64, logits per input unit.

    Attributes:
        margins: sup of max_k ‖J_k - J_y‖_q, q dual to the attack norm.
        frobenius: sup ‖J‖_F.
        spectral: sup ‖J‖_2.
    """

    margins: Tensor
    frobenius: Tensor
    spectral: Tensor


def changes(
    enclosure: Enclosure, y: Tensor, classes: Tensor | None = None, routes: Collection[str] = CHANGES
) -> dict[str, Tensor]:
    """How much z_k - z_y can increase over the attack set (theory L2.3).

    "jacobian interval" bounds (J_k - J_y)(xi) delta for all xi and delta of the set; the "jacobian relaxation", our
    derivation, does so with the slopes that finite differences can have.

    Args:
        enclosure: intervals of a network without opaque layers.
        y: labels, (n,).
        classes: k, (n, R); all of them by default.
        routes: which of the two.

    Returns:
        Route to upper bounds, (n, R), float64, logits, rounded upwards; 0 at k = y.

    >>> from bounds.network import trace
    >>> from verification.certify.enclosure import enclose
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> x = torch.zeros(1, 2)
    >>> bounds = changes(enclose(trace(model, x), x, AttackSet("l2", 0.5)), torch.tensor([0]))
    >>> {route: [round(value, 9) for value in bound[0].tolist()] for route, bound in bounds.items()}
    {'jacobian interval': [0.0, 2.5], 'jacobian relaxation': [0.0, 2.5]}
    """
    classes = all_classes(enclosure) if classes is None else classes
    rows, bounds = margin_rows(y, classes, enclosure.network.outputs), {}
    if "jacobian interval" in routes:
        bounds["jacobian interval"] = growth_by_interval(enclosure, rows)
    if "jacobian relaxation" in routes:
        differences = tangents(enclosure, enclosure.attack_set, moves(enclosure, enclosure.at_x()), _slopes(enclosure))
        bounds["jacobian relaxation"] = differences.largest(rows)
    return {route: finished(bound).masked_fill(classes == y[:, None], 0.0) for route, bound in bounds.items()}


def growth_by_interval(enclosure: Enclosure, rows: Tensor) -> Tensor:
    """How much functions of the logits can grow over the attack set if the Jacobian may be anything in its interval.

    Args:
        enclosure: intervals of a network without opaque layers.
        rows: coefficients of the logits, (n, rows, K).

    Returns:
        Upper bounds, (n, rows).
    """

    def growth(part: Tensor) -> Tensor:
        return support_of_interval(enclosure.attack_set, enclosure.x, *jacobian_interval(enclosure, part))

    return enclosure.by_rows(rows, growth)


def jacobian_range(enclosure: Enclosure, y: Tensor) -> JacobianRange:
    """Norms of the Jacobian that are not exceeded anywhere in the attack set: the smaller of both methods.

    Args:
        enclosure: intervals of a network without opaque layers.
        y: labels, (n,).

    Returns:
        Side: upper bounds, rounded upwards.

    >>> from bounds.network import trace
    >>> from verification.certify.enclosure import enclose
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> x = torch.zeros(1, 2)
    >>> norms = jacobian_range(enclose(trace(model, x), x, AttackSet("l2", 0.5)), torch.tensor([0]))
    >>> [round(value.item(), 9) for value in (norms.margins, norms.frobenius, norms.spectral)]
    [5.0, 5.0, 4.0]
    """
    network, x, last = enclosure.network, enclosure.x, len(enclosure.network.nodes) - 1
    ball, euclidean = AttackSet(enclosure.attack_set.norm, 1.0), AttackSet("l2", 1.0)
    rows = margin_rows(y, all_classes(enclosure), network.outputs)
    derivatives = _derivatives(enclosure, ball)
    by_interval = support_of_interval(ball, x, *jacobian_interval(enclosure, rows))
    margins = torch.minimum(finished(by_interval), finished(derivatives.largest(rows))).amax(1)

    rows = torch.eye(network.outputs, dtype=torch.float64).expand(len(x), -1, -1)
    derivatives = derivatives if ball == euclidean else _derivatives(enclosure, euclidean)
    interval = Linearised(*jacobian_interval(enclosure, rows), torch.zeros(rows.shape[:2], dtype=torch.float64))
    frobenius, spectral = [], []
    for found in (interval, *derivatives.linearised(last, rows)):
        lengths = support_of_interval(euclidean, x, found.low, found.high) + found.remainder
        frobenius.append(finished(lengths * (1 + sums(2))))
        norm = spectral_norm(found.low, found.high) + largest_norm(found.remainder)
        spectral.append(finished(norm * (1 + sums(2))))
    whole = largest_norm(torch.stack(frobenius).amin(0))
    return JacobianRange(margins, whole, torch.minimum(whole, torch.stack(spectral).amin(0)))


def jacobian_interval(enclosure: Enclosure, rows: Tensor) -> Interval:
    """The interval of rows times the Jacobian at any point of the enclosure, entry by entry.

    Args:
        enclosure: intervals of a network without opaque layers.
        rows: coefficients of the logits, (n, rows, K).

    Returns:
        Lower and upper ends, (n, rows, *input_shape), rounded outwards.
    """
    return pulled_back_interval(enclosure, {len(enclosure.network.nodes) - 1: rows})


def mean_value_range(enclosure: Enclosure, node: int) -> Interval:
    """The interval of a node's value from its value at x and its Jacobian's interval (L2.3 for hidden units).

    Much tighter than linear relaxation for l1 attacks, whose delta moves few inputs much. Costs a backward pass per
    unit: for narrow layers.

    Args:
        enclosure: intervals of everything before the node; it may be unfinished.
        node: position in the network.

    Returns:
        Lower and upper ends, (n, *shape), rounded outwards.

    >>> from bounds.network import trace
    >>> from verification.certify.enclosure import enclose
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.tensor([[3.0, -4.0], [1.0, 0.0]])
    >>> x = torch.zeros(1, 2)
    >>> low, high = mean_value_range(enclose(trace(model, x), x, AttackSet("l1", 0.5)), 1)
    >>> [round(end, 9) for end in low[0].tolist()], [round(end, 9) for end in high[0].tolist()]
    ([-2.0, -0.5], [2.0, 0.5])
    """
    attack_set, x = enclosure.attack_set, enclosure.x
    low, high = (end.flatten(1) for end in enclosure.at_x().values[node])
    shape, below, above = enclosure.values[node][0].shape[1:], [], []
    for units in torch.arange(low.shape[1]).split(enclosure.rows_at_once(enclosure.widest)):
        rows = unit_vectors(units, low.shape[1]).reshape(1, -1, *shape).expand(len(x), -1, *shape)
        smallest, largest = pulled_back_interval(enclosure, {node: rows})
        above.append(finished(support_of_interval(attack_set, x, smallest, largest)))
        below.append(finished(support_of_interval(attack_set, x, -largest, -smallest)))
    low, high = outwards(low - torch.cat(below, 1), high + torch.cat(above, 1))
    return low.reshape(-1, *shape), high.reshape(-1, *shape)


def finished(bound: Tensor) -> Tensor:
    """Bounds that overflowed on the way say nothing."""
    return bound.nan_to_num(nan=torch.inf, posinf=torch.inf)


def _slopes(enclosure: Enclosure) -> Slopes:
    """Every slope in the range of the derivative over its unit's interval."""
    return lambda phi, key, size: centred(*derivative_range(phi, *enclosure.parts[key]))


def _derivatives(enclosure: Enclosure, ball: AttackSet) -> Tangents:
    """The directional derivatives at all points of the enclosure along all directions of a unit ball."""
    return tangents(enclosure, ball, _row_norms(enclosure.network) if ball.p <= 2 else {}, _slopes(enclosure))


def _row_norms(network: TracedNetwork) -> dict[int, Tensor]:
    """Of the layers that read the input: |<row, delta>| <= ‖row‖_2 where ‖delta‖_2 <= 1."""
    norms = {}
    for position, node in enumerate(network.nodes):
        if isinstance(node.operation, Segment) and node.inputs == (0,):
            euclidean, _ = row_norms(node.operation)
            ones = torch.ones(1, *node.operation.in_shape, dtype=torch.float64)
            rounding = gamma(node.operation) * absolute(node.operation, ones)
            exact = euclidean.reshape(rounding.shape)
            norms[position] = (exact + rounding) * (1 + sums(node.operation.d_in + 4))
    return norms


def largest_norm(vectors: Tensor) -> Tensor:
    """Euclidean norms of (n, m), rounded upwards."""
    return AttackSet("l2", 1.0).support(vectors[:, None], vectors)[:, 0]


def spectral_norm(low: Tensor, high: Tensor) -> Tensor:
    """Upper bounds of ‖M‖_2 for the matrices between low and high, (n, K, *shape) each; (n,)."""
    centre, radius = centred(low.flatten(2), high.flatten(2))
    return (_spectral(centre) + largest_norm(radius.flatten(1))) * (1 + sums(2))


def _spectral(matrices: Tensor) -> Tensor:
    """Upper bounds of ‖M‖_2 of (n, K, d), tight to rounding and verified whatever the eigenvalue routine returned.

    With G = M M^T, any V with alpha = ‖1 - V^T V‖ < 1 gives ‖G‖_2 <= ‖V^T G V‖_2 / (1 - alpha); for computed
    eigenvectors V the middle matrix is almost diagonal and its largest row sum is almost its norm.
    """
    scale = matrices.abs().amax((1, 2), keepdim=True)
    usable = scale.isfinite() & (scale > 0)
    m = torch.where(usable, matrices / torch.where(usable, scale, 1.0), 0.0)
    gram = m @ m.mT
    v = torch.linalg.eigh(gram)[1]
    size = v.shape[-1]

    def norm(matrix: Tensor, terms: int, magnitude: Tensor) -> Tensor:
        """Largest row sum of a computed matrix, whose entries are sums of that many terms."""
        return (matrix.abs() + sums(terms) * magnitude).sum(2).amax(1) * (1 + sums(size + 2))

    alpha = norm(torch.eye(size, dtype=torch.float64) - v.mT @ v, size + 1, v.abs().mT @ v.abs() + 1)
    middle = norm(v.mT @ gram @ v, 2 * size + 2, v.abs().mT @ gram.abs() @ v.abs())
    # The Gram matrix and the scaling err by at most sums(d + 3)·|m||m|^T, whose norm is at most ‖m‖_F^2.
    top = middle / (1 - alpha) + sums(m.shape[2] + 3) * m.square().sum((1, 2))
    value = scale[:, 0, 0] * (top * (1 + sums(8))).sqrt() * (1 + sums(4))
    return torch.where((alpha < 0.5) & scale[:, 0, 0].isfinite(), value, torch.inf)
