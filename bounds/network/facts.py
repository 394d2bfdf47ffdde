"""What the catalogue may know of a traced network: layers, nonlinearities, obstacles, and no weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch

from bounds.architecture import Architecture, Layer, Nonlinearity
from bounds.network.nodes import Node
from bounds.network.nonlinear import Activation, MaxPool, Nonlinear
from bounds.network.obstacles import obstacles
from bounds.network.segment import Segment


def describe(nodes: Sequence[Node], d: int, classes: int) -> Architecture:
    """The architecture of a network with d inputs and `classes` outputs; the first node is its input."""
    operations = [node.operation for node in nodes]
    return Architecture(
        layers=tuple(layer(op) for op in operations if isinstance(op, Segment)),
        nonlinearities=tuple(nonlinearity(op) for op in operations if isinstance(op, Nonlinear)),
        obstacles=tuple(obstacles(nodes)),
        d=d,
        classes=classes,
    )


def layer(segment: Segment) -> Layer:
    """Dimensions and parameter counts of a segment."""
    kernel = segment.kernel if segment.kernel is not None and segment.kernel.injective else None
    weights = segment.d_in * segment.d_out if kernel is None else kernel.weight.numel()
    offsets = segment.d_out if kernel is None or not segment.offset_per_channel else kernel.out_shape[0]
    return Layer(
        name=segment.name,
        d_in=segment.d_in,
        d_out=segment.d_out,
        bias=segment.has_bias,
        convolution=kernel is not None,
        parameters=weights + (offsets if segment.has_bias else 0),
        kernel_positions=1 if kernel is None else math.prod(kernel.weight.shape[2:]),
        output_positions=1 if kernel is None else math.prod(kernel.out_shape[1:]),
    )


def nonlinearity(nonlinear: Nonlinear) -> Nonlinearity:
    """Constants of a composition: rho is the product, beta of g o f is beta_g rho_f^2 + rho_g beta_f."""
    rho, beta, overlap = 1.0, 0.0, 0
    for part in nonlinear.parts:
        if isinstance(part, MaxPool):
            rho, overlap = _up(Fraction(rho) * Fraction(_root(part.overlap))), max(1, overlap) * part.overlap
        else:
            curvature = Fraction(part.facts.beta or 0) * Fraction(rho) ** 2 + Fraction(part.facts.rho) * Fraction(beta)
            rho, beta = _up(Fraction(rho) * Fraction(part.facts.rho)), _up(curvature)
    activations = [part.facts for part in nonlinear.parts if isinstance(part, Activation)]
    is_smooth = len(activations) == len(nonlinear.parts) and all(facts.beta is not None for facts in activations)
    return Nonlinearity(
        name=nonlinear.name,
        functions=tuple("max_pool" if isinstance(part, MaxPool) else part.key for part in nonlinear.parts),
        rho=rho,
        beta=beta if is_smooth else None,
        at_zero=_at_zero(nonlinear),
        homogeneous=all(facts.homogeneous for facts in activations),
        max_pool_overlap=overlap,
        d_out=math.prod(nonlinear.out_shape),
    )


def _up(exact: Fraction) -> float:
    """The nearest float that is not below."""
    nearest = float(exact)
    return nearest if Fraction(nearest) >= exact else math.nextafter(nearest, math.inf)


def _root(n: int) -> float:
    nearest = math.sqrt(n)
    return nearest if Fraction(nearest) ** 2 >= n else math.nextafter(nearest, math.inf)


def _at_zero(nonlinear: Nonlinear) -> float:
    if len(nonlinear.parts) == 1 and isinstance(nonlinear.parts[0], Activation):
        return nonlinear.parts[0].facts.at_zero
    value = float(nonlinear(torch.zeros(1, *nonlinear.in_shape, dtype=torch.float64)).abs().max())
    return value * (1 + 1e-12)
