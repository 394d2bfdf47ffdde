r"""Every bound of the catalogue for one layer, written out by hand, and other special cases.

Phi is the package's gap: what a bound adds to the empirical risk, raw or guaranteed. The other side is the formula of
the paper for L = 1, where every product over other layers is empty and every sum has one term.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bounds.calculus.adversary import attack_factor, attacked_linear_class, linear_class
from bounds.calculus.contraction import lipschitz_cover, lipschitz_parametric
from bounds.calculus.dudley import dudley_parametric, dudley_scale_free
from bounds.calculus.jacobian_cover import jacobian_cover
from bounds.calculus.kernel_cover import kernel_cover_complexity
from bounds.calculus.massart import massart
from bounds.calculus.multiclass import multiclass
from bounds.calculus.pac_bayes import pac_bayes
from bounds.calculus.parametric_cover import parametric_cover, parametric_jacobian_cover
from bounds.calculus.peeling import peel_exponential, peel_layers, peel_rows
from bounds.calculus.risk import risk
from bounds.calculus.spectral_cover import spectral_cover
from bounds.calculus.sum_rule import sum_rule
from bounds.measurements import ATTACK_NORMS
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies.norms import SIDES, Case, assume_off_ceilings, bounds_of, cases

SMALL = 80  # an identity needs no climbing: the draws decide
SIDE = st.sampled_from(SIDES)
SAMPLES = (4, 2, 3, 30, 1000, 10**6)


CONFIDENCE = r"3\sqrt{\frac{\ln(2/\delta)}{2n}}"
MARGIN = rf"L=1:\quad\Phi=2C+{CONFIDENCE},\quad "
SCALE_FREE = (
    r"\frac{12R}n\max(0,\ln(Mn))+\frac4n\text{ (raw)},\ \min\left(\tfrac M2,\frac{12R}n(1+\ln\frac{Mn}{3R})\right)"
    r"\text{ for }3R\le Mn\text{ and else }\tfrac M2\text{ (guaranteed)}"
)
PAC_BAYES = (
    r"L=1:\quad\Phi=4\sqrt{\left(\tfrac{42^2e^2}2B^2h\ln(4h)\|W\|_F^2\gamma^{-2}+\ln(6n\sqrt n/\delta)\right)/(n-1)}"
    r"\text{ (guaranteed: at most 1)},\quad h=\max(d,K),\quad "
)
SURROGATE = (
    rf"L=1,\ J=W:\quad\Phi=2(C+\lambda C_N)+(M+\lambda M_J)\cdot{CONFIDENCE}"
    r",\ M=\ln K+\sqrt2(sB+\|c\|_2),\ M_J=\mathrm{Lip}(N)\min(\|W\|_F,\sqrt{\min(d,K)}\,s);\ (\lambda,\mathrm{Lip}(N))="
    r"(\varepsilon,\sqrt2\max(1,d^{1/2-1/p}))\text{ for rows of the margin, }(\sqrt2\varepsilon,1)\text{ spectral and "
    r"Frobenius, }(2\varepsilon,\sqrt d)\text{ row sums, }(\varepsilon,\sqrt{Kd})\text{ entrywise};\ "
)


def _margin(complexity: str) -> str:
    """The statement about a margin bound whose complexity has a formula."""
    return rf"{MARGIN}C={complexity}\quad(C\text{{ guaranteed: at most }}\tfrac12)"


def _scale_free_margin(radius: str) -> str:
    """The statement about a margin bound from a scale-free cover, ln N(u) <= R^2/u^2."""
    return rf"{MARGIN}{radius},\quad\overline W=\max(d+\mathbf 1_{{\mathrm{{bias}}}},K),\quad M=1,\ C={SCALE_FREE}"


def _one_layer(*keys: str, samples: tuple[int, ...] = SAMPLES) -> dict[str, SearchStrategy[Any]]:
    return {"case": cases(bounds_of(*keys), depth=(1, 1), samples=samples), "side": SIDE}


def _bias(case: Case) -> int:
    assert case.norms.bias is not None
    return int(case.norms.bias[0])


def _layer(case: Case) -> dict[str, Any]:
    """The numbers of the only layer, by their letters."""
    norms = case.norms
    return {name: getattr(norms, name)[0] for name in ("s", "a", "b", "g", "m", "c", "t", "k_pos", "P_out")}


def _inputs(case: Case) -> Any:
    """‖X‖_F, with a column of ones where the layer has an offset."""
    return reals.sqrt(case.norms.X_F * case.norms.X_F + case.norms.n * _bias(case))


def _dimension_factor(case: Case) -> Any:
    """max(1, d^{1/2 - 1/p})."""
    return max(reals.real(1), reals.power(case.norms.d, 0.5 - ATTACK_NORMS[case.norms.norm]))


def _confidence(case: Case) -> Any:
    return 3 * reals.sqrt(reals.log(2 / case.delta) / (2 * case.norms.n))


def _gap(case: Case, side: str, complexity: Any) -> Any:
    """2 R_S + 3 sqrt(ln(2/delta)/(2n)) for a loss in [0, 1]; R_S <= 1/2 where it is guaranteed."""
    return 2 * (complexity if side == "raw" else min(complexity, reals.real(0.5))) + _confidence(case)


def _scale_free(R: Any, M: Any, n: int, side: str) -> Any:
    """Dudley's integral of R^2/u^2: with lower limit 1/sqrt n, or with the best one and capped at M/2."""
    if side == "raw":
        return 4 / reals.real(n) + 12 * R / n * max(reals.real(0), reals.log(M * n))
    if 3 * R > M * n:
        return M / 2
    integral = 12 * R / n * (1 + reals.log(M * n / (3 * R))) if R > 0 else reals.real(0)
    return min(M / 2, integral)


def _parametric(entropy: Any, M: Any, n: int, side: str) -> Any:
    """Dudley's integral of the entropy N ln(1 + c/u) of a parametric cover; capped at M/2."""
    value = 12 * M * reals.sqrt(entropy / n)
    return value if side == "raw" else min(M / 2, value)


@inequality(
    "reduction-golowich2018_frobenius",
    _margin(
        r"\frac{2K}\gamma\,\frac{(\|X\|_F^2+n\mathbf 1_{\mathrm{bias}})^{1/2}}{n}\left(\sqrt{2\ln2}+1\right)"
        r"\sqrt{\|W\|_F^2+\|c\|_2^2}"
    ),
    source="Golowich, Rakhlin & Shamir 2018, Theorem 1; with offsets own derivation",
    relation="==",
    attained=True,
    given=_one_layer("golowich2018_frobenius"),
    mutants={"one layer too many": {"depth": 2}, "the output carries a constant on": {"constant": 1}},
    examples=SMALL,
    combinators=(peel_exponential, multiclass, risk),
)
def golowich_frobenius(case: Case, side: str, depth: int = 1, constant: int = 0) -> tuple[Any, Any]:
    """Exact on both sides; the last layer has no constant coordinate to carry on."""
    W, n = _layer(case), case.norms.n
    peeled = reals.sqrt(2 * depth * reals.log(2)) + 1
    norm = reals.sqrt(W["a"] * W["a"] + W["c"] * W["c"] + constant * _bias(case))
    return case.value(side), _gap(case, side, 2 * case.norms.classes / case.gamma * _inputs(case) / n * peeled * norm)


def _rows(case: Case, constant: Any) -> Any:
    """(2K/gamma)(constant/n) max_r(‖row_r‖_1 + |c_r|) times the largest column of X, ones included."""
    norms, W = case.norms, _layer(case)
    column = max(norms.X_col, reals.sqrt(norms.n)) if _bias(case) else norms.X_col
    return 2 * norms.classes / case.gamma * constant / norms.n * (W["m"] + W["c"]) * column


@inequality(
    "reduction-golowich2018_l1inf-published",
    _margin(
        r"\frac{2K}\gamma\,\frac2n\sqrt{2+\ln(d+\mathbf 1_{\mathrm{bias}})}\,"
        r"\max_r(\|W_r\|_1+|c_r|)\max_j\|X_{:,j}\|_2\quad\text{(for an offset }X\text{ has a column of ones)}"
    ),
    source="Golowich, Rakhlin & Shamir 2018, Theorem 2; with offsets own derivation",
    relation="==",
    attained=True,
    given=_one_layer("golowich2018_l1inf"),
    mutants={"the depth left out": {"depth": 0}, "the logarithm's dimension left out": {"columns": 0}},
    examples=SMALL,
    combinators=(peel_rows, multiclass, risk),
)
def golowich_rows(case: Case, side: str, depth: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """Exact on both sides, as printed in the paper, with one more column of ones for an offset."""
    constant = 2 * reals.sqrt(depth + 1 + columns * reals.log(case.norms.d + _bias(case)))
    value = case.on("golowich2018_l1inf published").value(side)
    return value, _gap(case, side, _rows(case, constant))


@inequality(
    "reduction-golowich2018_l1inf-sharper",
    _margin(
        r"\frac{2K}\gamma\,\frac1n\sqrt{2\ln(2(d+2\cdot\mathbf 1_{\mathrm{bias}}))}\,"
        r"\max_r(\|W_r\|_1+|c_r|)\max_j\|X_{:,j}\|_2\quad\text{(for an offset }X\text{ has a column of ones)}"
    ),
    source="own derivation",
    relation="==",
    attained=True,
    given=_one_layer("golowich2018_l1inf"),
    mutants={"vertices of one sign": {"signs": 1}, "one more column only": {"ones": 1}},
    examples=SMALL,
    combinators=(peel_rows, massart, multiclass, risk),
)
def golowich_rows_sharper(case: Case, side: str, signs: int = 2, ones: int = 2) -> tuple[Any, Any]:
    """Without an offset the other side is Massart's lemma on the 2d vertices of the l1 ball: the linear class."""
    constant = reals.sqrt(2 * reals.log(signs * (case.norms.d + ones * _bias(case))))
    value = case.on("golowich2018_l1inf sharper").value(side)
    return value, _gap(case, side, _rows(case, constant))


@inequality(
    "reduction-neyshabur2015_frobenius",
    _margin(r"\frac{2K}\gamma\,\frac{(\|W\|_F^2+\|c\|_2^2)^{1/2}(\|X\|_F^2+n\mathbf 1_{\mathrm{bias}})^{1/2}}n"),
    source="Neyshabur, Tomioka & Srebro 2015, Corollary 2 up to its constant; with offsets own derivation",
    relation="==",
    attained=True,
    given=_one_layer("neyshabur2015_frobenius"),
    mutants={"a factor 2 for the only layer": {"factor": 2}, "the offset left out": {"offset": 0}},
    examples=SMALL,
    combinators=(peel_layers, multiclass, risk),
)
def neyshabur_layers(case: Case, side: str, factor: int = 1, offset: int = 1) -> tuple[Any, Any]:
    """For one layer peeling costs nothing: the other side is Cauchy-Schwarz and Jensen for a linear class."""
    W, n = _layer(case), case.norms.n
    norm = reals.sqrt(W["a"] * W["a"] + offset * W["c"] * W["c"])
    return case.value(side), _gap(case, side, 2 * case.norms.classes / case.gamma * factor * norm * _inputs(case) / n)


@inequality(
    "reduction-bartlett2017_spectral-published",
    _scale_free_margin(r"R=\frac2\gamma\sqrt{\ln(2\overline W^2)}\,b\,(\|X\|_F^2+n\mathbf 1_{\mathrm{bias}})^{1/2}"),
    source="Bartlett, Foster & Telgarsky 2017, Theorem 3.3 and Lemma A.5; with offsets own derivation",
    relation="==",
    attained=True,
    given=_one_layer("bartlett2017_spectral"),
    mutants={"the layer's own spectral norm counted": {"with_s": True}, "width without square": {"power": 1}},
    examples=SMALL,
    combinators=(spectral_cover, lipschitz_cover, dudley_scale_free, risk),
)
def bartlett_published(case: Case, side: str, with_s: bool = False, power: int = 2) -> tuple[Any, Any]:
    """One Maurey cover of XW, then Dudley; ‖W‖_2 plays no part."""
    norms, W = case.norms, _layer(case)
    width = reals.real(max(norms.d + _bias(case), norms.classes))
    R = 2 / case.gamma * reals.sqrt(reals.log(2 * width**power)) * W["b"] * _inputs(case)
    R = R * W["s"] if with_s else R
    value = case.on("bartlett2017_spectral published").value(side)
    return value, 2 * _scale_free(R, reals.real(1), norms.n, side) + _confidence(case)


def _maurey(case: Case, pairs: Callable[..., Any] = min) -> Any:
    """The smaller of b sqrt(ln 2W^2) and g sqrt(ln 2N)."""
    norms, W = case.norms, _layer(case)
    assert norms.parameters is not None
    width = reals.real(max(norms.d + _bias(case), norms.classes))
    two_one = W["b"] * reals.sqrt(reals.log(2 * width**2))
    return pairs(two_one, W["g"] * reals.sqrt(reals.log(2 * norms.parameters[0])))


@inequality(
    "reduction-bartlett2017_spectral-audited",
    _scale_free_margin(
        r"R=\frac4\gamma\min\left(b\sqrt{\ln(2\overline W^2)},g\sqrt{\ln(2N)}\right)"
        r"(\|X\|_F^2+n\mathbf 1_{\mathrm{bias}})^{1/2}"
    ),
    source="own audit of Bartlett, Foster & Telgarsky 2017, Theorem 3.3",
    relation="==",
    attained=True,
    given=_one_layer("bartlett2017_spectral"),
    mutants={"no factor for centres inside the balls": {"audit": 2}, "the larger pair": {"pairs": max}},
    examples=SMALL,
    combinators=(spectral_cover, lipschitz_cover, dudley_scale_free, risk),
)
def bartlett_audited(case: Case, side: str, audit: int = 8, pairs: Callable[..., Any] = min) -> tuple[Any, Any]:
    """As printed, with the audited constant, the ramp's own Lipschitz constant and the kernel-group pair."""
    R = reals.sqrt(2 * audit) / case.gamma * _maurey(case, pairs) * _inputs(case)
    value = case.on("bartlett2017_spectral audited").value(side)
    return value, 2 * _scale_free(R, reals.real(1), case.norms.n, side) + _confidence(case)


@inequality(
    "reduction-graf2022_excess_capacity",
    _margin(
        r"\frac4n+\frac{12H_{n-1}}{\sqrt n}\sqrt{\ln(2N)}\left\lceil\left(\frac{4g}{\gamma\sqrt n}"
        r"(\|X\|_F^2+n\mathbf 1_{\mathrm{bias}})^{1/2}\right)^{2/3}\right\rceil^{3/2},\quad H_{n-1}=\sum_{k<n}\tfrac1k"
    ),
    source="Graf, Zeng, Rieck, Niethammer & Kwitt 2022, norms form; with offsets own derivation",
    relation="==",
    attained=True,
    given=_one_layer("graf2022_excess_capacity", samples=(4, 2, 3, 30, 100)),
    mutants={"no ceiling": {"ceiling": lambda x: x}, "ln n for the harmonic number": {"harmonic": reals.log}},
    examples=SMALL,
    combinators=(kernel_cover_complexity, risk),
)
def graf(
    case: Case, side: str, ceiling: Callable[[Any], Any] = math.ceil, harmonic: Callable[[int], Any] | None = None
) -> tuple[Any, Any]:
    """The mutants are what the paper's public code does. Off the ceiling's jumps, where float64 cannot decide."""
    norms, W = case.norms, _layer(case)
    assert norms.parameters is not None
    n = reals.real(norms.n)
    capacity = reals.power(4 * W["g"] / case.gamma * _inputs(case) / reals.sqrt(n), 2 / reals.real(3))
    assume(capacity < 1e6 and abs(capacity - round(float(capacity))) > 1e-9 * capacity)
    H = sum((1 / reals.real(k) for k in range(1, norms.n)), reals.real(0)) if harmonic is None else harmonic(norms.n)
    covering = 12 * H / reals.sqrt(n) * reals.sqrt(reals.log(2 * norms.parameters[0]))
    return case.value(side), _gap(case, side, 4 / n + covering * reals.power(ceiling(capacity), 1.5))


def _pac_bayes(case: Case, radius: Any, side: str, width: int, root: float = 0.5) -> Any:
    norms, W = case.norms, _layer(case)
    n, h = reals.real(norms.n), reals.real(width)
    constant = 42 * 42 * reals.exp(2) / 2
    kl = constant * radius * radius * h * reals.log(4 * h) / case.gamma**2 * W["a"] * W["a"]
    value = 4 * reals.sqrt((kl + reals.log(6 * n * reals.power(n, root) / case.delta)) / (n - 1))
    return value if side == "raw" else min(reals.real(1), value)


@inequality(
    "reduction-neyshabur2018_pacbayes",
    PAC_BAYES + r"B\ge\|x\|_2\text{ on the support}",
    source="Neyshabur, Bhojanapalli & Srebro 2018; constants explicit from the proof",
    relation="==",
    attained=True,
    given=_one_layer("neyshabur2018_pacbayes"),
    mutants={"the input dimension for h": {"classes": 0}, "1/L for 1/(2L)": {"root": 1.0}},
    examples=SMALL,
    combinators=(pac_bayes,),
)
def neyshabur_pac_bayes(case: Case, side: str, classes: int = 1, root: float = 0.5) -> tuple[Any, Any]:
    """One layer is perturbed: the spectral norm cancels from the product."""
    width = max(case.norms.d, classes * case.norms.classes)
    return case.value(side), _pac_bayes(case, case.norms.B, side, width, root)


@inequality(
    "reduction-xiao2023_robust_pacbayes",
    PAC_BAYES
    + r"B=D_p(B_p+\varepsilon)\text{ (published) or }B_2+\varepsilon D_p\text{ (audited)},\ D_p=\max(1,d^{1/2-1/p})",
    source="Xiao, Sun & Luo 2023; the audited radius: own derivation",
    relation="==",
    attained=True,
    given=_one_layer("xiao2023_robust_pacbayes"),
    mutants={"no dimension factor": {"factor": False}, "no attack": {"attacked": 0}},
    examples=SMALL,
    combinators=(pac_bayes,),
)
def xiao(case: Case, side: str, factor: bool = True, attacked: int = 1) -> tuple[Any, Any]:
    """Both variants; exact on both sides."""
    norms = case.norms
    D_p = _dimension_factor(case) if factor else 1
    published = D_p * (norms.B_p + attacked * norms.eps)
    radius = published if case.bound.endswith("published") else norms.B + attacked * norms.eps * D_p
    return case.value(side), _pac_bayes(case, radius, side, max(norms.d, norms.classes))


@inequality(
    "reduction-parametric_cover",
    _margin(
        r"\frac{12}{\sqrt n}\sqrt{N\left(1+\ln\left(1+\frac{2\sqrt2\,t}\gamma\sqrt{k_{\mathrm{pos}}B'^2+"
        r"\mathbf 1_{\mathrm{bias}}}\right)\right)},\quad B'=B\text{ or }B+\varepsilon\max(1,d^{1/2-1/p})"
    ),
    source="own derivation",
    relation="==",
    attained=True,
    given=_one_layer("parametric_cover"),
    mutants={"the radius for the diameter": {"diameter": 1}, "kernel positions left out": {"positions": False}},
    examples=SMALL,
    combinators=(parametric_cover, lipschitz_parametric, dudley_parametric, risk),
)
def parametric(case: Case, side: str, diameter: int = 2, positions: bool = True) -> tuple[Any, Any]:
    """Both variants; a convolution meets an input at no more than k_pos positions."""
    norms, W = case.norms, _layer(case)
    assert norms.parameters is not None
    radius = norms.B + norms.eps * _dimension_factor(case) if case.bound.endswith("adversarial") else norms.B
    sensitivity = reals.sqrt((W["k_pos"] if positions else 1) * radius * radius + _bias(case))
    resolution = diameter * reals.sqrt(2) / case.gamma * W["t"] * sensitivity
    entropy = norms.parameters[0] * (1 + reals.log(1 + resolution))
    value = 2 * _parametric(entropy, reals.real(1), norms.n, side) + _confidence(case)
    return case.value(side), value


def _jacobian_constants(case: Case) -> tuple[Any, Any]:
    """Factor eps c of the norm in the surrogate, and the norm's Lipschitz constant in the Frobenius norm."""
    norms, root = case.norms, reals.sqrt(2)
    return {
        "margin": (norms.eps, root * _dimension_factor(case)),
        "spectral": (root * norms.eps, reals.real(1)),
        "frobenius": (root * norms.eps, reals.real(1)),
        "row-sum": (2 * norms.eps, reals.sqrt(norms.d)),
        "entrywise": (norms.eps, reals.sqrt(norms.classes * norms.d)),
    }[str(case.formula.surrogate)]


def _surrogate(case: Case, side: str, losses: Any, jacobians: Any, M: Any, M_J: Any) -> tuple[Any, Any]:
    coefficient, _ = _jacobian_constants(case)
    complexity = losses + coefficient * jacobians
    return case.value(side), 2 * complexity + (M + coefficient * M_J) * _confidence(case)


def _ranges(case: Case) -> tuple[Any, Any]:
    """ln K + sqrt 2 sup‖f‖ and sup N(J), for f(x) = Wx + c over the support."""
    norms, W = case.norms, _layer(case)
    _, lipschitz = _jacobian_constants(case)
    frobenius = min(W["a"], reals.sqrt(min(norms.d, norms.classes)) * W["s"])
    return reals.log(norms.classes) + reals.sqrt(2) * (W["s"] * norms.B + W["c"]), lipschitz * frobenius


def _surrogates(kind: str) -> dict[str, SearchStrategy[Any]]:
    names = tuple(name for name in bounds_of("jacobian_surrogate") if name.endswith(kind))
    return {"case": cases(names, depth=(1, 1)), "side": SIDE}


@inequality(
    "reduction-jacobian_surrogate-norms",
    SURROGATE
    + r"C\text{ of }R,M\text{ and }C_N\text{ of }R_N,M_J,\ R=4\,\omega(\|X\|_F^2+n\mathbf 1_{\mathrm{bias}})^{1/2},\ "
    r"R_N=\sqrt8\,\omega\,\mathrm{Lip}(N)\sqrt{nd},\ \omega=\min(b\sqrt{\ln(2\overline W^2)},g\sqrt{\ln(2N)}),\ "
    r"\overline W=\max(d+\mathbf 1_{\mathrm{bias}},K):\ C=" + SCALE_FREE,
    source="own derivation, after Wu & Li 2024",
    relation="==",
    attained=True,
    given=_surrogates("norm-based"),
    mutants={"the identity's norm 1 for sqrt d": {"identity": False}, "rank left out of the range": {"rank": False}},
    examples=SMALL,
    combinators=(jacobian_cover, spectral_cover, lipschitz_cover, dudley_scale_free, sum_rule, risk),
)
def surrogate_norms(case: Case, side: str, identity: bool = True, rank: bool = True) -> tuple[Any, Any]:
    """The Jacobian of a linear map is constant: its cover is Maurey's, applied to n copies of the identity."""
    norms, W = case.norms, _layer(case)
    n, (_, lipschitz), (M, M_J) = norms.n, _jacobian_constants(case), _ranges(case)
    if not rank:
        M_J = lipschitz * min(W["a"], W["s"])
    weight = reals.sqrt(8) * _maurey(case)
    losses = _scale_free(reals.sqrt(2) * weight * _inputs(case), M, n, side)
    identities = reals.sqrt(n * norms.d if identity else n)
    return _surrogate(case, side, losses, _scale_free(lipschitz * weight * identities, M_J, n, side), M, M_J)


@inequality(
    "reduction-jacobian_surrogate-parameters",
    SURROGATE
    + r"C=12M\sqrt{\tfrac Nn\left(1+\ln(1+\tfrac{2\sqrt2t}{M}\sqrt{k_{\mathrm{pos}}B^2+\mathbf 1_{\mathrm{bias}}})"
    r"\right)},\ C_N=12M_J\sqrt{\tfrac Nn\left(1+\ln(1+\tfrac{2t\,\mathrm{Lip}(N)}{M_J}"
    r"\min(\sqrt{P_{\mathrm{out}}},\sqrt{k_{\mathrm{pos}}d}))\right)};\text{ guaranteed: at most }M/2,M_J/2",
    source="own derivation, after Wu & Li 2024",
    relation="==",
    attained=True,
    given=_surrogates("parametric"),
    mutants={"output positions left out": {"positions": False}, "the loss is 1-Lipschitz": {"loss": 1}},
    examples=SMALL,
    combinators=(parametric_cover, parametric_jacobian_cover, lipschitz_parametric, dudley_parametric, sum_rule, risk),
)
def surrogate_parameters(case: Case, side: str, positions: bool = True, loss: int = 2) -> tuple[Any, Any]:
    """A kernel's Jacobian repeats it P_out times, and at most k_pos times per column of the identity."""
    norms, W = case.norms, _layer(case)
    assert norms.parameters is not None
    n, (_, lipschitz), (M, M_J) = norms.n, _jacobian_constants(case), _ranges(case)
    outputs = reals.sqrt(loss) * reals.sqrt(W["k_pos"] * norms.B * norms.B + _bias(case))
    repeated = reals.sqrt(min(W["P_out"], W["k_pos"] * norms.d)) if positions else reals.real(1)
    losses, jacobians = (
        _parametric(norms.parameters[0] * (1 + reals.log(1 + 2 * W["t"] * lip / range_)), range_, n, side)
        for lip, range_ in ((outputs, M), (lipschitz * repeated, M_J))
    )
    return _surrogate(case, side, losses, jacobians, M, M_J)


LINEAR = bounds_of("yin2019_linear_linf", "awasthi2020_linear")


@inequality(
    "reduction-linear_attack",
    _margin(
        r"\frac1\gamma\left(C_0+\frac{\varepsilon A_{p_w}}{2\sqrt n}\max_{w}\frac{\|w\|_q}{\|w\|_{p_w}}\right),\quad "
        r"C_0=\tfrac1nA_2\|X\|_F\text{ or }\tfrac1nA_1\sqrt{2\ln(2d)}\max_j\|X_{:,j}\|_2,\ \tfrac1p+\tfrac1q=1"
    ),
    source="Yin, Kannan & Bartlett 2019 (l_inf), Awasthi, Frank & Mohri 2020; the factor 1/2: own derivation",
    relation="==",
    attained=True,
    given={"case": cases(LINEAR), "side": SIDE},
    mutants={"the factor as in the papers": {"half": 1}, "the attack's norm for its dual": {"dual": False}},
    examples=SMALL,
    combinators=(linear_class, attacked_linear_class, attack_factor, risk),
)
def linear_attack(case: Case, side: str, half: int = 2, dual: bool = True) -> tuple[Any, Any]:
    """The largest ‖w‖_q/‖w‖_{p_w} is read off a basis vector and the vector of ones, which attain it."""
    norms = case.norms
    p_w = 1.0 if case.bound.endswith("1") else 2.0
    p = 1 / ATTACK_NORMS[norms.norm] if ATTACK_NORMS[norms.norm] else math.inf
    q = reals.dual(p) if dual else p
    ones = [1] * norms.d
    spread = max(reals.real(1), reals.norm(ones, q) / reals.norm(ones, p_w))
    assert norms.w is not None
    A, n = norms.w[0 if p_w == 1 else 1], reals.real(norms.n)
    base = reals.sqrt(2 * reals.log(2 * norms.d)) * norms.X_col if p_w == 1 else norms.X_F
    value = A * base / n + norms.eps * A * spread / (half * reals.sqrt(n))
    return case.value(side), _gap(case, side, value / case.gamma)


@inequality(
    "reduction-no_attack",
    r"\varepsilon=0:\quad\text{the parametric cover, the PAC-Bayes bound and the linear bounds of the attacked class "
    r"are those of the plain one}",
    source="own derivation",
    relation="==",
    attained=True,
    given={
        "case": cases(bounds_of("parametric_cover", "xiao2023_robust_pacbayes", "yin2019_linear_linf")),
        "side": SIDE,
    },
    mutants={"an attack after all": {"strength": 1}, "radius of the attack's norm for the l2 one": {"B_p": True}},
    examples=SMALL,
    combinators=(parametric_cover, pac_bayes, attacked_linear_class),
)
def no_attack(case: Case, side: str, strength: int = 0, B_p: bool = False) -> tuple[Any, Any]:
    """Left: the bound for the attacked class at radius 0. Right: the bound for the plain class.

    The published radius D_p(B_p + eps) is that of the plain class only where D_p B_p = B, so it gets such a B_p.
    """
    D_p = _dimension_factor(case)
    calm = case.changed(eps=strength * case.norms.eps, B_p=case.norms.B / D_p)
    plain = calm.changed(B=calm.norms.B_p) if B_p else calm
    if case.bound.startswith("parametric_cover"):
        left = calm.on("parametric_cover adversarial").value(side)
        return left, plain.on("parametric_cover standard").value(side)
    if case.bound.startswith("xiao"):
        return calm.value(side), plain.on("neyshabur2018_pacbayes").value(side)
    norms = plain.norms
    assert norms.w is not None
    one = case.bound.endswith("1")
    base = reals.sqrt(2 * reals.log(2 * norms.d)) * norms.X_col * norms.w[0] if one else norms.X_F * norms.w[1]
    return calm.value(side), _gap(case, side, base / (norms.n * case.gamma))


@inequality(
    "reduction-frozen_layer",
    r"b_i=g_i=0,\ c_i=0,\ s_i=\rho_i=1,\ d_i=d_{i-1}:\quad\text{a layer that stays at its reference and stretches "
    r"nothing costs nothing: the bound is that of the network without it }(\varphi(0)=0)",
    source="own derivation",
    relation="==",
    attained=True,
    given={
        "case": cases(bounds_of("bartlett2017_spectral", "graf2022_excess_capacity"), offsets=False, at_zero=False),
        "side": SIDE,
    },
    mutants={"the layer learns": {"distance": 1}, "the layer stretches": {"stretch": 2}},
    examples=SMALL,
    combinators=(spectral_cover, kernel_cover_complexity),
)
def frozen_layer(case: Case, side: str, distance: int = 0, stretch: int = 1) -> tuple[Any, Any]:
    """Left: one more layer before the first, of the input's width, frozen. Right: without it."""
    one = case.norms
    more: dict[str, Any] = {}
    for name in ("a", "m", "t"):
        more[name] = (reals.real(1), *getattr(one, name))
    for name in ("b", "g"):
        more[name] = (reals.real(distance), *getattr(one, name))
    for name, first in (("bias", False), ("convolution", True), ("k_pos", 1), ("P_out", 1), ("parameters", 1)):
        more[name] = (first, *getattr(one, name))
    offsets = tuple(0 * c for c in one.c or ())
    deeper = replace(
        one,
        s=(reals.real(stretch), *one.s),
        c=(reals.real(0), *offsets),
        widths=(one.d, *(one.widths or ())),
        rho=(reals.real(1), *(one.rho or ())),
        beta=(reals.real(1), *(one.beta or ())),
        **more,
    )
    grown = replace(case, norms=deeper)
    assume_off_ceilings(case)
    return grown.value(side), case.value(side)


@inequality(
    "reduction-exponential_peeling",
    r"\frac{C_{\mathrm{Golowich}}}{C_{\mathrm{Neyshabur}}}=\frac{\sqrt{2L\ln2}+1}{2^{L-1}}\quad\text{(complexities in "
    r"Frobenius norms by exponential moments and layer by layer, offsets included)}",
    source="Golowich, Rakhlin & Shamir 2018, Theorem 1; Neyshabur, Tomioka & Srebro 2015, Corollary 2 (its shape)",
    relation="==",
    attained=True,
    given={"case": cases(bounds_of("golowich2018_frobenius"), depth=(1, 6))},
    mutants={"2^L": {"shift": 0}, "the depth outside the root": {"power": 1.0}},
    examples=SMALL,
    combinators=(peel_exponential, peel_layers),
)
def exponential_peeling(case: Case, shift: int = 1, power: float = 0.5) -> tuple[Any, Any]:
    """Both complexities share the product of norms; only the price of the depth differs."""
    L = len(case.norms.s)
    layers = case.on("neyshabur2015_frobenius").complexity()
    price = reals.power(2 * reals.log(2), 0.5) * reals.power(L, power) + 1
    return case.complexity(), layers * price / 2 ** (L - shift)


@inequality(
    "reduction-jacobian_surrogate-kinds",
    r"p=2:\quad\text{a loss plus }\sqrt2\varepsilon\text{ times a 1-Lipschitz norm of }J\text{ costs what the loss "
    r"plus }\varepsilon\text{ times a }\sqrt2\text{-Lipschitz one costs (guaranteed complexities)}",
    source="own derivation",
    given={"case": cases(("jacobian_surrogate spectral, parametric", "jacobian_surrogate spectral, norm-based"))},
    mutants={"the factor sqrt 2 dropped": {"factor": 1}, "the attack's radius squared": {"squared": True}},
    relation="==",
    attained=True,
    examples=40,
    combinators=(jacobian_cover, parametric_jacobian_cover, sum_rule),
)
def jacobian_kinds(case: Case, factor: int = 2, squared: bool = False) -> tuple[Any, Any]:
    r"""sqrt 2 eps times a 1-Lipschitz norm, or eps times a sqrt 2-Lipschitz one: the guaranteed complexities agree."""
    other = case.on(case.bound.replace("spectral", "margin"))
    stronger = case.norms.eps * reals.sqrt(factor) / reals.sqrt(2)
    stronger = stronger * case.norms.eps if squared else stronger
    return case.complexity("guaranteed"), other.changed(eps=stronger).complexity("guaranteed")
