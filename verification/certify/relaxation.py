"""Certificate by linear relaxation: one backward pass of linear bounds through a chain with ReLU-type activations.

The hidden units' ranges come from the global Lipschitz constants of the layers before them, times the norm of each
unit's own row: cheap, and exact for the first layer. In narrow layers they are tightened by the relaxation itself.
Between its ends a unit is replaced by two lines, chosen by the sign of its coefficient; the margin is then bounded
below by a linear function of the input, whose minimum over the ball is exact. This is CROWN's backward pass (Zhang et
al. 2018) with those ranges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.measure import row_norms
from bounds.network import Segment, TracedNetwork
from bounds.network.nonlinear import Activation, Nonlinear
from verification.attack_set import AttackSet
from verification.certify.lipschitz import ROUNDING, Certificate

CHUNK = 16  # samples whose coefficients are held at a time
NARROW = 256  # units of a layer up to which their ranges are tightened


def why_not_relaxed(network: TracedNetwork) -> str | None:
    """Why the certificate is not available for a network; None where it is."""
    if network.architecture.obstacles:
        obstacle = network.architecture.obstacles[0]
        return f"{obstacle.name}; {obstacle.remedy}"
    for phi, facts in zip(_nonlinear(network), network.architecture.nonlinearities, strict=True):
        if len(phi.parts) != 1 or not isinstance(phi.parts[0], Activation) or not facts.homogeneous or facts.rho > 1:
            return f"{facts.name} is not ReLU or leaky ReLU"
    return None


@dataclass(frozen=True)
class Relaxation:
    """The certificate for one network, norm and radius.

    Attributes:
        network: a chain with ReLU or leaky ReLU.
        ball: the attack set; bounds hold for the plain ball, hence also for its intersection with the box.
        ranges: how far each hidden unit can move, one tensor per nonlinearity.
    """

    network: TracedNetwork
    ball: AttackSet
    ranges: tuple[Tensor, ...]

    def certify(self, x: Tensor, y: Tensor) -> Certificate:
        """Lower bound of the worst-case margin and upper bound of the robust cross-entropy.

        Args:
            x: inputs, (n, *input_shape), input units.
            y: labels, (n,).
        """
        parts = [self._lead(*part) for part in zip(x.double().split(CHUNK), y.split(CHUNK), strict=True)]
        worst = torch.cat(parts)
        rivals = worst.scatter(1, y[:, None], math.inf)
        return Certificate(rivals.amin(dim=1), (-worst.scatter(1, y[:, None], 0.0)).logsumexp(dim=1))

    def _lead(self, x: Tensor, y: Tensor) -> Tensor:
        """Lower bounds of z_y - z_k over the ball, (n, K)."""
        unit = torch.eye(self.network.outputs, dtype=torch.float64)
        return self._minimum(unit[y][:, None] - unit[None], self._hidden(x), x)

    def _hidden(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Lower and upper bounds of the pre-activations over the ball, layer by layer."""
        bounds: list[tuple[Tensor, Tensor]] = []
        for centre, reach in zip(_pre_activations(self.network, x), self.ranges, strict=False):
            slack = ROUNDING * (1 + centre.abs())
            low, high = centre - reach - slack, centre + reach + slack
            if bounds and reach.numel() <= NARROW:
                unit = torch.eye(reach.numel(), dtype=torch.float64).reshape(1, -1, *reach.shape)
                unit = unit.expand(len(x), *unit.shape[1:])
                below, above = self._minimum(unit, bounds, x), -self._minimum(-unit, bounds, x)
                low = torch.maximum(low, below.reshape(low.shape))
                high = torch.minimum(high, above.reshape(high.shape))
            bounds.append((low, high))
        return bounds

    def _minimum(self, coefficients: Tensor, hidden: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
        """Lower bounds over the ball of linear functions of the pre-activations that follow the bounded ones.

        Args:
            coefficients: (n, rows, *out_shape) of layer len(hidden) + 1.
            hidden: bounds of the pre-activations of the layers before.
            x: centres.
        """
        segments, activations = _segments(self.network), _nonlinear(self.network)
        segment = segments[len(hidden)]
        constant = _contracted(coefficients, segment.offset.expand(len(x), *segment.out_shape))
        size = constant.abs()  # of everything summed so far, for the rounding allowance
        coefficients = _pulled_back(segment, coefficients)
        for i in range(len(hidden) - 1, -1, -1):
            lower, upper, intercept = _lines(activations[i].parts[0], *hidden[i])
            positive, negative = coefficients.clamp(min=0), coefficients.clamp(max=0)
            shift = _contracted(negative, intercept)
            coefficients = positive * lower[:, None] + negative * upper[:, None]
            offset = _contracted(coefficients, segments[i].offset.expand_as(lower))
            constant, size = constant + shift + offset, size + shift.abs() + offset.abs()
            coefficients = _pulled_back(segments[i], coefficients)
        at_centre = _contracted(coefficients, x)
        reach = self.ball.eps * torch.linalg.vector_norm(coefficients.flatten(2), ord=self.ball.q, dim=2)
        size = size + _contracted(coefficients.abs(), x.abs()) + reach
        least: Tensor = at_centre + constant - reach - ROUNDING * (1 + size)
        return least


def relaxation(network: TracedNetwork, s_upper: Sequence[float], norm: str, eps: float) -> Relaxation:
    """Prepares the certificate: how far every hidden unit can move over the ball.

    |change of unit r of layer i| <= eps_2 Prod_{j<i} s_j rho_j ‖row_r(W_i)‖_2, with eps_2 = eps max(1, d^{1/2-1/p});
    in the first layer eps ‖row_r‖_q, which is exact for p = 2 and p = inf.

    Args:
        network: a chain for which `why_not_relaxed` has no objection.
        s_upper: certified upper ends of the layers' operator norms.
        norm: "l2", "linf" or "l1".
        eps: radius, input units.
    """
    ball = AttackSet(norm, eps)
    moved = eps * max(1.0, network.architecture.d ** (0.5 - 1 / ball.p))
    ranges = []
    for i, (segment, phi) in enumerate(zip(_segments(network), network.architecture.nonlinearities, strict=False)):
        euclidean, absolute = row_norms(segment)
        reach = eps * absolute if i == 0 and norm == "linf" else moved * euclidean
        ranges.append((reach * (1 + ROUNDING)).reshape(segment.out_shape))
        moved *= s_upper[i] * phi.rho
    return Relaxation(network, ball, tuple(ranges))


def _segments(network: TracedNetwork) -> list[Segment]:
    return [part for part in network.chain if isinstance(part, Segment)]


def _nonlinear(network: TracedNetwork) -> list[Nonlinear]:
    return [part for part in network.chain if isinstance(part, Nonlinear)]


def _pre_activations(network: TracedNetwork, x: Tensor) -> Iterator[Tensor]:
    z = x
    for part in network.chain[:-1]:
        z = part(z)
        if isinstance(part, Segment):
            yield z


def _lines(phi: object, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope of a line below (through 0) and slope and intercept of a line above, on [low, high].

    The activation is convex and homogeneous: its chord is above it, and either of its two pieces below.
    """
    assert isinstance(phi, Activation)
    crossing = (low < 0) & (high > 0)
    right, left = phi(torch.ones_like(low)), -phi(-torch.ones_like(low))  # the slopes of the two pieces
    stable = torch.where(low >= 0, right, left)
    chord = (phi(high) - phi(low)) / (high - low)
    below = torch.where(crossing, torch.where(high > -low, right, left), stable)
    # A chord over an interval that does not cross 0 is the piece itself, but badly conditioned if that is short.
    above = torch.where(crossing, chord, stable)
    return below, above, torch.where(crossing, phi(low) - chord * low, 0.0)


def _pulled_back(segment: Segment, coefficients: Tensor) -> Tensor:
    """Coefficients (n, K, *out) of the layer's output as coefficients (n, K, *in) of its input."""
    flat = segment.adjoint(coefficients.flatten(0, 1))
    return flat.reshape(*coefficients.shape[:2], *segment.in_shape)


def _contracted(coefficients: Tensor, values: Tensor) -> Tensor:
    """Inner products (n, K) of coefficients (n, K, *shape) with values (n, *shape)."""
    products: Tensor = (coefficients.flatten(2) @ values.flatten(1)[:, :, None])[:, :, 0]
    return products
