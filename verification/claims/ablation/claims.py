"""What the ablation decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from bounds.errors import InputError
from verification.claims.ablation.nets import JACOBIAN_METHODS, L2, METHODS, SIZES
from verification.claims.ablation.readings import attacked, bound, loss_gap, robust_gap, standard_gap
from verification.claims.claim import Claim, Effect
from verification.claims.experiment import Result, Results

ADVERSARIAL = tuple(name for name in METHODS if name.startswith(("adversarial", "TRADES", "logit pairing")))

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
    conditions = f"MNIST, {sizes.samples:,} training images, tanh CNN, ℓ2 attack with ε = {L2:g} on "
    conditions += f"{sizes.attacked} held-out images"

    def lead(ones: tuple[str, ...], others: tuple[str, ...]) -> Callable[[Results], Effect]:
        """How far the worst of `ones` lies above the best of `others`, per seed."""

        def effect(results: Results) -> Effect:
            worst = np.min([_attacked(results, name) for name in ones], axis=0)
            best = np.max([_attacked(results, name) for name in others], axis=0)
            return Effect(tuple(map(float, worst - best)))

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


def _attacked(results: Results, method: str) -> tuple[float, ...]:
    return results.values(lambda result: attacked(result, "l2", L2), series="methods", method=method)


def _data_claims(preset: str) -> dict[str, Callable[[Results], Claim]]:
    sizes = SIZES[preset]
    smallest, *_, largest = sizes.data_sizes
    conditions = (
        f"MNIST, tanh CNN trained adversarially (ℓ2, ε = {L2:g}), {2 * sizes.attacked} images per side attacked"
    )

    def excess(samples: int) -> Callable[[Results], Claim]:
        def make(results: Results) -> Claim:
            values = results.values(
                lambda result: robust_gap(result, L2) - standard_gap(result), **_data(samples)
            )  # fmt: skip
            return Claim(
                f"robust-gap-{samples}",
                f"With {samples:,} training images the robust generalization gap is larger than the standard one.",
                "own; the issue is known as 'robust generalization needs more data'",
                "robust gap minus standard gap, percentage points",
                Effect(values),
                conditions,
            )

        return make

    def shrinks(results: Results) -> Claim:
        pairs = zip(
            *(results.values(lambda result: robust_gap(result, L2), **_data(size)) for size in (smallest, largest)),
            strict=True,
        )
        return Claim(
            "robust-gap-shrinks",
            f"The robust generalization gap is smaller with {largest:,} than with {smallest:,} training images.",
            "own; the issue is known as 'robust generalization needs more data'",
            "decrease of the robust gap, percentage points",
            Effect(tuple(few - many for few, many in pairs)),
            conditions,
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
            values = tuple(
                _slope(nets, lambda net: bound(net, name)) - _slope(nets, _log_gap) for nets in _by_seed(results)
            )
            return Claim(
                f"depth-{name.split()[0]}",
                f"With depth, the bound of {title} grows faster than the measured generalization gap.",
                "own",
                "slope of log10 bound minus slope of log10 gap (cross-entropy), per layer",
                Effect(values),
                conditions,
            )

        return make

    return {f"depth-{name.split()[0]}": steeper(name, title) for name, title in DEPTH_BOUNDS.items()}


def _by_seed(results: Results) -> Iterator[list[Result]]:
    nets = results.where(series="depth")
    for seed in sorted({net.net.training.seed for net in nets}):
        yield [net for net in nets if net.net.training.seed == seed]


def _log_gap(result: Result) -> float | None:
    gap = loss_gap(result)
    return math.log10(gap) if gap > 0 else None


def _slope(nets: list[Result], of: Callable[[Result], float | None]) -> float:
    """Least-squares slope over depth; networks without a value are left out."""
    points = [(net.net.labels["size"], value) for net in nets if (value := of(net)) is not None]
    if len(points) < 2:
        raise InputError("fewer than two depths have a value")
    depths, values = zip(*points, strict=True)
    return float(np.polyfit(depths, values, 1)[0])
