r"""Covering numbers of networks (L5.2, L5.4, L5.5): packings found explicitly are at most what is claimed.

A set of functions of the class whose distances all exceed 2u needs as many balls of radius u, inside or outside the
class: its size is a lower bound of the covering number.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds import symbols
from bounds.calculus.jacobian_cover import jacobian_cover
from bounds.calculus.kernel_cover import kernel_cover_complexity
from bounds.calculus.parametric_cover import parametric_cover, parametric_jacobian_cover
from bounds.calculus.spectral_cover import spectral_cover
from bounds.calculus.statements import Cover, ParametricCover
from bounds.symbols import L, i
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import matrices, positive, scales
from verification.inequalities.strategies.families import (
    Layers,
    changes,
    course,
    forgotten,
    layered,
    operator,
    output_positions,
    parameter_vector,
    poised,
    samples,
    scaled,
    shifted,
    values,
    weights,
)
from verification.inequalities.strategies.networks import ACTIVATIONS, SMOOTH, Affine, Convolution

APART = 1 + 2.0**-30
"""Distances count as larger than 2u only beyond the rounding of both."""
MEMBERS = 5
SHARES = st.one_of(st.sampled_from([0.999, 0.5]), positive(0.999, 0.01))
"""u in units of the distance that a packing of two needs."""

# What the statements abbreviate.
UPSTREAM = r"Q_i=\prod_{j>i}s_j\rho_{j-1}"
HIDDEN = (
    r"\widetilde X_{i-1}=X_{i-1}\text{ if }c_i=0\text{, else }\sqrt{X_{i-1}^2+n},\ "
    r"X_0=\|X\|_F,\ X_i=\rho_i(s_iX_{i-1}+\sqrt n\|c_i\|_2)+\sqrt{nd_i}|\varphi_i(0)|"
)
SUPPORT = r"B'_i=\rho_i(s_iB'_{i-1}+\|c_i\|_2)+\sqrt{d_i}|\varphi_i(0)|"
CURVATURE = r"T_i=s_{i+1}(\beta_iG_iQ_{i+1}+\rho_iT_{i+1}),\ T_L=0,\ G_i=\prod_{j\le i}s_j\prod_{j<i}\rho_j"
MAUREY = r"\omega_i=\min\big(b_i\sqrt{\ln2\overline W^2},g_i\sqrt{\ln2N_i}\big)"
PARTIAL = (
    r"\alpha_i=\min\big(\min_{k\le i}a_k/s_k,\sqrt{\min(d_0,\ldots,d_i)}\big)\prod_{j\le i}s_j\rho_j,"
    r"\ \alpha_0=\sqrt d"
)
SENSITIVITY = r"K_i=Q_i\sqrt{k^{\mathrm{pos}}_iB_{i-1}'^2+[c_i\ne0]}"
SENSITIVITY_OF_JACOBIANS = (
    r"K'_i=Q_i\min\big(\sqrt{P^{\mathrm{out}}_i}\textstyle\prod_{j<i}s_j\rho_j,"
    r"\sqrt{k^{\mathrm{pos}}_i}\alpha_{i-1}\big)+T_i\sqrt{k^{\mathrm{pos}}_iB_{i-1}'^2+[c_i\ne0]}"
)

PUBLISHED = spectral_cover(audited=False)
AUDITED = spectral_cover(audited=True)
JACOBIANS = jacobian_cover()
KERNELS = kernel_cover_complexity()
PARAMETRIC = parametric_cover(adversarial=False)
ATTACKED = parametric_cover(adversarial=True)
PARAMETRIC_JACOBIANS = parametric_jacobian_cover()


def _packing(images: Any, u: float, sup: bool = False) -> int:
    """Size of a subset with distances above 2u, chosen greedily in order.

    Args:
        images: (members, n, ...); the distance is the root of the sum of squares, or with `sup` the largest norm of
            a sample.
        u: scale.
        sup: over the samples instead of the sum.

    >>> _packing(np.array([[[0.0]], [[1.0]], [[3.0]]]), 0.6)
    2
    """
    flat = images.reshape(len(images), images.shape[1], -1)
    squares = ((flat[:, None] - flat[None]) ** 2).sum(axis=3)
    distances = np.sqrt(squares.max(axis=2) if sup else squares.sum(axis=2))
    chosen: list[int] = []
    for member in range(len(images)):
        if all(distances[member, other] > 2 * u * APART for other in chosen):
            chosen.append(member)
    return len(chosen)


def _bounded(*numbers: Any) -> None:
    assume(all(float(np.abs(number).max(initial=0.0)) < 1e60 for number in numbers))


def _resolved(size: float) -> float:
    """A scale, or 1 for what is as good as 0: there a packing has one member."""
    return size if size > 1e-60 else 1.0


def _lengths(layers: Layers, X: Any) -> None:
    _bounded(X, *(weights(layer) for layer in layers), *(layer.offset for layer in layers))


@st.composite
def _balls(draw: DrawFn, depth: tuple[int, int] = (1, 3)) -> tuple[Layers, np.ndarray, np.ndarray]:
    """A network whose norms are the radii of a class, samples, and factors of the rows of other members."""
    if draw(st.booleans()):  # an interval, which a cover needs two balls for as soon as u is below its radius
        weight = Affine(np.array([[draw(scales(2))]]), np.zeros(1))
        scalars: Layers = (weight,) * draw(st.integers(*depth))
        return scalars, np.array([[draw(scales(3))]]), np.zeros((MEMBERS, 4))
    layers = draw(layered(depth))
    factors = draw(matrices(MEMBERS, 4)) / 4.0
    return layers, draw(samples(layers, decades=3)), factors


def _members(layers: Layers, factors: Any) -> list[Layers]:
    """Members of the class of all networks with norms at most those of `layers`, as dense layers.

    The last layer times numbers between -1 and 1, every pattern of signs of its rows, and every layer times factors,
    one for each output channel.
    """
    *before, last = dense = [Affine(*operator(layer)) for layer in layers]
    ends = [scaled(last, np.array(tau)) for tau in (1.0, -1.0, 0.0, 0.5, -0.5)]
    rows = len(last.offset)
    if 1 < rows <= 3 and isinstance(layers[-1], Affine):
        ends += [scaled(last, np.array(signs)) for signs in itertools.product((1.0, -1.0), repeat=rows)]
    found: list[Layers] = [(*before, end) for end in ends]
    for row in np.clip(factors, -1, 1):
        channels = [np.resize(np.roll(row, at), len(layer.offset)) for at, layer in enumerate(layers)]
        each = [np.repeat(c, output_positions(layer)) for c, layer in zip(channels, layers, strict=True)]
        found.append(tuple(scaled(layer, c) for layer, c in zip(dense, each, strict=True)))
    return found


def _radius(cover: Cover, known: dict[Any, Any], depth: int) -> float:
    return float(reals.evaluate(cover.radius, known, cover.parts, depth))


def _class(layers: Layers, activation: str, X: Any) -> dict[Any, Any]:
    return values([layers], activation) | {symbols.X_F: reals.norm(X, 2), symbols.n: len(X)}


@inequality(
    "L5.2-published",
    r"\ln\mathcal N(\mathcal F,u)\le\frac{\ln(2\overline W^2)}{u^2}\Big(\sum_i\kappa_i^{2/3}\Big)^3,\quad "
    r"\kappa_i=b_iQ_i\widetilde X_{i-1},\ " + UPSTREAM + r",\ " + HIDDEN,
    source="Bartlett, Foster & Telgarsky 2017, Theorem 3.3; with offsets own derivation",
    given={"family": _balls(), "activation": st.sampled_from(["relu", "relu", "tanh", "softplus"]), "share": SHARES},
    mutants={
        "two per cent less": {"less": 0.98},
        "without the data": {"dropped": (symbols.X_F,)},
        "without the spectral norms": {"dropped": (symbols.s,)},
        "u instead of its square": {"exponent": 1},
    },
    attained=True,
    examples=100,
    recheck=False,
    combinators=(spectral_cover,),
)
def spectral_published(
    family: Any, activation: str, share: float, less: float = 1.0, dropped: tuple[Any, ...] = (), exponent: int = 2
) -> tuple[Any, Any]:
    """Left: ln of a packing. Attained by one scalar layer (W = 1, 2W^2 = 2): an interval barely longer than 2u."""
    return _scale_free(PUBLISHED, family, activation, share, less, dropped, exponent)


@inequality(
    "L5.2-audited",
    r"\ln\mathcal N(\mathcal F,u)\le\frac8{u^2}\Big(\sum_i\kappa_i^{2/3}\Big)^3,\quad "
    r"\kappa_i=\omega_iQ_i\widetilde X_{i-1},\ " + MAUREY + r",\ " + UPSTREAM + r",\ " + HIDDEN,
    source="own audit of Bartlett, Foster & Telgarsky 2017, Theorem 3.3",
    given={"family": _balls(), "activation": st.sampled_from(["relu", "relu", "tanh", "softplus"]), "share": SHARES},
    mutants={
        "a twelfth": {"less": 1 / 12},
        "without the data": {"dropped": (symbols.X_F,)},
        "without the distances": {"dropped": (symbols.b, symbols.g)},
        "u instead of its square": {"exponent": 1},
    },
    examples=100,
    recheck=False,
    combinators=(spectral_cover,),
)
def spectral_audited(
    family: Any, activation: str, share: float, less: float = 1.0, dropped: tuple[Any, ...] = (), exponent: int = 2
) -> tuple[Any, Any]:
    """Left: ln of a packing. At most 1/8 by one scalar layer, where the ceiling and the centres cost nothing."""
    return _scale_free(AUDITED, family, activation, share, less, dropped, exponent)


def _scale_free(
    cover: Cover, family: Any, activation: str, share: float, less: float, dropped: tuple[Any, ...], exponent: int
) -> tuple[Any, Any]:
    layers, X, factors = family
    _lengths(layers, X)
    assume(0.001 < share < 1)
    images = np.stack([course(member, activation, X).outputs for member in _members(layers, factors)])
    u = _resolved(share * float(reals.norm(images[0], 2)))  # the first two members are f and -f
    known = forgotten(_class(layers, activation, X), *dropped)
    return math.log(_packing(images, u)), less * _radius(cover, known, len(layers)) ** 2 / u**exponent


@inequality(
    "L5.4-cover",
    r"\ln\mathcal N(\{J\},u;\|\cdot\|_{S,F})\le\frac8{u^2}\Big(\sum_i(\kappa^J_i)^{2/3}\Big)^3,\quad "
    r"\kappa^J_i=\omega_i\big(Q_i\sqrt n\,\alpha_{i-1}+T_i\widetilde X_{i-1}\big),\ "
    + r",\ ".join([MAUREY, UPSTREAM, CURVATURE, PARTIAL, HIDDEN]),
    source="own derivation",
    given={"family": _balls(), "activation": st.sampled_from(SMOOTH), "share": SHARES},
    mutants={
        "a twelfth": {"less": 1 / 12},
        "without the distances": {"dropped": (symbols.b, symbols.g)},
        "u instead of its square": {"exponent": 1},
    },
    examples=100,
    recheck=False,
    combinators=(jacobian_cover,),
)
def jacobians(
    family: Any, activation: str, share: float, less: float = 1.0, dropped: tuple[Any, ...] = (), exponent: int = 2
) -> tuple[Any, Any]:
    """Left: ln of a packing of the Jacobians. At most 1/8 by one scalar layer, as for the outputs."""
    layers, X, factors = family
    _lengths(layers, X)
    assume(0.001 < share < 1)
    images = np.stack([course(member, activation, X).jacobians for member in _members(layers, factors)])
    u = _resolved(share * float(reals.norm(images[0].reshape(-1), 2)))
    known = forgotten(_class(layers, activation, X), *dropped)
    return math.log(_packing(images, u)), less * _radius(JACOBIANS, known, len(layers)) ** 2 / u**exponent


def _ramps(outputs: Any, gamma: float) -> Any:
    """Ramp losses of the margins, (members, n, 1); the labels go round."""
    K = outputs.shape[2]
    y = np.arange(outputs.shape[1]) % K
    own = np.take_along_axis(outputs, y[None, :, None], axis=2)
    rivals = np.where(np.arange(K) == y[:, None], -np.inf, outputs).max(axis=2, keepdims=True)
    return np.clip(1 - (own - rivals) / gamma, 0, 1)


@st.composite
def _margins(draw: DrawFn) -> tuple[Layers, np.ndarray, np.ndarray]:
    """Balls of networks with at least two classes."""
    if draw(st.booleans()):  # two classes against each other
        rivals: Layers = (Affine(np.array([[1.0], [-1.0]]) * draw(scales(2)), np.zeros(2)),)
        return rivals, np.array([[draw(scales(3))]]), np.zeros((MEMBERS, 4))
    layers = draw(layered((1, 2), (2, 3), ("dense", "positive")))
    return layers, draw(samples(layers, decades=3)), draw(matrices(MEMBERS, 4)) / 4.0


@inequality(
    "L5.2-ceilings",
    r"\ln\mathcal N(r_\gamma\circ\mathcal M\circ\mathcal F,\sqrt n\,u)\le\ln(2W)\lceil u^{-2}\rceil"
    r"\Big(\sum_i\lceil C_i^{2/3}\rceil\Big)^3,\quad C_i=\frac{4}{\gamma\sqrt n}g_iQ_i\widetilde X_{i-1},\ "
    r"W=\max_iN_i,\ " + UPSTREAM + r",\ " + HIDDEN,
    source="Graf, Zeng, Rieck, Niethammer & Kwitt 2022; with offsets own derivation",
    given={"family": _margins(), "share": SHARES, "margin": st.one_of(st.just(2.0), positive(4.0))},
    mutants={
        "without the ceilings and the margin": {"dropped": (symbols.gamma,), "floor": True},
        "without the ceilings and the data": {"dropped": (symbols.X_F,), "floor": True},
    },
    examples=100,
    recheck=False,
    combinators=(kernel_cover_complexity,),
)
def kernel_ceilings(
    family: Any, share: float, margin: float, dropped: tuple[Any, ...] = (), floor: bool = False
) -> tuple[Any, Any]:
    """Left: ln of a packing of the ramp losses. The cover inside entry 11, loose: at least ln(2W).

    The ceilings hide what a radius is worth below 1, so the mutants leave them out.
    """
    layers, X, factors = family
    _lengths(layers, X)
    assume(0.001 < share < 1 and margin > 0)
    outputs = np.stack([course(member, "relu", X).outputs for member in _members(layers, factors)])
    gamma = _resolved(margin * float(np.abs(outputs[0]).max()))
    losses = _ramps(outputs, gamma)
    u = _resolved(share * float(np.linalg.norm(losses[0] - losses[1])) / (2 * math.sqrt(len(X))))
    known = forgotten(_class(layers, "relu", X) | {symbols.gamma: gamma}, *dropped)
    capacity = symbols.capacity_sum
    if floor:
        total = sp.Sum(symbols.capacity[i] ** sp.Rational(2, 3), (i, 1, L)) ** sp.Rational(3, 2)
        weight = reals.evaluate(total, known, KERNELS.parts, len(layers))
    else:
        weight = reals.evaluate(capacity, known, KERNELS.parts, len(layers))
    right = math.log(2 * known[symbols.W_kernel]) * weight**2 * math.ceil(u**-2)
    return math.log(_packing(losses, math.sqrt(len(X)) * u)), right


@st.composite
def _pairs(draw: DrawFn) -> tuple[Layers, Layers, np.ndarray]:
    """Layers, their change and one input."""
    if draw(st.integers(0, 3)) == 0:  # overlapping windows on a constant image
        image = draw(layered((1, 1), kinds=("averaging",)))
        return image, tuple(scaled(layer, np.array(-0.5)) for layer in image), np.ones((1, 9)) * draw(scales(2))
    layers = draw(layered())
    return layers, draw(changes(layers)), draw(samples(layers, 1))


def _moved(layers: Layers, change: Layers) -> Layers:
    return tuple(shifted(layer, by, 1) for layer, by in zip(layers, change, strict=True))


def _sensitivity(
    cover: ParametricCover, constants: sp.IndexedBase, pair: Any, activation: str, dropped: tuple[Any, ...]
) -> tuple[Any, Any, Any]:
    """Both networks at the input, and Sum constants_i ‖theta_i - theta_i'‖ of the package."""
    first, change, X = pair
    _lengths(first + change, X)
    second = _moved(first, change)
    known = values([first, second], activation) | {symbols.B: reals.norm(X, 2), symbols.epsilon: 0}
    known = forgotten(known, *dropped)
    if symbols.has_bias in dropped:
        known[symbols.has_bias] = dict.fromkeys(known[symbols.has_bias], 0)
    moves = {at + 1: reals.norm(parameter_vector(layer), 2) for at, layer in enumerate(change)}
    known[sp.IndexedBase("move")] = moves
    total = sp.Sum(constants[i] * sp.IndexedBase("move")[i], (i, 1, L))
    right = reals.evaluate(total, known, cover.parts, len(first))
    return course(first, activation, X), course(second, activation, X), right


def _allowance(*arrays: Any) -> float:
    return 2.0**-42 * sum(float(reals.norm(np.reshape(array, -1), 2)) for array in arrays)


@inequality(
    "L5.5-outputs",
    r"\|f(x)-\hat f(x)\|_2\le\sum_iK_i\|\theta_i-\hat\theta_i\|_2\ \text{for}\ \|x\|_2\le B'_0,\quad "
    + r",\ ".join([SENSITIVITY, UPSTREAM, SUPPORT]),
    source="own derivation",
    given={"pair": _pairs(), "activation": st.sampled_from(sorted(ACTIVATIONS))},
    mutants={
        "two per cent less": {"less": 0.98},
        "without the spectral norms": {"dropped": (symbols.s,)},
        "without the input": {"dropped": (symbols.B,)},
        "without the constant coordinate": {"dropped": (symbols.has_bias,)},
        "without the kernel positions": {"dropped": (symbols.k_pos,)},
    },
    attained=True,
    combinators=(parametric_cover,),
)
def sensitivity_of_outputs(
    pair: Any, activation: str, less: float = 1.0, dropped: tuple[Any, ...] = ()
) -> tuple[Any, Any, Any]:
    """Left exact at one input. Attained by one dense layer, and by aligned layers that shrink by little."""
    f, g, right = _sensitivity(PARAMETRIC, symbols.K_theta, pair, activation, dropped)
    return reals.norm(f.outputs - g.outputs, 2), less * right, _allowance(f.outputs, g.outputs, right)


@inequality(
    "L5.5-jacobians",
    r"\|J(x)-\hat J(x)\|_F\le\sum_iK'_i\|\theta_i-\hat\theta_i\|_2,\quad "
    + r",\ ".join([SENSITIVITY_OF_JACOBIANS, UPSTREAM, CURVATURE, PARTIAL, SUPPORT]),
    source="own derivation",
    given={"pair": st.one_of(_pairs(), poised()), "activation": st.sampled_from(SMOOTH)},
    mutants={
        "two per cent less": {"less": 0.98},
        "without the spectral norms": {"dropped": (symbols.s,)},
        "without the positions": {"dropped": (symbols.P_out, symbols.k_pos)},
        "without the input": {"dropped": (symbols.B,)},
    },
    attained=True,
    combinators=(parametric_jacobian_cover,),
)
def sensitivity_of_jacobians(
    pair: Any, activation: str, less: float = 1.0, dropped: tuple[Any, ...] = ()
) -> tuple[Any, Any, Any]:
    """Left exact at one input. Attained by one layer: a matrix, or a kernel that meets every output position whole."""
    f, g, right = _sensitivity(PARAMETRIC_JACOBIANS, symbols.K_theta_J, pair, activation, dropped)
    return reals.norm(f.jacobians - g.jacobians, 2), less * right, _allowance(f.jacobians, g.jacobians, right)


Family = tuple[Layers, Layers, Layers, np.ndarray]


@st.composite
def _parametrised(draw: DrawFn) -> Family:
    """A centre, two changes of the parameters and samples: theta^0 + tau change + tau' other, -1 <= tau, tau' <= 1.

    Among them one number times an image, and two weights that two samples see one by one.
    """
    size = draw(scales(2))
    kind = draw(st.sampled_from(["plain", "image", "corner"]))
    if kind == "image":
        image = (Convolution(np.full((1, 1, 1, 1), size), np.zeros(1), (1, 3, 3)),)
        return _nothing(image), image, _nothing(image), draw(samples(image, decades=3))
    if kind == "corner":
        along = [(Affine(size * row[None], np.zeros(1)),) for row in np.eye(2)]
        return _nothing(along[0]), along[0], along[1], np.eye(2) * draw(scales(3))
    centre = draw(layered((1, 2), kinds=("dense", "positive", "scalars")))
    change = centre if draw(st.booleans()) else draw(changes(centre))
    centre = _nothing(centre) if draw(st.booleans()) else centre
    return centre, change, _nothing(change), draw(samples(change, decades=3))


def _nothing(layers: Layers) -> Layers:
    return tuple(scaled(layer, np.array(0.0)) for layer in layers)


def _grid(family: Family) -> tuple[list[Layers], list[Layers]]:
    """Members of the parametrised class as dense layers, in order along each change, and its four corners."""
    centre, change, other, _ = family

    def at(tau: float, rho: float) -> Layers:
        return tuple(
            shifted(shifted(layer, by, tau), also, rho) for layer, by, also in zip(centre, change, other, strict=True)
        )

    corners = [at(*signs) for signs in itertools.product((1.0, -1.0), repeat=2)]
    flat = not any(np.any(weights(layer)) or np.any(layer.offset) for layer in other)
    taus = np.linspace(-1, 1, 33 if flat else 7)
    dense = [tuple(Affine(*operator(layer)) for layer in layers) for layers in (centre, change, other)]
    steps = [(tau, 0.0) for tau in taus] if flat else list(itertools.product(taus, taus))
    members: list[Layers] = [
        tuple(
            Affine(a.weight + t * b.weight + r * e.weight, a.offset + t * b.offset + r * e.offset)
            for a, b, e in zip(*dense, strict=True)
        )
        for t, r in steps
    ]
    return members, corners


def _parametric_class(family: Family, corners: list[Layers], activation: str) -> dict[Any, Any]:
    """Radii of the class: norms are convex, so the corners have the largest."""
    centre, _, _, X = family
    known = values(corners, activation)
    known[symbols.t] = {
        at + 1: max(
            float(np.linalg.norm(parameter_vector(layers[at]) - parameter_vector(centre[at]))) for layers in corners
        )
        for at in range(len(centre))
    }
    known[symbols.B] = float(np.linalg.norm(X, axis=1).max())
    return known


def _entropy(cover: ParametricCover, known: dict[Any, Any], u: float, depth: int) -> Any:
    return reals.evaluate(cover.step.conclusion.rhs, known | {sp.Symbol("u"): u}, cover.parts, depth)


def _attacks(X: Any, p: float, eps: float) -> Any:
    """Two opposite perturbations of size epsilon, along all ones or, for p < 2, along the first axis."""
    direction = np.ones(X.shape[1]) if p >= 2 else np.eye(X.shape[1])[0]
    step = eps * direction / float(reals.norm(direction, p))
    return np.concatenate([X + step, X - step])


ATTACKS = st.sampled_from([math.inf, math.inf, 2.0, 1.0, 3.0])
FINE = st.sampled_from([0.031, 0.031, 0.999, 0.15])


@inequality(
    "L5.5-jacobian-cover",
    r"\ln\mathcal N_\infty(\{J\},u)\le\sum_iN_i\ln\Big(1+\frac{2t_iLK'_i}u\Big),\quad "
    r"\|\theta_i-\theta^0_i\|_2\le t_i,\ "
    + r",\ ".join([SENSITIVITY_OF_JACOBIANS, UPSTREAM, CURVATURE, PARTIAL, SUPPORT])
    + r",\ B'_0=B",
    source="own derivation",
    given={"family": _parametrised(), "activation": st.sampled_from(SMOOTH), "share": FINE},
    mutants={
        "a fifth less": {"less": 0.8},
        "one parameter a layer": {"dropped": (symbols.N,)},
        "without the radii of the parameters": {"dropped": (symbols.t,)},
    },
    examples=100,
    recheck=False,
    combinators=(parametric_jacobian_cover,),
)
def parametric_jacobians(
    family: Any, activation: str, share: float, less: float = 1.0, dropped: tuple[Any, ...] = ()
) -> tuple[Any, Any]:
    """Left: ln of a packing of the Jacobians; as for the outputs, 0.84 by one number with 33 members."""
    centre, change, other, X = family
    _lengths(centre + change + other, X)
    members, corners = _grid(family)
    images = np.stack([course(member, activation, X).jacobians for member in members])
    u = _scale(images, share)
    known = forgotten(_parametric_class(family, corners, activation), *dropped)
    return math.log(_packing(images, u, sup=True)), less * _entropy(PARAMETRIC_JACOBIANS, known, u, len(centre))


def _scale(images: Any, share: float) -> float:
    """The share of half the distance of the first and the last member, or what is larger than all distances."""
    assume(0.001 < share < 1)
    ends = (images[0] - images[-1]).reshape(images.shape[1], -1)
    u, largest = share * float(np.linalg.norm(ends, axis=1).max()) / 2, float(np.abs(images).max())
    return u if u > 1e-9 * largest else 100 * (1 + largest)


@inequality(
    "L5.5-adversarial",
    r"\ln\mathcal N_\infty(\mathcal F,u)\le\sum_iN_i\ln\Big(1+\frac{2t_iLK_i}u\Big)\ \text{over}\ "
    r"\|x\|_2\le B,\|\delta\|_p\le\varepsilon,\ \|\theta_i-\theta^0_i\|_2\le t_i,\quad "
    r"B'_0=B+\varepsilon\max(1,d^{1/2-1/p}),\ " + r",\ ".join([SENSITIVITY, UPSTREAM, SUPPORT]),
    source="own derivation",
    given={
        "family": _parametrised(),
        "activation": st.sampled_from(["relu", "tanh", "softplus"]),
        "share": FINE,
        "p": ATTACKS,
        "eps": st.one_of(st.just(0.0), scales(3)),
    },
    mutants={
        "a fifth less": {"less": 0.8},
        "one parameter a layer": {"dropped": (symbols.N,)},
        "without the support": {"dropped": (symbols.B,)},
        "without the attack": {"still": True},
        "without the dimension": {"dropped": (symbols.d,)},
        "without the radii of the parameters": {"dropped": (symbols.t,)},
    },
    examples=100,
    recheck=False,
    combinators=(parametric_cover,),
)
def parametric_attacked(
    family: Any,
    activation: str,
    share: float,
    p: float,
    eps: float,
    less: float = 1.0,
    dropped: tuple[Any, ...] = (),
    still: bool = False,
) -> tuple[Any, Any]:
    """Left: ln of a packing in the largest norm over attacked samples, a lower bound of that over the attacked support.

    One number is covered by ceiling(tK/u) intervals where a volume argument pays 1 + 2tK/u: 0.84 with 33 members,
    1 only in the limit of ever finer ones; the same under attack, by one number times a constant image and an attack
    that moves every pixel alike.
    """
    centre, change, other, X = family
    assume(p >= 1 and eps >= 0)
    _lengths(centre + change + other, X)
    members, corners = _grid(family)
    images = np.stack([course(member, activation, _attacks(X, p, eps)).outputs for member in members])
    u = _scale(images, share)
    known = forgotten(_parametric_class(family, corners, activation), *dropped)
    known |= {symbols.epsilon: 0 if still else eps, symbols.inverse_p: 0 if p == math.inf else 1 / p}
    return math.log(_packing(images, u, sup=True)), less * _entropy(ATTACKED, known, u, len(centre))
