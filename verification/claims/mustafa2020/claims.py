"""The claims, each decided from one number per seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import fmean

from verification.claims.claim import Claim, Direction, Effect
from verification.claims.experiment import Result, Results
from verification.claims.mustafa2020.nets import (
    DATA,
    GRADIENT,
    HESSIAN,
    IN_WORDS,
    KEPT,
    KEY_EPS,
    PLAIN,
    REFERENCE,
    SIZES,
)
from verification.claims.mustafa2020.trade_off import at_equal_accuracy, found, plain

PAPER = "Mustafa, Vandermeulen & Kloft 2020; the wording is ours, its text was not at hand"
OURS = "own, after theory L2.6"

NORMS = {"l2": "ℓ2", "linf": "ℓ∞"}
VARIANTS = {HESSIAN: "hessian", KEPT: "kept-hessian"}
DIRECTIONS = {HESSIAN: "random directions in every step", KEPT: "directions kept between epochs"}

DROPS = (1.0, 3.0)
"""Points of clean accuracy below the plain network at which methods are compared; fixed in advance."""

RANK = 0.5
"""Spearman correlation above which a prediction counts as one: half the variance of ranks would be 0.71."""

FEW = 0.05
"""Share of samples up to which exceptions from a lower bound would still be called rare."""

NEVER = 0.005
"""Share that stands for none: less than one sample of any network, and an interval can lie below it."""

RADIUS_METHODS = (PLAIN, GRADIENT, HESSIAN)
GROWING = {"quadratic": "predicted (quadratic model)", "measured": "measured", "certified": "certified"}


def claims(results: Results, preset: str) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
    """The claims that at least two seeds are left for, and a sentence for each of the others."""
    decided, missing = [], []
    for one in (*_robustness(results, preset), *_radius(results, preset)):
        if isinstance(one, Claim):
            decided.append(one)
        else:
            missing.append(one)
    return tuple(decided), tuple(missing)


def _robustness(results: Results, preset: str) -> Iterator[Claim | str]:
    """Hessian against gradient regularisation at equal clean accuracy."""
    for method, name in VARIANTS.items():
        for data, norm in KEY_EPS:
            for drop in DROPS:
                yield _more_robust(results, preset, data, norm, drop, method, name)


def _more_robust(
    results: Results, preset: str, data: str, norm: str, drop: float, method: str, name: str
) -> Claim | str:
    sizes, eps = SIZES[preset], KEY_EPS[data, norm]
    hessian, gradient = (at_equal_accuracy(results, data, one, norm, eps, drop) for one in (method, GRADIENT))
    both = [seed for seed in hessian if seed in gradient]
    left_out = len(plain(results, data)) - len(both)
    strengths = " and ".join(
        f"{', '.join(f'{strength:g}' for strength in sizes.strengths[data, one])} ({one})" for one in (method, GRADIENT)
    )
    return _claim(
        key=f"{name}-beats-gradient-{data}-{norm}-{drop:g}",
        statement=f"On {DATA[data]}, Hessian-regularised networks ({DIRECTIONS[method]}) are more robust to "
        f"{NORMS[norm]} attacks than gradient-regularised ones at equal clean accuracy ({drop:g} percentage "
        f"point{'s' * (drop != 1)} below plain training).",
        source=PAPER,
        quantity="robust accuracy, Hessian − gradient regularisation, percentage points",
        values=[hessian[seed] - gradient[seed] for seed in both],
        conditions=f"{DATA[data]}, {IN_WORDS['CNN']}, n = {sizes.samples}, {sizes.epochs} epochs, {NORMS[norm]} ε = "
        f"{eps:g}, attacks on {sizes.attacked} held-out samples; strengths {strengths}.",
        remark="Each method's best robust accuracy among strengths that keep the clean accuracy, linear between "
        "strengths; attacks, within legal images, give upper bounds of robust accuracies. Neither penalty is matched "
        "to ℓ∞."
        + f" Seeds left out because a series does not come down to that accuracy: {left_out}."
        * bool(left_out),
    )


def _radius(results: Results, preset: str) -> Iterator[Claim | str]:
    """Predicted against measured attack radii."""
    sizes = SIZES[preset]
    where = f"n = {sizes.samples}, {sizes.radii} held-out samples, those with a loss below ln 2; ℓ2, no box"
    for net, words in IN_WORDS.items():
        yield _claim(
            key=f"radius-certified-{net.lower()}",
            statement=f"On the {net}, no attack finds a misclassified point closer than the certified radius.",
            source=OURS,
            quantity="share of samples whose measured radius is below the certified one, largest over the networks",
            values=_over_networks(results, max, "above", "certified", net=net),
            direction="below",
            threshold=NEVER,
            conditions=f"{words}, both data sets, plain and regularised; {where}.",
            remark="A theorem: a violation would be an error of the package. The certified radius takes the curvature "
            "from certified operator norms.",
        )
        for data in DATA:
            yield from _quadratic(results, data, net, f"{DATA[data]}, {words}, {where}.")
            for kind in GROWING:
                yield _grows(results, data, net, kind, f"{DATA[data]}, {words}, {where}.")


def _quadratic(results: Results, data: str, net: str, conditions: str) -> Iterator[Claim | str]:
    """Whether the quadratic model's radius orders samples, and whether it is a lower bound."""
    labels = {"data": DATA[data], "net": net}
    yield _claim(
        key=f"radius-rank-{data}-{net.lower()}",
        statement=f"On {DATA[data]} and the {net}, the radius that slope and curvature at a sample predict orders "
        "samples as their measured minimal perturbation does.",
        source=OURS,
        quantity="Spearman correlation of predicted (quadratic model) and measured radius, mean over methods",
        values=_over_networks(results, fmean, "spearman", "quadratic", **labels),
        threshold=RANK,
        conditions=conditions,
    )
    yield _claim(
        key=f"radius-lower-bound-{data}-{net.lower()}",
        statement=f"On {DATA[data]} and the {net}, the radius that slope and curvature at a sample predict is a lower "
        "bound of the minimal perturbation, with rare exceptions.",
        source=OURS,
        quantity="share of samples whose measured radius is below the predicted one (quadratic model), mean over "
        "methods",
        values=_over_networks(results, fmean, "above", "quadratic", **labels),
        direction="below",
        threshold=FEW,
        conditions=conditions,
        remark="With the curvature at the sample alone the quadratic model is no theorem; L2.6 needs its supremum over "
        "the ball. Measured radii are upper bounds of the minimal ones: the share is a lower bound.",
    )


def _grows(results: Results, data: str, net: str, kind: str, conditions: str) -> Claim | str:
    """Whether Hessian regularisation enlarges a radius."""
    return _claim(
        key=f"radius-grows-{kind}-{data}-{net.lower()}",
        statement=f"On {DATA[data]} and the {net}, Hessian regularisation enlarges the {GROWING[kind]} attack radius.",
        source=OURS,
        quantity=f"ln of the median {GROWING[kind]} radius, Hessian-regularised minus plain, same seed",
        values=_growth(results, data, net, kind),
        threshold=0.0,
        conditions=conditions,
        remark=f"Strength {REFERENCE[data, HESSIAN]:g}. Medians are over the samples of each network with a loss below "
        "ln 2.",
    )


def _growth(results: Results, data: str, net: str, kind: str) -> list[float]:
    """ln ratio of median radii, Hessian-regularised to plain, per seed; seeds without a finite one are left out."""
    labels = {"data": DATA[data], "net": net}
    at_seed = [
        {
            r.net.training.seed: r.measured["radius"]["medians"].get(kind)
            for r in radius_networks(results, method, **labels)
        }
        for method in (PLAIN, HESSIAN)
    ]
    pairs = [(at_seed[0][seed], at_seed[1][seed]) for seed in at_seed[0] if seed in at_seed[1]]
    return [math.log(regularised / before) for before, regularised in pairs if before and regularised]


def radius_networks(results: Results, method: str, **labels: str) -> list[Result]:
    """The networks of a method whose attack radii were measured, seed by seed."""
    return [result for result in found(results, method=method, **labels) if "radius" in result.measured]


def _over_networks(
    results: Results, combine: Callable[[list[float]], float], of: str, prediction: str, **labels: str
) -> list[float]:
    """A number of the measurement "radius" for a prediction, combined over methods (and data sets), per seed."""
    at_seed: dict[int, list[float]] = {}
    for method in RADIUS_METHODS:
        for result in radius_networks(results, method, **labels):
            value = result.measured["radius"][of].get(prediction)
            if value is not None:
                at_seed.setdefault(result.net.training.seed, []).append(value)
    return [combine(at_seed[seed]) for seed in sorted(at_seed)]


def _claim(
    *,
    key: str,
    statement: str,
    source: str,
    quantity: str,
    values: list[float],
    conditions: str,
    direction: Direction = "above",
    threshold: float = 0.0,
    remark: str = "",
) -> Claim | str:
    """A claim, or why there is none."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        left = {0: "No seed is", 1: "Only one seed is"}.get(len(values), "Not every value is finite of those")
        return f"Not decided: {statement} {left} left for it. {remark}".rstrip()
    return Claim(key, statement, source, quantity, Effect(tuple(values)), conditions, direction, threshold, remark)
