r"""Cross-entropy, margin and ramp (theory §1): constants and convexity."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch.nn import functional as F

from bounds.catalogue.jacobian_surrogate import CROSS_ENTROPY
from bounds.measure.margin import Margins, margins_of_logits
from bounds.rows import hard, ramp
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import exponents, labels, positive, scales, vectors

CLASSES = 3
RESOLUTION = 1e-5


def _logits() -> Any:
    """Logits: balanced, confident, wrong by far."""
    return st.one_of(vectors(CLASSES), vectors(CLASSES, largest=40.0))


@st.composite
def _logits_and_step(draw: DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Logits, a step and a label; half of the labels are confident mistakes whose step moves two classes apart."""
    z, step, y = draw(vectors(CLASSES)), draw(vectors(CLASSES)), draw(labels(CLASSES))
    if draw(st.booleans()):
        other = (y + 1) % CLASSES
        z[other], z[y] = 15.0, -15.0
        step[other], step[y] = abs(step[other]), -abs(step[other])
        step[(y + 2) % CLASSES] = 0.0
    return z, step * draw(scales(2)), y


@st.composite
def _two_logits(draw: DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Logits near the margin 0, a step and a label; half of the steps move the label against its rival."""
    z, step, y = draw(vectors(CLASSES)), draw(vectors(CLASSES)), draw(labels(CLASSES))
    if draw(st.booleans()):
        size, part = draw(positive(1.0)), draw(st.sampled_from([1.0, 0.5, 0.0]))
        z[y] = np.delete(z, y).max()
        step = np.zeros(CLASSES)
        rivals = np.delete(np.arange(CLASSES), y)
        step[y], step[rivals[np.argmax(z[rivals])]] = size, -size * part
        if draw(st.booleans()):  # every rival the same way: what the maximum norm pays for
            z[rivals], step[rivals] = z[y], -size
    return z, step, y


def _resolve(*vectors: Any) -> None:
    """Increments of the loss cancel: 35 digits decide them for logits and steps that are neither tiny nor huge."""
    for v in vectors:
        assume(all(entry == 0 or RESOLUTION <= abs(entry) <= 20 for entry in v))


def _increase(z: Any, v: Any, y: int) -> tuple[Any, Any, np.ndarray]:
    """ℓ(z + v) - ℓ(z), its linear part sum_k p_k (v_k - v_y) and the moves v - v_y."""
    moves = v - v[y]
    return reals.cross_entropy(z + v, y) - reals.cross_entropy(z, y), reals.softmax(z) @ moves, moves


def _sizes(*vectors: Any) -> float:
    return 1 + float(sum(np.abs(v).max() for v in vectors))


def _shares(z: np.ndarray, y: int) -> tuple[np.ndarray, np.ndarray]:
    """p = softmax(z) and u = p - e_y."""
    p = reals.softmax(z)
    u = p.copy()
    u[y] = -np.delete(p, y).sum()
    return p, u


def _torch_loss(z: torch.Tensor, y: int) -> torch.Tensor:
    return F.cross_entropy(z[None], torch.tensor([y]))


@inequality(
    "L1.1-gradient",
    r"\|\nabla_z\ell(z,y)\|_r\le 2^{1/r}",
    source="theory §1; own derivation",
    given={"z": _logits(), "y": labels(CLASSES), "r": exponents()},
    mutants={"a tenth too small": {"factor": 0.9}, "the exponent of the dual norm": {"exponent": reals.dual}},
    attained=True,
)
def gradient_norm(z: Any, y: int, r: float, factor: float = 1.0, exponent: Any = float) -> tuple[Any, Any]:
    """‖softmax(z) - e_y‖_r; attained by a confident mistake."""
    assume(r >= 1)
    _, u = _shares(z, y)
    s = exponent(r)
    return reals.norm(u, r), factor * reals.power(2, 0 if s == math.inf else 1 / s)


@inequality(
    "L1.1-lipschitz",
    r"|\ell(z,y)-\ell(z',y)|\le 2^{1-1/r}\|z-z'\|_r",
    source="theory §1; own derivation",
    given={"logits": _logits_and_step(), "r": exponents()},
    mutants={"no constant": {"base": 1}, "the exponent of the dual norm": {"exponent": reals.dual}},
    attained=True,
)
def lipschitz(logits: Any, r: float, base: int = 2, exponent: Any = float) -> tuple[Any, Any, Any]:
    """Attained by a confident mistake that moves two classes apart. The allowance is relative to the logits' size."""
    assume(r >= 1)
    z, step, y = logits
    _resolve(z, step)
    s = exponent(r)
    constant = reals.power(base, 1 if s == math.inf else 1 - 1 / s)
    increase, _, _ = _increase(z, step, y)
    return abs(increase), constant * reals.norm(step, r), 2.0**-44 * _sizes(z, step)


@inequality(
    "L1.1-package",
    r"|\ell(z,y)-\ell(z',y)|\le\sqrt2\,\|z-z'\|_2",
    source="theory §1; own derivation",
    given={"logits": _logits_and_step()},
    mutants={"no constant": {"factor": 2**-0.5}, "a fiftieth too small": {"factor": 0.98}},
    attained=True,
    recheck=False,
)
def packaged_lipschitz(logits: Any, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """The losses that `measure.margin` takes of logits, with the constant that the catalogue multiplies covers by."""
    z, step, y = logits
    _, losses = margins_of_logits(torch.from_numpy(np.stack([z, z + step])), torch.tensor([y, y]))
    constant = factor * reals.real(CROSS_ENTROPY)
    return abs(float(losses[0] - losses[1])), constant * reals.norm(step, 2), 2.0**-44 * _sizes(z, step)


@inequality(
    "L1.1-combination",
    r"\nabla_z\ell(z,y)\cdot v=\sum_k p_k(v_k-v_y),\quad p=\mathrm{softmax}(z)",
    source="theory §1; own derivation",
    given={"z": vectors(CLASSES), "v": vectors(CLASSES), "y": labels(CLASSES)},
    mutants={
        "the label's logit does not move": {"label": 0.0},
        "shares of the other classes only": {"renormalised": True},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def convex_combination(z: Any, v: Any, y: int, label: float = 1.0, renormalised: bool = False) -> tuple[Any, Any, Any]:
    """The gradient by automatic differentiation against the combination of e_k - e_y, along v."""
    logits = torch.from_numpy(z.copy()).requires_grad_(True)
    (gradient,) = torch.autograd.grad(_torch_loss(logits, y), logits)
    p = reals.softmax(z)
    if renormalised:
        p = p / (1 - p[y])
    combination = sum(p[k] * (v[k] - label * v[y]) for k in range(CLASSES) if k != y)
    return float(gradient.numpy() @ v), float(combination), 2.0**-44 * _sizes(z) * _sizes(v)


@inequality(
    "L1.1-increment",
    r"\ell(z+v,y)-\ell(z,y)\le\max_k(v_k-v_y)",
    source="theory §1; own derivation",
    given={"logits": _logits_and_step()},
    mutants={
        "only the likeliest class counts": {"likeliest": True},
        "the mean over the classes": {"mean": True},
        "a fiftieth too small": {"factor": 0.98},
    },
    attained=True,
)
def increment(logits: Any, likeliest: bool = False, mean: bool = False, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """What the convex combination is for: it bounds finite increments. Attained by a confident mistake."""
    z, v, y = logits
    _resolve(z, v)
    increase, _, moves = _increase(z, v, y)
    most = moves[np.argmax(z)] if likeliest else moves.sum() / CLASSES if mean else moves.max()
    return increase, factor * most, 2.0**-44 * _sizes(z, v)


@inequality(
    "L1.2-hessian",
    r"v^\top\nabla^2_z\ell(z,y)\,v=v^\top(\mathrm{diag}\,p-pp^\top)v",
    source="theory §1; own derivation",
    given={"z": vectors(CLASSES), "v": vectors(CLASSES), "y": labels(CLASSES)},
    mutants={"without the mean": {"mean": 0.0}, "a diagonal Hessian": {"diagonal": True}},
    relation="==",
    attained=True,
    recheck=False,
)
def hessian_formula(z: Any, v: Any, y: int, mean: float = 1.0, diagonal: bool = False) -> tuple[Any, Any, Any]:
    """Differentiated twice, automatically, against the variance of v under p."""
    logits, direction = torch.from_numpy(z.copy()).requires_grad_(True), torch.from_numpy(v.copy())
    (gradient,) = torch.autograd.grad(_torch_loss(logits, y), logits, create_graph=True)
    (product,) = torch.autograd.grad(gradient @ direction, logits)
    p = reals.softmax(z)
    curvature = (p * (1 - p) * v**2).sum() if diagonal else (p * v**2).sum() - mean * (p * v).sum() ** 2
    return float(product @ direction), float(curvature), 2.0**-44 * _sizes(z) * _sizes(v) ** 2


@inequality(
    "L1.2-norm",
    r"\|\mathrm{diag}\,p-pp^\top\|_2\le\tfrac12,\quad p=\mathrm{softmax}(z)",
    source="theory §1; own derivation",
    given={"z": _logits()},
    mutants={"the quarter of a single logit": {"constant": 0.25}, "a fiftieth too small": {"constant": 0.49}},
    attained=True,
)
def hessian_norm(z: Any, constant: float = 0.5) -> tuple[Any, Any]:
    """Attained by two likely classes of equal shares."""
    p = reals.softmax(z)
    return reals.spectral(np.diag(p) - np.outer(p, p)), reals.real(constant)


@inequality(
    "L1.2-convex",
    r"\nabla_z\ell(z,y)\cdot v\le\ell(z+v,y)-\ell(z,y)",
    source="theory §1; own derivation",
    given={"logits": _logits_and_step()},
    mutants={
        "strongly convex": {"strength": 0.01},
        "a fiftieth too small": {"factor": 0.98},
        "the tangent at the other end": {"at_end": True},
    },
    attained=True,
)
def convex(logits: Any, strength: float = 0.0, factor: float = 1.0, at_end: bool = False) -> tuple[Any, Any, Any]:
    """A tangent lies below the loss; attained where the loss is linear: at a confident mistake."""
    z, v, y = logits
    _resolve(z, v)
    increase, slope, moves = _increase(z, v, y)
    if at_end:
        slope = reals.softmax(z + v) @ moves
    return slope, factor * increase - strength * (v @ v), 2.0**-44 * _sizes(z, v)


@st.composite
def _short_step(draw: DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Logits, a step of any length and a label; half of the steps part two classes of equal shares."""
    z, v, y = draw(vectors(CLASSES)), draw(vectors(CLASSES)), draw(labels(CLASSES))
    if draw(st.booleans()):
        z, v = np.array([0.0, 0.0, -15.0]), np.array([v[0], -v[0], 0.0])
    return z, v * 10.0 ** draw(st.integers(-2, 1)), y


@inequality(
    "L1.2-smooth",
    r"\ell(z+v,y)-\ell(z,y)-\nabla_z\ell(z,y)\cdot v\le\tfrac14\|v\|_2^2",
    source="theory §1; own derivation",
    given={"logits": _short_step()},
    mutants={
        "the curvature of a single logit": {"constant": 0.125},
        "a fiftieth too small": {"constant": 0.245},
        "in the maximum norm": {"p": math.inf},
    },
    attained=True,
)
def smooth(logits: Any, constant: float = 0.25, p: float = 2) -> tuple[Any, Any, Any]:
    """Half the Hessian's norm; attained by short steps that part two classes of equal shares."""
    z, v, y = logits
    _resolve(z, v)
    increase, slope, _ = _increase(z, v, y)
    return increase - slope, constant * reals.norm(v, p) ** 2, 2.0**-44 * _sizes(z, v)


def _packaged_ramp(z: Any, y: int, gamma: float) -> float:
    margin, _ = margins_of_logits(torch.from_numpy(z[None].copy()), torch.tensor([y]))
    return ramp(margin.numpy(), gamma)


@inequality(
    "L1.3-euclidean",
    r"|r_\gamma(M(z,y))-r_\gamma(M(z',y))|\le\tfrac{\sqrt2}{\gamma}\|z-z'\|_2",
    source="theory §1; own derivation",
    given={"logits": _two_logits(), "gamma": st.one_of(positive(4.0), positive(0.5))},
    mutants={
        "the constant of one output": {"constant": 1.0},
        "a fiftieth too small": {"constant": 0.98 * 2**0.5},
        "no margin": {"power": 0},
        "in the maximum norm": {"r": math.inf},
    },
    attained=True,
    recheck=False,
)
def euclidean_ramp(
    logits: Any, gamma: float, constant: float = 2**0.5, power: int = 1, r: float = 2
) -> tuple[Any, Any, Any]:
    """The package's margin and ramp; attained where the label and one rival move apart within [0, gamma]."""
    assume(gamma > 1e-6)
    z, step, y = logits
    moved = abs(_packaged_ramp(z, y, gamma) - _packaged_ramp(z + step, y, gamma))
    return moved, constant / gamma**power * reals.norm(step, r), 2.0**-44 * _sizes(z, step) * (1 + 1 / gamma)


@inequality(
    "L1.3-maximum",
    r"|r_\gamma(M(z,y))-r_\gamma(M(z',y))|\le\tfrac2\gamma\|z-z'\|_\infty",
    source="theory §1; own derivation",
    given={"logits": _two_logits(), "gamma": st.one_of(positive(4.0), positive(0.5))},
    mutants={
        "the constant of the Euclidean norm": {"constant": 2**0.5},
        "a fiftieth too small": {"constant": 1.96},
        "no margin": {"power": 0},
    },
    attained=True,
    recheck=False,
)
def maximum_ramp(logits: Any, gamma: float, constant: float = 2.0, power: int = 1) -> tuple[Any, Any, Any]:
    """The package's margin and ramp; attained where the label rises as its rivals fall, within [0, gamma]."""
    return euclidean_ramp.function(logits, gamma, constant, power, math.inf)


@st.composite
def _samples(draw: DrawFn) -> tuple[tuple[np.ndarray, ...], tuple[int, ...], float]:
    """Logits of one to four samples, their labels, a margin; ties and margins of exactly gamma among them."""
    gamma = draw(positive(4.0))
    logits, chosen = [], []
    for _ in range(draw(st.integers(1, 4))):
        z, y = draw(vectors(CLASSES)), draw(labels(CLASSES))
        lead = draw(st.sampled_from([None, 0.0, 0.5, 1.0]))
        if lead is not None:
            z[y] = np.delete(z, y).max() + lead * gamma
        logits.append(z)
        chosen.append(y)
    return tuple(logits), tuple(chosen), gamma


def _margins(logits: tuple[np.ndarray, ...], chosen: tuple[int, ...]) -> Margins:
    values, losses = margins_of_logits(torch.from_numpy(np.stack(logits)), torch.tensor(chosen))
    return Margins(values, losses, values > 0)


@inequality(
    "L1.4-lower",
    r"\tfrac1n\sum_i\mathbf 1\{\exists k\ne y_i: z_{ik}\ge z_{iy_i}\}\le\hat R_\gamma",
    source="theory §1; own derivation",
    given={"sample": _samples()},
    mutants={
        "a ramp around the margin 0": {"shift": 0.5},
        "a ramp that ends at the margin 0": {"shift": 1.0},
        "half a ramp": {"factor": 0.5},
    },
    attained=True,
    recheck=False,
)
def errors_below_ramp(sample: Any, shift: float = 0.0, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """Errors counted one by one (a tie is one) against both of the package's ramps; attained by samples all wrong."""
    logits, chosen, gamma = sample
    assume(gamma > 1e-6)
    errors = sum(any(z[k] >= z[y] for k in range(CLASSES) if k != y) for z, y in zip(logits, chosen, strict=True))
    measured = _margins(logits, chosen)
    shifted = replace(measured, values=measured.values + shift * gamma)
    return errors / len(chosen), factor * min(ramp(shifted.values.numpy(), gamma), shifted.ramp(gamma)), 2.0**-50


@inequality(
    "L1.4-upper",
    r"\hat R_\gamma\le\hat R_\gamma^{\mathrm{hard}}",
    source="theory §1; own derivation",
    given={"sample": _samples()},
    mutants={
        "the share of errors": {"part": 1e-9},
        "half the margin": {"part": 0.5},
    },
    attained=True,
    recheck=False,
)
def ramp_below_hard(sample: Any, part: float = 1.0) -> tuple[Any, Any, Any]:
    """The ramp, piece by piece, against both of the package's hard margin losses; attained by margins of at most 0."""
    logits, chosen, gamma = sample
    assume(gamma > 1e-6)
    total = 0.0
    for z, y in zip(logits, chosen, strict=True):
        margin = z[y] - np.delete(z, y).max()
        total += 1.0 if margin <= 0 else 0.0 if margin >= gamma else 1 - margin / gamma
    measured = _margins(logits, chosen)
    return total / len(chosen), min(hard(measured.values.numpy(), part * gamma), measured.hard(part * gamma)), 2.0**-50
