"""What to measure of a network and on how many samples: what bounds need, and what is shown where it is cheap.

Times come from the shapes and an assumed rate, so that a plan is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bounds.measure.jacobian_norm import NAMES, work_of
from bounds.measure.layer_norm import norms_work
from bounds.measure.load import RATE, Load
from bounds.measure.spectral_norm import norm_work
from bounds.measurements import ATTACK_NORMS, LAYER_NORMS
from bounds.needs import Needs
from bounds.untraced import Network

LIMIT = 60.0  # seconds for the Jacobians that surrogate bounds need
SHOWN = 10.0  # seconds for what is only shown
SAMPLES = 1000  # of each set, where time allows

PLAIN: Mapping[str, str] = {
    "spectral": "spectral",
    "frobenius": "frobenius",
    "row-sum": "row_sum",
    "entrywise": "entrywise_l1",
}
"""Which plain norm of the Jacobian a surrogate is made of, by the catalogue's key; the margin one is no plain norm."""


@dataclass(frozen=True)
class LayerPlan:
    """Which norms of every layer to measure, of `LAYER_NORMS`; the note says why not all."""

    norms: frozenset[str]
    note: str = ""


@dataclass(frozen=True)
class JacobianPlan:
    """On how many samples to measure which norms of Jacobians.

    Attributes:
        train: training samples.
        test: held-out samples.
        plain: norms, of `bounds.measure.jacobian_norm.NAMES`.
        q: exponents of the margin-Jacobian.
        note: why not on as many as usual.
    """

    train: int = 0
    test: int = 0
    plain: tuple[str, ...] = ()
    q: tuple[float, ...] = ()
    note: str = ""


def dual_exponent(norm: str) -> float:
    """The exponent q dual to an attack norm.

    >>> dual_exponent("l1"), dual_exponent("l2"), dual_exponent("linf")
    (inf, 2.0, 1.0)
    """
    inverse = ATTACK_NORMS[norm]
    return 1 / (1 - inverse) if inverse < 1 else float("inf")


def plan_layers(network: Network, needs: Needs, *, everything: bool) -> LayerPlan:
    """The norms of layers to measure.

    Args:
        network: traced, or it has no layers.
        needs: of the bounds that apply.
        everything: whether all bounds were asked for: then the layers of a chain are shown whatever it takes.
    """
    if not network.segments:
        return LayerPlan(frozenset())
    if not needs.layers and not everything:
        return LayerPlan(
            frozenset(), "no bound that was asked for and applies needs norms of layers: they are not listed"
        )
    seconds = sum(norm_work(segment) + norms_work(segment) for segment in network.segments) / RATE
    both = "s" in needs.layers and len(needs.layers) > 1  # all but s are measured together
    if seconds <= SHOWN or both or (everything and not network.architecture.obstacles):
        return LayerPlan(frozenset(LAYER_NORMS))
    who = "the bounds need only some" if needs.layers else "no bound that applies needs"
    return LayerPlan(needs.layers, f"{who} norms of layers, and all would take over {SHOWN:g} s: they are not listed")


def plan_jacobians(
    each: Load, needs: Needs, norm: str, sizes: tuple[int, int], *, asked: int | None, everything: bool
) -> JacobianPlan:
    """The Jacobians to measure.

    Args:
        each: what one sample takes.
        needs: of the bounds that apply.
        norm: of the attack.
        sizes: of training and test set.
        asked: how many samples of each set were asked for; None for the usual number, or fewer where that takes long.
        everything: whether all bounds were asked for: then norms of Jacobians are shown also where no bound needs them.

    >>> none = Needs(frozenset(), frozenset(), robust=False)
    >>> plan = plan_jacobians(Load(9, 3, 0, 10**9), none, "l2", (500, 500), asked=None, everything=True)
    >>> plan.train, plan.test, plan.note
    (12, 0, 'Jacobians are measured on 12 of 500 training samples: more would take over 10 s (--jacobian-samples)')
    """
    usual = [min(asked or SAMPLES, size) for size in sizes]
    needed = tuple(name for name in NAMES if name in {PLAIN.get(key) for key in needs.surrogates})
    if not needs.surrogates:
        if not everything and asked is None:
            return JacobianPlan()
        train = usual[0] if asked else min(usual[0], _affordable(each, NAMES, SHOWN))
        return JacobianPlan(train, 0, NAMES, (2,), _fewer([train], usual[:1], sizes, SHOWN))
    counts = usual if asked else [min(count, max(1, _affordable(each, needed, LIMIT) // 2)) for count in usual]
    all_shown = (everything or asked is not None) and sum(counts) <= _affordable(each, NAMES, LIMIT)
    q = tuple(sorted({2.0, dual_exponent(norm)} if all_shown else {dual_exponent(norm)}))
    plain = NAMES if all_shown else needed
    return JacobianPlan(counts[0], counts[1], plain, q, _fewer(counts, usual, sizes, LIMIT))


def _affordable(each: Load, plain: tuple[str, ...], seconds: float) -> int:
    """How many samples' Jacobians can be measured in that time."""
    return int(seconds * RATE // max(1.0, work_of(each, spectral="spectral" in plain)))


def _fewer(counts: list[int], usual: list[int], sizes: tuple[int, int], limit: float) -> str:
    if counts == usual:
        return ""
    if not any(counts):
        return f"Jacobians are not measured: one would take over {limit:g} s (--jacobian-samples)"
    of = " and ".join(
        f"{count} of {size} {which} samples"
        for count, size, which in zip(counts, sizes, ("training", "held-out"), strict=False)
    )
    return f"Jacobians are measured on {of}: more would take over {limit:g} s (--jacobian-samples)"
