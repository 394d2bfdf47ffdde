r"""Networks inside one of their linear pieces: its radius, the robust loss, the curvature of the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds.measure.hessian import piecewise_linear_curvature
from bounds.network import Segment, TracedNetwork, trace
from bounds.network.operators import Convolution as TracedConvolution
from bounds.network.operators import Linear, Shift
from verification.attack_set import NORMS
from verification.certify.linear_piece import linear_piece_radius
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.leaves import mapped
from verification.inequalities.strategies import labels, matrices, networks, vectors
from verification.inequalities.strategies.attacked import steepest
from verification.inequalities.strategies.networks import (
    PIECEWISE_LINEAR,
    Activation,
    Affine,
    Convolution,
    Layer,
    MaxPool,
    Network,
    Residual,
    State,
)
from verification.surrogates import slopes

RADIUS = (
    r"r(x)=\min_i|h_i(x)|/\|\nabla_xh_i(x)\|_q,\ \tfrac1p+\tfrac1q=1,\ "
    r"h_i\text{: pre-activations, and in max-pools the winner less each rival}"
)
ROBUST = (
    r"R(x)=\max_{\|\delta\|_p\le\varepsilon}\ell(f(x+\delta),y),\ \ell=\ell(f(x),y)\text{ (cross-entropy)},\ "
    r"J=J(x),\ u=\mathrm{softmax}(f(x))-e_y"
)
HESSIAN = r"\ell=\ell(f(x),y)\text{ (cross-entropy)},\ f\text{ piecewise linear},\ J=J(x),\ p=\mathrm{softmax}(f(x))"
"""Symbols of the statements, in LaTeX; networks are piecewise linear throughout."""
FARTHEST = 10.0
"""Radius at which networks without a kink nearby are tried."""
LARGEST_RADIUS = 1e6
"""Radii beyond count as infinite: there is nothing to compare, or to attack."""

SHAPES: dict[str, tuple[str, ...]] = {
    "dense": ("3x2", "relu", "2x3"),
    "deep": ("3x3", "leaky_relu", "3x3", "leaky_relu", "2x3"),
    "residual": ("2x2", "relu", "residual 2", "2x2"),
    "max-pool": ("4x2", "pool 2", "2x2"),
    "overlapping": ("3x2", "relu", "pool 1", "2x2"),
    "convolution": ("convolution", "relu", "2x9"),
}
"""Architectures, layer by layer: few, because tracing one takes a third of a second."""


@dataclass(frozen=True)
class Piece:
    """A network at an input.

    Attributes:
        network: piecewise linear.
        x: input, (d,).
        y: label.
        v: a direction in input space, (d,).
    """

    network: Network
    x: np.ndarray
    y: int
    v: np.ndarray


@st.composite
def _layer(draw: DrawFn, text: str) -> Layer:
    if text in PIECEWISE_LINEAR:
        return Activation(text)
    if text.startswith("pool"):
        return MaxPool(2, int(text[-1]))
    if text.startswith("residual"):
        width = int(text[-1])
        return Residual((draw(_layer(f"{width}x{width}")), Activation("relu")))
    if text == "convolution":
        return Convolution(draw(matrices(1, 4)).reshape(1, 1, 2, 2), draw(vectors(1)), (1, 2, 2), 1, 1)
    rows, columns = map(int, text.split("x"))
    return Affine(draw(matrices(rows, columns)), draw(vectors(rows)))


@st.composite
def _pieces(draw: DrawFn) -> Piece:
    """Networks of the few architectures; some that are wrong by far, some that cannot decide between two classes.

    In some all units of the first layer are about to change sides.
    """
    shape = SHAPES[draw(st.sampled_from(list(SHAPES)))]
    layers = [draw(_layer(text)) for text in shape]
    first, last = layers[0], layers[-1]
    inputs = first.weight.shape[1] if isinstance(first, Affine) else 4
    x, lead = draw(vectors(inputs)), draw(st.sampled_from([0.0, -1.0, 1.0]))
    assert isinstance(last, Affine)
    if lead and isinstance(first, Affine):
        constant = ("pool 2" in shape) & (np.arange(len(first.offset)) % 2 == 0)  # units that rivals catch up with
        weight = np.where(constant[:, None], 0.0, first.weight)
        layers[0] = Affine(weight, np.where(constant, 0.0, lead) - weight @ x)
    K = len(last.offset)
    y, kind = draw(labels(K)), draw(st.sampled_from(["generic", "mistake", "balanced"]))
    rival = (y + 1) % K
    if kind != "generic":
        centred = last.offset - Network(tuple(layers), inputs).logits(x)
        weight = last.weight.copy()
        weight[y] = -weight[rival]
        gap = np.where(np.arange(K) == rival, 0.0, -15.0)
        if kind == "mistake":
            layers[-1] = Affine(last.weight, centred + gap)
        else:
            layers[-1] = Affine(weight, np.zeros(K))
            gap[y] = 0.0
            layers[-1] = Affine(weight, gap - Network(tuple(layers), inputs).logits(x))
    return Piece(Network(tuple(layers), inputs), x, y, draw(vectors(inputs)))


@st.composite
def _any_pieces(draw: DrawFn) -> Piece:
    """Networks of every architecture of the laboratory."""
    network = draw(networks(activations=PIECEWISE_LINEAR))
    return Piece(network, draw(vectors(network.inputs)), 0, draw(vectors(network.inputs)))


def _states(network: Network, x: Any, rivals: bool = True) -> list[State]:
    """Before and after every layer; without the kinks of max-pools if rivals are forgotten."""
    states = [State(x, np.eye(len(x)))]
    for layer in network.layers:
        after = layer.push(states[-1])
        if isinstance(layer, MaxPool) and not rivals:
            after = replace(after, kinks=states[-1].kinks)
        states.append(after)
    return states


@dataclass(frozen=True)
class _Sizes:
    """How large values and gradients are before anything cancels: rounding errors are shares of these."""

    values: float
    gradients: float

    @property
    def lost_values(self) -> float:
        return 2.0**-46 * self.values

    @property
    def lost_gradients(self) -> float:
        return 2.0**-46 * self.gradients


def _sizes(piece: Piece) -> _Sizes:
    """Of the same network with every number replaced by its absolute value."""
    states = _states(mapped(piece.network, np.abs), np.abs(piece.x))
    values = 1 + max(float(state.z.max()) for state in states)
    gradients = 1 + max(float(state.jacobian.sum(axis=1).max()) for state in states)
    assume(values <= 1e6 and gradients <= 1e6)
    return _Sizes(values, gradients)


def _radius(
    piece: Piece, q: float, rivals: bool = True, nearer: float = 0.0, flatter: float = 0.0
) -> tuple[float, np.ndarray]:
    """min |h| / ‖∇h‖_q over the kinks, and the step direction that reduces the nearest |h| (v where there is none).

    Args:
        piece: network and input.
        q: dual exponent.
        rivals: whether max-pools count.
        nearer: by how much every |h| is larger than computed.
        flatter: by how much every gradient is smaller than computed.
    """
    radius, towards = math.inf, piece.v
    for h, gradient in _states(piece.network, piece.x, rivals)[-1].kinks:
        size = float(reals.norm(gradient, q)) - flatter
        if size * LARGEST_RADIUS > abs(h) + nearer and (abs(h) + nearer) / size < radius:
            radius, towards = float((abs(h) + nearer) / size), -np.sign(h) * gradient
    return radius, towards


def _reach(
    piece: Piece, norm: str, share: float, factor: float, attack: bool = False, rivals: bool = True
) -> tuple[float, Any]:
    """A perturbation's size below the radius, and the direction of the nearest kink.

    Args:
        piece: network and input.
        norm: of the attack.
        share: of the radius, below 1.
        factor: times the radius (of mutants).
        attack: whether gradients are measured in the attack's own norm instead of its dual (a mutant).
        rivals: whether max-pools count.
    """
    assume(0 < share < 1)
    p, q = NORMS[norm]
    radius, towards = _radius(piece, p if attack else q, rivals)
    assume(radius >= 1e-6)
    return min(factor * share * radius, FARTHEST), towards


MUTANT_RADII: dict[str, dict[str, Any]] = {
    "twice the radius": {"factor": 2.0},
    "gradients in the norm of the attack": {"attack": True},
    "the rivals of a max-pool forgotten": {"rivals": False},
}
SHARES = st.sampled_from([0.99, 0.5, 0.1])


@inequality(
    "L2.2-affine",
    r"f(x+\delta)-f(x)=J(x)\,\delta\ \text{for}\ \|\delta\|_p<r(x),\quad " + RADIUS,
    source="own derivation",
    given={
        "piece": st.one_of(_pieces(), _any_pieces()),
        "norm": st.sampled_from(list(NORMS)),
        "share": SHARES,
        "towards_kink": st.sampled_from([1, 0]),
    },
    mutants=MUTANT_RADII,
    relation="==",
    attained=True,
    recheck=False,
)
def affine(
    piece: Piece,
    norm: str,
    share: float,
    towards_kink: int,
    factor: float = 1.0,
    attack: bool = False,
    rivals: bool = True,
) -> tuple[Any, Any, Any]:
    """The output that deviates most, over perturbations towards the nearest kink and others.

    All architectures: dense, convolutional, residual, max-pooled.
    """
    reach, towards = _reach(piece, norm, share, factor, attack, rivals)
    delta = reach * steepest(towards if towards_kink else piece.v, norm)
    state = piece.network.at(piece.x)
    moved, linear = piece.network.logits(piece.x + delta) - state.z, state.jacobian @ delta
    worst = int(np.abs(moved - linear).argmax())
    sizes = _sizes(piece)
    allowance = sizes.lost_values + sizes.lost_gradients * float(np.abs(delta).max())
    return float(moved[worst]), float(linear[worst]), allowance


_TRACED: dict[str, TracedNetwork] = {}
"""By architecture; the weights do not matter."""


def _traced(network: Network) -> TracedNetwork:
    """The network as the package traces it; an architecture is traced once and then given other weights."""
    shape = repr(mapped(network, np.shape))
    if shape not in _TRACED:
        _TRACED[shape] = trace(network.torch(), torch.zeros(1, network.inputs, dtype=torch.float64))
    weights = iter(_weights(network.layers))
    nodes = []
    for node in _TRACED[shape].nodes:
        if isinstance(node.operation, Segment) and any(
            isinstance(operation, Linear | TracedConvolution) for operation in node.operation.operations
        ):
            weight, offset = next(weights)
            node = replace(node, operation=_with_weights(node.operation, weight, offset))
        nodes.append(node)
    return replace(_TRACED[shape], nodes=tuple(nodes))


def _weights(layers: tuple[Layer, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for layer in layers:
        if isinstance(layer, Affine):
            found.append((layer.weight, layer.offset))
        elif isinstance(layer, Convolution):
            found.append((layer.kernel, layer.offset))
        elif isinstance(layer, Residual):
            found += _weights(layer.body)
    return found


def _with_weights(segment: Segment, weight: np.ndarray, offset: np.ndarray) -> Segment:
    operations = []
    for operation in segment.operations:
        if isinstance(operation, Linear | TracedConvolution):
            operation = replace(operation, weight=torch.from_numpy(weight.copy()))
        elif isinstance(operation, Shift):
            operation = replace(operation, offset=torch.from_numpy(offset.copy()).reshape(operation.offset.shape))
        operations.append(operation)
    return replace(segment, operations=tuple(operations))


def _packaged_radius(piece: Piece, norm: str) -> float:
    x = torch.from_numpy(piece.x.copy())[None]
    return min(linear_piece_radius(_traced(piece.network), x, norm).item(), LARGEST_RADIUS)


@inequality(
    "L2.2-radius",
    r"\hat r(x)\le r(x)\text{ for the package's }\hat r,\quad " + RADIUS,
    source="own derivation",
    given={"piece": _pieces(), "norm": st.sampled_from(list(NORMS))},
    mutants={
        "a fiftieth too small": {"factor": 0.98},
        "gradients in the norm of the attack": {"attack": True},
        "the smallest pre-activation over the largest gradient": {"apart": True},
    },
    attained=True,
    recheck=False,
    examples=80,
)
def radius(
    piece: Piece, norm: str, factor: float = 1.0, attack: bool = False, apart: bool = False
) -> tuple[Any, Any, Any]:
    """The package's radius, a lower bound with rounding included, against all kinks one at a time, from above."""
    p, q = NORMS[norm]
    sizes = _sizes(piece)
    exact, _ = _radius(piece, p if attack else q, nearer=sizes.lost_values, flatter=sizes.lost_gradients)
    assume(exact < LARGEST_RADIUS)
    if apart:
        kinks = _states(piece.network, piece.x)[-1].kinks
        exact = min(abs(h) for h, _ in kinks) / max(float(reals.norm(gradient, q)) for _, gradient in kinks)
    return _packaged_radius(piece, norm), factor * exact, 0.0


@inequality(
    "L2.2-radius-exact",
    r"\hat r(x)=r(x)\text{ for the package's }\hat r,\quad " + RADIUS,
    source="own derivation",
    given={"piece": _pieces(), "norm": st.sampled_from(list(NORMS))},
    mutants=MUTANT_RADII,
    relation="==",
    attained=True,
    recheck=False,
    examples=80,
)
def exact_radius(
    piece: Piece, norm: str, factor: float = 1.0, attack: bool = False, rivals: bool = True
) -> tuple[Any, Any, Any]:
    """The package's radius against all kinks one at a time, where rounding leaves no gradient in doubt.

    Without this assumption the package may answer 0 for units that it cannot tell apart.
    """
    p, q = NORMS[norm]
    sizes = _sizes(piece)
    kinks = _states(piece.network, piece.x)[-1].kinks
    assume(all(np.abs(gradient).max() > 1e-8 * sizes.gradients for _, gradient in kinks))
    found, _ = _radius(piece, p if attack else q, rivals)
    assume(found < LARGEST_RADIUS)
    doubt = 16 * (sizes.lost_values + sizes.lost_gradients * found)
    smallest = min(float(reals.norm(gradient, q)) for _, gradient in kinks)
    return _packaged_radius(piece, norm), factor * found, doubt / smallest


def _loss(piece: Piece, delta: Any) -> float:
    return float(reals.cross_entropy(piece.network.logits(piece.x + delta), piece.y))


def _packaged_slope(piece: Piece, norm: str, row: str) -> float:
    model, x = piece.network.torch(), torch.from_numpy(piece.x.copy())[None]
    return float(slopes(lambda x: model(x), x, torch.tensor([piece.y]), norm).slopes[row][0])


def _gradient(piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    """J and J^T u at x."""
    state = piece.network.at(piece.x)
    u = reals.softmax(state.z)
    u[piece.y] = -np.delete(u, piece.y).sum()
    return state.jacobian, state.jacobian.T @ u


def _attacks(piece: Piece, norm: str, reach: float, towards: Any) -> list[Any]:
    """Perturbations of size `reach`: along the gradient, the rows, towards the nearest kink."""
    J, gradient = _gradient(piece)
    return [reach * steepest(a, norm) for a in (gradient, towards, *(J - J[piece.y]))]


def _increase(piece: Piece, norm: str, reach: float, towards: Any) -> tuple[float, float]:
    """R - ℓ from below, and what rounding may have changed."""
    before = _loss(piece, np.zeros(len(piece.x)))
    largest = max(_loss(piece, delta) for delta in _attacks(piece, norm, reach, towards))
    sizes = _sizes(piece)
    return largest - before, 4 * (sizes.lost_values + sizes.lost_gradients * reach)


@inequality(
    "L2.2-upper",
    r"R(x)-\ell\le\varepsilon\max_k\|J_k-J_y\|_q\ \text{for}\ \varepsilon<r(x),\quad " + f"{ROBUST},\\ {RADIUS}",
    source="own derivation",
    given={"piece": _pieces(), "norm": st.sampled_from(list(NORMS)), "share": SHARES},
    mutants={**MUTANT_RADII, "a fiftieth too small": {"part": 0.98}},
    attained=True,
    recheck=False,
    examples=150,
)
def robust_below_surrogate(
    piece: Piece,
    norm: str,
    share: float,
    factor: float = 1.0,
    attack: bool = False,
    rivals: bool = True,
    part: float = 1.0,
) -> tuple[Any, Any, Any]:
    """R from below by attacks, against the package's margin-Jacobian row (the smallest of those above R_lin).

    Attained by networks that are wrong by far.
    """
    reach, towards = _reach(piece, norm, share, factor, attack, rivals)
    increase, allowance = _increase(piece, norm, reach, towards)
    return increase, part * reach * _packaged_slope(piece, norm, "margin-jacobian"), allowance


@inequality(
    "L2.2-lower",
    r"\varepsilon\|J^\top u\|_q\le R(x)-\ell\ \text{for}\ \varepsilon<r(x),\quad " + f"{ROBUST},\\ {RADIUS}",
    source="own derivation",
    given={"piece": _pieces(), "norm": st.sampled_from(list(NORMS)), "share": SHARES},
    mutants={
        "twice the radius": {"factor": 2.0},
        "the rivals of a max-pool forgotten": {"rivals": False},
        "a fiftieth too small": {"part": 0.98},
    },
    attained=True,
    recheck=False,
    examples=150,
)
def surrogate_below_robust(
    piece: Piece,
    norm: str,
    share: float,
    factor: float = 1.0,
    rivals: bool = True,
    part: float = 1.0,
) -> tuple[Any, Any, Any]:
    """The package's gradient row against R from below: attacks that include the gradient's own suffice by convexity.

    Attained by networks that are wrong by far.
    """
    reach, towards = _reach(piece, norm, share, factor, rivals=rivals)
    increase, allowance = _increase(piece, norm, reach, towards)
    return reach * _packaged_slope(piece, norm, "gradient"), part * increase, allowance


def _curvature(piece: Piece, mean: float, diagonal: bool) -> np.ndarray:
    """J^T (diag p - pp^T) J."""
    state = piece.network.at(piece.x)
    p = reals.softmax(state.z)
    inner = np.diag(p * (1 - p)) if diagonal else np.diag(p) - mean * np.outer(p, p)
    curvature: np.ndarray = state.jacobian.T @ inner @ state.jacobian
    return curvature


@inequality(
    "L2.7-hessian",
    r"v^\top\nabla_x^2\ell\,v=v^\top J^\top(\mathrm{diag}\,p-pp^\top)Jv,\quad " + HESSIAN,
    source="own derivation",
    given={"piece": _pieces()},
    mutants={"without the mean": {"mean": 0.0}, "a diagonal": {"diagonal": True}},
    relation="==",
    attained=True,
    recheck=False,
)
def hessian(piece: Piece, mean: float = 1.0, diagonal: bool = False) -> tuple[Any, Any, Any]:
    r"""Second differences of the loss, (ℓ(x+tv) + ℓ(x-tv) - 2ℓ(x))/t^2, against the formula.

    Inside the piece ℓ is a log-sum-exp along v; its fourth derivative is at most that of a variable of range
    s = max (Jv)_k - min (Jv)_k, s^4·3/16, which leaves t^2 s^4/64.
    """
    nearest, _ = _radius(piece, 2)
    moves = piece.network.jacobian(piece.x) @ piece.v
    spread, length = float(np.ptp(moves)), float(np.linalg.norm(piece.v))
    assume(spread > 1e-3)
    t = min(0.5 * nearest / length, 0.01 / spread)
    assume(t * spread >= 1e-3)
    ahead, behind, here = (_loss(piece, step * piece.v) for step in (t, -t, 0.0))
    lost = 4 * _sizes(piece).lost_values / t**2 + t**2 * spread**4 / 64
    return (ahead + behind - 2 * here) / t**2, float(piece.v @ _curvature(piece, mean, diagonal) @ piece.v), lost


def _packaged_curvature(piece: Piece) -> float:
    model = piece.network.torch()
    return float(piecewise_linear_curvature(lambda x: model(x), torch.from_numpy(piece.x.copy())[None])[0])


@inequality(
    "L2.7-norm",
    r"\|\nabla_x^2\ell\|_2\le\tfrac12\|J\|_2^2,\quad " + HESSIAN,
    source="own derivation",
    given={"piece": _pieces()},
    mutants={
        "a fiftieth too small": {"constant": 0.49},
        "the norm, not its square": {"power": 1},
    },
    attained=True,
    recheck=False,
)
def curvature_norm(piece: Piece, constant: float = 0.5, power: int = 2) -> tuple[Any, Any, Any]:
    """The package's curvature; attained where two classes with opposite rows tie."""
    assume(_radius(piece, 2)[0] > 1e-6)
    sizes = _sizes(piece)
    bound = constant * reals.spectral(piece.network.jacobian(piece.x)) ** power
    return _packaged_curvature(piece), bound, 4 * 2.0**-46 * sizes.gradients**2
