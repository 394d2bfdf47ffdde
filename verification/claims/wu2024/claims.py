"""The claims: effects per seed, with thresholds that were fixed before the networks were trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from verification.claims.claim import Claim, Effect
from verification.claims.experiment import BySeed, Reading, Results, by_seed, paired
from verification.claims.wu2024 import readings
from verification.claims.wu2024.nets import (
    CLASSES,
    CLASSES_EPS,
    CLASSES_METHOD,
    CLASSES_NET,
    CLASSES_STRENGTH,
    COST_EPS,
    COST_METHOD,
    COST_NETS,
    COST_STRENGTH,
    DATA,
    NORM_KEY,
    PLAIN,
    SIZES,
    SURROGATE,
    TRAINED,
    Series,
    Surrogates,
)

SOURCE = "after Wu & Li 2024; the wording is ours, their text was not at hand"
OWN = "own, after Wu & Li 2024"

RISE = math.log(1.1)
"""A series falls monotonically if no step up in strength raises the norm by more than 10 %: training noise."""

REFUTED, PROVED = 0.01, 0.95
"""A surrogate is not refuted if attacks refute it on fewer than 1 % of the samples; certified if 95 % are proved."""

NO_DEPENDENCE = 2 * (1.25 - 1) / (1.25 + 1)
"""Equal within a factor of 1.25, as `readings.asymmetry` measures it."""

TEN = 10
"""Classes of the data sets."""

CHANCE_TWICE = 2 / TEN
"""A network of ten classes has collapsed beyond doubt below twice the accuracy of guessing."""


@dataclass
class _Decided:
    """Claims, and sentences for those that too few networks speak about."""

    claims: list[Claim] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    about: str = ""

    def add(self, values: BySeed, **claim: Any) -> None:
        """A claim on one effect per seed; `about` says of which networks."""
        claim["statement"] = f"{self.about}{claim['statement']}"
        if len(values) < 2:
            self.missing.append(
                f"{claim['statement']} ({claim['conditions']}): decided by fewer than two networks that were trained "
                "to their end."
            )
            return
        self.claims.append(Claim(effect=Effect(tuple(values.values())), **claim))


def claims(results: Results, preset: str) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
    """All claims, and what could not be decided."""
    sizes, decided = SIZES[preset], _Decided()
    for series in sizes.series:
        decided.about = f"{series.title}: "
        conditions = f"{series.title}; n = {sizes.samples}"
        for claim in (_monotone, _gaps, _complexities, _robust_accuracy, _collapse):
            claim(results, series, conditions, decided)
    for trained in TRAINED:
        decided.about = f"{DATA[trained.data]}, {trained.net}: "
        conditions = f"{DATA[trained.data]}, {trained.net}, n = {sizes.samples}, trained and measured at "
        conditions += f"eps = {trained.main:g} ({trained.norm}), {sizes.decided} held-out samples decided"
        _dominates(results, trained, conditions, decided)
        attacked = (
            f"{DATA[trained.data]}, {trained.net}, n = {sizes.samples}, {trained.norm} attacks within legal images"
        )
        attacked += f" on {sizes.attacked} samples"
        _adversarial_loss(results, trained, f"{attacked}, trained and attacked at eps = {trained.main:g}", decided)
        _against_plain(results, trained, attacked, sizes.decided, decided)
    for method, strength in ((PLAIN, 0.0), (CLASSES_METHOD, CLASSES_STRENGTH)):
        decided.about = f"{DATA['mnist']}, {CLASSES_NET}, {method}: "
        _classes(results, method, strength, sizes.samples, decided)
    for net in COST_NETS:
        decided.about = f"{DATA['mnist']}, {net}: "
        _cost(results, net, sizes.samples, decided)
    return tuple(decided.claims), tuple(decided.missing)


def _key(what: str, series: Series) -> str:
    return _slug(f"{what} {series.data} {series.net} {series.norm}")


def _slug(words: str) -> str:
    return words.lower().replace(",", "").replace("_", "-").replace(" ", "-")


def _rises(results: Results, series: Series, of: Reading) -> BySeed:
    """Largest step up of a norm along the strengths that are there, per seed."""
    values = [by_seed(results, series.at(strength), of) for strength in series.all_strengths]
    rises = {}
    for seed in values[0]:
        known = [at[seed] for at in values if seed in at]
        if len(known) > 1 and known[0] > 0:
            rises[seed] = readings.largest_rise(known)
    return rises


def _monotone(results: Results, series: Series, conditions: str, decided: _Decided) -> None:
    common: dict[str, Any] = {"source": SOURCE, "conditions": conditions, "direction": "below", "threshold": RISE}
    remark = "Monotone up to 10 %. "
    remark += f"Norms below {readings.FLOOR:g} of the plain network's count as that: a collapsed network's are noise."
    norm = NORM_KEY[series.norm]
    decided.add(
        _rises(results, series, readings.jacobian_norm(norm)),
        key=_key("jacobian-falls", series),
        statement="The Jacobian's norm falls monotonically with the strength of its regulariser.",
        quantity=f"largest ln ratio of the mean {norm.replace('_', ' ')} norm over that at the next smaller strength",
        remark=remark,
        **common,
    )
    depth = min((len(r.measured["jacobian"]["layers"]) for r in _of(results, series)), default=0)
    layers = [_rises(results, series, readings.layer_norm(position)) for position in range(depth)]
    seeds = set.intersection(*(set(layer) for layer in layers)) if layers else set()
    decided.add(
        {seed: max(layer[seed] for layer in layers) for seed in sorted(seeds)},
        key=_key("layers-fall", series),
        statement="The Jacobian of the logits in every layer falls monotonically with the strength.",
        quantity="largest ln ratio of a layer's mean ‖∂f/∂z_i‖_F over that at the next smaller strength, any layer",
        remark=remark,
        **common,
    )


def _of(results: Results, series: Series) -> list[Any]:
    chosen = [series.at(strength) for strength in series.all_strengths]
    return [result for result in results.all if dict(result.net.labels) in chosen]


def _change(results: Results, series: Series, of: Reading) -> BySeed:
    """At the largest strength that has not collapsed the network, minus at 0; the same seed for both."""
    strength = readings.standing(results, series)
    if strength is None:
        return {}
    one, other = (by_seed(results, series.at(at), of) for at in (strength, 0.0))
    return paired(one, other, lambda a, b: a - b)


def _strengths(results: Results, series: Series) -> str:
    strength = readings.standing(results, series)
    return "no strength was left" if strength is None else f"strength {strength:g}, the largest before collapse, and 0"


def _gaps(results: Results, series: Series, conditions: str, decided: _Decided) -> None:
    robust = f"robust generalization gap ({series.norm}, eps = {series.eps:g})"
    for key, kind, name, of in (
        ("gap-loss", "cross-entropy, nats", "standard generalization gap", readings.gap("loss")),
        ("gap-error", "0-1 loss", "standard generalization gap", readings.gap("error")),
        ("robust-gap-loss", "cross-entropy, nats", robust, readings.robust_gap("loss", series.norm, series.eps)),
        ("robust-gap-error", "0-1 loss", robust, readings.robust_gap("accuracy", series.norm, series.eps)),
    ):
        decided.add(
            _change(results, series, of),
            key=_key(key, series),
            statement=f"A larger strength of the Jacobian regulariser shrinks the {name}, in the {kind.split(',')[0]}.",
            source=SOURCE,
            quantity=f"held-out minus training {kind}: regularised minus plain, same seed",
            conditions=f"{conditions}; {_strengths(results, series)}",
            direction="below",
            remark=_price(results, series),
        )


def _price(results: Results, series: Series) -> str:
    """What accuracy the smaller gap was bought with."""
    strength = readings.standing(results, series)
    if strength is None:
        return ""
    one, other = (list(by_seed(results, series.at(at), readings.held_out_accuracy).values()) for at in (strength, 0.0))
    return f"Mean held-out accuracy there: {fmean(one):.1%}, of the plain networks {fmean(other):.1%}."


def _complexities(results: Results, series: Series, conditions: str, decided: _Decided) -> None:
    conditions = f"{conditions}; {_strengths(results, series)}"
    common: dict[str, Any] = {"source": OWN, "conditions": conditions, "direction": "below"}
    for key, what, side, of in (
        ("lipschitz", "Lipschitz constant (ℓ2)", "certified upper bound", readings.jacobian_norm("lipschitz_upper")),
        ("rademacher", "Rademacher complexity of the norm class", "lower bound", readings.rademacher("lower")),
    ):
        decided.add(
            _change(results, series, _logarithm(of)),
            key=_key(key, series),
            statement=f"The {side} of the {what} falls as the Jacobian regulariser grows.",
            quantity=f"ln of the {side}: regularised minus plain, same seed",
            **common,
        )
    for row in _rows(results, series):
        for key, reading in (("fixed_class", "for a class fixed in advance"), ("a_posteriori", "a posteriori")):
            decided.add(
                _change(results, series, readings.bound(row, key)),
                key=_key(f"bound {row} {key}", series),
                statement=f"The bound '{readings.BOUND_LABELS[row]}', {reading}, falls as the regulariser grows.",
                quantity="log10 of the raw gap: regularised minus plain, same seed",
                remark=_vacuous(results, series, row),
                **common,
            )


def _logarithm(of: Reading) -> Reading:
    def read(result: Any) -> float | None:
        value = of(result)
        return math.log(value) if value is not None and value > 0 else None

    return read


def _rows(results: Results, series: Series) -> list[str]:
    found = {row for result in _of(results, series) for row in result.measured.get("bounds", {"rows": ()})["rows"]}
    return [row for row in readings.BOUND_LABELS if row in found]


def _vacuous(results: Results, series: Series, row: str) -> str:
    flags = [
        result.measured["bounds"]["rows"][row]["vacuous"]
        for result in _of(results, series)
        if row in result.measured.get("bounds", {"rows": ()})["rows"]
    ]
    return f"A posteriori it is vacuous for {sum(flags)} of {len(flags)} networks of the series: only its trend speaks."


def _robust_accuracy(results: Results, series: Series, conditions: str, decided: _Decided) -> None:
    of = readings.attacked("accuracy", "held_out", series.norm, series.eps)
    one, other = (by_seed(results, series.at(strength), of) for strength in (series.reference, 0.0))
    decided.add(
        paired(one, other, lambda a, b: a - b),
        key=_key("robust-accuracy", series),
        statement="A moderate Jacobian regulariser makes the network more robust than plain training does.",
        source=SOURCE,
        quantity="held-out accuracy under attack: regularised minus plain, same seed",
        conditions=f"{conditions}; strength {series.reference:g}; {series.norm}, eps = {series.eps:g}",
    )


def _collapse(results: Results, series: Series, conditions: str, decided: _Decided) -> None:
    strongest = series.strengths[-1]
    decided.add(
        by_seed(results, series.at(strongest), readings.held_out_accuracy),
        key=_key("collapse", series),
        statement="A regulariser that is strong enough collapses the network: it hardly beats guessing.",
        source=OWN,
        quantity="held-out accuracy at the largest strength of the series",
        remark="The series were made to end where a network of a pilot collapsed.",
        conditions=f"{conditions}; strength {strongest:g}",
        direction="below",
        threshold=CHANCE_TWICE,
    )


def _dominates(results: Results, trained: Surrogates, conditions: str, decided: _Decided) -> None:
    name = SURROGATE[trained.norm]
    counted = "The same samples for every network; an attack that finds no refutation is no proof, and so few samples "
    counted += "cannot tell 0 from several percent."
    for key, share, statement, direction, threshold in (
        ("not-refuted", "refuted", "is not refuted as an upper bound of the robust loss by attacks", "below", REFUTED),
        ("certified", "proved", f"is proved to bound the robust loss on over {PROVED:.0%} of samples", "above", PROVED),
    ):
        decided.add(
            by_seed(results, trained.at(trained.main), _decided_share(trained, share)),
            key=f"{key}-{trained.norm}",
            statement=f"At the radius it was trained at, the {trained.norm} surrogate ({name}) {statement}.",
            source=SOURCE if key == "not-refuted" else OWN,
            quantity=f"share of held-out samples on which robust loss <= surrogate is {share}",
            conditions=conditions,
            direction=direction,
            threshold=threshold,
            remark=counted,
        )


def _decided_share(trained: Surrogates, verdict: str) -> Reading:
    return readings.verdict(trained.norm, trained.main, readings.share_of(verdict, trained.norm))


def _adversarial_loss(results: Results, trained: Surrogates, conditions: str, decided: _Decided) -> None:
    """Against guessing; next, against plain training: "lowers the loss" leaves open compared with what."""
    for side, words in (("train", "training"), ("held_out", "held-out")):
        of = readings.attacked("loss", side, trained.norm, trained.main)
        decided.add(
            {s: math.log(loss / math.log(TEN)) for s, loss in by_seed(results, trained.at(trained.main), of).items()},
            key=_slug(f"adversarial-loss-learned-{side}-{trained.norm}"),
            statement=f"Minimising the {trained.norm} surrogate brings the adversarial loss that attacks find on "
            f"{words} samples below that of guessing.",
            source=SOURCE,
            quantity="ln of the mean loss under attack over ln 10, the loss of equal probabilities",
            conditions=conditions,
            direction="below",
        )


def _against_plain(results: Results, trained: Surrogates, attacked: str, few: int, decided: _Decided) -> None:
    norm, main = trained.norm, trained.main
    compared = [
        *(("held-out", eps, readings.attacked("loss", "held_out", norm, eps)) for eps in trained.trained),
        ("training", main, readings.attacked("loss", "train", norm, main)),
    ]
    cases = [
        (eps, of, f"{side}-{norm}-{eps:g}", f"{side} samples at eps = {eps:g}, which was trained at")
        for side, eps, of in compared
    ]
    far = readings.verdict(norm, trained.beyond, lambda entry: entry["attack_loss"])
    place = f"held-out samples at eps = {trained.beyond:g}, beyond the {main:g} that was trained at"
    for eps, of, key, where in (*cases, (main, far, f"beyond-{norm}", place)):
        one, other = (by_seed(results, trained.at(at), of) for at in (eps, 0.0))
        conditions = f"{attacked}, trained on the surrogate at eps = {eps:g}"
        conditions += f"; {few} of the samples" * (of is far)
        decided.add(
            paired(one, other, lambda a, b: math.log(a / b)),
            key=_slug(f"adversarial-loss-{key}"),
            statement=f"Training on the {norm} surrogate instead of the loss lowers the adversarial loss that attacks "
            f"find on {where}.",
            source=SOURCE,
            quantity="ln of the mean loss under attack: trained on the surrogate minus plain, same seed",
            conditions=conditions,
            direction="below",
        )


def _classes(results: Results, method: str, strength: float, samples: int, decided: _Decided) -> None:
    labels = {"data": DATA["mnist"], "net": CLASSES_NET, "method": method, "strength": strength}
    few, many = CLASSES[0], CLASSES[-1]
    for key, what, of, compare in (
        (
            "surrogate",
            f"held-out surrogate (l2, eps = {CLASSES_EPS:g})",
            readings.surrogate_mean("l2", CLASSES_EPS),
            readings.asymmetry,
        ),
        ("gap", "standard generalization gap (cross-entropy)", readings.gap("loss"), readings.asymmetry),
        *(
            (
                _slug(f"bound {row}"),
                f"bound '{readings.BOUND_LABELS[row]}' for a class fixed in advance",
                readings.bound(row, "fixed_class"),
                readings.asymmetry_log10,
            )
            for row in ("jacobian_surrogate frobenius, norm-based", "bartlett2017_spectral audited")
        ),
    ):
        values = [by_seed(results, labels | {"classes": classes}, of) for classes in (many, few)]
        decided.add(
            paired(values[0], values[1], compare),
            key=f"classes-{key}-{'plain' if method == PLAIN else 'regularised'}",
            statement=f"The {what} does not depend on the number of classes.",
            source=SOURCE,
            quantity=f"K = {many} minus K = {few}, over the mean of both magnitudes, same seed",
            conditions=f"{DATA['mnist']}, digits 0..K-1, {CLASSES_NET}, {method}"
            + (f", strength {strength:g}" if strength else "")
            + f"; n = {samples} for every K",
            direction="within",
            threshold=NO_DEPENDENCE,
            remark="No dependence is taken to mean: equal within a factor of 1.25. More classes are also harder to "
            "learn from the same n: a dependence need not come from the dimension alone.",
        )


def _cost(results: Results, net: str, samples: int, decided: _Decided) -> None:
    labels = {"data": DATA["mnist"], "net": net, "classes": 10}
    of = readings.attacked("accuracy", "held_out", "l2", COST_EPS)
    one = by_seed(results, labels | {"method": COST_METHOD, "strength": COST_STRENGTH}, of)
    other = by_seed(results, labels | {"method": PLAIN, "strength": 0.0}, of)
    decided.add(
        paired(one, other, lambda a, b: a - b),
        key=f"architecture-{net.lower()}",
        statement=f"The Jacobian regulariser makes the {net} more robust than plain training does.",
        source=SOURCE,
        quantity="held-out accuracy under attack: regularised minus plain, same seed",
        conditions=f"{DATA['mnist']}, {net}, {COST_METHOD}, strength {COST_STRENGTH:g}; n = {samples}; l2, "
        f"eps = {COST_EPS:g}",
    )
