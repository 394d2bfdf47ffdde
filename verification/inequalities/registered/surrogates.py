r"""Every row of the surrogate table (theory §2, L2.1), for networks that are linear: there R = R_lin."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bounds.calculus.jacobian_cover import JACOBIAN_NORMS, jacobian_cover
from bounds.measure.pr_norm import operator_norm_pr
from bounds.symbols import epsilon
from verification.attack_set import NORMS
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import exponents, labels, matrices, positive, scales, vectors
from verification.surrogates import slopes

SOURCE = "theory §2; own derivation"
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
    """Losses of logits beyond exp's range say nothing."""
    assume(net.eps >= 1e-6)
    assume(np.abs(net.z).max() <= 100 and np.abs(net.J).max() <= 1e6)


def dual_vector(a: Any, p: float) -> Any:
    """Where a·v is largest over ‖v‖_p <= 1, p in {1, 2, ∞}."""
    if not np.abs(a).max() > 0:
        return np.eye(len(a))[0]
    if p == math.inf:
        return np.where(a < 0, -1.0, 1.0)
    if p == 1:
        top = int(np.abs(a).argmax())
        return np.eye(len(a))[top] * np.sign(a[top])
    a = a / np.abs(a).max()
    return a / np.linalg.norm(a)


def _gradient(net: Linearised, delta: Any) -> Any:
    u = reals.softmax(net.z + net.J @ delta)
    u[net.y] = -np.delete(u, net.y).sum()
    return net.J.T @ u


def corners(d: int, p: float) -> list[np.ndarray]:
    """Extreme points of the unit ball of l1 or l_inf."""
    if p == 1:
        return [sign * e for e in np.eye(d) for sign in (1.0, -1.0)]
    return [np.array(signs) for signs in itertools.product((1.0, -1.0), repeat=d)]


def _ascent(net: Linearised) -> list[np.ndarray]:
    """Steps to the maximum of the tangent, which never decrease a convex function, from every row and the gradient."""
    found = []
    rows = [net.J[k] - net.J[net.y] for k in range(len(net.z)) if k != net.y]
    for start in [_gradient(net, np.zeros(net.J.shape[1])), *rows]:
        delta = net.eps * dual_vector(start, 2)
        for _ in range(STEPS):
            found.append(delta / net.eps)
            delta = net.eps * dual_vector(_gradient(net, delta), 2)
    return found


def _linear_increase(net: Linearised, p: float) -> tuple[float, float]:
    """R_lin - loss: exact for l1 and l_inf (a convex function is largest at a corner), from below for l2; rounding."""
    directions = _ascent(net) if p == 2 else corners(net.J.shape[1], p)
    before = reals.cross_entropy(net.z, net.y)
    increase = max(reals.cross_entropy(net.z + net.eps * net.J @ v, net.y) for v in directions) - before
    moved = net.eps * net.J.shape[1] * float(np.abs(net.J).max())
    return float(increase), 2.0**-46 * (1 + float(np.abs(net.z).max()) + moved)


def _packaged_slope(net: Linearised, norm: str, row: str) -> float:
    """c·N(J), or the gradient's dual norm, by the package: automatic differentiation of the linear network."""
    J, z = torch.from_numpy(net.J.copy()), torch.from_numpy(net.z.copy())
    x = torch.zeros(1, net.J.shape[1], dtype=torch.float64)
    return float(slopes(lambda x: x @ J.T + z, x, torch.tensor([net.y]), norm).slopes[row][0])


def _row(net: Linearised, norm: str, row: str, factor: float, power: int) -> tuple[Any, Any, Any]:
    _resolve(net)
    increase, allowance = _linear_increase(net, NORMS[norm][0])
    return increase, factor * net.eps**power * _packaged_slope(net, norm, row), allowance


def _norms() -> SearchStrategy[str]:
    return st.sampled_from(list(NORMS))


@inequality(
    "L2.1-gradient",
    r"\varepsilon\|J^\top u\|_q\le R_{\mathrm{lin}}-\ell,\quad u=\mathrm{softmax}(z)-e_y",
    source=SOURCE,
    given={"net": _linearised(), "norm": _norms()},
    mutants={
        "a fiftieth too small": {"factor": 1.02},
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
    r"R_{\mathrm{lin}}-\ell\le\varepsilon\max_k\|J_k-J_y\|_q",
    source=SOURCE,
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


@inequality(
    "L2.1-spectral",
    r"R_{\mathrm{lin}}-\ell\le\sqrt2\,\varepsilon\|J\|_2\quad(p=2)",
    source=SOURCE,
    given={"net": _linearised()},
    mutants={
        "no constant": {"factor": 2**-0.5},
        "a fiftieth too small": {"factor": 0.98},
        "the radius forgotten": {"power": 0},
    },
    attained=True,
    recheck=False,
)
def spectral(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any, Any]:
    """R_lin from below against the package's row; attained by a confident mistake between two opposite rows."""
    return _row(net, "l2", "spectral", factor, power)


@inequality(
    "L2.1-frobenius",
    r"R_{\mathrm{lin}}-\ell\le\sqrt2\,\varepsilon\|J\|_F\quad(p=2)",
    source="surrogate after Wu & Li; constant: own derivation, theory §2",
    given={"net": _linearised()},
    mutants={
        "no constant": {"factor": 2**-0.5},
        "a fiftieth too small": {"factor": 0.98},
        "the radius forgotten": {"power": 0},
    },
    attained=True,
    recheck=False,
)
def frobenius(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any, Any]:
    """R_lin from below against the package's row; attained by a confident mistake between two opposite rows."""
    return _row(net, "l2", "frobenius", factor, power)


@inequality(
    "L2.1-rows",
    r"R_{\mathrm{lin}}-\ell\le2\varepsilon\max_k\|J_k\|_1\quad(p=\infty)",
    source=SOURCE,
    given={"net": _linearised()},
    mutants={
        "no constant": {"factor": 0.5},
        "the constant of the Euclidean norm": {"factor": 2**-0.5},
        "a fiftieth too small": {"factor": 0.98},
        "the radius forgotten": {"power": 0},
    },
    attained=True,
    recheck=False,
)
def row_sum(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any, Any]:
    """R_lin, exact, against the package's row; attained by a confident mistake between two opposite rows."""
    return _row(net, "linf", "row-sum", factor, power)


@inequality(
    "L2.1-entrywise",
    r"R_{\mathrm{lin}}-\ell\le\varepsilon\|J\|_{1,1}\quad(p=\infty)",
    source="surrogate after Wu & Li; constant: own derivation, theory §2",
    given={"net": _linearised()},
    mutants={
        "the mean of label and rival": {"factor": 0.5},
        "a fiftieth too small": {"factor": 0.98},
        "the radius forgotten": {"power": 0},
    },
    attained=True,
    recheck=False,
)
def entrywise(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any, Any]:
    """R_lin, exact, against the package's row; attained by a mistake between rows that nowhere have the same sign."""
    return _row(net, "linf", "entrywise-l1", factor, power)


@inequality(
    "L2.1-operator",
    r"R_{\mathrm{lin}}-\ell\le\sqrt2\,\varepsilon\|J\|_{p\to2}",
    source="surrogate after Roth, Kilcher & Hofmann; constant: own derivation, theory §2",
    given={"net": _linearised(), "norm": _norms()},
    mutants={
        "no constant": {"factor": 2**-0.5},
        "a fiftieth too small": {"factor": 0.98},
        "the norm of the dual attack": {"norms": {"linf": "l1", "l1": "linf"}},
        "the radius forgotten": {"power": 0},
    },
    attained=True,
    recheck=False,
)
def operator(
    net: Linearised, norm: str, factor: float = 1.0, norms: dict[str, str] | None = None, power: int = 1
) -> tuple[Any, Any, Any]:
    """R_lin against the package's row (for l_inf its certified upper end); attained by two opposite rows."""
    _resolve(net)
    increase, allowance = _linear_increase(net, NORMS[norm][0])
    slope = _packaged_slope(net, (norms or {}).get(norm, norm), "operator")
    return increase, factor * net.eps**power * slope, allowance


def _margin_norm(net: Linearised, q: float) -> Any:
    """max_k ‖J_k - J_y‖_q."""
    return reals.norm(net.J - net.J[net.y], q, axis=1).max()


def _below(net: Linearised, q: float, row: str, norm: Any, factor: float, power: int) -> tuple[Any, Any]:
    """The margin-Jacobian against a row, with the coefficient that the calculus covers the surrogate class with."""
    assume(net.eps > 0)
    coefficient = reals.evaluate(JACOBIAN_NORMS[row].coefficient, {epsilon: net.eps**power})
    return net.eps * _margin_norm(net, q), factor * coefficient * norm


@inequality(
    "L2.1-margin-spectral",
    r"\max_k\|J_k-J_y\|_2\le\sqrt2\,\|J\|_2",
    source=SOURCE,
    given={"net": _linearised()},
    mutants={"no constant": {"factor": 2**-0.5}, "the radius squared": {"power": 2}},
    attained=True,
    combinators=(jacobian_cover,),
)
def margin_spectral(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any]:
    """The calculus's coefficient; attained by two opposite rows."""
    return _below(net, 2, "spectral", reals.spectral(net.J), factor, power)


@inequality(
    "L2.1-margin-frobenius",
    r"\max_k\|J_k-J_y\|_2\le\sqrt2\,\|J\|_F",
    source=SOURCE,
    given={"net": _linearised()},
    mutants={"no constant": {"factor": 2**-0.5}, "the radius squared": {"power": 2}},
    attained=True,
    combinators=(jacobian_cover,),
)
def margin_frobenius(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any]:
    """The calculus's coefficient; attained by two opposite rows."""
    return _below(net, 2, "frobenius", reals.norm(net.J, 2), factor, power)


@inequality(
    "L2.1-margin-rows",
    r"\max_k\|J_k-J_y\|_1\le2\max_k\|J_k\|_1",
    source=SOURCE,
    given={"net": _linearised()},
    mutants={"no constant": {"factor": 0.5}, "the Euclidean constant": {"factor": 2**-0.5}},
    attained=True,
    combinators=(jacobian_cover,),
)
def margin_rows(net: Linearised, factor: float = 1.0, power: int = 1) -> tuple[Any, Any]:
    """The calculus's coefficient; attained by two opposite rows."""
    return _below(net, 1, "row-sum", reals.norm(net.J, 1, axis=1).max(), factor, power)


@inequality(
    "L2.1-margin-entrywise",
    r"\max_k\|J_k-J_y\|_1\le\|J\|_{1,1}",
    source=SOURCE,
    given={"net": _linearised()},
    mutants={"the mean of label and rival": {"factor": 0.5}, "the largest row only": {"row": True}},
    attained=True,
    combinators=(jacobian_cover,),
)
def margin_entrywise(net: Linearised, factor: float = 1.0, row: bool = False) -> tuple[Any, Any]:
    """The calculus's coefficient; attained by two rows that nowhere have the same sign."""
    norm = reals.norm(net.J, 1, axis=1).max() if row else reals.norm(net.J, 1)
    return _below(net, 1, "entrywise", norm, factor, 1)


@inequality(
    "L2.1-margin-operator",
    r"\max_k\|J_k-J_y\|_q\le2^{1-1/r}\|J\|_{p\to r}",
    source="surrogate after Roth, Kilcher & Hofmann; constant: own derivation, theory §2",
    given={"net": _linearised(), "p": exponents(), "r": exponents()},
    mutants={
        "no constant": {"constant": lambda r: 1.0},
        "the Lipschitz constant of the dual norm": {"constant": lambda r: 2.0 ** (1 / r)},
        "the exponents swapped": {"swapped": True},
        "the norm of the attack itself": {"dual": False},
    },
    attained=True,
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
    """The package's upper end of the operator norm (its value where that is known); attained by two opposite rows."""
    assume(p >= 1 and r >= 1)
    J = torch.from_numpy(net.J.copy())[None]
    operator_norm = operator_norm_pr(J, *((r, p) if swapped else (p, r))).upper.item()
    return _margin_norm(net, reals.dual(p) if dual else p), constant(r) * operator_norm
