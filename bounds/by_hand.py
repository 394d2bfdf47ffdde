"""A network given by its norms alone: for examples on paper, what-if questions and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bounds import catalogue
from bounds.architecture import Architecture, Layer, Nonlinearity
from bounds.catalogue.assumptions import Setting
from bounds.catalogue.entry import Bound
from bounds.errors import InputError, unknown_name
from bounds.measurements import DataMeasurement, LayerMeasurement, Measurements
from bounds.readings import Settings, evaluator
from bounds.rows import violations
from bounds.sides import Lower, TwoSided, Upper


@dataclass(frozen=True)
class Norms:
    """Everything that enters a bound, as plain numbers in the notation of theory §0; sequences run over the layers.

    Where nothing is given: two layers of width 1, every norm 1, no offsets, two classes, n = 4. `widths` are d_0..d_L;
    `b` defaults to 1, `g` to `b`, `m_bias` to m + c, `parameters` to those of dense layers; rho, beta and at_zero have
    L-1 entries; `w` is (‖w‖_1, ‖w‖_2) of a linear two-class network.
    """

    s: Sequence[float] = (1.0, 1.0)
    a: Sequence[float] | None = None
    b: Sequence[float] | None = None
    g: Sequence[float] | None = None
    m: Sequence[float] | None = None
    m_bias: Sequence[float] | None = None
    c: Sequence[float] | None = None
    t: Sequence[float] | None = None
    parameters: Sequence[int] | None = None
    widths: Sequence[int] | None = None
    bias: Sequence[bool] | None = None
    convolution: Sequence[bool] | None = None
    k_pos: Sequence[int] | None = None
    P_out: Sequence[int] | None = None
    rho: Sequence[float] | None = None
    beta: Sequence[float] | None = None
    at_zero: Sequence[float] | None = None
    n: int = 4
    classes: int = 2
    d: int = 1
    X_F: float = 1.0
    X_col: float = 1.0
    B: float = 1.0
    B_p: float = 1.0
    eps: float = 0.0
    norm: str = "l2"
    w: tuple[float, float] | None = None

    def measurements(self) -> Measurements:
        """The numbers as measurements."""
        data = DataMeasurement(self.n, _known(self.X_F), _known(self.X_col), Upper(self.B), Upper(self.B_p))
        difference = None if self.w is None else (_known(self.w[0]), _known(self.w[1]))
        return Measurements(self._architecture(), self._layers(), data, self.norm, self.eps, difference)

    def _architecture(self) -> Architecture:
        depth = len(self.s)
        widths = self.widths or [self.d, *[1] * (depth - 1), self.classes]
        bias = _filled(self.bias, False, depth)
        dense = [(d_in + b) * d_out for d_in, d_out, b in zip(widths, widths[1:], bias, strict=False)]
        columns = zip(
            widths[:-1],
            widths[1:],
            bias,
            _filled(self.convolution, False, depth),
            self.parameters or dense,
            _filled(self.k_pos, 1, depth),
            _filled(self.P_out, 1, depth),
            strict=True,
        )
        layers = tuple(Layer(f"layer{i}", *column) for i, column in enumerate(columns, start=1))
        between = zip(
            _filled(self.rho, 1.0, depth - 1),
            _filled(self.beta, 1.0, depth - 1),
            _filled(self.at_zero, 0.0, depth - 1),
            widths[1:-1],
            strict=True,
        )
        nonlinearities = tuple(
            Nonlinearity(f"phi{i}", ("phi",), rho, beta, zero, not zero, 0, width)
            for i, (rho, beta, zero, width) in enumerate(between, start=1)
        )
        return Architecture(layers, nonlinearities, (), self.d, self.classes)

    def _layers(self) -> tuple[LayerMeasurement, ...]:
        depth = len(self.s)
        b, m, c = _filled(self.b, 1.0, depth), _filled(self.m, 1.0, depth), _filled(self.c, 0.0, depth)
        columns = zip(
            _filled(self.a, 1.0, depth),
            b,
            self.g or b,
            m,
            self.m_bias or [row + offset for row, offset in zip(m, c, strict=True)],
            c,
            _filled(self.t, 1.0, depth),
            strict=True,
        )
        return tuple(
            LayerMeasurement(_known(s), *map(_known, column)) for s, column in zip(self.s, columns, strict=True)
        )


def complexity(
    key: str, norms: Norms, variant: str = "", *, gamma: float = 1.0, delta: float = 0.75
) -> tuple[float, float]:
    """Rademacher complexity (PAC-Bayes: excess) of a class given by its norms, raw and guaranteed; upper bounds.

    Args:
        key: of a catalogue entry.
        norms: the numbers.
        variant: of the entry.
        gamma: margin, logits.
        delta: failure probability; PAC-Bayes only.

    Raises:
        InputError: for an unknown key or variant, or a bound whose assumptions the norms violate.

    >>> complexity("neyshabur2015_frobenius", Norms(a=(1, 2), X_F=2), gamma=32)
    (0.25, 0.25)
    """
    bounds = {bound.variant: bound for bound in catalogue.get(key).variants if isinstance(bound, Bound)}
    if variant not in bounds:
        raise unknown_name("variant", variant, bounds)
    measured = norms.measurements()
    setting = Setting(norms.n, norms.norm, certified=True, support=True)
    for violation in violations(bounds[variant], measured.architecture, setting):
        raise InputError(f"{key} does not apply: {violation.because} ({violation.remedy})")
    value = evaluator(bounds[variant], measured, Settings(delta, gamma))
    raw, guaranteed = (float(value(expression)) for expression in bounds[variant].gap.complexity)
    return raw, guaranteed


def _known(value: float) -> TwoSided:
    """A number known without any rounding."""
    return TwoSided(Lower(value), Upper(value))


def _filled(values: Sequence[Any] | None, default: Any, count: int) -> list[Any]:
    return list(values) if values is not None else [default] * count
