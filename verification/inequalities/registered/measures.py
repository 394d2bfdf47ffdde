r"""What the package measures on samples, against slow oracles: Jacobians, input Hessians, margins, data norms.

The oracles differentiate the laboratory's networks layer by layer, without automatic differentiation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from hypothesis.strategies import DrawFn
from torch import Tensor

from bounds.inputs import Data
from bounds.measure.data_norm import data_norms
from bounds.measure.hessian import hessian_norms, lanczos_curvature
from bounds.measure.jacobian import jacobians
from bounds.measure.jacobian_norm import jacobian_norms
from bounds.measure.margin import margins
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import entries, networks, positive
from verification.inequalities.strategies.networks import (
    ACTIVATIONS,
    PIECEWISE_LINEAR,
    SMOOTH,
    Activation,
    Affine,
    Convolution,
    Layer,
    MaxPool,
    Network,
    Residual,
)

SAMPLES = 3
"""More than a chunk of two, so that chunks have to be put together."""


@dataclass(frozen=True)
class Sampled:
    """A network and labelled inputs: x (n, d), a label for each."""

    network: Network
    x: np.ndarray
    y: tuple[int, ...]

    def data(self, classes: int) -> Data:
        """The sample for the package."""
        return Data("sample", _tensor(self.x), torch.tensor(self.y), classes)


@st.composite
def sampled(draw: DrawFn, activations: tuple[str, ...]) -> Sampled:
    """Networks with inputs; labels of the first two classes, which every network has."""
    network = draw(networks(activations))
    x = draw(arrays.arrays(np.float64, (SAMPLES, network.inputs), elements=entries(2.0)))
    return Sampled(network, x, tuple(draw(st.integers(0, 1)) for _ in range(SAMPLES)))


EXPONENTS = (1.0, 2.0, math.inf)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


def _size(layers: Sequence[Layer]) -> float:
    """A bound of how much layers magnify: the product of Frobenius norms, every factor at least 1."""
    size = 1.0
    for layer in layers:
        if isinstance(layer, Affine):
            size *= max(1.0, float(np.linalg.norm(layer.weight)))
        elif isinstance(layer, Convolution):
            size *= max(1.0, float(np.linalg.norm(layer.matrix)))
        elif isinstance(layer, Residual):
            size *= 1 + _size(layer.body)
        else:
            size *= 1.2  # the steepest activation
    return size


def _allowance(sample: Sampled, order: int) -> float:
    """Rounding of derivatives of an order: of the products, and of slopes taken at rounded pre-activations."""
    size = _size(sample.network.layers)
    return 2.0**-45 * size**order * (1 + size * (5 + float(np.abs(sample.x).max())))


def _states(sample: Sampled) -> list[Any]:
    """States at the inputs; every sign that decides the linear piece is clear, or decides nothing."""
    states = [sample.network.at(x) for x in sample.x]
    unclear = 1e-10 * _size(sample.network.layers)
    for state in states:
        assume(all(abs(h) > unclear or not np.any(gradient) for h, gradient in state.kinks))
    return states


@inequality(
    "measure-jacobian",
    r"\partial f_k/\partial x_j\ \text{by vector-Jacobian products}=(W_L\Phi_{L-1}W_{L-1}\cdots\Phi_1W_1)_{kj}",
    source="standard (chain rule)",
    given={"sample": sampled((*PIECEWISE_LINEAR, *SMOOTH))},
    mutants={
        "the neighbour's Jacobian": {"shift": 1},
        "of the probabilities": {"probabilities": True},
        "the first class only": {"classes": 1},
    },
    relation="==",
    attained=True,
    examples=100,
    recheck=False,
)
def batched_jacobians(
    sample: Sampled, shift: int = 0, probabilities: bool = False, classes: int | None = None
) -> tuple[Any, Any, Any]:
    """All entries of all samples, weighted with numbers that no permutation keeps; in chunks of two."""
    expected = np.stack([state.jacobian for state in _states(sample)])
    found = jacobians(sample.network.torch(), _tensor(sample.x), chunk=2).numpy()
    if probabilities:
        p = np.stack([reals.softmax(sample.network.logits(x)) for x in sample.x])
        expected = p[:, :, None] * (expected - np.einsum("nk,nkd->nd", p, expected)[:, None])
    if classes is not None:
        expected[:, classes:] = 0.0
    probe = np.cos(1.0 + np.arange(expected.size)).reshape(expected.shape)
    right = float((probe * np.roll(expected, shift, axis=0)).sum())
    return float((probe * found).sum()), right, expected.size * _allowance(sample, 1)


@inequality(
    "measure-jacobian-norms",
    r"(\|J\|_2,\ \|J\|_F,\ \textstyle\sum|J_{kj}|,\ \max_k\|J_k\|_1,\ \max_{k\ne y}\|J_k-J_y\|_q)"
    r"\ \text{streamed}=\text{sample by sample}",
    source="standard (definitions)",
    given={"sample": sampled((*PIECEWISE_LINEAR, *SMOOTH))},
    mutants={
        "columns for rows": {"transpose": True},
        "the label forgotten": {"relative": False},
        "the dual exponents": {"exponents": (math.inf, 2.0, 1.0)},
    },
    relation="==",
    attained=True,
    examples=80,
    recheck=False,
)
def streamed_jacobian_norms(
    sample: Sampled, transpose: bool = False, relative: bool = True, exponents: tuple[float, ...] = EXPONENTS
) -> tuple[Any, Any, Any]:
    """The norms of the package's JacobianNorms, q in {1, 2, ∞}, at all samples, each with a weight of its own."""
    states = _states(sample)
    found = jacobian_norms(sample.network.torch(), sample.data(len(states[0].z)), q=EXPONENTS, chunk=2)
    streamed = [found.spectral, found.frobenius, found.entrywise_l1, found.row_sum]
    streamed += [found.margins[q] for q in EXPONENTS]
    expected = np.zeros((len(streamed), SAMPLES))
    for i, (state, y) in enumerate(zip(states, sample.y, strict=True)):
        J = state.jacobian
        steps = [J[k] - (J[y] if relative else 0) for k in range(len(J)) if k != y]
        expected[:, i] = [
            np.linalg.svd(J, compute_uv=False)[0],
            math.sqrt(sum(entry**2 for entry in J.flat)),
            sum(abs(entry) for entry in J.flat),
            max(sum(abs(entry) for entry in row) for row in (J.T if transpose else J)),
            *(max(np.linalg.norm(step, q) for step in steps) for q in exponents),
        ]
    weights = 1 + np.arange(expected.size).reshape(expected.shape) % 5
    left = float((weights * torch.stack(streamed).numpy()).sum())
    allowance = expected.size * 5 * states[0].jacobian.size * _allowance(sample, 1)
    return left, float((weights * expected).sum()), allowance


def _second_derivative(name: str, h: np.ndarray) -> np.ndarray:
    """Φ'' of an activation, entry by entry."""
    t, s = np.tanh(h), (1 + np.tanh(h / 2)) / 2
    second: dict[str, np.ndarray] = {
        "tanh": -2 * t * (1 - t**2),
        "sigmoid": s * (1 - s) * (1 - 2 * s),
        "softplus": s * (1 - s),
        "silu": s * (1 - s) * (2 + h * (1 - 2 * s)),
    }
    return second.get(name, np.zeros_like(h))


Jet = tuple[np.ndarray, np.ndarray, np.ndarray]
"""z (m,), its Jacobian (m, d) and its Hessians (m, d, d)."""


def _push(layer: Layer, jet: Jet) -> Jet:
    """The chain rule of second order, one layer at a time."""
    z, J, H = jet
    if isinstance(layer, Convolution):
        positions = math.prod(layer.out_shape[1:])
        layer = Affine(layer.matrix, np.repeat(layer.offset, positions))
    if isinstance(layer, Affine):
        return layer.weight @ z + layer.offset, layer.weight @ J, np.einsum("om,mij->oij", layer.weight, H)
    if isinstance(layer, Activation):
        phi, slope = ACTIVATIONS[layer.name]
        bent = _second_derivative(layer.name, z)[:, None, None] * J[:, :, None] * J[:, None, :]
        return phi(z), slope(z)[:, None] * J, slope(z)[:, None, None] * H + bent
    if isinstance(layer, MaxPool):
        winners = [max(window, key=lambda unit: z[unit]) for window in layer.windows(len(z))]
        return z[winners], J[winners], H[winners]
    inner = jet
    for part in layer.body:
        inner = _push(part, inner)
    return z + inner[0], J + inner[1], H + inner[2]


def _loss_hessian(network: Network, x: np.ndarray, y: int, *, bent: bool = True) -> np.ndarray:
    """∇²_x of the cross-entropy: J^T(diag p - pp^T)J + Σ_k (p_k - 1{k=y})∇²f_k."""
    d = len(x)
    jet: Jet = (np.array(x), np.eye(d), np.zeros((d, d, d)))
    for layer in network.layers:
        jet = _push(layer, jet)
    z, J, H = jet
    p = reals.softmax(z)
    total = np.zeros((d, d))
    for i, k in itertools.combinations(range(len(z)), 2):
        total += p[i] * p[k] * np.outer(J[i] - J[k], J[i] - J[k])
    u = p - np.eye(len(z))[y]
    return total + np.einsum("k,kij->ij", u, H) if bent else total


def _norms(H: np.ndarray) -> dict[str, float]:
    values = np.linalg.eigvalsh(H)
    return {"top": float(values[-1]), "operator": float(np.abs(values).max())}


@inequality(
    "measure-hessian",
    r"\lambda_{\max}(\nabla^2_x\ell),\ \|\nabla^2_x\ell\|_2\ \text{by }d\text{ Lanczos steps}=\text{on the matrix}"
    r"\quad(x\in\mathbb R^d)",
    source="standard (Lanczos 1950)",
    given={"sample": sampled(SMOOTH), "which": st.sampled_from(["top", "operator"])},
    mutants={
        "the network's curvature dropped": {"bent": False},
        "the neighbour's Hessian": {"shift": 1},
        "the other norm": {"other": True},
    },
    relation="==",
    attained=True,
    examples=60,
    recheck=False,
)
def hessians(
    sample: Sampled, which: str, bent: bool = True, shift: int = 0, other: bool = False
) -> tuple[Any, Any, Any]:
    """Smooth networks, in chunks of two; the matrix by the chain rule of second order."""
    K = len(sample.network.logits(sample.x[0]))
    found = hessian_norms(sample.network.torch(), sample.data(K), steps=sample.network.inputs, chunk=2)
    values = getattr(found, which).tolist()
    expected = [_norms(_loss_hessian(sample.network, x, y, bent=bent)) for x, y in zip(sample.x, sample.y, strict=True)]
    asked = ("operator" if which == "top" else "top") if other else which
    rights = [norms[asked] for norms in expected]
    rights = rights[shift:] + rights[:shift]
    weights = range(1, SAMPLES + 1)
    left = sum(weight * value for weight, value in zip(weights, values, strict=True))
    right = sum(weight * value for weight, value in zip(weights, rights, strict=True))
    return left, right, 6 * sample.network.inputs * _allowance(sample, 2)


@inequality(
    "measure-hessian-lower",
    r"\text{Lanczos after }k\text{ steps}\le\lambda_{\max}(\nabla^2_x\ell),\ \|\nabla^2_x\ell\|_2",
    source="standard (Lanczos 1950)",
    given={
        "sample": sampled(SMOOTH),
        "which": st.sampled_from(["top", "operator"]),
        "steps": st.integers(1, 9),
        "seed": st.integers(0, 9),
    },
    mutants={
        "the network's curvature dropped": {"bent": False},
        "the mean curvature": {"mean": True},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    examples=60,
    recheck=False,
)
def hessian_from_below(
    sample: Sampled, which: str, steps: int, seed: int, bent: bool = True, mean: bool = False, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The first sample; both numbers converge from below and are attained from d steps on.

    Hessians whose size is not well above the rounding of the network's derivatives are left out.
    """
    network = sample.network
    both = lanczos_curvature(network.torch(), _tensor(sample.x[:1]), torch.tensor(sample.y[:1]), steps=steps, seed=seed)
    found = dict(zip(("top", "operator"), both, strict=True))[which].item()
    H = _loss_hessian(network, sample.x[0], sample.y[0], bent=bent)
    norm, allowance = _norms(H)[which], network.inputs * _allowance(sample, 2)
    assume(max(found, norm) > 1e4 * allowance)
    if mean:
        norm = float(np.trace(H)) / network.inputs
    return found, norm * (factor if norm > 0 else 1.0), allowance


@inequality(
    "measure-hessian-piecewise",
    r"\|\nabla^2_x\ell\|_2=\|J^\top(\operatorname{diag}p-pp^\top)J\|_2,\quad p=\operatorname{softmax}f(x)"
    r"\quad(f\text{ piecewise linear})",
    source="standard (chain rule)",
    given={"sample": sampled(PIECEWISE_LINEAR), "scale": st.integers(0, 3)},
    mutants={
        "without pp^T": {"centred": False},
        "the neighbour's Hessian": {"shift": 1},
        "the bound of one half": {"half": True},
    },
    relation="==",
    attained=True,
    examples=100,
    recheck=False,
)
def piecewise_hessians(
    sample: Sampled, scale: int, centred: bool = True, shift: int = 0, half: bool = False
) -> tuple[Any, Any, Any]:
    """Each sample relative to its own size, confident ones included: logits are scaled by up to 8."""
    last = sample.network.layers[-1]
    assert isinstance(last, Affine)
    louder = Affine(2.0**scale * last.weight, 2.0**scale * last.offset)
    sample = Sampled(Network((*sample.network.layers[:-1], louder), sample.network.inputs), sample.x, sample.y)
    states = _states(sample)
    K = len(states[0].z)
    found = hessian_norms(sample.network.torch(), sample.data(K), piecewise_linear=True, chunk=2).operator.tolist()
    expected = []
    for state in states:
        p, J = reals.softmax(state.z), state.jacobian
        pairs = [math.sqrt(p[i] * p[k]) * (J[i] - J[k]) for i, k in itertools.combinations(range(K), 2)]
        rows = np.stack(pairs) if centred else np.sqrt(p)[:, None] * J
        expected.append(float(np.linalg.svd(rows, compute_uv=False)[0]) ** 2)
        if half:
            expected[-1] = float(np.linalg.svd(J, compute_uv=False)[0]) ** 2 / 2
    expected = expected[shift:] + expected[:shift]
    weights = [weight / (value or 1.0) for weight, value in enumerate(found, 1)]
    left = sum(weight * value for weight, value in zip(weights, found, strict=True))
    right = sum(weight * value for weight, value in zip(weights, expected, strict=True))
    noise = 2.0**-46 * _size(sample.network.layers) * (5 + float(np.abs(sample.x).max()))  # of the logits
    lost = (_allowance(sample, 1) * max(np.sqrt(np.array(weights)))) ** 2 + _allowance(sample, 1) * max(weights) ** 0.5
    return left, right, 8 * (noise + lost) * (1 + abs(right))


@inequality(
    "measure-margins",
    r"z_y-\max_{k\ne y}z_k,\ \ell(z,y),\ \text{their mean ramp and hard losses}=\text{sample by sample}",
    source="standard (definitions)",
    given={
        "z": st.integers(2, 4).flatmap(
            lambda K: arrays.arrays(np.float64, (SAMPLES, K), elements=st.one_of(entries(), entries(40.0)))
        ),
        "y": st.tuples(*[st.integers(0, 1)] * SAMPLES),
        "gamma": positive(4.0),
        "which": st.sampled_from(["error", "values", "losses", "ramp", "hard"]),
    },
    mutants={
        "the largest of all logits": {"others": False},
        "margins without their sign": {"signed": False},
        "a tie is correct": {"tie": True},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def margins_and_losses(
    z: np.ndarray,
    y: tuple[int, ...],
    gamma: float,
    which: str,
    others: bool = True,
    signed: bool = True,
    tie: bool = False,
) -> tuple[Any, Any, Any]:
    """The package's Margins of given logits, in batches of two; losses keep their relative accuracy."""
    assume(gamma > 0)
    found = margins(lambda logits: logits, Data("logits", _tensor(z), torch.tensor(y), z.shape[1]), batch_size=2)
    each = []
    for logits, label in zip(z, y, strict=True):
        rivals = [value for k, value in enumerate(logits) if k != label or not others]
        each.append(float(logits[label] - max(rivals)))
    if not signed:
        each = [abs(margin) for margin in each]
    losses = [float(reals.cross_entropy(logits, label)) for logits, label in zip(z, y, strict=True)]
    allowance = 2.0**-48 * (1 + float(np.abs(z).max()))
    if which in ("values", "losses"):
        expected = each if which == "values" else losses
        units = [1.0] * SAMPLES if which == "values" else [1 / loss if loss > 1e-300 else 0.0 for loss in losses]
        left = sum(w * unit * v for w, unit, v in zip((1, 2, 4), units, getattr(found, which).tolist(), strict=True))
        right = sum(w * unit * v for w, unit, v in zip((1, 2, 4), units, expected, strict=True))
        return left, right, 16 * allowance
    if which == "ramp":
        ramps = [1.0 if margin <= 0 else max(0.0, 1 - margin / gamma) for margin in each]
        return found.ramp(gamma), sum(ramps) / SAMPLES, 2.0**-48
    if which == "hard":
        return found.hard(gamma), sum(margin <= gamma for margin in each) / SAMPLES, 2.0**-48
    wrong = [margin < 0 or (margin == 0 and not tie) for margin in each]
    return found.error, sum(wrong) / SAMPLES, 2.0**-48


@inequality(
    "measure-data-norms",
    r"\|X\|_F,\ \max_j\|X_{:,j}\|_2,\ \max_i\|x_i\|_2\ \text{streamed}=\text{on the matrix }X\text{ with rows }x_i",
    source="standard (definitions)",
    given={
        "X": arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=entries()),
        "which": st.sampled_from(["frobenius", "column_max", "sample_radius"]),
        "batch": st.integers(1, 5),
    },
    mutants={"rows for columns": {"transpose": True}, "the last batch only": {"last": True}},
    relation="==",
    attained=True,
    recheck=False,
)
def norms_of_data(
    X: np.ndarray, which: str, batch: int, transpose: bool = False, last: bool = False
) -> tuple[Any, Any, Any]:
    """The package's DataNorms of any number of batches."""
    data = Data("sample", _tensor(X), torch.zeros(len(X), dtype=torch.int64), 2)
    found = getattr(data_norms(data.batches(batch)), which).value
    matrix = X[(len(X) - 1) // batch * batch :] if last else X
    matrix = matrix.T if transpose else matrix
    expected = {
        "frobenius": math.sqrt(sum(value**2 for value in matrix.flat)),
        "column_max": max(math.sqrt(sum(value**2 for value in column)) for column in matrix.T),
        "sample_radius": max(math.sqrt(sum(value**2 for value in row)) for row in matrix),
    }[which]
    return found, expected, 2.0**-46 * (found + expected)
