"""What the ablation decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from bounds.errors import InputError
from verification.claims.ablation.nets import JACOBIAN_METHODS, L2, METHODS, SIZES
from verification.claims.ablation.readings import attacked, bound, loss_gap, robust_gap
from verification.claims.claim import Claim, Effect
from verification.claims.experiment import Result, Results

ADVERSARIAL = tuple(name for name in METHODS if name.startswith(("adversarial", "TRADES", "logit pairing")))

SOURCE = "own; the issue is known as 'robust generalization needs more data'"

SAME_IMAGES = "All networks are attacked on the same held-out images: that sample's own error is not in the interval."

DEPTH_BOUNDS = {
    "bartlett2017_spectral published": "Bartlett et al. 2017",
    "golowich2018_frobenius": "Golowich et al. 2018 (Frobenius)",
    "neyshabur2015_frobenius": "Neyshabur et al. 2015 (Frobenius)",
}


def claims(results: Results, preset: str) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
    """The claims that enough networks were trained for, and a sentence for each of the others."""
    decided, undecidable = [], []
    for name, make in {**_method_claims(preset), **_data_claims(preset), **_depth_claims(preset)}.items():
        try:
            decided.append(make(results))
        except InputError as error:
            undecidable.append(f"{name}: {error}.")
    return tuple(decided), tuple(undecidable)


def _method_claims(preset: str) -> dict[str, Callable[[Results], Claim]]:
    sizes = SIZES[preset]
    conditions = f"MNIST, {sizes.samples:,} training images, tanh CNN, ℓ2 attack within legal images, ε = {L2:g}, on "
    conditions += f"{sizes.attacked} held-out images"

    def lead(ones: tuple[str, ...], others: tuple[str, ...]) -> Callable[[Results], Effect]:
        """How far the worst of `ones` lies above the best of `others`, per seed."""

        def effect(results: Results) -> Effect:
            found = {name: _attacked(results, name) for name in (*ones, *others)}
            shared = sorted(set.intersection(*map(set, found.values())))
            return Effect(
                tuple(
                    min(found[name][seed] for name in ones) - max(found[name][seed] for name in others)
                    for seed in shared
                )
            )

        return effect

    def claim(key: str, statement: str, quantity: str, effect: Callable[[Results], Effect]) -> None:
        found[key] = lambda results: Claim(key, statement, "own", quantity, effect(results), conditions)

    found: dict[str, Callable[[Results], Claim]] = {}
    quantity = "difference of accuracies under attack, percentage points"
    plain = [name for name in METHODS if name not in ADVERSARIAL]
    claim(
        "jacobian-over-plain",
        "Each of the six Jacobian regularisers makes the network more robust than plain training.",
        f"smallest of the six gains over plain: {quantity}",
        lead(JACOBIAN_METHODS, ("plain",)),
    )
    claim(
        "jacobian-over-weight-decay",
        "Each of the six Jacobian regularisers makes the network more robust than weight decay.",
        f"smallest of the six gains over weight decay: {quantity}",
        lead(JACOBIAN_METHODS, ("weight decay",)),
    )
    claim(
        "adversarial-over-all",
        "At the radius it trains at, adversarial training is more robust than every method that uses no attack.",
        f"lead over the best of them: {quantity}",
        lead(("adversarial ℓ2",), tuple(plain)),
    )
    return found


def _attacked(results: Results, method: str) -> dict[int, float]:
    """Accuracy under attack by seed."""
    nets = results.where(series="methods", method=method)
    return {net.net.training.seed: attacked(net, "l2", L2) for net in nets}


def _data_claims(preset: str) -> dict[str, Callable[[Results], Claim]]:
    sizes = SIZES[preset]
    smallest, *_, largest = sizes.data_sizes
    conditions = f"MNIST, tanh CNN trained adversarially (ℓ2, ε = {L2:g}), {sizes.attacked} images per side attacked"

    def excess(samples: int) -> Callable[[Results], Claim]:
        def make(results: Results) -> Claim:
            nets = results.where(**_data(samples))
            return Claim(
                f"robust-gap-{samples}",
                f"With {samples:,} training images the robust generalization gap is larger than the standard one.",
                SOURCE,
                "robust gap minus standard gap, on the same images, percentage points",
                Effect(tuple(robust_gap(net, L2) - robust_gap(net, 0.0) for net in nets)),
                conditions,
                remark=SAME_IMAGES,
            )

        return make

    def shrinks(results: Results) -> Claim:
        pairs = results.pairs(_data(smallest), _data(largest))
        return Claim(
            "robust-gap-shrinks",
            f"The robust generalization gap is smaller with {largest:,} than with {smallest:,} training images.",
            SOURCE,
            "decrease of the robust gap, percentage points",
            Effect(tuple(robust_gap(few, L2) - robust_gap(many, L2) for few, many in pairs)),
            conditions,
            remark=SAME_IMAGES,
        )

    return {f"robust-gap-{samples}": excess(samples) for samples in sizes.data_sizes} | {"robust-gap-shrinks": shrinks}


def _data(samples: int) -> dict[str, object]:
    return {"series": "data size", "method": "adversarial ℓ2", "samples": samples}


def _depth_claims(preset: str) -> dict[str, Callable[[Results], Claim]]:
    sizes = SIZES[preset]
    conditions = f"MNIST, {sizes.samples:,} images, ReLU MLPs of width {sizes.series_width} without biases, depths "
    conditions += f"{sizes.depths[0]} to {sizes.depths[-1]}"

    def steeper(name: str, title: str) -> Callable[[Results], Claim]:
        def make(results: Results) -> Claim:
            values = tuple(_steepness(nets, name) for nets in _by_seed(results))
            return Claim(
                f"depth-{name.split()[0]}",
                f"With depth, the bound of {title} grows faster than the measured gap of the cross-entropy.",
                "own",
                "slope of log10 of bound / gap, per layer",
                Effect(values),
                conditions,
            )

        return make

    return {f"depth-{name.split()[0]}": steeper(name, title) for name, title in DEPTH_BOUNDS.items()}


def _by_seed(results: Results) -> Iterator[list[Result]]:
    nets = results.where(series="depth")
    for seed in sorted({net.net.training.seed for net in nets}):
        yield [net for net in nets if net.net.training.seed == seed]


def _steepness(nets: list[Result], name: str) -> float:
    """Least-squares slope over depth of log10(bound / gap); depths without a bound or a positive gap are left out."""
    points = [
        (net.net.labels["size"], value - math.log10(loss_gap(net)))
        for net in nets
        if (value := bound(net, name)) is not None and loss_gap(net) > 0
    ]
    if len(points) < 2:
        raise InputError("fewer than two depths have a value")
    depths, values = zip(*points, strict=True)
    return float(np.polyfit(depths, values, 1)[0])
