"""The figures and tables, as data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any

import numpy as np

from verification.claims.chart import Chart, Line, Panel, Side, Table
from verification.claims.experiment import Result, Results
from verification.claims.mustafa2020.claims import DROPS, NORMS, RADIUS_METHODS, VARIANTS, radius_networks
from verification.claims.mustafa2020.nets import (
    DATA,
    GRADIENT,
    IN_WORDS,
    KEY_EPS,
    NETS,
    PLAIN,
    REFERENCE,
    SERIES,
    SIZES,
)
from verification.claims.mustafa2020.trade_off import (
    Of,
    at_equal_accuracy,
    clean_accuracy,
    found,
    matched,
    robust_accuracy,
)

SHOWN_DROPS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Points of clean accuracy given up, in the figure of the trade-off."""

MATCHED = 1.5
"""Points of clean accuracy that networks may have given up in the figure against the attack radius."""

EDGES = tuple(2 ** (k / 2) for k in range(-8, 11))
"""Of the bins of predicted radii, input units."""

FEWEST = 3
"""Samples in a bin below which it is not shown."""

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantiles of radii shown."""

KINDS: dict[str, tuple[str, Side]] = {
    "measured": ("attack found", "upper bound"),
    "quadratic": ("quadratic model at x", "estimate"),
    "sampled": ("largest curvature sampled", "estimate"),
    "certified": ("certified curvature", "lower bound"),
}
"""Radii of a sample; the sides are those to the minimal perturbation."""


def charts(results: Results, preset: str) -> tuple[Chart, ...]:
    """All figures; what no network is left for is missing from them."""
    return (
        _trade_off(results, preset),
        _strengths(results, preset),
        _radii_of_attacks(results, preset),
        _curvature(results, preset),
        _scatter(results, preset),
        _quantiles(results, preset),
    )


def tables(results: Results, preset: str) -> tuple[Table, ...]:
    """Robust accuracy at equal clean accuracy, and attack radii."""
    return _equal_accuracy(results, preset), _radius_table(results, preset)


def _setting(preset: str, nets: Iterable[str] = ("CNN",)) -> str:
    words = [IN_WORDS[net] for net in nets]
    return f"{' and '.join(words)}, {SIZES[preset].samples} training samples"


def _attacked(preset: str) -> str:
    return (
        f"attacks on {SIZES[preset].attacked} held-out samples, which bound robust accuracies from above; clean "
        "accuracy on all 10000"
    )


def _trade_off(results: Results, preset: str) -> Chart:
    panels = []
    for (data, norm), eps in KEY_EPS.items():
        lines = [
            Line(
                method,
                {drop: at_equal_accuracy(results, data, method, norm, eps, drop).values() for drop in SHOWN_DROPS},
                "upper bound",
            )
            for method in SERIES
        ]
        robust = [robust_accuracy(norm, eps)(result) for result in matched(results, data, PLAIN, 0)]
        panels.append(
            Panel(
                f"{DATA[data]}, {NORMS[norm]} ε = {eps:g}",
                "clean accuracy given up (percentage points)",
                "robust accuracy (%)",
                (*lines, Line(PLAIN, {0.0: robust}, "upper bound")),
            )
        )
    return Chart(
        "robust-at-equal-clean-accuracy",
        "robust accuracy at equal clean accuracy, Hessian against gradient regularisation",
        "Best robust accuracy of each regulariser among strengths that keep all but so many points of the plain "
        f"network's clean accuracy, linear between strengths; seeds whose series does not get there are left out. "
        f"{_setting(preset)}; {_attacked(preset)}.",
        tuple(panels),
    )


def _by_strength(results: Results, preset: str, data: str, of: Of, side: Side = "measured") -> tuple[Line, ...]:
    """A number of the CNNs against strength, the plain ones at 0, for every series."""
    labels = {"data": DATA[data], "net": "CNN"}
    lines = []
    for method in SERIES:
        points = {0.0: [of(result) for result in found(results, **labels, method=PLAIN)]}
        for strength in SIZES[preset].strengths[data, method]:
            networks = found(results, **labels, method=method, strength=strength)
            points[strength] = [of(result) for result in networks]
        lines.append(Line(method, points, side))
    return tuple(lines)


def _strengths(results: Results, preset: str) -> Chart:
    panels = []
    for data, label in DATA.items():
        numbers: list[tuple[str, Of, Side]] = [("clean", clean_accuracy, "measured")]
        for norm in NORMS:
            eps = KEY_EPS[data, norm]
            numbers.append((f"{NORMS[norm]} ε = {eps:g}", robust_accuracy(norm, eps), "upper bound"))
        panels += [
            Panel(
                f"{label}, {title}",
                "strength of the penalty",
                "accuracy (%)",
                _by_strength(results, preset, data, of, side),
                x_scale="symlog",
            )
            for title, of, side in numbers
        ]
    return Chart(
        "accuracy-strength",
        "clean and robust accuracy against the strength of the regulariser",
        f"Strengths of different penalties are not comparable. {_setting(preset)}; {_attacked(preset)}.",
        tuple(panels),
    )


def _radii_of_attacks(results: Results, preset: str) -> Chart:
    panels = []
    for data, norm in KEY_EPS:
        radii = SIZES[preset].eps[data, norm]
        lines = []
        for method in (PLAIN, *SERIES):
            networks = matched(results, data, method, MATCHED)
            points = {0.0: [clean_accuracy(result) for result in networks]} | {
                eps: [robust_accuracy(norm, eps)(result) for result in networks] for eps in radii
            }
            lines.append(Line(method, points, "upper bound"))
        panels.append(
            Panel(
                f"{DATA[data]}, {NORMS[norm]}",
                "ε (input units)",
                "accuracy (%)",
                tuple(lines),
                marks={KEY_EPS[data, norm]: "claims"},
            )
        )
    return Chart(
        "accuracy-eps",
        "accuracy against the attack radius, networks matched in clean accuracy",
        f"Of each method and seed the strongest network that gave up at most {MATCHED:g} points of clean accuracy. "
        f"{_setting(preset)}; {_attacked(preset)} (ε = 0).",
        tuple(panels),
    )


def _curvature(results: Results, preset: str) -> Chart:
    numbers: tuple[tuple[str, str, str, Side], ...] = (
        ("gradient", "‖∇ℓ‖_2", "mean ‖∇ℓ‖_2 (nats / input unit)", "measured"),
        ("operator", "‖∇²ℓ‖_2", "mean ‖∇²ℓ‖_2 (nats / input unit²)", "lower bound"),
    )

    def of(name: str) -> Of:
        return lambda result: float(result.measured["hessian"][name])

    panels = [
        Panel(
            f"{label}, {title}",
            "strength of the penalty",
            axis,
            _by_strength(results, preset, data, of(name), side),
            x_scale="symlog",
            y_scale="log",
        )
        for data, label in DATA.items()
        for name, title, axis, side in numbers
    ]
    return Chart(
        "curvature-strength",
        "slope and curvature of the loss against the strength of the regulariser",
        f"Means over {SIZES[preset].curved} held-out samples; Hessian norms by Lanczos, from below. "
        f"{_setting(preset)}.",
        tuple(panels),
    )


def _scatter(results: Results, preset: str) -> Chart:
    """A scatter with seeds: mean measured radius of the samples in every bin of predicted radii."""
    equal = Line("measured = predicted", {edge: (edge,) for edge in (EDGES[0], EDGES[-1])}, "estimate")
    panels = []
    for net in NETS:
        for label in DATA.values():
            lines = [
                Line(method, _binned(radius_networks(results, method, net=net, data=label)), "upper bound")
                for method in RADIUS_METHODS
            ]
            panels.append(
                Panel(
                    f"{label}, {net}",
                    "predicted radius, quadratic model (input units)",
                    "measured radius (input units)",
                    (*lines, equal),
                    x_scale="log",
                    y_scale="log",
                )
            )
    return Chart(
        "attack-radius",
        "measured minimal perturbation against the radius predicted from slope and curvature",
        f"Mean measured ℓ2 radius of the samples in each bin of predicted radii (bins of ratio √2 with at least "
        f"{FEWEST} samples). Predicted: the radius at which the quadratic model at the sample reaches a loss of ln 2, "
        f"with no guarantee. Measured: the smallest misclassified perturbation found, no box. {_radii(preset)}; "
        f"{_setting(preset, NETS)}; strengths {_references()}.",
        tuple(panels),
    )


def _binned(networks: list[Result]) -> dict[float, list[float]]:
    """Centre of every bin of predicted radii -> mean measured radius of its samples, per seed."""
    points: dict[float, list[float]] = {}
    for result in networks:
        radii = result.measured["radius"]
        pairs = [pair for pair in zip(radii["quadratic"], radii["measured"], strict=True) if None not in pair]
        for low in EDGES[:-1]:
            inside = [measured for predicted, measured in pairs if low <= predicted < low * math.sqrt(2)]
            if len(inside) >= FEWEST:
                points.setdefault(low * 2**0.25, []).append(fmean(inside))
    return points


def _quantiles(results: Results, preset: str) -> Chart:
    panels = []
    for label in DATA.values():
        for method in RADIUS_METHODS:
            networks = radius_networks(results, method, net="MLP", data=label)
            lines = [
                Line(title, _shares([result.measured["radius"][kind] for result in networks]), side)
                for kind, (title, side) in KINDS.items()
            ]
            panels.append(
                Panel(
                    f"{label}, {method}",
                    "share of samples",
                    "radius below which they lie (input units)",
                    tuple(lines),
                    y_scale="log",
                )
            )
    return Chart(
        "attack-radius-quantiles",
        "distribution of measured, predicted and certified attack radii",
        "Quantiles over samples of ℓ2 radii. The certified radius is a lower bound of the minimal perturbation, what "
        "attacks find an upper bound; the two other predictions, from the curvature at the sample and from the largest "
        f"one sampled in the ball, have no guarantee. {_radii(preset)}; {_setting(preset, ('MLP',))}; strengths "
        f"{_references()}.",
        tuple(panels),
        share_y=True,
    )


def _shares(radii: list[list[float | None] | None]) -> dict[float, list[float]]:
    """Quantiles of every network's radii; those that do not exist count as infinite, and drop out."""
    known = [[math.inf if value is None else value for value in values] for values in radii if values]
    return {share: [float(np.quantile(values, share, method="inverted_cdf")) for values in known] for share in SHARES}


def _radii(preset: str) -> str:
    return f"Samples with a loss below ln 2 among {SIZES[preset].radii} held-out ones"


def _references() -> str:
    return ", ".join(f"{strength:g} ({method}, {DATA[data]})" for (data, method), strength in REFERENCE.items())


def _equal_accuracy(results: Results, preset: str) -> Table:
    rows = []
    for (data, norm), eps in KEY_EPS.items():
        before = tuple(robust_accuracy(norm, eps)(result) for result in matched(results, data, PLAIN, 0))
        for drop in DROPS:
            at_seed = {m: at_equal_accuracy(results, data, m, norm, eps, drop) for m in SERIES}
            gradient = at_seed[GRADIENT]
            rows.append(
                (
                    f"{DATA[data]}, {NORMS[norm]} ε = {eps:g}",
                    f"{drop:g}",
                    before or None,
                    *(tuple(values.values()) or None for values in at_seed.values()),
                    *(
                        tuple(value - gradient[seed] for seed, value in at_seed[method].items() if seed in gradient)
                        or None
                        for method in VARIANTS
                    ),
                )
            )
    return Table(
        "robust-at-equal-clean-accuracy",
        f"Robust accuracy at equal clean accuracy. {_setting(preset)}; {_attacked(preset)}.",
        (
            "attack",
            "clean accuracy given up (points)",
            *(f"{method} (%)" for method in (PLAIN, *SERIES)),
            *(f"{method} − gradient (points)" for method in VARIANTS),
        ),
        tuple(rows),
    )


def _radius_table(results: Results, preset: str) -> Table:
    rows = []
    for net in NETS:
        for label in DATA.values():
            for method in RADIUS_METHODS:
                networks = radius_networks(results, method, net=net, data=label)
                found_radii = [result.measured["radius"] for result in networks]
                rows.append(
                    (
                        f"{label}, {net}, {method}",
                        tuple(map(clean_accuracy, networks)) or None,
                        *(_column(found_radii, "medians", kind) for kind in KINDS),
                        *(_column(found_radii, "ratios", kind) for kind in ("quadratic", "certified")),
                        _column(found_radii, "spearman", "quadratic"),
                        *(_column(found_radii, "above", kind) for kind in ("quadratic", "sampled", "certified")),
                    )
                )
    return Table(
        "attack-radius",
        f"ℓ2 attack radii in input units, no box. {_radii(preset)}; {_setting(preset, NETS)}; strengths "
        f"{_references()}.",
        (
            "network",
            "clean accuracy (%)",
            *(f"median radius: {title}" for title, _ in KINDS.values()),
            "median ratio quadratic / found",
            "median ratio certified / found",
            "Spearman, quadratic and found",
            *(f"share of samples with {kind} above found" for kind in ("quadratic", "sampled", "certified")),
        ),
        tuple(rows),
    )


def _column(radii: list[dict[str, Any]], of: str, kind: str) -> tuple[float, ...] | None:
    """A number of every network that has it, None if none has."""
    return tuple(value for one in radii if (value := one[of].get(kind)) is not None) or None
