"""Rows of an evaluation: one per bound and variant, with its numbers, its gap and a sentence that says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bounds import symbols
from bounds.architecture import Architecture
from bounds.calculus.arithmetic import Points, point
from bounds.calculus.evaluator import Evaluator
from bounds.catalogue.assumptions import CHAIN, Setting, Violation
from bounds.catalogue.entry import Bound, Entry, HoldOut
from bounds.measurements import Measurements
from bounds.readings import (
    Empirical,
    Reading,
    Settings,
    elasticities,
    enclosure_log10,
    evaluator,
    read_fixed,
    read_stratified,
    sample_size_log10,
    shares,
    shrinkage_log10,
)


@dataclass(frozen=True)
class Sample:
    """What the empirical side of a bound needs; the arrays hold margins in logits or losses in nats.

    Attributes:
        margins_train: margins to take the empirical risk of, for every training sample; under attack certified lower
            bounds of the worst-case margins.
        gap_train: margins of the training samples that the measured gap is taken from.
        gap_test: margins of the test samples that the measured gap is taken from.
        kind: how the gap was measured, in words.
    """

    margins_train: np.ndarray
    gap_train: np.ndarray | None
    gap_test: np.ndarray | None
    kind: str


def ramp(margins: np.ndarray, gamma: float) -> float:
    """Mean ramp loss (theory L1.3).

    >>> ramp(np.array([-1.0, 0.5, 2.0]), 1.0)
    0.5
    """
    return float(np.clip(1 - margins / gamma, 0, 1).mean())


def hard(margins: np.ndarray, gamma: float) -> float:
    """Share of margins <= gamma (theory L1.4).

    >>> hard(np.array([-1.0, 0.5, 2.0]), 1.0)
    0.6666666666666666
    """
    return float((margins <= gamma).mean())


def violations(bound: Bound, architecture: Architecture, setting: Setting) -> list[Violation]:
    """The assumptions that fail, each with its remedy; of a network whose layers are not known, only that."""
    untraced = any(obstacle.kind == "untraced" for obstacle in architecture.obstacles)
    found = (assumption.check(architecture, setting) for assumption in ((CHAIN,) if untraced else bound.assumptions))
    return [violation for violation in found if violation is not None]


def holdout_value(variant: HoldOut, *, m: int, errors: int, delta: float, losses: np.ndarray | None = None) -> Any:
    """The hold-out bound on the risk (theory §6, entry 12), mpf; holds with probability 1 - delta.

    Args:
        variant: of an entry.
        m: held-out samples.
        errors: how many of them were errors.
        delta: failure probability.
        losses: their losses in [0, 1], where the bound is about a mean loss.
    """
    values = {symbols.m_holdout: m, symbols.k_errors: errors, symbols.delta: delta, symbols.M: 1}
    if losses is not None:
        values[symbols.mean_loss], values[symbols.V_loss] = losses.mean(), losses.var(ddof=1)
    numbers = {symbol: point.mpf(float(value)) for symbol, value in values.items()}
    return Evaluator(variant.parts, numbers, 1, Points())(variant.value)


def holdout_row(
    entry: Entry,
    variant: HoldOut,
    m: int,
    errors: int,
    losses: np.ndarray | None,
    settings: Settings,
    failure: float = 0.0,
) -> dict[str, Any]:
    """A hold-out row: non-vacuous whenever the network is any good."""
    bound = float(holdout_value(variant, m=m, errors=errors, delta=settings.delta - failure, losses=losses))
    capped = min(1.0, bound)
    reading = {
        "raw_log10": float(np.log10(bound)),
        "guaranteed": capped,
        "vacuous": capped >= 1,
        "margin": settings.margin,
    }
    what = f"{errors} of {m} held-out samples" if losses is None else f"mean ramp loss of {m} held-out samples"
    state = "vacuous" if capped >= 1 else "not vacuous"
    sentence = f"{state}: {what} ({errors / m if losses is None else losses.mean():.4f} before the confidence term)"
    return _row(entry, variant, sentence) | {"fixed_class": reading, "a_posteriori": reading}


def inapplicable_row(entry: Entry, variant: Bound | HoldOut, reasons: Sequence[Violation]) -> dict[str, Any]:
    """A row that says which assumption fails and what would make the bound apply."""
    listed = [{"assumption": v.assumption, "because": v.because, "remedy": v.remedy} for v in reasons]
    sentence = "not applicable: " + "; ".join(f"{v.because} ({v.remedy})" for v in reasons)
    return _row(entry, variant, sentence) | {"status": "not applicable", "reasons": listed}


def bound_row(
    entry: Entry, bound: Bound, measurements: Measurements, settings: Settings, sample: Sample, empirical: Empirical
) -> dict[str, Any]:
    """A row with all numbers of a bound."""
    formula = evaluator(bound, measurements, settings)
    fixed = read_fixed(bound, measurements, settings, empirical)
    stratified = read_stratified(bound, measurements, settings, empirical, sample.margins_train)
    measured = measured_gap(bound, sample, settings.margin)
    layer_shares = shares(bound, formula)
    names = [layer.name for layer in measurements.architecture.layers]
    dominant = None if layer_shares is None else names[int(np.argmax(layer_shares))]
    shrinkage = shrinkage_log10(bound, formula, fixed)
    largest = ""
    if layer_shares is not None and len(layer_shares) > 1:
        largest = f"; largest share: {dominant} ({max(layer_shares):.0%})"
    raw_log10 = float(point.log10(fixed.raw))
    robust = None if bound.remainder is None else formula(bound.gap.raw + bound.remainder)
    return _row(entry, bound, explain(bound, fixed, stratified, shrinkage, largest)) | {
        "fixed_class": _reading(fixed),
        "a_posteriori": _reading(stratified),
        "gap": {"measured": measured, "what": f"{_gap_name(bound)}, {sample.kind}"},
        "ratio_log10": None if not measured or measured <= 0 else raw_log10 - float(np.log10(measured)),
        "dominant_layer": dominant,
        "shares": layer_shares,
        "elasticities": elasticities(bound, measurements, settings),
        "n_star_log10": sample_size_log10(bound, measurements, formula),
        "interval_log10": list(enclosure_log10(bound, measurements, settings)),
        # with the empirical surrogate: a bound on the expected robust loss (L2.5)
        "robust_loss_gap_log10": None if robust is None else float(point.log10(robust)),
    }


def empirical_risk(bound: Bound, sample: Sample, surrogate: np.ndarray | None, complete: bool) -> Empirical:
    """The empirical risk that a bound's gap is added to, as a function of the margin.

    Args:
        bound: the bound.
        sample: margins.
        surrogate: surrogate losses, where the bound is about them.
        complete: whether `surrogate` covers every training sample; a mean over a part of them guarantees nothing.
    """
    measures: dict[str, Callable[[float], float | None]] = {
        "ramp": lambda gamma: ramp(sample.margins_train, gamma),
        "hard margin": lambda gamma: hard(sample.margins_train, gamma),
        "surrogate": lambda gamma: float(surrogate.mean()) if surrogate is not None and complete else None,
    }
    return measures[bound.empirical]


def measured_gap(bound: Bound, sample: Sample, gamma: float) -> float | None:
    """Test minus train of the loss that the bound is about, at margin gamma (an estimate)."""
    if sample.gap_train is None or sample.gap_test is None:
        return None
    if bound.empirical == "surrogate":
        return float(sample.gap_test.mean() - sample.gap_train.mean())
    if bound.empirical == "hard margin":
        return float((sample.gap_test <= 0).mean()) - hard(sample.gap_train, gamma)
    return ramp(sample.gap_test, gamma) - ramp(sample.gap_train, gamma)


def explain(bound: Bound, fixed: Reading, posterior: Reading, shrinkage: float | None, largest: str) -> str:
    """One plain sentence: what holds for the trained network, else which factor would have to shrink by how much.

    Args:
        bound: the bound.
        fixed: its reading for a class fixed in advance.
        posterior: its reading for the trained network.
        shrinkage: log10 of the factor, for the fixed class; None where none is enough.
        largest: which layer has the largest share, in words, or nothing.
    """
    printed = ", if the cover holds as printed" if bound.as_printed else ""
    if not posterior.vacuous:
        return f"not vacuous: {_at_most(bound, posterior)} for the trained network{printed}"
    if not fixed.vacuous:
        return f"vacuous a posteriori; {_at_most(bound, fixed)} only for a class fixed in advance{printed}"
    partly = "" if fixed.empirical is not None else " (empirical part measured on a part of the sample only)"
    if shrinkage is None:
        name = "surrogate" if bound.empirical == "surrogate" else "risk"
        return f"vacuous whatever the norms: the empirical {name} of {fixed.empirical or 0:.3g} leaves no room{partly}"
    meanings = {part.symbol: part.meaning for part in bound.gap.parts}
    factor = " and the ".join(meanings.get(s, f"norm {symbols.PLAIN.get(s.name, s.name)}") for s in bound.shrink)
    return f"vacuous: the {factor} would have to shrink by a factor of {power_of_ten(shrinkage)}{partly}{largest}"


def _at_most(bound: Bound, reading: Reading) -> str:
    value = f"{float(reading.risk):.3g}"
    if bound.target == "surrogate":
        return f"expected surrogate loss at most {value} nats (range of the class: {float(reading.trivial):.3g})"
    return f"{bound.target} at most {value}"


def power_of_ten(exponent: float) -> str:
    """A factor given by its log10, for reading.

    >>> power_of_ten(0.5), power_of_ten(12.34)
    ('3.2', '10^12.3')
    """
    return f"{10**exponent:.2g}" if exponent < 2 else f"10^{exponent:.1f}"


def _gap_name(bound: Bound) -> str:
    return {
        "ramp": "mean ramp loss, test minus train",
        "hard margin": "test error minus train hard margin loss",
        "surrogate": "mean surrogate loss, test minus train",
    }[bound.empirical]


def _reading(reading: Reading) -> dict[str, Any]:
    trivial = float(point.log10(reading.trivial))
    # A trivial value beyond float64 is shown by its logarithm; the guaranteed value is then capped there.
    guaranteed = float(min(reading.risk, point.mpf(1e300)))
    return {
        "raw_log10": float(point.log10(reading.raw)),
        "guaranteed": guaranteed,
        "vacuous": reading.vacuous,
        "margin": reading.margin,
        "empirical": reading.empirical,
        "trivial_log10": trivial,
    }


def _row(entry: Entry, variant: Bound | HoldOut, sentence: str) -> dict[str, Any]:
    return {
        "bound": entry.key,
        "variant": variant.variant,
        "title": entry.title,
        "citation": entry.reference.citation,
        "target": variant.target,
        "status": "value",
        "reasons": [],
        "fixed_class": None,
        "a_posteriori": None,
        "sentence": sentence,
        "note": variant.note,
        "gap": {"measured": None, "what": "gap not measured"},
        "ratio_log10": None,
        "dominant_layer": None,
        "shares": None,
        "elasticities": None,
        "n_star_log10": None,
        "interval_log10": None,
        "robust_loss_gap_log10": None,
    }
