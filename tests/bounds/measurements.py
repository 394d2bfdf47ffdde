"""Measurements and the oracle's facts from the same plain numbers, for tests of the calculus and the catalogue."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bounds import symbols
from bounds.by_hand import Norms
from bounds.measurements import Measurements
from bounds.sides import Exact, upper_end
from tests.oracles.catalogue import Facts

P = {"l1": 1.0, "l2": 2.0, "linf": math.inf}


def facts(measured: Measurements, gamma: float, delta: float, p_w: float = 2.0) -> Facts:
    """The oracle's input for the same numbers."""
    net, layers, data = measured.architecture, measured.layers, measured.data

    def column(name: str) -> list[float]:
        return [upper_end(getattr(layer, name)) for layer in layers]

    difference = measured.row_difference
    return Facts(
        n=data.n,
        d=net.d,
        K=net.classes,
        L=net.depth,
        d_in=[layer.d_in for layer in net.layers],
        d_out=[layer.d_out for layer in net.layers],
        s=column("s"),
        a=column("a"),
        two_one=column("b"),
        kernel_group=column("g"),
        is_conv=[layer.convolution for layer in net.layers],
        row_sum=column("m"),
        biased_row_sum=column("m_bias"),
        offset=column("c"),
        has_bias=[layer.bias for layer in net.layers],
        N=[layer.parameters for layer in net.layers],
        k_pos=[layer.kernel_positions for layer in net.layers],
        P_out=[layer.output_positions for layer in net.layers],
        t=column("t"),
        rho=[phi.rho for phi in net.nonlinearities],
        beta=[phi.beta for phi in net.nonlinearities],
        at_zero=[phi.at_zero for phi in net.nonlinearities],
        X_F=upper_end(data.frobenius),
        X_col=upper_end(data.column_max),
        B2=data.support.value,
        Bp=data.support_p.value,
        gamma=gamma,
        delta=delta,
        eps=measured.eps,
        p=P[measured.attack_norm],
        M=None,
        p_w=p_w,
        w_norm=None if difference is None else upper_end(difference[0 if p_w == 1 else 1]),
    )


def random_norms(rng: np.random.Generator, biased: bool, convolutional: bool) -> tuple[Norms, float, float]:
    """Norms of no particular network, with a_i >= s_i as every network has; a margin and a failure probability."""
    depth = int(rng.integers(1, 5))
    draw = lambda low, high: [float(v) for v in rng.uniform(low, high, depth)]  # noqa: E731
    widths = [int(v) for v in rng.integers(2, 9, depth + 1)]
    s = draw(0.2, 3)
    bias = [bool(v) for v in rng.integers(0, 2, depth)] if biased else [False] * depth
    b = draw(0.1, 5)
    convolution = [bool(v) for v in rng.integers(0, 2, depth)] if convolutional else [False] * depth
    norms = Norms(
        s=s,
        a=[value * float(rng.uniform(1, 2)) for value in s],
        b=b,
        g=[float(rng.uniform(0.1, 5)) if conv else value for conv, value in zip(convolution, b, strict=True)],
        m=draw(0.1, 4),
        m_bias=draw(0.1, 4),
        c=[float(rng.uniform(0.1, 2)) if flag else 0.0 for flag in bias],
        t=draw(0.0, 3),
        widths=widths,
        bias=bias,
        convolution=convolution,
        k_pos=[int(rng.integers(1, 10)) if conv else 1 for conv in convolution],
        P_out=[int(rng.integers(1, 10)) if conv else 1 for conv in convolution],
        rho=[float(v) for v in rng.uniform(0.3, 1.2, depth - 1)],
        beta=[float(v) for v in rng.uniform(0.1, 1.2, depth - 1)],
        at_zero=[float(v) for v in rng.uniform(0, 0.7, depth - 1)] if biased else None,
        n=int(rng.integers(3, 300)),
        classes=widths[-1],
        d=widths[0],
        X_F=float(rng.uniform(0.1, 30)),
        X_col=float(rng.uniform(0.1, 10)),
        B=float(rng.uniform(0.1, 3)),
        B_p=float(rng.uniform(0.1, 3)),
        eps=float(rng.uniform(0, 1)),
        norm=str(rng.choice(["l2", "linf"])),
        w=(float(rng.uniform(1, 3)), float(rng.uniform(0.1, 1))),
    )
    return norms, float(10 ** rng.uniform(-1, 5)), float(rng.uniform(0.001, 0.9))


def with_layer(measured: Measurements, layer: int, name: str, value: float) -> Measurements:
    """The same measurements with one number of one layer changed."""
    layers = list(measured.layers)
    layers[layer] = replace(layers[layer], **{name: Exact(value)})
    return replace(measured, layers=tuple(layers))


RADII = {name: getattr(symbols, name) for name in ("s", "a", "b", "g", "m", "m_bias", "c", "t")}
