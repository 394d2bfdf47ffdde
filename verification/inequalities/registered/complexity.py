r"""Rademacher complexities of finite classes, by enumeration of all signs (L4.1 to L4.4, L4.9)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds import symbols
from bounds.calculus.contraction import contraction, vector_contraction
from bounds.calculus.massart import massart
from bounds.calculus.multiclass import multiclass
from bounds.calculus.sum_rule import sum_rule
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import matrices, positive, scales, vectors
from verification.inequalities.strategies.classes import finite_classes, given_complexity, half_signs, rademacher

R_F, R_G = sp.symbols("R_F R_G", nonnegative=True)
FACTOR, LIPSCHITZ = sp.symbols("lambda Lip", nonnegative=True)
RADIUS, SIZE = sp.symbols("radius size", positive=True)
SUM = sum_rule(given_complexity(R_F), FACTOR, given_complexity(R_G))
CONTRACTED = contraction(given_complexity(R_F), LIPSCHITZ, sp.oo)
RAMP = contraction(given_complexity(R_F), 1 / symbols.gamma, sp.Integer(1))
VECTOR = vector_contraction(given_complexity(R_F), LIPSCHITZ, sp.oo)
MASSART = massart(RADIUS, SIZE)
MULTICLASS = multiclass(given_complexity(R_F))


def _allowance(*values: Any) -> float:
    """What float64 may lose in sums of at most ten values, each times a sign: relative to the largest."""
    return 2.0**-44 * max(float(np.max(np.abs(each))) for each in values)


def _assume_resolved(*values: Any) -> None:
    """Complexities are differences: entries 10^9 times smaller than others leave too few digits, even of 35."""
    sizes = np.concatenate([np.abs(np.asarray(each, dtype=np.float64)).ravel() for each in values])
    assume(sizes[sizes > 0].min(initial=np.inf) >= 1e-9 * sizes.max() and sizes.max() < 1e100)


@st.composite
def _two_classes(draw: DrawFn, most: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Two classes on the same sample, each on its own scale."""
    n = draw(st.integers(1, 5))
    return draw(finite_classes(n, (1, most), decades=2)), draw(finite_classes(n, (1, most), decades=2))


@inequality(
    "L4.1-sum",
    r"\mathfrak R_S(\{f+\lambda g:(f,g)\in P\})\le\mathfrak R_S(F)+\lambda\,\mathfrak R_S(G),"
    r"\quad P\subseteq F\times G,\ \lambda\ge0",
    source="Bartlett & Mendelson 2002",
    given={
        "classes": _two_classes(),
        "factor": st.one_of(positive(), scales(3)),
        "pairing": st.sampled_from(["all", "each with one"]),
    },
    mutants={
        "two per cent less": {"share": 0.98},
        "the factor forgotten": {"forget": True},
        "the larger complexity instead of the sum": {"larger": True},
    },
    attained=True,
    combinators=(sum_rule,),
)
def sum_of_classes(
    classes: Any,
    factor: float,
    pairing: str,
    share: float = 1.0,
    forget: bool = False,
    larger: bool = False,
) -> tuple[Any, Any, Any]:
    """Both sides exact. Attained by all pairs; a class whose functions share parameters holds only some of them."""
    F, G = (reals.real(values) for values in classes)
    assume(factor >= 0)
    _assume_resolved(F, factor * G)
    if pairing == "all":
        sums = (F[:, None] + factor * G[None]).reshape(-1, F.shape[1])
    else:
        sums = np.array([f + factor * G[a % len(G)] for a, f in enumerate(F)])
    first, second = rademacher(F), rademacher(G)
    right = reals.evaluate(SUM.raw, {R_F: first, R_G: second, FACTOR: 1 if forget else factor})
    if larger:
        right = max(first, factor * second)
    return rademacher(sums), share * right, _allowance(F, factor * G)


def _piecewise_linear(t: Any, slopes: Any, offset: Any) -> Any:
    """offset at 0, then the four slopes left of -1, left of 0, right of 0, right of 1."""
    inner = slopes[1] * np.maximum(np.minimum(t, 0), -1) + slopes[2] * np.minimum(np.maximum(t, 0), 1)
    return offset + inner + slopes[0] * np.minimum(t + 1, 0) + slopes[3] * np.maximum(t - 1, 0)


@st.composite
def _contracted(draw: DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A class and, for every sample, the slopes and the offset of a piecewise-linear function."""
    n = draw(st.integers(1, 5))
    F = draw(finite_classes(n, (1, 6), decades=1))
    slopes = draw(matrices(n, 4))
    kind = draw(st.sampled_from(["kinks", "linear", "the same everywhere"]))
    if kind == "linear":
        slopes = np.repeat(slopes[:, :1], 4, axis=1)
    elif kind == "the same everywhere":
        slopes = np.repeat(slopes[:1], n, axis=0)
    return F, slopes, draw(vectors(n))


def _absolute(values: np.ndarray) -> Any:
    """The complexity with absolute values, E sup|sum sigma_i f(x_i)|/n, which is another quantity."""
    n = values.shape[1]
    return np.abs(values @ half_signs(n).T).max(axis=0).sum() / (n * 2 ** (n - 1))


@inequality(
    "L4.2-contraction",
    r"\mathfrak R_S(\{(\psi_i(f(x_i)))_i:f\in F\})\le\max_i\mathrm{Lip}(\psi_i)\,\mathfrak R_S(F)",
    source="Ledoux & Talagrand 1991",
    given={"family": _contracted()},
    mutants={
        "two per cent less": {"share": 0.98},
        "the smallest constant": {"smallest": True},
        "complexities with absolute values": {"complexity": _absolute},
    },
    attained=True,
    combinators=(contraction,),
)
def scalar_contraction(
    family: Any, share: float = 1.0, smallest: bool = False, complexity: Any = rademacher
) -> tuple[Any, Any, Any]:
    """Both sides exact, a function psi_i of its own for every sample; attained by linear psi.

    With absolute values inside the supremum the statement needs psi(0) = 0 and a factor 2.
    """
    F, slopes, offsets = (reals.real(part) for part in family)
    images = np.stack([_piecewise_linear(F[:, i], slopes[i], offsets[i]) for i in range(F.shape[1])], axis=1)
    _assume_resolved(F, slopes, offsets)
    steepest = np.abs(slopes).max(axis=1)
    constant = steepest.min() if smallest else steepest.max()
    right = share * reals.evaluate(CONTRACTED.raw, {R_F: complexity(F), LIPSCHITZ: constant})
    return complexity(images), right, _allowance(images, constant * F, constant)


@inequality(
    "L4.2-ramp",
    r"\mathfrak R_S(r_\gamma\circ F)\le\min\{\tfrac12,\tfrac1\gamma\mathfrak R_S(F)\},"
    r"\quad r_\gamma(t)=\min(1,\max(0,1-t/\gamma))",
    source="Ledoux & Talagrand 1991; the cap: own derivation",
    given={
        "F": finite_classes((1, 5), (1, 8), decades=2),
        "gamma": st.one_of(positive(), scales(2)),
        "unit": st.sampled_from(["logits", "margin"]),
    },
    mutants={
        "without the margin": {"drop": "gamma"},
        "the cap at a quarter": {"share": 0.5},
        "two per cent less": {"share": 0.98},
    },
    attained=True,
    combinators=(contraction,),
)
def ramp_of_margins(F: Any, gamma: float, unit: str, share: float = 1.0, drop: str = "") -> tuple[Any, Any, Any]:
    """Both sides exact; attained twice: by margins inside [0, gamma], and at the cap by all sign patterns."""
    F = reals.real(F) * (gamma if unit == "margin" else 1)
    assume(gamma > 1e-6)
    _assume_resolved(F, gamma, 1)
    images = np.minimum(np.maximum(1 - F / gamma, 0), 1)
    values = {R_F: rademacher(F), symbols.gamma: 1 if drop == "gamma" else gamma}
    return rademacher(images), share * reals.evaluate(RAMP.guaranteed, values), _allowance(images, F / gamma, 1)


@st.composite
def _vector_classes(draw: DrawFn) -> np.ndarray:
    """Vector-valued classes (m, n, K) with n K <= 8: arbitrary ones, and a function with its opposite."""
    if draw(st.booleans()):
        opposite = draw(matrices(1, 2)) if draw(st.booleans()) else np.ones((1, 2))
        return np.stack([opposite, -opposite])
    K = draw(st.integers(1, 4))
    n = draw(st.integers(1, 8 // K))
    return draw(matrices((1, 4), n * K)).reshape(-1, n, K)


def _loss(name: str, z: Any, u: Any, i: int) -> Any:
    """The loss at logits z of sample i."""
    if name == "linear":
        return z @ u
    if name == "distance":
        return reals.norm(z - u, 2)
    return reals.cross_entropy(z, i % len(z)) if len(z) > 1 else z[0]


@inequality(
    "L4.3-maurer",
    r"\mathfrak R_S(\ell\circ F)\le\sqrt2\,L\;\mathbb E_\sigma\sup_{f\in F}\tfrac1n\sum_{i,k}\sigma_{ik}f_k(x_i)",
    source="Maurer 2016",
    given={
        "F": _vector_classes(),
        "u": st.one_of(st.just(np.ones(4)), vectors(4)),
        "loss": st.sampled_from(["linear", "distance", "cross-entropy"]),
    },
    mutants={
        "without the root of 2": {"share": 0.5**0.5},
        "two per cent less": {"share": 0.98},
        "one sign per sample": {"shared": True},
    },
    attained=True,
    rounding=2.0**-36,
    combinators=(vector_contraction,),
)
def maurer(F: Any, u: Any, loss: str, share: float = 1.0, shared: bool = False) -> tuple[Any, Any, Any]:
    """Both sides exact: 2^n signs left, 2^{nK} right.

    Attained by one sample, a linear loss along (1, 1) and two functions that differ along (1, 1): there Khintchine's
    inequality, which the lemma rests on, has its best constant.
    """
    F = reals.real(F)
    m, n, K = F.shape
    u = reals.real(u)[:K]
    _assume_resolved(F, u, 1)
    losses = np.array([[_loss(loss, F[a, i], u, i) for i in range(n)] for a in range(m)])
    constant = reals.norm(u, 2) if loss == "linear" else 1 if loss == "distance" or K == 1 else reals.sqrt(2)
    both = rademacher(F.sum(axis=2)) if shared else K * rademacher(F.reshape(m, n * K))
    right = share * reals.evaluate(VECTOR.raw, {R_F: both, LIPSCHITZ: constant})
    return rademacher(losses), right, _allowance(losses, constant * F, constant) * 4


@inequality(
    "L4.4-massart",
    r"\mathbb E_\sigma\max_{a\in A}\sigma\cdot a\le\max_{a\in A}\|a\|_2\sqrt{2\ln|A|}",
    source="Massart 2000",
    given={"A": finite_classes((1, 6), (2, 8), decades=3)},
    mutants={
        "without the 2": {"constant": 0.5**0.5},
        "a sixth less": {"constant": 0.84},
        "the largest entry for the norm": {"p": float("inf")},
    },
    combinators=(massart,),
)
def finite_class(A: Any, constant: float = 1.0, p: float = 2) -> tuple[Any, Any, Any]:
    """Left exact. All sign vectors reach 1/sqrt(2 ln 2) = 0.849.

    Loose because the proof compares the maximum with a sum of exponential moments, which is exact only in the limit
    of many nearly Gaussian, nearly independent sums.
    """
    A = reals.real(A)
    _assume_resolved(A)
    radius = reals.norm(A, p, axis=1).max()
    assume(radius > 0)
    right = constant * reals.evaluate(MASSART, {RADIUS: radius, SIZE: len(A)})
    return A.shape[1] * rademacher(A), right, 8 * _allowance(A)


@st.composite
def _outputs(draw: DrawFn, classes: tuple[int, int] = (2, 4)) -> np.ndarray:
    """One class of real functions per output, (K, m, n): arbitrary, or output k free on sample k alone."""
    K = draw(st.integers(*classes))
    if draw(st.booleans()):
        n = draw(st.integers(1, 4))
        m = draw(st.integers(1, 3 if K < 4 else 2))
        return draw(matrices(K * m, n)).reshape(K, m, n)
    free = np.zeros((K, 2, K))
    for k in range(K):
        free[k, 0, k], free[k, 1, k] = 1.0, -1.0
        free[k, :, [i for i in range(K) if i != k]] = -draw(st.integers(1, 2))
    return free


@inequality(
    "L4.9-maximum",
    r"\mathfrak R_S(\{\max_kf_k:f_k\in F_k\})\le\sum_k\mathfrak R_S(F_k)",
    source="standard multi-class reduction (Mohri, Rostamizadeh & Talwalkar)",
    given={"outputs": _outputs((1, 4)), "scale": scales(2)},
    mutants={"two per cent less": {"share": 0.98}, "the largest instead of the sum": {"largest": True}},
    attained=True,
)
def maximum_of_classes(outputs: Any, scale: float, share: float = 1.0, largest: bool = False) -> tuple[Any, Any, Any]:
    """The step that the factor K comes from. Both sides exact; attained where each class varies on its own samples."""
    outputs = scale * reals.real(outputs)
    _assume_resolved(outputs)
    members = [np.max(np.stack(chosen), axis=0) for chosen in itertools.product(*outputs)]
    complexities = [rademacher(values) for values in outputs]
    right = max(complexities) if largest else sum(complexities)
    return rademacher(np.array(members)), share * right, 4 * _allowance(outputs)


@inequality(
    "L4.9-multiclass",
    r"\mathfrak R_S(r_\gamma\circ\mathcal M\circ F)\le\tfrac{2K}\gamma\max_k\mathfrak R_S(\{f_k:f\in F\}),"
    r"\quad\mathcal M(z,y)=z_y-\max_{k\ne y}z_k",
    source="standard multi-class reduction (Mohri, Rostamizadeh & Talwalkar)",
    given={
        "outputs": _outputs(),
        "labels": st.one_of(st.just((0, 1, 2, 3)), st.tuples(*[st.integers(0, 3)] * 4)),
        "gamma": st.one_of(st.just(8.0), positive(), scales(2)),
        "scale": scales(2),
        "product": st.booleans(),
    },
    mutants={
        "without the margin": {"drop": "gamma"},
        "without the number of classes": {"drop": "K"},
        "one per rival instead of two per class": {"rivals": True},
    },
    combinators=(multiclass,),
)
def multiclass_margin(
    outputs: Any,
    labels: tuple[int, ...],
    gamma: float,
    scale: float,
    product: bool,
    drop: str = "",
    rivals: bool = False,
) -> tuple[Any, Any, Any]:
    """Both sides exact; "one output" is the worst single output, less than the union over the outputs.

    Not attained: two classes reach 1/2, because the margin is then the difference of two outputs, of complexity at most
    R_1 + R_2, where the lemma pays for each output once as the true class and once as a rival.
    """
    outputs = scale * reals.real(outputs)
    K, m, n = outputs.shape
    assume(gamma > 1e-6)
    _assume_resolved(outputs, gamma)
    chosen = itertools.product(range(m), repeat=K) if product else ((a,) * K for a in range(m))
    logits = np.array([[outputs[k, a] for k, a in enumerate(which)] for which in chosen])  # (functions, K, n)
    y = [label % K for label in labels]
    margins = np.stack([logits[:, y[i], i] - np.delete(logits[:, :, i], y[i], axis=1).max(axis=1) for i in range(n)], 1)
    ramps = np.minimum(np.maximum(1 - margins / gamma, 0), 1)
    worst = max(rademacher(values) for values in outputs)
    values = {R_F: worst, symbols.K: 1 if drop == "K" else K, symbols.gamma: 1 if drop == "gamma" else gamma}
    right = reals.evaluate(MULTICLASS.raw, values)
    if rivals:
        right = right * (K - 1) / (2 * reals.real(K))
    return rademacher(ramps), right, _allowance(ramps, outputs / gamma, 1)
