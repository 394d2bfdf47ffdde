r"""Cross-entropy ℓ(z, y) = ln sum_k e^{z_k - z_y}, margin and ramp: constants and convexity."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch.nn import functional as F

from bounds import symbols
from bounds.calculus.contraction import lipschitz_cover, lipschitz_parametric
from bounds.catalogue import bartlett2017_spectral, parametric_cover
from bounds.catalogue.entry import Bound, Entry
from bounds.catalogue.jacobian_surrogate import CROSS_ENTROPY
from bounds.measure.margin import Margins, margins_of_logits
from bounds.rows import hard, ramp
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import exponents, labels, positive, scales, vectors

CLASSES = 3
RESOLUTION = 1e-5
RAMP = r"M(z,y)=z_y-\max_{k\ne y}z_k,\ r_\gamma(m)=\min(1,\max(0,1-m/\gamma))"
"""The margin and the ramp, in LaTeX."""


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
    r"\|\nabla_z\ell(z,y)\|_r\le 2^{1/r}\ \text{for the cross-entropy }\ell",
    source="standard",
    given={"z": _logits(), "y": labels(CLASSES), "r": exponents()},
    mutants={
        "a fiftieth too small": {"factor": 0.98},
        "the exponent of the dual norm": {"exponent": reals.dual},
        "only one entry counts": {"exponent": lambda r: math.inf},
    },
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
    source="standard",
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
    r"|\ell(z,y)-\ell(z',y)|\le\sqrt2\,\|z-z'\|_2\ \text{with the package's loss and constant}",
    source="standard",
    given={"logits": _logits_and_step()},
    mutants={"a fiftieth too small": {"factor": 0.98}, "in the maximum norm": {"r": math.inf}},
    attained=True,
    recheck=False,
)
def packaged_lipschitz(logits: Any, factor: float = 1.0, r: float = 2) -> tuple[Any, Any, Any]:
    """The losses that `measure.margin` takes of logits, with the constant that the catalogue multiplies covers by."""
    z, step, y = logits
    _, losses = margins_of_logits(torch.from_numpy(np.stack([z, z + step])), torch.tensor([y, y]))
    constant = factor * reals.real(CROSS_ENTROPY)
    return abs(float(losses[0] - losses[1])), constant * reals.norm(step, r), 2.0**-44 * _sizes(z, step)


@inequality(
    "L1.1-combination",
    r"\nabla_z\ell(z,y)\cdot v=\sum_k p_k(v_k-v_y),\quad p=\mathrm{softmax}(z)",
    source="standard",
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
    source="own derivation",
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
    r"v^\top\nabla^2_z\ell(z,y)\,v=v^\top(\mathrm{diag}\,p-pp^\top)v,\quad p=\mathrm{softmax}(z)",
    source="standard",
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
    source="standard",
    given={"z": _logits()},
    mutants={"a fiftieth too small": {"constant": 0.49}, "the largest entry instead": {"entries": True}},
    attained=True,
)
def hessian_norm(z: Any, constant: float = 0.5, entries: bool = False) -> tuple[Any, Any]:
    """Attained by two likely classes of equal shares."""
    p = reals.softmax(z)
    hessian = np.diag(p) - np.outer(p, p)
    return reals.spectral(hessian), np.abs(hessian).max() if entries else reals.real(constant)


@inequality(
    "L1.2-convex",
    r"\nabla_z\ell(z,y)\cdot v\le\ell(z+v,y)-\ell(z,y)",
    source="standard",
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


def _packaged_ramp(z: Any, y: int, gamma: float) -> float:
    margin, _ = margins_of_logits(torch.from_numpy(z[None].copy()), torch.tensor([y]))
    return ramp(margin.numpy(), gamma)


def _ramp_moves(logits: Any, gamma: float) -> tuple[float, float]:
    """|r(M(z)) - r(M(z + step))| by the package, and the allowance of the comparison."""
    assume(gamma > 1e-6)
    z, step, y = logits
    moved = abs(_packaged_ramp(z, y, gamma) - _packaged_ramp(z + step, y, gamma))
    return moved, 2.0**-44 * _sizes(z, step) * (1 + 1 / gamma)


def _multiplied(entry: Entry, symbol: Any) -> list[Any]:
    """By what each bound of an entry multiplies the cover of the networks to get that of their ramps."""
    bounds = [variant for variant in entry.variants if isinstance(variant, Bound)]
    expressions = [part.expression for bound in bounds for part in bound.gap.parts if part.symbol == symbol]
    return [
        sp.Mul(*(factor for factor in sp.Mul.make_args(expression) if factor.free_symbols <= {symbols.gamma}))
        for expression in expressions
    ]


RAMP_CONSTANTS = (
    *_multiplied(bartlett2017_spectral.ENTRY, symbols.R),
    *_multiplied(parametric_cover.ENTRY, symbols.cover_loss),
)
"""The ramp's Lipschitz constant as the catalogue has it; the published variant keeps the larger 2/gamma."""


@inequality(
    "L1.3-euclidean",
    r"|r_\gamma(M(z,y))-r_\gamma(M(z',y))|\le\tfrac{\sqrt2}{\gamma}\|z-z'\|_2,\quad "
    rf"{RAMP}",
    source="own derivation",
    given={"logits": _two_logits(), "gamma": st.one_of(positive(4.0), positive(0.5))},
    mutants={
        "a fiftieth too small": {"factor": 0.98},
        "no margin": {"power": 0},
        "in the maximum norm": {"r": math.inf},
    },
    attained=True,
    recheck=False,
    combinators=(lipschitz_cover, lipschitz_parametric),
)
def euclidean_ramp(
    logits: Any, gamma: float, factor: float = 1.0, power: int = 1, r: float = 2
) -> tuple[Any, Any, Any]:
    """The package's margin and ramp against the smallest constant that the catalogue multiplies covers by.

    Attained where the label and one rival move apart within [0, gamma].
    """
    moved, allowance = _ramp_moves(logits, gamma)
    constant = min(reals.evaluate(constant, {symbols.gamma: gamma**power}) for constant in RAMP_CONSTANTS)
    return moved, factor * constant * reals.norm(logits[1], r), allowance


@inequality(
    "L1.3-maximum",
    r"|r_\gamma(M(z,y))-r_\gamma(M(z',y))|\le\tfrac2\gamma\|z-z'\|_\infty,\quad "
    rf"{RAMP}",
    source="standard",
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
    moved, allowance = _ramp_moves(logits, gamma)
    return moved, constant / gamma**power * reals.norm(logits[1], math.inf), allowance


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
    r"\tfrac1n\sum_i\mathbf 1\{\exists k\ne y_i: z_{ik}\ge z_{iy_i}\}\le\hat R_\gamma"
    rf"=\tfrac1n\sum_ir_\gamma(M(z_i,y_i)),\quad {RAMP}",
    source="standard",
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
    r"\hat R_\gamma=\tfrac1n\sum_ir_\gamma(M(z_i,y_i))\le\tfrac1n\sum_i\mathbf 1\{M(z_i,y_i)\le\gamma\},"
    rf"\quad {RAMP}",
    source="standard",
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
