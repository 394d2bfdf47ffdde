"""The networks of the ablation: every regulariser under the same conditions, and series in data size, width, depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from verification.claims.experiment import Measurement, Net, seeds
from verification.training.job import Training

CNN: Mapping[str, Any] = {"filters": [8, 16], "hidden": 50, "activation": "tanh"}
"""Smooth, so that every regulariser has something to act on; 41,960 parameters."""

L2, LINF = 1.0, 0.1
"""Radii that adversarial methods train at, input units."""

PGD_STEPS = 5

METHODS: Mapping[str, tuple[str | None, Mapping[str, Any], float]] = {
    "plain": (None, {}, 0.0),
    "weight decay": ("weight-decay", {}, 0.03),
    "input gradient": ("input-gradient", {}, 1.0),
    "Jacobian Frobenius²": ("jacobian-frobenius", {}, 0.1),
    "Jacobian ℓ1": ("jacobian-l1", {}, 0.003),
    "margin-Jacobian": ("margin-jacobian", {}, 0.6),
    "Jacobian operator ∞→1": ("jacobian-operator", {"norm": "linf", "r": 1.0, "steps": 3}, 0.005),
    "data-dependent spectral": ("data-spectral", {"steps": 3}, 0.2),
    "data-dependent spectral, distance": ("data-spectral-distance", {"eps": L2, "steps": 3}, 0.3),
    "global spectral": ("global-spectral", {"steps": 1}, 0.1),
    "Hessian operator": ("hessian-operator", {}, 0.6),
    "Hessian Frobenius": ("hessian-frobenius", {}, 0.1),
    "CURE": ("cure", {}, 0.3),
    "adversarial ℓ2": ("adversarial", {"norm": "l2", "eps": L2, "steps": PGD_STEPS}, 1.0),
    "adversarial ℓ∞": ("adversarial", {"norm": "linf", "eps": LINF, "steps": PGD_STEPS}, 1.0),
    "TRADES ℓ2": ("trades", {"norm": "l2", "eps": L2, "steps": PGD_STEPS}, 6.0),
    "logit pairing ℓ2": ("logit-pairing", {"norm": "l2", "eps": L2, "steps": PGD_STEPS}, 0.6),
}
"""Method -> regulariser, its arguments, strength."""

JACOBIAN_METHODS = (
    "Jacobian Frobenius²",
    "Jacobian ℓ1",
    "margin-Jacobian",
    "Jacobian operator ∞→1",
    "data-dependent spectral",
    "data-dependent spectral, distance",
)


@dataclass(frozen=True)
class Sizes:
    """What a preset runs.

    Attributes:
        seeds: number of seeds.
        samples: MNIST images that every method trains on.
        epochs: passes over them.
        attacked: images attacked per network and side, at the radii that are trained at.
        jacobians: images that Jacobians are measured at.
        certified: images certified and attacked per network, for the bracket.
        attack_steps: gradient steps per image and radius.
        data_sizes: training images -> epochs, of the series in data size.
        widths: hidden units of the series in width, two hidden layers.
        depths: affine layers of the series in depth.
        series_width: hidden units of the series in depth.
        series_epochs: passes over the same number of images, of width and depth series.
    """

    seeds: int
    samples: int
    epochs: int
    attacked: int
    jacobians: int
    certified: int
    attack_steps: int
    data_sizes: Mapping[int, int]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    series_width: int
    series_epochs: int


SIZES = {
    "quick": Sizes(3, 1000, 6, 300, 100, 20, 10, {300: 40, 1000: 20, 3000: 10}, (16, 256), (2, 3, 4), 64, 10),
    "full": Sizes(
        5, 5000, 8, 400, 150, 30, 10, {1000: 40, 5000: 16, 60000: 4}, (16, 64, 256, 512), (2, 3, 4, 5, 6), 100, 20
    ),
}

BATCH = {"methods": 64, "series": 128}

BRACKET = {"l2": 0.3, "linf": 0.03}
"""Radii at which robust accuracy is bracketed, input units."""

STRONG = {"l2": L2, "linf": LINF}
"""Radii at which it is only attacked."""


def nets(preset: str) -> tuple[Net, ...]:
    """All networks of a preset, those that take longest first."""
    sizes = SIZES[preset]
    found = [
        net
        for seed in seeds(sizes.seeds)
        for group in (_data_series, _methods, _architectures)
        for net in group(sizes, seed)
    ]
    return tuple(sorted(found, key=lambda net: net.labels["series"] != "data size"))


def _methods(sizes: Sizes, seed: int) -> Iterator[Net]:
    for method, (regulariser, arguments, strength) in METHODS.items():
        training = Training(
            "mnist", "strided_cnn", CNN, regulariser, arguments, strength, sizes.epochs, BATCH["methods"],
            samples=sizes.samples, seed=seed,
        )  # fmt: skip
        labels = {"series": "methods", "method": method, "strength": strength}
        yield Net(labels, training, _of_methods(sizes))


def _data_series(sizes: Sizes, seed: int) -> Iterator[Net]:
    for samples, epochs in sizes.data_sizes.items():
        for method in ("plain", "adversarial ℓ2"):
            regulariser, arguments, strength = METHODS[method]
            training = Training(
                "mnist", "strided_cnn", CNN, regulariser, arguments, strength, epochs, BATCH["series"],
                samples=None if samples == 60_000 else samples, seed=seed,
            )  # fmt: skip
            labels = {"series": "data size", "method": method, "samples": samples}
            yield Net(labels, training, _gaps(sizes, [0.0, L2]))


def _architectures(sizes: Sizes, seed: int) -> Iterator[Net]:
    """ReLU without biases: the class that most bounds of the catalogue are about."""
    widths = [("width", width, [width, width]) for width in sizes.widths]
    depths = [("depth", depth, [sizes.series_width] * (depth - 1)) for depth in sizes.depths]
    for series, size, hidden in widths + depths:
        arguments = {"widths": hidden, "bias": False}
        training = Training(
            "mnist", "mlp", arguments, epochs=sizes.series_epochs, batch_size=BATCH["series"],
            samples=sizes.samples, seed=seed,
        )  # fmt: skip
        bounds = Measurement("bound_values", {"eps": 0.1, "norm": "l2"})
        yield Net({"series": series, "size": size}, training, _gaps(sizes, [0.1]) | {"bounds": bounds})


def _gaps(sizes: Sizes, radii: list[float]) -> dict[str, Measurement]:
    arguments = {"norm": "l2", "eps": radii, "samples": sizes.attacked}
    arguments |= {"steps": sizes.attack_steps, "restarts": 1}
    return {"generalization": Measurement("generalization"), "attacked l2": Measurement("attacked", arguments)}


def _of_methods(sizes: Sizes) -> dict[str, Measurement]:
    found = {
        "generalization": Measurement("generalization"),
        "jacobian": Measurement("jacobian", {"samples": sizes.jacobians}),
        "hessian": Measurement("hessian", {"samples": sizes.certified}),
    }
    for norm in BRACKET:
        effort = {"norm": norm, "steps": sizes.attack_steps, "restarts": 1}
        strong = {"eps": [STRONG[norm]], "samples": sizes.attacked}
        if norm != "l2":
            strong["sides"] = ["held_out"]
        found[f"attacked {norm}"] = Measurement("attacked", effort | strong)
        decided = {"eps": [BRACKET[norm]], "samples": sizes.certified, "effort": "quick"}
        found[f"verdicts {norm}"] = Measurement("verdicts", effort | decided)
    return found
