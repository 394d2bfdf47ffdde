"""Symmetries of the bounds: what leaves a network or its data as they are leaves every value as it is."""

from __future__ import annotations

from dataclasses import replace
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
from bounds.calculus.sum_rule import sum_rule
from bounds.measurements import LayerMeasurement, Measurements
from bounds.readings import (
    Settings,
    evaluator,
)
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import chains, matrices, scales, vectors
from verification.inequalities.strategies.networks import Chain
from verification.inequalities.strategies.norms import (
    ALL_DATA,
    BOUNDS,
    EXACT,
    LAYER_NORMS,
    LINEAR,
    MARGIN,
    MEASURED,
    PEELING,
    SIDE,
    SURROGATE,
    Case,
    assume_off_ceilings,
    bounds_of,
    cases,
    moderate,
)


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
