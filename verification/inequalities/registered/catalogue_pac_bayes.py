r"""PAC-Bayes entries: the steps of the proof, and the risk statement where it can be settled.

The risk statement says: with probability 1 - delta no network's error exceeds its hard margin loss by more than the
excess. Two distributions make the largest excess known. A coin: one point with a fair label, and the two constant
classifiers. A table: d = kn equally likely basis vectors, and the network that is right on what was seen and wrong on
the rest.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from scipy import stats

from bounds import catalogue, symbols
from bounds.by_hand import Norms, complexity
from bounds.calculus.pac_bayes import pac_bayes
from bounds.catalogue.entry import Bound
from bounds.readings import Settings, evaluator
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import matrices, positive, scales, vectors

Sides = tuple[Any, Any]
PROOF = "Neyshabur, Bhojanapalli & Srebro 2018, "
RELU = r"f_W(x)=W_L\varphi(W_{L-1}\cdots\varphi(W_1x)),\ \varphi\text{ the ReLU}:\quad "


@st.composite
def perturbed(draw: DrawFn, depth: tuple[int, int] = (1, 6), width: tuple[int, int] = (1, 3)) -> Any:
    """Weights, perturbations of the same shapes, often along the weights, and an input."""
    L = draw(st.integers(*depth))
    if draw(st.booleans()):
        widths = [draw(st.integers(*width))] * (L + 1)
        weights = [np.eye(widths[0]) * draw(positive())] * L
        return tuple(weights), tuple(weights), np.eye(widths[0])[0]
    widths = [draw(st.integers(*width)) for _ in range(L + 1)]
    shapes = list(itertools.pairwise(widths))
    weights = [_not_zero(draw(matrices(rows, columns, 2))) for columns, rows in shapes]
    moves = [draw(matrices(rows, columns, 2)) for columns, rows in shapes]
    return tuple(weights), tuple(moves), _not_zero(draw(vectors(widths[0])))


def _not_zero(array: np.ndarray) -> np.ndarray:
    return array if array.any() else np.ones_like(array)


def _relu_network(weights: list[Any], x: Any) -> Any:
    for i, W in enumerate(weights):
        x = W @ (np.where(x > 0, x, 0 * x) if i else x)
    return x


def _change(weights: list[Any], moves: list[Any], x: Any) -> Any:
    moved = [W + U for W, U in zip(weights, moves, strict=True)]
    return reals.norm(_relu_network(moved, x) - _relu_network(weights, x), 2)


def _product(values: Any) -> Any:
    result = reals.real(1)
    for value in values:
        result = result * value
    return result


@inequality(
    "neyshabur2018_pacbayes-perturbation",
    RELU + r"\|U_i\|_2\le\tfrac1L\|W_i\|_2\ \Rightarrow\ \|f_{W+U}(x)-f_W(x)\|_2\le e\,\|x\|_2\prod_i\|W_i\|_2"
    r"\sum_i\frac{\|U_i\|_2}{\|W_i\|_2}",
    source=PROOF + "Lemma 2",
    given={"network": perturbed()},
    mutants={
        "no e": {"e": 1.0},
        "the last layer only": {"layers": "last"},
        "product without the first layer": {"product": "tail"},
    },
    rounding=2.0**-36,
    examples=100,
)
def perturbation(network: Any, e: float = math.e, layers: str = "all", product: str = "all") -> Sides:
    """Both sides exact. At most (1 + 1/L)^L - 1 over e, which tends to 1 - 1/e = 0.632: layers scaled by 1 + 1/L."""
    weights, moves, x = network
    depth = len(weights)
    s = [reals.spectral(W) for W in weights]
    assume(min(s) > 1e-6 and max(s) < 1e6)
    sizes = [reals.spectral(U) for U in moves]
    shrink = [min(reals.real(1), si / (depth * u)) if u > 0 else reals.real(0) for si, u in zip(s, sizes, strict=True)]
    moves = [U * t for U, t in zip(moves, shrink, strict=True)]
    used = range(depth) if layers == "all" else [depth - 1]
    total = sum(shrink[i] * sizes[i] / s[i] for i in used)
    right = reals.real(e) * reals.norm(x, 2) * _product(s if product == "all" else s[1:]) * total
    return _change(list(weights), moves, reals.real(x)), right


def _variance_root(gamma: Any, depth: int, B: Any, beta: Any, h: int, wrong: str | None = None) -> Any:
    """The proof's sigma for a grid point beta; `wrong` names a factor that is forgotten."""
    spread = 1.0 if wrong == "width" else math.sqrt(h * math.log(4 * h * depth))
    others = 1.0 if wrong == "norms" else beta ** (depth - 1)
    return gamma / (42 * (1 if wrong == "depth" else depth) * (1.0 if wrong == "radius" else B) * others * spread)


@inequality(
    "neyshabur2018_pacbayes-margin",
    RELU + r"\|x\|_2\le B,\ \|W_i\|_2=\beta,\ |\beta-\tilde\beta|\le\tfrac\beta L,\ \gamma\le2B\beta^L,\ "
    r"\|U_i\|_2\le\sigma\sqrt{2h\ln(4hL)},"
    r"\ \sigma=\frac\gamma{42LB\tilde\beta^{L-1}\sqrt{h\ln(4hL)}}"
    r"\ \Rightarrow\ \|f_{W+U}(x)-f_W(x)\|_2\le\tfrac\gamma4",
    source=PROOF + "from the proof",
    given={
        "network": perturbed(width=(1, 4)),
        "beta": scales(3),
        "relative": st.sampled_from([1.0, 0.5, 0.01]),
        "grid": st.sampled_from([-1.0, 0.0, 1.0]),
        "B": scales(3),
    },
    mutants={f"{what} forgotten": {"wrong": what} for what in ("depth", "width", "norms", "radius")},
    recheck=False,
    rounding=2.0**-30,
    examples=100,
)
def margin_kept(network: Any, beta: float, relative: float, grid: float, B: float, wrong: str | None = None) -> Sides:
    """Both sides exact. At most about 4 e sqrt 2/42 = 0.37 times 1.1: the proof loses a second factor e."""
    weights, moves, x = network
    depth = len(weights)
    assume(0 < relative <= 1 and abs(grid) <= 1 and beta > 0 and B > 0)
    assume(min(reals.spectral(W) for W in weights) > 1e-6 and reals.norm(x, 2) > 1e-6)
    h = max(max(W.shape) for W in weights)
    gamma = relative * 2 * B * beta**depth
    near = beta * (1 + grid / depth)
    assume(near > 0 or depth == 1)
    size = _variance_root(gamma, depth, B, near, h, wrong) * math.sqrt(2 * h * math.log(4 * h * depth))
    balanced = [W * (beta / reals.spectral(W)) for W in weights]
    steps = [U * (size / max(reals.spectral(U), 1e-300)) for U in moves]
    return _change(balanced, steps, x * (B / reals.norm(x, 2))), gamma / 4


def _entry(key: str, variant: str) -> Bound:
    return next(bound for bound in catalogue.get(key).variants if isinstance(bound, Bound) and bound.variant == variant)


@inequality(
    "neyshabur2018_pacbayes-divergence",
    r"\mathrm{KL}\big(\mathcal N(w,\sigma^2I)\,\big\|\,\mathcal N(0,\sigma^2I)\big)\le\frac{42^2e^2}2\,"
    r"\frac{L^2B^2h\ln(4hL)}{\gamma^2}\prod_is_i^2\sum_i\frac{a_i^2}{s_i^2},\quad "
    r"w\text{ balanced},\ \sigma=\frac\gamma{42LB\tilde\beta^{L-1}\sqrt{h\ln(4hL)}}",
    source=PROOF + "from the proof",
    given={
        "network": perturbed(depth=(1, 12)),
        "gamma": scales(3),
        "grid": st.sampled_from([1.0, 0.0, -1.0]),
        "B": scales(3),
    },
    mutants={
        "no e": {"factor": 1 / math.e**2},
        "margin not squared": {"power": 0.5},
        "radius not squared": {"radius_power": 0.5},
        "sum without the last layer": {"skip_last": True},
    },
    recheck=False,
    rounding=2.0**-36,
    examples=120,
    combinators=(pac_bayes,),
)
def divergence(
    network: Any,
    gamma: float,
    grid: float,
    B: float,
    factor: float = 1.0,
    power: float = 1.0,
    radius_power: float = 1.0,
    skip_last: bool = False,
) -> Sides:
    """Left from the balanced weights, at any grid point of the proof. At most (1 + 1/L)^{2L-2}/e^2: 0.79 at L = 12."""
    weights, _, _ = network
    depth = len(weights)
    assume(gamma > 0 and B > 0 and abs(grid) <= 1)
    s = [reals.spectral(W) for W in weights]
    assume(min(s) > 1e-6)
    h = max(max(W.shape) for W in weights)
    beta = math.exp(sum(math.log(si) for si in s) / depth)
    near = beta * (1 + grid / depth)
    assume(near > 1e-9)
    mean = np.concatenate([(W * (beta / si)).ravel() for W, si in zip(weights, s, strict=True)])
    left = float((mean**2).sum()) / (2 * _variance_root(gamma, depth, B, near, h) ** 2)
    a = [reals.norm(W, 2) for W in weights]
    norms = Norms(
        s=s,
        a=[*a[:-1], 0.0] if skip_last else a,
        widths=[weights[0].shape[1], *(W.shape[0] for W in weights)],
        d=weights[0].shape[1],
        classes=weights[-1].shape[0],
        B=B**radius_power,
    )
    bound = _entry("neyshabur2018_pacbayes", "")
    formula = evaluator(bound, norms.measurements(), Settings(0.5, gamma**power))
    return left, factor * float(formula(symbols.KL))


@dataclass(frozen=True)
class Situation:
    """A distribution, a sample size, and networks whose excess error is known.

    Attributes:
        kind: "coin", or "table" of points·n vectors: it leaves at least the share 1 - 1/points unseen.
        points: size of the table over that of the sample.
        n: size of the sample.
        inner: factors that the hidden layers multiply by.
        size: the last layer has rows ±(size/2)(signs), so that every margin is ±size times the product of `inner`.
        delta: failure probability.
    """

    kind: str
    points: int
    n: int
    inner: tuple[float, ...]
    size: float
    delta: float


SITUATION = {
    "situation": st.builds(
        Situation,
        st.sampled_from(["table", "table", "coin"]),
        st.sampled_from([1, 2, 10, 1000, 10**6]),
        st.sampled_from([2, 100, 10**4, 10**6, 10**8]),
        st.one_of(st.just(()), st.tuples(scales(4)), st.tuples(scales(4), scales(4))),
        st.one_of(st.sampled_from([1.0, 1e-12, 1e12]), scales(12)),
        st.sampled_from([0.05, 0.5, 0.001]),
    )
}
ATTACK = {"norm": st.sampled_from(["l2", "linf", "l1"]), "attack": st.sampled_from([0.0, 0.1, 0.5, 0.9])}


def _excess(
    situation: Situation, key: str, variant: str, norm: str, attack: float, mistake: str | None
) -> tuple[float, float]:
    """An excess that occurs with probability above delta, against the bound for the networks that reach it.

    An attack of l_p radius attack/d^{1-1/p} takes at most its share `attack` of every margin away.
    """
    n, inner, size, delta = situation.n, situation.inner, situation.size, situation.delta
    assume(size > 0 and min(inner, default=1.0) > 0 and 0 <= attack < 1 and 0 < delta < 1)
    if situation.kind == "coin":
        d = 1
        left = float(stats.binom.ppf(1 - delta / 2, n, 0.5)) / n - 0.5
    else:
        d = situation.points * n
        left = 1 - n / d
    inverse = {"l1": 1.0, "l2": 0.5, "linf": 0.0}[norm]
    last = size * math.sqrt(d / 2)
    # Barely below the margins, for the empirical hard margin loss is to be 0 where the network is right.
    gamma = 0.999 * (1 - attack) * size * math.prod(inner)
    norms = Norms(
        s=(*inner, last),
        a=(*(c * math.sqrt(d) for c in inner), last),
        widths=(*(d for _ in inner), d, 2),
        n=n**2 if mistake == "n squared" else n,
        d=d,
        eps=attack / d ** (1 - inverse),
        norm=norm,
    )
    if mistake == "no norms":
        norms = replace(norms, s=(1.0,) * len(norms.s), a=(1.0,) * len(norms.s))
    elif mistake == "no margin":
        gamma = 1.0
    return left, complexity(key, norms, variant, gamma=gamma, delta=delta)[0]


STRUCTURAL: dict[str, dict[str, Any]] = {name: {"mistake": name} for name in ("n squared", "no norms", "no margin")}
RISK = RELU + (
    r"\Pr\Big[\exists W:\ \Pr[%s]-\widehat R_\gamma^{%s}>4\sqrt{\frac{\mathrm{KL}+\ln(6nL\,n^{1/(2L)}/\delta)}{n-1}}"
    r"\Big]\le\delta,\quad\mathrm{KL}=\frac{42^2e^2}2\frac{L^2\overline B^2h\ln(4hL)}{\gamma^2}\prod_is_i^2"
    r"\sum_i\frac{a_i^2}{s_i^2},\ s_i=\|W_i\|_2,\ a_i=\|W_i\|_F,\ h=\max_id_i,\ \overline B=%s,\ %s"
)
STANDARD = RISK % (r"\mathrm{error}", r"\mathrm{hard}", "B", r"\|x\|_2\le B")
ROBUST = RISK % (r"\mathrm{error\ under\ attack}", r"\mathrm{hard,adv}", "%s", r"\|x\|_2\le B,\ \|x\|_p\le B_p")
XIAO = "Xiao, Sun & Luo 2023"


@inequality(
    "neyshabur2018_pacbayes",
    STANDARD,
    source=PROOF + "constants explicit from the proof",
    given=SITUATION,
    mutants=STRUCTURAL,
    examples=120,
    recheck=False,
    combinators=(pac_bayes,),
)
def neyshabur(situation: Any, mistake: str | None = None) -> Sides:
    """Raw value. Loose by the constant 42 e of the divergence: below 1 % is reached."""
    return _excess(situation, "neyshabur2018_pacbayes", "", "l2", 0.0, mistake)


@inequality(
    "xiao2023_robust_pacbayes-published",
    ROBUST % r"\max(1,d^{1/2-1/p})(B_p+\varepsilon)",
    source=XIAO,
    given=SITUATION | ATTACK,
    mutants=STRUCTURAL,
    examples=120,
    recheck=False,
    combinators=(pac_bayes,),
)
def xiao_published(situation: Any, norm: str, attack: float, mistake: str | None = None) -> Sides:
    """Raw value; loose as the standard bound is."""
    return _excess(situation, "xiao2023_robust_pacbayes", "published", norm, attack, mistake)


@inequality(
    "xiao2023_robust_pacbayes-audited",
    ROBUST % r"B+\varepsilon\max(1,d^{1/2-1/p})",
    source="own audit of the radius in Xiao, Sun & Luo 2023",
    given=SITUATION | ATTACK,
    mutants=STRUCTURAL,
    examples=120,
    recheck=False,
    combinators=(pac_bayes,),
)
def xiao_audited(situation: Any, norm: str, attack: float, mistake: str | None = None) -> Sides:
    """Raw value; loose as the standard bound is."""
    return _excess(situation, "xiao2023_robust_pacbayes", "audited", norm, attack, mistake)
