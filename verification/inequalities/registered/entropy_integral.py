r"""Dudley's entropy integral in its three forms (L4.5 to L4.7), against exact complexities and covers.

The classes are finite, or boxes of parameters, so that complexities are sums over signs and covering numbers step
functions. `copies` repeats a class on as many disjoint samples, with independent choices: its complexity stays the
same, covers of the copies together cover it, and samples by the million cost nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bounds import symbols
from bounds.calculus.contraction import lipschitz_cover, lipschitz_parametric
from bounds.calculus.dudley import dudley_parametric, dudley_scale_free
from bounds.calculus.statements import Cover, ParametricCover, Step
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import entries, matrices, positive, scales
from verification.inequalities.strategies.classes import covering_radii, cube, half_signs, rademacher

LIPSCHITZ = sp.Symbol("Lip", nonnegative=True)
PREMISE = Step("premise", "a cover", "given", sp.true)
COVER = Cover((), frozenset({symbols.R}), frozenset(), PREMISE, symbols.R)
PARAMETRIC_COVER = ParametricCover((), frozenset(), frozenset(), PREMISE, symbols.cover_c, symbols.S)
SCALE_FREE = dudley_scale_free(COVER, symbols.M)
PARAMETRIC = dudley_parametric(PARAMETRIC_COVER, symbols.M)
IMAGE = lipschitz_cover(COVER, LIPSCHITZ, symbols.R_F, "image of the class")
PARAMETRIC_IMAGE = lipschitz_parametric(PARAMETRIC_COVER, LIPSCHITZ, symbols.cover_loss)
WITHIN_RANGE = SCALE_FREE.guaranteed.args[0][0]
"""The branch of the guaranteed value for 3R <= Mn, which is wrong beyond."""
UNBOUNDED_RAW = SCALE_FREE.raw.replace(sp.Max, lambda *arguments: arguments[-1])
"""The raw value without the maximum of its logarithm and 0."""

COPIES = st.sampled_from([1, 1, 3, 100, 10**6])


@st.composite
def _unit_classes(draw: DrawFn) -> np.ndarray:
    """Classes with values in [0, 1]: whole cubes, two functions, arbitrary ones, several scales."""
    kind = draw(st.sampled_from(["cube", "plain", "narrow"]))
    if kind == "cube":
        return cube(draw(st.integers(1, 3)))
    n = draw(st.integers(1, 4))
    values = draw(matrices((1, 6), n)) / 8 + 0.5
    if kind == "narrow":
        values = values * np.array(10.0 ** -draw(st.integers(0, 4)))
    return values


def _ranges() -> SearchStrategy[float]:
    """M, the range of the loss."""
    return st.one_of(st.just(1.0), scales(4), positive())


def _in_range(values: Any, M: Any) -> Any:
    """The class with values in [0, M]."""
    assume(1e-8 < M < 1e8)
    return M * np.maximum(np.minimum(reals.real(values), 1), 0)


def _steps(values: Any, copies: int, p: float = 2) -> tuple[np.ndarray, np.ndarray]:
    """u_1 >= u_2 >= .. and ln N_2, ln N_3, ..: the class has ln N(u) <= ln N_k for u_k <= u < u_{k-1}, else 0."""
    radii = covering_radii(values, p)
    if p == 2:
        radii = radii * reals.sqrt(copies)
    logs = reals.log(np.arange(2, len(radii) + 1)) * copies if len(radii) > 1 else radii[:0]
    return radii, logs


def _scale_free(values: Any, copies: int = 1) -> Any:
    """The smallest R with ln N(u) <= R^2/u^2 for all u."""
    radii, logs = _steps(values, copies)
    return (radii[:-1] * reals.sqrt(logs)).max() if len(logs) else reals.real(0)


def _parametric(values: Any, N: int) -> Any:
    """The smallest c with ln N_inf(u) <= N ln(1 + c/u) for all u."""
    radii, logs = _steps(values, 1, math.inf)
    return (radii[:-1] * (reals.exp(logs / N) - 1)).max() if len(logs) else reals.real(0)


@inequality(
    "L4.5-cap",
    r"\mathfrak R_S(G)\le\tfrac M2,\quad G\subseteq[0,M]^n",
    source="own derivation",
    given={"values": _unit_classes(), "M": _ranges()},
    mutants={"two per cent less": {"share": 0.98}, "the range dropped": {"forget": True}},
    attained=True,
)
def cap(values: Any, M: float, share: float = 1.0, forget: bool = False) -> tuple[Any, Any]:
    """Left exact; attained by all functions with values 0 and M."""
    return rademacher(_in_range(values, M)), share * (1 if forget else M) / 2


@inequality(
    "L4.5-dudley",
    r"\mathfrak R_S(G)\le\inf_{\alpha\ge0}\Bigl\{\frac{4\alpha}{\sqrt n}+\frac{12}n\int_\alpha^{M\sqrt n/2}"
    r"\sqrt{\ln\mathcal N(G,u)}\,du\Bigr\},\quad G\subseteq[0,M]^n",
    source="Bartlett, Foster & Telgarsky 2017, Lemma A.5; the upper limit: own derivation",
    given={"values": _unit_classes(), "M": _ranges(), "copies": COPIES},
    mutants={
        "1 for the 12": {"fine": 1},
        "covers in the normalised norm": {"normalised": True},
        "upper limit without the root of n": {"flat": True},
        "n squared": {"power": 2},
    },
)
def dudley(
    values: Any,
    M: float,
    copies: int,
    fine: int = 12,
    normalised: bool = False,
    flat: bool = False,
    power: int = 1,
) -> tuple[Any, Any]:
    """Left exact; right the infimum, which is at a jump of the covering numbers or at an end.

    It is exact for one copy and an upper bound for several, whose covers are products of covers of one.

    Loose by 4: with alpha at the upper limit the right side is at most 2M, four times the cap that cubes attain; the
    constants 4 and 12 come from halving scales in chaining. Instances like these exclude neither
    constants between 3 and 12 nor a smaller part of M sqrt n than half as the upper limit.
    """
    G = _in_range(values, M)
    n = G.shape[1] * copies
    radii, logs = _steps(G, copies)
    if normalised:
        radii = radii / reals.sqrt(n)
    limit = M / 2 if flat else M * reals.sqrt(n) / 2
    heights = reals.sqrt(logs)
    upper = np.minimum(radii[:-1], limit)

    def value(alpha: Any) -> Any:
        lengths = np.maximum(upper - np.maximum(radii[1:], alpha), 0)
        return 4 * alpha / reals.sqrt(n) + fine * (heights * lengths).sum() / reals.real(n) ** power

    return rademacher(G), min(value(alpha) for alpha in (*np.minimum(radii, limit), limit))


@inequality(
    "L4.6-guaranteed",
    r"\ln\mathcal N(G,u)\le\frac{R^2}{u^2}\ \forall u\ \Rightarrow\ \mathfrak R_S(G)\le"
    r"\min\{\tfrac M2,\tfrac{12R}n(1+\ln\tfrac{Mn}{3R})\}\text{ if }3R\le Mn\text{, else }\tfrac M2",
    source="Bartlett, Foster & Telgarsky 2017, Lemma A.5",
    given={
        "values": _unit_classes(),
        "M": _ranges(),
        "copies": COPIES,
        "slack": st.one_of(st.just(1.0), scales(3).map(lambda x: max(1.0, x))),
    },
    mutants={
        "the integral beyond its range": {"beyond": True},
        "the cap at a quarter": {"share": 0.5},
        "n squared": {"power": 2},
    },
    attained=True,
    combinators=(dudley_scale_free,),
)
def scale_free_guaranteed(
    values: Any, M: float, copies: int, slack: float, beyond: bool = False, share: float = 1.0, power: int = 1
) -> tuple[Any, Any]:
    """Left exact; R is the smallest that the exact covering numbers allow, or larger by a factor.

    Attained at the cap, by all functions with values 0 and M. Below the cap the constants of L4.5 show: the
    largest ratio found there is 0.02.
    """
    assume(slack >= 1)
    G = _in_range(values, M)
    numbers = {symbols.R: slack * _scale_free(G, copies), symbols.M: M, symbols.n: (G.shape[1] * copies) ** power}
    right = reals.evaluate(WITHIN_RANGE if beyond else SCALE_FREE.guaranteed, numbers)
    return rademacher(G), share * right


@inequality(
    "L4.6-raw",
    r"\ln\mathcal N(G,u)\le\frac{R^2}{u^2}\ \forall u\ \Rightarrow\ \mathfrak R_S(G)\le"
    r"\frac4n+\frac{12R}n\max\{0,\ln(Mn)\}",
    source="Bartlett, Foster & Telgarsky 2017, Lemma A.5",
    given={
        "values": _unit_classes(),
        "M": _ranges(),
        "copies": COPIES,
        "slack": st.one_of(st.just(1.0), scales(3).map(lambda x: max(1.0, x))),
    },
    mutants={
        "a negative logarithm": {"expression": UNBOUNDED_RAW},
        "without the term at the lower limit": {"expression": SCALE_FREE.raw - 4 / symbols.n},
        "n squared": {"power": 2},
    },
    combinators=(dudley_scale_free,),
)
def scale_free_raw(
    values: Any, M: float, copies: int, slack: float, expression: Any = SCALE_FREE.raw, power: int = 1
) -> tuple[Any, Any]:
    """Left exact. Loose by 8 at least: it pays 4/n, where the cap would be M/2 <= 1/(2n), for Mn <= 1."""
    assume(slack >= 1)
    G = _in_range(values, M)
    numbers = {symbols.R: slack * _scale_free(G, copies), symbols.M: M, symbols.n: (G.shape[1] * copies) ** power}
    return rademacher(G), reals.evaluate(expression, numbers)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def _integral(function: Any, low: float, high: float) -> float:
    """Quadrature of a function of u that is smooth in ln u: Gauss-Legendre on panels whose ends double at most."""
    edges = np.geomspace(low, high, 1 + max(1, math.ceil(math.log2(high / low))))
    middles, halves = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    return float((function(middles[:, None] + halves[:, None] * NODES) * WEIGHTS * halves[:, None]).sum())


@inequality(
    "L4.6-optimal",
    r"\min\{\tfrac M2,\tfrac{12R}n(1+\ln\tfrac{Mn}{3R})\}\le"
    r"\frac{4\alpha}{\sqrt n}+\frac{12R}n\ln\frac{M\sqrt n}\alpha,\quad0<\alpha\le M\sqrt n",
    source="own derivation",
    given={
        "part": st.one_of(positive(0.025), positive(1.0)),
        "M": _ranges(),
        "n": st.sampled_from([1, 4, 50, 10**4, 10**6]),
        "shift": entries(3.0),
    },
    mutants={"one per cent less": {"share": 0.99}, "three for the four": {"coarse": 3}},
    attained=True,
    combinators=(dudley_scale_free,),
)
def scale_free_optimal(
    part: float, M: float, n: int, shift: float, share: float = 1.0, coarse: int = 4
) -> tuple[Any, Any]:
    """alpha = 3R/sqrt n is the best lower limit: the package's value against every other alpha."""
    assume(1e-9 < part <= 1 and 1e-8 < M < 1e8 and abs(shift) < 20)
    R = part * M * n / 3
    root = reals.sqrt(n)
    alpha = 3 * R / root * reals.exp(shift)
    assume(alpha <= M * root)
    right = coarse * alpha / root + 12 * R / n * reals.log(M * root / alpha)
    value = reals.evaluate(SCALE_FREE.guaranteed, {symbols.R: R, symbols.M: M, symbols.n: n})
    return value, share * right


@inequality(
    "L4.6-monotone",
    r"R\le R'\ \Rightarrow\ V(R)\le V(R'),\quad\text{also for the guaranteed value, across }3R=Mn",
    source="own derivation",
    given={
        "part": st.one_of(positive(1.0), positive(4.0), scales(3)),
        "growth": st.one_of(st.just(0.0), positive(1.0), scales(3)),
        "M": _ranges(),
        "n": st.sampled_from([1, 4, 50, 10**4]),
        "which": st.sampled_from(["guaranteed", "raw"]),
    },
    mutants={
        "the integral beyond its range": {"guaranteed": WITHIN_RANGE},
        "a negative logarithm": {"raw": UNBOUNDED_RAW},
    },
    attained=True,
    combinators=(dudley_scale_free,),
)
def scale_free_monotone(
    part: float,
    growth: float,
    M: float,
    n: int,
    which: str,
    guaranteed: Any = SCALE_FREE.guaranteed,
    raw: Any = SCALE_FREE.raw,
) -> tuple[Any, Any]:
    """The package's value at two radii, `part` = 3R/(Mn) and larger; what stratification (L4.10) relies on."""
    assume(part > 0 and growth >= 0 and 1e-8 < M < 1e8)
    expression = guaranteed if which == "guaranteed" else raw
    R = part * M * n / 3
    numbers = {symbols.M: M, symbols.n: n}
    left = reals.evaluate(expression, {**numbers, symbols.R: R})
    return left, reals.evaluate(expression, {**numbers, symbols.R: R * (1 + growth)})


@st.composite
def _layers(draw: DrawFn) -> np.ndarray:
    """(layers, samples): how much a unit of each layer's parameters moves the output on each sample."""
    return draw(matrices((1, 3), (1, 4), decades=2))


@inequality(
    "L4.7-boxes",
    r"G=\Bigl\{x_s\mapsto\tfrac M2+\sum_iA_{is}\theta_{i,s\bmod N_i}:|\theta|\le1\Bigr\}:\ \mathfrak R_S(G)\le"
    r"\min\Bigl\{\tfrac M2,\tfrac{12M}{\sqrt n}\sqrt{\textstyle\sum_iN_i(1+\ln(1+c_i/M))}\Bigr\},\ "
    r"c_i=L\max_s|A_{is}|",
    source="own derivation",
    given={"A": _layers(), "N": st.tuples(*[st.integers(1, 4)] * 3), "copies": COPIES},
    mutants={
        "one parameter per layer": {"forget": "N"},
        "the range dropped": {"forget": "M"},
        "n squared": {"power": 2},
        "the cap at a quarter": {"share": 0.5},
    },
    attained=True,
    combinators=(dudley_parametric,),
)
def parametric_boxes(
    A: Any, N: tuple[int, ...], copies: int, forget: str = "", power: int = 1, share: float = 1.0
) -> tuple[Any, Any]:
    """Left exact: the supremum over the parameters is a sum of absolute values. Every copy has its own parameters.

    The premise holds with these c_i: intervals of length 2u/(L max|A_i|) cover each parameter. Attained at the cap, by
    one parameter per sample; L4.7-shared is about the value below the cap.
    """
    A = reals.real(A)
    depth, samples = A.shape
    counts = [min(N[i], samples) for i in range(depth)]
    reach = np.abs(A).max(axis=1)
    M = 2 * np.abs(A).sum(axis=0).max()
    assume(1e-8 < M < 1e8)
    signs = half_signs(samples)
    suprema = sum(
        np.abs(signs[:, j :: counts[i]] @ A[i, j :: counts[i]]) for i in range(depth) for j in range(counts[i])
    )
    left = suprema.sum() / (len(signs) * samples)
    right = reals.evaluate(
        PARAMETRIC.guaranteed,
        {
            symbols.N: {i: 1 if forget == "N" else copies * count for i, count in enumerate(counts, start=1)},
            symbols.cover_c: {i: depth * each for i, each in enumerate(reach, start=1)},
            symbols.M: 1 if forget == "M" else M,
            symbols.n: (samples * copies) ** power,
        },
        PARAMETRIC.parts,
        depth,
    )
    return left, share * right


@inequality(
    "L4.7-shared",
    r"G=\{x_s\mapsto\tau+\tau\theta_{s\bmod N}:|\theta|\le1\},\ s\le n=Nr:\ \mathfrak R_S(G)\le"
    r"\frac{12M}{\sqrt n}\sqrt{N(1+\ln(1+c/M))},\quad M=2\tau,\ c=\tau",
    source="own derivation",
    given={
        "tau": st.one_of(positive(), scales(4)),
        "N": st.sampled_from([1, 2, 10, 10**4]),
        "repeats": st.sampled_from([1, 2, 3, 10, 100, 2000, 10**4]),
    },
    mutants={
        "n for its root": {"power": 2},
        "one parameter": {"forget": "N"},
        "the range dropped": {"forget": "M"},
    },
    recheck=False,
    combinators=(dudley_parametric,),
)
def parametric_shared(tau: float, N: int, repeats: int, power: int = 1, forget: str = "") -> tuple[Any, Any]:
    """Few parameters on many samples, where the value is below the cap. Left exact: tau E|S_r|/r for r signs.

    Loose: for one sample per parameter 1/(24 sqrt(1 + ln(3/2))) = 0.035, for many sqrt(2/pi) times that. The constant
    12 is Dudley's, and the range M is twice what one parameter moves.
    """
    assume(1e-8 < tau < 1e8)
    absolute = math.comb(repeats - 1, (repeats - 1) // 2) / 2 ** (repeats - 1)  # E|S_r|/r
    numbers = {
        symbols.N: {1: 1 if forget == "N" else N},
        symbols.cover_c: {1: tau},
        symbols.M: 1 if forget == "M" else 2 * tau,
        symbols.n: (N * repeats) ** power,
    }
    return tau * absolute, reals.evaluate(PARAMETRIC.raw, numbers, PARAMETRIC.parts)


@inequality(
    "L4.7-finite",
    r"\ln\mathcal N_\infty(G,u)\le N\ln(1+c/u)\ \forall u\ \Rightarrow\ "
    r"\mathfrak R_S(G)\le\min\Bigl\{\tfrac M2,\tfrac{12M}{\sqrt n}\sqrt{N(1+\ln(1+c/M))}\Bigr\}",
    source="own derivation",
    given={"values": _unit_classes(), "M": _ranges(), "N": st.integers(1, 4), "copies": COPIES},
    mutants={
        "one parameter": {"forget": "N"},
        "the range dropped": {"forget": "M"},
        "n squared": {"power": 2},
        "the cap at a quarter": {"share": 0.5},
    },
    attained=True,
    combinators=(dudley_parametric,),
)
def parametric_finite(
    values: Any, M: float, N: int, copies: int, forget: str = "", power: int = 1, share: float = 1.0
) -> tuple[Any, Any]:
    """Left exact; c is the smallest that the exact covering numbers in sup norm allow. Attained at the cap."""
    G = _in_range(values, M)
    numbers = {
        symbols.N: {1: 1 if forget == "N" else N * copies},
        symbols.cover_c: {1: _parametric(G, N)},
        symbols.M: 1 if forget == "M" else M,
        symbols.n: (G.shape[1] * copies) ** power,
    }
    return rademacher(G), share * reals.evaluate(PARAMETRIC.guaranteed, numbers, PARAMETRIC.parts)


@inequality(
    "L4.7-jensen",
    r"\frac{12}{\sqrt n}\int_0^M\sqrt{\textstyle\sum_iN_i\ln(1+c_i/u)}\,du\le"
    r"\frac{12M}{\sqrt n}\sqrt{\textstyle\sum_iN_i(1+\ln(1+c_i/M))}",
    source="own derivation",
    given={
        "N": st.lists(st.sampled_from([1, 2, 30, 10**4]), min_size=1, max_size=3).map(tuple),
        "c": st.tuples(*[scales(7)] * 3),
        "M": _ranges(),
        "n": st.sampled_from([1, 4, 50, 10**4]),
    },
    mutants={
        "without the 1": {"extra": 0},
        "the range dropped": {"forget": "M"},
        "one parameter per layer": {"forget": "N"},
    },
    attained=True,
    recheck=False,
    combinators=(dudley_parametric,),
)
def jensen(
    N: tuple[int, ...], c: tuple[float, ...], M: float, n: int, extra: int = 1, forget: str = ""
) -> tuple[Any, Any]:
    """Left Dudley's integral of the parametric cover by quadrature, a lower bound; right the package's raw value.

    The root of the mean is at least the mean of the root; attained as c/M grows, where the logarithm hardly varies.
    """
    assume(1e-8 < M < 1e8 and all(1e-12 < each < 1e12 for each in c))
    left = _integral(
        lambda u: np.sqrt(sum(count * np.log1p(each / u) for count, each in zip(N, c, strict=False))),
        M * 2.0**-60,
        M,
    )
    entropy = PARAMETRIC.parts[-1]
    right = reals.evaluate(
        PARAMETRIC.raw.subs(symbols.S, symbols.S - (1 - extra) * sum(N)),
        {
            symbols.N: {i: 1 if forget == "N" else count for i, count in enumerate(N, start=1)},
            symbols.cover_c: dict(enumerate(c, start=1)),
            symbols.M: 1 if forget == "M" else M,
            symbols.n: n,
        },
        (entropy,),
        len(N),
    )
    return 12 / math.sqrt(n) * left, right


def _image(values: Any, kind: str, Lip: Any) -> Any:
    """A Lipschitz function of every value, in turn with either sign."""
    values = reals.real(values)
    turns = np.where(np.arange(values.shape[1]) % 2 == 0, 1, -1)
    shapes: dict[str, Any] = {"linear": lambda t: t, "absolute": np.abs, "tanh": reals.tanh}
    return Lip * turns * shapes[kind](values)


@inequality(
    "L4.2-cover",
    r"\ln\mathcal N(F,u)\le R^2/u^2\ \forall u\ \Rightarrow\ "
    r"\ln\mathcal N(\psi\circ F,u)\le(\mathrm{Lip}(\psi)\,R)^2/u^2\ \forall u",
    source="standard",
    given={
        "values": matrices((1, 6), (1, 4)),
        "kind": st.sampled_from(["linear", "absolute", "tanh"]),
        "Lip": st.one_of(positive(), scales(3)),
    },
    mutants={"one per cent less": {"share": 0.99}, "the root of the constant": {"exponent": 0.5}},
    attained=True,
    combinators=(lipschitz_cover,),
)
def cover_of_image(values: Any, kind: str, Lip: float, share: float = 1.0, exponent: float = 1) -> tuple[Any, Any]:
    """The smallest R of the image, covering numbers exact, against the package's; attained by linear functions."""
    assume(1e-8 < Lip < 1e8)
    numbers = {symbols.R: _scale_free(reals.real(values)), LIPSCHITZ: reals.power(Lip, exponent)}
    return _scale_free(_image(values, kind, Lip)), share * reals.evaluate(symbols.R_F, numbers, IMAGE.parts)


@inequality(
    "L4.2-parametric-cover",
    r"\ln\mathcal N_\infty(F,u)\le N\ln(1+c/u)\ \forall u\ \Rightarrow\ "
    r"\ln\mathcal N_\infty(\psi\circ F,u)\le N\ln(1+\mathrm{Lip}(\psi)\,c/u)\ \forall u",
    source="standard",
    given={
        "values": matrices((1, 6), (1, 4)),
        "N": st.integers(1, 3),
        "kind": st.sampled_from(["linear", "absolute", "tanh"]),
        "Lip": st.one_of(positive(), scales(3)),
    },
    mutants={"one per cent less": {"share": 0.99}, "the root of the constant": {"exponent": 0.5}},
    attained=True,
    combinators=(lipschitz_parametric,),
)
def parametric_cover_of_image(
    values: Any, N: int, kind: str, Lip: float, share: float = 1.0, exponent: float = 1
) -> tuple[Any, Any]:
    """The smallest c of the image, covering numbers exact, against the package's; attained by linear functions."""
    assume(1e-8 < Lip < 1e8)
    numbers = {symbols.cover_c: {1: _parametric(reals.real(values), N)}, LIPSCHITZ: reals.power(Lip, exponent)}
    scaled = reals.evaluate(symbols.cover_loss[1], numbers, PARAMETRIC_IMAGE.parts)
    return _parametric(_image(values, kind, Lip), N), share * scaled
