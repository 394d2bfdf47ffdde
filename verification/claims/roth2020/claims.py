"""What is claimed about every series, and how it is decided: questions with thresholds fixed in advance.

The paper's figures were known by what they show and by their main finding only (theory §3): adversarial and
data-dependent training damp the spectrum alike, the global penalty hardly. Questions of the other figures are worded
here and marked as ours.

Thresholds were fixed before any network was measured. The quantities were not all: after networks of seed 0, which
the experiments do not use, had been seen, the deviation from linearity without division was added beside the relative
one, and accuracy under attack was averaged over radii (at the one trained with, several were 0). The main form of the
data-dependent penalty is σ_1(J)², which the theory is about; the distance form, which the paper's experiments use,
has claims of its own on the CNN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from verification.claims.claim import Claim, Direction, Effect
from verification.claims.experiment import BySeed, Reading, Results, paired
from verification.claims.roth2020.nets import (
    ADVERSARIAL,
    DATA_SPECTRAL,
    DISTANCE,
    GLOBAL,
    INSIDE,
    PIECES,
    PLAIN,
    SIZES,
    Series,
    Sizes,
)
from verification.claims.roth2020.readings import (
    by_seed,
    cosine,
    damping,
    deviation,
    lead,
    mean_accuracy,
    random_cosine,
    sigma_1,
    unlikeness,
    worst_log_difference,
)

ALIKE = math.log(1.5)
"""Two spectra are alike if their singular values differ by a factor below 1.5 on average.

The paper's curves could not be read off. A factor of 1.5 is coarse enough for seeds and for strengths that are
matched by accuracy only, and below the factor of 2 that one would call another spectrum.
"""

HARDLY = 0.5
"""A penalty hardly damps if its mean logarithmic damping or amplification is below half of adversarial training's."""

ROUNDING = -6.0
"""log10 of the relative difference that counts as equal: rounding leaves about 1e-9 in pieces of radius 1e-5."""

NAMES = {
    ADVERSARIAL: "Adversarial training",
    DATA_SPECTRAL: "Data-dependent spectral regularisation",
    DISTANCE: "Data-dependent spectral regularisation in its distance form",
}
DAMPING = {"adversarial": ADVERSARIAL, "data": DATA_SPECTRAL, "distance": DISTANCE}
"""Methods that the paper finds to damp the spectrum, by the name that keys of claims begin with."""

PAPER = "Roth, Kilcher & Hofmann 2020"
SPECTRUM, FIGURE = f"{PAPER}, singular spectrum per method", f"own wording, after {PAPER}: "

Values = Callable[[Results, Series], BySeed]


@dataclass(frozen=True)
class Question:
    """A claim before it is decided.

    Attributes:
        key: short name.
        statement: of one series, without its name.
        source: as in `Claim`.
        quantity: as in `Claim`.
        values: the effect, by seed.
        direction: as in `Claim`.
        threshold: as in `Claim`.
        remark: as in `Claim`.
    """

    key: str
    statement: str
    source: str
    quantity: str
    values: Values
    direction: Direction = "above"
    threshold: float = 0.0
    remark: str = ""

    def decide(self, results: Results, series: Series) -> Claim | str:
        """The claim, or a sentence on why there is none."""
        values = tuple(self.values(results, series).values())
        if len(values) < 2:
            return f"{series.title}: {self.statement} Too few networks were trained and measured to decide this."
        return Claim(
            f"{series.key}-{self.key}",
            f"{series.title}: {self.statement}",
            self.source,
            self.quantity,
            Effect(values),
            conditions=series.words,
            direction=self.direction,
            threshold=self.threshold,
            remark=self.remark,
        )


def claims(results: Results, preset: str) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
    """All claims of a preset, and sentences on those that too few networks are left for."""
    sizes = SIZES[preset]
    decided = [question.decide(results, series) for series in sizes.series for question in questions(series, sizes)]
    return (
        tuple(claim for claim in decided if isinstance(claim, Claim)),
        tuple(sentence for sentence in decided if isinstance(sentence, str)),
    )


def questions(series: Series, sizes: Sizes) -> tuple[Question, ...]:
    """All questions about a series, in the order of the report."""
    return (
        *_spectrum_questions(series),
        *_direction_questions(series, sizes),
        *_distance_questions(series, sizes),
        *_accuracy_questions(series, sizes),
        *_piece_questions(sizes),
    )


def _spectrum_questions(series: Series) -> Iterator[Question]:
    quantity = "mean over ranks 1..K-1 of ln(σ_k / σ_k of the plain network), σ_k averaged over held-out samples"
    for key, method in DAMPING.items():
        if method in series.methods:
            yield Question(
                f"{key}-damps",
                f"{NAMES[method]} damps the singular spectrum of the Jacobian.",
                SPECTRUM,
                quantity,
                _damping(method),
                "below",
            )
    for key, method in DAMPING.items():
        if method in series.methods and method != ADVERSARIAL:
            yield Question(
                "alike" if method == DATA_SPECTRAL else f"{key}-alike",
                f"{NAMES[method]} leaves a spectrum like that of adversarial training.",
                SPECTRUM,
                "mean over ranks 1..K-1 of |ln(σ_k / σ_k of the adversarially trained network)|",
                _unlikeness(method),
                "below",
                ALIKE,
                "Below ln 1.5: singular values differ by a factor below 1.5 on average. The threshold is ours; the "
                "penalty's strength was chosen by clean accuracy alone.",
            )
    yield Question(
        "global-hardly",
        "Global spectral regularisation hardly damps the spectrum: less than half as much as adversarial training.",
        SPECTRUM,
        f"|mean ln damping of the global penalty| minus {HARDLY:g} times that by which adversarial training damps",
        _global_excess,
        "below",
        remark="The threshold is ours; the penalty's strength was chosen by clean accuracy alone.",
    )


def _global_excess(results: Results, series: Series) -> BySeed:
    """|D_global| + D_adversarial/2, below 0 if the global penalty hardly damps; D < 0 where a method damps."""
    global_, adversarial = (damping(results, series, method, PLAIN) for method in (GLOBAL, ADVERSARIAL))
    return paired(global_, adversarial, lambda a, b: abs(a) + HARDLY * b)


def _direction_questions(series: Series, sizes: Sizes) -> Iterator[Question]:
    source = FIGURE + "cosine of the adversarial perturbation with the right singular vectors"
    note = f"Attacks on the cross-entropy in the plain l2 ball, {sizes.deviations} samples."
    for method in (PLAIN, ADVERSARIAL):
        net = "plain networks" if method == PLAIN else "adversarially trained networks"
        yield Question(
            f"top-vector-{method}",
            f"Attacks on {net} lean on the top right singular vector of the Jacobian more than random directions do.",
            source,
            f"mean |cosine| with v_1, attack at ε = {series.eps:g} minus random direction",
            _top_over_random(method),
            remark=note,
        )
    yield Question(
        "top-vector-first",
        "Attacks on adversarially trained networks lean on the top right singular vector more than on the others.",
        source,
        f"mean |cosine| at ε = {series.eps:g} with v_1 minus the mean over v_2..v_(K-1)",
        lambda results, series: by_seed(results, series, ADVERSARIAL, lead(series.eps)),
        remark=note,
    )
    yield Question(
        "alignment-rises",
        "Adversarial training makes attacks at its radius lean more on the top right singular vector.",
        FIGURE + "alignment against ε",
        f"mean |cosine| with v_1 at ε = {series.eps:g}, adversarial minus plain",
        _difference(cosine(1, series.eps), ADVERSARIAL, PLAIN),
        remark=note,
    )


def _distance_questions(series: Series, sizes: Sizes) -> Iterator[Question]:
    source = FIGURE + "deviation from linearity against the distance"
    mean = f"Mean ‖φ(x+δ) - φ(x) - J_φ δ‖_2 over {sizes.deviations} samples"
    for key, method in (("adversarial", ADVERSARIAL), ("data", DATA_SPECTRAL)):
        yield Question(
            f"{key}-linear",
            f"{NAMES[method]} makes the penultimate features deviate less from linearity along attacks, "
            "at the radius trained with.",
            source,
            f"ln of the deviation at distance {series.eps:g}, minus that of the plain network",
            _log_ratio(deviation("features", "attack", series.eps, "deviation"), method, PLAIN),
            "below",
            remark=f"{mean}: it shrinks with J_φ itself, too.",
        )
        yield Question(
            f"{key}-linear-relative",
            f"{NAMES[method]} makes the penultimate features deviate less from linearity along attacks even in "
            "relation to their linear part, at the radius trained with.",
            source,
            f"ln of the deviation over the linear part at distance {series.eps:g}, minus that of the plain network",
            _log_ratio(deviation("features", "attack", series.eps, "relative"), method, PLAIN),
            "below",
            remark=f"{mean} over mean ‖J_φ δ‖_2: what is left after the mere damping of J_φ.",
        )
    far = 2 * series.eps
    yield Question(
        "damped-beyond",
        "Adversarial training damps σ_1 of the Jacobian along attacks even at twice the radius trained with.",
        FIGURE + "σ_1 against the distance",
        f"ln(σ_1 / σ_1 of the plain network) at distance {far:g} along each network's attack",
        _log_ratio(sigma_1("attack", far), ADVERSARIAL, PLAIN),
        "below",
        remark=f"{sizes.jacobians} samples.",
    )


def _accuracy_questions(series: Series, sizes: Sizes) -> Iterator[Question]:
    source, radii = FIGURE + "accuracy against ε", ", ".join(f"{eps:g}" for eps in series.distances)
    for key, one, other, statement in (
        ("adversarial-robust", ADVERSARIAL, PLAIN, "Adversarial training raises the accuracy under attack."),
        ("data-robust", DATA_SPECTRAL, PLAIN, "Data-dependent regularisation raises the accuracy under attack."),
        (
            "global-less-robust",
            ADVERSARIAL,
            GLOBAL,
            "The global penalty leaves networks less robust than adversarial training does.",
        ),
    ):
        yield Question(
            key,
            statement,
            source,
            f"held-out accuracy under attack (l2, legal images), mean over ε = {radii}, {one} minus {other}",
            _difference(mean_accuracy(series.distances), one, other),
            remark=f"{sizes.attacked} samples, one walk of {sizes.steps} steps: upper bounds of the robust accuracies.",
        )


def _piece_questions(sizes: Sizes) -> Iterator[Question]:
    for norm, r in PIECES.items():
        p = {"l2": "2", "linf": "∞"}[norm]
        for kind, what in (("objective", "objective"), ("gradient", "objective's gradient in the parameters")):
            yield Question(
                f"piece-{kind}-{norm}",
                f"Inside a linear piece the adversarial {what} equals that of the ({p},{r}) operator norm.",
                f"{PAPER}, theory L3.5",
                f"log10 of the largest relative difference at ε = {INSIDE:g}·r(x)",
                _worst(norm, kind),
                "below",
                ROUNDING,
                f"Adversarial: max over ‖δ‖_{p} <= ε of ℓ + λ‖f(x+δ) - f(x)‖_{r}, λ = 1/ε; {sizes.pieces} samples of "
                "each plain and each adversarially trained network; float64. A theorem: a violation would be an error "
                "of the package. Differences below 1e-9 count as that.",
            )


def _difference(of: Reading, one: str, other: str) -> Values:
    return lambda results, series: paired(
        by_seed(results, series, one, of), by_seed(results, series, other, of), lambda a, b: a - b
    )


def _log_ratio(of: Reading, one: str, other: str) -> Values:
    def values(results: Results, series: Series) -> BySeed:
        first, second = (_positive(by_seed(results, series, method, of)) for method in (one, other))
        return paired(first, second, lambda a, b: math.log(a / b))

    return values


def _positive(values: BySeed) -> BySeed:
    return {seed: value for seed, value in values.items() if value > 0}


def _damping(method: str) -> Values:
    return lambda results, series: damping(results, series, method, PLAIN)


def _unlikeness(method: str) -> Values:
    return lambda results, series: unlikeness(results, series, ADVERSARIAL, method)


def _top_over_random(method: str) -> Values:
    return lambda results, series: paired(
        by_seed(results, series, method, cosine(1, series.eps)),
        by_seed(results, series, method, random_cosine(1)),
        lambda a, b: a - b,
    )


def _worst(norm: str, kind: str) -> Values:
    return lambda results, series: worst_log_difference(results, series, norm, kind)
