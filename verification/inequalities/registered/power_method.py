r"""Operator norms by the power method, and adversarial training as their regulariser (theory §3)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds.measure.pr_norm import (
    _operator_norm_upper,
    dual_vector,
    maximiser,
    operator_norm_pr,
    power_iterates,
    power_method,
    vector_norms,
)
from verification.attack_set import AttackSet
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import chains, labels, matrices, positive, vectors
from verification.inequalities.strategies.attacked import EXPONENTS, logits, traced
from verification.inequalities.strategies.networks import PIECEWISE_LINEAR, Chain
from verification.power_method import RESOLUTION, compare_iterates, compare_objectives, infinite_step
from verification.training.regularisers.data_spectral import DataSpectralDistance
from verification.training.regularisers.penalty import stretch

METHOD = "power method of Boyd and Higham, as in Roth, Kilcher & Hofmann; theory L3.2"
EQUIVALENCE = "Roth, Kilcher & Hofmann, as restated in theory L3.4"
OBJECTIVES = "Roth, Kilcher & Hofmann, as restated in theory L3.5"

# Exponents are strings, so that the search does not move them.
USUAL = st.sampled_from(["2", "1", "inf"])
ANY = st.sampled_from(["2", "1", "inf", "1.5", "3"])
STRICTLY_CONVEX = st.sampled_from(["2", "1.5", "3"])

CLEAR = 1e-4
"""Relative lead by which a maximiser must win to count as the only one."""
HUGE = 1e100
"""Largest matrix, and its inverse the smallest: squares over- and underflow beyond about 1e150."""
AWAY = 1e-3
"""Smallest |h_u| of a unit, since inside a linear piece none is on its kink; and smallest Jacobian."""
NUDGE = 1e-12
"""Step of the finite differences, which are taken in 35 digits."""
BEYOND = 30.0
"""How many times too large the radius is where a mutant forgets the linear piece."""


def _tensor(x: Any) -> torch.Tensor:
    """A batch of one."""
    return torch.from_numpy(np.array(x, dtype=np.float64))[None]


def _array(x: torch.Tensor) -> np.ndarray:
    found: np.ndarray = x[0].detach().numpy()
    return found


def _dual_map(z: Any, p: float) -> Any:
    """Theory's L3.1: sign(z)|z|^{q-1} / ‖z‖_q^{q-1}; the first basis vector where z = 0."""
    z = reals.real(z)
    size = np.abs(z)
    sign = np.where(z < 0, reals.real(-1), np.where(z > 0, reals.real(1), reals.real(0)))
    if p == 1 or not (size > 0).any():
        at = int(np.argmax(size))
        unit = reals.real(np.zeros(len(z)))
        unit[at] = sign[at] if size[at] > 0 else reals.real(1)
        return unit
    if p == math.inf:
        return sign
    q = reals.dual(p)
    return sign * reals.power(size / reals.norm(z, q), q - 1)


def _signs(count: int) -> np.ndarray:
    return np.array(list(itertools.product((1.0, -1.0), repeat=count)))


def _vertices(J: Any, p: float, r: float) -> Any:
    """Vectors with ‖v‖_p = 1 among which ‖Jv‖_r is largest (L3.3), (m, d); some more where no list is known."""
    K, d = J.shape
    axes = reals.real(np.eye(d))
    if p == 1:
        return axes
    if p == math.inf:
        return reals.real(_signs(d))
    functionals = [*reals.real(np.eye(K)), *(reals.real(_signs(K)) if r != math.inf else ())]
    found = [_dual_map(J.T @ u, p) for u in functionals]
    if r not in (1, math.inf):
        found += [_dual_map(axis, p) for axis in axes]
        found += [_dual_map(v, p) for v in np.linalg.svd(np.asarray(J, dtype=np.float64))[2]]
    return np.array(found)


def _norm(J: Any, p: float, r: float) -> Any:
    """‖J‖_{p→r} by enumeration (L3.3) or, for p = r = 2, all singular values; otherwise a lower bound."""
    if p == r == 2:
        return reals.spectral(J)
    return reals.norm(_vertices(J, p, r) @ J.T, r, axis=1).max()


def _enumerable(p: str, r: str) -> bool:
    return "1" in (p, r) or "inf" in (p, r) or p == r == "2"


def _check_squares(J: Any) -> None:
    """Leaves out matrices whose squares over- or underflow."""
    largest = np.abs(J).max()
    assume(largest == 0 or 1 / HUGE < largest < HUGE)


def _is_clear(z: Any, p: float) -> bool:
    """Whether the dual map of z is the only maximiser, by far."""
    size = np.sort(np.abs(np.asarray(z, dtype=np.float64)))[::-1]
    if not size[0] > 0:
        return False
    if p == 1:
        return len(size) == 1 or bool(size[1] <= size[0] * (1 - CLEAR))
    return p != math.inf or bool(size[-1] >= CLEAR * size[0])


# ---------------------------------------------------------------------------------------------------- L3.1: dual map


@inequality(
    "L3.1-attains",
    r"v\cdot z=\|z\|_q,\quad v=\text{the dual map of }z,\ 1/p+1/q=1",
    source="Hölder's inequality; theory L3.1",
    given={"z": vectors((1, 4)), "scale": st.integers(-100, 100), "p": ANY},
    mutants={
        "the norm of v": {"exponent": float},
        "the Euclidean norm": {"exponent": lambda p: 2.0},
        "a fiftieth too small": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def dual_map_attains(
    z: Any, scale: int, p: str, exponent: Any = reals.dual, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The package's dual map against the dual norm, for every scale of z, z = 0 included."""
    z = z * 10.0**scale
    v = _array(dual_vector(_tensor(z), float(p)))
    return float(v @ z), factor * reals.norm(z, exponent(float(p))), 2.0**-44 * float(np.abs(z).sum())


@inequality(
    "L3.1-largest",
    r"w\cdot z\le v\cdot z\quad(\|w\|_p\le1),\quad v=\text{the dual map of }z",
    source="Hölder's inequality; theory L3.1",
    given={"z": vectors(3), "w": vectors(3), "p": ANY},
    mutants={
        "the dual map of the dual exponent": {"exponent": reals.dual},
        "the direction of z itself": {"exponent": lambda p: 2.0},
        "a fiftieth too small": {"factor": 0.98},
    },
    attained=True,
    recheck=False,
)
def dual_map_is_largest(z: Any, w: Any, p: str, exponent: Any = float, factor: float = 1.0) -> tuple[Any, Any]:
    """Points of the sphere (the instance's, the axes, the corners, theory's formula) against the package's.

    Mutants that take the dual map of another exponent scale it back to the sphere.
    """
    P = float(p)
    tried = [*np.eye(3), *_signs(3), w, _dual_map(z, P)]
    best = max(float(u @ z) / reals.norm(u, P) for u in tried if (u != 0).any())
    v = _array(dual_vector(_tensor(z), exponent(P)))
    return best, factor * float(v @ z) / reals.norm(v, P)


@inequality(
    "L3.1-sphere",
    r"\|v\|_p=1,\quad v=\text{the dual map of }z",
    source="theory L3.1",
    given={"z": vectors((1, 4)), "scale": st.integers(-100, 100), "p": ANY},
    mutants={"the dual sphere": {"exponent": reals.dual}, "the Euclidean sphere": {"exponent": lambda p: 2.0}},
    relation="==",
    attained=True,
    recheck=False,
)
def dual_map_on_the_sphere(z: Any, scale: int, p: str, exponent: Any = float) -> tuple[Any, Any]:
    """The package's dual map, for every scale of z, z = 0 included."""
    v = _array(dual_vector(_tensor(z * 10.0**scale), float(p)))
    return reals.norm(v, exponent(float(p))), 1.0


@inequality(
    "L3.1-formula",
    r"v=\mathrm{sign}(z)|z|^{q-1}/\|z\|_q^{q-1}\quad(1<p<\infty),\quad\text{compared along any }w",
    source="theory L3.1",
    given={"z": vectors(3), "w": vectors(3), "p": STRICTLY_CONVEX},
    mutants={
        "the dual exponent swapped": {"exponent": float},
        "one power too many": {"shift": 0},
        "the direction of z": {"exponent": lambda p: 2.0},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def dual_map_formula(z: Any, w: Any, p: str, exponent: Any = reals.dual, shift: int = 1) -> tuple[Any, Any, Any]:
    """The package's dual map against the formula, both along w."""
    assume((z != 0).any())
    v, q = _array(dual_vector(_tensor(z), float(p))), exponent(float(p))
    formula = np.sign(z) * reals.power(np.abs(z) / reals.norm(z, q), q - shift)
    return float(v @ w), float(formula @ w), 2.0**-44 * float(np.abs(w).sum())


# ------------------------------------------------------------------------------------------------ L3.2: power method

_STARTED = {"J": matrices((1, 3), 3, 4), "start": vectors(3), "p": ANY, "r": ANY}


def _move(J: Any, v: Any, p: float, functional: float) -> tuple[Any, Any]:
    """U and the next iterate of the power method; `functional` is the exponent of u's own norm, dual to r."""
    u = _dual_map(J @ v, functional)
    return u, _dual_map(J.T @ u, p)


@inequality(
    "L3.2-chain",
    r"\|Jv_k\|_r\le\|J^\top u_k\|_q\quad\text{and}\quad\|J^\top u_k\|_q\le\|Jv_{k+1}\|_r",
    source=METHOD,
    given={**_STARTED, "second": st.booleans()},
    mutants={
        "u of the exponent r": {"functional": float},
        "v of the exponent q": {"ball": reals.dual},
        "increases by a fiftieth": {"factor": 0.98},
    },
    attained=True,
)
def both_halves(
    J: Any, start: Any, p: str, r: str, second: bool, functional: Any = reals.dual, ball: Any = float, factor: float = 1
) -> tuple[Any, Any]:
    """The method as theory writes it, first half of a step and second; attained at stationary vectors.

    A mutant's vectors are scaled back to their spheres: only their directions are wrong.
    """
    P, R = float(p), float(r)
    v = _dual_map(start, P)
    u = _dual_map(J @ v, functional(R))
    u = u / reals.norm(u, reals.dual(R))
    between = reals.norm(J.T @ u, reals.dual(P))
    if not second:
        return reals.norm(J @ v, R), factor * between
    after = _dual_map(J.T @ u, ball(P))
    return between, factor * reals.norm(J @ after, R) / reals.norm(after, P)


@inequality(
    "L3.2-monotone",
    r"\|Jv_k\|_r\le\|Jv_{k+1}\|_r",
    source=METHOD,
    given={**_STARTED, "k": st.integers(0, 3)},
    mutants={
        "increases by a fiftieth": {"factor": 0.98},
        "for the dual ball": {"ball": reals.dual},
    },
    attained=True,
    recheck=False,
)
def monotone(J: Any, start: Any, p: str, r: str, k: int, factor: float = 1.0, ball: Any = float) -> tuple[Any, Any]:
    """The package's iterates; attained at stationary vectors. A mutant's iterates are scaled back to the sphere."""
    P, R = float(p), float(r)
    v0 = dual_vector(_tensor(start), ball(P))
    v, after = (_array(v) for v in itertools.islice(power_iterates(_tensor(J), ball(P), R, v0), k, k + 2))
    values = [reals.norm(J @ z, R) / reals.norm(z, P) for z in (v, after)]
    return values[0], factor * values[1]


@inequality(
    "L3.2-iterates",
    r"v_{k+1}=\text{dual map of }J^\top u_k,\ u_k=\text{functional of }Jv_k,\quad\text{compared along any }w",
    source=METHOD,
    given={**_STARTED, "w": vectors(3), "k": st.integers(1, 2)},
    mutants={
        "u of the exponent r": {"functional": float},
        "v of the exponent q": {"ball": reals.dual},
        "one step late": {"late": 1},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def iterates(
    J: Any, start: Any, p: str, r: str, w: Any, k: int, functional: Any = reals.dual, ball: Any = float, late: int = 0
) -> tuple[Any, Any, Any]:
    """The package's iterates against theory's formula, step by step; ties and vanishing coordinates are left out."""
    P, R = float(p), float(r)
    v, error = _dual_map(start, P), 0.0
    batch = power_iterates(_tensor(J), P, R, _tensor(v))
    for _ in range(k):
        w_k, u, after = J @ v, *_move(J, v, P, reals.dual(R))
        assume(_is_clear(w_k, reals.dual(R)) and _is_clear(w_k, math.inf))
        assume(_is_clear(J.T @ u, P) and _is_clear(J.T @ u, math.inf))
        # Relative rounding of Jv and J^T u, entry by entry, on top of the error so far; powers of at most 2.
        cancelled = max((np.abs(J) @ np.abs(v)) / np.abs(w_k)) * max((np.abs(J.T) @ np.abs(u)) / np.abs(J.T @ u))
        error = 16 * cancelled * (error + 2.0**-50)
        v = after
    assume(error < 1e-6)
    found = _array(next(itertools.islice(batch, k, None)))
    v = _dual_map(start, P)
    for _ in range(k + late):
        v = _move(J, v, ball(P), functional(R))[1]
    return float(found @ w), float(v @ w), error * float(np.abs(w).sum())


@inequality(
    "L3.2-lower",
    r"\max_{k\le 5}\|Jv_k\|_r\le\|J\|_{p\to r}",
    source=METHOD,
    given={"J": matrices((1, 3), (1, 4), 4), "p": ANY, "r": ANY},
    mutants={
        "a fiftieth too small": {"factor": 0.98},
        "p and r swapped": {"swapped": True},
        "the spectral norm": {"spectral": True},
    },
    attained=True,
    examples=60,
    recheck=False,
)
def power_method_is_below(
    J: Any, p: str, r: str, factor: float = 1.0, swapped: bool = False, spectral: bool = False
) -> tuple[Any, Any]:
    """The package's power method against the operator norm by enumeration; attained by most matrices."""
    assume(_enumerable(p, r))
    _check_squares(J)
    P, R = float(p), float(r)
    value = power_method(_tensor(J), P, R, steps=5)[0].item()
    return value, factor * (reals.spectral(J) if spectral else _norm(J, R, P) if swapped else _norm(J, P, R))


@inequality(
    "L3.2-attained",
    r"\|Jv\|_r=\text{the value that the power method returns with }v,\quad\|v\|_p=1",
    source=METHOD,
    given={"J": matrices((1, 3), (1, 4), 4), "p": ANY, "r": ANY},
    mutants={"v on the dual sphere": {"sphere": reals.dual}, "in the dual norm": {"exponent": reals.dual}},
    relation="==",
    attained=True,
    examples=40,
    recheck=False,
)
def value_of_the_vector(J: Any, p: str, r: str, sphere: Any = float, exponent: Any = float) -> tuple[Any, Any]:
    """The package's value against that of its vector, scaled to the sphere."""
    _check_squares(J)
    value, v = power_method(_tensor(J), float(p), float(r), steps=3)
    vector = _array(v)
    return value.item(), reals.norm(J @ vector, exponent(float(r))) / reals.norm(vector, sphere(float(p)))


# -------------------------------------------------------------------------------------------------- L3.3: exact forms

_J = matrices((1, 4), (1, 4), 6)


def _packaged(J: Any, p: float, r: float) -> float:
    """The package's value where it calls it exact."""
    _check_squares(J)
    found = operator_norm_pr(_tensor(J), p, r)
    assert found.lower.item() == found.upper.item()
    return found.upper.item()


EXACT: dict[str, Any] = {
    "source": "theory L3.3; own derivation",
    "relation": "==",
    "attained": True,
    "recheck": False,
}


@inequality(
    "L3.3-columns",
    r"\|J\|_{1\to r}=\max_j\|J_{:,j}\|_r",
    given={"J": _J, "r": ANY},
    mutants={"rows": {"axis": 1}, "the dual exponent": {"exponent": reals.dual}, "a fiftieth less": {"factor": 0.98}},
    **EXACT,
)
def largest_column(J: Any, r: str, axis: int = 0, exponent: Any = float, factor: float = 1.0) -> tuple[Any, Any]:
    """The package's value against the columns."""
    return _packaged(J, 1.0, float(r)), factor * reals.norm(J, exponent(float(r)), axis=axis).max()


@inequality(
    "L3.3-rows",
    r"\|J\|_{p\to\infty}=\max_k\|J_k\|_q",
    given={"J": _J, "p": ANY},
    mutants={"columns": {"axis": 0}, "the exponent itself": {"exponent": float}, "a fiftieth less": {"factor": 0.98}},
    **EXACT,
)
def largest_row(J: Any, p: str, axis: int = 1, exponent: Any = reals.dual, factor: float = 1.0) -> tuple[Any, Any]:
    """The package's value against the rows."""
    return _packaged(J, float(p), math.inf), factor * reals.norm(J, exponent(float(p)), axis=axis).max()


@inequality(
    "L3.3-spectral",
    r"\|J\|_{2\to2}=\sigma_1(J)",
    given={"J": _J},
    mutants={"the Frobenius norm": {"all_of_them": True}, "a fiftieth less": {"factor": 0.98}},
    **EXACT,
)
def largest_singular_value(J: Any, all_of_them: bool = False, factor: float = 1.0) -> tuple[Any, Any]:
    """The package's value, from the Gram matrix, against all singular values."""
    return _packaged(J, 2.0, 2.0), factor * (reals.norm(J, 2) if all_of_them else reals.spectral(J))


@inequality(
    "L3.3-signs",
    r"\|J\|_{p\to1}=\max_{s\in\{\pm1\}^K}\|J^\top s\|_q",
    given={"J": _J, "p": ANY},
    mutants={
        "equal signs": {"equal": True},
        "the exponent itself": {"exponent": float},
        "a fiftieth less": {"factor": 0.98},
    },
    **EXACT,
)
def signs_of_the_logits(
    J: Any, p: str, equal: bool = False, exponent: Any = reals.dual, factor: float = 1.0
) -> tuple[Any, Any]:
    """The package's value against all signs."""
    signs = _signs(len(J))[:1] if equal else _signs(len(J))
    return _packaged(J, float(p), 1.0), factor * reals.norm(signs @ J, exponent(float(p)), axis=1).max()


@inequality(
    "L3.3-corners",
    r"\|J\|_{\infty\to r}=\max_{s\in\{\pm1\}^d}\|Js\|_r",
    given={"J": _J, "r": ANY},
    mutants={
        "one corner": {"equal": True},
        "the dual exponent": {"exponent": reals.dual},
        "the row-sum norm": {"exponent": lambda r: math.inf},
    },
    **EXACT,
)
def corners_of_the_cube(J: Any, r: str, equal: bool = False, exponent: Any = float) -> tuple[Any, Any]:
    """The package's value against all corners; for r = 1 and inf it takes another way, over the logits."""
    corners = _signs(J.shape[1])[:1] if equal else _signs(J.shape[1])
    return _packaged(J, math.inf, float(r)), reals.norm(corners @ J.T, exponent(float(r)), axis=1).max()


@inequality(
    "L3.3-dual",
    r"\|J\|_{p\to r}=\|J^\top\|_{r^*\to p^*}",
    given={"J": _J, "p": ANY, "r": ANY},
    mutants={"exponents kept": {"kept": True}, "not transposed": {"transposed": False}},
    **EXACT,
)
def transposed_norm(J: Any, p: str, r: str, kept: bool = False, transposed: bool = True) -> tuple[Any, Any]:
    """Two ways through the package's exact forms."""
    assume(_enumerable(p, r))
    P, R = float(p), float(r)
    other = J.T if transposed else J
    return _packaged(J, P, R), _packaged(other, R, P) if kept else _packaged(other, reals.dual(R), reals.dual(P))


BELOW: dict[str, Any] = {"source": "theory L3.3; own derivation", "attained": True}


@inequality(
    "L3.3-entrywise",
    r"\|J\|_{\infty\to1}\le\|J\|_{1,1}=\sum|J_{kj}|",
    given={"J": _J},
    mutants={
        "the largest row": {"axis": 1},
        "the largest column": {"axis": 0},
        "a fiftieth too small": {"factor": 0.98},
    },
    **BELOW,
)
def entrywise(J: Any, axis: int | None = None, factor: float = 1.0) -> tuple[Any, Any]:
    """The left side by enumeration; attained where one product of signs makes every entry positive."""
    sizes = reals.norm(J, 1, axis=axis)
    return _norm(J, math.inf, 1.0), factor * (sizes if axis is None else sizes.max())


@st.composite
def _flat_matrices(draw: DrawFn) -> np.ndarray:
    """Matrices whose corners lie along the top singular vectors: signs of a group, rank one, else anything."""
    kind = draw(st.sampled_from(["group", "signs", "plain"]))
    if kind == "plain":
        return draw(_J)
    K, d = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    pair = np.array([[1.0, 1.0], [1.0, -1.0]])
    signs = np.kron(pair, pair)[:K, :d] if kind == "group" else np.ones((K, d))
    return signs * draw(positive(2.0)) * 10.0 ** draw(st.integers(-6, 6))


@inequality(
    "L3.3-cube",
    r"\|J\|_{\infty\to1}\le\sqrt{Kd}\,\sigma_1(J)",
    given={"J": _flat_matrices()},
    mutants={
        "no outputs": {"outputs": 0},
        "no inputs": {"inputs": 0},
        "a fiftieth too small": {"factor": 0.98},
    },
    **BELOW,
)
def cube_to_sum(J: Any, outputs: int = 1, inputs: int = 1, factor: float = 1.0) -> tuple[Any, Any]:
    """The left side by enumeration; attained by constant matrices, and by sign matrices of a group."""
    K, d = J.shape
    return _norm(J, math.inf, 1.0), factor * reals.sqrt(K**outputs * d**inputs) * reals.spectral(J)


@inequality(
    "L3.3-square",
    r"\|J\|_{\infty\to2}\le\sqrt d\,\sigma_1(J)",
    given={"J": _flat_matrices()},
    mutants={"no inputs": {"power": 0.0}, "a fourth root": {"power": 0.5}, "a fiftieth too small": {"factor": 0.98}},
    **BELOW,
)
def cube_to_ball(J: Any, power: float = 1.0, factor: float = 1.0) -> tuple[Any, Any]:
    """The left side by enumeration; attained by constant matrices, and by sign matrices of a group."""
    return _norm(J, math.inf, 2.0), factor * reals.power(reals.sqrt(J.shape[1]), power) * reals.spectral(J)


def _reached(J: Any, start: Any, p: float, r: float) -> Any:
    """A lower bound of ‖J‖_{p→r}: vertices, the instance's own direction, and a step of the power method from it."""
    v = _dual_map(start, p)
    found = [_norm(J, p, r), reals.norm(J @ v, r), reals.norm(J @ _move(J, v, p, reals.dual(r))[1], r)]
    return max(found)


_REACHED = {"J": matrices((1, 3), 3, 4), "start": vectors(3), "p": ANY, "r": ANY}


@inequality(
    "L3.3-by-rows",
    r"\|J\|_{p\to r}\le\big\|(\|J_k\|_q)_k\big\|_r",
    given=_REACHED,
    mutants={
        "the largest row": {"outer": lambda r: math.inf},
        "rows in the norm p": {"inner": float},
        "a fiftieth too small": {"factor": 0.98},
    },
    **BELOW,
)
def by_rows(
    J: Any, start: Any, p: str, r: str, inner: Any = reals.dual, outer: Any = float, factor: float = 1.0
) -> tuple[Any, Any]:
    """The left side is a lower bound, exact for most exponents; attained by rank one."""
    P, R = float(p), float(r)
    return _reached(J, start, P, R), factor * reals.norm(reals.norm(J, inner(P), axis=1), outer(R))


@inequality(
    "L3.3-by-columns",
    r"\|J\|_{p\to r}\le\big\|(\|J_{:,j}\|_r)_j\big\|_q",
    given=_REACHED,
    mutants={
        "the largest column": {"outer": lambda p: math.inf},
        "together in the norm p": {"outer": float},
        "a fiftieth too small": {"factor": 0.98},
    },
    **BELOW,
)
def by_columns(
    J: Any, start: Any, p: str, r: str, inner: Any = float, outer: Any = reals.dual, factor: float = 1.0
) -> tuple[Any, Any]:
    """The left side is a lower bound, exact for most exponents; attained by rank one."""
    P, R = float(p), float(r)
    return _reached(J, start, P, R), factor * reals.norm(reals.norm(J, inner(R), axis=0), outer(P))


@inequality(
    "L3.3-by-spectrum",
    r"\|J\|_{p\to r}\le d^{\max(0,1/2-1/p)}K^{\max(0,1/r-1/2)}\sigma_1(J)",
    given={"J": _flat_matrices(), "p": ANY, "r": ANY},
    mutants={
        "no inputs": {"inputs": 0.0},
        "no outputs": {"outputs": 0.0},
        "p and r swapped": {"swapped": True},
        "a fiftieth too small": {"factor": 0.98},
    },
    **BELOW,
)
def by_spectrum(
    J: Any, p: str, r: str, inputs: float = 1, outputs: float = 1, swapped: bool = False, factor: float = 1
) -> tuple[Any, Any]:
    """The left side is a lower bound, exact for most exponents; attained by constant matrices for p, 1/r above 1/2."""
    P, R = float(p), float(r)
    K, d = J.shape
    wide, tall = max(0.0, 0.5 - 1 / (R if swapped else P)), max(0.0, 1 / (P if swapped else R) - 0.5)
    grown = reals.power(d, reals.real(inputs * wide)) * reals.power(K, reals.real(outputs * tall))
    return _reached(J, np.ones(d), P, R), factor * grown * reals.spectral(J)


@inequality(
    "L3.3-upper",
    r"\|Jv\|_r\le\overline{\|J\|}_{p\to r}\quad(\|v\|_p\le1)",
    source="theory L3.3; own derivation",
    given=_REACHED,
    mutants={
        "p and r swapped": {"swapped": True},
        "dual exponents": {"dual": True},
        "a fiftieth too small": {"factor": 0.98},
    },
    attained=True,
    recheck=False,
)
def packaged_upper(
    J: Any, start: Any, p: str, r: str, swapped: bool = False, dual: bool = False, factor: float = 1.0
) -> tuple[Any, Any]:
    """The best vector known against the smallest of the package's three upper ends; attained by rank one."""
    _check_squares(J)
    P, R = float(p), float(r)
    exponents = (R, P) if swapped else (reals.dual(P), reals.dual(R)) if dual else (P, R)
    return _reached(J, start, P, R), factor * _operator_norm_upper(_tensor(J), *exponents).item()


@inequality(
    "L3.3-two-sided",
    r"\underline{\|J\|}_{p\to r}\le\|J\|_{p\to r}\le\overline{\|J\|}_{p\to r}\quad(\infty\to2\text{ and }2\to1)",
    source="theory L3.3; own derivation",
    given={"J": matrices((1, 2), 13, 2), "transposed": st.booleans(), "below": st.booleans()},
    mutants={
        "upper and lower swapped": {"crossed": True},
        "a fiftieth too small": {"factor": 0.98},
        "exponents swapped": {"swapped": True},
    },
    attained=True,
    examples=14,
    recheck=False,
)
def two_sided(
    J: Any, transposed: bool, below: bool, crossed: bool = False, factor: float = 1.0, swapped: bool = False
) -> tuple[Any, Any]:
    """Too large for the package to enumerate, but not for us: both its ends; attained by signs and by rank one."""
    _check_squares(J)
    exact = reals.norm(_signs(J.shape[1])[: 2 ** (J.shape[1] - 1)] @ J.T, 2.0, axis=1).max()
    p, r = (2.0, 1.0) if transposed else (math.inf, 2.0)
    found = operator_norm_pr(_tensor(J.T if transposed else J), *((r, p) if swapped else (p, r)))
    lower, upper = found.lower.item(), found.upper.item()
    if crossed:
        lower, upper = upper, lower
    return (lower, factor * exact) if below else (exact, factor * upper)


# --------------------------------------------------------------------------------------- inside one linear piece


@dataclass(frozen=True)
class Piece:
    """A ball inside one linear piece of a chain.

    Attributes:
        chain: piecewise linear.
        x: input, (d,).
        start: of the power method, before it is put on the sphere, (d,).
        norm: "l2", "linf" or "l1".
        r: exponent of the logit norm: "1", "2" or "inf".
        share: of the piece's radius that the ball has; where that is infinite, the radius itself.
    """

    chain: Chain
    x: np.ndarray
    start: np.ndarray
    norm: str
    r: str
    share: float

    @property
    def p(self) -> float:
        """Exponent of the attack norm."""
        return EXPONENTS[self.norm]

    @property
    def exponents(self) -> tuple[float, float]:
        """P and r."""
        return self.p, float(self.r)

    @property
    def v0(self) -> Any:
        """The start on the unit sphere."""
        return _dual_map(self.start, self.p)

    def radius(self, reach: float = 1.0) -> tuple[Any, float]:
        """J(x), not 0, and eps, strictly inside the piece; `reach` times as large for a mutant."""
        assume(0.01 <= self.share <= 0.95)
        state = self.chain.network.at(self.x)
        assume(reals.norm(state.jacobian, 2) > AWAY and all(abs(h) >= AWAY for h, _ in state.kinks))
        q = reals.dual(self.p)
        distances = [abs(h) / reals.norm(slope, q) for h, slope in state.kinks if (slope != 0).any()]
        eps = self.share * float(min(distances, default=1.0))
        assume(eps < 1e3)
        return state.jacobian, reach * eps

    def rounding(self, eps: float) -> float:
        """What float64 may lose in f(x + delta) - f(x): a few rounding errors of the largest sums on the way."""
        size = float(np.linalg.norm(self.x) + eps)
        for weight, offset in zip(self.chain.weights, self.chain.offsets, strict=True):
            size = float(np.linalg.norm(weight)) * size + float(np.linalg.norm(offset))
        return 2.0**-46 * (1 + size)

    def moved(self, deltas: Any) -> Any:
        """f(x + delta) - f(x) of several perturbations, (m, K)."""
        points = reals.real(self.x) + np.concatenate([0 * deltas[:1], deltas])
        z = logits(self.chain, points)
        return z[1:] - z[:1]


@st.composite
def _pieces(
    draw: DrawFn,
    norms: tuple[str, ...] = ("l2", "linf", "l1"),
    exponents: tuple[str, ...] = ("2", "1", "inf"),
    idle: bool = False,
) -> Piece:
    """Chains with inputs at some distance from every kink, in a piece with J != 0 wherever possible.

    Half of them are generic and have several layers, units and inputs: beyond the piece their Jacobian turns. If
    `idle`, the last input of many has no effect.
    """
    if draw(st.booleans()):
        chain = draw(chains(PIECEWISE_LINEAR, (1, 3), (1, 3), (1, 3), (2, 3)))
        x, start = (draw(vectors(chain.weights[0].shape[1], 1.0)) for _ in range(2))
    else:
        rng = np.random.default_rng(draw(st.integers(0, 999)))
        widths = [draw(st.integers(2, 3)) for _ in range(draw(st.integers(3, 4)))]
        weights = tuple(rng.normal(size=(rows, columns)).round(2) for columns, rows in itertools.pairwise(widths))
        if idle and draw(st.booleans()):
            weights[0][:, -1] = 0.0
        offsets = tuple(rng.normal(size=rows).round(2) for rows in widths[1:])
        chain = Chain(weights, offsets, draw(st.sampled_from(PIECEWISE_LINEAR)))
        x, start = (rng.normal(size=widths[0]).round(2) for _ in range(2))
    if chain.depth > 1:
        # Unit 0 of every hidden layer is active, and the others are moved off their kinks.
        off_kinks, z = [], x
        for weight, offset in zip(chain.weights[:-1], chain.offsets[:-1], strict=True):
            h = weight @ z + offset
            target = np.where(np.abs(h) < 0.25, 0.5, h)
            target[0] = abs(target[0])
            off_kinks.append(offset + (target - h))
            z = np.maximum(target, 0.0) if chain.activation == "relu" else np.where(target > 0, target, target / 4)
        chain = Chain(chain.weights, (*off_kinks, chain.offsets[-1]), chain.activation)
    share = draw(st.sampled_from([0.5, 0.9, 0.05]))
    return Piece(chain, x, start, draw(st.sampled_from(norms)), draw(st.sampled_from(exponents)), share)


def _project(point: Any, norm: str, eps: Any) -> Any:
    """Euclidean projection onto a ball: scaling, clipping, or soft thresholding after sorting."""
    if norm == "linf":
        return np.clip(point, -eps, eps)
    if reals.norm(point, EXPONENTS[norm]) <= eps:
        return point
    if norm == "l2":
        return eps * point / reals.norm(point, 2)
    sizes = np.sort(np.abs(point))[::-1]
    excess = np.cumsum(sizes) - eps
    count = max(k for k in range(1, len(sizes) + 1) if sizes[k - 1] > excess[k - 1] / k)
    return np.sign(point) * np.maximum(np.abs(point) - excess[count - 1] / count, 0.0)


LONG = {"l2": 1e14, "linf": 1e7, "l1": 1e7}
"""Length of a step, in units of eps, that is as good as infinite: only l2 never arrives."""
SHORT_OF = {"l2": 1e-13, "linf": 2.0**-50, "l1": 1e-8}
"""What such a step leaves to the limit or to rounding, in units of eps."""


def _ascended(delta: Any, gradient: Any, norm: str, eps: float) -> Any:
    return _project(delta + LONG[norm] * eps * gradient / np.abs(gradient).max(), norm, eps)


# --------------------------------------------------------------------------------------- L3.4: ascent = power method


@inequality(
    "L3.4-limit",
    r"\lim_{t\to\infty}\Pi_{\{\|z\|_p\le\varepsilon\}}(\delta+t\,g)=\text{the package's infinite step},"
    r"\quad\text{compared along any }w",
    source="theory L3.4; own derivation",
    given={
        "delta": vectors(3, 1.0),
        "gradient": vectors(3, 4.0),
        "w": vectors(3),
        "norm": st.sampled_from(["l2", "linf", "l1"]),
        "eps": positive(2.0),
    },
    mutants={
        "a vertex even where there are several": {"vertex": True},
        "the dual exponent swapped": {"swapped": True},
        "no projection, only a direction": {"direction": True},
        "a finite step": {"finite": True},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def infinite_steps(
    delta: Any,
    gradient: Any,
    w: Any,
    norm: str,
    eps: float,
    vertex: bool = False,
    swapped: bool = False,
    direction: bool = False,
    finite: bool = False,
) -> tuple[Any, Any, Any]:
    """A projection from far out against the package's limit, ties and vanishing coordinates included.

    The left side comes as close to the limit as float64 lets it; coordinates that nearly tie are left out.
    """
    size = np.append(np.abs(gradient), 0.0)
    largest = size.max()
    gaps = [abs(a - b) for a, b in itertools.combinations(size, 2)]
    assume(1e-3 < eps < 1e3 and largest > 1e-3 and all(gap == 0 or gap > 1e-3 * largest for gap in gaps))
    delta = _project(delta, norm, eps)
    p = EXPONENTS[norm]
    if finite:
        claimed = _project(delta + gradient, norm, eps)
    elif direction:
        claimed = eps * gradient / reals.norm(gradient, 2)
    elif vertex or swapped:
        claimed = eps * _dual_map(gradient, reals.dual(p) if swapped else p)
    else:
        claimed = _array(infinite_step(_tensor(delta), _tensor(gradient), AttackSet(norm, eps)))
    allowance = (SHORT_OF[norm] + 2.0**-45) * eps * float(np.abs(w).sum())
    return float(_ascended(delta, gradient, norm, eps) @ w), float(claimed @ w), allowance


@inequality(
    "L3.4-iterates",
    r"\delta_k=\varepsilon v_k,\quad\delta_{k+1}=\lim_{t\to\infty}\Pi(\delta_k+t\nabla\|f(x+\delta)-f(x)\|_r),"
    r"\quad\delta_0=\varepsilon v_0,\ \varepsilon<r(x),\quad\text{compared along any }w",
    source=EQUIVALENCE,
    given={"case": _pieces(), "w": vectors(3), "k": st.integers(1, 3)},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "without the projection onto the ball": {"ball": "l2"},
        "the wrong exponent of the logits": {"functional": float},
        "a fiftieth shorter": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    examples=100,
    recheck=False,
)
def ascent(
    case: Piece, w: Any, k: int, reach: float = 1.0, ball: str = "", functional: Any = reals.dual, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The network's own gradients and projections from far out, against the package's power method on J(x).

    Ties and vanishing coordinates are left out. What rounding does to an iterate is followed from step to step: where
    the next one is a vertex, it is forgotten; on the Euclidean ball it may grow.
    """
    J, eps = case.radius(reach)
    p, r = case.exponents
    v, delta, error = case.v0, eps * case.v0, 0.0
    for _ in range(k):
        image, u, after = J @ v, *_move(J, v, p, reals.dual(r))
        pulled = J.T @ u
        assume(_is_clear(image, reals.dual(r)) and _is_clear(pulled, p))
        largest = float(np.linalg.norm(J))
        assume(np.linalg.norm(image) > CLEAR * largest)
        lost = 2 * (largest * error + case.rounding(eps) / eps) / np.linalg.norm(image)
        lost = 2 * largest * lost / np.linalg.norm(pulled)
        assume(lost < CLEAR / 10)
        error = float(lost) + SHORT_OF[case.norm] + 2.0**-46 if p == 2 else SHORT_OF[case.norm]
        v = after
        moved = case.moved(delta[None])[0]
        gradient = case.chain.network.jacobian(case.x + delta).T @ _dual_map(moved, reals.dual(r))
        assume((gradient != 0).any())
        delta = _ascended(delta, gradient, case.norm, eps)
    assume(error < 1e-6)
    if ball or functional is not reals.dual:
        exponent = reals.dual(r) if functional is not reals.dual else r
        iterated = power_iterates(_tensor(J), EXPONENTS[ball] if ball else p, exponent, _tensor(case.v0))
    else:
        iterated = power_iterates(_tensor(J), p, r, _tensor(case.v0))
    claimed = factor * eps * _array(next(itertools.islice(iterated, k, None)))
    along = np.resize(w, len(case.x))
    return float(delta @ along), float(claimed @ along), (error + 2.0**-44) * eps * float(np.abs(along).sum())


@inequality(
    "L3.4-compared",
    r"\max_{k\le3}\|\delta_k-\varepsilon v_k\|_p/\varepsilon\le10^{-6}"
    r"\quad(\varepsilon<r(x),\text{ unique maximisers})",
    source=EQUIVALENCE,
    given={"case": _pieces(idle=True)},
    mutants={"beyond the piece": {"reach": BEYOND}, "at ties too": {"ties": True}},
    examples=40,
    recheck=False,
)
def compared_iterates(case: Piece, reach: float = 1.0, ties: bool = False) -> tuple[Any, Any]:
    """The package's own comparison, network against Jacobian, from its random start.

    Loose by construction: the left side is 0 but for rounding, the right side what the package calls equal.
    """
    _, eps = case.radius(reach)
    found = compare_iterates(
        case.chain.network.torch(), traced(case.chain), _tensor(case.x), case.norm, eps, float(case.r), steps=3
    )
    assume(ties or found.unique.item())
    return found.distance.item() if reach > 1 or ties or found.inside.item() else 2.0, RESOLUTION


@inequality(
    "L3.4-reaches",
    r"\sigma_1\cos\theta_k\le\|Jv_k\|_2,\quad\tan\theta_k=(\sigma_2/\sigma_1)^{2k}\tan\theta_0,"
    r"\ \theta_0=\angle(v_0,\text{top right singular vector})",
    source="own derivation",
    given={"J": matrices((1, 3), 3, 2), "start": vectors(3), "k": st.integers(1, 4)},
    mutants={
        "at twice the rate": {"rate": 4},
        "from every start": {"angle": 0.0},
        "a fiftieth too large": {"factor": 0.98},
    },
    attained=True,
    recheck=False,
)
def reaches(J: Any, start: Any, k: int, rate: int = 2, angle: float = 1.0, factor: float = 1.0) -> tuple[Any, Any]:
    """Why p = r = 2 reaches the maximum almost surely; attained by starts along the top singular vector."""
    assume((start != 0).any())
    _, sizes, right = np.linalg.svd(J)
    second = sizes[1] if len(sizes) > 1 else 0.0
    v0 = start / np.linalg.norm(start)
    cosine = abs(float(right[0] @ v0))
    assume(sizes[0] > 0 and second < 0.99 * sizes[0] and cosine > 1e-3)
    tangent = angle * (second / sizes[0]) ** (rate * k) * math.sqrt(max(0.0, 1 - cosine**2)) / cosine
    v = _array(next(itertools.islice(power_iterates(_tensor(J), 2.0, 2.0, _tensor(v0)), k, None)))
    return float(sizes[0]) / math.sqrt(1 + tangent**2), factor * reals.norm(J @ v, 2)


# ------------------------------------------------------------------------------------------------- L3.5: objectives


@inequality(
    "L3.5-value",
    r"\max_{\|\delta\|_p\le\varepsilon}\|f(x)-f(x+\delta)\|_r=\varepsilon\|J(x)\|_{p\to r}\quad(\varepsilon<r(x))",
    source=OBJECTIVES,
    given={"case": _pieces()},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "p and r swapped": {"swapped": True},
        "the spectral norm": {"spectral": True},
        "a radius squared": {"power": 2},
        "a fiftieth less": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    examples=100,
    recheck=False,
)
def largest_distance(
    case: Piece, reach: float = 1.0, swapped: bool = False, spectral: bool = False, power: int = 1, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The network at every vertex that may be farthest against the package's operator norm.

    A convex function is largest at a vertex of the ball; for the Euclidean ball the vertices are those of the dual
    ball of the logits, or singular vectors. The loss and lambda are the same on both sides and left out.
    """
    J, eps = case.radius(reach)
    p, r = case.exponents
    distance = reals.norm(case.moved(eps * _vertices(J, p, r)), r, axis=1).max()
    exponents = (2.0, 2.0) if spectral else (r, p) if swapped else (p, r)
    return distance, factor * eps**power * _packaged(J, *exponents), 4 * case.rounding(eps)


@inequality(
    "L3.5-bound",
    r"\|f(x)-f(x+\delta)\|_r\le\varepsilon\|J(x)\|_{p\to r}\quad(\|\delta\|_p\le\varepsilon<r(x))",
    source=OBJECTIVES,
    given={"case": _pieces()},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "the dual exponent of the logits": {"exponent": reals.dual},
        "a fiftieth less": {"factor": 0.98},
    },
    attained=True,
    examples=100,
)
def any_distance(case: Piece, reach: float = 1.0, exponent: Any = float, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """A perturbation of the instance's own, on the sphere; attained in one dimension and along maximisers."""
    J, eps = case.radius(reach)
    p, r = case.exponents
    moved = case.moved(eps * case.v0[None])[0]
    return reals.norm(moved, r), factor * eps * _norm(J, p, exponent(r)), 4 * case.rounding(eps)


@inequality(
    "L3.5-compared",
    r"\max_\delta[\ell+\lambda\|f(x)-f(x+\delta)\|_r]-\ell=\lambda\varepsilon\|J(x)\|_{p\to r}"
    r"\quad(\text{the maximum as the package finds it})",
    source=OBJECTIVES,
    given={"case": _pieces(), "y": labels(2), "strength": positive(4.0)},
    mutants={"beyond the piece": {"reach": BEYOND}, "lambda twice": {"power": 2}, "a fiftieth less": {"factor": 0.98}},
    relation="==",
    attained=True,
    examples=30,
    recheck=False,
)
def compared_objectives(
    case: Piece, y: int, strength: float, reach: float = 1.0, power: int = 1, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The package's ascent on the network against the operator norm by enumeration, with the loss taken off."""
    J, eps = case.radius(reach)
    p, r = case.exponents
    assume(1e-3 < strength < 1e3)
    z = case.chain.network.logits(case.x)
    loss = reals.cross_entropy(z, y)
    found = _compared(case, eps, y, strength)
    allowance = 8 * (1 + strength) * case.rounding(eps) + 2.0**-46 * float(loss)
    return found.perturbed.item() - loss, factor * strength**power * eps * _norm(J, p, r), allowance


def _compared(case: Piece, eps: float, y: int, strength: float) -> Any:
    return compare_objectives(
        case.chain.network.torch(),
        traced(case.chain),
        _tensor(case.x),
        torch.tensor([y]),
        case.norm,
        eps,
        float(case.r),
        strength,
        steps=3,
    )


@inequality(
    "L3.5-same-gradients",
    r"\|\nabla_\theta\max_\delta[\ell+\lambda\|f(x)-f(x+\delta)\|_r]"
    r"-\nabla_\theta[\ell+\lambda\varepsilon\|J\|_{p\to r}]\|_2"
    r"\le10^{-6}\,\|\nabla_\theta[\ell+\lambda\varepsilon\|J\|_{p\to r}]\|_2",
    source=OBJECTIVES,
    given={"case": _pieces(), "y": labels(2)},
    mutants={"beyond the piece": {"reach": BEYOND}, "five times beyond the piece": {"reach": 5.0}},
    examples=40,
    recheck=False,
)
def same_gradients(case: Piece, y: int, reach: float = 1.0) -> tuple[Any, Any]:
    """The package's own comparison of the gradients, where its two maximisers are one and differentiable.

    A logit that does not move (r = 1), or two that move alike (r = inf), are a kink of the norm: left out. Loose by
    construction: the left side is 0 but for rounding.
    """
    J, eps = case.radius(reach)
    p, r = case.exponents
    assume(_is_clear(J @ _array(maximiser(_tensor(J), p, r)), reals.dual(r)))
    found = _compared(case, eps, y, 1.0)
    assume(reach > 1 or (found.inside.item() and found.same_direction.item() > 1 - 1e-12))
    return found.gradient_difference.item(), RESOLUTION


@dataclass(frozen=True)
class Trained:
    """A ball inside a linear piece, and a direction in which the parameters move.

    Attributes:
        case: the ball.
        weights: of the direction, one array per layer.
        offsets: of the direction, one array per layer.
    """

    case: Piece
    weights: tuple[np.ndarray, ...]
    offsets: tuple[np.ndarray, ...]

    def at(self, t: Any, first: int = 0) -> Chain:
        """The chain after a step t along the direction, the layers before `first` kept as they are."""
        chain = self.case.chain

        def moved(values: Any, directions: Any) -> Any:
            pairs = enumerate(zip(values, directions, strict=True))
            return tuple(
                reals.real(value) + (t if layer >= first else 0 * t) * reals.real(direction)
                for layer, (value, direction) in pairs
            )

        return Chain(moved(chain.weights, self.weights), moved(chain.offsets, self.offsets), chain.activation)

    def slope(self, value: Any, only_last: bool = False) -> float:
        """Derivative along the direction of a function of J, by a central difference in 35 digits."""
        with reals.precise():
            t, first = reals.real(NUDGE), len(self.weights) - 1 if only_last else 0
            ends = [value(self.at(sign * t, first).network.jacobian(self.case.x)) for sign in (1, -1)]
            return float((ends[0] - ends[1]) / (2 * t))

    def derivative(self, model: torch.nn.Module, value: torch.Tensor) -> float:
        """The same of a torch value, by its gradients in the parameters."""
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
        directions = [part for pair in zip(self.weights, self.offsets, strict=True) for part in pair]
        return sum(float((g.numpy() * d).sum()) for g, d in zip(gradients, directions, strict=True))

    def size(self, eps: float) -> float:
        """How large the sums are that a derivative along the direction consists of, from above."""

        def norms_of(weights: Any, offsets: Any) -> list[float]:
            pairs = zip(weights, offsets, strict=True)
            return [float(np.linalg.norm(weight)) + float(np.linalg.norm(offset)) for weight, offset in pairs]

        norms = [1 + size for size in norms_of(self.case.chain.weights, self.case.chain.offsets)]
        moves = norms_of(self.weights, self.offsets)
        product = math.prod(norms) * (1 + float(np.linalg.norm(self.case.x)) + eps)
        return product * sum(move / norm for move, norm in zip(moves, norms, strict=True))


@st.composite
def _trained(
    draw: DrawFn, norms: tuple[str, ...] = ("l2", "linf", "l1"), exponents: tuple[str, ...] = ("2", "1", "inf")
) -> Trained:
    case = draw(_pieces(norms, exponents))
    chain = case.chain
    weights = tuple(draw(matrices(*weight.shape)) for weight in chain.weights)
    return Trained(case, weights, tuple(draw(vectors(len(offset), 1.0)) for offset in chain.offsets))


def _is_unique(J: Any, p: float, r: float) -> bool:
    """Whether the maximiser of ‖Jv‖_r is unique up to its sign, by far."""
    if p == r == 2:
        sizes = reals.singular_values(J)
        return len(sizes) == 1 or bool(sizes[1] < 0.9 * sizes[0])
    vertices = _vertices(J, p, r)
    values = reals.norm(vertices @ J.T, r, axis=1)
    top = vertices[int(np.argmax(values))]
    same = np.minimum(np.abs(vertices - top).max(axis=1), np.abs(vertices + top).max(axis=1)) < CLEAR
    return bool((values[~same] < (1 - CLEAR) * values.max()).all())


@inequality(
    "L3.5-gradients",
    r"\nabla_\theta\|f_\theta(x)-f_\theta(x+\delta)\|_r=\varepsilon\nabla_\theta\|J_\theta(x)\|_{p\to r}"
    r"\quad(\delta\text{ the maximiser, frozen; }\varepsilon<r(x)),\quad\text{compared along any }\dot\theta",
    source=OBJECTIVES,
    given={"trained": _trained()},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "the last layer only": {"only_last": True},
        "the dual exponent of the logits": {"exponent": reals.dual},
        "a fiftieth less": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    examples=80,
    recheck=False,
)
def gradients(
    trained: Trained, reach: float = 1.0, only_last: bool = False, exponent: Any = float, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """Automatic differentiation at the package's maximiser, frozen, against differences with maximisers found anew.

    The differences enumerate vertices or take all singular values in 35 digits. Maximisers that nearly tie are left
    out: there the right side has a kink.
    """
    case = trained.case
    J, eps = case.radius(reach)
    p, r = case.exponents
    assume(_is_unique(J, p, r))
    delta = eps * maximiser(_tensor(J), p, r)
    image = J @ (_array(delta) / eps)
    assume(_is_clear(image, reals.dual(r)))
    model, x = case.chain.network.torch(), _tensor(case.x)
    moved = model(x + delta) - model(x)
    left = trained.derivative(model, vector_norms(moved, r, 1).sum())
    lost = 2 * case.rounding(eps) / (eps * float(np.linalg.norm(image))) + 2.0**-42
    assume(lost < 1e-7)
    right = trained.slope(lambda jacobian: _norm(jacobian, p, exponent(r)), only_last)
    return left, factor * eps * right, lost * trained.size(eps)


@inequality(
    "L3.5-quadratic",
    r"\tfrac12\|f(x+\varepsilon v)-f(x)\|_2^2=\tfrac{\varepsilon^2}2\sigma_1(J)^2"
    r"\quad(v\text{ the top right singular vector},\ \varepsilon<r(x))",
    source="Roth, Kilcher & Hofmann, as restated in theory §3",
    given={"case": _pieces(("l2",), ("2",))},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "the radius once": {"power": 1},
        "all singular values": {"all_of_them": True},
        "a fiftieth less": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    examples=100,
    recheck=False,
)
def quadratic(
    case: Piece, reach: float = 1.0, power: int = 2, all_of_them: bool = False, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The network along the package's vector against all singular values of its Jacobian."""
    J, eps = case.radius(reach)
    v = _array(maximiser(_tensor(J), 2.0, 2.0))
    distance = reals.norm(case.moved(eps * v[None]), 2)
    size = reals.norm(J, 2) if all_of_them else reals.spectral(J)
    return distance**2 / 2, factor * eps**power * size**2 / 2, 4 * case.rounding(eps) * (distance + case.rounding(eps))


@inequality(
    "L3.5-penalty",
    r"\mathrm{DataSpectralDistance}=\tfrac12\|f(x+\varepsilon v)-f(x)\|_2^2\le\tfrac{\varepsilon^2}2\sigma_1(J)^2"
    r"\quad(v\text{ after 5 power steps},\ \varepsilon<r(x))",
    source="Roth, Kilcher & Hofmann, as restated in theory §3",
    given={"case": _pieces(("l2",), ("2",))},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "the radius once more": {"power": 3},
        "a fiftieth less": {"factor": 0.98},
    },
    attained=True,
    examples=60,
    recheck=False,
)
def penalty(case: Piece, reach: float = 1.0, power: int = 2, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """The package's penalty from a random start against all singular values; attained where they lie apart."""
    J, eps = case.radius(reach)
    generator = torch.Generator().manual_seed(0)
    model, x = case.chain.network.torch(), _tensor(case.x)
    found = DataSpectralDistance(eps, 5)(model, x, torch.tensor([0]), generator).item()
    size = math.sqrt(2 * found)
    return found, factor * eps**power * reals.spectral(J) ** 2 / 2, 4 * case.rounding(eps) * (size + case.rounding(eps))


@inequality(
    "L3.5-frozen",
    r"\nabla_\theta(u^\top J_\theta v)^2=\nabla_\theta\sigma_1(J_\theta)^2"
    r"\quad(u,v\text{ the top singular vectors, frozen}),\quad\text{compared along any }\dot\theta",
    source="Danskin's theorem; theory §3",
    given={"trained": _trained(("l2",), ("2",))},
    mutants={
        "the gradient of the norm": {"power": 1},
        "all singular values": {"all_of_them": True},
        "the last layer only": {"only_last": True},
        "a fiftieth less": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    examples=80,
    recheck=False,
)
def frozen(
    trained: Trained, power: int = 2, all_of_them: bool = False, only_last: bool = False, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The package's penalised quantity, differentiated automatically, against differences in 35 digits."""
    case = trained.case
    J, eps = case.radius()
    assume(_is_unique(J, 2.0, 2.0))
    left, sizes, right = np.linalg.svd(J)
    model = case.chain.network.torch()
    stretched = stretch(model, _tensor(case.x), _tensor(left[:, 0]), _tensor(right[0])).square().sum()

    def size(jacobian: Any) -> Any:
        return (reals.norm(jacobian, 2) if all_of_them else reals.spectral(jacobian)) ** power

    allowance = 2.0**-42 * trained.size(eps) * (1 + float(sizes[0]))
    return trained.derivative(model, stretched), factor * trained.slope(size, only_last), allowance
