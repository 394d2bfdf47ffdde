r"""Every surrogate of the robust loss, for networks that are linear: there the loss under attack is R_lin."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bounds.calculus.jacobian_cover import JACOBIAN_NORMS
from bounds.measure.pr_norm import operator_norm_pr
from bounds.symbols import epsilon
from verification.attack_set import NORMS
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import exponents, labels, matrices, positive, scales, vectors
from verification.inequalities.strategies.attacked import steepest
from verification.surrogates import OPERATOR_R, slopes

LINEARISED = (
    r"R_{\mathrm{lin}}=\max_{\|\delta\|_p\le\varepsilon}\ell(z+J\delta,y),\ \ell=\ell(z,y)\text{ (cross-entropy)},\ "
    r"\tfrac1p+\tfrac1q=1"
)
"""Symbols of the statements, in LaTeX."""
WU_LI = "surrogate after Wu & Li 2024; constant: own derivation"
STEPS = 8
"""Of the ascent for l2, from each start."""


@dataclass(frozen=True)
class Linearised:
    """A network f(x + delta) = z + J delta with a label and an attack radius.

    Attributes:
        J: Jacobian, (K, d).
        z: logits, (K,).
        y: label.
        eps: attack radius.
    """

    J: np.ndarray
    z: np.ndarray
    y: int
    eps: float


@st.composite
def _linearised(draw: DrawFn) -> Linearised:
    """Generic ones, and confident mistakes: of one class against the label, rows opposite, sparse or apart."""
    K, d = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    y = draw(labels(K))
    J, z = draw(matrices(K, d)), draw(vectors(K))
    kind = draw(st.sampled_from(["generic", "mistake", "opposite", "apart"]))
    if kind != "generic":
        rival = (y + 1) % K
        z = np.full(K, -20.0)
        z[rival] = 20.0
        if kind != "mistake":
            J = np.where(np.isin(np.arange(K), [y, rival])[:, None], J, 0.0)
        if kind == "opposite":
            J[y] = -J[rival]
        if kind == "apart":
            J[y, : d // 2], J[rival, d // 2 :] = 0.0, 0.0
    return Linearised(J * draw(scales(2)), z, y, draw(positive(2.0)))


def _resolve(net: Linearised) -> None:
    """Losses of logits beyond exp's range say nothing; squares of tiny Jacobians underflow."""
    size = np.abs(net.J).max()
    assume(net.eps >= 1e-6 and np.abs(net.z).max() <= 100)
    assume(size == 0 or 1e-100 <= size <= 1e6)


def _gradient(net: Linearised, delta: Any) -> Any:
    u = reals.softmax(net.z + net.J @ delta)
    u[net.y] = -np.delete(u, net.y).sum()
    return net.J.T @ u


def _corners(d: int, p: float) -> list[np.ndarray]:
    """Extreme points of the unit ball of l1 or l_inf."""
    if p == 1:
        return [sign * e for e in np.eye(d) for sign in (1.0, -1.0)]
    return [np.array(signs) for signs in itertools.product((1.0, -1.0), repeat=d)]


def _ascent(net: Linearised) -> list[np.ndarray]:
    """Steps to the maximum of the tangent, which never decrease a convex function, from every row and the gradient."""
    found = []
    rows = [net.J[k] - net.J[net.y] for k in range(len(net.z)) if k != net.y]
    for start in [_gradient(net, np.zeros(net.J.shape[1])), *rows]:
        delta = net.eps * steepest(start, "l2")
        for _ in range(STEPS):
            found.append(delta / net.eps)
            delta = net.eps * steepest(_gradient(net, delta), "l2")
    return found


def _linear_increase(net: Linearised, p: float) -> tuple[float, float]:
    """R_lin - loss: exact for l1 and l_inf (a convex function is largest at a corner), from below for l2; rounding."""
    directions = _ascent(net) if p == 2 else _corners(net.J.shape[1], p)
    before = reals.cross_entropy(net.z, net.y)
    increase = max(reals.cross_entropy(net.z + net.eps * net.J @ v, net.y) for v in directions) - before
    moved = net.eps * net.J.shape[1] * float(np.abs(net.J).max())
    return float(increase), 2.0**-46 * (1 + float(np.abs(net.z).max()) + moved)


def _packaged_slope(net: Linearised, norm: str, row: str) -> float:
    """c·N(J), or the gradient's dual norm, by the package: automatic differentiation of the linear network."""
    J, z = torch.from_numpy(net.J.copy()), torch.from_numpy(net.z.copy())
    x = torch.zeros(1, net.J.shape[1], dtype=torch.float64)
    return float(slopes(lambda x: x @ J.T + z, x, torch.tensor([net.y]), norm).slopes[row][0])


def _norms() -> SearchStrategy[str]:
    return st.sampled_from(list(NORMS))


@inequality(
    "L2.1-gradient",
    r"\varepsilon\|J^\top u\|_q\le R_{\mathrm{lin}}-\ell,\quad u=\mathrm{softmax}(z)-e_y,\ " + LINEARISED,
    source="own derivation",
    given={"net": _linearised(), "norm": _norms()},
    mutants={
        "a fiftieth too large": {"factor": 1.02},
        "the norm of the attack itself": {"norms": {"linf": "l1", "l1": "linf"}},
        "the label's row only": {"label_only": True},
    },
    attained=True,
    recheck=False,
)
def gradient(
    net: Linearised,
    norm: str,
    factor: float = 1.0,
    norms: dict[str, str] | None = None,
    label_only: bool = False,
) -> tuple[Any, Any, Any]:
    """The package's gradient row against R_lin; attained by confident mistakes, whose loss is linear.

    R_lin is exact for l1 and l_inf; for l2 it is taken from below, by an ascent that starts at the gradient's own
    perturbation: that much already suffices by convexity.
    """
    _resolve(net)
    right, allowance = _linear_increase(net, NORMS[norm][0])
    slope = _packaged_slope(net, (norms or {}).get(norm, norm), "gradient")
    if label_only:
        slope = float(reals.norm(net.J[net.y], NORMS[norm][1]))
    return factor * net.eps * slope, right, allowance


@inequality(
    "L2.1-margin",
    r"R_{\mathrm{lin}}-\ell\le\varepsilon\max_k\|J_k-J_y\|_q,\quad " + LINEARISED,
    source="own derivation",
    given={"net": _linearised(), "norm": _norms()},
    mutants={
        "a fiftieth too small": {"factor": 0.98},
        "the norm of the attack itself": {"norms": {"linf": "l1", "l1": "linf"}},
        "the radius forgotten": {"power": 0},
        "rows without the label's": {"centred": False},
    },
    attained=True,
    recheck=False,
)
def margin_jacobian(
    net: Linearised,
    norm: str,
    factor: float = 1.0,
    norms: dict[str, str] | None = None,
    power: int = 1,
    centred: bool = True,
) -> tuple[Any, Any, Any]:
    """R_lin (exact for l1 and l_inf, from below for l2) against the package's row; attained by confident mistakes."""
    _resolve(net)
    increase, allowance = _linear_increase(net, NORMS[norm][0])
    if not centred:
        return increase, net.eps * reals.norm(net.J, NORMS[norm][1], axis=1).max(), allowance
    slope = _packaged_slope(net, (norms or {}).get(norm, norm), "margin-jacobian")
    return increase, factor * net.eps**power * slope, allowance


def _margin_norm(net: Linearised, q: float) -> Any:
    """max_k ‖J_k - J_y‖_q."""
    return reals.norm(net.J - net.J[net.y], q, axis=1).max()


def _below(net: Linearised, norm: str, row: str, value: Any, factor: float, power: int) -> tuple[Any, Any]:
    """The margin-Jacobian against c·N(J), eps times.

    Args:
        net: the network.
        norm: of the attack.
        row: name of N among the package's surrogates.
        value: N(J), computed here.
        factor: times the right side (of mutants).
        power: of eps in the coefficient that the calculus covers the surrogate class with (of mutants).

    Returns:
        The left side; the smaller of c·N(J) with the calculus's c and of what the package measures.
    """
    _resolve(net)
    symbolic = JACOBIAN_NORMS[row.removesuffix("-l1")].coefficient
    covered = reals.evaluate(symbolic, {epsilon: net.eps**power}) * value
    measured = net.eps * _packaged_slope(net, norm, row)
    return net.eps * _margin_norm(net, NORMS[norm][1]), factor * min(covered, measured)


@inequality(
    "L2.1-margin-spectral",
    r"\varepsilon\max_k\|J_k-J_y\|_2\le\sqrt2\,\varepsilon\|J\|_2",
    source="own derivation",
    given={"net": _linearised()},
    mutants={"no constant": {"factor": 2**-0.5}, "the radius squared": {"power": 2}},
    attained=True,
    recheck=False,
)
def margin_spectral(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any]:
    """Attained by two opposite rows."""
    return _below(net, "l2", "spectral", reals.spectral(net.J), factor, power)


@inequality(
    "L2.1-margin-frobenius",
    r"\varepsilon\max_k\|J_k-J_y\|_2\le\sqrt2\,\varepsilon\|J\|_F",
    source=WU_LI,
    given={"net": _linearised()},
    mutants={"no constant": {"factor": 2**-0.5}, "the radius squared": {"power": 2}},
    attained=True,
    recheck=False,
)
def margin_frobenius(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any]:
    """Attained by two opposite rows."""
    return _below(net, "l2", "frobenius", reals.norm(net.J, 2), factor, power)


@inequality(
    "L2.1-margin-rows",
    r"\varepsilon\max_k\|J_k-J_y\|_1\le2\,\varepsilon\max_k\|J_k\|_1",
    source="own derivation",
    given={"net": _linearised()},
    mutants={"the Euclidean constant": {"factor": 2**-0.5}, "the radius squared": {"power": 2}},
    attained=True,
    recheck=False,
)
def margin_rows(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any]:
    """Attained by two opposite rows."""
    return _below(net, "linf", "row-sum", reals.norm(net.J, 1, axis=1).max(), factor, power)


@inequality(
    "L2.1-margin-entrywise",
    r"\varepsilon\max_k\|J_k-J_y\|_1\le\varepsilon\|J\|_{1,1}=\varepsilon\sum_{k,j}|J_{kj}|",
    source=WU_LI,
    given={"net": _linearised()},
    mutants={
        "the mean of label and rival": {"factor": 0.5},
        "the largest row only": {"largest": True},
        "the radius squared": {"power": 2},
    },
    attained=True,
    recheck=False,
)
def margin_entrywise(net: Linearised, factor: float = 1.0, largest: bool = False, power: int = 1) -> tuple[Any, Any]:
    """Attained by two rows that nowhere have the same sign."""
    value = reals.norm(net.J, 1, axis=1).max() if largest else reals.norm(net.J, 1)
    return _below(net, "linf", "entrywise-l1", value, factor, power)


@inequality(
    "L2.1-margin-operator",
    r"\max_k\|J_k-J_y\|_q\le2^{1-1/r}\|J\|_{p\to r}=2^{1-1/r}\max_{\|v\|_p\le1}\|Jv\|_r,\quad\tfrac1p+\tfrac1q=1",
    source="surrogate after Roth, Kilcher & Hofmann 2020 (adversarial training as operator norm regularization); "
    "constant: own derivation",
    given={"net": _linearised(), "p": exponents(), "r": exponents()},
    mutants={
        "no constant": {"constant": lambda r: 1.0},
        "the Lipschitz constant of the dual norm": {"constant": lambda r: 2.0 ** (1 / r)},
        "the exponents swapped": {"swapped": True},
        "the norm of the attack itself": {"dual": False},
    },
    attained=True,
    examples=60,
    recheck=False,
)
def margin_operator(
    net: Linearised,
    p: float,
    r: float,
    constant: Any = lambda r: 2.0 ** (1 - 1 / r),
    swapped: bool = False,
    dual: bool = True,
) -> tuple[Any, Any]:
    """The package's upper end of the operator norm (its value where that is known), and its surrogate where it has one.

    Attained by two opposite rows.
    """
    _resolve(net)
    assume(p >= 1 and r >= 1)
    J = torch.from_numpy(net.J.copy())[None]
    bound = constant(r) * operator_norm_pr(J, *((r, p) if swapped else (p, r))).upper.item()
    attacks = [norm for norm in NORMS if NORMS[norm][0] == p]
    if attacks and r == OPERATOR_R:
        bound = min(bound, _packaged_slope(net, attacks[0], "operator"))
    return _margin_norm(net, reals.dual(p) if dual else p), bound
