r"""Empirical Rademacher complexity of small classes, from below: expectation over all signs of the best member tried.

A sample is a few distinct points, each with a multiplicity. The supremum over a class is convex in the sums S_j of the
signs of equal points, so by Jensen it does not grow when |S_j| is replaced by its mean given the sign: the complexity
is at least E_e sup_g (1/n) Sum_j e_j E|S_j| g(x_j) over plain signs e. That makes n = 10^8 as cheap as n = 2, and large
samples are what exposes a wrong power of n.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bounds.activations import ActivationFacts, activation
from bounds.by_hand import Norms
from verification.inequalities import reals
from verification.inequalities.inequality import assume
from verification.inequalities.strategies import scales
from verification.inequalities.strategies.networks import ACTIVATIONS, SLOPE

Members = tuple[list[np.ndarray], list[np.ndarray]]
"""Weights (members, out, in) and offsets (members, out), layer by layer."""

RANDOM_MEMBERS = 8


@dataclass(frozen=True)
class Sample:
    """Points x_j, (m, d), with labels and multiplicities."""

    x: np.ndarray
    y: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        """Size of the sample."""
        return sum(self.counts)

    @property
    def frobenius(self) -> float:
        """‖X‖_F, equal points counted."""
        return math.sqrt(float((np.array(self.counts) * (self.x**2).sum(axis=1)).sum()))

    @property
    def column(self) -> float:
        """max_j‖X_{:,j}‖_2."""
        return math.sqrt(float((np.array(self.counts)[:, None] * self.x**2).sum(axis=0).max()))

    def radius(self, p: float = 2) -> float:
        """max_j‖x_j‖_p."""
        return float(reals.norm(self.x, p, axis=1).max())


@dataclass(frozen=True)
class Ball:
    """The networks with ‖W_i - M_i‖ <= r_i and ‖c_i‖_1 <= omega_i, in a norm that is said where the ball is used.

    Attributes:
        references: M_i, (d_i, d_{i-1}).
        radii: r_i.
        offsets: omega_i.
        activation: name in ACTIVATIONS.
    """

    references: tuple[np.ndarray, ...]
    radii: tuple[float, ...]
    offsets: tuple[float, ...]
    activation: str

    @property
    def widths(self) -> tuple[int, ...]:
        """d_0..d_L."""
        return (self.references[0].shape[1], *(M.shape[0] for M in self.references))

    @property
    def spectral(self) -> tuple[float, ...]:
        """‖M_i‖_2 + r_i: bounds ‖W_i‖_2 over Frobenius and (2,1) balls, but not over those of the row 1-norm."""
        return tuple(reals.spectral(M) + r for M, r in zip(self.references, self.radii, strict=True))

    @property
    def facts(self) -> ActivationFacts:
        """Constants of the activation."""
        if self.activation == "leaky_relu":
            return activation("leaky_relu", negative_slope=SLOPE)
        return activation(self.activation)

    def output_scale(self, radius: float) -> float:
        """Size of ‖f(x)‖_2 for ‖x‖_2 <= radius; an upper bound where `spectral` is one."""
        facts, sizes = self.facts, list(zip(self.spectral, self.offsets, self.widths, strict=False))
        for i, (s, omega, width) in enumerate(sizes):
            if i:
                radius = facts.rho * radius + math.sqrt(width) * facts.at_zero
            radius = s * radius + omega
        return radius

    def norms(self, sample: Sample, eps: float = 0.0, norm: str = "l2") -> Norms:
        """The numbers of the class and the sample that the catalogue's formulas take."""
        widths, facts = self.widths, self.facts
        inner = len(self.radii) - 1
        pairs = list(zip(self.references, self.radii, strict=True))
        return Norms(
            s=self.spectral,
            a=tuple(reals.norm(M, 2) + r for M, r in pairs),
            b=tuple(r + omega for r, omega in zip(self.radii, self.offsets, strict=True)),
            m=tuple(float(np.abs(M).sum(axis=1).max()) + r for M, r in pairs),
            c=self.offsets,
            t=tuple(math.hypot(r, omega) for r, omega in zip(self.radii, self.offsets, strict=True)),
            widths=widths,
            bias=tuple(omega > 0 for omega in self.offsets),
            rho=(facts.rho,) * inner,
            beta=None if facts.beta is None else (facts.beta,) * inner,
            at_zero=(facts.at_zero,) * inner,
            n=sample.n,
            classes=widths[-1],
            d=widths[0],
            X_F=sample.frobenius,
            X_col=sample.column,
            B=sample.radius(),
            B_p=sample.radius({"l1": 1.0, "l2": 2.0, "linf": math.inf}[norm]),
            eps=eps,
            norm=norm,
        )


def admissible(ball: Ball, sample: Sample) -> None:
    """Leaves out what is no class, and sizes that float64 cannot hold."""
    assume(all(r >= 0 for r in ball.radii + ball.offsets))
    sizes = [*ball.radii, *ball.offsets, *(float(np.abs(M).max()) for M in ball.references)]
    assume(max(sizes) < 1e30 and float(np.abs(sample.x).max()) < 1e30)


def mean_absolute_sum(count: int) -> float:
    """E|S| of a sum of signs, exact up to 1000 signs and from below beyond.

    C(2k, k)/4^k >= 1/sqrt(pi (k + 1/2)), and a further sign of an odd sum changes nothing.

    >>> [mean_absolute_sum(count) for count in (1, 2, 3)], 0.7974 < mean_absolute_sum(1001) / 1001**0.5 < 0.7979
    ([1.0, 1.0, 1.5], True)
    """
    k = (count - 1) // 2
    if count <= 1000:
        return float((2 * k + 1) * math.comb(2 * k, k) / 4**k)
    return (2 * k + 1) / math.sqrt(math.pi * (k + 0.5))


def weighted_signs(counts: Sequence[int]) -> np.ndarray:
    """e_j E|S_j| for all 2^m sign patterns, (2^m, m)."""
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(counts))))
    weighted: np.ndarray = signs * np.array([mean_absolute_sum(count) for count in counts])
    return weighted


def complexity_below(values: np.ndarray, sample: Sample) -> float:
    """Lower bound of the complexity of a class that contains the functions with these values, (members, m).

    The first member is subtracted from all, which changes no complexity and makes that of a single function 0.
    """
    sums = weighted_signs(sample.counts) @ (values - values[0]).T
    return float(sums.max(axis=1).mean()) / sample.n


def directions(sample: Sample, measure: str) -> np.ndarray:
    """Unit rows for a first layer: the best answers of a linear class to every sign pattern, and each point.

    Args:
        sample: the points.
        measure: "rows" for unit l_1 norm; otherwise l_2.
    """
    x = sample.x
    signs = weighted_signs(sample.counts)
    found = np.concatenate([signs @ x, signs @ np.linalg.pinv(x, rcond=1e-6).T, x, -x, np.eye(x.shape[1])])
    if measure == "rows":
        found = np.concatenate([found, np.sign(found), -np.eye(x.shape[1])])
    largest = np.abs(found).max(axis=1, keepdims=True)
    found = np.where(largest > 0, found, 1.0) / np.where(largest > 0, largest, 1.0)
    size = np.abs(found).sum(axis=1) if measure == "rows" else np.linalg.norm(found, axis=1)
    unit: np.ndarray = np.unique(found / size[:, None], axis=0)
    return unit


def _size(V: np.ndarray, measure: str) -> np.ndarray:
    """Norm of each matrix of a batch: Frobenius, (2,1) summed over rows, or largest row 1-norm."""
    size: np.ndarray
    if measure == "frobenius":
        size = np.sqrt((V**2).sum(axis=(-2, -1)))
    elif measure == "two-one":
        size = np.sqrt((V**2).sum(axis=-1)).sum(axis=-1)
    else:
        size = np.abs(V).sum(axis=-1).max(axis=-1)
    return size


def _heads(classes: int, measure: str) -> np.ndarray:
    """Columns of a last layer: every output up and down, one output against another."""
    eye = np.eye(classes)
    rows = [*eye, *-eye, *(eye[a] - eye[b] for a, b in itertools.permutations(range(classes), 2))]
    if measure == "rows":
        rows += [2 * e - 1 for e in eye] + [1 - 2 * e for e in eye]
    found = np.array(rows)
    unit: np.ndarray = found / _size(found[:, :, None], measure)[:, None]
    return unit


def members(ball: Ball, sample: Sample, measure: str) -> Members:
    """Members of a ball: its centre, rank-one networks that pass one direction of the inputs on, and random ones.

    Args:
        ball: the class.
        sample: whose directions the aligned members look along.
        measure: norm of the ball: "frobenius", "two-one" (over it, the others are at most r_i too) or "rows".
    """
    rng = np.random.default_rng(0)
    depth, classes = len(ball.radii), ball.widths[-1]
    looks, heads = directions(sample, measure), _heads(classes, measure)
    shifts = np.array(list(itertools.product((0.0, 1.0, -1.0), repeat=2))) if any(ball.offsets) else np.zeros((1, 2))
    look, head, shift = (
        grid.ravel() for grid in np.meshgrid(*(np.arange(len(each)) for each in (looks, heads, shifts)), indexing="ij")
    )
    weights, offsets = [], []
    for i, (M, r, omega) in enumerate(zip(ball.references, ball.radii, ball.offsets, strict=True), start=1):
        out, inner = M.shape
        incoming = looks[look] if i == 1 else np.eye(inner)[:1]
        outgoing = heads[head] if i == depth else np.eye(out)[:1]
        aligned = np.broadcast_to(outgoing[:, :, None] * incoming[:, None, :], (len(look), out, inner))
        random = rng.normal(size=(RANDOM_MEMBERS, out, inner))
        random /= _size(random, measure)[:, None, None]
        weights.append(M + r * np.concatenate([np.zeros((1, out, inner)), aligned, random]))
        sign = shifts[shift][:, 1 if i == depth else 0]
        spread = np.abs(outgoing).sum(axis=1, keepdims=True)
        moved = sign[:, None] * np.broadcast_to(outgoing / spread, (len(look), out))
        random = rng.normal(size=(RANDOM_MEMBERS, out))
        random /= np.abs(random).sum(axis=1, keepdims=True)
        offsets.append(omega * np.concatenate([np.zeros((1, out)), moved, random]))
    return weights, offsets


def outputs(networks: Members, activation_name: str, x: np.ndarray) -> np.ndarray:
    """f(x_j) of every member, (members, m, K)."""
    phi, _ = ACTIVATIONS[activation_name]
    z = x[None]
    for i, (W, c) in enumerate(zip(*networks, strict=True)):
        z = np.matmul(phi(z) if i else z, W.transpose(0, 2, 1)) + c[:, None, :]
    return z


def outputs_and_jacobians(networks: Members, activation_name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f(x_j), (members, m, K), and J(x_j), (members, m, K, d)."""
    phi, slope = ACTIVATIONS[activation_name]
    z, J = x[None], np.eye(x.shape[1])[None, None]
    for i, (W, c) in enumerate(zip(*networks, strict=True)):
        if i:
            J = slope(z)[..., None] * J
            z = phi(z)
        z = np.matmul(z, W.transpose(0, 2, 1)) + c[:, None, :]
        J = np.matmul(W[:, None], J)
    return z, np.broadcast_to(J, (*z.shape, x.shape[1]))


def margins(logits: np.ndarray, y: Sequence[int]) -> np.ndarray:
    """z_y - max_{k != y} z_k, (members, m)."""
    own = np.stack([logits[:, j, label] for j, label in enumerate(y)], axis=1)
    rival = np.stack([np.delete(logits[:, j], label, axis=1).max(axis=1) for j, label in enumerate(y)], axis=1)
    gaps: np.ndarray = own - rival
    return gaps


def attacked_margins(ball: Ball, networks: Members, sample: Sample, eps: float, q: float) -> np.ndarray:
    """Exact worst margins of linear networks, and of chains whose hidden layers have one unit, (members, m).

    The hidden unit is a monotone function of w·x, which ranges over [w·x - eps‖w‖_q, w·x + eps‖w‖_q], and the margin is
    a concave function of the unit, so the minimum is at an end.
    """
    weights, offsets = networks
    if len(weights) == 1:
        W, c = weights[0], offsets[0]
        found = []
        for j, label in enumerate(sample.y):
            gap = W[:, [label]] - np.delete(W, label, axis=1)
            shift = c[:, [label]] - np.delete(c, label, axis=1)
            found.append((gap @ sample.x[j] + shift - eps * reals.norm(gap, q, axis=2)).min(axis=1))
        return np.stack(found, axis=1)
    phi, _ = ACTIVATIONS[ball.activation]
    h = sample.x @ weights[0][:, 0].T + offsets[0][:, 0]  # (m, members)
    reach = eps * reals.norm(weights[0][:, 0], q, axis=1)
    ends = []
    for sign in (1.0, -1.0):
        z = (h + sign * reach).T[:, :, None]
        for W, c in zip(weights[1:], offsets[1:], strict=True):
            z = np.matmul(phi(z), W.transpose(0, 2, 1)) + c[:, None, :]
        ends.append(margins(z, sample.y))
    worst: np.ndarray = np.minimum(*ends)
    return worst


def ramp(margin: np.ndarray, gamma: float) -> np.ndarray:
    """Ramp loss: 1 at margins <= 0, 0 from gamma on."""
    return np.clip(1 - margin / gamma, 0.0, 1.0)


COUNTS = (1, 100, 10**4, 10**6, 10**8)


@st.composite
def samples(
    draw: DrawFn,
    classes: int | tuple[int, int] = (2, 3),
    points: tuple[int, int] = (1, 3),
    inputs: tuple[int, int] = (1, 3),
    counts: tuple[int, ...] = COUNTS,
    decades: int = 4,
    kinds: tuple[str, ...] = ("plain", "orthogonal", "signs", "orthogonal"),
) -> Sample:
    """Few points, equal, opposite or orthogonal ones (or all at 0), each once or up to 10^8 times, at every scale."""
    K = draw(st.integers(*classes)) if isinstance(classes, tuple) else classes
    m, d = draw(st.integers(*points)), draw(st.integers(*inputs))
    entries = draw(st.lists(st.integers(-4, 4), min_size=m * d, max_size=m * d))
    x = np.array(entries, dtype=np.float64).reshape(m, d)
    kind = draw(st.sampled_from(kinds))
    if kind == "orthogonal":
        x = np.eye(max(m, d))[:m, :d]
    elif kind == "signs":
        x = np.where(x < 0, -1.0, 1.0)
    elif kind == "zero":
        x = np.zeros((m, d))
    many = draw(st.sampled_from(counts))
    multiplicities = (many, *(draw(st.sampled_from([many, 1])) for _ in range(m - 1)))
    y = tuple(draw(st.integers(0, max(0, K - 1))) for _ in range(m))
    return Sample(x * draw(scales(decades)), y, multiplicities)


@st.composite
def balls(
    draw: DrawFn,
    inputs: int,
    classes: int,
    activations: tuple[str, ...] = ("relu", "leaky_relu"),
    depth: tuple[int, int] = (1, 3),
    width: tuple[int, int] = (1, 2),
    references: bool = True,
    offsets: bool = True,
    decades: int = 4,
) -> Ball:
    """Balls around 0 or around a reference, some layers frozen, radii at every scale."""
    L = draw(st.integers(*depth))
    widths = [inputs, *(draw(st.integers(*width)) for _ in range(L - 1)), classes]
    around = references and draw(st.booleans())
    centres, radii, omegas = [], [], []
    biased = offsets and draw(st.booleans())
    for inner, out in itertools.pairwise(widths):
        size = draw(scales(decades))
        kind = draw(st.sampled_from(["zero", "zero", "first unit", "all"])) if around else "zero"
        M = np.zeros((out, inner))
        if kind == "first unit":
            M[0, 0] = size
        elif kind == "all":
            M += size
        centres.append(M)
        frozen = kind != "zero" and draw(st.booleans())
        radii.append(0.0 if frozen else size)
        omegas.append(draw(st.sampled_from([0.0, 1.0, size])) if biased else 0.0)
    return Ball(tuple(centres), tuple(radii), tuple(omegas), draw(st.sampled_from(activations)))


def problems(
    classes: int | tuple[int, int] = (2, 3), sample: dict[str, Any] | None = None, **ball: Any
) -> SearchStrategy[tuple[Sample, Ball]]:
    """A sample and a class of networks on it; keyword arguments of `balls`, and in `sample` those of `samples`."""
    numbers = st.integers(*classes) if isinstance(classes, tuple) else st.just(classes)
    return numbers.flatmap(
        lambda K: samples(K, **(sample or {})).flatmap(
            lambda drawn: st.tuples(st.just(drawn), balls(drawn.x.shape[1], K, **ball))
        )
    )


RELATIVE_MARGINS: SearchStrategy[float] = st.sampled_from([1.0, 0.25, 2.0, 0.01, 1e-6])
"""gamma in units of the largest output of the class: where a margin bound is not beside the point."""
