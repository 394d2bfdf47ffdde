"""Orders of the bounds: more data, stronger attacks, larger radii, and the directions that the calculus declares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st

from bounds import symbols
from bounds.by_hand import Norms
from bounds.calculus.arithmetic import point
from bounds.calculus.contraction import contraction
from bounds.calculus.dudley import dudley_parametric, dudley_scale_free
from bounds.calculus.kernel_cover import kernel_cover_complexity
from bounds.calculus.pac_bayes import pac_bayes
from bounds.calculus.parametric_cover import parametric_cover
from bounds.calculus.peeling import peel_exponential, peel_layers, peel_rows
from bounds.calculus.risk import risk
from bounds.calculus.spectral_cover import spectral_cover
from bounds.calculus.sum_rule import sum_rule
from bounds.measurements import ATTACK_NORMS
from bounds.readings import (
    used,
)
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies.norms import (
    ATTACKED,
    BOUNDS,
    COVERS,
    EXACT,
    LINEAR,
    PAC_BAYES,
    PEELING,
    SIDE,
    SURROGATE,
    Case,
    bounds_of,
    cases,
    moderate,
)


@inequality(
    "metamorphic-more_data",
    r"\text{guaranteed gap at }kn\le\text{guaranteed gap at }n\qquad(\|X\|_F\text{ times }\sqrt k)",
    source="own derivation",
    attained=True,
    given={"case": st.one_of(cases(PAC_BAYES), cases()), "times": st.integers(2, 1000)},
    mutants={"the other way round": {"reversed_": True}, "as if the gap fell as a root": {"gain": 0.5}},
    examples=90,
    recheck=False,
    rounding=EXACT,
    combinators=(dudley_scale_free, dudley_parametric, kernel_cover_complexity, risk),
)
def more_data(case: Case, times: int, gain: float = 0.0, reversed_: bool = False) -> tuple[Any, Any]:
    """What makes n* well defined. Attained where PAC-Bayes is capped; elsewhere the confidence term shrinks."""
    case = reals.lifted(case)
    k = point.mpf(times)
    grown = case.scaled(point.sqrt(k), "X_F", "X_col").changed(n=times * case.norms.n)
    sides = grown.value("guaranteed") * k**gain, case.value("guaranteed")
    return (sides[1], sides[0]) if reversed_ else sides


# --- attacks ---


def _dimension_factor(norms: Norms) -> float:
    return float(max(1.0, norms.d ** (0.5 - ATTACK_NORMS[norms.norm])))


@inequality(
    "metamorphic-attack_grows",
    r"\varepsilon\le\varepsilon'\ \Rightarrow\ \Phi(\mathcal F_{\mathrm{adv},\varepsilon})\le\Phi(\mathcal F_{"
    r"\mathrm{adv},\varepsilon'})",
    source="own derivation",
    attained=True,
    given={"case": cases(ATTACKED), "more": moderate(), "side": SIDE},
    mutants={"the other way round": {"reversed_": True}, "in proportion to the radius": {"proportional": True}},
    examples=80,
    recheck=False,
    rounding=EXACT,
    combinators=(parametric_cover, pac_bayes, contraction, sum_rule),
)
def attack_grows(
    case: Case, more: float, side: str, reversed_: bool = False, proportional: bool = False
) -> tuple[Any, Any]:
    """Attained where the radius hardly matters. Nothing is said about how fast."""
    case, more = reals.lifted((case, more))
    small, large = case.value(side), case.scaled(1 + point.mpf(more), "eps").value(side)
    small = small * (1 + point.mpf(more)) if proportional else small
    return (large, small) if reversed_ else (small, large)


@inequality(
    "metamorphic-audited_radius",
    r"B_2+\varepsilon D_p\le D_p(B_p+\varepsilon):\quad\text{the audited robust PAC-Bayes bound is never above the "
    r"published one }(B_2\le D_pB_p\text{ on every support})",
    source="own derivation; compare Xiao, Sun & Luo 2023",
    attained=True,
    given={"case": cases(bounds_of("xiao2023_robust_pacbayes")), "part": moderate(1.0), "side": SIDE},
    mutants={"the dimension factor at the attack only": {"factor": False}, "the other way round": {"reversed_": True}},
    examples=60,
    recheck=False,
    rounding=2.0**-40,
    combinators=(pac_bayes,),
)
def audited_radius(case: Case, part: float, side: str, factor: bool = True, reversed_: bool = False) -> tuple[Any, Any]:
    """Attained by a support whose radii are the extreme ones, B_2 = D_p B_p: a cube around 0 for p = inf."""
    assume(0 < part <= 1)
    D_p = _dimension_factor(case.norms)
    B_p = case.norms.B_p
    extreme = case.changed(B=part * D_p * B_p, B_p=B_p if factor else B_p / D_p)
    sides = (extreme.on(f"xiao2023_robust_pacbayes {name}").value(side) for name in ("audited", "published"))
    audited, published = sides
    return (published, audited) if reversed_ else (audited, published)


# --- monotonicity ---


@cache
def _declared(bound: str) -> tuple[tuple[Any, int], ...]:
    """What the calculus declares: symbols with +1 (non-decreasing) or -1, of those that the formula uses."""
    gap = BOUNDS[bound].gap
    known = [(symbol, 1) for symbol in gap.increasing] + [(symbol, -1) for symbol in gap.decreasing]
    return tuple(sorted((entry for entry in known if entry[0] in used(gap)), key=lambda entry: str(entry[0])))


def _monotone_in(names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "given": {
            "case": cases(names),
            "symbol": st.integers(0, 59),
            "layer": st.integers(0, 2),
            "factor": st.one_of(st.sampled_from([1.05, 2.0, 1e2, 1e6]), st.floats(1, 4)),
            "side": SIDE,
        },
        "mutants": {"the directions exchanged": {"sign": -1}, "margin and delta taken for radii": {"radii": True}},
        "source": "own derivation",
        "attained": True,
        "examples": 60,
        "recheck": False,
        "rounding": EXACT,
    }


def _raised(case: Case, symbol: int, layer: int, factor: float, side: str, sign: int, radii: bool) -> tuple[Any, Any]:
    """One number raised, of one layer where there are several: the value before and after, in declared order."""
    assume(factor >= 1)
    case, factor = reals.lifted((case, factor))
    declared = _declared(case.bound)
    if radii:
        declared = tuple((symbol, 1) for symbol, direction in declared if direction < 0)
    raised, direction = declared[symbol % len(declared)]
    start = case.evaluator()
    value = start.values[raised]
    if isinstance(value, Mapping):
        i = 1 + layer % len(value)
        value = {**value, i: value[i] * factor}
    else:
        value = value * factor
    assume(raised != symbols.delta or value < 1)
    expression = getattr(case.formula.gap, side)
    before, after = start(expression), start.changed({raised: value})(expression)
    return (before, after) if sign * direction > 0 else (after, before)


MONOTONE = (
    r"\Phi\text{ is non-decreasing in every radius of every layer that its calculus declares so, and non-increasing in "
    r"}\gamma\text{ and }\delta;\text{ raw and guaranteed, across every cap and branch: }"
)


@inequality(
    "metamorphic-monotone-peeling",
    MONOTONE + r"\text{peeling (Golowich et al., Neyshabur et al. 2015)}",
    combinators=(peel_exponential, peel_layers, peel_rows, risk),
    **_monotone_in(PEELING),
)
def monotone_peeling(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """Attained where another number decides: below the cap, or where a constant column is the largest."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


@inequality(
    "metamorphic-monotone-pac_bayes",
    MONOTONE + r"\text{PAC-Bayes}",
    combinators=(pac_bayes,),
    **_monotone_in(PAC_BAYES),
)
def monotone_pac_bayes(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """Attained at the cap, and where the logarithm of n dominates."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


@inequality(
    "metamorphic-monotone-covers",
    MONOTONE + r"\text{covers (Bartlett et al., Graf et al., parametric)}",
    combinators=(spectral_cover, kernel_cover_complexity, parametric_cover, dudley_scale_free, dudley_parametric),
    **_monotone_in(COVERS),
)
def monotone_covers(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """Attained at the cap M/2; crosses 3R = Mn, where the guaranteed value changes its formula."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


@inequality(
    "metamorphic-monotone-surrogate",
    MONOTONE + r"\text{the Jacobian surrogate}",
    combinators=(sum_rule, dudley_scale_free, dudley_parametric, risk),
    **_monotone_in(SURROGATE),
)
def monotone_surrogate(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """The ranges M and M_J are radii too, so even a capped value may grow. Attained by radii that do not bind."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


@inequality(
    "metamorphic-monotone-linear",
    MONOTONE + r"\text{linear classes}",
    combinators=(contraction, risk),
    **_monotone_in(LINEAR),
)
def monotone_linear(
    case: Case, symbol: int, layer: int, factor: float, side: str, sign: int = 1, radii: bool = False
) -> tuple[Any, Any]:
    """Attained at the cap 1/2."""
    return _raised(case, symbol, layer, factor, side, sign, radii)


# --- readings ---
