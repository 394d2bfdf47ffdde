"""Which networks are trained, and what is measured of each.

A network is known by its labels: data, net, method, strength and classes. Series that share a training (the plain
network at strength 0, say) share the network, which then gets the measurements of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from verification.claims.experiment import Measurement, Net, seeds
from verification.training.job import Training

DATA = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10-jpeg": "CIFAR-10 (JPEG, 10k subset)"}

NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "MLP": ("mlp", {"widths": [64, 32]}),
    "tanh MLP": ("mlp", {"widths": [64, 32], "activation": "tanh"}),
    "CNN": ("strided_cnn", {"filters": [8, 16], "hidden": 50}),
    "ViT": ("vit", {"width": 32, "depth": 2}),
    "ResNet": ("resnet", {"width": 4}),
}

PLAIN = "plain"
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "‖J‖_F²": ("jacobian-frobenius", {}),
    "‖J‖_F², 1 projection": ("jacobian-frobenius", {"projections": 1}),
    "‖J‖_F": ("jacobian-frobenius", {"squared": False}),
    "‖J‖_{1,1}": ("jacobian-l1", {}),
}
"""The second of the paper's regularisers is the surrogate's own norm; its first is the square of it (theory §2)."""

SURROGATE = {"l2": "frobenius", "linf": "entrywise-l1"}
NORM_KEY = {"l2": "frobenius", "linf": "entrywise_l1"}
CONSTANT = {"l2": math.sqrt(2), "linf": 1.0}
"""c in S = loss + eps·c·N(J): the surrogate's name, the measured norm N, and c, by attack norm (theory §2)."""

BOUNDS = {
    "CNN": ("bartlett2017_spectral", "golowich2018_l1inf", "parametric_cover"),
    "tanh MLP": ("bartlett2017_spectral", "golowich2018_l1inf", "jacobian_surrogate"),
}
"""Catalogue entries that apply: jacobian_surrogate presumes smooth activations, and is why the tanh MLP is here."""


@dataclass(frozen=True)
class Series:
    """Networks that differ in the strength of a regulariser only.

    Attributes:
        data: name of the data set.
        net: a key of NETS.
        norm: the attack norm that the regulariser is for, "l2" or "linf".
        method: a key of METHODS.
        strengths: those above 0; the plain network is the first of every series.
        eps: radius that attacked losses and accuracies are concluded from, input units.
        reference: strength of the claim about robust accuracy, fixed in advance; one of `strengths`.
    """

    data: str
    net: str
    norm: str
    method: str
    strengths: tuple[float, ...]
    eps: float
    reference: float

    @property
    def labels(self) -> dict[str, Any]:
        """Of its networks, without method and strength."""
        return {"data": DATA[self.data], "net": self.net, "classes": 10}

    @property
    def all_strengths(self) -> tuple[float, ...]:
        """0, then the others."""
        return (0.0, *self.strengths)

    def at(self, strength: float) -> dict[str, Any]:
        """Labels of one network."""
        return self.labels | {"method": self.method if strength else PLAIN, "strength": strength}

    @property
    def title(self) -> str:
        """For panels."""
        return f"{DATA[self.data]}, {self.net}, {self.method}"


@dataclass(frozen=True)
class Surrogates:
    """Networks trained on the surrogate of the robust loss itself: strength c·eps of the norm, not squared.

    Attributes:
        norm: the attack norm.
        method: a key of METHODS.
        trained: radii, input units.
        main: the radius that claims are about; one of `trained`.
        beyond: a radius far beyond it, where the adversarial loss is compared too; one of `verdicts`.
        verdicts: radii that "robust loss <= surrogate" is decided at; `trained` are among them.
    """

    norm: str
    method: str
    trained: tuple[float, ...]
    main: float
    beyond: float
    verdicts: tuple[float, ...]
    data: str = "mnist"
    net: str = "MLP"

    def at(self, eps: float) -> dict[str, Any]:
        """Labels of the network trained at a radius; 0 for the plain one."""
        labels = {"data": DATA[self.data], "net": self.net, "classes": 10}
        return labels | {"method": self.method if eps else PLAIN, "strength": self.strength(eps)}

    def strength(self, eps: float) -> float:
        """c·eps."""
        return CONSTANT[self.norm] * eps


@dataclass(frozen=True)
class Sizes:
    """How large a preset is.

    Attributes:
        seeds: of every network.
        samples: training samples, n.
        epochs: passes over them.
        series: strength series.
        attacked: samples of either side that are attacked.
        steps: gradient steps of the attacks.
        decided: held-out samples of the verdicts.
        jacobians: held-out samples whose Jacobians are measured.
        draws: sign vectors of the Rademacher complexity.
    """

    seeds: int
    samples: int
    epochs: int
    series: tuple[Series, ...]
    attacked: int
    steps: int
    decided: int
    jacobians: int
    draws: int = 2000


TRAINED = (
    Surrogates("l2", "‖J‖_F", (0.1, 0.25, 0.5), 0.5, 2.0, (0.1, 0.25, 0.5, 2.0, 8.0)),
    Surrogates("linf", "‖J‖_{1,1}", (0.003, 0.01, 0.03), 0.01, 0.1, (0.003, 0.01, 0.03, 0.1, 0.3)),
)

CLASSES = (2, 5, 10)
CLASSES_NET, CLASSES_METHOD, CLASSES_STRENGTH, CLASSES_EPS = "tanh MLP", "‖J‖_F²", 0.1, 0.5
COST_NETS = ("MLP", "CNN", "ResNet", "ViT")
COST_METHOD, COST_STRENGTH, COST_EPS = "‖J‖_F², 1 projection", 0.1, 1.0

_CNN = Series("mnist", "CNN", "l2", COST_METHOD, (0.01, 0.1, 1.0, 10.0, 100.0), COST_EPS, COST_STRENGTH)
_MLP = Series("mnist", "MLP", "linf", "‖J‖_{1,1}", (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1), 0.05, 0.003)
_TANH = Series("mnist", CLASSES_NET, "l2", CLASSES_METHOD, (0.01, 0.1, 1.0, 100.0), 1.0, CLASSES_STRENGTH)
"""Each ends where a pilot network had collapsed."""

SIZES = {
    "quick": Sizes(
        seeds=3, samples=1280, epochs=20, series=(_CNN, _MLP, _TANH), attacked=300, steps=10, decided=24, jacobians=128
    ),
    "full": Sizes(
        seeds=5,
        samples=2000,
        epochs=20,
        series=(
            replace(_CNN, strengths=(0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 100.0)),
            replace(_MLP, strengths=(*_MLP.strengths, 0.3)),
            replace(_TANH, strengths=(0.001, 0.01, 0.1, 1.0, 10.0, 100.0)),
            Series("fashion-mnist", "CNN", "l2", COST_METHOD, (0.01, 0.1, 1.0, 1000.0), 0.5, 0.1),
            Series("fashion-mnist", "MLP", "linf", "‖J‖_{1,1}", (0.001, 0.003, 0.01, 0.3), 0.03, 0.003),
            Series("cifar10-jpeg", "CNN", "l2", COST_METHOD, (0.01, 0.1, 1.0, 100.0), 0.25, 0.1),
            Series("cifar10-jpeg", "MLP", "linf", "‖J‖_{1,1}", (0.0003, 0.001, 0.003, 0.03), 0.01, 0.001),
        ),
        attacked=400,
        steps=10,
        decided=40,
        jacobians=300,
    ),
}


@dataclass
class _Plan:
    """The networks of a preset, each training once."""

    sizes: Sizes
    found: dict[str, Net] = field(default_factory=dict)

    def add(self, labels: Mapping[str, Any], measurements: Mapping[str, Measurement]) -> None:
        """A network for every seed, or further measurements of those that are there."""
        for seed in seeds(self.sizes.seeds):
            net = Net(labels, _training(self.sizes, labels, seed), measurements)
            known = self.found.setdefault(net.digest, net)
            self.found[net.digest] = replace(known, measurements={**known.measurements, **measurements})


def nets(preset: str) -> tuple[Net, ...]:
    """The networks of a preset, those that take longest first.

    >>> len({net.digest for net in nets("quick")}) == len(nets("quick"))
    True
    """
    sizes = SIZES[preset]
    plan = _Plan(sizes)
    for labels, measurements in _wanted(sizes):
        plan.add(labels, measurements)
    order = list(NETS)[::-1]
    return tuple(sorted(plan.found.values(), key=lambda net: order.index(net.labels["net"])))


def _wanted(sizes: Sizes) -> Iterator[tuple[dict[str, Any], dict[str, Measurement]]]:
    for series in sizes.series:
        for strength in series.all_strengths:
            yield series.at(strength), _series_measurements(series, sizes)
    for trained in TRAINED:
        for eps in (0.0, *trained.trained):
            yield trained.at(eps), _trained_measurements(trained, sizes)
    for classes in CLASSES:
        for method, strength in ((PLAIN, 0.0), (CLASSES_METHOD, CLASSES_STRENGTH)):
            labels = {"data": DATA["mnist"], "net": CLASSES_NET, "classes": classes}
            yield labels | {"method": method, "strength": strength}, _class_measurements(sizes)
    for net in COST_NETS:
        for method, strength in ((PLAIN, 0.0), (COST_METHOD, COST_STRENGTH)):
            labels = {"data": DATA["mnist"], "net": net, "classes": 10, "method": method, "strength": strength}
            yield labels, _attacked("l2", (COST_EPS,), sizes)


def _training(sizes: Sizes, labels: Mapping[str, Any], seed: int) -> Training:
    net, arguments = NETS[labels["net"]]
    regulariser, regulariser_arguments = METHODS.get(labels["method"], (None, {}))
    return Training(
        data=next(name for name, label in DATA.items() if label == labels["data"]),
        net=net,
        net_arguments=arguments,
        regulariser=regulariser,
        regulariser_arguments=regulariser_arguments,
        strength=labels["strength"],
        epochs=sizes.epochs,
        samples=sizes.samples,
        classes=labels["classes"] if labels["classes"] < 10 else None,
        seed=seed,
    )


def _series_measurements(series: Series, sizes: Sizes) -> dict[str, Measurement]:
    found = _class_measurements(sizes) if series.net == CLASSES_NET else _basic(sizes)
    found |= _attacked(series.norm, (series.eps,), sizes)
    if series.net == "CNN":
        found["bounds"] = _bounds(series.net, series.eps)
    found["rademacher"] = Measurement("rademacher", {"samples": sizes.samples, "draws": sizes.draws})
    return found


def _trained_measurements(trained: Surrogates, sizes: Sizes) -> dict[str, Measurement]:
    options = {"norm": trained.norm, "eps": list(trained.verdicts), "samples": sizes.decided, "effort": "quick"}
    decided = Measurement("verdicts", options | {"steps": sizes.steps, "restarts": 1})
    return _basic(sizes) | _attacked(trained.norm, trained.trained, sizes) | {f"verdicts {trained.norm}": decided}


def _class_measurements(sizes: Sizes) -> dict[str, Measurement]:
    return _basic(sizes) | {"bounds": _bounds(CLASSES_NET, CLASSES_EPS)}


def _basic(sizes: Sizes) -> dict[str, Measurement]:
    return {
        "generalization": Measurement("generalization"),
        "jacobian": Measurement("jacobian", {"samples": sizes.jacobians}),
    }


def _attacked(norm: str, radii: tuple[float, ...], sizes: Sizes) -> dict[str, Measurement]:
    """One measurement per radius, so that networks of several series are attacked once at each."""
    options = {"norm": norm, "samples": sizes.attacked, "steps": sizes.steps, "restarts": 1}
    return {attacked_name(norm, eps): Measurement("attacked", options | {"eps": [eps]}) for eps in radii}


def attacked_name(norm: str, eps: float) -> str:
    """Name of the measurement of an attack.

    >>> attacked_name("l2", 0.5)
    'attacked l2 0.5'
    """
    return f"attacked {norm} {eps:g}"


def _bounds(net: str, eps: float) -> Measurement:
    return Measurement("bound_values", {"eps": eps, "norm": "l2", "keys": list(BOUNDS[net]), "jacobian_samples": 20})


def cuts(preset: str) -> tuple[str, ...]:
    """What is smaller than in the paper."""
    sizes = SIZES[preset]
    common = (
        f"Networks are small and trained on {sizes.samples} samples for {sizes.epochs} epochs, instead of on whole "
        "training sets: certificates, Jacobians and hundreds of trainings have to fit on a processor, and small "
        "samples are where there is a generalisation gap to shrink.",
        f"{sizes.seeds} seeds; {sizes.attacked} attacked samples per side ({sizes.steps} gradient steps, 1 start); "
        f"verdicts on {sizes.decided} held-out samples with the quick certificates.",
        "On the CNN and in the comparison of costs ‖J‖_F² is estimated by one random projection per step (unbiased); "
        "every other penalty is exact.",
        "ResNet (width 4) and ViT (width 32) appear in the comparison of costs only.",
    )
    if preset == "full":
        return (
            *common,
            "Fashion-MNIST and CIFAR-10 (JPEG, 10k subset): shorter series; no verdicts, classes or architectures.",
        )
    return (*common, "MNIST only; fewer strengths.")
