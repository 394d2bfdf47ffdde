r"""Adversarial training as a regulariser: inside one linear piece, ascent is the power method on the Jacobian."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds.measure.pr_norm import maximiser, operator_norm_pr, power_iterates, vector_norms
from verification.attack_set import AttackSet
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import chains, labels, matrices, positive, vectors
from verification.inequalities.strategies.attacked import EXPONENTS, logits, traced
from verification.inequalities.strategies.maximisers import (
    CLEAR,
    batch_of_one,
    dual_map,
    enumerated_norm,
    first_of,
    is_clear,
    move,
    vertices,
)
from verification.inequalities.strategies.networks import PIECEWISE_LINEAR, Chain
from verification.power_method import compare_objectives, infinite_step
from verification.training.regularisers.data_spectral import DataSpectralDistance
from verification.training.regularisers.penalty import stretch

ROTH = (
    "Roth, Kilcher & Hofmann 2020, Adversarial Training is a Form of Data-dependent Operator Norm Regularization; "
    "conditions: own derivation"
)
AWAY = 1e-3
"""Smallest |h_u| of a unit, since inside a linear piece none is on its kink; and smallest Jacobian."""
NUDGE = 1e-12
"""Step of the finite differences, which are taken in 35 digits."""
BEYOND = 30.0
"""How many times too large the radius is where a mutant forgets the linear piece."""


@dataclass(frozen=True)
class Piece:
    """A ball inside one linear piece of a chain.

    Attributes:
        chain: piecewise linear.
        x: input, (d,).
        start: of the power method, before it is put on the sphere, (d,).
        norm: "l2", "linf" or "l1".
        r: exponent of the logit norm: "1", "2" or "inf".
        share: of the piece's radius that the ball has; where that is infinite, the radius itself.
    """

    chain: Chain
    x: np.ndarray
    start: np.ndarray
    norm: str
    r: str
    share: float

    @property
    def p(self) -> float:
        """Exponent of the attack norm."""
        return EXPONENTS[self.norm]

    @property
    def exponents(self) -> tuple[float, float]:
        """P and r."""
        return self.p, float(self.r)

    @property
    def v0(self) -> Any:
        """The start on the unit sphere."""
        return dual_map(self.start, self.p)

    def radius(self, reach: float = 1.0) -> tuple[Any, float]:
        """J(x), not 0, and eps, strictly inside the piece; `reach` times as large for a mutant."""
        assume(0.01 <= self.share <= 0.95)
        state = self.chain.network.at(self.x)
        assume(reals.norm(state.jacobian, 2) > AWAY and all(abs(h) >= AWAY for h, _ in state.kinks))
        q = reals.dual(self.p)
        distances = [abs(h) / reals.norm(slope, q) for h, slope in state.kinks if (slope != 0).any()]
        eps = self.share * float(min(distances, default=1.0))
        assume(eps < 1e3)
        return state.jacobian, reach * eps

    def rounding(self, eps: float) -> float:
        """What float64 may lose in f(x + delta) - f(x): a few rounding errors of the largest sums on the way."""
        size = float(np.linalg.norm(self.x) + eps)
        for weight, offset in zip(self.chain.weights, self.chain.offsets, strict=True):
            size = float(np.linalg.norm(weight)) * size + float(np.linalg.norm(offset))
        return 2.0**-46 * (1 + size)

    def moved(self, deltas: Any) -> Any:
        """f(x + delta) - f(x) of several perturbations, (m, K)."""
        points = reals.real(self.x) + np.concatenate([0 * deltas[:1], deltas])
        z = logits(self.chain, points)
        return z[1:] - z[:1]


@st.composite
def _pieces(
    draw: DrawFn,
    norms: tuple[str, ...] = ("l2", "linf", "l1"),
    exponents: tuple[str, ...] = ("2", "1", "inf"),
) -> Piece:
    """Chains with inputs at some distance from every kink, in a piece with J != 0 wherever possible.

    Half of them are generic and have several layers, units and inputs: beyond the piece their Jacobian turns.
    """
    if draw(st.booleans()):
        chain = draw(chains(PIECEWISE_LINEAR, (1, 3), (1, 3), (1, 3), (2, 3)))
        x, start = (draw(vectors(chain.weights[0].shape[1], 1.0)) for _ in range(2))
    else:
        rng = np.random.default_rng(draw(st.integers(0, 999)))
        widths = [draw(st.integers(2, 3)) for _ in range(draw(st.integers(3, 4)))]
        weights = tuple(rng.normal(size=(rows, columns)).round(2) for columns, rows in itertools.pairwise(widths))
        offsets = tuple(rng.normal(size=rows).round(2) for rows in widths[1:])
        chain = Chain(weights, offsets, draw(st.sampled_from(PIECEWISE_LINEAR)))
        x, start = (rng.normal(size=widths[0]).round(2) for _ in range(2))
    if chain.depth > 1:
        # Unit 0 of every hidden layer is active, and the others are moved off their kinks.
        off_kinks, z = [], x
        for weight, offset in zip(chain.weights[:-1], chain.offsets[:-1], strict=True):
            h = weight @ z + offset
            target = np.where(np.abs(h) < 0.25, 0.5, h)
            target[0] = abs(target[0])
            off_kinks.append(offset + (target - h))
            z = np.maximum(target, 0.0) if chain.activation == "relu" else np.where(target > 0, target, target / 4)
        chain = Chain(chain.weights, (*off_kinks, chain.offsets[-1]), chain.activation)
    share = draw(st.sampled_from([0.5, 0.9, 0.05]))
    return Piece(chain, x, start, draw(st.sampled_from(norms)), draw(st.sampled_from(exponents)), share)


def _project(point: Any, norm: str, eps: Any) -> Any:
    """Euclidean projection onto a ball: scaling, clipping, or soft thresholding after sorting."""
    if norm == "linf":
        return np.clip(point, -eps, eps)
    if reals.norm(point, EXPONENTS[norm]) <= eps:
        return point
    if norm == "l2":
        return eps * point / reals.norm(point, 2)
    sizes = np.sort(np.abs(point))[::-1]
    excess = np.cumsum(sizes) - eps
    count = max(k for k in range(1, len(sizes) + 1) if sizes[k - 1] > excess[k - 1] / k)
    return np.sign(point) * np.maximum(np.abs(point) - excess[count - 1] / count, 0.0)


LONG = {"l2": 1e14, "linf": 1e7, "l1": 1e7}
"""Length of a step, in units of eps, that is as good as infinite: only l2 never arrives."""
SHORT_OF = {"l2": 1e-13, "linf": 2.0**-50, "l1": 1e-8}
"""What such a step leaves to the limit or to rounding, in units of eps."""


def _ascended(delta: Any, gradient: Any, norm: str, eps: float) -> Any:
    return _project(delta + LONG[norm] * eps * gradient / np.abs(gradient).max(), norm, eps)


@inequality(
    "L3.4-limit",
    r"\lim_{t\to\infty}\Pi_{\{\|z\|_p\le\varepsilon\}}(\delta+t\,g)=\text{the package's infinite step},"
    r"\quad\text{compared along any }w",
    source="own derivation",
    given={
        "delta": vectors(3, 1.0),
        "gradient": vectors(3, 4.0),
        "w": vectors(3),
        "norm": st.sampled_from(["l2", "linf", "l1"]),
        "eps": positive(2.0),
    },
    mutants={
        "a vertex even where there are several": {"vertex": True},
        "the dual exponent swapped": {"swapped": True},
        "no projection, only a direction": {"direction": True},
        "a finite step": {"finite": True},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def infinite_steps(
    delta: Any,
    gradient: Any,
    w: Any,
    norm: str,
    eps: float,
    vertex: bool = False,
    swapped: bool = False,
    direction: bool = False,
    finite: bool = False,
) -> tuple[Any, Any, Any]:
    """A projection from far out against the package's limit, ties and vanishing coordinates included.

    The left side comes as close to the limit as float64 lets it; coordinates that nearly tie are left out.
    """
    size = np.append(np.abs(gradient), 0.0)
    largest = size.max()
    gaps = [abs(a - b) for a, b in itertools.combinations(size, 2)]
    assume(1e-3 < eps < 1e3 and largest > 1e-3 and all(gap == 0 or gap > 1e-3 * largest for gap in gaps))
    delta = _project(delta, norm, eps)
    p = EXPONENTS[norm]
    if finite:
        claimed = _project(delta + gradient, norm, eps)
    elif direction:
        claimed = eps * gradient / reals.norm(gradient, 2)
    elif vertex or swapped:
        claimed = eps * dual_map(gradient, reals.dual(p) if swapped else p)
    else:
        claimed = first_of(infinite_step(batch_of_one(delta), batch_of_one(gradient), AttackSet(norm, eps)))
    allowance = (SHORT_OF[norm] + 2.0**-45) * eps * float(np.abs(w).sum())
    return float(_ascended(delta, gradient, norm, eps) @ w), float(claimed @ w), allowance


@inequality(
    "L3.4-iterates",
    r"\delta_k=\varepsilon v_k,\quad\delta_{k+1}=\lim_{t\to\infty}\Pi(\delta_k+t\nabla\|f(x+\delta)-f(x)\|_r),"
    r"\quad\delta_0=\varepsilon v_0,\ \varepsilon<\varrho(x)\text{, the distance to the next kink;}"
    r"\quad\text{compared along any }w",
    source=ROTH,
    given={"case": _pieces(), "w": vectors(3), "k": st.integers(1, 3)},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "without the projection onto the ball": {"ball": "l2"},
        "the dual exponent of the logits": {"exponent": reals.dual},
        "a fiftieth shorter": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    examples=100,
    recheck=False,
)
def ascent(
    case: Piece, w: Any, k: int, reach: float = 1.0, ball: str = "", exponent: Any = float, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The network's own gradients and projections from far out, against the package's power method on J(x).

    Ties and vanishing coordinates are left out. What rounding does to an iterate is followed from step to step: where
    the next one is a vertex, it is forgotten; on the Euclidean ball it may grow.
    """
    J, eps = case.radius(reach)
    p, r = case.exponents
    v, delta, error = case.v0, eps * case.v0, 0.0
    for _ in range(k):
        image, u, after = J @ v, *move(J, v, p, reals.dual(r))
        pulled = J.T @ u
        assume(is_clear(image, reals.dual(r)) and is_clear(pulled, p))
        largest = float(np.linalg.norm(J))
        assume(np.linalg.norm(image) > CLEAR * largest)
        lost = 2 * (largest * error + case.rounding(eps) / eps) / np.linalg.norm(image)
        lost = 2 * largest * lost / np.linalg.norm(pulled)
        assume(lost < CLEAR / 10)
        error = float(lost) + SHORT_OF[case.norm] + 2.0**-46 if p == 2 else SHORT_OF[case.norm]
        v = after
        moved = case.moved(delta[None])[0]
        gradient = case.chain.network.jacobian(case.x + delta).T @ dual_map(moved, reals.dual(r))
        assume((gradient != 0).any())
        delta = _ascended(delta, gradient, case.norm, eps)
    assume(error < 1e-6)
    iterated = power_iterates(batch_of_one(J), EXPONENTS[ball] if ball else p, exponent(r), batch_of_one(case.v0))
    claimed = factor * eps * first_of(next(itertools.islice(iterated, k, None)))
    along = np.resize(w, len(case.x))
    return float(delta @ along), float(claimed @ along), (error + 2.0**-44) * eps * float(np.abs(along).sum())


@inequality(
    "L3.4-reaches",
    r"\sigma_1\cos\varphi\le\|Jv_k\|_2,\quad\varphi:\tan\varphi=(\sigma_2/\sigma_1)^{2k}\tan\theta_0,"
    r"\ \theta_0=\angle(v_0,\text{top right singular vector})",
    source="textbook power iteration",
    given={"J": matrices((1, 3), 3, 2), "start": vectors(3), "k": st.integers(1, 4)},
    mutants={
        "at twice the rate": {"rate": 4},
        "from every start": {"angle": 0.0},
        "a fiftieth too large": {"factor": 0.98},
    },
    attained=True,
    recheck=False,
)
def reaches(J: Any, start: Any, k: int, rate: int = 2, angle: float = 1.0, factor: float = 1.0) -> tuple[Any, Any]:
    """Why p = r = 2 reaches the maximum almost surely; attained by starts along the top singular vector."""
    assume((start != 0).any())
    _, sizes, right = np.linalg.svd(J)
    second = sizes[1] if len(sizes) > 1 else 0.0
    v0 = start / np.linalg.norm(start)
    cosine = abs(float(right[0] @ v0))
    assume(sizes[0] > 0 and second < 0.99 * sizes[0] and cosine > 1e-3)
    tangent = angle * (second / sizes[0]) ** (rate * k) * math.sqrt(max(0.0, 1 - cosine**2)) / cosine
    v = first_of(next(itertools.islice(power_iterates(batch_of_one(J), 2.0, 2.0, batch_of_one(v0)), k, None)))
    return float(sizes[0]) / math.sqrt(1 + tangent**2), factor * reals.norm(J @ v, 2)


@inequality(
    "L3.5-value",
    r"\max_{\|\delta\|_p\le\varepsilon}\|f(x)-f(x+\delta)\|_r=\varepsilon\|J(x)\|_{p\to r}"
    r"\quad(\varepsilon<\varrho(x)\text{, the distance to the next kink)}",
    source=ROTH,
    given={"case": _pieces()},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "p and r swapped": {"swapped": True},
        "the spectral norm": {"spectral": True},
        "a radius squared": {"power": 2},
        "a fiftieth less": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    examples=100,
    recheck=False,
)
def largest_distance(
    case: Piece, reach: float = 1.0, swapped: bool = False, spectral: bool = False, power: int = 1, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The network at every vertex that may be farthest against the package's operator norm.

    A convex function is largest at a vertex of the ball; for the Euclidean ball the vertices are those of the dual
    ball of the logits, or singular vectors. The loss and lambda are the same on both sides and left out.
    """
    J, eps = case.radius(reach)
    p, r = case.exponents
    distance = reals.norm(case.moved(eps * vertices(J, p, r)), r, axis=1).max()
    exponents = (2.0, 2.0) if spectral else (r, p) if swapped else (p, r)
    packaged = operator_norm_pr(batch_of_one(J), *exponents).upper.item()
    return distance, factor * eps**power * packaged, 4 * case.rounding(eps)


@inequality(
    "L3.5-compared",
    r"\max_\delta[\ell+\lambda\|f(x)-f(x+\delta)\|_r]-\ell=\lambda\varepsilon\|J(x)\|_{p\to r}"
    r"\quad(\text{the maximum as the package finds it; }\varepsilon<\varrho(x)\text{, the distance to the next kink)}",
    source=ROTH,
    given={"case": _pieces(), "y": labels(2), "strength": positive(4.0)},
    mutants={"beyond the piece": {"reach": BEYOND}, "lambda twice": {"power": 2}, "a fiftieth less": {"factor": 0.98}},
    relation="==",
    attained=True,
    examples=30,
    recheck=False,
)
def compared_objectives(
    case: Piece, y: int, strength: float, reach: float = 1.0, power: int = 1, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The package's ascent on the network against the operator norm by enumeration, with the loss taken off."""
    J, eps = case.radius(reach)
    p, r = case.exponents
    assume(1e-3 < strength < 1e3)
    z = case.chain.network.logits(case.x)
    loss = reals.cross_entropy(z, y)
    found = compare_objectives(
        case.chain.network.torch(),
        traced(case.chain),
        batch_of_one(case.x),
        torch.tensor([y]),
        case.norm,
        eps,
        r,
        strength,
        steps=3,
    )
    allowance = 8 * (1 + strength) * case.rounding(eps) + 2.0**-46 * float(loss)
    return found.perturbed.item() - loss, factor * strength**power * eps * enumerated_norm(J, p, r), allowance


@dataclass(frozen=True)
class Trained:
    """A ball inside a linear piece, and a direction in which the parameters move.

    Attributes:
        case: the ball.
        weights: of the direction, one array per layer.
        offsets: of the direction, one array per layer.
    """

    case: Piece
    weights: tuple[np.ndarray, ...]
    offsets: tuple[np.ndarray, ...]

    def at(self, t: Any, first: int = 0) -> Chain:
        """The chain after a step t along the direction, the layers before `first` kept as they are."""
        chain = self.case.chain

        def moved(values: Any, directions: Any) -> Any:
            pairs = enumerate(zip(values, directions, strict=True))
            return tuple(
                reals.real(value) + (t if layer >= first else 0 * t) * reals.real(direction)
                for layer, (value, direction) in pairs
            )

        return Chain(moved(chain.weights, self.weights), moved(chain.offsets, self.offsets), chain.activation)

    def slope(self, value: Any, only_last: bool = False) -> float:
        """Derivative along the direction of a function of J, by a central difference in 35 digits."""
        with reals.precise():
            t, first = reals.real(NUDGE), len(self.weights) - 1 if only_last else 0
            ends = [value(self.at(sign * t, first).network.jacobian(self.case.x)) for sign in (1, -1)]
            return float((ends[0] - ends[1]) / (2 * t))

    def derivative(self, model: torch.nn.Module, value: torch.Tensor) -> float:
        """The same of a torch value, by its gradients in the parameters."""
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
        directions = [part for pair in zip(self.weights, self.offsets, strict=True) for part in pair]
        return sum(float((g.numpy() * d).sum()) for g, d in zip(gradients, directions, strict=True))

    def size(self, eps: float) -> float:
        """How large the sums are that a derivative along the direction consists of, from above."""

        def norms_of(weights: Any, offsets: Any) -> list[float]:
            pairs = zip(weights, offsets, strict=True)
            return [float(np.linalg.norm(weight)) + float(np.linalg.norm(offset)) for weight, offset in pairs]

        norms = [1 + size for size in norms_of(self.case.chain.weights, self.case.chain.offsets)]
        moves = norms_of(self.weights, self.offsets)
        product = math.prod(norms) * (1 + float(np.linalg.norm(self.case.x)) + eps)
        return product * sum(move / norm for move, norm in zip(moves, norms, strict=True))


@st.composite
def _trained(
    draw: DrawFn, norms: tuple[str, ...] = ("l2", "linf", "l1"), exponents: tuple[str, ...] = ("2", "1", "inf")
) -> Trained:
    case = draw(_pieces(norms, exponents))
    chain = case.chain
    weights = tuple(draw(matrices(*weight.shape)) for weight in chain.weights)
    return Trained(case, weights, tuple(draw(vectors(len(offset), 1.0)) for offset in chain.offsets))


def _is_unique(J: Any, p: float, r: float) -> bool:
    """Whether the maximiser of ‖Jv‖_r is unique up to its sign, by far."""
    if p == r == 2:
        sizes = reals.singular_values(J)
        return len(sizes) == 1 or bool(sizes[1] < 0.9 * sizes[0])
    tried = vertices(J, p, r)
    values = reals.norm(tried @ J.T, r, axis=1)
    top = tried[int(np.argmax(values))]
    same = np.minimum(np.abs(tried - top).max(axis=1), np.abs(tried + top).max(axis=1)) < CLEAR
    return bool((values[~same] < (1 - CLEAR) * values.max()).all())


@inequality(
    "L3.5-gradients",
    r"\nabla_\theta\|f_\theta(x)-f_\theta(x+\delta)\|_r=\varepsilon\nabla_\theta\|J_\theta(x)\|_{p\to r}"
    r"\quad(\delta\text{ the only maximiser, frozen; }\varepsilon<\varrho(x)\text{, the distance to the next kink)},"
    r"\quad\text{compared along any }\dot\theta",
    source=ROTH,
    given={"trained": _trained()},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "the last layer only": {"only_last": True},
        "the dual exponent of the logits": {"exponent": reals.dual},
        "a fiftieth less": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    examples=80,
    recheck=False,
)
def gradients(
    trained: Trained, reach: float = 1.0, only_last: bool = False, exponent: Any = float, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """Automatic differentiation at the package's maximiser, frozen, against differences with maximisers found anew.

    The differences enumerate vertices or take all singular values in 35 digits. Maximisers that nearly tie are left
    out: there the right side has a kink.
    """
    case = trained.case
    J, eps = case.radius(reach)
    p, r = case.exponents
    assume(_is_unique(J, p, r))
    delta = eps * maximiser(batch_of_one(J), p, r)
    image = J @ (first_of(delta) / eps)
    assume(is_clear(image, reals.dual(r)))
    model, x = case.chain.network.torch(), batch_of_one(case.x)
    moved = model(x + delta) - model(x)
    left = trained.derivative(model, vector_norms(moved, r, 1).sum())
    lost = 2 * case.rounding(eps) / (eps * float(np.linalg.norm(image))) + 2.0**-42
    assume(lost < 1e-7)
    right = trained.slope(lambda jacobian: enumerated_norm(jacobian, p, exponent(r)), only_last)
    return left, factor * eps * right, lost * trained.size(eps)


@inequality(
    "L3.5-penalty",
    r"\mathrm{DataSpectralDistance}=\tfrac12\|f(x+\varepsilon v)-f(x)\|_2^2\le\tfrac{\varepsilon^2}2\sigma_1(J)^2"
    r"\quad(v\text{ after 5 power steps},\ \varepsilon<\varrho(x)\text{, the distance to the next kink)}",
    source=ROTH,
    given={"case": _pieces(("l2",), ("2",))},
    mutants={
        "beyond the piece": {"reach": BEYOND},
        "the radius once more": {"power": 3},
        "a fiftieth less": {"factor": 0.98},
    },
    attained=True,
    examples=60,
    recheck=False,
)
def penalty(case: Piece, reach: float = 1.0, power: int = 2, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """The package's penalty from a random start against all singular values; attained where they lie apart."""
    J, eps = case.radius(reach)
    generator = torch.Generator().manual_seed(0)
    model, x = case.chain.network.torch(), batch_of_one(case.x)
    found = DataSpectralDistance(eps, 5)(model, x, torch.tensor([0]), generator).item()
    size = math.sqrt(2 * found)
    return found, factor * eps**power * reals.spectral(J) ** 2 / 2, 4 * case.rounding(eps) * (size + case.rounding(eps))


@inequality(
    "L3.5-frozen",
    r"\nabla_\theta(u^\top J_\theta v)^2=\nabla_\theta\sigma_1(J_\theta)^2"
    r"\quad(u,v\text{ the top singular vectors, frozen}),\quad\text{compared along any }\dot\theta",
    source="Danskin's theorem",
    given={"trained": _trained(("l2",), ("2",))},
    mutants={
        "the gradient of the norm": {"power": 1},
        "all singular values": {"all_of_them": True},
        "the last layer only": {"only_last": True},
        "a fiftieth less": {"factor": 0.98},
    },
    relation="==",
    attained=True,
    examples=80,
    recheck=False,
)
def frozen(
    trained: Trained, power: int = 2, all_of_them: bool = False, only_last: bool = False, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The package's penalised quantity, differentiated automatically, against differences in 35 digits."""
    case = trained.case
    J, eps = case.radius()
    assume(_is_unique(J, 2.0, 2.0))
    left, sizes, right = np.linalg.svd(J)
    model = case.chain.network.torch()
    stretched = stretch(model, batch_of_one(case.x), batch_of_one(left[:, 0]), batch_of_one(right[0])).square().sum()

    def size(jacobian: Any) -> Any:
        return (reals.norm(jacobian, 2) if all_of_them else reals.spectral(jacobian)) ** power

    allowance = 2.0**-42 * trained.size(eps) * (1 + float(sizes[0]))
    return trained.derivative(model, stretched), factor * trained.slope(size, only_last), allowance
