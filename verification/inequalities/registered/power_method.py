r"""Operator norms of a matrix: the dual map, the power method, and their exact forms and bounds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds.measure.pr_norm import _operator_norm_upper, dual_vector, operator_norm_pr, power_iterates, power_method
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import matrices, positive, vectors
from verification.inequalities.strategies.maximisers import (
    all_signs,
    batch_of_one,
    dual_map,
    enumerated_norm,
    first_of,
    is_clear,
    move,
)

METHOD = "power method of Boyd 1974 and Higham 1992"

# Exponents are strings, so that the search does not move them.
ANY = st.sampled_from(["2", "1", "inf", "1.5", "3"])
STRICTLY_CONVEX = st.sampled_from(["2", "1.5", "3"])

SMALLEST = 1e-290
"""Of a matrix's largest entry: below, float64 loses digits."""


def _check_normal(J: Any) -> None:
    """Leaves out matrices of numbers that float64 holds with fewer digits."""
    largest = np.abs(J).max()
    assume(largest == 0 or largest > SMALLEST)


@inequality(
    "L3.1-attains",
    r"v\cdot z=\|z\|_q,\quad v=\text{the dual map of }z,\ 1/p+1/q=1",
    source="Hölder's inequality",
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
    v = first_of(dual_vector(batch_of_one(z), float(p)))
    return float(v @ z), factor * reals.norm(z, exponent(float(p))), 2.0**-44 * float(np.abs(z).sum())


@inequality(
    "L3.1-sphere",
    r"\|v\|_p=1,\quad v=\text{the dual map of }z",
    source="standard: equality in Hölder's inequality",
    given={"z": vectors((1, 4)), "scale": st.integers(-100, 100), "p": ANY},
    mutants={"the dual sphere": {"exponent": reals.dual}, "the Euclidean sphere": {"exponent": lambda p: 2.0}},
    relation="==",
    attained=True,
    recheck=False,
)
def dual_map_on_the_sphere(z: Any, scale: int, p: str, exponent: Any = float) -> tuple[Any, Any]:
    """The package's dual map, for every scale of z, z = 0 included."""
    v = first_of(dual_vector(batch_of_one(z * 10.0**scale), float(p)))
    return reals.norm(v, exponent(float(p))), 1.0


@inequality(
    "L3.1-formula",
    r"v=\mathrm{sign}(z)|z|^{q-1}/\|z\|_q^{q-1}\quad(1<p<\infty),\quad\text{compared along any }w",
    source="standard: equality in Hölder's inequality",
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
    v, q = first_of(dual_vector(batch_of_one(z), float(p))), exponent(float(p))
    formula = np.sign(z) * reals.power(np.abs(z) / reals.norm(z, q), q - shift)
    return float(v @ w), float(formula @ w), 2.0**-44 * float(np.abs(w).sum())


_STARTED = {"J": matrices((1, 3), 3, 4), "start": vectors(3), "p": ANY, "r": ANY}


@inequality(
    "L3.2-monotone",
    r"\|Jv_k\|_r\le\|Jv_{k+1}\|_r",
    source=METHOD,
    given={**_STARTED, "k": st.integers(0, 3)},
    mutants={
        "increases by a fiftieth": {"factor": 0.98},
        "for the dual ball": {"ball": reals.dual},
        "in the dual norm of the logits": {"exponent": reals.dual},
    },
    attained=True,
    recheck=False,
)
def monotone(
    J: Any, start: Any, p: str, r: str, k: int, factor: float = 1.0, ball: Any = float, exponent: Any = float
) -> tuple[Any, Any]:
    """The package's iterates; attained at stationary vectors. A mutant's iterates are scaled back to the sphere."""
    P, R = float(p), float(r)
    v0 = dual_vector(batch_of_one(start), ball(P))
    v, after = (first_of(v) for v in itertools.islice(power_iterates(batch_of_one(J), ball(P), R, v0), k, k + 2))
    values = [reals.norm(J @ z, exponent(R)) / reals.norm(z, P) for z in (v, after)]
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
    """The package's iterates against the formula, step by step; ties and vanishing coordinates are left out."""
    P, R = float(p), float(r)
    v, error = dual_map(start, P), 0.0
    batch = power_iterates(batch_of_one(J), P, R, batch_of_one(v))
    for _ in range(k):
        w_k, u, after = J @ v, *move(J, v, P, reals.dual(R))
        assume(is_clear(w_k, reals.dual(R)) and is_clear(w_k, math.inf))
        assume(is_clear(J.T @ u, P) and is_clear(J.T @ u, math.inf))
        # Relative rounding of Jv and J^T u, entry by entry, on top of the error so far; powers of at most 2.
        cancelled = max((np.abs(J) @ np.abs(v)) / np.abs(w_k)) * max((np.abs(J.T) @ np.abs(u)) / np.abs(J.T @ u))
        error = 16 * cancelled * (error + 2.0**-50)
        v = after
    assume(error < 1e-6)
    found = first_of(next(itertools.islice(batch, k, None)))
    v = dual_map(start, P)
    for _ in range(k + late):
        v = move(J, v, ball(P), functional(R))[1]
    return float(found @ w), float(v @ w), error * float(np.abs(w).sum())


def _enumerable(p: str, r: str) -> bool:
    return "1" in (p, r) or "inf" in (p, r) or p == r == "2"


@inequality(
    "L3.2-lower",
    r"\max_{k\le5}\|Jv_k\|_r\le\|J\|_{p\to r}\quad "
    r"(\text{the value, and }\|Jv\|_r/\|v\|_p\text{ of the vector }v\text{ returned with it})",
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
    """The package's power method against the operator norm by enumeration; attained by most matrices.

    The left side is the larger of the value returned and what its vector, scaled to the sphere, attains.
    """
    assume(_enumerable(p, r))
    _check_normal(J)
    P, R = float(p), float(r)
    value, vector = power_method(batch_of_one(J), P, R, steps=5)
    v = first_of(vector)
    reached = max(value.item(), reals.norm(J @ v, R) / reals.norm(v, P))
    return reached, factor * (
        reals.spectral(J) if spectral else enumerated_norm(J, R, P) if swapped else enumerated_norm(J, P, R)
    )


_J = matrices((1, 4), (1, 4), 100)


def _packaged(J: Any, p: float, r: float) -> float:
    """The package's upper end, which it calls exact: lower and upper end are the same number."""
    _check_normal(J)
    found = operator_norm_pr(batch_of_one(J), p, r)
    return found.upper.item()


EXACT: dict[str, Any] = {
    "source": "standard: vertices and Hölder's inequality",
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
    mutants={
        "the Frobenius norm": {"instead": "frobenius"},
        "by Schur's test": {"instead": "schur"},
        "a fiftieth less": {"factor": 0.98},
    },
    **EXACT,
)
def largest_singular_value(J: Any, instead: str = "", factor: float = 1.0) -> tuple[Any, Any]:
    """The package's value, from the Gram matrix, against all singular values."""
    size = reals.norm(J, 2) if instead == "frobenius" else reals.spectral(J)
    if instead == "schur":
        size = math.sqrt(reals.norm(J, 1, axis=0).max()) * math.sqrt(reals.norm(J, 1, axis=1).max())
    return _packaged(J, 2.0, 2.0), factor * size


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
    signs = all_signs(len(J))[:1] if equal else all_signs(len(J))
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
    corners = all_signs(J.shape[1])[:1] if equal else all_signs(J.shape[1])
    return _packaged(J, math.inf, float(r)), reals.norm(corners @ J.T, exponent(float(r)), axis=1).max()


BELOW: dict[str, Any] = {"source": "standard: vertices and Hölder's inequality", "attained": True}


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


def _reached(J: Any, start: Any, p: float, r: float) -> Any:
    """A lower bound of ‖J‖_{p→r}: vertices, the instance's own direction, and a step of the power method from it."""
    v = dual_map(start, p)
    found = [enumerated_norm(J, p, r), reals.norm(J @ v, r), reals.norm(J @ move(J, v, p, reals.dual(r))[1], r)]
    return max(found)


@inequality(
    "L3.3-by-rows",
    r"\|J\|_{p\to r}\le\big\|(\|J_k\|_q)_k\big\|_r",
    given=_STARTED,
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
    given=_STARTED,
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
    """The left side is a lower bound, exact for most exponents; attained by constant matrices for p >= 2 >= r."""
    P, R = float(p), float(r)
    K, d = J.shape
    wide, tall = max(0.0, 0.5 - 1 / (R if swapped else P)), max(0.0, 1 / (P if swapped else R) - 0.5)
    grown = reals.power(d, reals.real(inputs * wide)) * reals.power(K, reals.real(outputs * tall))
    return _reached(J, np.ones(d), P, R), factor * grown * reals.spectral(J)


@inequality(
    "L3.3-upper",
    r"\|Jv\|_r\le\overline{\|J\|}_{p\to r}\quad(\|v\|_p\le1)",
    source="own derivation",
    given=_STARTED,
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
    P, R = float(p), float(r)
    exponents = (R, P) if swapped else (reals.dual(P), reals.dual(R)) if dual else (P, R)
    return _reached(J, start, P, R), factor * _operator_norm_upper(batch_of_one(J), *exponents).item()


@inequality(
    "L3.3-two-sided",
    r"\underline{\|J\|}_{p\to r}\le\|J\|_{p\to r}\le\overline{\|J\|}_{p\to r}\quad(\infty\to2\text{ and }2\to1)",
    source="own derivation",
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
    exact = reals.norm(all_signs(J.shape[1])[: 2 ** (J.shape[1] - 1)] @ J.T, 2.0, axis=1).max()
    p, r = (2.0, 1.0) if transposed else (math.inf, 2.0)
    found = operator_norm_pr(batch_of_one(J.T if transposed else J), *((r, p) if swapped else (p, r)))
    lower, upper = found.lower.item(), found.upper.item()
    if crossed:
        lower, upper = upper, lower
    return (lower, factor * exact) if below else (exact, factor * upper)
