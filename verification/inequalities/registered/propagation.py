r"""How norms and errors travel through the layers (L5.2, L5.3, L5.5), and norms of Jacobians (L5.6)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds import symbols
from bounds.calculus import jacobian_cover, spectral_cover
from bounds.calculus.evaluator import Part
from bounds.calculus.jacobian_cover import JACOBIAN_NORMS, jacobian_frobenius, smallest_frobenius
from bounds.calculus.propagation import (
    curvature,
    dimension_factor,
    downstream,
    input_norms,
    resolution,
    sample_norms,
    support_norms,
    upstream,
)
from bounds.symbols import G, L, Q, T, beta, i, rho, s
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import exponents, labels, matrices, positive, scales, vectors
from verification.inequalities.strategies.families import (
    Layers,
    changes,
    course,
    forgotten,
    layered,
    operator,
    parameter_vector,
    poised,
    samples,
    shifted,
    values,
    weights,
)
from verification.inequalities.strategies.networks import SMOOTH, Affine

ALL = ("relu", "tanh", "leaky_relu", "sigmoid", "softplus", "silu")
j = symbols.j
ROUNDING = 2.0**-36
"""Sums of a few dozen products through at most four layers, and two singular value decompositions."""

LATE = Part(Q, sp.Product(s[j] * rho[j - 1], (j, i + 2, L)), "without the next layer")
FLAT = Part(G, sp.Product(rho[j], (j, 1, i - 1)), "without the layers before")
NEAREST = Part(T, sp.Piecewise((0, sp.Eq(i, L)), (s[i + 1] * beta[i] * G[i] * Q[i + 1], True)), "one slope only")
STIFF = Part(T, sp.Integer(0), "slopes that do not move")


def _finite(*arrays: Any) -> None:
    """Leaves out what overflows or falls below the accuracy of float64 relative to the rest."""
    assume(all(float(np.abs(array).max(initial=0.0)) < 1e60 for array in arrays))


def _lengths(layers: Layers, X: Any) -> None:
    _finite(X, *(weights(layer) for layer in layers), *(layer.offset for layer in layers))


@st.composite
def _pairs(draw: DrawFn) -> tuple[Layers, Layers, np.ndarray]:
    """Layers, their change and samples."""
    first = draw(layered())
    return first, draw(changes(first)), draw(samples(first))


def _errors(first: Layers, second: Layers, inner: Any) -> tuple[dict[int, Any], dict[int, Any]]:
    """p_i = ‖(W_i - Ŵ_i)Ẑ_{i-1} + c_i - ĉ_i‖ and q_i = ‖(W_i - Ŵ_i)Â_{i-1}‖_{S,F} by layer."""
    p, q = {}, {}
    for at, (one, other) in enumerate(zip(first, second, strict=True)):
        (W, c), (V, e) = operator(one), operator(other)
        p[at + 1] = reals.norm(inner.states[at] @ (W - V).T + (c - e), 2)
        q[at + 1] = reals.norm((W - V) @ inner.partials[at], 2)
    return p, q


def _sizes(*arrays: Any) -> Any:
    """The allowance of a difference of two computed arrays: relative to the arrays."""
    return 2.0**-44 * sum(float(reals.norm(np.reshape(array, -1), 2)) for array in arrays)


@inequality(
    "L5.3-outputs",
    r"\|f-\hat f\|_S\le\sum_iQ_ip_i,\quad p_i=\|(W_i-\widehat W_i)\widehat Z_{i-1}+(c_i-\hat c_i)\mathbf 1^\top\|_F,\ "
    r"Q_i=\prod_{j>i}s_j\rho_{j-1}",
    source="as in Bartlett, Foster & Telgarsky 2017",
    given={"pair": _pairs(), "activation": st.sampled_from(ALL)},
    mutants={
        "two per cent less": {"share": 0.98},
        "a layer of the product dropped": {"product": LATE},
        "without the spectral norms": {"dropped": (s,)},
    },
    attained=True,
    combinators=(spectral_cover.spectral_cover,),
)
def propagated_outputs(
    pair: Any, activation: str, share: float = 1.0, product: Part = upstream, dropped: tuple[Any, ...] = ()
) -> tuple[Any, Any, Any]:
    """Both sides exact; s_i the larger spectral norm of the two. Offsets count as weights of a constant.

    Attained by one layer, and by aligned layers that only shrink, inside a linear piece of ReLU.
    """
    first, change, X = pair
    _lengths(first + change, X)
    second = tuple(shifted(layer, by, 1) for layer, by in zip(first, change, strict=True))
    outer, inner = course(first, activation, X), course(second, activation, X)
    p, _ = _errors(first, second, inner)
    known = forgotten(values([first, second], activation), *dropped) | {sp.IndexedBase("p"): p}
    right = reals.evaluate(spectral_cover.PROPAGATION.conclusion.rhs, known, (product,), len(first))
    return reals.norm(outer.outputs - inner.outputs, 2), share * right, _sizes(outer.outputs, inner.outputs, right)


@inequality(
    "L5.3-jacobians",
    r"\|J-\hat J\|_{S,F}\le\sum_i(Q_iq_i+T_ip_i),\quad q_i=\|(W_i-\widehat W_i)\widehat A_{i-1}\|_{S,F},\ "
    r"p_i=\|(W_i-\widehat W_i)\widehat Z_{i-1}+(c_i-\hat c_i)\mathbf 1^\top\|_F,\ "
    r"T_i=s_{i+1}(\beta_iG_iQ_{i+1}+\rho_iT_{i+1}),\ T_L=0,\ G_i=\prod_{j\le i}s_j\prod_{j<i}\rho_j",
    source="own derivation",
    given={"pair": st.one_of(_pairs(), poised()), "activation": st.sampled_from(SMOOTH)},
    mutants={
        "two per cent less": {"share": 0.98},
        "the slopes do not move": {"slopes": STIFF},
        "a layer of the product dropped": {"product": LATE},
        "without the layers before the slope": {"before": FLAT},
    },
    attained=True,
    combinators=(jacobian_cover.jacobian_cover,),
)
def propagated_jacobians(
    pair: Any,
    activation: str,
    share: float = 1.0,
    slopes: Part = curvature,
    product: Part = upstream,
    before: Part = downstream,
) -> tuple[Any, Any, Any]:
    """Both sides exact. Attained by one layer; with more, almost by two scalar layers at the point of inflexion."""
    first, change, X = pair
    _lengths(first + change, X)
    second = tuple(shifted(layer, by, 1) for layer, by in zip(first, change, strict=True))
    outer, inner = course(first, activation, X), course(second, activation, X)
    p, q = _errors(first, second, inner)
    known = values([first, second], activation) | {sp.IndexedBase("p"): p, sp.IndexedBase("q"): q}
    conclusion = jacobian_cover.PROPAGATION.conclusion.rhs
    right = reals.evaluate(conclusion, known, (product, slopes, before), len(first))
    # phi' of large arguments keeps only as many digits as the arguments have.
    reach = _sizes(outer.jacobians, inner.jacobians, right) + _slope_rounding(first, second, outer, inner, known)
    return reals.norm(outer.jacobians - inner.jacobians, 2), share * right, reach


def _slope_rounding(first: Layers, second: Layers, outer: Any, inner: Any, known: dict[Any, Any]) -> float:
    """What the rounding of every pre-activation may move the Jacobian: T_i times that rounding."""
    noise = {}
    for at in range(len(first)):
        sides = []
        for layers, run in ((first, outer), (second, inner)):
            W, c = operator(layers[at])
            sides.append(np.abs(run.states[at]) @ np.abs(W).T + np.abs(c))
        noise[at + 1] = 2.0**-48 * sum(float(reals.norm(side, 2)) for side in sides)
    total = sp.Sum(T[i] * sp.IndexedBase("noise")[i], (i, 1, L))
    parts = (upstream, curvature, downstream)
    return float(reals.evaluate(total, known | {sp.IndexedBase("noise"): noise}, parts, len(first)))


@st.composite
def _bent(draw: DrawFn) -> tuple[Layers, Layers, np.ndarray]:
    """Layers and a change of their offsets alone; among them one that bends two layers further on."""
    if draw(st.integers(0, 2)) == 0:
        between = Affine(np.array([[draw(st.sampled_from([10.0, 100.0]))]]), np.array([0.6585]))
        outer, still = Affine(np.ones((1, 1)), np.zeros(1)), Affine(np.zeros((1, 1)), np.zeros(1))
        return (outer, between, outer), (Affine(np.zeros((1, 1)), np.array([1e-4])), still, still), np.zeros((1, 1))
    layers, moved, X = draw(st.one_of(_pairs(), poised()))
    return layers, tuple(_offset_change(draw, layer) for layer in moved), X


def _offset_change(draw: DrawFn, layer: Any) -> Affine:
    W, c = operator(layer)
    offset = c if np.any(c) else draw(vectors(len(c))) * draw(st.sampled_from([0.0, 0.01]))
    return Affine(np.zeros_like(W), offset)


@inequality(
    "L5.3-slopes",
    r"\|J_{W,c}-J_{W,\hat c}\|_{S,F}\le\sum_iT_i\sqrt n\,\|c_i-\hat c_i\|_2,\quad "
    r"T_i=s_{i+1}(\beta_iG_iQ_{i+1}+\rho_iT_{i+1}),\ T_L=0,\ G_i=\prod_{j\le i}s_j\prod_{j<i}\rho_j",
    source="own derivation",
    given={"pair": _bent(), "activation": st.sampled_from(SMOOTH)},
    mutants={
        "two per cent less": {"share": 0.98},
        "only the nearest slope": {"slopes": NEAREST},
        "without the layers before the slope": {"before": FLAT},
        "half the curvature": {"size": 0.5},
    },
    attained=True,
    combinators=(jacobian_cover.jacobian_cover,),
)
def propagated_slopes(
    pair: Any,
    activation: str,
    share: float = 1.0,
    slopes: Part = curvature,
    before: Part = downstream,
    size: float = 1.0,
) -> tuple[Any, Any, Any]:
    """The part of L5.3 that T_i stands for, alone: the same weights, other offsets.

    Both sides exact; reached in the limit of small changes by two scalar layers at the point of inflexion of phi.
    """
    first, change, X = pair
    _lengths(first + change, X)
    dense = tuple(Affine(*operator(layer)) for layer in first)
    second = tuple(Affine(a.weight, a.offset + b.offset) for a, b in zip(dense, change, strict=True))
    # Differences far below the slopes themselves are all rounding.
    assume(max(float(reals.norm(layer.offset, 2)) for layer in change) > 1e-6)
    outer, inner = course(dense, activation, X), course(second, activation, X)
    moves = [reals.norm(a.offset - b.offset, 2) for a, b in zip(dense, second, strict=True)]
    steps = {at + 1: reals.sqrt(len(X)) * move for at, move in enumerate(moves)}
    known = values([dense, second], activation)
    conclusion = sp.Sum(T[i] * sp.IndexedBase("p")[i], (i, 1, L))
    right = reals.evaluate(conclusion, known | {sp.IndexedBase("p"): steps}, (upstream, slopes, before), len(dense))
    allowance = _sizes(outer.jacobians, inner.jacobians, right) + _slope_rounding(dense, second, outer, inner, known)
    return reals.norm(outer.jacobians - inner.jacobians, 2), share * size * right, allowance


@inequality(
    "L5.3-recursion",
    r"T_i=s_{i+1}(\beta_iG_iQ_{i+1}+\rho_iT_{i+1}),\ T_L=0:\quad T_i=\sum_{k=i}^{L-1}"
    r"\Big[\prod_{j\ge k+2}s_j\rho_{j-1}\Big]s_{k+1}\beta_kG_k\Big[\prod_{j=i+1}^ks_j\rho_{j-1}\Big]",
    source="own derivation",
    given={
        "numbers": st.integers(1, 5).flatmap(
            lambda depth: st.tuples(*(st.tuples(scales(3), positive(), positive()) for _ in range(depth)))
        ),
        "layer": st.integers(1, 5),
    },
    mutants={
        "the sum begins one later": {"first": 1},
        "the last Lipschitz constant as well": {"extra": True},
        "the recursion without its second term": {"slopes": NEAREST},
    },
    relation="==",
    attained=True,
    combinators=(jacobian_cover.jacobian_cover,),
)
def curvature_recursion(
    numbers: Any, layer: int, first: int = 0, extra: bool = False, slopes: Part = curvature
) -> tuple[Any, Any]:
    """The package's recursion from the last layer (left) and the sum written out (right): an identity."""
    depth = len(numbers)
    layer = min(layer, depth)
    S, R, C = ({at + 1: reals.real(entry[which]) for at, entry in enumerate(numbers)} for which in range(3))
    assume(all(entry > 0 for part in (S, R, C) for entry in part.values()))
    R[depth] = 1
    total = reals.real(0)
    for k in range(layer + first, depth):
        after = math.prod(S[m] * R[m - 1] for m in range(k + 2, depth + 1))
        between = math.prod(S[m] * R[m - 1] for m in range(layer + 1, k + 1))
        before = math.prod(S[m] for m in range(1, k + 1)) * math.prod(R[m] for m in range(1, k + extra))
        total = total + after * S[k + 1] * C[k] * before * between
    known = {s: S, rho: R, beta: C}
    return reals.evaluate(T[layer], known, (upstream, slopes, downstream), depth), total


@st.composite
def _runs(draw: DrawFn) -> tuple[Layers, np.ndarray]:
    layers = draw(layered())
    return layers, draw(samples(layers))


@inequality(
    "L5.2-hidden",
    r"\|[Z_{i-1}\ \mathbf 1]\|_F\le\widetilde X_{i-1}=\sqrt{X_{i-1}^2+n}\ "
    r"\text{(if }c_i=0\text{, without }\mathbf 1\text{ and }n\text{)},\quad "
    r"X_i=\rho_i(s_iX_{i-1}+\sqrt n\|c_i\|_2)+\sqrt{nd_i}|\varphi_i(0)|",
    source="own derivation",
    given={"run": _runs(), "activation": st.sampled_from(ALL), "layer": st.integers(1, 3)},
    mutants={
        "two per cent less": {"share": 0.98},
        "without the offsets": {"dropped": (symbols.c,), "zero": True},
        "without phi(0)": {"dropped": (symbols.phi0,), "zero": True},
        "without the constant coordinate": {"dropped": (symbols.has_bias,), "zero": True},
        "the spectral norms forgotten": {"dropped": (symbols.s,)},
    },
    attained=True,
    rounding=ROUNDING,
    combinators=(spectral_cover.spectral_cover,),
)
def hidden_norms(
    run: Any,
    activation: str,
    layer: int,
    share: float = 1.0,
    dropped: tuple[Any, ...] = (),
    zero: bool = False,
) -> tuple[Any, Any]:
    """Both sides exact; the left without the ones where the layer has no offset.

    Attained at the data, and onwards by aligned positive layers of ReLU on equal samples, and for phi(0) != 0 by
    weights that are 0.
    """
    layers, X = run
    _lengths(layers, X)
    at = min(layer, len(layers))
    known = values([layers], activation) | {symbols.X_F: reals.norm(X, 2), symbols.n: len(X)}
    Z = course(layers, activation, X).states[at - 1]
    left = reals.sqrt(reals.norm(Z, 2) ** 2 + len(X) * known[symbols.has_bias][at])
    known = forgotten(known, *dropped)
    known |= {name: dict.fromkeys(known[name], 0) for name in dropped if zero}
    return left, share * reals.evaluate(symbols.X_in[at], known, (input_norms, sample_norms), len(layers))


def _inverse(p: float) -> Any:
    return 0 if p == math.inf else 1 / reals.real(p)


@inequality(
    "L5.5-support",
    r"\|z_i(x+\delta)\|_2\le B'_i\ \text{for}\ \|x\|_2\le B,\|\delta\|_p\le\varepsilon,\quad "
    r"B'_0=B+\varepsilon\max(1,d^{1/2-1/p}),\ B'_i=\rho_i(s_iB'_{i-1}+\|c_i\|_2)+\sqrt{d_i}|\varphi_i(0)|\ (i<L),\ "
    r"B'_L=s_LB'_{L-1}+\|c_L\|_2",
    source="own derivation",
    given={
        "run": _runs(),
        "attack": vectors(4),
        "activation": st.sampled_from(ALL),
        "p": exponents(),
        "eps": st.one_of(st.just(0.0), scales(3)),
        "layer": st.integers(0, 3),
    },
    mutants={
        "two per cent less": {"share": 0.98},
        "without the attack": {"dropped": (symbols.epsilon,), "zero": True},
        "without the dimension": {"dropped": (symbols.d,)},
        "without the offsets": {"dropped": (symbols.c,), "zero": True},
    },
    attained=True,
    examples=150,
    rounding=ROUNDING,
)
def hidden_support(
    run: Any,
    attack: Any,
    activation: str,
    p: float,
    eps: float,
    layer: int,
    share: float = 1.0,
    dropped: tuple[Any, ...] = (),
    zero: bool = False,
) -> tuple[Any, Any]:
    """Left: one point of the support and one attack, so a lower bound of the largest norm; layer L is the output.

    Attained by aligned positive layers of ReLU, a constant image and the attack that moves every pixel alike.
    """
    layers, X = run
    assume(p >= 1 and eps >= 0)
    _lengths(layers, X)
    x = reals.real(X)[:1]
    direction = reals.real(np.resize(attack, x.shape[1]))
    direction = direction if p != math.inf else np.where(direction < 0, reals.real(-1), reals.real(1))
    size = reals.norm(direction, p)
    delta = eps * direction / size if size > 0 else 0 * direction
    run_at = course(layers, activation, x + delta)
    at = min(layer, len(layers))
    reached = [*run_at.states, run_at.outputs][at]
    known = values([layers], activation) | {
        symbols.B: reals.norm(x, 2),
        symbols.epsilon: eps,
        symbols.inverse_p: _inverse(p),
    }
    known = forgotten(known, *dropped)
    known |= {name: dict.fromkeys(known[name], 0) if isinstance(known[name], dict) else 0 for name in dropped if zero}
    parts = (support_norms(adversarial=True), dimension_factor)
    return reals.norm(reached, 2), share * reals.evaluate(symbols.Z[at], known, parts, len(layers))


@st.composite
def _moved_layers(draw: DrawFn) -> tuple[Layers, np.ndarray]:
    """One layer as a change, and an input of it: arbitrary, or constant."""
    layers = draw(layered((1, 1)))
    return layers, draw(samples(layers, 1))


@inequality(
    "L5.5-resolution",
    r"\|\Delta h\|_2\le\sqrt{k^{\mathrm{pos}}\|z\|_2^2+[c\ne0]}\;\|\Delta\theta\|_2,\quad "
    r"\Delta\theta=(\Delta K,\sqrt{P^{\mathrm{out}}}\,\Delta c)",
    source="own derivation",
    given={"change": _moved_layers()},
    mutants={
        "two per cent less": {"share": 0.98},
        "without the kernel positions": {"dropped": (symbols.k_pos,)},
        "without the offset": {"dropped": (symbols.has_bias,)},
    },
    attained=True,
    rounding=ROUNDING,
)
def layer_resolution(change: Any, share: float = 1.0, dropped: tuple[Any, ...] = ()) -> tuple[Any, Any]:
    """Left exact for the drawn change. Attained by dense layers of rank one; kernels reach it on large images only."""
    layers, x = change
    _lengths(layers, x)
    W, c = operator(layers[0])
    moved = W @ reals.real(x)[0] + c
    known = forgotten(values([layers], "relu"), *dropped) | {symbols.Z: {0: reals.norm(x, 2)}}
    if symbols.has_bias in dropped:
        known[symbols.has_bias] = {1: 0}
    right = reals.evaluate(symbols.E[1], known, (resolution,), 1) * reals.norm(parameter_vector(layers[0]), 2)
    return reals.norm(moved, 2), share * right


@inequality(
    "L5.4-partial",
    r"\|A_i\|_F\le\alpha_i=\min\Big(\min_{k\le i}\frac{a_k}{s_k},\sqrt{\min(d_0,\ldots,d_i)}\Big)"
    r"\prod_{j\le i}s_j\rho_j,\quad\alpha_0=\sqrt d",
    source="own derivation",
    given={"run": _runs(), "activation": st.sampled_from(ALL), "layer": st.integers(0, 3)},
    mutants={
        "two per cent less": {"share": 0.98},
        "the spectral norms instead of one Frobenius norm": {"narrow": True},
        "without the other layers": {"alone": True},
    },
    attained=True,
    rounding=ROUNDING,
    combinators=(jacobian_cover.jacobian_cover,),
)
def partial_jacobians(
    run: Any, activation: str, layer: int, share: float = 1.0, narrow: bool = False, alone: bool = False
) -> tuple[Any, Any]:
    """Left exact at one sample. Attained at the data, and by layers inside a linear piece of ReLU."""
    layers, X = run
    _lengths(layers, X)
    at = min(layer, len(layers))
    run_at = course(layers, activation, reals.real(X)[:1])
    known = values([layers], activation)
    if narrow:
        known[symbols.d_min] = dict.fromkeys(known[symbols.d_min], 1)
    if alone:
        known[symbols.s] = dict.fromkeys(known[symbols.s], 1)
    right = reals.evaluate(symbols.alpha[at], known, (jacobian_frobenius, smallest_frobenius), len(layers))
    return reals.norm([*run_at.partials, run_at.jacobians][at], 2), share * right


@st.composite
def _jacobians(draw: DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two Jacobians: arbitrary, one of them 0, a constant one, one row against another."""
    shape = draw(st.integers(2, 4)), draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["plain", "zero", "constant", "opposite rows"]))
    J = draw(matrices(*shape, 2))
    if kind == "constant":
        J = np.full(shape, 1.0) * draw(scales(2))
    elif kind == "opposite rows":
        J = np.zeros(shape)
        J[0], J[1] = -1.0, 1.0
        if draw(st.booleans()):
            J[:, 1:] = 0.0
    return J, np.zeros(shape) if kind != "plain" else draw(matrices(*shape, 2))


def _constant(name: str, J: Any, p: float = 2, dropped: tuple[Any, ...] = ()) -> Any:
    known = {symbols.K: J.shape[0], symbols.d: J.shape[1], symbols.inverse_p: _inverse(p)}
    return reals.evaluate(JACOBIAN_NORMS[name].lipschitz, forgotten(known, *dropped), (dimension_factor,))


def _change(J: Any, other: Any, norm: Any, constant: Any) -> tuple[Any, Any, Any]:
    """|N(J) - N(Ĵ)| and constant ‖J - Ĵ‖_F."""
    J, other = reals.real(J), reals.real(other)
    allowance = 2.0**-46 * (float(norm(J)) + float(norm(other)))
    return abs(norm(J) - norm(other)), constant * reals.norm(J - other, 2), allowance


L56 = r"|N(J)-N(\hat J)|\le c\,\|J-\hat J\|_F,\quad "


@inequality(
    "L5.6-entrywise",
    L56 + r"N=\|\cdot\|_{1,1},\ c=\sqrt{Kd}",
    source="own derivation",
    given={"pair": _jacobians()},
    mutants={
        "two per cent less": {"share": 0.98},
        "without the classes": {"dropped": (symbols.K,)},
        "without the dimension": {"dropped": (symbols.d,)},
    },
    attained=True,
)
def entrywise_lipschitz(pair: Any, share: float = 1.0, dropped: tuple[Any, ...] = ()) -> tuple[Any, Any, Any]:
    """Both sides exact; attained from 0 by equal entries."""
    J, other = pair
    return _change(J, other, lambda A: reals.norm(A, 1), share * _constant("entrywise", J, dropped=dropped))


@inequality(
    "L5.6-rows",
    L56 + r"N=\max_k\|J_k\|_1,\ c=\sqrt d",
    source="own derivation",
    given={"pair": _jacobians()},
    mutants={"two per cent less": {"share": 0.98}, "without the dimension": {"dropped": (symbols.d,)}},
    attained=True,
)
def row_sum_lipschitz(pair: Any, share: float = 1.0, dropped: tuple[Any, ...] = ()) -> tuple[Any, Any, Any]:
    """Both sides exact; attained from 0 by one row of equal entries."""
    J, other = pair
    return _change(J, other, lambda A: reals.norm(A, 1, axis=1).max(), share * _constant("row-sum", J, dropped=dropped))


@inequality(
    "L5.6-margin",
    L56 + r"N=\max_{k\ne y}\|J_k-J_y\|_q,\ c=\sqrt2\,d^{\max(0,1/q-1/2)}",
    source="own derivation",
    given={"pair": _jacobians(), "y": labels(2), "p": exponents()},
    mutants={
        "two per cent less": {"share": 0.98},
        "without the root of 2": {"share": 0.5**0.5},
        "without the dimension": {"dropped": (symbols.d,)},
        "the dual exponent": {"exponent": reals.dual},
    },
    attained=True,
)
def margin_lipschitz(
    pair: Any, y: int, p: float, share: float = 1.0, dropped: tuple[Any, ...] = (), exponent: Any = float
) -> tuple[Any, Any, Any]:
    """Both sides exact, p the attack norm, q its dual; attained from 0 by two opposite rows."""
    J, other = pair
    assume(p >= 1)
    q = reals.dual(p)

    def largest(A: Any) -> Any:
        return reals.norm(np.delete(A, y, axis=0) - A[y], q, axis=1).max()

    return _change(J, other, largest, share * _constant("margin", J, exponent(p), dropped))


def _operator_norm(J: Any, p: float, r: float) -> Any:
    """‖J‖_{p→r} where it is a maximum over finitely many vectors, and for p = r = 2."""
    if p == 1:
        return reals.norm(J, r, axis=0).max()
    if r == math.inf:
        return reals.norm(J, reals.dual(p), axis=1).max()
    if p == math.inf:
        corners = reals.real(np.array(list(itertools.product((1.0, -1.0), repeat=J.shape[1]))))
        return reals.norm(corners @ J.T, r, axis=1).max()
    if r == 1:
        corners = reals.real(np.array(list(itertools.product((1.0, -1.0), repeat=J.shape[0]))))
        return reals.norm(corners @ J, reals.dual(p), axis=1).max()
    return reals.spectral(J)


EXACT = [(p, r) for p, r in itertools.product((2, 1, math.inf), repeat=2)]


@inequality(
    "L5.6-operator",
    L56 + r"N=\|\cdot\|_{p\to r},\ c=d^{\max(0,1/2-1/p)}K^{\max(0,1/r-1/2)}",
    source="own derivation",
    given={"pair": _jacobians(), "which": st.integers(0, len(EXACT) - 1)},
    mutants={
        "two per cent less": {"share": 0.98},
        "without the dimension": {"dropped": "d"},
        "without the classes": {"dropped": "K"},
        "the exponents swapped": {"swapped": True},
    },
    attained=True,
)
def operator_lipschitz(
    pair: Any, which: int, share: float = 1.0, dropped: str = "", swapped: bool = False
) -> tuple[Any, Any, Any]:
    """Both sides exact: p and r among 1, 2 and infinity, by enumeration of corners. Attained from 0 by rank one.

    The package's constant of the spectral norm times its factor of the attack norm, and one for the output norm.
    """
    J, other = pair
    p, r = EXACT[which]
    known = {symbols.d: 1 if dropped == "d" else J.shape[1], symbols.inverse_p: _inverse(r if swapped else p)}
    from_input = reals.evaluate(symbols.D_p, known, (dimension_factor,))
    exponent = max(0, _inverse(p if swapped else r) - reals.real(0.5))
    to_output = reals.power(1 if dropped == "K" else J.shape[0], exponent)
    constant = _constant("spectral", J) * from_input * to_output
    return _change(J, other, lambda A: _operator_norm(A, p, r), share * constant)
