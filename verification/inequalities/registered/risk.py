r"""From complexity to risk (L4.8, L4.10) and hold-out bounds: exact failure probabilities.

Populations have finitely many atoms, so every sample can be enumerated with its probability. "Pr[X > bound] <= delta"
is compared as "the (1-delta)-quantile of what is random <= what is not", which is the same statement, but whose ratio
says how far the bound is off even where it never fails.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bounds import symbols
from bounds.calculus.evaluator import BetaQuantile
from bounds.calculus.risk import risk
from bounds.calculus.stratification import Grid, weight
from bounds.catalogue import holdout_bernstein, holdout_binomial
from bounds.catalogue.entry import HoldOut
from bounds.rows import holdout_value, ramp
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import entries, matrices, positive, scales, vectors
from verification.inequalities.strategies.classes import given_complexity
from verification.summary import clopper_pearson

GAP = risk(given_complexity(symbols.R, symbols.M)).raw
PER_COMPLEXITY = sp.diff(GAP, symbols.R)

LOSING = 1e-12
"""What sums of probabilities may lose in float64; quantiles are taken at so much more failure, from below."""


@dataclass(frozen=True)
class Atoms:
    """A finite class on a population with few atoms.

    Attributes:
        chances: of the atoms, up to a common factor, (s,).
        values: of the functions on the atoms, (m, s).
        n: samples.
    """

    chances: np.ndarray
    values: np.ndarray
    n: int


@dataclass(frozen=True)
class Cube:
    """All functions with two values on `atoms` equally likely atoms; n samples."""

    atoms: int
    n: int


@st.composite
def _few_atoms(draw: DrawFn) -> Atoms:
    """Two atoms and up to 40 samples, or three and up to 8; or one function with values 0 and 1, and up to 200."""
    kind = draw(st.sampled_from(["two values", "two atoms", "three atoms"]))
    s = 3 if kind == "three atoms" else 2
    chances = np.array([draw(positive(1.0, 0.01)) for _ in range(s)])
    if kind == "two values":
        return Atoms(chances, np.array([[0.0, 1.0]]), draw(st.sampled_from([40, 200, 1, 200])))
    n = draw(st.sampled_from([1, 2, 5, 12, 40] if s == 2 else [1, 2, 4, 8]))
    return Atoms(chances, draw(matrices((1, 3), s)), n)


def _cubes() -> SearchStrategy[Cube]:
    return st.builds(Cube, st.sampled_from([1, 2, 4, 30, 1000, 10**6]), st.sampled_from([1, 2, 5, 12, 24]))


def _failures() -> SearchStrategy[float]:
    """Delta, the failure probability."""
    return st.one_of(st.sampled_from([0.5, 0.05, 0.001, 0.9]), positive(0.99))


@cache
def _compositions(n: int, s: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each atom may occur, (samples, s), and in how many orders."""
    bars = itertools.combinations(range(n + s - 1), s - 1)
    counts = np.diff([(-1, *bar, n + s - 1) for bar in bars], axis=1) - 1
    orders = [math.factorial(n) // math.prod(map(math.factorial, row)) for row in counts.tolist()]
    return counts, np.array(orders, dtype=np.float64)


@cache
def _sign_sums(n: int, s: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of signs per atom for one sample after the other (rows, s), their probabilities, the first row of each."""
    sums, chances, starts = [], [], [0]
    for counts in _compositions(n, s)[0].tolist():
        sums += list(itertools.product(*(range(-c, c + 1, 2) for c in counts)))
        ways = itertools.product(*([math.comb(c, k) / 2**c for k in range(c + 1)] for c in counts))
        chances += [math.prod(way) for way in ways]
        starts.append(len(sums))
    return np.array(sums, dtype=np.float64), np.array(chances), np.array(starts[:-1])


def _sampled(population: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The atoms' chances p, the atoms' shares in every sample (samples, s), and the samples' probabilities."""
    assume((population.chances > 1e-6).all() and (population.chances < 1e6).all())
    chances = population.chances / population.chances.sum()
    counts, orders = _compositions(population.n, len(chances))
    return chances, counts / population.n, orders * np.prod(chances**counts, axis=1)


def _complexities(values: np.ndarray, n: int) -> np.ndarray:
    """R_S of a class, for every sample."""
    if len(values) == 1:
        return np.zeros(len(_compositions(n, values.shape[1])[0]))
    sums, chances, starts = _sign_sums(n, values.shape[1])
    return np.add.reduceat((sums @ values.T).max(axis=1) * chances, starts) / n


def _partitions(n: int, most: int) -> Iterator[tuple[int, ...]]:
    if n == 0:
        yield ()
    for first in range(min(n, most), 0, -1):
        for rest in _partitions(n - first, first):
            yield (first, *rest)


@cache
def _occupancies(cube: Cube) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of the atoms that a sample meets, padded with 0 (samples, n); probabilities; R_S of the 0-1 cube."""
    n, s = cube.n, cube.atoms
    rows, chances, complexities = [], [], []
    for counts in _partitions(n, n):
        if len(counts) > s:
            continue
        placements = math.perm(s, len(counts)) // math.prod(map(math.factorial, Counter(counts).values()))
        orders = math.factorial(n) // math.prod(map(math.factorial, counts))
        chances.append(placements * orders / s**n)
        rows.append((*counts, *[0] * (n - len(counts))))
        # the supremum takes 1 where the sum of an atom's signs is positive: E max(0, S_c) = E|S_c|/2
        complexities.append(sum(c * math.comb(c - 1, (c - 1) // 2) / 2**c for c in counts) / n)
    return np.array(rows), np.array(chances), np.array(complexities)


def _cube_gap(cube: Cube, correct: float) -> np.ndarray:
    """For every sample the largest Pr[error] - (mean loss), where each atom errs at loss 1 or is right at `correct`."""
    counts, _, _ = _occupancies(cube)
    shares, seen = counts / cube.n, counts > 0
    best = np.where(seen, np.maximum(1 / cube.atoms - shares, -shares * correct), 0).sum(axis=1)
    gap: np.ndarray = best + (cube.atoms - seen.sum(axis=1)) / cube.atoms
    return gap


def _quantile(values: np.ndarray, chances: np.ndarray, failure: float) -> float:
    """The smallest q with Pr[X > q] <= failure."""
    order = np.argsort(-values)
    reached = np.cumsum(chances[order]) > failure + LOSING
    return float(values[order][np.argmax(reached)]) if reached.any() else float(values.min())


def _losses(population: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per sample: its probability, sup_g (E g - mean g) and R_S, of a class of losses in [0, 1]."""
    if isinstance(population, Cube):
        _, probabilities, complexities = _occupancies(population)
        return probabilities, _cube_gap(population, 0.0), complexities
    chances, shares, probabilities = _sampled(population)
    values = np.clip(population.values, 0, 1)
    gaps = (values @ chances - shares @ values.T).max(axis=1)
    return probabilities, gaps, _complexities(values, population.n)


@inequality(
    "L4.8-symmetrisation",
    r"\mathbb E\sup_{g\in G}(\mathbb Eg-\widehat{\mathbb E}g)\le2\,\mathbb E\,\mathfrak R_S(G)",
    source="standard; see Bartlett & Mendelson 2002",
    given={"population": st.one_of(_cubes(), _few_atoms())},
    mutants={"one complexity instead of two": {"factor": 1.0}, "two per cent less": {"factor": 1.96}},
    attained=True,
    examples=80,
    recheck=False,
)
def symmetrisation(population: Any, factor: float = 2.0) -> tuple[Any, Any, float]:
    """Both sides exact; approached by all subsets of very many atoms, of which a sample meets hardly any."""
    probabilities, gaps, complexities = _losses(population)
    assume(probabilities @ complexities > LOSING)  # a single function: 0 on both sides
    return float(probabilities @ gaps), factor * float(probabilities @ complexities), LOSING


@inequality(
    "L4.8-differences",
    r"\Pr[X-\mathbb EX>M\sqrt{\ln(1/\delta)/(2n)}]\le\delta\text{ for }X=\sup_g(\mathbb Eg-\widehat{\mathbb E}g)"
    r"\text{ and }X=-\mathfrak R_S(G)",
    source="standard (bounded differences)",
    given={
        "population": st.one_of(_few_atoms(), _cubes()),
        "M": st.one_of(st.just(1.0), scales(3)),
        "delta": _failures(),
        "which": st.sampled_from(["gap", "complexity"]),
    },
    mutants={
        "half the variance": {"part": 4},
        "n squared": {"power": 2},
        "the range dropped": {"forget": True},
    },
    recheck=False,
)
def bounded_differences(
    population: Any, M: float, delta: float, which: str, part: int = 2, power: int = 1, forget: bool = False
) -> tuple[Any, Any, float]:
    """The quantile of the deviation, exact, against McDiarmid's; one sample moves either quantity by M/n at most.

    Loose: one sample with two values reaches 0.902; only many samples and a tiny delta together come closer to 1.
    """
    assume(0 < delta < 0.9999 and 1e-6 < M < 1e6)
    probabilities, gaps, complexities = _losses(population)
    X = M * (gaps if which == "gap" else -complexities)
    left = _quantile(X - probabilities @ X, probabilities, delta)
    n = float(population.n) ** power
    return left, (1 if forget else M) * math.sqrt(math.log(1 / delta) / (part * n)), LOSING * M


@inequality(
    "L4.8-risk",
    r"\Pr\Bigl[\exists g\in G:\mathbb Eg>\widehat{\mathbb E}g+2\mathfrak R_S(G)"
    r"+3M\sqrt{\tfrac{\ln(2/\delta)}{2n}}\Bigr]\le\delta,\quad G\subseteq[0,M]^{\mathcal X}",
    source="standard; see Bartlett & Mendelson 2002",
    given={
        "population": st.one_of(_few_atoms(), _cubes()),
        "M": st.one_of(st.just(1.0), scales(3)),
        "delta": _failures(),
    },
    mutants={
        "without the confidence term": {"confident": True},
        "without the complexity": {"factor": 0.0},
        "one complexity instead of two": {"factor": 0.5},
        "the range dropped": {"forget": True},
        "n squared": {"power": 2},
    },
    recheck=False,
    combinators=(risk,),
)
def risk_of_class(
    population: Any,
    M: float,
    delta: float,
    confident: bool = False,
    factor: float = 1.0,
    forget: bool = False,
    power: int = 1,
) -> tuple[Any, Any, float]:
    """The quantile of sup_g (E g - mean g) - 2 R_S, exact, against the confidence term.

    Loose: the union of two deviations costs a factor 3 where a single function needs 1, and ln 2.
    """
    assume(0 < delta < 0.9999 and 1e-6 < M < 1e6)
    probabilities, gaps, complexities = _losses(population)
    numbers = {symbols.M: 1 if forget else M, symbols.n: population.n**power, symbols.delta: delta, symbols.R: 0}
    random = M * (gaps - factor * reals.evaluate(PER_COMPLEXITY, numbers) * complexities)
    right = 0.0 if confident else reals.evaluate(GAP, numbers)
    return _quantile(random, probabilities, delta), right, LOSING * M


@inequality(
    "L4.8-margin",
    r"\Pr\Bigl[\exists f:\Pr[\text{error}]>\widehat R_\gamma(f)+2\mathfrak R_S(r_\gamma\circ F)"
    r"+3\sqrt{\tfrac{\ln(2/\delta)}{2n}}\Bigr]\le\delta",
    source="standard; see Bartlett & Mendelson 2002",
    given={
        "population": st.one_of(_few_atoms(), _cubes()),
        "margin": st.one_of(positive(2.0), scales(3)),
        "gamma": st.one_of(positive(2.0), scales(3)),
        "delta": _failures(),
    },
    mutants={
        "without the confidence term": {"confident": True},
        "the 0-1 loss on the sample": {"hard": True},
        "without the complexity": {"factor": 0.0},
    },
    recheck=False,
    combinators=(risk,),
)
def risk_of_margins(
    population: Any,
    margin: float,
    gamma: float,
    delta: float,
    confident: bool = False,
    hard: bool = False,
    factor: float = 1.0,
) -> tuple[Any, Any, float]:
    """The same for classes of margins: arbitrary ones, or every atom at plus or minus `margin`; an error is M <= 0.

    Loose as L4.8-risk, and because the ramp pays for margins below gamma.
    """
    assume(0 < delta < 0.9999 and 1e-6 < gamma < 1e6 and 1e-6 < margin < 1e6)
    if isinstance(population, Cube):
        correct = max(0.0, 1 - margin / gamma)
        _, probabilities, complexities = _occupancies(population)
        gaps, complexities = _cube_gap(population, 0.0 if hard else correct), (1 - correct) * complexities
    else:
        chances, shares, probabilities = _sampled(population)
        margins = margin * population.values
        ramps, wrong = np.clip(1 - margins / gamma, 0, 1), (margins <= 0).astype(np.float64)
        gaps = (wrong @ chances - shares @ (wrong if hard else ramps).T).max(axis=1)
        complexities = _complexities(ramps, population.n)
    numbers = {symbols.M: 1, symbols.n: population.n, symbols.delta: delta, symbols.R: 0}
    random = gaps - factor * reals.evaluate(PER_COMPLEXITY, numbers) * complexities
    right = 0.0 if confident else reals.evaluate(GAP, numbers)
    return _quantile(random, probabilities, delta), right, LOSING


# Stratification.


@inequality(
    "L4.10-weights",
    r"\sum_{j\in\mathbb Z}w(j)\le1,\quad w(0)=c,\ w(j)=c/j^2,\ c=\tfrac3{3+\pi^2}",
    source="own derivation",
    given={"J": st.integers(0, 150)},
    mutants={"c = 3/pi^2": {"factor": (3 + math.pi**2) / math.pi**2}, "c/|j|": {"exponent": 1}},
    attained=True,
    examples=30,
    recheck=False,
    combinators=(weight,),
)
def weights(J: int, factor: float = 1.0, exponent: int = 2) -> tuple[Any, Any]:
    """The package's weights up to J and below the sum of the rest, 2 c/(J+1); attained as J grows."""
    partial = weight(0) + 2 * sum(weight(j) * j ** (2 - exponent) for j in range(1, J + 1))
    return float(factor * (partial + 2 * weight(0) / (J + 1))), 1.0


def _grids() -> dict[str, SearchStrategy[Any]]:
    """A grid, and a radius: the grid point number `position`, times exp(shift)."""
    return {
        "eta": st.one_of(st.sampled_from([0.05, 0.5, 1.0, 1e-3]), positive(2.0, 1e-3)),
        "t0": st.one_of(st.just(1.0), scales(4)),
        "t_min": scales(6),
        "position": st.integers(-60, 60),
        "shift": st.one_of(st.just(0.0), st.sampled_from([1e-9, -1e-9, 1e-3]), entries(0.1)),
    }


def _rounded(eta: Any, t0: Any, t_min: Any, position: int, shift: Any, lower: int = 0) -> tuple[Any, Any]:
    """The radius, and the package's t+ for it."""
    assume(1e-4 < eta < 10 and 1e-8 < t0 < 1e8 and 1e-8 < t_min < 1e8 and abs(shift) < 10)
    t = reals.real(t0) * (1 + reals.real(eta)) ** position * reals.exp(shift)
    grid = Grid(eta, t0, t_min)
    return t, reals.real(grid.value(grid.stratum(t) - lower))


@inequality(
    "L4.10-upwards",
    r"t\le\max(t,t^{\min})\le t^+=t^0(1+\eta)^j,\quad j=\lceil\log_{1+\eta}(\max(t,t^{\min})/t^0)\rceil",
    source="own derivation",
    given=_grids(),
    mutants={"down": {"lower": 1}, "half a step less": {"half": True}},
    attained=True,
    combinators=(Grid,),
)
def rounding_up(
    eta: float, t0: float, t_min: float, position: int, shift: float, lower: int = 0, half: bool = False
) -> tuple[Any, Any]:
    """The package's grid; attained on it."""
    t, rounded = _rounded(eta, t0, t_min, position, shift, lower)
    return max(t, t_min), rounded / reals.sqrt(1 + reals.real(eta)) if half else rounded


@inequality(
    "L4.10-step",
    r"t^+\le(1+\eta)\max(t,t^{\min})",
    source="own derivation",
    given=_grids(),
    mutants={"half a step": {"half": True}, "without the smallest radius": {"forget": True}},
    attained=True,
    combinators=(Grid,),
)
def rounding_step(
    eta: float, t0: float, t_min: float, position: int, shift: float, half: bool = False, forget: bool = False
) -> tuple[Any, Any]:
    """The package's grid; attained just above it."""
    t, rounded = _rounded(eta, t0, t_min, position, shift)
    step = 1 + reals.real(eta)
    return rounded, (reals.sqrt(step) if half else step) * (t if forget else max(t, t_min))


@cache
def _weight(j: int) -> float:
    return float(weight(j))


@dataclass(frozen=True)
class Family:
    """Functions whose gaps are known for every outcome.

    Attributes:
        radii: t_1(f), .. of one or two kinds, (functions, kinds).
        chances: of the outcomes, (outcomes,); what is missing to 1 is an outcome without any gap.
        gaps: (functions, outcomes).
    """

    radii: np.ndarray
    chances: np.ndarray
    gaps: np.ndarray


SHARES: dict[str, Callable[[list[float]], float]] = {
    "product": math.prod,
    "sum": sum,
    "first": lambda weights: weights[0],
    "all": lambda weights: 1.0,
}
"""What part of delta a function of these strata may fail with: as claimed, and as the mutants have it."""


@st.composite
def _families(draw: DrawFn) -> tuple[Family, float]:
    """A family and delta: arbitrary, or every function failing on an outcome of its own, as likely as may be."""
    delta = draw(st.sampled_from([0.5, 0.05, 0.9]))
    kind = draw(st.sampled_from(["plain", "one stratum", *SHARES]))
    kinds = draw(st.integers(1, 2))
    if kind == "plain":
        functions, outcomes = draw(st.integers(1, 4)), draw(st.integers(1, 5))
        chances = np.array(draw(st.lists(positive(1.0), min_size=outcomes, max_size=outcomes)))
        radii = np.exp(draw(matrices(functions, kinds)))
        return Family(radii, chances / max(1.0, chances.sum()), draw(matrices(functions, outcomes))), delta
    if kind == "one stratum":
        strata = np.repeat(np.linspace(-0.4, 0.4, draw(st.integers(1, 30)))[:, None], kinds, axis=1)
        share = np.full(len(strata), _weight(0) ** kinds)
    else:
        reach = draw(st.sampled_from([0, 1, 5, 60 if kinds == 1 else 5]))
        strata = np.array(list(itertools.product(range(-reach, reach + 1), repeat=kinds)))
        share = np.array([SHARES[kind]([_weight(j) for j in row]) for row in strata.tolist()])
    chances = (1 - 1e-9) * delta * share  # just within what they may be
    size = max(1, int((np.cumsum(chances) <= 1).sum()))
    radii = (1 + Grid().eta) ** (strata[:size] - 0.5)
    return Family(radii, chances[:size], np.diag(1.0 + np.arange(size))), delta


@inequality(
    "L4.10-union",
    r"\Pr\Bigl[\exists f:\mathrm{gap}(f)>\Phi\Bigl(t^+(f),\delta\prod_rw(j_r(f))\Bigr)\Bigr]\le\delta\ \text{ if }\ "
    r"\Pr[\exists f:t(f)\le t,\ \mathrm{gap}(f)>\Phi(t,\delta)]\le\delta\ \forall t\in\mathbb R^{1,2},\delta",
    source="own derivation, after Bartlett, Foster & Telgarsky 2017, Lemma A.9",
    given={"family": _families()},
    mutants={
        "the whole delta to every stratum": {"share": "all"},
        "weights added instead of multiplied": {"share": "sum"},
        "only the first radius weighted": {"share": "first"},
        "the trained radius itself": {"rounded": False},
    },
    attained=True,
    examples=80,
    recheck=False,
    combinators=(Grid, weight),
)
def union_over_strata(family: Any, share: str = "product", rounded: bool = True) -> tuple[Any, Any, float]:
    """Left exact, with the smallest Phi that satisfies the premise, a quantile of the class's largest gap.

    Attained, for one kind of radius, by a function per stratum j that fails alone, with probability delta w(j). If the
    class is that of the trained radius itself, several functions of one stratum fail with that probability each.
    """
    group, delta = family
    assume(0 < delta < 1 and (group.radii > 0).all() and (group.radii < 1e300).all())
    assume((group.chances >= 0).all() and group.chances.sum() <= 1)
    grid = Grid()
    chances = np.append(group.chances, 1 - group.chances.sum())
    gaps = np.append(group.gaps, np.zeros((len(group.radii), 1)), axis=1)
    fails = np.zeros(len(chances), dtype=bool)
    for gap, radii in zip(gaps, group.radii, strict=True):
        strata = [grid.stratum(t) for t in radii.tolist()]
        members = (group.radii <= ([float(grid.value(j)) for j in strata] if rounded else radii)).all(axis=1)
        largest = gaps[members].max(axis=0)
        order = np.argsort(-largest)
        beyond = np.cumsum(chances[order]) > delta * SHARES[share]([_weight(j) for j in strata])
        if beyond.any():  # else everything may fail
            fails |= gap > largest[order][np.argmax(beyond)]
    return float(chances[fails].sum()), delta, LOSING


@inequality(
    "L4.10-margin",
    r"\gamma^-=1/t^+\le\gamma,\qquad\widehat R_{\gamma^-}\le\widehat R_\gamma",
    source="own derivation",
    given={
        "margins": vectors((1, 6)),
        "gamma": st.one_of(positive(), scales(2)),
        "eta": st.one_of(st.just(0.05), positive(1.0, 0.01)),
        "which": st.sampled_from(["margin", "ramp"]),
    },
    mutants={
        "the inverse rounded down": {"lower": 1},
        "the margin itself rounded up": {"inverted": False},
    },
    attained=True,
    recheck=False,
    combinators=(Grid,),
)
def rounded_margin(
    margins: Any, gamma: float, eta: float, which: str, lower: int = 0, inverted: bool = True
) -> tuple[Any, Any]:
    """The package's ramp at the package's rounded margin; attained on the grid, and by errors alone."""
    assume(1e-5 < gamma < 1e5 and 1e-3 < eta < 10)
    grid = Grid(eta=eta)
    if inverted:
        smaller = float(1 / grid.value(grid.stratum(1 / gamma) - lower))
    else:
        smaller = float(grid.value(grid.stratum(gamma)))
    if which == "margin":
        return smaller, gamma
    return ramp(margins, smaller), sum(min(1.0, max(0.0, 1 - each / gamma)) for each in margins.tolist()) / len(margins)


# Hold-out bounds.

BINOMIAL = holdout_binomial.ENTRY.variants[0].value  # type: ignore[union-attr]
BERNSTEIN = holdout_bernstein.ENTRY.variants[0].value  # type: ignore[union-attr]
ERRORS, HELD_OUT = symbols.k_errors, symbols.m_holdout


@cache
def _binomial_bounds(expression: sp.Expr, m: int, percent: float) -> tuple[Any, ...]:
    """The package's bound for every number of errors, mpf; delta in per cent."""
    variant = HoldOut("", "risk", expression)
    return tuple(holdout_value(variant, m=m, errors=k, delta=percent / 100) for k in range(m + 1))


@cache
def _bernstein_bounds(expression: sp.Expr, m: int, percent: float) -> tuple[Any, ...]:
    """The same for k losses 1 and m-k losses 0."""
    variant = HoldOut("", "risk", expression)
    found = []
    for k in range(m + 1):
        losses = np.concatenate([np.ones(k), np.zeros(m - k)])
        found.append(holdout_value(variant, m=m, errors=k, delta=percent / 100, losses=losses))
    return tuple(found)


def _binomial(m: int, k: int, p: Any) -> Any:
    """Pr[k errors among m]."""
    return math.comb(m, k) * p**k * (1 - p) ** (m - k)


def _beyond(bounds: tuple[Any, ...], errors: int, excess: Any) -> tuple[list[Any], Any]:
    """The bounds in the current precision, and a risk a little above that for `errors` errors."""
    known = [reals.real(bound) for bound in bounds]
    bound = known[errors % len(known)]
    assume(1e-12 <= excess <= 1 and bound < 1)
    return known, bound + excess * (1 - bound)


def _excesses() -> SearchStrategy[float]:
    return st.one_of(st.just(1e-9), st.sampled_from([1e-6, 1e-3]), positive(1.0))


@inequality(
    "holdout_binomial-standard",
    r"\Pr_{k\sim\mathrm{Bin}(m,p)}[p>\mathrm{Beta}^{-1}(1-\delta;k+1,m-k)]\le\delta",
    source="Clopper & Pearson 1934",
    given={
        "m": st.sampled_from([1, 2, 5, 12, 30]),
        "errors": st.integers(0, 30),
        "percent": st.sampled_from([5, 1, 25, 45]),
        "excess": _excesses(),
    },
    mutants={
        "the lower limit": {
            "expression": sp.Piecewise(
                (sp.Integer(0), sp.Le(ERRORS, 0)),
                (BetaQuantile(1 - symbols.delta, ERRORS, HELD_OUT - ERRORS + 1), True),
            )
        },
        "twice the failure probability": {"expression": BINOMIAL.subs(symbols.delta, 2 * symbols.delta)},
        "a normal approximation": {
            "expression": ERRORS / HELD_OUT
            + sp.sqrt(2 * ERRORS * (HELD_OUT - ERRORS) * sp.log(1 / symbols.delta) / HELD_OUT**3)
        },
    },
    attained=True,
)
def binomial_coverage(m: int, errors: int, percent: int, excess: float, expression: Any = BINOMIAL) -> tuple[Any, Any]:
    """Left exact, summed from the binomial probabilities; attained by a risk just above one of the bounds."""
    bounds, p = _beyond(_binomial_bounds(expression, m, percent), errors, excess)
    return sum(_binomial(m, k, p) for k, bound in enumerate(bounds) if p > bound), reals.real(percent) / 100


@inequality(
    "holdout_binomial-robust",
    r"\Pr[\exists i\le2:p_i>\mathrm{Beta}^{-1}(1-\tfrac\delta2;k_i+1,m-k_i)]\le\delta,"
    r"\quad k_1\le k_2\text{ errors at }\varepsilon_1<\varepsilon_2",
    source="Clopper & Pearson 1934; union bound",
    given={
        "m": st.sampled_from([1, 2, 5, 8]),
        "errors": st.tuples(st.integers(0, 8), st.integers(0, 8)),
        "percent": st.sampled_from([1, 5, 45]),
        "excesses": st.tuples(_excesses(), _excesses()),
    },
    mutants={"the whole delta for each": {"share": 1.0}, "delta over the root of 2": {"share": 0.5**0.5}},
    attained=True,
    recheck=False,
)
def joint_coverage(
    m: int,
    errors: tuple[int, int],
    percent: int,
    excesses: tuple[float, float],
    share: float = 0.5,
) -> tuple[Any, Any]:
    """Left exact: a sample that errs at the smaller radius errs at the larger one. Attained for small delta.

    Then the two bounds fail on different samples, and "several epsilon: divide delta" wastes nothing.
    """
    robust = next(v for v in holdout_binomial.ENTRY.variants if v.target == "robust risk")
    known = _binomial_bounds(robust.value, m, share * percent)  # type: ignore[union-attr]
    (bounds, smaller), (_, larger) = (_beyond(known, k, x) for k, x in zip(errors, excesses, strict=True))
    assume(smaller <= larger)
    left = 0.0
    for first in range(m + 1):
        for both in range(first, m + 1):
            if smaller > bounds[first] or larger > bounds[both]:
                ways = math.comb(m, both) * math.comb(both, first)
                left += ways * smaller**first * (larger - smaller) ** (both - first) * (1 - larger) ** (m - both)
    return left, percent / 100


@cache
def _intervals(m: int, confidence: float, normal: bool) -> tuple[tuple[float, float], ...]:
    if normal:
        return tuple((k / m - w, k / m + w) for k in range(m + 1) for w in [2 * math.sqrt(k * (m - k) / m**3)])
    return tuple(clopper_pearson(k, m, confidence) for k in range(m + 1))


@inequality(
    "holdout_binomial-interval",
    r"\Pr_{k\sim\mathrm{Bin}(m,p)}[p\notin[\mathrm{low}(k),\mathrm{high}(k)]]\le1-\text{confidence}",
    source="Clopper & Pearson 1934",
    given={
        "m": st.sampled_from([1, 2, 5, 12, 30, 100]),
        "errors": st.integers(0, 100),
        "percent": st.sampled_from([5, 1, 25]),
        "excess": _excesses(),
        "side": st.sampled_from(["above", "below"]),
    },
    mutants={
        "the whole failure probability in each tail": {"tail": 2},
        "a normal approximation": {"normal": True},
    },
    recheck=False,
)
def interval_coverage(
    m: int, errors: int, percent: int, excess: float, side: str, tail: int = 1, normal: bool = False
) -> tuple[Any, Any]:
    """Left exact, at shares just outside an interval. Not attained: no share just misses an end on both sides."""
    assume(1e-12 <= excess <= 1)
    intervals = _intervals(m, 1 - tail * percent / 100, normal)
    low, high = intervals[errors % (m + 1)]
    p = min(1.0, high) + excess * (1 - min(1.0, high)) if side == "above" else low * (1 - excess)
    assume(0 < p < 1)
    return sum(_binomial(m, k, p) for k, (a, b) in enumerate(intervals) if not a <= p <= b), percent / 100


@inequality(
    "holdout_bernstein-ramp loss",
    r"\Pr\Bigl[p>\widehat\ell+\sqrt{\tfrac{2\widehat V\ln(2/\delta)}m}+\tfrac{7\ln(2/\delta)}{3(m-1)}\Bigr]\le\delta,"
    r"\quad\ell\sim\mathrm{Bernoulli}(p)",
    source="Maurer & Pontil 2009",
    given={
        "m": st.sampled_from([5, 20, 200]),
        "errors": st.sampled_from([0, 1, 2, 5, 50, 80, 100, 110]),
        "percent": st.sampled_from([5, 1, 50, 90]),
        "excess": _excesses(),
    },
    mutants={
        "without the last term": {"expression": BERNSTEIN.subs(symbols.M, 0)},
        "without the variance": {"expression": BERNSTEIN.subs(symbols.V_loss, 0)},
    },
    recheck=False,
)
def bernstein_coverage(
    m: int, errors: int, percent: int, excess: float, expression: Any = BERNSTEIN
) -> tuple[Any, Any]:
    """Left exact, at risks just above one of the package's bounds.

    Loose: the constants 2 and 7/3 pay for an estimated variance by a union bound; with no error among m the bound is
    7 ln(2/delta)/(3(m-1)) where ln(1/delta)/m is needed.
    """
    bounds, p = _beyond(_bernstein_bounds(expression, m, percent), errors, excess)
    return sum(_binomial(m, k, p) for k, bound in enumerate(bounds) if p > bound), percent / 100


@inequality(
    "holdout_bernstein-atoms",
    r"\Pr\Bigl[\mathbb E\ell>\widehat\ell+\sqrt{\tfrac{2\widehat V\ln(2/\delta)}m}"
    r"+\tfrac{7M\ln(2/\delta)}{3(m-1)}\Bigr]\le\delta,\quad\ell\in[0,M]\text{ with two or three values}",
    source="Maurer & Pontil 2009",
    given={"population": _few_atoms(), "M": st.one_of(st.just(1.0), scales(3)), "delta": _failures()},
    mutants={
        "without the last term": {"certain": True},
        "the range dropped": {"forget": True},
        "m squared": {"power": 2},
    },
    recheck=False,
)
def bernstein_of_atoms(
    population: Any, M: float, delta: float, certain: bool = False, forget: bool = False, power: int = 1
) -> tuple[Any, Any, float]:
    """The quantile of E l - mean - sqrt(2 V ln(2/delta)/m), exact, against the last term."""
    m = population.n
    assume(m >= 2 and 0 < delta < 0.9999 and 1e-6 < M < 1e6)
    chances, shares, probabilities = _sampled(population)
    values = M * np.clip(population.values[0], 0, 1)
    means = shares @ values
    variances = (shares * (values - means[:, None]) ** 2).sum(axis=1) * m / (m - 1)
    numbers = {
        HELD_OUT: m**power,
        symbols.delta: delta,
        symbols.M: 1 if forget else M,
        symbols.mean_loss: 0,
        symbols.V_loss: 0,
    }
    last = reals.evaluate(BERNSTEIN, numbers)
    per_deviation = reals.evaluate(BERNSTEIN, {**numbers, symbols.V_loss: 1}) - last
    left = _quantile(chances @ values - means - per_deviation * np.sqrt(variances), probabilities, delta)
    return left, 0.0 if certain else last, LOSING * M
