r"""What a bound must do when its numbers change in a known way: rescaled layers, units, more data, larger norms.

Both sides are the package's, at numbers related by a symmetry or an order that they must respect; those numbers are
written down here. Classes are given by norms, or by weights whose norms one side measures with the package and the
other with plain linear algebra. Everything between norms and values has 120 bits, so the comparison has them too:
there is no second run in 35 digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bounds import symbols
from bounds.by_hand import Norms
from bounds.calculus.arithmetic import point
from bounds.calculus.contraction import contraction
from bounds.calculus.dudley import dudley_parametric, dudley_scale_free
from bounds.calculus.kernel_cover import kernel_cover_complexity
from bounds.calculus.pac_bayes import pac_bayes
from bounds.calculus.parametric_cover import parametric_cover
from bounds.calculus.peeling import peel_exponential, peel_layers, peel_rows
from bounds.calculus.risk import risk
from bounds.calculus.spectral_cover import spectral_cover
from bounds.calculus.stratification import Grid, weight
from bounds.calculus.sum_rule import sum_rule
from bounds.measurements import ATTACK_NORMS, LayerMeasurement, Measurements
from bounds.readings import (
    Settings,
    elasticities,
    enclosure_log10,
    evaluator,
    read_fixed,
    read_stratified,
    sample_size_log10,
    shares,
    used,
)
from bounds.sides import Lower, TwoSided, Upper
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import chains, matrices, scales, vectors
from verification.inequalities.strategies.networks import Chain
from verification.inequalities.strategies.norms import (
    BOUNDS,
    LAYER_NORMS,
    SIDES,
    Case,
    assume_off_ceilings,
    bounds_of,
    cases,
    moderate,
)

EXACT = 2.0**-80
MEASURED = 2.0**-36
"""Norms in float64: the operator norm's upper end carries an allowance of a few hundred roundings."""

SURROGATE = bounds_of("jacobian_surrogate")
LINEAR = bounds_of("yin2019_linear_linf", "awasthi2020_linear")
MARGIN = tuple(name for name in BOUNDS if name not in SURROGATE + LINEAR)
PEELING = bounds_of("golowich2018_frobenius", "golowich2018_l1inf", "neyshabur2015_frobenius")
PAC_BAYES = bounds_of("neyshabur2018_pacbayes", "xiao2023_robust_pacbayes")
COVERS = bounds_of("bartlett2017_spectral", "graf2022_excess_capacity", "parametric_cover")
ATTACKED = ("parametric_cover adversarial", *bounds_of("xiao2023_robust_pacbayes"), *LINEAR, *SURROGATE)
SIDE = st.sampled_from(SIDES)
ALL_DATA = ("X_F", "X_col", "B", "B_p", "eps")


def _factors() -> SearchStrategy[float]:
    return st.one_of(st.sampled_from([2.0, 0.5, 3.0]), scales(3))


def _weights_scaled(case: Case, factor: Any, layer: int, names: tuple[str, ...] = LAYER_NORMS) -> Case:
    """One layer's weights times a factor; the two rows' difference of a linear network is one of its norms."""
    w = tuple(norm * factor for norm in case.norms.w or ())
    return case.layer_scaled(layer, factor, names).changed(w=w)


# --- symmetries of a class given by its norms ---


@inequality(
    "metamorphic-rescaling",
    r"\Phi(\dots,cW_i,c^{-1}W_{i+1},\dots)=\Phi(\dots,W_i,W_{i+1},\dots)\quad\text{for every bound on a homogeneous "
    r"network without offsets: }s,a,b,g,m,t\text{ of layer }i\text{ times }c\text{, of layer }i+1\text{ over }c",
    source="own derivation",
    relation="==",
    attained=True,
    given={
        "case": cases(MARGIN, depth=(2, 4), offsets=False, at_zero=False),
        "layer": st.integers(0, 2),
        "factor": _factors(),
        "side": SIDE,
    },
    mutants={
        "the next layer forgotten": {"back": ()},
        "its spectral norm forgotten": {"back": ("a", "b", "g", "m", "t")},
        "its distances forgotten": {"back": ("s", "a", "m")},
    },
    examples=80,
    recheck=False,
    rounding=EXACT,
    combinators=(peel_exponential, peel_layers, peel_rows, spectral_cover, kernel_cover_complexity, pac_bayes),
)
def rescaling(case: Case, layer: int, factor: float, side: str, back: tuple[str, ...] = LAYER_NORMS) -> tuple[Any, Any]:
    """Exact. The bounds of the Jacobian surrogate have no such symmetry: smooth activations are not homogeneous."""
    assume(factor > 0)
    case, c = reals.lifted((case, factor))
    c = point.mpf(c)
    assume_off_ceilings(case)
    i = layer % (len(case.norms.s) - 1)
    return case.layer_scaled(i, c).layer_scaled(i + 1, 1 / c, back).value(side), case.value(side)


@inequality(
    "metamorphic-logit_scale",
    r"\Phi(cf,c\gamma)=\Phi(f,\gamma):\quad\text{logits and margin in other units; offsets of earlier layers stay}",
    source="own derivation",
    relation="==",
    attained=True,
    given={"case": cases(MARGIN + LINEAR), "factor": _factors(), "side": SIDE},
    mutants={"the offset forgotten": {"names": LAYER_NORMS}, "the margin squared": {"power": 2}},
    examples=80,
    recheck=False,
    rounding=EXACT,
    combinators=(peel_exponential, peel_rows, spectral_cover, parametric_cover, pac_bayes, contraction),
)
def logit_scale(
    case: Case, factor: float, side: str, names: tuple[str, ...] = (*LAYER_NORMS, "c"), power: int = 1
) -> tuple[Any, Any]:
    """Exact; every margin bound depends on the last layer and the margin through their ratio."""
    assume(factor > 0)
    case, factor = reals.lifted((case, factor))
    assume_off_ceilings(case)
    moved = replace(_weights_scaled(case, factor, -1, names), gamma=case.gamma * point.mpf(factor) ** power)
    return moved.value(side), case.value(side)


@inequality(
    "metamorphic-input_units",
    r"\Phi(cX,cB,c\varepsilon;c^{-1}W_1)=\Phi(X,B,\varepsilon;W_1)\quad\text{(no offsets): inputs and attack in "
    r"other units}",
    source="own derivation",
    relation="==",
    attained=True,
    given={"case": cases(offsets=False), "factor": _factors(), "side": SIDE},
    mutants={
        "the attack in the old unit": {"data": ("X_F", "X_col", "B", "B_p")},
        "the support in the old unit": {"data": ("X_F", "X_col", "eps")},
    },
    examples=90,
    recheck=False,
    rounding=EXACT,
    combinators=(dudley_parametric, dudley_scale_free, sum_rule, risk, contraction),
)
def input_units(case: Case, factor: float, side: str, data: tuple[str, ...] = ALL_DATA) -> tuple[Any, Any]:
    """Exact; the norm-based surrogate only guaranteed: its raw value has Dudley's lower limit in fixed units."""
    assume(factor > 0)
    case, factor = reals.lifted((case, factor))
    assume_off_ceilings(case)
    side = "guaranteed" if case.bound.endswith("norm-based") else side
    return _weights_scaled(case.scaled(factor, *data), 1 / point.mpf(factor), 0).value(side), case.value(side)


# --- symmetries of a network given by its weights ---


def _by_numpy(weights: tuple[Any, ...], X: Any) -> Norms:
    """Norms of a relu network without offsets and of its inputs, from their definitions."""
    rows = [np.sqrt((W**2).sum(axis=1)).sum() for W in weights]
    frobenius = [np.sqrt((W**2).sum()) for W in weights]
    return Norms(
        s=[np.linalg.svd(W, compute_uv=False)[0] for W in weights],
        a=frobenius,
        b=rows,
        g=rows,
        m=[np.abs(W).sum(axis=1).max() for W in weights],
        t=frobenius,
        widths=(weights[0].shape[1], *(W.shape[0] for W in weights)),
        n=len(X),
        classes=len(weights[-1]),
        d=weights[0].shape[1],
        X_F=np.sqrt((X**2).sum()),
        X_col=np.sqrt((X**2).sum(axis=0)).max(),
        B=np.sqrt((X**2).sum(axis=1)).max(),
    )


def _by_package(weights: tuple[Any, ...], X: Any, transposed: bool = False) -> Measurements:
    """The same, by the package's measurement code; the upper ends of the operator norms."""
    import torch

    from bounds.measure.data_norm import data_norms
    from bounds.measure.layer_norm import layer_norms
    from bounds.measure.spectral_norm import operator_norm
    from bounds.network.operators import Linear
    from bounds.network.segment import Segment

    hand = _by_numpy(weights, X).measurements()
    layers = []
    for W in weights:
        matrix = torch.from_numpy(np.ascontiguousarray(W.T if transposed else W))
        segment = Segment("layer", (Linear((matrix.shape[1],), matrix),))
        norms = layer_norms(segment)
        layers.append(
            LayerMeasurement(
                operator_norm(segment),
                norms.frobenius,
                norms.two_one,
                norms.kernel_group,
                norms.row_sum,
                norms.biased_row_sum,
                norms.offset,
                norms.parameter_distance,
            )
        )
    data = data_norms([(torch.from_numpy(X.copy()), torch.zeros(len(X)))])
    sample = replace(hand.data, frobenius=data.frobenius, column_max=data.column_max)
    return replace(hand, layers=tuple(layers), data=sample)


def _measured(bound: str, measured: Measurements, gamma: float) -> Any:
    return evaluator(BOUNDS[bound], measured, Settings(0.05, gamma))(BOUNDS[bound].gap.complexity[0])


WITHOUT_JUMPS = tuple(name for name in MARGIN if not name.startswith("graf") and "adversarial" not in name)
STANDARD = tuple(name for name in WITHOUT_JUMPS if not name.startswith("xiao"))
"""Bounds on the risk without an attack; Graf et al. are left out, their ceilings turn rounding into jumps."""


def _network(bounds: tuple[str, ...] = STANDARD) -> dict[str, SearchStrategy[Any]]:
    return {
        "chain": chains(("relu",), depth=(2, 3), inputs=(3, 3), offsets=False),
        "X": matrices((2, 4), 3),
        "bound": st.sampled_from(bounds),
        "gamma": moderate(),
    }


def _nonzero(chain: Chain, X: Any, gamma: float) -> None:
    assume(gamma > 1e-3 and all(np.abs(W).max() > 1e-3 for W in (*chain.weights, X)))


@inequality(
    "metamorphic-permutation",
    r"\Phi(W_1,\dots,W_{i+1}\Pi^\top,\Pi W_i\dots)=\Phi(W_1,\dots,W_{i+1},W_i,\dots)\quad\text{for permutations }"
    r"\Pi\text{ of hidden units, inputs, classes and samples}",
    source="own derivation",
    relation="==",
    attained=True,
    given={**_network(), "seed": st.integers(0, 99)},
    mutants={"columns for rows": {"transposed": True}, "units drawn with repetition": {"repeat": True}},
    examples=50,
    recheck=False,
    rounding=MEASURED,
    combinators=(peel_exponential, peel_rows, spectral_cover, parametric_cover, pac_bayes),
)
def permutation(
    chain: Chain, X: Any, bound: str, gamma: float, seed: int, transposed: bool = False, repeat: bool = False
) -> tuple[Any, Any]:
    """Left: the package's measured norms of the permuted network and sample. Right: numpy's of the original ones."""
    _nonzero(chain, X, gamma)
    rng = np.random.default_rng(seed)
    widths = [chain.weights[0].shape[1], *(len(W) for W in chain.weights)]
    orders = [rng.choice(width, width, replace=repeat) for width in widths]
    moved = tuple(W[np.ix_(orders[i + 1], orders[i])] for i, W in enumerate(chain.weights))
    shuffled = X[rng.permutation(len(X))][:, orders[0]]
    left = _measured(bound, _by_package(moved, shuffled, transposed), gamma)
    return left, _measured(bound, _by_numpy(chain.weights, X).measurements(), gamma)


@inequality(
    "metamorphic-rotation",
    r"\Phi(XR^\top,W_1R^\top,W_2,\dots)=\Phi(X,W_1,W_2,\dots)\quad\text{for every reflection }R\text{ of the "
    r"input space and every bound without row 1-norms}",
    source="own derivation",
    relation="==",
    attained=True,
    given={**_network(tuple(n for n in STANDARD if "l1inf" not in n)), "v": vectors(3)},
    mutants={
        "row 1-norms too": {"instead": "golowich2018_l1inf sharper"},
        "scaled besides": {"stretch": 1.01},
    },
    examples=60,
    recheck=False,
    rounding=MEASURED,
    combinators=(peel_exponential, peel_layers, spectral_cover, parametric_cover, pac_bayes),
)
def rotation(
    chain: Chain,
    X: Any,
    bound: str,
    gamma: float,
    v: Any,
    instead: str | None = None,
    stretch: float = 1.0,
) -> tuple[Any, Any]:
    """Left: the package's measured norms of the reflected ones. Right: numpy's."""
    _nonzero(chain, X, gamma)
    assume(np.abs(v).max() > 1e-3)
    R = stretch * (np.eye(3) - 2 * np.outer(v, v) / (v @ v))
    moved = (chain.weights[0] @ R.T, *chain.weights[1:])
    left = _measured(instead or bound, _by_package(moved, X @ R.T), gamma)
    return left, _measured(instead or bound, _by_numpy(chain.weights, X).measurements(), gamma)


@inequality(
    "metamorphic-rescaled_network",
    r"f\text{ relu},\ (cW_1,cc_1,c^{-1}W_2)\text{ computes the same }f;\text{ without offsets every bound on it, "
    r"at its measured norms, is the same}",
    source="own derivation",
    relation="==",
    attained=True,
    given={**_network(), "factor": _factors()},
    mutants={"the next layer forgotten": {"back": 0}, "scaled twice": {"back": 2}},
    examples=60,
    recheck=False,
    rounding=MEASURED,
    combinators=(peel_exponential, peel_rows, spectral_cover, parametric_cover, pac_bayes),
)
def rescaled_network(
    chain: Chain, X: Any, bound: str, gamma: float, factor: float, back: int = 1
) -> tuple[Any, Any, Any]:
    """Left: the package's measured norms of the rescaled network. Right: numpy's of the original one."""
    _nonzero(chain, X, gamma)
    assume(1e-3 <= factor <= 1e3)
    first, second, *rest = chain.weights
    moved = (factor * first, second / factor**back, *rest)
    left = _measured(bound, _by_package(moved, X), gamma)
    right = _measured(bound, _by_numpy(chain.weights, X).measurements(), gamma)
    return left, right, MEASURED * (left + right)


# --- more data ---

SQUARE_ROOT = (*PEELING, *bounds_of("parametric_cover"), *LINEAR)


@inequality(
    "metamorphic-repeated_data",
    r"\Phi_{kn}(X,\dots,X)=k^{-1/2}\,\Phi_n(X)\quad\text{(complexities by peeling, of parametric covers and of linear "
    r"classes; the sample repeated }k\text{ times)}",
    source="own derivation",
    relation="==",
    attained=True,
    given={"case": cases(SQUARE_ROOT), "X": matrices((2, 4), (1, 3), decades=2), "times": st.integers(2, 4)},
    mutants={"as if the norms did not grow": {"power": 1.0}, "as if new data changed nothing": {"power": 0.0}},
    examples=80,
    recheck=False,
    rounding=2.0**-40,
    combinators=(peel_exponential, peel_layers, peel_rows, dudley_parametric, contraction),
)
def repeated_data(case: Case, X: Any, times: int, power: float = 0.5) -> tuple[Any, Any]:
    """Left: the package's data norms of the repeated sample. Right: numpy's of the sample itself."""
    import torch

    from bounds.measure.data_norm import data_norms

    norms = data_norms([(torch.from_numpy(X.copy()), torch.zeros(len(X)))] * times)
    measured = case.changed(n=norms.n, X_F=norms.frobenius.value, X_col=norms.column_max.value).complexity()
    once = case.changed(n=len(X), X_F=np.sqrt((X**2).sum()), X_col=np.sqrt((X**2).sum(axis=0)).max())
    return measured, once.complexity() * point.mpf(times) ** -point.mpf(power)


POWERS = {
    symbols.R: 0.5,
    symbols.R_NJ: 0.5,
    symbols.Pi: 0.0,
    symbols.KL: 0.0,
    symbols.S: 0.0,
    symbols.S_J: 0.0,
    symbols.capacity_sum: 0.0,
}
"""How the parts that a report names grow with the sample size, ‖X‖_F growing as its root."""


@inequality(
    "metamorphic-growth_of_parts",
    r"\text{radii of covers grow as }\sqrt n\text{; products of norms, KL divergences, parametric entropies and "
    r"capacities do not depend on }n\quad(\|X\|_F\propto\sqrt n)",
    source="own derivation",
    relation="==",
    attained=True,
    given={"case": cases(MARGIN + SURROGATE), "times": st.integers(2, 100)},
    mutants={"in proportion to n": {"extra": 0.5}, "‖X‖_F kept": {"growth": 0.0}},
    examples=70,
    recheck=False,
    rounding=EXACT,
    combinators=(spectral_cover, kernel_cover_complexity, dudley_scale_free),
)
def growth_of_parts(case: Case, times: int, extra: float = 0.0, growth: float = 0.5) -> tuple[Any, Any]:
    """The sum of the parts that a reader is told would have to shrink; exact on both sides."""
    case = reals.lifted(case)
    assume_off_ceilings(case)
    grown = case.scaled(point.mpf(times) ** growth, "X_F", "X_col").changed(n=times * case.norms.n)
    part = case.formula.shrink[-1]
    expected = point.mpf(times) ** (POWERS[part] + extra)
    return grown.evaluator()(part), case.evaluator()(part) * expected


@inequality(
    "metamorphic-more_data",
    r"\text{guaranteed gap at }kn\le\text{guaranteed gap at }n\qquad(\|X\|_F\text{ times }\sqrt k)",
    source="own derivation",
    attained=True,
    given={"case": st.one_of(cases(PAC_BAYES), cases()), "times": st.integers(2, 1000)},
    mutants={"the other way round": {"reversed_": True}, "as if the gap fell as a root": {"gain": 0.5}},
    examples=90,
    recheck=False,
    rounding=EXACT,
    combinators=(dudley_scale_free, dudley_parametric, kernel_cover_complexity, risk),
)
def more_data(case: Case, times: int, gain: float = 0.0, reversed_: bool = False) -> tuple[Any, Any]:
    """What makes n* well defined. Attained where PAC-Bayes is capped; elsewhere the confidence term shrinks."""
    case = reals.lifted(case)
    k = point.mpf(times)
    grown = case.scaled(point.sqrt(k), "X_F", "X_col").changed(n=times * case.norms.n)
    sides = grown.value("guaranteed") * k**gain, case.value("guaranteed")
    return (sides[1], sides[0]) if reversed_ else sides


# --- attacks ---


def _dimension_factor(norms: Norms) -> float:
    return float(max(1.0, norms.d ** (0.5 - ATTACK_NORMS[norms.norm])))


@inequality(
    "metamorphic-attack_grows",
    r"\varepsilon\le\varepsilon'\ \Rightarrow\ \Phi(\mathcal F_{\mathrm{adv},\varepsilon})\le\Phi(\mathcal F_{"
    r"\mathrm{adv},\varepsilon'})",
    source="own derivation",
    attained=True,
    given={"case": cases(ATTACKED), "more": moderate(), "side": SIDE},
    mutants={"the other way round": {"reversed_": True}, "in proportion to the radius": {"proportional": True}},
    examples=80,
    recheck=False,
    rounding=EXACT,
    combinators=(parametric_cover, pac_bayes, contraction, sum_rule),
)
def attack_grows(
    case: Case, more: float, side: str, reversed_: bool = False, proportional: bool = False
) -> tuple[Any, Any]:
    """Attained where the radius hardly matters. Nothing is said about how fast."""
    case, more = reals.lifted((case, more))
    small, large = case.value(side), case.scaled(1 + point.mpf(more), "eps").value(side)
    small = small * (1 + point.mpf(more)) if proportional else small
    return (large, small) if reversed_ else (small, large)


@inequality(
    "metamorphic-audited_radius",
    r"B_2+\varepsilon D_p\le D_p(B_p+\varepsilon):\quad\text{the audited robust PAC-Bayes bound is never above the "
    r"published one }(B_2\le D_pB_p\text{ on every support})",
    source="own derivation; compare Xiao, Sun & Luo 2023",
    attained=True,
    given={"case": cases(bounds_of("xiao2023_robust_pacbayes")), "part": moderate(1.0), "side": SIDE},
    mutants={"the dimension factor at the attack only": {"factor": False}, "the other way round": {"reversed_": True}},
    examples=60,
    recheck=False,
    rounding=2.0**-40,
    combinators=(pac_bayes,),
)
def audited_radius(case: Case, part: float, side: str, factor: bool = True, reversed_: bool = False) -> tuple[Any, Any]:
    """Attained by a support whose radii are the extreme ones, B_2 = D_p B_p: a cube around 0 for p = inf."""
    assume(0 < part <= 1)
    D_p = _dimension_factor(case.norms)
    B_p = case.norms.B_p
    extreme = case.changed(B=part * D_p * B_p, B_p=B_p if factor else B_p / D_p)
    sides = (extreme.on(f"xiao2023_robust_pacbayes {name}").value(side) for name in ("audited", "published"))
    audited, published = sides
    return (published, audited) if reversed_ else (audited, published)


# --- monotonicity ---


@cache
def _declared(bound: str) -> tuple[tuple[Any, int], ...]:
    """What the calculus declares: symbols with +1 (non-decreasing) or -1, of those that the formula uses."""
    gap = BOUNDS[bound].gap
    known = [(symbol, 1) for symbol in gap.increasing] + [(symbol, -1) for symbol in gap.decreasing]
    return tuple(sorted((entry for entry in known if entry[0] in used(gap)), key=lambda entry: str(entry[0])))


def _monotone_in(names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "given": {
            "case": cases(names),
            "symbol": st.integers(0, 59),
            "layer": st.integers(0, 2),
            "factor": st.one_of(st.sampled_from([1.05, 2.0, 1e2, 1e6]), st.floats(1, 4)),
            "side": SIDE,
        },
        "mutants": {"the directions exchanged": {"sign": -1}, "margin and delta taken for radii": {"radii": True}},
        "source": "own derivation",
        "attained": True,
        "examples": 60,
        "recheck": False,
        "rounding": EXACT,
    }


def _raised(case: Case, symbol: int, layer: int, factor: float, side: str, sign: int, radii: bool) -> tuple[Any, Any]:
    """One number raised, of one layer where there are several: the value before and after, in declared order."""
    assume(factor >= 1)
    case, factor = reals.lifted((case, factor))
    declared = _declared(case.bound)
    if radii:
        declared = tuple((symbol, 1) for symbol, direction in declared if direction < 0)
    raised, direction = declared[symbol % len(declared)]
    start = case.evaluator()
    value = start.values[raised]
    if isinstance(value, Mapping):
        i = 1 + layer % len(value)
        value = {**value, i: value[i] * factor}
    else:
        value = value * factor
    assume(raised != symbols.delta or value < 1)
    expression = getattr(case.formula.gap, side)
    before, after = start(expression), start.changed({raised: value})(expression)
    return (before, after) if sign * direction > 0 else (after, before)


MONOTONE = (
    r"\Phi\text{ is non-decreasing in every radius of every layer that its calculus declares so, and non-increasing in "
    r"}\gamma\text{ and }\delta;\text{ raw and guaranteed, across every cap and branch: }"
)


@inequality(
    "metamorphic-monotone-peeling",
    MONOTONE + r"\text{peeling (Golowich et al., Neyshabur et al. 2015)}",
    combinators=(peel_exponential, peel_layers, peel_rows, risk),
    **_monotone_in(PEELING),
)
def monotone_peeling(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """Attained where another number decides: below the cap, or where a constant column is the largest."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


@inequality(
    "metamorphic-monotone-pac_bayes",
    MONOTONE + r"\text{PAC-Bayes}",
    combinators=(pac_bayes,),
    **_monotone_in(PAC_BAYES),
)
def monotone_pac_bayes(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """Attained at the cap, and where the logarithm of n dominates."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


@inequality(
    "metamorphic-monotone-covers",
    MONOTONE + r"\text{covers (Bartlett et al., Graf et al., parametric)}",
    combinators=(spectral_cover, kernel_cover_complexity, parametric_cover, dudley_scale_free, dudley_parametric),
    **_monotone_in(COVERS),
)
def monotone_covers(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """Attained at the cap M/2; crosses 3R = Mn, where the guaranteed value changes its formula."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


@inequality(
    "metamorphic-monotone-surrogate",
    MONOTONE + r"\text{the Jacobian surrogate}",
    combinators=(sum_rule, dudley_scale_free, dudley_parametric, risk),
    **_monotone_in(SURROGATE),
)
def monotone_surrogate(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """The ranges M and M_J are radii too, so even a capped value may grow. Attained by radii that do not bind."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


@inequality(
    "metamorphic-monotone-linear",
    MONOTONE + r"\text{linear classes}",
    combinators=(contraction, risk),
    **_monotone_in(LINEAR),
)
def monotone_linear(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """Attained at the cap 1/2."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


# --- readings ---


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
