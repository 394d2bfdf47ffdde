"""Real numbers in two precisions: the same formula runs in float64 and, inside `with precise():`, in 35 digits.

An inequality is written once, with the functions below and with + - * / @ of numpy arrays. In float64 they are numpy;
in the precise mode numbers are mpmath's, arrays hold them as objects, and every function works entry by entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import sympy as sp
from scipy import special

from bounds.calculus.arithmetic import Points, point
from bounds.calculus.evaluator import Evaluator, Part
from verification.inequalities.leaves import mapped

_precise: ContextVar[bool] = ContextVar("precise", default=False)


@contextmanager
def precise() -> Iterator[None]:
    """Inside, the functions of this module compute in 120 bits.

    >>> with precise():
    ...     print(float(sqrt(2) ** 2 - 2) == 0.0, abs(sqrt(2) ** 2 - 2) < 1e-30)
    False True
    """
    token = _precise.set(True)
    try:
        yield
    finally:
        _precise.reset(token)


def is_precise() -> bool:
    """Whether the precise mode is on."""
    return _precise.get()


def lifted(value: Any) -> Any:
    """The same instance with every float turned into the precise number that it stands for, exactly."""
    return mapped(value, lambda leaf: _to_mpf(leaf) if isinstance(leaf, np.ndarray) else point.mpf(float(leaf)))


def real(x: Any) -> Any:
    """A number or array of the current precision; sympy constants are evaluated.

    >>> real([1, 2]).dtype
    dtype('float64')
    """
    if isinstance(x, sp.Expr):
        return evaluate(x, {})
    if is_precise():
        return _to_mpf(np.asarray(x)) if np.ndim(x) else point.mpf(x)
    return np.asarray(x, dtype=np.float64) if np.ndim(x) else float(x)


def _to_mpf(x: np.ndarray) -> np.ndarray:
    converted = np.empty(x.shape, dtype=object)
    for at in np.ndindex(x.shape):
        converted[at] = point.mpf(x[at].item() if isinstance(x[at], np.generic) else x[at])
    return converted


def _each(in_float: Callable[[Any], Any], in_mpmath: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of numbers or arrays, entry by entry, in either precision."""
    entrywise = np.frompyfunc(in_mpmath, 1, 1)

    def function(x: Any) -> Any:
        if is_precise():
            return entrywise(real(x))
        value = in_float(real(x))
        return value if np.ndim(value) else float(value)

    return function


exp = _each(np.exp, point.exp)
log = _each(np.log, point.log)
log1p = _each(np.log1p, point.log1p)
sqrt = _each(np.sqrt, point.sqrt)
tanh = _each(np.tanh, point.tanh)
cosh = _each(np.cosh, point.cosh)
erf = _each(special.erf, point.erf)


def power(x: Any, exponent: Any) -> Any:
    """x**exponent for x >= 0, entry by entry.

    >>> power(4, 0.5)
    2.0
    """
    if is_precise():
        return np.frompyfunc(lambda t: t ** point.mpf(exponent), 1, 1)(real(x))
    return real(x) ** float(exponent)


def norm(v: Any, p: float, axis: int | None = None) -> Any:
    """‖v‖_p of a vector (axis None: of all entries), p in [1, ∞]; along one axis of an array.

    >>> norm([3, -4], 2), norm([3, -4], float("inf")), norm([[3, -4], [0, 1]], 1, axis=1)
    (5.0, 4.0, array([7., 1.]))
    """
    if np.ndim(v) == 0:
        return abs(real(v))
    size = np.abs(real(v))
    if size.size == 0:
        return real(0)
    if p == math.inf:
        value = size.max(axis=axis)
    elif p == 1:
        value = size.sum(axis=axis)
    else:
        largest = size.max(axis=axis, keepdims=True)  # in units of the largest: nothing over- or underflows
        unit = np.where(largest > 0, largest, real(1))
        total = power((size / unit), p).sum(axis=axis, keepdims=True)
        value = np.squeeze(power(total, 1 / real(p)) * largest, axis=axis)
        value = value.item() if np.ndim(value) == 0 and isinstance(value, np.ndarray) else value
    return value if np.ndim(value) or is_precise() else float(value)


def dual(p: float) -> float:
    """The exponent q with 1/p + 1/q = 1.

    >>> dual(1), dual(2), dual(float("inf"))
    (inf, 2.0, 1.0)
    """
    return math.inf if p == 1 else 1.0 if p == math.inf else float(p) / (float(p) - 1)


def singular_values(J: Any) -> np.ndarray:
    """Singular values of a matrix, largest first; at least one.

    >>> singular_values([[3, 0], [0, 4]]).tolist()
    [4.0, 3.0]
    """
    J = real(J)
    if is_precise():
        wide = J if J.shape[0] >= J.shape[1] else J.T
        values = point.svd_r(point.matrix(wide.tolist()), compute_uv=False)
        return np.array(list(values), dtype=object)
    return np.linalg.svd(J, compute_uv=False)


def spectral(J: Any) -> Any:
    """‖J‖_2, the largest singular value of a matrix.

    >>> spectral([[3, 0], [0, 4]])
    4.0
    """
    value = singular_values(J)[0]
    return value if is_precise() else float(value)


def eigenvalues(H: Any) -> np.ndarray:
    """Eigenvalues of a symmetric matrix, smallest first.

    >>> eigenvalues([[0, 1], [1, 0]]).tolist()
    [-1.0, 1.0]
    """
    if is_precise():
        values = point.eigsy(point.matrix(real(H).tolist()), eigvals_only=True)
        return np.array(sorted(values), dtype=object)
    return np.linalg.eigvalsh(real(H))


def logsumexp(z: Any) -> Any:
    """ln Σ exp(z_k) of a vector.

    >>> bool(logsumexp([0, 0]) == log(2))
    True
    """
    z = real(z)
    largest = z.max()
    return largest + log(exp(z - largest).sum())


def softmax(z: Any) -> np.ndarray:
    """exp(z_k)/Σ exp(z_j) of a vector."""
    weights: np.ndarray = exp(real(z) - real(z).max())
    shares: np.ndarray = weights / weights.sum()
    return shares


def cross_entropy(z: Any, y: int) -> Any:
    """logsumexp(z) - z_y, nats; small values to full relative accuracy.

    >>> cross_entropy([0, 0], 1) == log(2)
    True
    """
    z = real(z)
    others = np.delete(z, y) - z[y]
    largest = others.max()
    if largest > 0:
        return largest + log(exp(others - largest).sum() + exp(-largest))
    return log1p(exp(others).sum())


def evaluate(expression: sp.Expr, values: Mapping[Any, Any], parts: tuple[Part, ...] = (), depth: int = 1) -> Any:
    """The number of one of the package's expressions, by the package's own evaluator.

    Args:
        expression: in the symbols of `bounds.symbols`.
        values: numbers by Symbol; mappings from layer to number by IndexedBase.
        parts: named parts of the formula.
        depth: number of layers.

    >>> evaluate(sp.Symbol("x") * sp.pi, {sp.Symbol("x"): 2.0})
    6.283185307179586
    """

    def number(value: Any) -> Any:
        return {i: point.mpf(entry) for i, entry in value.items()} if isinstance(value, Mapping) else point.mpf(value)

    value = Evaluator(parts, {symbol: number(v) for symbol, v in values.items()}, depth, Points())(
        sp.sympify(expression)
    )
    return value if is_precise() else float(value)
