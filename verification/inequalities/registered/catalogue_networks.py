r"""Catalogue entries about networks: each against its class, from below.

Left sides are lower bounds of the empirical Rademacher complexity: the expectation over signs of the best of the
members tried, see `class_complexity`. Right sides are the catalogue's, at the numbers of the same class. The raw values
of the covering bounds are 10 to 10^3 times too large (Dudley's constant 12, Maurey's logarithms, one constant per
layer), so their mutants are structural and need large samples and far-apart scales. Guaranteed values are the smaller
of the raw value and a cap, which is attained by classes that shatter the sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

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
from verification.inequalities.inequality import Inequality, assume, inequality
from verification.inequalities.strategies import scales

Sides = tuple[float, float]
Allowed = tuple[float, float, float]
DUAL = {"l1": math.inf, "l2": 2.0, "linf": 1.0}
"""q with 1/p + 1/q = 1 by the name of the attack norm."""


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
    "distance 0": lambda norms: replace(norms, b=(0.0,) * len(norms.s)),
    "distances left out": lambda norms: replace(norms, b=_ones(norms.s)),
    "no curvature": lambda norms: replace(norms, beta=(0.0,) * (len(norms.s) - 1)),
    "the radius of the attack not multiplied in": lambda norms: replace(norms, eps=min(norms.eps, 1.0)),
}
"""What an implementation may get wrong, as a change of the numbers that the formula is given."""


def _with(norms: Norms, mistake: str | None) -> Norms:
    return norms if mistake is None else MISTAKES[mistake](norms)


def _structural(*names: str) -> dict[str, dict[str, Any]]:
    """Mutants that make one of the mistakes each."""
    return {name: {"mistake": name} for name in names}


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
    mistake: str | None,
    reading: int = 0,
    attack: tuple[float, str] | None = None,
) -> Sides:
    """Ramp-margin class, under an attack (radius, norm) or none, against a catalogue entry; reading 0 is raw."""
    sample, ball = problem
    admissible(ball, sample)
    gamma = relative * ball.output_scale(sample.radius())
    assume(gamma > 1e-100)
    networks = members(ball, sample, measure)
    if attack is None:
        numbers = ball.norms(sample)
        found = margins(outputs(networks, ball.activation, sample.x), sample.y)
    else:
        numbers = ball.norms(sample, *attack)
        found = attacked_margins(ball, networks, sample, attack[0], DUAL[attack[1]])
    if mistake == "no margin":
        right = complexity(key, numbers, variant, gamma=1.0)
    else:
        right = complexity(key, _with(numbers, mistake), variant, gamma=gamma)
    return complexity_below(ramp(found, gamma), sample), right[reading]


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
    r"\max\left(\max_j\|X_{:,j}\|_2,\sqrt n\,\mathbf 1_{\mathrm{bias}}\right),\quad "
    r"\Pi=\mu_L\prod_{i<L}\max(\rho_i\mu_i,\mathbf 1_{\mathrm{bias}}),\ \mu_i=\max_k\|(W_i,c_i)_{k,:}\|_1",
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
    r"\max\left(\max_j\|X_{:,j}\|_2,\sqrt n\,\mathbf 1_{\mathrm{bias}}\right),\quad "
    r"\Pi=\mu_L\prod_{i<L}\max(\rho_i\mu_i,\mathbf 1_{\mathrm{bias}}),\ \mu_i=\max_k\|(W_i,c_i)_{k,:}\|_1",
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

HOMOGENEOUS = {"problem": problems(references=False, offsets=False), "relative": RELATIVE_MARGINS}
ZERO_AT_ZERO = {
    "problem": problems(activations=("relu", "leaky_relu", "tanh"), references=False, offsets=False),
    "relative": RELATIVE_MARGINS,
}
UNCAPPED = r"\mathfrak R_S(r_\gamma\circ\mathcal F)\le"
NO_OFFSETS = r"\qquad(\text{no offsets})"
PEELED = _structural("n squared", "root of the data norm", "last layer only", "no margin")
REDUCTION = "; multi-class reduction (Mohri, Rostamizadeh & Talwalkar)"


@inequality(
    "golowich2018_frobenius",
    UNCAPPED + r"\frac{2K}\gamma\frac{\|X\|_F}{n}\left(\sqrt{2L\ln 2}+1\right)\prod_i\|W_i\|_F" + NO_OFFSETS,
    source="Golowich, Rakhlin & Shamir 2018, Theorem 1" + REDUCTION,
    given=HOMOGENEOUS,
    mutants=PEELED,
    recheck=False,
    combinators=(peel_exponential, multiclass),
)
def golowich_frobenius(problem: Any, relative: float, mistake: str | None = None) -> Sides:
    """Raw value; left from below. Loose by the reduction to one output: 2K instead of sqrt 2 or less."""
    return _margin_class(problem, relative, "frobenius", "golowich2018_frobenius", "", mistake)


@inequality(
    "neyshabur2015_frobenius",
    UNCAPPED + r"\frac{2K}\gamma\frac{2^{L-1}\|X\|_F}{n}\prod_i\|W_i\|_F" + NO_OFFSETS,
    source="Neyshabur, Tomioka & Srebro 2015, Corollary 2 up to its constant" + REDUCTION,
    given=HOMOGENEOUS,
    mutants=PEELED,
    recheck=False,
    combinators=(peel_layers, multiclass),
)
def neyshabur_frobenius(problem: Any, relative: float, mistake: str | None = None) -> Sides:
    """Raw value; left from below. Loose by the reduction to one output and by 2^{L-1}."""
    return _margin_class(problem, relative, "frobenius", "neyshabur2015_frobenius", "", mistake)


ROWS = r"\mu_L\prod_{i<L}\mu_i\rho_i\,\max_j\|X_{:,j}\|_2,\quad\mu_i=\max_k\|(W_i)_{k,:}\|_1" + NO_OFFSETS


@inequality(
    "golowich2018_l1inf-published",
    UNCAPPED + r"\frac{2K}\gamma\frac2n\sqrt{L+1+\ln d}\;" + ROWS,
    source="Golowich, Rakhlin & Shamir 2018, Theorem 2" + REDUCTION,
    given=ZERO_AT_ZERO,
    mutants=PEELED,
    recheck=False,
    combinators=(peel_rows, multiclass),
)
def golowich_rows(problem: Any, relative: float, mistake: str | None = None) -> Sides:
    """Raw value; left from below. Loose by the reduction to one output."""
    return _margin_class(problem, relative, "rows", "golowich2018_l1inf", "published", mistake)


@inequality(
    "golowich2018_l1inf-sharper",
    UNCAPPED + r"\frac{2K}\gamma\frac1n\sqrt{2(L\ln2+\ln d)}\;" + ROWS,
    source="own derivation" + REDUCTION,
    given=ZERO_AT_ZERO,
    mutants=PEELED,
    recheck=False,
    combinators=(peel_rows, multiclass),
)
def golowich_rows_sharper(problem: Any, relative: float, mistake: str | None = None) -> Sides:
    """Raw value; left from below. Loose by the reduction to one output."""
    return _margin_class(problem, relative, "rows", "golowich2018_l1inf", "sharper", mistake)


# Covers: balls around references, with offsets; s_i, b_i, g_i, a_i and t_i are the radii of the class.

LAYERS = (
    r"\|W_i\|_2\le s_i,\ \|(W_i-M_i,c_i)\|_{2,1}\le b_i,\ \|(W_i-M_i,c_i)\|_{\mathrm{kernel}}\le g_i\ "
    r"(=b_i\text{ for dense layers})"
)
UPSTREAM = r"Q_i=\prod_{j>i}s_j\rho_{j-1}"
HIDDEN = (
    r"\widetilde X_{i-1}^2=X_{i-1}^2+n\mathbf 1_{c_i\ne0},\ X_0=\|X\|_F,\ "
    r"X_i=\rho_i(s_iX_{i-1}+\sqrt n\|c_i\|_2)+\sqrt{nd_i}\,|\varphi_i(0)|"
)
OMEGA = r"\omega_i=\min\big(b_i\sqrt{\ln2\overline W^2},g_i\sqrt{\ln2N_i}\big)"
SUPPORT = (
    r"E_i^2=Z_{i-1}^2+\mathbf 1_{c_i\ne0},\ Z_i=\rho_i(s_iZ_{i-1}+\|c_i\|_2)+\sqrt{d_i}\,|\varphi_i(0)|,\ "
    r"\|W_i\|_2\le s_i,\ \|(W_i-M_i,c_i)\|_F\le t_i"
)
OWN_OFFSETS = "; with offsets and phi(0) own derivation"

AROUND = {"problem": problems(activations=("relu", "tanh", "softplus")), "relative": RELATIVE_MARGINS}
MANY: dict[str, Any] = {"counts": (10**6, 10**4, 10**8)}
COVERED = {
    "problem": st.one_of(
        problems(sample=MANY), problems(activations=("softplus",), sample=MANY | {"kinds": ("zero",)})
    ),
    "relative": RELATIVE_MARGINS,
}
COVER = _structural(
    "n squared", "no spectral norms", "distances left out", "no margin", "no bias coordinate", "phi(0) forgotten"
)
SPECTRAL = (
    UNCAPPED
    + r"\frac4n+\frac{12R}n\ln n,\quad R=%s\Big(\sum_i\kappa_i^{2/3}\Big)^{3/2},\ \kappa_i=%s\,Q_i\widetilde X_{i-1},\ "
    + UPSTREAM
    + r",\ "
    + HIDDEN
    + r",\ "
    + LAYERS
)


@inequality(
    "bartlett2017_spectral-published",
    SPECTRAL % (r"\frac2\gamma\sqrt{\ln2\overline W^2}", "b_i"),
    source="Bartlett, Foster & Telgarsky 2017, Theorem 3.3 and Lemma A.5" + OWN_OFFSETS,
    given=COVERED,
    mutants=COVER,
    examples=120,
    recheck=False,
    combinators=(spectral_cover, lipschitz_cover, dudley_scale_free),
)
def bartlett_published(problem: Any, relative: float, mistake: str | None = None) -> Sides:
    """Raw value; left from below, over (2,1) balls around the references. Loose by Dudley's integral.

    Large samples only: at n = 1 the term 4/n alone is 8 times the cap, and no other factor would show. At inputs 0
    only the offsets and the values of the activation at 0 are left.
    """
    return _margin_class(problem, relative, "two-one", "bartlett2017_spectral", "published", mistake)


@inequality(
    "bartlett2017_spectral-audited",
    SPECTRAL % (r"\frac4\gamma", r"\omega_i") + r",\ " + OMEGA,
    source="own audit of Bartlett, Foster & Telgarsky 2017, Theorem 3.3" + OWN_OFFSETS,
    given=COVERED,
    mutants=COVER,
    examples=120,
    recheck=False,
    combinators=(spectral_cover, lipschitz_cover, dudley_scale_free),
)
def bartlett_audited(problem: Any, relative: float, mistake: str | None = None) -> Sides:
    """As published, with sqrt 8 for the ceiling and for centres inside the balls, and sqrt 2 for the ramp."""
    return _margin_class(problem, relative, "two-one", "bartlett2017_spectral", "audited", mistake)


@inequality(
    "bartlett2017_spectral-guaranteed",
    r"\mathfrak R_S(r_\gamma\circ\mathcal F)\le\min\Big(\tfrac12,\frac{12R}n\Big(1+\ln\frac n{3R}\Big)\Big)"
    r"\text{ for }3R\le n,\ \tfrac12\text{ beyond};\ R=\frac2\gamma\sqrt{\ln2\overline W^2}\,\Sigma(b)"
    r"\text{ or }\frac4\gamma\Sigma(\omega),\ \Sigma(w)=\Big(\sum_i(w_iQ_i\widetilde X_{i-1})^{2/3}\Big)^{3/2},\ "
    + r",\ ".join([OMEGA, UPSTREAM, HIDDEN, LAYERS]),
    source="Bartlett, Foster & Telgarsky 2017, Theorem 3.3 and Lemma A.5, and own audit" + OWN_OFFSETS,
    given=AROUND | {"variant": st.sampled_from(["audited", "published"])},
    attained=True,
    mutants={"two per cent below": {"factor": 0.98}} | _structural("n squared"),
    examples=120,
    recheck=False,
    combinators=(spectral_cover, lipschitz_cover, dudley_scale_free),
)
def bartlett_guaranteed(
    problem: Any, relative: float, variant: str, mistake: str | None = None, factor: float = 1.0
) -> Sides:
    """Left from below; attained at the cap by a class that takes all values in {0, 1}^n on the sample."""
    left, right = _margin_class(problem, relative, "two-one", "bartlett2017_spectral", variant, mistake, 1)
    return left, factor * right


@inequality(
    "graf2022_excess_capacity",
    UNCAPPED + r"\frac4n+\frac{12H_{n-1}}{\sqrt n}\sqrt{\ln(2\max_iN_i)}\Big(\sum_i\lceil C_i^{2/3}\rceil\Big)^{3/2},"
    r"\quad C_i=\frac{4g_iQ_i\widetilde X_{i-1}}{\gamma\sqrt n},\ " + r",\ ".join([UPSTREAM, HIDDEN, LAYERS]),
    source="Graf, Zeng, Rieck, Niethammer & Kwitt 2022, norms form" + OWN_OFFSETS,
    given=AROUND,
    mutants=_structural("n squared", "distance 0"),
    recheck=False,
    combinators=(kernel_cover_complexity,),
)
def graf(problem: Any, relative: float, mistake: str | None = None) -> Sides:
    """Raw value; left from below. A ceiling is at least 1: no mistake inside the capacities shows but g = 0."""
    assume(problem[0].n >= 2)
    return _margin_class(problem, relative, "two-one", "graf2022_excess_capacity", "", mistake)


PARAMETRIC = (
    r"\mathfrak R_S(%s)\le\frac{12}{\sqrt n}\sqrt{\sum_iN_i\Big(1+\ln\Big(1+\frac{2\sqrt2\,t_iLQ_iE_i}\gamma\Big)\Big)}"
    r",\quad " + UPSTREAM + r",\ " + SUPPORT + ",\\ Z_0=%s"
)
AN_EIGHTIETH: dict[str, dict[str, Any]] = {"an eightieth": {"factor": 1 / 80}}


@inequality(
    "parametric_cover-standard",
    PARAMETRIC % (r"r_\gamma\circ\mathcal F", "B"),
    source="own derivation",
    given=AROUND,
    mutants=_structural("n squared") | AN_EIGHTIETH,
    recheck=False,
    combinators=(parametric_cover, lipschitz_parametric, dudley_parametric, support_norms),
)
def parametric(problem: Any, relative: float, mistake: str | None = None, factor: float = 1.0) -> Sides:
    r"""Raw value; left from below. At least 12 sqrt(N/n), N parameters: only n and the size can show; 0.021 is met."""
    left, right = _margin_class(problem, relative, "two-one", "parametric_cover", "standard", mistake)
    return left, factor * right


ATTACKS = {"eps": scales(4), "norm": st.sampled_from(["l2", "linf", "l1"])}
ONE_UNIT = {"problem": problems(activations=("relu", "tanh"), width=(1, 1)), "relative": RELATIVE_MARGINS}


@inequality(
    "parametric_cover-adversarial",
    PARAMETRIC
    % (
        r"\{\max_{\|\delta\|_p\le\varepsilon}r_\gamma(f(x+\delta))\}",
        r"B+\varepsilon\max(1,d^{1/2-1/p})",
    ),
    source="own derivation; compare Xiao et al. on adversarial Rademacher complexity",
    given=ONE_UNIT | ATTACKS,
    mutants=_structural("n squared") | AN_EIGHTIETH,
    recheck=False,
    combinators=(parametric_cover, lipschitz_parametric, dudley_parametric, support_norms),
)
def parametric_adversarial(
    problem: Any, relative: float, eps: float, norm: str, mistake: str | None = None, factor: float = 1.0
) -> Sides:
    """Raw value; left from below. One unit per hidden layer: then the worst margin under attack is known exactly."""
    variant, attack = "adversarial", (eps, norm)
    left, right = _margin_class(problem, relative, "two-one", "parametric_cover", variant, mistake, attack=attack)
    return left, factor * right


# The surrogate loss ell + epsilon c N(J) of smooth networks.

COEFFICIENT = {"margin": 1.0, "spectral": math.sqrt(2), "frobenius": math.sqrt(2), "row-sum": 2.0, "entrywise": 1.0}
"""c: the surrogate loss is ell + epsilon c N(J)."""


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
) -> Allowed:
    sample, ball = problem
    admissible(ball, sample)
    assume(eps > 0)
    logits, J = outputs_and_jacobians(members(ball, sample, "two-one"), ball.activation, sample.x)
    penalty = eps * COEFFICIENT[name] * _jacobian_norms(J, name, sample.y, DUAL[norm])
    values = _cross_entropy(logits, sample.y) + penalty
    left = complexity_below(values, sample)
    norms = _with(ball.norms(sample, eps, norm), mistake)
    right = complexity("jacobian_surrogate", norms, f"{name}, {kind}")[reading]
    # Values that differ by little from one another have lost digits to what they have in common.
    return left, right, 2.0**-40 * (left + right) + 2.0**-48 * float(np.abs(values).max())


@st.composite
def _steep(draw: DrawFn) -> tuple[Sample, Ball]:
    """A steep unit that the input does not move, and a small change of its weights that saturates it.

    Only the curvature then bounds how much the Jacobian changes.
    """
    steepness = draw(st.sampled_from([10.0**6, 10.0**3, 10.0**9]))
    references = (np.array([[steepness, 0.0]]), np.array([[1.0], [0.0]]))
    ball = Ball(references, (1.0, 0.0), (0.0, 0.0), draw(st.sampled_from(["tanh", "softplus", "silu"])))
    return Sample(
        np.array([[0.0, draw(st.sampled_from([10.0, 1.0]))]]), (0,), (draw(st.sampled_from([10**6, 10**4])),)
    ), ball


_SMOOTH: dict[str, Any] = {"activations": ("tanh", "softplus", "silu"), "depth": (1, 2), "decades": 2}
SMOOTH = {"problem": problems(**_SMOOTH, sample={"decades": 2}), "eps": scales(4)}
SMOOTH_MANY = {
    "problem": st.one_of(problems(**_SMOOTH, sample={"decades": 2} | MANY), _steep()),
    "eps": scales(4),
}
NORM_OF_J = {
    "margin": r"N(J)=\max_k\|J_k-J_y\|_q,\ c=1,\ \lambda=\sqrt2\max(1,d^{1/2-1/p})",
    "spectral": r"N(J)=\|J\|_2,\ c=\sqrt2,\ \lambda=1",
    "frobenius": r"N(J)=\|J\|_F,\ c=\sqrt2,\ \lambda=1",
    "row-sum": r"N(J)=\max_k\|J_k\|_1,\ c=2,\ \lambda=\sqrt d",
    "entrywise": r"N(J)=\|J\|_{1,1},\ c=1,\ \lambda=\sqrt{Kd}",
}
RANGES = (
    r"M=\ln K+\sqrt2Z_L,\ M_J=\lambda\alpha_L,\ Z_0=B,\ Z_i=\rho_i(s_iZ_{i-1}+\|c_i\|_2)+\sqrt{d_i}\,|\varphi_i(0)|,\ "
    r"\rho_L=1,\ \varphi_L(0)=0,\ \alpha_0=\sqrt d,\ "
    r"\alpha_i=\min\Big(\min_{k\le i}a_k\prod_{k\ne j\le i}s_j,\sqrt{\min_{j\le i}d_j}\prod_{j\le i}s_j\Big)"
    r"\prod_{j\le i}\rho_j,\ \|W_i\|_F\le a_i"
)
CURVATURE = r"T_L=0,\ T_i=s_{i+1}(\beta_iG_iQ_{i+1}+\rho_iT_{i+1}),\ G_i=\prod_{j\le i}s_j\prod_{j<i}\rho_j"
SURROGATE = {
    "norm-based": r"\frac4n+\frac{12R}n\ln(Mn)+\varepsilon c\Big(\frac4n+\frac{12R_N}n\ln(M_Jn)\Big),\quad "
    r"R=4\Big(\sum_i(\omega_iQ_i\widetilde X_{i-1})^{2/3}\Big)^{3/2},\ "
    r"R_N=\lambda\sqrt8\Big(\sum_i(\omega_i(Q_i\sqrt n\,\alpha_{i-1}+T_i\widetilde X_{i-1}))^{2/3}\Big)^{3/2},\ "
    + r",\ ".join([OMEGA, UPSTREAM, CURVATURE, HIDDEN, LAYERS]),
    "parametric": r"\frac{12}{\sqrt n}\Big(M\sqrt{\Sigma(\sqrt2QE,M)}+\varepsilon c\,M_J\sqrt{\Sigma(\lambda Q',M_J)}"
    r"\Big),\quad\Sigma(k,m)=\sum_iN_i\Big(1+\ln\Big(1+\frac{2t_iLk_i}m\Big)\Big),\ "
    r"Q'_i=Q_i\min(G_{i-1}\rho_{i-1},\alpha_{i-1})+T_iE_i,\ G_0\rho_0=1,\ "
    + r",\ ".join([UPSTREAM, CURVATURE, SUPPORT]),
}
JACOBIAN_SOURCE = "own derivation, after Wu & Li 2024"
BY_COVER = (spectral_cover, jacobian_cover, lipschitz_cover, dudley_scale_free, sum_rule, support_norms)
BY_COUNT = (parametric_cover, parametric_jacobian_cover, lipschitz_parametric, dudley_parametric, sum_rule)
SURROGATE_MISTAKES = _structural("n squared", "the radius of the attack not multiplied in")


def _surrogate(name: str, kind: str) -> Callable[[Callable[..., Any]], Inequality]:
    """Decorator of the claim about one norm and one kind of cover; raw values, left from below."""
    norms = {"margin": ["l2", "linf", "l1"], "row-sum": ["linf"], "entrywise": ["linf"]}.get(name, ["l2"])
    covered = kind == "norm-based"
    mistakes = ("no spectral norms", "no curvature", "distances left out") if covered else ("no spectral norms",)
    return inequality(
        f"jacobian_surrogate-{name}, {kind}",
        r"\mathfrak R_S(\ell+\varepsilon c\,N(J))\le" + r",\ ".join([SURROGATE[kind], NORM_OF_J[name], RANGES]),
        source=JACOBIAN_SOURCE,
        given=(SMOOTH_MANY if covered else SMOOTH) | {"norm": st.sampled_from(norms)},
        mutants=SURROGATE_MISTAKES | _structural(*mistakes),
        examples=80,
        recheck=False,
        combinators=BY_COVER if covered else BY_COUNT,
    )


@_surrogate("margin", "norm-based")
def surrogate_margin_covered(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, norm, "margin", "norm-based", mistake)


@_surrogate("margin", "parametric")
def surrogate_margin_counted(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, norm, "margin", "parametric", mistake)


@_surrogate("spectral", "norm-based")
def surrogate_spectral_covered(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, norm, "spectral", "norm-based", mistake)


@_surrogate("spectral", "parametric")
def surrogate_spectral_counted(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, norm, "spectral", "parametric", mistake)


@_surrogate("frobenius", "norm-based")
def surrogate_frobenius_covered(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, norm, "frobenius", "norm-based", mistake)


@_surrogate("frobenius", "parametric")
def surrogate_frobenius_counted(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, norm, "frobenius", "parametric", mistake)


@_surrogate("row-sum", "norm-based")
def surrogate_row_sum_covered(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, norm, "row-sum", "norm-based", mistake)


@_surrogate("row-sum", "parametric")
def surrogate_row_sum_counted(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, norm, "row-sum", "parametric", mistake)


@_surrogate("entrywise", "norm-based")
def surrogate_entrywise_covered(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's integral; at n = 1 its term 4/n alone is 8 times the cap."""
    return _surrogate_class(problem, eps, norm, "entrywise", "norm-based", mistake)


@_surrogate("entrywise", "parametric")
def surrogate_entrywise_counted(problem: Any, eps: float, norm: str, mistake: str | None = None) -> Allowed:
    """Loose by Dudley's 12: at least 12 times the range over the root of n/N."""
    return _surrogate_class(problem, eps, norm, "entrywise", "parametric", mistake)


@inequality(
    "jacobian_surrogate-guaranteed",
    r"\mathfrak R_S(\ell+\varepsilon c\,N(J))\le\tfrac12(M+\varepsilon c\,M_J),\quad "
    + RANGES
    + r",\quad "
    + r";\ ".join(NORM_OF_J.values()),
    source=JACOBIAN_SOURCE,
    given=SMOOTH | {"name": st.sampled_from(list(COEFFICIENT)), "kind": st.sampled_from(["norm-based", "parametric"])},
    attained=True,
    mutants={"two per cent below": {"factor": 0.98}, **SURROGATE_MISTAKES},
    recheck=False,
    combinators=(*BY_COVER, *BY_COUNT),
)
def surrogate_guaranteed(
    problem: Any, eps: float, name: str, kind: str, mistake: str | None = None, factor: float = 1.0
) -> Allowed:
    """Left from below. Attained at the caps, in the limit of confident linear networks with both signs."""
    norm = "linf" if name in ("row-sum", "entrywise") else "l2"
    left, right, allowance = _surrogate_class(problem, eps, norm, name, kind, mistake, 1)
    return left, factor * right, allowance
