"""What is read off a bound: a-posteriori values, caps, shares, elasticities, enclosures, sample sizes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bounds import symbols
from bounds.calculus.arithmetic import point
from bounds.calculus.contraction import contraction
from bounds.calculus.dudley import dudley_parametric, dudley_scale_free
from bounds.calculus.pac_bayes import pac_bayes
from bounds.calculus.risk import risk
from bounds.calculus.spectral_cover import spectral_cover
from bounds.calculus.stratification import Grid, weight
from bounds.calculus.sum_rule import sum_rule
from bounds.measurements import LayerMeasurement, Measurements
from bounds.readings import (
    Settings,
    elasticities,
    enclosure_log10,
    read_fixed,
    read_stratified,
    sample_size_log10,
    shares,
)
from bounds.sides import Lower, TwoSided, Upper
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies.norms import (
    BOUNDS,
    EXACT,
    LAYER_NORMS,
    LINEAR,
    PAC_BAYES,
    PEELING,
    SIDE,
    SURROGATE,
    Case,
    assume_off_ceilings,
    bounds_of,
    cases,
    moderate,
)


def _zero(gamma: float) -> float:
    return 0.0


def _stratified(case: Case, eta: float) -> Any:
    settings = Settings(case.delta, case.gamma, Grid(eta=eta))
    case.evaluator()  # refuses what the bound does not apply to
    return read_stratified(case.formula, case.norms.measurements(), settings, _zero, np.array([case.gamma]))


USED_RADII = {
    "golowich2018_frobenius": "a c",
    "golowich2018_l1inf": "m m_bias",
    "neyshabur2015_frobenius": "a c",
    "bartlett2017_spectral published": "s b c",
    "bartlett2017_spectral audited": "s b g c",
    "graf2022_excess_capacity": "s g c",
    "parametric_cover": "s c t",
    "jacobian_surrogate norm-based": "s a b g c",
    "jacobian_surrogate parametric": "s a c t",
}
"""By hand, by words of the bound's name: the radii that it is written in (PAC-Bayes holds for all weights at once)."""


def _used_radii(case: Case) -> list[tuple[str, int]]:
    """Name and layer of each; the offset of a layer that has none is not stratified."""
    if case.bound in LINEAR:
        return [("w", 0 if case.bound.endswith("1") else 1)]
    names = [used for words, used in USED_RADII.items() if all(word in case.bound for word in words.split())]
    bias = case.norms.bias or ()
    return [(name, i) for name in "".join(names).split() for i in range(len(bias)) if name != "c" or bias[i]]


def _rounded(radius: float, eta: float) -> tuple[Any, int]:
    """The first power of 1 + eta at or above max(radius, 10^-6), one step at a time."""
    target, step = max(point.mpf(radius), point.mpf(1e-6)), 1 + point.mpf(eta)
    value, j = point.mpf(1), 0
    while value < target:
        value, j = value * step, j + 1
    while value / step >= target:
        value, j = value / step, j - 1
    return value, j


def _weight(j: int) -> Any:
    """1/(3 + pi^2) times 3, or 3/j^2."""
    return 3 / ((3 + point.pi**2) * max(1, j * j))


@inequality(
    "metamorphic-strata",
    r"\text{a-posteriori value}=\Phi\left(t^+,\gamma^-,\delta\,w(j_\gamma)\prod_iw(j_i)\right),\quad t_i^+="
    r"(1+\eta)^{j_i}\ge\max(t_i,10^{-6}),\ \gamma^-=(1+\eta)^{-j_\gamma}\le\gamma,\ w(j)=\frac3{(3+\pi^2)\max(1,j^2)}",
    source="own derivation, generalising Bartlett, Foster & Telgarsky 2017, Lemma A.9",
    relation="==",
    attained=True,
    given={"case": cases(), "eta": st.sampled_from([0.25, 0.05, 1.0]), "side": SIDE},
    mutants={
        "delta is not shared": {"shared": False},
        "the margin is not": {"margin": False},
        "rounded down": {"down": True},
    },
    examples=60,
    recheck=False,
    rounding=2.0**-40,
    combinators=(Grid.stratum, Grid.value, weight),
)
def strata(
    case: Case, eta: float, side: str, shared: bool = True, margin: bool = True, down: bool = False
) -> tuple[Any, Any]:
    """Right: grid, weights and the list of radii by hand. The surrogate has no margin."""
    assume(0.04 < eta < 2)
    assume_off_ceilings(case)
    norms, share = case.norms, point.mpf(1)
    case = case.changed(m_bias=tuple(row + offset for row, offset in zip(norms.m or (), norms.c or (), strict=True)))
    at = case
    for name, i in _used_radii(case):
        entries = list(getattr(at.norms, name))
        entries[i], j = _rounded(entries[i], eta)
        entries[i] = entries[i] / (1 + point.mpf(eta)) if down else entries[i]
        at, share = at.changed(**{name: tuple(entries)}), share * _weight(j)
    if case.bound not in SURROGATE:
        inverse, j = _rounded(1 / case.gamma, eta)
        # Off the grid: there the rounding of 1/gamma decides the stratum.
        assume(inverse * case.gamma > 1 + 1e-9 or case.gamma == 1)
        at, share = replace(at, gamma=1 / inverse), share * (_weight(j) if margin else 1)
    assume_off_ceilings(at)
    at = replace(at, delta=case.delta * (share if shared else point.mpf(1)))
    posterior = _stratified(case, eta)
    return posterior.raw if side == "raw" else posterior.gap, at.value(side)


@inequality(
    "metamorphic-guaranteed_below_raw",
    r"\text{guaranteed gap}\le\text{raw gap}",
    source="own derivation",
    attained=True,
    given={"case": cases()},
    mutants={"half of it": {"factor": 0.5}, "at twice the sample size": {"times": 2}},
    examples=90,
    recheck=False,
    rounding=EXACT,
    combinators=(dudley_scale_free, dudley_parametric, sum_rule, risk),
)
def guaranteed_below_raw(case: Case, factor: float = 1.0, times: int = 1) -> tuple[Any, Any]:
    """Attained off the cap, but for scale-free covers, whose guaranteed value has the optimal lower limit."""
    case = reals.lifted(case)
    return case.value("guaranteed"), factor * case.changed(n=times * case.norms.n).value("raw")


@inequality(
    "metamorphic-guaranteed_below_trivial",
    r"\text{guaranteed complexity}\le M/2\quad(\text{PAC-Bayes excess}\le1),\quad M\text{ the range of the loss}",
    source="own derivation",
    attained=True,
    given={"case": cases()},
    mutants={"a tenth less": {"factor": 0.9}, "the ramp's range for every loss": {"ramp": True}},
    examples=90,
    recheck=False,
    rounding=EXACT,
    combinators=(dudley_scale_free, dudley_parametric, sum_rule, contraction),
)
def guaranteed_below_trivial(case: Case, factor: float = 1.0, ramp: bool = False) -> tuple[Any, Any]:
    """Attained by every class that is large enough."""
    case = reals.lifted(case)
    M = point.mpf(1) if ramp else case.evaluator()(case.formula.gap.trivial)
    return case.complexity("guaranteed"), factor * (M if case.bound in PAC_BAYES else M / 2)


@inequality(
    "metamorphic-risk",
    r"\text{guaranteed risk}\le\min\left(M,\ \widehat R+\text{raw gap}\right)",
    source="own derivation",
    attained=True,
    given={"case": cases(), "empirical": moderate(1.0)},
    mutants={"without the empirical risk": {"part": 0.0}, "half the range": {"range_": 0.5}},
    examples=60,
    recheck=False,
    rounding=2.0**-50,
    combinators=(risk, pac_bayes),
)
def risk_value(case: Case, empirical: float, part: float = 1.0, range_: float = 1.0) -> tuple[Any, Any]:
    """Attained by vacuous bounds and by those off their cap."""
    evaluate = case.evaluator()
    reading = read_fixed(case.formula, case.norms.measurements(), case.settings, lambda gamma: empirical)
    gap = case.formula.gap
    return reading.risk, min(range_ * evaluate(gap.trivial), part * empirical + evaluate(gap.raw))


@inequality(
    "metamorphic-share_elasticity",
    r"\frac{\partial\,\text{raw gap}}{\partial\ln b_i}=\text{share}_i\cdot\frac{24R}n\ln n\quad "
    r"\text{(spectral cover as published)}",
    source="own derivation",
    relation="==",
    attained=True,
    given={"case": cases(("bartlett2017_spectral published",), samples=(4, 2, 30, 1000)), "layer": st.integers(0, 2)},
    mutants={"the terms themselves for their 2/3 powers": {"power": 1.5}, "Rademacher for gap": {"times": 12}},
    examples=60,
    recheck=False,
    rounding=2.0**-40,
    combinators=(spectral_cover, dudley_scale_free, shares, elasticities),
)
def share_elasticity(case: Case, layer: int, power: float = 1.0, times: int = 24) -> tuple[Any, Any]:
    """R = (sum of kappa^{2/3})^{3/2}, so a layer's share of the sum is the exponent of its distance."""
    evaluate = case.evaluator()
    i = layer % evaluate.depth
    found = elasticities(case.formula, case.norms.measurements(), case.settings)
    left = found.get("b", [0.0] * evaluate.depth)[i] * evaluate(case.formula.gap.raw)
    n = case.norms.n
    parts = shares(case.formula, evaluate)
    assume(parts is not None)
    assert parts is not None
    total = sum(part**power for part in parts)
    return left, parts[i] ** power / total * times * evaluate(symbols.R) / n * point.log(n)


RADII = ("s", "a", "b", "g", "m", "m_bias", "c", "t")


@inequality(
    "metamorphic-elasticity",
    r"\text{elasticity}=\frac{\ln\Phi(te^{\eta})-\ln\Phi(te^{-\eta})}{2\eta}+O(\eta^2)\quad\text{for every radius "
    r"of every layer, off the kinks of min and max}",
    source="own derivation",
    relation="==",
    attained=True,
    given={
        "case": cases(tuple(name for name in BOUNDS if not name.startswith("graf"))),
        "radius": st.integers(0, len(RADII) - 1),
        "layer": st.integers(0, 2),
    },
    mutants={"the derivative itself": {"logarithm": False}, "of the complexity alone": {"confidence": False}},
    examples=30,
    recheck=False,
    combinators=(elasticities,),
)
def elasticity(
    case: Case, radius: int, layer: int, logarithm: bool = True, confidence: bool = True
) -> tuple[Any, Any, Any]:
    """Central differences of step 10^-9 in 120 bits; where both sides of them differ there is a kink."""
    formula, norms = case.formula, case.norms
    name, i = RADII[radius], layer % len(norms.s)
    m_bias = tuple(row + offset for row, offset in zip(norms.m or (), norms.c or (), strict=True))
    case = case.changed(m_bias=m_bias)
    found = elasticities(formula, case.norms.measurements(), case.settings)
    entry = found.get(str(getattr(symbols, name)), [0.0] * len(norms.s))[i]
    start = case.evaluator()
    values = dict(start.values[getattr(symbols, name)])
    assume(values[i + 1] > 0)
    step = point.mpf(10) ** -9
    expression = formula.gap.raw if confidence else formula.gap.complexity[0]

    def log_at(sign: int) -> Any:
        moved = {**values, i + 1: values[i + 1] * point.exp(sign * step)}
        return point.log(start.changed({getattr(symbols, name): moved})(expression))

    below, here, above = (log_at(sign) for sign in (-1, 0, 1))
    assume(abs((above - here) - (here - below)) < 1e-6 * step)
    slope = (above - below) / (2 * step)
    return entry, slope if logarithm else slope / values[i + 1], 1e-12 * (1 + abs(slope))


def _widened(case: Case, width: float, at: float) -> tuple[Measurements, Case]:
    """Every norm of the weights known up to a factor 1 + width only, and a truth between the ends."""
    exact = case.norms.measurements()
    layers = []
    for layer in exact.layers:
        ends = {name: getattr(layer, name).upper.value for name in RADII}
        layers.append(
            LayerMeasurement(**{n: TwoSided(Lower(end), Upper(end * (1 + width))) for n, end in ends.items()})
        )
    truth = case
    for i in range(len(layers)):
        truth = truth.layer_scaled(i, 1 + at * width, (*LAYER_NORMS, "c"))
    return replace(exact, layers=tuple(layers)), truth


@inequality(
    "metamorphic-enclosure",
    r"\left|\log_{10}\Phi(t)-\tfrac{h+l}2\right|\le\tfrac{h-l}2,\quad[l,h]=\log_{10}\Phi([t^-,t^+])\text{ by interval "
    r"arithmetic},\ t^-\le t\le t^+",
    source="own derivation",
    attained=True,
    given={
        "case": cases(),
        "width": st.one_of(st.sampled_from([1.0, 0.1]), moderate()),
        "at": st.one_of(st.sampled_from([1.0, 0.0, 0.5]), moderate(1.0)),
    },
    mutants={"half as wide": {"narrow": 0.5}, "truth a tenth above the upper ends": {"beyond": 0.1}},
    examples=60,
    recheck=False,
    combinators=(enclosure_log10,),
)
def interval_enclosure(
    case: Case, width: float, at: float, narrow: float = 1.0, beyond: float = 0.0
) -> tuple[Any, Any, Any]:
    """Attained at the ends: bounds are non-decreasing in every norm. The allowance: rounding of two logarithms."""
    assume(0 <= at <= 1 and width > 1e-3)
    measured, truth = _widened(case, width, at)
    for layer in range(len(case.norms.s)):
        truth = truth.layer_scaled(layer, 1 + beyond, (*LAYER_NORMS, "c"))
    low, high = enclosure_log10(case.formula, measured, case.settings)
    value = float(point.log10(truth.value()))
    return abs(value - (high + low) / 2), narrow * (high - low) / 2, 2.0**-48 * (1 + abs(low) + abs(high))


def _at_sample_size(case: Case, growth: float, shift: float) -> tuple[Any, Any, float]:
    """Guaranteed gap and trivial value at n* times 10^shift."""
    start, gap = case.evaluator(), case.formula.gap
    decades = sample_size_log10(case.formula, case.norms.measurements(), start)
    assume(decades is not None)
    assert decades is not None
    n = point.mpf(10) ** (point.mpf(decades) + shift)
    factor = (n / case.norms.n) ** point.mpf(growth)
    norms = case.norms
    at = start.changed({symbols.n: n, symbols.X_F: norms.X_F * factor, symbols.X_col: norms.X_col * factor})
    return at(gap.guaranteed), at(gap.trivial), decades


CHEAP = PEELING + LINEAR + PAC_BAYES + bounds_of("parametric_cover")


@inequality(
    "metamorphic-sample_size",
    r"\text{guaranteed gap at }n^*\le\text{trivial value}\qquad(\|X\|_F\propto\sqrt n)",
    source="own derivation",
    attained=True,
    given={"case": cases(CHEAP)},
    mutants={"at 0.99 n*": {"shift": math.log10(0.99)}, "‖X‖_F in proportion to n": {"growth": 1.0}},
    examples=40,
    recheck=False,
    combinators=(sample_size_log10,),
)
def sample_size(case: Case, shift: float = 0.0, growth: float = 0.5) -> tuple[Any, Any]:
    """Attained: n* is the smallest such size, to three digits of its logarithm."""
    gap, trivial, _ = _at_sample_size(case, growth, shift)
    return gap, trivial


@inequality(
    "metamorphic-sample_size_smallest",
    r"n<10^{-0.002}n^*\ \Rightarrow\ \text{guaranteed gap at }n\ge\text{trivial value}\qquad(n^*>2.1)",
    source="own derivation",
    attained=True,
    given={"case": cases(CHEAP), "less": moderate(0.1)},
    mutants={"above n*": {"sign": 1}, "‖X‖_F kept": {"growth": 0.0}},
    examples=40,
    recheck=False,
    combinators=(sample_size_log10,),
)
def sample_size_smallest(case: Case, less: float, sign: int = -1, growth: float = 0.5) -> tuple[Any, Any]:
    """The other direction; attained just below n*. Sizes of two and less are not looked at."""
    shift = sign * (0.002 + less)
    gap, trivial, decades = _at_sample_size(case, growth, shift)
    assume(decades + shift > 0.31)
    return trivial, gap
