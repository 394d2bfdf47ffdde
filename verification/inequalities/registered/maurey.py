r"""Maurey's sparsification (L5.1) by explicit sparse sampling: every sparse average is tried."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds import symbols
from bounds.calculus.maurey import KERNEL, PUBLISHED, layer_weight
from bounds.symbols import i
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import convolutions, matrices, positive, scales
from verification.inequalities.strategies.families import kernel_group, operator, values, weights
from verification.inequalities.strategies.networks import Affine, Convolution

u_symbol, d_symbol, m_symbol = sp.Symbol("u"), sp.Symbol("d"), sp.Symbol("m")
X_symbol, Z_symbol = sp.Symbol(r"\left\|X\right\|_F"), sp.Symbol(r"\left\|Z\right\|")
DENSE = PUBLISHED.conclusion.rhs.subs(i, 1)
CONVOLUTION = KERNEL.conclusion.rhs.subs(i, 1)


def _atoms(X: Any, A: Any, slack: int) -> tuple[Any, Any, Any]:
    """Signed columns of X in one column of XA each, all of norm a‖X‖_F, and probabilities with expectation XA.

    Returns:
        Atoms (2dm, nm), their probabilities, and a = slack ‖A‖_{2,1}.
    """
    (n, d), m = X.shape, A.shape[1]
    a = slack * reals.norm(A, 2, axis=0).sum()
    lengths, size = reals.norm(X, 2, axis=0), a * reals.norm(X, 2)
    assume(size > 0)
    atoms, chances = [], []
    for row, column in itertools.product(range(d), range(m)):
        atom = reals.real(np.zeros((n, m)))
        if lengths[row] > 0:
            atom[:, column] = X[:, row] / lengths[row] * size
        chance = abs(A[row, column]) * lengths[row] / size
        sign = 1 if A[row, column] >= 0 else -1
        atoms += [sign * atom.reshape(-1), -sign * atom.reshape(-1)]
        chances += [chance, reals.real(0)]
    rest = (1 - sum(chances)) / 2  # two opposite atoms do nothing
    where = 2 * int(np.argmax(lengths)) * m
    chances[where], chances[where + 1] = chances[where] + rest, chances[where + 1] + rest
    return np.stack(atoms), np.array(chances), a


@st.composite
def _products(draw: DrawFn, d: int = 3, m: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """X and A: arbitrary on any scale, orthogonal columns with equal weights, or a product that vanishes."""
    kind = draw(st.sampled_from(["plain", "vanishing", "centre"]))
    columns = draw(st.integers(1, m))
    if kind == "centre":
        size = draw(st.integers(1, d))
        return np.eye(size) * draw(scales(2)), np.ones((size, 1)) * draw(scales(2))
    if kind == "vanishing":
        X = np.ones((draw(st.integers(1, 2)), 2)) * draw(scales(2))
        return X, np.array([[1.0], [-1.0]]) * np.ones((1, columns)) * draw(scales(2))
    X = draw(matrices((1, 3), (1, d), 2))
    A = draw(matrices(X.shape[1], columns, 2))
    return X if X.any() else X + 1.0, A if A.any() else A + 1.0


def _two_one(A: Any) -> Any:
    return reals.norm(A, 2, axis=0).sum()


@inequality(
    "L5.1-sampling",
    r"\mathbb E\big\|XA-\tfrac1k(V_1+\cdots+V_k)\big\|_F^2\le\frac{a^2\|X\|_F^2}k,\quad "
    r"a\ge\|A\|_{2,1},\ V\in\{\pm a\|X\|_F\tfrac{X_{:,r}}{\|X_{:,r}\|}e_c^\top\},\ \mathbb EV=XA",
    source="Bartlett, Foster & Telgarsky 2017, Lemma 3.2 (proof)",
    given={
        "product": _products(),
        "slack": st.integers(1, 2),
        "k": st.integers(1, 3),
    },
    mutants={
        "two per cent less": {"share": 0.98},
        "the square of k": {"exponent": 2},
        "the Frobenius norm of A": {"norm": lambda A: reals.norm(A, 2)},
        "the spectral norm of X": {"data": reals.spectral},
    },
    attained=True,
)
def sparse_sampling(
    product: Any,
    slack: int,
    k: int,
    share: float = 1.0,
    exponent: int = 1,
    norm: Any = _two_one,
    data: Any = lambda X: reals.norm(X, 2),
) -> tuple[Any, Any, Any]:
    """Left exact, by enumeration of all k-tuples of the 2dm atoms with their probabilities.

    Attained where XA = 0: all atoms have the same norm, so that the variance is that norm's square less ‖XA‖^2.
    """
    X, A = (reals.real(part) for part in product)
    assume(float(np.abs(X).max()) < 1e50 and float(np.abs(A).max()) < 1e50)
    atoms, chances, a = _atoms(X, A, slack)
    kept = [at for at, chance in enumerate(chances) if chance > 0]
    goal = (X @ A).reshape(-1)
    sums, likely = reals.real(np.zeros((1, len(goal)))), reals.real(np.ones(1))
    for _ in range(k):
        sums = (sums[:, None] + atoms[kept][None]).reshape(-1, len(goal))
        likely = (likely[:, None] * chances[kept][None]).reshape(-1)
    left = (likely * ((sums / k - goal) ** 2).sum(axis=1)).sum()
    scale = a * reals.norm(X, 2)
    right = (slack * norm(A) * data(X)) ** 2 / reals.real(k) ** exponent
    return left, share * right, 2.0**-40 * float(scale) ** 2


@cache
def _choices(atoms: int, k: int) -> np.ndarray:
    return np.array(list(itertools.combinations_with_replacement(range(atoms), k)))


def _count(X: Any, A: Any, a: Any, u: Any) -> int:
    """The package's number of atoms, from the right side of its statement."""
    known = {symbols.b: {1: a}, X_symbol: reals.norm(X, 2), u_symbol: u, d_symbol: X.shape[1], m_symbol: A.shape[1]}
    return round(float(reals.evaluate(DENSE, known)) / math.log(2 * A.size))


@inequality(
    "L5.1-existence",
    r"\min_{V_1,\ldots,V_k}\big\|XA-\tfrac1k(V_1+\cdots+V_k)\big\|_F\le u\ \text{for}\ "
    r"k=\Big\lceil\frac{a^2\|X\|_F^2}{u^2}\Big\rceil",
    source="Bartlett, Foster & Telgarsky 2017, Lemma 3.2",
    given={
        "product": _products(8, 1),
        "slack": st.integers(1, 2),
        "k": st.integers(1, 3),
    },
    mutants={
        "one atom fewer": {"fewer": 1},
        "u smaller by two per cent": {"less": 0.98},
        "without the data": {"forget": True},
    },
    attained=True,
    examples=120,
    recheck=False,
)
def sparse_existence(
    product: Any, slack: int, k: int, fewer: int = 0, less: float = 1.0, forget: bool = False
) -> tuple[Any, Any]:
    """Left exact: all averages of k atoms are tried, k from the package's statement (3 at most).

    Attained by one atom where XA = 0; by the centre of N orthogonal atoms up to the factor sqrt(1 - k/N).
    """
    X, A = product
    atoms, _, a = _atoms(X, A, slack)
    size = float(reals.norm(X, 2))
    u = float(a) * size / math.sqrt(k) * (1 + 2.0**-40)  # the ceiling of just above an integer
    k = _count(X / size if forget else X, A, a, u) - fewer
    k = min(max(1, k), 3)
    averages = atoms[_choices(len(atoms), k)].mean(axis=1)
    nearest = float(np.linalg.norm(averages - (X @ A).reshape(-1), axis=1).min())
    # In a mutant u itself shrinks, not what is enumerated.
    return nearest, less * u


def _packing(images: np.ndarray, u: float) -> int:
    """Size of a subset with distances above 2u, chosen greedily: a lower bound of every covering number."""
    chosen: list[np.ndarray] = []
    for image in images:
        if all(np.linalg.norm(image - other) > 2 * u * (1 + 2.0**-30) for other in chosen):
            chosen.append(image)
    return len(chosen)


FACTORS = (1.0, -1.0, 0.0, 0.5, -0.5)
SHARES = st.one_of(st.sampled_from([0.999, 0.5]), positive(0.999, 0.01))


@st.composite
def _kernels(draw: DrawFn) -> tuple[Convolution, np.ndarray]:
    """A convolution and samples of its input, of which half have one pixel and half are constant or arbitrary."""
    layer = draw(convolutions())
    if draw(st.booleans()):
        layer = replace(layer, offset=0 * layer.offset)
    size = int(np.prod(layer.shape))
    kind = draw(st.sampled_from(["plain", "pixel", "constant"]))
    if kind == "plain":
        return layer, draw(matrices((1, 2), size, 2))
    Z = np.ones((1, size))
    if kind == "pixel":
        Z[:, 1:] = 0.0
    return layer, Z * draw(scales(2))


def _fits(layer: Convolution, Z: Any) -> None:
    """After a change of groups the kernel must still fit the channels; numbers must not overflow."""
    assume(layer.kernel.shape[1] * layer.groups == layer.shape[0])
    assume(max(float(np.abs(part).max(initial=0.0)) for part in (layer.kernel, layer.offset, Z)) < 1e50)


def _moves(layer: Convolution, Z: Any) -> list[tuple[Any, Any, Any, int]]:
    """Each kernel entry alone: its value, what it makes of Z, how large that channel of Z is, and the channel."""
    found = []
    channels = Z.reshape(len(Z), layer.shape[0], -1)
    for o, c, v, w in itertools.product(*map(range, layer.kernel.shape)):
        unit = np.zeros(layer.kernel.shape)
        unit[o, c, v, w] = 1.0
        alone = replace(layer, kernel=unit)
        channel = o // (layer.kernel.shape[0] // layer.groups) * layer.kernel.shape[1] + c
        length = reals.norm(channels[:, channel].reshape(-1), 2)
        found.append((layer.kernel[o, c, v, w], (Z @ operator(alone)[0].T).reshape(-1), length, channel))
    return found


@inequality(
    "L5.1-injective",
    r"\|S_{o,c,u,v}Z\|_F\le\|Z_c\|_F:\ \text{a kernel entry moves each pixel of its channel to one place at most}",
    source="own derivation; Graf et al. 2022 use the same norm",
    given={"layer": _kernels(), "entry": st.integers(0, 71)},
    mutants={
        "two per cent less": {"share": 0.98},
        "the largest pixel for the channel": {"pixel": True},
        "shared among the positions of the kernel": {"spread": True},
    },
    attained=True,
)
def kernel_entries(
    layer: Any, entry: int, share: float = 1.0, pixel: bool = False, spread: bool = False
) -> tuple[Any, Any]:
    """Left exact, zero padding; attained where no pixel leaves the image and the stride skips none that is not 0."""
    convolution, Z = layer
    _fits(convolution, Z)
    moves = _moves(convolution, reals.real(Z))
    _, moved, length, channel = moves[entry % len(moves)]
    if pixel:
        length = np.abs(reals.real(Z).reshape(len(Z), convolution.shape[0], -1)[:, channel]).max()
    positions = int(np.prod(convolution.kernel.shape[2:])) if spread else 1
    return reals.norm(moved, 2), share * length / reals.sqrt(positions)


@inequality(
    "L5.1-kernel",
    r"\mathbb E\big\|h(Z)-\tfrac1k(V_1+\cdots+V_k)\big\|_F^2\le u^2\ \text{for}\ "
    r"k=\Big\lceil\frac{g^2\|\widetilde Z\|_F^2}{u^2}\Big\rceil,\quad "
    r"g=\sum_{o,u,v}\|K[o,:,u,v]\|_2+\sqrt{P^{\mathrm{out}}}\|c\|_1,\ "
    r"\widetilde Z=Z\text{ if }c=0\text{, else }[Z\ \mathbf 1],\ 2N\text{ atoms }V,\ \mathbb EV=h(Z)",
    source="own derivation; Graf et al. 2022 use the same norm",
    given={"layer": _kernels(), "share": st.sampled_from([1.0, 0.75, 0.5])},
    mutants={
        "a tenth less": {"less": 0.9},
        "the Frobenius norm of the kernel": {"frobenius": True},
        "without the data": {"forget": True},
    },
    attained=True,
    recheck=False,
    rounding=2.0**-40,
)
def kernel_sampling(
    layer: Any, share: float, less: float = 1.0, frobenius: bool = False, forget: bool = False
) -> tuple[Any, Any]:
    """Left exact: the atoms are the kernel's entries one by one, and the offset's; k is the package's number for u.

    The variance of a mean in closed form, (E‖V‖^2 - ‖h‖^2)/k, which L5.1-sampling enumerates. Attained by entries that
    move all of Z, and cancel.
    """
    convolution, Z = layer
    _fits(convolution, Z)
    assume(0 < share <= 1)
    W, c = operator(convolution)
    N = convolution.kernel.size + bool(np.any(c)) * len(convolution.offset)
    length = math.sqrt(float(np.sum(Z**2)) + len(Z) * bool(np.any(c)))
    g = float(kernel_group(convolution))
    size = g * length
    assume(size > 1e-100)
    u = share * size * (1 + 2.0**-40)  # the ceiling of just above an integer
    claimed = float(np.linalg.norm(convolution.kernel)) if frobenius else g
    known = {symbols.g: {1: claimed}, Z_symbol: 1 if forget else length, u_symbol: u, symbols.N: {1: N}}
    k = max(1, round(float(reals.evaluate(CONVOLUTION, known)) / math.log(2 * N)))
    positions = math.sqrt(len(Z) * len(c) / len(convolution.offset))
    entries = [(abs(value), float(reals.norm(moved, 2)), one) for value, moved, one, _ in _moves(convolution, Z)]
    entries += [(abs(value), positions, positions) for value in convolution.offset]
    chances = [value * one / size for value, _, one in entries]
    if sum(chances) > 1 + 1e-9:  # no distribution: g is too small
        return sum(chances), 1.0
    # Every atom is scaled by size/one; what is left of the probability is on two opposite atoms of the norm `size`.
    second = sum(p * (norm * size / one) ** 2 for p, (_, norm, one) in zip(chances, entries, strict=True) if one > 0)
    variance = second + (1 - sum(chances)) * size**2 - float(np.sum((Z @ W.T + c) ** 2))
    return variance / k, less * u**2


@st.composite
def _single(draw: DrawFn) -> tuple[Affine | Convolution, np.ndarray, np.ndarray]:
    """One layer, samples and factors of its output channels; half of the time one number."""
    if draw(st.booleans()):
        return Affine(np.array([[draw(scales(2))]]), np.zeros(1)), np.array([[draw(scales(3))]]), np.zeros((4, 3))
    convolution, Z = draw(_kernels())
    return convolution, Z, draw(matrices(4, 3)) / 4.0


@inequality(
    "L5.1-weight",
    r"\ln\mathcal N(\mathrm{layer}_i,u)\le\frac{2\omega_i^2\|Z\|^2}{u^2},\quad "
    r"\omega_i=\min\big(b_i\sqrt{\ln2\overline W^2},g_i\sqrt{\ln2N_i}\big)",
    source="own derivation",
    given={"family": _single(), "share": SHARES},
    mutants={
        "less than half": {"less": 0.49},
        "without the norm of the kernel": {"dropped": True},
        "without the data": {"forget": True},
        "without the square of the weight": {"exponent": 1},
    },
    examples=120,
    recheck=False,
)
def layer_cover(
    family: Any, share: float, less: float = 1.0, dropped: bool = False, forget: bool = False, exponent: int = 2
) -> tuple[Any, Any]:
    """Left: ln of a packing of one layer's class. One number reaches 1/2, the price of the ceiling."""
    layer, Z, factors = family
    if isinstance(layer, Convolution):
        _fits(layer, Z)
    assume(0.001 < share < 1 and float(np.abs(weights(layer)).max()) < 1e50)
    W, c = operator(layer)
    count = len(layer.offset)
    positions = len(c) // count
    rows = [np.full(count, tau) for tau in FACTORS] + [np.resize(row, count) for row in np.clip(factors, -1, 1)]
    image = Z @ W.T + c
    images = np.stack([(image * np.repeat(row, positions)).reshape(-1) for row in rows])
    u = share * float(np.linalg.norm(images[0]))
    u = u if u > 1e-60 else 1.0
    known = values([(layer,)], "relu")
    if dropped:
        known |= {symbols.b: {1: 1.0}, symbols.g: {1: 1.0}}
    omega = float(reals.evaluate(symbols.w_maurey[1], known, (layer_weight,), 1))
    length = 1.0 if forget else float(np.sum(Z**2)) + len(Z) * known[symbols.has_bias][1]
    return math.log(_packing(images, u)), less * 2 * omega**exponent * length / u**2
