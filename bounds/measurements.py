"""The numbers a bound needs, measured and typed by side, and their translation into the symbols of theory §0.

No torch here: `bounds.evaluation` fills these in from a network, a test may write them down by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bounds import symbols
from bounds.architecture import Architecture
from bounds.calculus.arithmetic import Duals, enclosure, layers, point
from bounds.sides import Exact, Side, TwoSided, Upper, failure_probability, upper_end

ATTACK_NORMS = {"l1": 1.0, "l2": 0.5, "linf": 0.0}
"""1/p by the name of the attack norm."""

LAYER_NORMS = ("s", "a", "b", "g", "m", "m_bias", "c", "t")
"""The norms of a layer, by the names of their symbols."""


@dataclass(frozen=True)
class LayerMeasurement:
    """Norms of one affine segment (theory §0); float64. None: not measured, because nothing needs it.

    Attributes:
        s: operator norm ‖W_i‖_2, two-sided.
        a: ‖W_i‖_F.
        b: (2,1) distance of [W_i c_i] to the reference.
        g: kernel-group distance to the reference; equal to b for a dense layer.
        m: largest row 1-norm.
        m_bias: largest row 1-norm with the offset as one more entry.
        c: ‖c_i‖_2 as an operator.
        t: ‖theta_i - theta_i^0‖_2.
    """

    s: Side | None = None
    a: Side | None = None
    b: Side | None = None
    g: Side | None = None
    m: Side | None = None
    m_bias: Side | None = None
    c: Side | None = None
    t: Side | None = None

    @property
    def complete(self) -> bool:
        """Whether every norm is measured."""
        return all(getattr(self, name) is not None for name in LAYER_NORMS)


@dataclass(frozen=True)
class DataMeasurement:
    """Norms of the training inputs, input units.

    Attributes:
        n: number of samples.
        frobenius: ‖X‖_F.
        column_max: max_j‖X_{:,j}‖_2.
        support: B, sup of ‖x‖_2 over the support; None where the support is unknown.
        support_p: the same in the attack norm.
        sample_radius: max of ‖x‖_2 over the samples; no bound reads it.
    """

    n: int
    frobenius: Side
    column_max: Side
    support: Upper | None
    support_p: Upper | None
    sample_radius: Exact | None = None


@dataclass(frozen=True)
class Measurements:
    """Everything that enters a bound besides the settings.

    Attributes:
        architecture: the torch-free description.
        layers: norms of each segment, in order.
        data: norms of the training inputs.
        attack_norm: "l1", "l2" or "linf"; None without an attack.
        eps: attack radius, input units; 0 without an attack.
        row_difference: (‖w‖_1, ‖w‖_2) of the difference of the two rows of a two-class linear network.
    """

    architecture: Architecture
    layers: tuple[LayerMeasurement, ...]
    data: DataMeasurement
    attack_norm: str | None = None
    eps: float = 0.0
    row_difference: tuple[Side, Side] | None = None

    def failure(self) -> float:
        """Total probability that some probabilistic upper end is wrong; it is taken out of delta."""
        return sum(failure_probability(layer.s) for layer in self.layers if layer.s is not None)

    def radii(self) -> dict[Any, dict[int, Side] | Side]:
        """The data-dependent radii by symbol, where measured: what a trained network may choose."""
        found: dict[Any, dict[int, Side] | Side] = {}
        for name in LAYER_NORMS:
            norms = [getattr(layer, name) for layer in self.layers]
            if None not in norms:
                found[getattr(symbols, name)] = layers(norms)
        if self.row_difference is not None:
            found[symbols.A_1], found[symbols.A_2] = self.row_difference
        return found

    def constants(self) -> dict[Any, Any]:
        """Numbers fixed in advance or belonging to the sample, as exact floats by symbol."""
        net, data = self.architecture, self.data
        depth = net.depth
        widths = [layer.d_in + layer.bias for layer in net.layers] + [layer.d_out for layer in net.layers]
        unbiased = [layer.d_in for layer in net.layers] + [layer.d_out for layer in net.layers]
        inner = net.nonlinearities
        narrowest = [min(min(layer.d_in, layer.d_out) for layer in net.layers[:i]) for i in range(1, depth + 1)]
        numbers: dict[Any, Any] = {
            symbols.n: data.n,
            symbols.d: net.d,
            symbols.K: net.classes,
            symbols.W_bar: max(widths),
            symbols.h: max(unbiased),
            symbols.W_kernel: max(layer.parameters for layer in net.layers),
            symbols.any_bias: int(any(layer.bias for layer in net.layers)),
            symbols.X_F: upper_end(data.frobenius),
            symbols.X_col: upper_end(data.column_max),
            symbols.epsilon: self.eps,
            symbols.inverse_p: ATTACK_NORMS[self.attack_norm or "l2"],
            symbols.N: layers([layer.parameters for layer in net.layers]),
            symbols.has_bias: layers([int(layer.bias) for layer in net.layers]),
            symbols.k_pos: layers([layer.kernel_positions for layer in net.layers]),
            symbols.P_out: layers([layer.output_positions for layer in net.layers]),
            symbols.d_min: layers(narrowest),
            # rho_0 = rho_L = 1: the input and the output pass through no nonlinearity.
            symbols.rho: {0: 1, **layers([phi.rho for phi in inner]), depth: 1},
            symbols.beta: layers([phi.beta for phi in inner]),
            symbols.phi0: layers([phi.at_zero for phi in inner]),
            symbols.d_z: {0: net.d, **layers([phi.d_out for phi in inner])},
        }
        if data.support is not None:
            numbers[symbols.B] = data.support.value
        if data.support_p is not None:
            numbers[symbols.B_p] = data.support_p.value
        return numbers

    def points(self) -> dict[Any, Any]:
        """Certified upper ends as mpmath numbers, for `Points`."""
        values = _converted(self.constants(), point.mpf)
        values.update(_converted(self.radii(), lambda side: point.mpf(upper_end(side))))
        return values

    def intervals(self) -> dict[Any, Any]:
        """Enclosures, for `Intervals`: [lower, upper] where both ends were measured."""
        values = _converted(self.constants(), lambda number: enclosure(point.mpf(number), point.mpf(number)))
        values.update(_converted(self.radii(), _enclosed))
        return values

    def duals(self) -> tuple[dict[Any, Any], Duals, list[Any]]:
        """Upper ends with derivatives in the logarithm of every layer's every radius, for `Duals`.

        Returns:
            The values, the arithmetic, and the symbols in the order of the seeds (L seeds each).
        """
        seeded = [symbol for symbol, entries in self.radii().items() if isinstance(entries, Mapping)]
        arithmetic = Duals(len(seeded) * len(self.layers))
        values = _converted(self.points(), arithmetic.constant)
        for position, symbol in enumerate(seeded):
            first = position * len(self.layers) - 1
            values[symbol] = {i: arithmetic.seed(dual.value, first + i) for i, dual in values[symbol].items()}
        return values, arithmetic, seeded


def _converted(values: Mapping[Any, Any], convert: Callable[[Any], Any]) -> dict[Any, Any]:
    """Apply to every number; None (no derivative constant) stays out."""
    return {
        symbol: {i: convert(entry) for i, entry in number.items() if entry is not None}
        if isinstance(number, Mapping)
        else convert(number)
        for symbol, number in values.items()
    }


def _enclosed(side: Side) -> Any:
    """Both ends of a measured number; an exact one gets its rounding, 2^-40 relative."""
    if isinstance(side, TwoSided):
        return enclosure(point.mpf(side.lower.value), point.mpf(side.upper.value))
    if isinstance(side, Exact):
        slack = point.mpf(2) ** -40 * abs(point.mpf(side.value))
        return enclosure(max(point.mpf(0), side.value - slack), side.value + slack)
    return enclosure(point.mpf(0), point.mpf(upper_end(side)))
