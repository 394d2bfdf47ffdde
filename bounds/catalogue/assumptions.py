"""Assumptions of bounds, each checkable against an architecture; a violation says what would make it hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bounds.architecture import Architecture, grouped


@dataclass(frozen=True)
class Setting:
    """What else than the architecture a bound may depend on.

    Attributes:
        n: number of training samples.
        attack_norm: "l1", "l2", "linf"; None without an attack.
        certified: whether certified margins of the attacked training samples are at hand.
        support: whether the support of the data is known (box or radius).
    """

    n: int
    attack_norm: str | None
    certified: bool
    support: bool


@dataclass(frozen=True)
class Violation:
    """An assumption that fails: because of what, and what would make the bound apply."""

    assumption: str
    because: str
    remedy: str


@dataclass(frozen=True)
class Assumption:
    """A named assumption; `check` returns its first violation or None."""

    statement: str
    check: Callable[[Architecture, Setting], Violation | None]


def _assumption(statement: str, find: Callable[[Architecture, Setting], tuple[str, str] | None]) -> Assumption:
    def check(architecture: Architecture, setting: Setting) -> Violation | None:
        found = find(architecture, setting)
        return None if found is None else Violation(statement, *found)

    return Assumption(statement, check)


def _join(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    groups = grouped(architecture.obstacles)
    if not groups:
        return None
    because = "; ".join(f"{names}: {why}" for (why, _), names in groups.items())
    return because, "; ".join(dict.fromkeys(remedy for _, remedy in groups))


def _max_pool(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    for phi in architecture.nonlinearities:
        if phi.max_pool_overlap:
            overlapping = "overlapping windows" if phi.max_pool_overlap > 1 else "not elementwise"
            return f"{phi.name}: {overlapping}", "use average pooling or strided convolutions"
    return None


def _not_homogeneous(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    for phi in architecture.nonlinearities:
        if not phi.homogeneous:
            return f"{phi.name} is not positively homogeneous", "use ReLU or leaky ReLU"
        if phi.rho > 1:
            return f"{phi.name} has Lipschitz constant {phi.rho:g} > 1", "use slopes of at most 1"
    return None


def _offset_at_zero(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    for phi in architecture.nonlinearities:
        if phi.at_zero:
            return f"{phi.name} is {phi.at_zero:.3g} at 0", "use an activation with phi(0) = 0, such as tanh"
    return None


def _not_smooth(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    for phi in architecture.nonlinearities:
        if phi.max_pool_overlap:
            return f"{phi.name} has no Lipschitz derivative", "use average pooling or strided convolutions"
        if phi.beta is None:
            return f"{phi.name} has no Lipschitz derivative", "use softplus, tanh, GELU or SiLU"
    return None


def _biased(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    for layer in architecture.layers:
        if layer.bias:
            return f"{layer.name} has a bias", "train without biases (and without normalisation shifts)"
    return None


def _deep(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    if architecture.depth != 1:
        return f"the network has {architecture.depth} layers", "use a linear model"
    return None


def _many_classes(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    if architecture.classes != 2:
        return f"{architecture.classes} classes", "pose a problem with two classes"
    return None


def _no_attack(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    return None if setting.attack_norm else ("no attack set was given", "give --eps and --norm")


def _not_certified(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    if setting.certified:
        return None
    return "no certified margins of the training samples", "give certified margins (the command line computes them)"


def _no_support(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
    return None if setting.support else ("the support of the data is unknown", "give the box of the inputs")


def _other_norm(norms: tuple[str, ...]) -> Callable[[Architecture, Setting], tuple[str, str] | None]:
    def find(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
        if setting.attack_norm in (None, *norms):
            return None
        return f"the attack norm is {setting.attack_norm}", f"use --norm {norms[0]}"

    return find


def _few_samples(minimum: int) -> Callable[[Architecture, Setting], tuple[str, str] | None]:
    def find(architecture: Architecture, setting: Setting) -> tuple[str, str] | None:
        return None if setting.n >= minimum else (f"n = {setting.n}", f"use at least {minimum} training samples")

    return find


CHAIN = _assumption("the network is a chain of affine layers and known nonlinearities", _join)
NO_MAX_POOL = _assumption("no max-pool", _max_pool)
HOMOGENEOUS = _assumption("1-Lipschitz, positively homogeneous activations (ReLU type)", _not_homogeneous)
ZERO_AT_ZERO = _assumption("activations with phi(0) = 0", _offset_at_zero)
SMOOTH = _assumption("activations with a Lipschitz derivative", _not_smooth)
NO_BIAS = _assumption("no biases", _biased)
LINEAR = _assumption("a linear network", _deep)
TWO_CLASSES = _assumption("two classes", _many_classes)
ATTACK = _assumption("an attack set {‖delta‖_p <= epsilon}", _no_attack)
CERTIFIED = _assumption("certified margins under attack", _not_certified)
SUPPORT = _assumption("a bounded support of the inputs, known in advance", _no_support)


def attack_norms(*norms: str) -> Assumption:
    """The attack norm is one of `norms`."""
    return _assumption("attack norm " + " or ".join(norms), _other_norm(norms))


def samples(minimum: int) -> Assumption:
    """At least `minimum` training samples."""
    return _assumption(f"n >= {minimum}", _few_samples(minimum))
