r"""Catalogue entries about networks (theory §6, entries 1-4, 7, 8, 11): each against its class, from below.

Left sides are lower bounds of the empirical Rademacher complexity: the expectation over signs of the best of the
members tried, see `class_complexity`. Right sides are the catalogue's, at the numbers of the same class. The raw values
of the covering bounds are 10 to 10^3 times too large (Dudley's constant 12, Maurey's logarithms, one constant per
layer), so their mutants are structural and need large samples and far-apart scales; the guaranteed values are attained
at their cap M/2 by classes that shatter the sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st

from bounds.by_hand import Norms, complexity
from bounds.calculus.arithmetic import Points
from bounds.calculus.contraction import lipschitz_cover, lipschitz_parametric
from bounds.calculus.dudley import dudley_parametric, dudley_scale_free
from bounds.calculus.evaluator import Evaluator
from bounds.calculus.jacobian_cover import jacobian_cover
from bounds.calculus.kernel_cover import kernel_cover_complexity
from bounds.calculus.multiclass import multiclass
from bounds.calculus.parametric_cover import parametric_cover, parametric_jacobian_cover
from bounds.calculus.peeling import peel_exponential, peel_layers, peel_rows
from bounds.calculus.propagation import support_norms
from bounds.calculus.spectral_cover import spectral_cover
from bounds.calculus.statements import Complexity
from bounds.calculus.sum_rule import sum_rule
from bounds.symbols import i, m_bias, rho
from verification.inequalities import reals
from verification.inequalities.class_complexity import (
    RELATIVE_MARGINS,
    Ball,
    Sample,
    admissible,
    attacked_margins,
    complexity_below,
    margins,
    members,
    outputs,
    outputs_and_jacobians,
    problems,
    ramp,
)
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import scales

Sides = tuple[float, float]


def _ones(values: Any) -> tuple[float, ...]:
    return (1.0,) * len(values)


MISTAKES: dict[str, Callable[[Norms], Norms]] = {
    "n squared": lambda norms: replace(norms, n=norms.n**2),
    "root of the data norm": lambda norms: replace(norms, X_F=math.sqrt(norms.X_F), X_col=math.sqrt(norms.X_col)),
    "no spectral norms": lambda norms: replace(norms, s=_ones(norms.s)),
    "last layer only": lambda norms: replace(
        norms,
        a=(*_ones(norms.a[1:]), norms.a[-1]),  # type: ignore[index]
        m=(*_ones(norms.m[1:]), norms.m[-1]),  # type: ignore[index]
    ),
    "no bias coordinate": lambda norms: replace(norms, bias=(False,) * len(norms.s)),
    "phi(0) forgotten": lambda norms: replace(norms, at_zero=(0.0,) * (len(norms.s) - 1)),
    "no distances": lambda norms: replace(norms, b=(0.0,) * len(norms.s)),
    "no parameters in the last layer": lambda norms: replace(norms, parameters=tuple(_parameters(norms)[:-1]) + (0,)),
    "no attack": lambda norms: replace(norms, eps=min(norms.eps, 1.0)),
}
"""What an implementation may get wrong, as a change of the numbers that the formula is given."""


def _parameters(norms: Norms) -> list[int]:
    return [layer.parameters for layer in norms.measurements().architecture.layers]


def _with(norms: Norms, mistake: str | None) -> Norms:
    return norms if mistake is None else MISTAKES[mistake](norms)


def _structural(*names: str) -> dict[str, dict[str, Any]]:
    """Mutants that make one of the mistakes each."""
    return {name: {"mistake": name} for name in names}


NO_MARGIN: dict[str, dict[str, Any]] = {"no margin": {"margin": False}}
NOT_CARRIED: dict[str, dict[str, Any]] = {"no maximum with 1": {"carried": False}}


def _one_output(
    problem: tuple[Sample, Ball], measure: str, claim: Complexity, mistake: str | None, factor: float
) -> Sides:
    sample, ball = problem
    admissible(ball, sample)
    left = complexity_below(outputs(members(ball, sample, measure), ball.activation, sample.x)[:, :, 0], sample)
    values = _with(ball.norms(sample), mistake).measurements().points()
    right = Evaluator(claim.parts, values, len(ball.radii), Points())(claim.raw)
    return left, factor * float(right)


def _margin_class(
    problem: tuple[Sample, Ball],
    relative: float,
    measure: str,
    key: str,
    variant: str,
    reading: int,
    mistake: str | None,
    margin: bool = True,
    factor: float = 1.0,
    eps: float = 0.0,
    norm: str = "l2",
) -> Sides:
    """Ramp-margin class against a catalogue entry; reading 0 is the raw value, 1 the guaranteed one."""
    sample, ball = problem
    admissible(ball, sample)
    gamma = relative * ball.output_scale(sample.radius())
    assume(gamma > 1e-100)
    networks = members(ball, sample, measure)
    if variant == "adversarial":
        found = attacked_margins(ball, networks, sample, eps, {"l1": math.inf, "l2": 2.0, "linf": 1.0}[norm])
    else:
        found = margins(outputs(networks, ball.activation, sample.x), sample.y)
    norms = _with(ball.norms(sample, eps, norm), mistake)
    right = complexity(key, norms, variant, gamma=gamma if margin else 1.0)[reading]
    return complexity_below(ramp(found, gamma), sample), factor * right


def _not_carried(claim: Complexity) -> Complexity:
    """Row peeling as if a layer with small weights also shrank the offsets of the layers after it."""
    (product,) = claim.parts
    small = product.expression.replace(sp.Max(m_bias[i], 1 / rho[i]), m_bias[i])
    return replace(claim, parts=(replace(product, expression=small),))


# One real output: peeling (entries 1-3). Here the constants can be judged.

ONE_OUTPUT = {"problem": problems(1, {"counts": (1, 1, 2, 100, 10**4)}, references=False)}
ONE_OUTPUT_ANY = {
    "problem": problems(1, {"counts": (1, 1, 2, 100, 10**4)}, activations=("relu", "tanh"), references=False)
}


@inequality(
    "golowich2018_frobenius-one-output",
    r"\mathfrak R_S(f)\le\frac{\sqrt{\|X\|_F^2+n\mathbf 1_{\mathrm{bias}}}}{n}\left(\sqrt{2L\ln2}+1\right)"
    r"\prod_i\sqrt{\|W_i\|_F^2+\|c_i\|^2+\mathbf 1_{\mathrm{bias},\,i<L}}",
    source="Golowich, Rakhlin & Shamir 2018, Theorem 1; with offsets own derivation",
    given=ONE_OUTPUT,
    mutants={"below 1/2.18": {"factor": 0.45}} | _structural("n squared", "last layer only", "no bias coordinate"),
    recheck=False,
    combinators=(peel_exponential,),
)
def exponential_peeling(problem: Any, mistake: str | None = None, factor: float = 1.0) -> Sides:
    r"""Left from below. Largest at L = n = 1: 1/(sqrt(2 ln 2) + 1) = 0.459."""
    return _one_output(problem, "frobenius", peel_exponential(), mistake, factor)


@inequality(
    "neyshabur2015_frobenius-one-output",
    r"\mathfrak R_S(f)\le\frac{2^{L-1}\sqrt{\|X\|_F^2+n\mathbf 1_{\mathrm{bias}}}}{n}"
    r"\prod_i\sqrt{\|W_i\|_F^2+\|c_i\|^2+\mathbf 1_{\mathrm{bias},\,i<L}}",
    source="Neyshabur, Tomioka & Srebro 2015, Corollary 2 up to its constant; with offsets own derivation",
    given=ONE_OUTPUT,
    attained=True,
    mutants={"two per cent below": {"factor": 0.98}}
    | _structural("n squared", "last layer only", "no bias coordinate"),
    recheck=False,
    combinators=(peel_layers,),
)
def layer_peeling(problem: Any, mistake: str | None = None, factor: float = 1.0) -> Sides:
    """Left from below. Attained by one layer and one sample; every further layer costs a factor 2."""
    return _one_output(problem, "frobenius", peel_layers(), mistake, factor)


@inequality(
    "golowich2018_l1inf-one-output-published",
    r"\mathfrak R_S(f)\le\frac2n\sqrt{L+1+\ln(d+\mathbf 1_{\mathrm{bias}})}\;\Pi\,"
    r"\max\left(\max_j\|X_{:,j}\|_2,\sqrt n\,\mathbf 1_{\mathrm{bias}}\right),\quad"
    r"\Pi=\mu_L\prod_{i<L}\max(\rho_i\mu_i,\mathbf 1_{\mathrm{bias}})",
    source="Golowich, Rakhlin & Shamir 2018, Theorem 2; with offsets own derivation",
    given=ONE_OUTPUT_ANY,
    mutants=NOT_CARRIED
    | {"a third": {"factor": 1 / 3}}
    | _structural("n squared", "last layer only", "no bias coordinate"),
    examples=120,
    recheck=False,
    combinators=(peel_rows,),
)
def row_peeling(problem: Any, mistake: str | None = None, factor: float = 1.0, carried: bool = True) -> Sides:
    """Left from below. Largest at L = 1, d = n = 2 with orthogonal columns: 1/sqrt(2 + ln 2)/sqrt 2 = 0.431."""
    claim = peel_rows(False)
    return _one_output(problem, "rows", claim if carried else _not_carried(claim), mistake, factor)


@inequality(
    "golowich2018_l1inf-one-output-sharper",
    r"\mathfrak R_S(f)\le\frac1n\sqrt{2(L\ln2+\ln(d+2\cdot\mathbf 1_{\mathrm{bias}}))}\;\Pi\,"
    r"\max\left(\max_j\|X_{:,j}\|_2,\sqrt n\,\mathbf 1_{\mathrm{bias}}\right),\quad"
    r"\Pi=\mu_L\prod_{i<L}\max(\rho_i\mu_i,\mathbf 1_{\mathrm{bias}})",
    source="own derivation",
    given=ONE_OUTPUT_ANY,
    mutants=NOT_CARRIED
    | {"below 1/1.18": {"factor": 0.84}}
    | _structural("n squared", "last layer only", "no bias coordinate"),
    examples=120,
    recheck=False,
    combinators=(peel_rows,),
)
def row_peeling_sharper(problem: Any, mistake: str | None = None, factor: float = 1.0, carried: bool = True) -> Sides:
    r"""Left from below. Largest at L = d = n = 1, 1/sqrt(2 ln 2) = 0.849: Massart's lemma for two vectors."""
    claim = peel_rows(True)
    return _one_output(problem, "rows", claim if carried else _not_carried(claim), mistake, factor)


# The ramp of the multi-class margin.

HOMOGENEOUS = {"problem": problems(references=False), "relative": RELATIVE_MARGINS}
ZERO_AT_ZERO = {
    "problem": problems(activations=("relu", "leaky_relu", "tanh"), references=False),
    "relative": RELATIVE_MARGINS,
}
AROUND = {"problem": problems(activations=("relu", "tanh", "softplus")), "relative": RELATIVE_MARGINS}
UNCAPPED = r"\mathfrak R_S(r_\gamma\circ\mathcal F)\le"
PEELED = _structural("n squared", "root of the data norm", "last layer only") | NO_MARGIN


@inequality(
    "golowich2018_frobenius",
    UNCAPPED + r"\frac{2K}\gamma\frac{\|X\|_F}{n}\left(\sqrt{2L\ln 2}+1\right)\prod_i\|W_i\|_F",
    source="Golowich, Rakhlin & Shamir 2018, Theorem 1; multi-class reduction (Mohri, Rostamizadeh & Talwalkar)",
    given=HOMOGENEOUS,
    mutants=PEELED,
    recheck=False,
    combinators=(peel_exponential, multiclass),
)
def golowich_frobenius(problem: Any, relative: float, mistake: str | None = None, margin: bool = True) -> Sides:
    """Raw value; left from below. Loose by the reduction to one output: 2K instead of sqrt 2 or less."""
    return _margin_class(problem, relative, "frobenius", "golowich2018_frobenius", "", 0, mistake, margin)


@inequality(
    "neyshabur2015_frobenius",
    UNCAPPED + r"\frac{2K}\gamma\frac{2^{L-1}\|X\|_F}{n}\prod_i\|W_i\|_F",
    source="Neyshabur, Tomioka & Srebro 2015, Corollary 2 up to its constant; multi-class reduction "
    "(Mohri, Rostamizadeh & Talwalkar)",
    given=HOMOGENEOUS,
    mutants=PEELED,
    recheck=False,
    combinators=(peel_layers, multiclass),
)
def neyshabur_frobenius(problem: Any, relative: float, mistake: str | None = None, margin: bool = True) -> Sides:
    """Raw value; left from below. Loose by the reduction to one output and by 2^{L-1}."""
    return _margin_class(problem, relative, "frobenius", "neyshabur2015_frobenius", "", 0, mistake, margin)


@inequality(
    "golowich2018_l1inf-published",
    UNCAPPED + r"\frac{2K}\gamma\frac2n\sqrt{L+1+\ln d}\prod_i m_i\rho_i\max_j\|X_{:,j}\|_2",
    source="Golowich, Rakhlin & Shamir 2018, Theorem 2; multi-class reduction (Mohri, Rostamizadeh & Talwalkar)",
    given=ZERO_AT_ZERO,
    mutants=PEELED,
    examples=250,
    recheck=False,
    combinators=(peel_rows, multiclass),
)
def golowich_rows(problem: Any, relative: float, mistake: str | None = None, margin: bool = True) -> Sides:
    """Raw value; left from below. Loose by the reduction to one output."""
    return _margin_class(problem, relative, "rows", "golowich2018_l1inf", "published", 0, mistake, margin)


@inequality(
    "golowich2018_l1inf-sharper",
    UNCAPPED + r"\frac{2K}\gamma\frac1n\sqrt{2(L\ln2+\ln d)}\prod_i m_i\rho_i\max_j\|X_{:,j}\|_2",
    source="own derivation",
    given=ZERO_AT_ZERO,
    mutants=PEELED,
    examples=250,
    recheck=False,
    combinators=(peel_rows, multiclass),
)
def golowich_rows_sharper(problem: Any, relative: float, mistake: str | None = None, margin: bool = True) -> Sides:
    """Raw value; left from below. Loose by the reduction to one output."""
    return _margin_class(problem, relative, "rows", "golowich2018_l1inf", "sharper", 0, mistake, margin)


MANY = {"problem": problems(sample={"counts": (10**6, 10**4, 10**8)}), "relative": RELATIVE_MARGINS}
AT_ZERO = {
    "problem": problems(activations=("softplus",), sample={"counts": (10**6, 10**4, 10**8), "kinds": ("zero",)}),
    "relative": RELATIVE_MARGINS,
    "variant": st.sampled_from(["audited", "published"]),
}
COVER = _structural("n squared", "no spectral norms") | NO_MARGIN
SPECTRAL = (
    r"\frac4n+\frac{12R}n\ln n,\quad R=\frac{%s}\gamma\|X\|_F\sqrt{\ln(2\overline W^2)}\prod_is_i\rho_i"
    r"\Big(\sum_i(b_i/s_i)^{2/3}\Big)^{3/2}"
)


@inequality(
    "bartlett2017_spectral-published",
    UNCAPPED + SPECTRAL % "2",
    source="Bartlett, Foster & Telgarsky 2017, Theorem 3.3 and Lemma A.5",
    given=MANY,
    mutants=COVER,
    examples=120,
    recheck=False,
    combinators=(spectral_cover, lipschitz_cover, dudley_scale_free),
)
def bartlett_published(problem: Any, relative: float, mistake: str | None = None, margin: bool = True) -> Sides:
    """Raw value; left from below, over (2,1) balls around the references. Loose by Dudley's integral.

    Large samples only: at n = 1 the term 4/n alone is 8 times the cap, and no other factor would show.
    """
    return _margin_class(problem, relative, "two-one", "bartlett2017_spectral", "published", 0, mistake, margin)


@inequality(
    "bartlett2017_spectral-audited",
    UNCAPPED + SPECTRAL % r"4",
    source="own audit of Bartlett, Foster & Telgarsky 2017, Theorem 3.3",
    given=MANY,
    mutants=COVER,
    examples=120,
    recheck=False,
    combinators=(spectral_cover, lipschitz_cover, dudley_scale_free),
)
def bartlett_audited(problem: Any, relative: float, mistake: str | None = None, margin: bool = True) -> Sides:
    """As published, with sqrt 8 for the ceiling and for centres inside the balls, and sqrt 2 for the ramp."""
    return _margin_class(problem, relative, "two-one", "bartlett2017_spectral", "audited", 0, mistake, margin)


@inequality(
    "bartlett2017_spectral-offsets",
    UNCAPPED + r"\frac4n+\frac{12R}n\ln n,\quad R\propto\Big(\sum_i\big(b_iQ_i\sqrt{X_{i-1}^2+n}\big)^{2/3}\Big)^{3/2},"
    r"\quad X_i=\rho_i(s_iX_{i-1}+\sqrt n\|c_i\|_2)+\sqrt{nd_i}\,|\varphi_i(0)|",
    source="own derivation",
    given=AT_ZERO,
    mutants=_structural("n squared", "no bias coordinate", "phi(0) forgotten"),
    examples=120,
    recheck=False,
    combinators=(spectral_cover, lipschitz_cover, dudley_scale_free),
)
def bartlett_offsets(problem: Any, relative: float, variant: str, mistake: str | None = None) -> Sides:
    """Raw value at inputs 0, where only the offsets and the values of the activation at 0 are left; left from below."""
    return _margin_class(problem, relative, "two-one", "bartlett2017_spectral", variant, 0, mistake)


@inequality(
    "graf2022_excess_capacity",
    UNCAPPED + r"\frac4n+\frac{12H_{n-1}}{\sqrt n}\sqrt{\ln(2W)}\Big(\sum_i\lceil C_i^{2/3}\rceil\Big)^{3/2},\quad"
    r"C_i=\frac4\gamma\frac{\|X\|_F}{\sqrt n}\prod_js_j\frac{g_i}{s_i}",
    source="Graf, Zeng, Rieck, Niethammer & Kwitt 2022, norms form",
    given=AROUND,
    mutants=_structural("n squared", "no distances"),
    recheck=False,
    combinators=(kernel_cover_complexity,),
)
def graf(problem: Any, relative: float, mistake: str | None = None, margin: bool = True) -> Sides:
    """Raw value; left from below. A ceiling is at least 1: no mistake inside the capacities shows but g = 0."""
    assume(problem[0].n >= 2)
    return _margin_class(problem, relative, "two-one", "graf2022_excess_capacity", "", 0, mistake, margin)


PARAMETRIC = (
    UNCAPPED + r"\frac{12}{\sqrt n}\sqrt{\sum_iN_i\Big(1+\ln\Big(1+\frac{2\sqrt2\,t_iLK_i}\gamma\Big)\Big)},\quad"
    r"K_i=\prod_{j\ne i}s_j\rho_j\,%s"
)


@inequality(
    "parametric_cover-standard",
    PARAMETRIC % "B",
    source="own derivation",
    given=AROUND,
    mutants=_structural("n squared", "no parameters in the last layer"),
    recheck=False,
    combinators=(parametric_cover, lipschitz_parametric, dudley_parametric, support_norms),
)
def parametric(problem: Any, relative: float, mistake: str | None = None) -> Sides:
    r"""Raw value; left from below. At least 12 sqrt(N/n), so only n and the number of parameters can show."""
    return _margin_class(problem, relative, "two-one", "parametric_cover", "standard", 0, mistake)


ATTACKS = {"eps": scales(4), "norm": st.sampled_from(["l2", "linf", "l1"])}
ONE_UNIT = {"problem": problems(activations=("relu", "tanh"), width=(1, 1)), "relative": RELATIVE_MARGINS}


@inequality(
    "parametric_cover-adversarial",
    PARAMETRIC.replace(r"r_\gamma\circ\mathcal F", r"\{\max_{\|\delta\|_p\le\varepsilon}r_\gamma(f(x+\delta))\}")
    % r"\left(B+\varepsilon\max(1,d^{1/2-1/p})\right)",
    source="own derivation; compare Xiao et al. on adversarial Rademacher complexity",
    given=ONE_UNIT | ATTACKS,
    mutants=_structural("n squared", "no parameters in the last layer"),
    recheck=False,
    combinators=(parametric_cover, lipschitz_parametric, dudley_parametric, support_norms),
)
def parametric_adversarial(problem: Any, relative: float, eps: float, norm: str, mistake: str | None = None) -> Sides:
    """Raw value; left from below. One unit per hidden layer: then the worst margin under attack is known exactly."""
    variant = "adversarial"
    return _margin_class(problem, relative, "two-one", "parametric_cover", variant, 0, mistake, eps=eps, norm=norm)


# Guaranteed values: the cap M/2 is attained by a class that takes all values in {0, 1}^n on the sample.

CAPPED = r"\mathfrak R_S(r_\gamma\circ\mathcal F)\le\min(\tfrac12,\cdot)\text{ of }"
BELOW_THE_CAP: dict[str, dict[str, Any]] = {"two per cent below": {"factor": 0.98}} | _structural("n squared")


@inequality(
    "golowich2018_frobenius-guaranteed",
    CAPPED + r"\frac{2K}\gamma\frac{\|X\|_F}{n}\left(\sqrt{2L\ln 2}+1\right)\prod_i\|W_i\|_F",
    source="Golowich, Rakhlin & Shamir 2018, Theorem 1",
    given=HOMOGENEOUS,
    attained=True,
    mutants=BELOW_THE_CAP,
    examples=120,
    recheck=False,
    combinators=(peel_exponential, multiclass),
)
def golowich_frobenius_guaranteed(
    problem: Any, relative: float, mistake: str | None = None, factor: float = 1.0
) -> Sides:
    """Left from below; attained at the cap."""
    key = "golowich2018_frobenius"
    return _margin_class(problem, relative, "frobenius", key, "", 1, mistake, factor=factor)


@inequality(
    "neyshabur2015_frobenius-guaranteed",
    CAPPED + r"\frac{2K}\gamma\frac{2^{L-1}\|X\|_F}{n}\prod_i\|W_i\|_F",
    source="Neyshabur, Tomioka & Srebro 2015, Corollary 2 up to its constant",
    given=HOMOGENEOUS,
    attained=True,
    mutants=BELOW_THE_CAP,
    examples=120,
    recheck=False,
    combinators=(peel_layers, multiclass),
)
def neyshabur_frobenius_guaranteed(
    problem: Any, relative: float, mistake: str | None = None, factor: float = 1.0
) -> Sides:
    """Left from below; attained at the cap."""
    key = "neyshabur2015_frobenius"
    return _margin_class(problem, relative, "frobenius", key, "", 1, mistake, factor=factor)


@inequality(
    "golowich2018_l1inf-guaranteed",
    CAPPED + r"\frac{2K}\gamma\frac1n\sqrt{2(L\ln2+\ln d)}\prod_i m_i\rho_i\max_j\|X_{:,j}\|_2"
    r"\text{ and of the published }\frac{2K}\gamma\frac2n\sqrt{L+1+\ln d}\prod_i m_i\rho_i\max_j\|X_{:,j}\|_2",
    source="Golowich, Rakhlin & Shamir 2018, Theorem 2; sharper: own derivation",
    given=ZERO_AT_ZERO | {"variant": st.sampled_from(["sharper", "published"])},
    attained=True,
    mutants=BELOW_THE_CAP,
    examples=80,
    recheck=False,
    combinators=(peel_rows, multiclass),
)
def golowich_rows_guaranteed(
    problem: Any, relative: float, variant: str, mistake: str | None = None, factor: float = 1.0
) -> Sides:
    """Left from below; attained at the cap."""
    key = "golowich2018_l1inf"
    return _margin_class(problem, relative, "rows", key, variant, 1, mistake, factor=factor)


@inequality(
    "bartlett2017_spectral-guaranteed",
    r"\mathfrak R_S(r_\gamma\circ\mathcal F)\le\min\Big(\tfrac12,\frac{12R}n\Big(1+\ln\frac n{3R}\Big)\Big)"
    r"\text{ for }3R\le n,\ \tfrac12\text{ beyond}",
    source="Bartlett, Foster & Telgarsky 2017, Theorem 3.3 and Lemma A.5",
    given=AROUND | {"variant": st.sampled_from(["audited", "published"])},
    attained=True,
    mutants=BELOW_THE_CAP,
    examples=120,
    recheck=False,
    combinators=(spectral_cover, lipschitz_cover, dudley_scale_free),
)
def bartlett_guaranteed(
    problem: Any, relative: float, variant: str, mistake: str | None = None, factor: float = 1.0
) -> Sides:
    """Left from below; attained at the cap."""
    key = "bartlett2017_spectral"
    return _margin_class(problem, relative, "two-one", key, variant, 1, mistake, factor=factor)


@inequality(
    "graf2022_excess_capacity-guaranteed",
    CAPPED + r"\frac4n+\frac{12H_{n-1}}{\sqrt n}\sqrt{\ln(2W)}\Big(\sum_i\lceil C_i^{2/3}\rceil\Big)^{3/2}",
    source="Graf, Zeng, Rieck, Niethammer & Kwitt 2022, norms form",
    given=AROUND,
    attained=True,
    mutants=BELOW_THE_CAP,
    examples=120,
    recheck=False,
    combinators=(kernel_cover_complexity,),
)
def graf_guaranteed(problem: Any, relative: float, mistake: str | None = None, factor: float = 1.0) -> Sides:
    """Left from below; attained at the cap, with two samples or more of one point each."""
    assume(problem[0].n >= 2)
    return _margin_class(problem, relative, "two-one", "graf2022_excess_capacity", "", 1, mistake, factor=factor)


@inequality(
    "parametric_cover-guaranteed",
    CAPPED + r"\frac{12}{\sqrt n}\sqrt{\sum_iN_i\Big(1+\ln\Big(1+\frac{2\sqrt2\,t_iLK_i}\gamma\Big)\Big)}",
    source="own derivation",
    given=ONE_UNIT | ATTACKS | {"variant": st.sampled_from(["standard", "adversarial"])},
    attained=True,
    mutants=BELOW_THE_CAP,
    examples=120,
    recheck=False,
    combinators=(parametric_cover, lipschitz_parametric, dudley_parametric, support_norms),
)
def parametric_guaranteed(
    problem: Any,
    relative: float,
    eps: float,
    norm: str,
    variant: str,
    mistake: str | None = None,
    factor: float = 1.0,
) -> Sides:
    """Left from below; attained at the cap."""
    return _margin_class(
        problem, relative, "two-one", "parametric_cover", variant, 1, mistake, factor=factor, eps=eps, norm=norm
    )


# The surrogate loss ell + epsilon c N(J) of smooth networks (entry 8).

COEFFICIENT = {"margin": 1.0, "spectral": math.sqrt(2), "frobenius": math.sqrt(2), "row-sum": 2.0, "entrywise": 1.0}
"""c of theory §2."""


def _jacobian_norms(J: np.ndarray, name: str, y: tuple[int, ...], q: float) -> np.ndarray:
    """N(J(x_j)) of every member, (members, m); J is (members, m, K, d)."""
    if name == "margin":
        gaps = [J[:, j] - J[:, j, [label]] for j, label in enumerate(y)]
        size = [np.asarray(reals.norm(gap, q, axis=2)).max(axis=1) for gap in gaps]
        return np.stack(size, axis=1)
    found: np.ndarray
    if name == "spectral":
        found = np.linalg.norm(J, 2, axis=(2, 3))
    elif name == "frobenius":
        found = np.sqrt((J**2).sum(axis=(2, 3)))
    else:
        rows = np.abs(J).sum(axis=3)
        found = rows.max(axis=2) if name == "row-sum" else rows.sum(axis=2)
    return found


def _cross_entropy(logits: np.ndarray, y: tuple[int, ...]) -> np.ndarray:
    """logsumexp(z) - z_y, (members, m), nats."""
    largest = logits.max(axis=2)
    total = largest + np.log(np.exp(logits - largest[:, :, None]).sum(axis=2))
    losses: np.ndarray = total - np.stack([logits[:, j, label] for j, label in enumerate(y)], axis=1)
    return losses


def _surrogate_class(
    problem: tuple[Sample, Ball],
    eps: float,
    norm: str,
    name: str,
    kind: str,
    mistake: str | None,
    reading: int = 0,
    factor: float = 1.0,
) -> tuple[float, float, float]:
    sample, ball = problem
    admissible(ball, sample)
    assume(eps > 0)
    logits, J = outputs_and_jacobians(members(ball, sample, "two-one"), ball.activation, sample.x)
    q = {"l1": math.inf, "l2": 2.0, "linf": 1.0}[norm]
    penalty = eps * COEFFICIENT[name] * _jacobian_norms(J, name, sample.y, q)
    values = _cross_entropy(logits, sample.y) + penalty
    left = complexity_below(values, sample)
    norms = _with(ball.norms(sample, eps, norm), mistake)
    right = factor * complexity("jacobian_surrogate", norms, f"{name}, {kind}")[reading]
    # Values that differ by little from one another have lost digits to what they have in common.
    return left, right, 2.0**-40 * (left + right) + 2.0**-48 * float(np.abs(values).max())


SMOOTH = {
    "problem": problems(activations=("tanh", "softplus", "silu"), depth=(1, 2), decades=2, sample={"decades": 2}),
    "eps": scales(4),
}
SURROGATE = r"\mathfrak R_S(\ell+\varepsilon c\,N(J))\le"
NORM_BASED = SURROGATE + (
    r"\frac4n+\frac{12R}n\ln(Mn)+\varepsilon c\Big(\frac4n+\frac{12R_N}n\ln(M_Jn)\Big),\quad "
    r"R_N=\mathrm{Lip}(N)\sqrt8\Big(\sum_i\kappa_i^{2/3}\Big)^{3/2}"
)
COUNTED = SURROGATE + (
    r"\frac{12}{\sqrt n}\left(M\sqrt{\Sigma}+\varepsilon c\,M_J\sqrt{\Sigma_J}\right),\quad "
    r"\Sigma=\sum_iN_i(1+\ln(1+c_i/M))"
)
JACOBIAN_SOURCE = "own derivation, after Wu & Li 2024"
BY_COVER = (spectral_cover, jacobian_cover, lipschitz_cover, dudley_scale_free, sum_rule, support_norms)
BY_COUNT = (parametric_cover, parametric_jacobian_cover, lipschitz_parametric, dudley_parametric, sum_rule)
SURROGATE_MISTAKES = _structural("n squared", "no attack")
COUNT_MISTAKES = SURROGATE_MISTAKES | _structural("no parameters in the last layer")


@inequality(
    "jacobian_surrogate-margin, norm-based",
    NORM_BASED + r",\quad N(J)=\max_k\|J_k-J_y\|_q",
    source=JACOBIAN_SOURCE,
    given=SMOOTH | {"norm": st.sampled_from(["l2", "linf", "l1"])},
    mutants=SURROGATE_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COVER,
)
def surrogate_margin_covered(
    problem: Any, eps: float, norm: str, mistake: str | None = None
) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, norm, "margin", "norm-based", mistake)


@inequality(
    "jacobian_surrogate-margin, parametric",
    COUNTED + r",\quad N(J)=\max_k\|J_k-J_y\|_q",
    source=JACOBIAN_SOURCE,
    given=SMOOTH | {"norm": st.sampled_from(["l2", "linf", "l1"])},
    mutants=COUNT_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COUNT,
)
def surrogate_margin_counted(
    problem: Any, eps: float, norm: str, mistake: str | None = None
) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, norm, "margin", "parametric", mistake)


@inequality(
    "jacobian_surrogate-spectral, norm-based",
    NORM_BASED + r",\quad N(J)=\|J\|_2",
    source=JACOBIAN_SOURCE,
    given=SMOOTH,
    mutants=SURROGATE_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COVER,
)
def surrogate_spectral_covered(problem: Any, eps: float, mistake: str | None = None) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, "l2", "spectral", "norm-based", mistake)


@inequality(
    "jacobian_surrogate-spectral, parametric",
    COUNTED + r",\quad N(J)=\|J\|_2",
    source=JACOBIAN_SOURCE,
    given=SMOOTH,
    mutants=COUNT_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COUNT,
)
def surrogate_spectral_counted(problem: Any, eps: float, mistake: str | None = None) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, "l2", "spectral", "parametric", mistake)


@inequality(
    "jacobian_surrogate-frobenius, norm-based",
    NORM_BASED + r",\quad N(J)=\|J\|_F",
    source=JACOBIAN_SOURCE,
    given=SMOOTH,
    mutants=SURROGATE_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COVER,
)
def surrogate_frobenius_covered(problem: Any, eps: float, mistake: str | None = None) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, "l2", "frobenius", "norm-based", mistake)


@inequality(
    "jacobian_surrogate-frobenius, parametric",
    COUNTED + r",\quad N(J)=\|J\|_F",
    source=JACOBIAN_SOURCE,
    given=SMOOTH,
    mutants=COUNT_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COUNT,
)
def surrogate_frobenius_counted(problem: Any, eps: float, mistake: str | None = None) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, "l2", "frobenius", "parametric", mistake)


@inequality(
    "jacobian_surrogate-row-sum, norm-based",
    NORM_BASED + r",\quad N(J)=\max_k\|J_k\|_1",
    source=JACOBIAN_SOURCE,
    given=SMOOTH,
    mutants=SURROGATE_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COVER,
)
def surrogate_row_sum_covered(problem: Any, eps: float, mistake: str | None = None) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, "linf", "row-sum", "norm-based", mistake)


@inequality(
    "jacobian_surrogate-row-sum, parametric",
    COUNTED + r",\quad N(J)=\max_k\|J_k\|_1",
    source=JACOBIAN_SOURCE,
    given=SMOOTH,
    mutants=COUNT_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COUNT,
)
def surrogate_row_sum_counted(problem: Any, eps: float, mistake: str | None = None) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, "linf", "row-sum", "parametric", mistake)


@inequality(
    "jacobian_surrogate-entrywise, norm-based",
    NORM_BASED + r",\quad N(J)=\|J\|_{1,1}",
    source=JACOBIAN_SOURCE,
    given=SMOOTH,
    mutants=SURROGATE_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COVER,
)
def surrogate_entrywise_covered(problem: Any, eps: float, mistake: str | None = None) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, "linf", "entrywise", "norm-based", mistake)


@inequality(
    "jacobian_surrogate-entrywise, parametric",
    COUNTED + r",\quad N(J)=\|J\|_{1,1}",
    source=JACOBIAN_SOURCE,
    given=SMOOTH,
    mutants=COUNT_MISTAKES,
    examples=60,
    recheck=False,
    combinators=BY_COUNT,
)
def surrogate_entrywise_counted(problem: Any, eps: float, mistake: str | None = None) -> tuple[float, float, float]:
    """Raw value; left from below. Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, "linf", "entrywise", "parametric", mistake)


@inequality(
    "jacobian_surrogate-guaranteed",
    r"\mathfrak R_S(\ell+\varepsilon c\,N(J))\le\tfrac12(M+\varepsilon c\,M_J),\quad "
    r"M=\ln K+\sqrt2\sup\|f\|_2,\ M_J=\mathrm{Lip}(N)\,\alpha_L",
    source=JACOBIAN_SOURCE,
    given=SMOOTH | {"name": st.sampled_from(list(COEFFICIENT)), "kind": st.sampled_from(["norm-based", "parametric"])},
    attained=True,
    mutants={"two per cent below": {"factor": 0.98}, **SURROGATE_MISTAKES},
    recheck=False,
    combinators=(*BY_COVER, *BY_COUNT),
)
def surrogate_guaranteed(
    problem: Any, eps: float, name: str, kind: str, mistake: str | None = None, factor: float = 1.0
) -> tuple[float, float, float]:
    """Left from below. Attained at the caps, in the limit of confident linear networks with both signs."""
    norm = "linf" if name in ("row-sum", "entrywise") else "l2"
    return _surrogate_class(problem, eps, norm, name, kind, mistake, 1, factor)
