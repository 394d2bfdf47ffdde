"""Classes of networks given by their norms alone, each with a bound of the catalogue that applies to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bounds import catalogue, readings, symbols
from bounds.by_hand import Norms
from bounds.calculus.arithmetic import point
from bounds.calculus.evaluator import Evaluator
from bounds.catalogue import assumptions
from bounds.catalogue.entry import Bound
from bounds.measurements import ATTACK_NORMS
from bounds.readings import Settings
from bounds.rows import violations
from verification.inequalities.inequality import assume
from verification.inequalities.strategies.numbers import scales

BOUNDS: dict[str, Bound] = {
    f"{entry.key} {bound.variant}".strip(): bound
    for entry in catalogue.entries()
    for bound in entry.variants
    if isinstance(bound, Bound)
}
"""Every bound that norms go into, by the key of its entry and its variant."""

SIDES = ("raw", "guaranteed")
LAYER_NORMS = ("s", "a", "b", "g", "m", "t")
"""The norms of a layer's weights; all are homogeneous in them."""


def bounds_of(*keys: str) -> tuple[str, ...]:
    """The names in BOUNDS of all variants of some entries.

    >>> bounds_of("bartlett2017_spectral")
    ('bartlett2017_spectral published', 'bartlett2017_spectral audited')
    """
    return tuple(name for name in BOUNDS if name.partition(" ")[0] in keys)


@dataclass(frozen=True)
class Case:
    """A bound and the numbers that enter it.

    Attributes:
        bound: name in BOUNDS.
        norms: of the class and the sample.
        gamma: margin, logits.
        delta: failure probability.
    """

    bound: str
    norms: Norms
    gamma: float
    delta: float

    @property
    def formula(self) -> Bound:
        """The bound."""
        return BOUNDS[self.bound]

    @property
    def settings(self) -> Settings:
        """What a user would fix in advance."""
        return Settings(self.delta, self.gamma)

    def evaluator(self) -> Evaluator:
        """The package's evaluator at these numbers; outside the bound's assumptions there is none."""
        slopes = self.norms.rho or ()
        assume(self.gamma > 0 and 0 < self.delta < 1 and all(rho > 0 for rho in slopes))
        assume(assumptions.HOMOGENEOUS not in self.formula.assumptions or all(rho <= 1 for rho in slopes))
        measured = self.norms.measurements()
        setting = assumptions.Setting(self.norms.n, self.norms.norm, certified=True, support=True)
        assume(not violations(self.formula, measured.architecture, setting))
        return readings.evaluator(self.formula, measured, self.settings)

    def value(self, side: str = "raw") -> Any:
        """The gap, raw or guaranteed, by the package; mpf."""
        return self.evaluator()(getattr(self.formula.gap, side))

    def complexity(self, side: str = "raw") -> Any:
        """The complexity (PAC-Bayes: the excess), raw or guaranteed, by the package; mpf."""
        return self.evaluator()(self.formula.gap.complexity[SIDES.index(side)])

    def on(self, bound: str) -> Case:
        """The same numbers in another bound."""
        return replace(self, bound=bound)

    def changed(self, **norms: Any) -> Case:
        """Some norms replaced."""
        return replace(self, norms=replace(self.norms, **norms))

    def scaled(self, factor: Any, *names: str) -> Case:
        """Some norms of the sample times a factor."""
        return self.changed(**{name: getattr(self.norms, name) * factor for name in names})

    def layer_scaled(self, layer: int, factor: Any, names: Iterable[str] = LAYER_NORMS) -> Case:
        """Some norms of one layer (from 0; -1 is the last) times a factor."""
        changed: dict[str, tuple[Any, ...]] = {}
        for name in names:
            entries = list(getattr(self.norms, name))
            entries[layer] = entries[layer] * factor
            changed[name] = tuple(entries)
        return self.changed(**changed)


def assume_off_ceilings(case: Case) -> None:
    """Leaves out where the bound of Graf et al. jumps: it rounds capacities up, and at an integer rounding decides."""
    if not case.bound.startswith("graf"):
        return
    evaluate = case.evaluator()
    for layer in range(1, evaluate.depth + 1):
        term = evaluate(symbols.capacity[symbols.i], i=layer) ** (point.mpf(2) / 3)
        assume(term < 1e6 and abs(term - point.nint(term)) > 1e-9 * term)


@cache
def attacks(bound: str) -> tuple[str, ...]:
    """The attack norms that a bound applies to."""
    linear = Norms(s=(1.0,), w=(1.0, 1.0)).measurements().architecture

    def applies(norm: str) -> bool:
        setting = assumptions.Setting(9, norm, certified=True, support=True)
        return not violations(BOUNDS[bound], linear, setting)

    return tuple(norm for norm in ("linf", "l2", "l1") if norm in ATTACK_NORMS and applies(norm))


def moderate(largest: float = 4.0) -> SearchStrategy[float]:
    """Numbers in [largest/1000, largest], simple ones first."""
    return st.one_of(st.integers(1, 4).map(lambda k: k * largest / 4), st.floats(largest / 1000, largest))


def radii() -> SearchStrategy[float]:
    """Norms: simple, arbitrary, tiny and huge."""
    return st.one_of(moderate(), scales(3))


@st.composite
def cases(
    draw: DrawFn,
    names: Sequence[str] = tuple(BOUNDS),
    depth: tuple[int, int] = (1, 3),
    offsets: bool = True,
    at_zero: bool = True,
    samples: tuple[int, ...] = (4, 2, 3, 30, 1000, 10**6),
) -> Case:
    """A bound among `names`, and norms that satisfy its assumptions.

    Args:
        draw: of hypothesis.
        names: of bounds.
        depth: smallest and largest number of layers.
        offsets: whether layers may have offsets, where the bound allows it.
        at_zero: whether activations may have phi(0) != 0, where the bound allows it.
        samples: sample sizes to choose from.
    """
    name = draw(st.sampled_from(names))
    needs = BOUNDS[name].assumptions
    L = 1 if assumptions.LINEAR in needs else draw(st.integers(*depth))
    classes = 2 if assumptions.TWO_CLASSES in needs else draw(st.sampled_from([2, 3, 10]))
    widths = (*(draw(st.sampled_from([2, 1, 4, 9])) for _ in range(L)), classes)
    biased = draw(st.sampled_from(["none", "all", "some"])) if offsets and assumptions.NO_BIAS not in needs else "none"
    bias = tuple(draw(st.booleans()) if biased == "some" else biased == "all" for _ in range(L))
    convolution = tuple(draw(st.booleans()) for _ in range(L))
    homogeneous = assumptions.HOMOGENEOUS in needs
    shifted = at_zero and not homogeneous and assumptions.ZERO_AT_ZERO not in needs and draw(st.booleans())

    def each(strategy: SearchStrategy[Any], count: int = L) -> tuple[Any, ...]:
        return tuple(draw(strategy) for _ in range(count))

    b = each(radii())
    kernels = tuple(draw(radii()) if conv else row for conv, row in zip(convolution, b, strict=True))
    dense = [(d_in + offset) * d_out for d_in, d_out, offset in zip(widths, widths[1:], bias, strict=False)]
    return Case(
        name,
        Norms(
            s=each(radii()),
            a=each(radii()),
            b=b,
            g=kernels,
            m=each(radii()),
            c=tuple(draw(moderate()) if offset else 0.0 for offset in bias),
            t=each(radii()),
            parameters=tuple(
                draw(st.integers(1, 9)) * size if conv else size for conv, size in zip(convolution, dense, strict=True)
            ),
            widths=widths,
            bias=bias,
            convolution=convolution,
            k_pos=tuple(draw(st.integers(1, 9)) if conv else 1 for conv in convolution),
            P_out=tuple(draw(st.integers(1, 9)) if conv else 1 for conv in convolution),
            rho=each(moderate(1.0 if homogeneous else 1.5), L - 1),
            beta=each(moderate(1.5), L - 1),
            at_zero=each(moderate(1.0), L - 1) if shifted else None,
            n=draw(st.sampled_from(samples)),
            classes=classes,
            d=widths[0],
            X_F=draw(radii()),
            X_col=draw(radii()),
            B=draw(moderate()),
            B_p=draw(moderate()),
            eps=draw(st.one_of(moderate(), scales(3))),
            norm=draw(st.sampled_from(attacks(name))),
            w=(draw(radii()), draw(radii())),
        ),
        draw(st.one_of(moderate(), scales(6))),
        draw(moderate(0.9)),
    )


EXACT = 2.0**-80
MEASURED = 2.0**-36
"""Norms in float64: the operator norm's upper end carries an allowance of a few hundred roundings."""

SURROGATE = bounds_of("jacobian_surrogate")
LINEAR = bounds_of("yin2019_linear_linf", "awasthi2020_linear")
MARGIN = tuple(name for name in BOUNDS if name not in SURROGATE + LINEAR)
PEELING = bounds_of("golowich2018_frobenius", "golowich2018_l1inf", "neyshabur2015_frobenius")
PAC_BAYES = bounds_of("neyshabur2018_pacbayes", "xiao2023_robust_pacbayes")
COVERS = bounds_of("bartlett2017_spectral", "graf2022_excess_capacity", "parametric_cover")
ATTACKED = ("parametric_cover adversarial", *bounds_of("xiao2023_robust_pacbayes"), *LINEAR, *SURROGATE)
SIDE = st.sampled_from(SIDES)
ALL_DATA = ("X_F", "X_col", "B", "B_p", "eps")
