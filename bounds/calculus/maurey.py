"""Maurey's sparsification of one layer (L5.1)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.calculus.statements import Step
from bounds.symbols import N, W_bar, b, g, i, w_maurey

PUBLISHED = Step(
    "L5.1",
    "Maurey's sparsification lemma",
    "Bartlett, Foster & Telgarsky 2017, Lemma 3.2",
    sp.Le(
        sp.Symbol(r"\ln\mathcal N(\{XA\},u)"),
        sp.ceiling(b[i] ** 2 * sp.Symbol(r"\left\|X\right\|_F") ** 2 / sp.Symbol("u") ** 2)
        * sp.log(2 * sp.Symbol("d") * sp.Symbol("m")),
        evaluate=False,
    ),
)

KERNEL = Step(
    "L5.1",
    "Maurey's lemma for convolution kernels: each entry moves one input channel injectively",
    "own derivation; Graf et al. 2022 use the same norm",
    sp.Le(
        sp.Symbol(r"\ln\mathcal N(\mathrm{layer}_i,u)"),
        sp.ceiling(g[i] ** 2 * sp.Symbol(r"\left\|Z\right\|") ** 2 / sp.Symbol("u") ** 2) * sp.log(2 * N[i]),
        evaluate=False,
    ),
    derived=True,
    premises=(PUBLISHED,),
)

layer_weight = Part(
    w_maurey,
    sp.Min(b[i] * sp.sqrt(sp.log(2 * W_bar**2)), g[i] * sp.sqrt(sp.log(2 * N[i]))),
    "Maurey weight of layer i: the smaller of the (2,1) pair and the kernel-group pair",
)
"""ln N(layer i, u) <= ceiling(w_i^2 ‖Z‖^2/u^2) up to the ceiling; for a dense layer g = b and N = d_{i-1} d_i."""
