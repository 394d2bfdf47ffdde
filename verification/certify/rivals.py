"""The classes that may overtake the label, and which of them are worth a pass through the network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bounds.network import Segment
from verification.certify.enclosure import Enclosure
from verification.certify.matrices import unit_vectors
from verification.certify.rounding import centred, gamma, outwards, sums

ALL = 32
"""Classes up to which all of them are worth a pass."""


@dataclass(frozen=True, eq=False)
class Rivals:
    """The chosen classes per sample, and what interval arithmetic knows about all of them.

    A class weighs in the loss by exp(-lead), so that those with the smallest leads are chosen; the others keep the lead
    that interval arithmetic gives. The label itself is always among the chosen ones, with a lead of 0.

    Attributes:
        y: labels, (n,).
        classes: the chosen classes in ascending order, (n, R).
        low: lower bounds of z_y - z_k by interval arithmetic, (n, K); 0 for k = y.
        high: upper bounds.
    """

    y: Tensor
    classes: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def chosen(cls, enclosure: Enclosure, y: Tensor, at_most: int) -> Rivals:
        """The `at_most` classes of the smallest leads.

        Args:
            enclosure: intervals of the network.
            y: labels, (n,).
            at_most: classes to choose, the label included.
        """
        low, high = (end.scatter(1, y[:, None], 0.0) for end in interval_lead(enclosure, y))
        first = low.scatter(1, y[:, None], -torch.inf).topk(min(at_most, low.shape[1]), dim=1, largest=False).indices
        return cls(y, first.sort(dim=1).values, low, high)

    @cached_property
    def rows(self) -> Tensor:
        """The coefficients of z_y - z_k for the chosen classes, (n, R, K)."""
        return -margin_rows(self.y, self.classes, self.low.shape[1])

    def among_all(self, lead: Tensor) -> Tensor:
        """Bounds of the chosen classes' leads, (n, R), and of the others' by interval arithmetic: (n, K)."""
        return self.low.scatter(1, self.classes, lead).scatter(1, self.y[:, None], 0.0)

    def of(self, lead: Tensor) -> Tensor:
        """Of leads of all classes, (n, K), those of the chosen ones: (n, R)."""
        return lead.gather(1, self.classes)

    def with_the_others(self, loss: Tensor) -> Tensor:
        """An upper bound of log(sum_k exp(z_k - z_y)) from one over the chosen classes, (n,), nats."""
        others = (-self.low).scatter(1, self.classes, -torch.inf)
        if self.classes.shape[1] == self.low.shape[1]:
            return loss
        total = torch.logsumexp(torch.cat([loss[:, None], others], dim=1), dim=1)
        return total + sums(self.low.shape[1] + 12) * (1 + total.abs().nan_to_num(posinf=0.0))

    def subset(self, samples: Tensor) -> Rivals:
        """Those of some of the samples, by position or mask."""
        return Rivals(self.y[samples], self.classes[samples], self.low[samples], self.high[samples])


def margin_rows(y: Tensor, classes: Tensor, outputs: int) -> Tensor:
    """The coefficients of z_k - z_y, (n, R, outputs).

    Args:
        y: labels, (n,).
        classes: k, (n, R).
        outputs: the number of classes.

    >>> margin_rows(torch.tensor([0]), torch.tensor([[0, 2]]), 3)
    tensor([[[ 0.,  0.,  0.],
             [-1.,  0.,  1.]]], dtype=torch.float64)
    """
    rows = torch.zeros(*classes.shape, outputs, dtype=torch.float64)
    rows.scatter_(2, classes[:, :, None], 1.0)
    label = y[:, None, None].expand(-1, classes.shape[1], 1)
    return rows.scatter_add_(2, label, torch.full(label.shape, -1.0, dtype=torch.float64))


def all_classes(enclosure: Enclosure) -> Tensor:
    """Every class for every sample, (n, K)."""
    return torch.arange(enclosure.network.outputs).expand(len(enclosure.x), -1)


def interval_lead(enclosure: Enclosure, y: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of z_y - z_k from the interval before the last segment (or of the output), (n, K) each.

    Args:
        enclosure: intervals of the network.
        y: labels, (n,).
    """
    last, outputs = enclosure.network.nodes[-1], enclosure.network.outputs
    own = y[:, None]
    if not isinstance(last.operation, Segment):
        centre, radius = centred(*enclosure.values[-1])
        middle, away = centre.gather(1, own) - centre, radius.gather(1, own) + radius
        return outwards(middle - away, middle + away, outputs)
    segment = last.operation
    sizes = enclosure.magnitudes[len(enclosure.values) - 1]
    slack = (2 * gamma(segment) + sums(segment.d_in + outputs)) * (sizes.gather(1, own) + sizes)
    moved = segment.offset[y][:, None] - segment.offset
    centre, radius = (end.flatten(1)[:, :, None] for end in centred(*enclosure.values[last.inputs[0]]))
    of_label, middles, radii = rows_of(segment, y), [], []
    for classes in torch.arange(outputs).split(enclosure.rows_at_once(segment.d_in)):
        coefficients = of_label[:, None] - rows_of(segment, classes)
        middles.append((coefficients @ centre)[:, :, 0])
        radii.append((coefficients.abs() @ radius)[:, :, 0])
    middle, away = moved + torch.cat(middles, 1), torch.cat(radii, 1)
    return outwards(middle - away - slack, middle + away + slack)


def rows_of(segment: Segment, outputs: Tensor) -> Tensor:
    """Some rows of a segment's matrix, (outputs, d_in)."""
    vectors = unit_vectors(outputs, segment.d_out).reshape(-1, *segment.out_shape)
    return segment.adjoint(vectors).flatten(1)
