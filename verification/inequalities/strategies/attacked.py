"""A sample of a small chain under attack: the laboratory's own attack, and the chain as the package traces it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from verification.inequalities import reals
from verification.inequalities.inequality import assume
from verification.inequalities.strategies.networks import ACTIVATIONS, SLOPE, Chain, State, chains
from verification.inequalities.strategies.numbers import entries, labels, positive, scales, vectors

if TYPE_CHECKING:
    from bounds.network import TracedNetwork
    from verification.attack_set import AttackSet

EXPONENTS = {"l2": 2.0, "linf": math.inf, "l1": 1.0}
"""p of an attack norm."""
CONFIDENT = 40.0
"""Lead of a wrong class, in logits, that makes the loss's slope 1 to float64."""
INSIDE = 1 - 2.0**-40
"""The attack's radius, relative: rounding must not take it out of the ball, where a kink may be."""
STEPS = 3
"""Moves of the attack to the maximum of the loss linearised at the best point so far."""
TORCH_THRESHOLD = 20.0
"""Above it torch's softplus is the identity."""


@dataclass(frozen=True)
class Attacked:
    """A labelled input of a chain and the perturbations allowed.

    Attributes:
        chain: the network.
        x: input, (d,).
        y: label.
        norm: "l2", "linf" or "l1".
        eps: radius.
        step: a direction that the attack tries besides its own, (d,); the search moves it.
        boxed: whether inputs stay in [0, 1].
    """

    chain: Chain
    x: np.ndarray
    y: int
    norm: str
    eps: float
    step: np.ndarray
    boxed: bool = False

    @property
    def p(self) -> float:
        """Exponent of the attack norm."""
        return EXPONENTS[self.norm]

    @property
    def q(self) -> float:
        """Exponent of the dual norm."""
        return reals.dual(self.p)

    @property
    def at_x(self) -> State:
        """Logits and Jacobian at x."""
        return self.chain.network.at(self.x)

    @property
    def loss(self) -> Any:
        """Cross-entropy at x."""
        return losses(logits(self.chain, reals.real(self.x)[None]), self.y)[0]

    @property
    def margins(self) -> Any:
        """J_k - J_y at x for the rivals k, (K - 1, d)."""
        return margin_rows(self.at_x.jacobian, self.y)

    @property
    def gradient(self) -> Any:
        """The loss's gradient at x, (d,)."""
        return gradient(self, self.x)

    @property
    def attack_set(self) -> AttackSet:
        """The package's set of perturbations."""
        from verification.attack_set import AttackSet

        return AttackSet(self.norm, self.eps, (0.0, 1.0) if self.boxed else None)

    @property
    def allowance(self) -> float:
        """What float64 may lose in logits near x: a few rounding errors of the largest sums on the way."""
        size = float(np.linalg.norm(np.asarray(self.x, dtype=float)) + self.eps)
        for weight, offset in zip(self.chain.weights, self.chain.offsets, strict=True):
            grown = float(np.linalg.norm(weight.astype(float))) * size + float(np.linalg.norm(offset.astype(float)))
            size = 1.2 * grown + len(offset) ** 0.5
        return 2.0**-46 * (1 + size)

    @property
    def cancelled(self) -> float:
        """What 35 digits may lose when losses are subtracted, for the right side; 0 in float64."""
        return self.allowance * 2.0**-60 if reals.is_precise() else 0.0

    def check(self) -> None:
        """Leaves out what the ascent may have moved out of the set of instances."""
        assume(1e-4 <= self.eps < math.inf)
        if self.boxed:
            assume((self.x >= 0).all() and (self.x <= 1).all())


@st.composite
def attacked(
    draw: DrawFn,
    activations: tuple[str, ...] = ("relu", "tanh"),
    depth: tuple[int, int] = (1, 3),
    width: tuple[int, int] = (1, 3),
    inputs: tuple[int, int] = (1, 3),
    classes: tuple[int, int] = (2, 3),
    norms: tuple[str, ...] = ("linf", "l2", "l1"),
    boxes: bool = False,
    decades: tuple[int, int] = (-2, 0),
    offsets: bool = True,
) -> Attacked:
    """Samples of chains, some of them confident mistakes, some with a unit at its kink, radii of several scales."""
    chain = draw(chains(activations, depth, width, inputs, classes, offsets))
    d, K = chain.weights[0].shape[1], len(chain.offsets[-1])
    y = draw(labels(K))
    boxed = boxes and draw(st.booleans())
    x = draw(vectors(d, 1.0))
    x = np.abs(x) if boxed else x
    if draw(st.booleans()):
        wrong = np.where(np.arange(K) == (y + 1) % K, CONFIDENT, 0.0)
        chain = Chain(chain.weights, (*chain.offsets[:-1], chain.offsets[-1] + wrong), chain.activation)
    if chain.depth > 1 and draw(st.booleans()):
        # The first unit's pre-activation is chosen: 0 is the kink of a ReLU, 0.66 where tanh is most curved.
        h = draw(entries(2.0))
        first = chain.offsets[0].copy()
        first[0] = h - float(chain.weights[0][0] @ x)
        chain = Chain(chain.weights, (first, *chain.offsets[1:]), chain.activation)
    eps = draw(positive(1.0)) * 10.0 ** draw(st.integers(*decades))
    return Attacked(chain, x, y, draw(st.sampled_from(norms)), eps, draw(vectors(d)), boxed)


def scaled(chain: Chain, factors: tuple[float, ...]) -> Chain:
    """The chain with its layers' weights multiplied; factors beyond the depth are not used."""
    weights = tuple(weight * factor for weight, factor in zip(chain.weights, factors, strict=False))
    return Chain(weights, chain.offsets, chain.activation)


layer_scales = st.tuples(*(scales(2) for _ in range(4)))
"""A factor for each layer."""


def logits(chain: Chain, points: Any, as_torch: bool = False) -> Any:
    """f at several inputs, (m, d) -> (m, K), in the current precision.

    Args:
        chain: the network.
        points: inputs.
        as_torch: with torch's softplus, which is the identity above a threshold.
    """
    phi, z = ACTIVATIONS[chain.activation][0], points
    for number, (weight, offset) in enumerate(zip(chain.weights, chain.offsets, strict=True)):
        if number:
            cut = as_torch and chain.activation == "softplus"
            z = np.where(z > TORCH_THRESHOLD, z, phi(z)) if cut else phi(z)
        z = z @ reals.real(weight).T + reals.real(offset)
    return z


def losses(z: Any, y: int) -> Any:
    """Cross-entropies of logits (m, K), to full relative accuracy."""
    leads = np.delete(z, y, axis=1) - z[:, y : y + 1]
    largest = np.maximum(leads.max(axis=1), reals.real(0))
    return largest + reals.log1p(reals.exp(leads - largest[:, None]).sum(axis=1) + (reals.exp(-largest) - 1))


def margin_rows(jacobian: Any, y: int) -> Any:
    """J_k - J_y for the rivals k of y."""
    return np.delete(jacobian, y, axis=0) - jacobian[y]


def gradient(case: Attacked, point: Any) -> Any:
    """∇_x of the loss at a point, (d,)."""
    state = case.chain.network.at(point)
    u = reals.softmax(state.z)
    u[case.y] = u[case.y] - 1
    return state.jacobian.T @ u


def steepest(row: Any, norm: str) -> Any:
    """The vector of norm 1 that is largest against a row (the dual map); 0 -> a fixed one."""
    row = reals.real(row)
    if norm == "linf":
        return np.where(row < 0, reals.real(-1), reals.real(1))
    at = int(np.argmax(np.abs(row)))
    if norm == "l2" and row[at] != 0:
        row = row / abs(row[at])
        return row / reals.norm(row, 2)
    unit = reals.real(np.zeros(len(row)))
    unit[at] = reals.real(-1 if row[at] < 0 else 1)
    return unit


def signs(n: int) -> np.ndarray:
    """The corners of the cube [-1, 1]^n, (2^n, n)."""
    return np.array(list(itertools.product([1.0, -1.0], repeat=n)))


def directions(case: Attacked) -> Any:
    """Unit vectors of the attack norm, (m, d): corners of the ball, the steepest ones at x, the instance's own."""
    d = len(case.x)
    cube, axes = signs(d), np.concatenate([np.eye(d), -np.eye(d)])
    corners = {"linf": cube, "l1": axes, "l2": np.concatenate([axes, cube / math.sqrt(d)])}[case.norm]
    found = [steepest(row, case.norm) for row in (*case.margins, case.gradient, case.step)]
    along = reals.real(case.step)
    if (along != 0).any() and case.norm != "l2":
        found.append(along / reals.norm(along, case.p))
    return np.concatenate([reals.real(corners), np.array(found)])


def points(case: Attacked) -> Any:
    """Inputs that the attack tries, (m, d): on the sphere, half-way there, and x itself last."""
    moves = INSIDE * case.eps * directions(case)
    found = reals.real(case.x) + np.concatenate([moves, moves / 2, 0 * moves[:1]])
    return np.clip(found, 0.0, 1.0) if case.boxed else found


def robust_loss(case: Attacked, as_torch: bool = False) -> Any:
    """A lower bound of the largest loss over the ball (or its part in the box): the best of the points tried.

    Args:
        case: the sample.
        as_torch: as in `logits`.
    """
    tried = points(case)
    found = losses(logits(case.chain, tried, as_torch), case.y)
    best = int(np.argmax(found))
    point, loss = tried[best], found[best]
    for _ in range(STEPS):
        moved = reals.real(case.x) + INSIDE * case.eps * steepest(gradient(case, point), case.norm)
        point = np.clip(moved, 0.0, 1.0) if case.boxed else moved
        value = losses(logits(case.chain, point[None], as_torch), case.y)[0]
        if not value > loss:
            break
        loss = value
    return loss


def traced(chain: Chain) -> TracedNetwork:
    """The chain as the package's traced network, put together without tracing."""
    import torch

    from bounds.network import Segment, TracedNetwork
    from bounds.network.nodes import Input, Node
    from bounds.network.nonlinear import Activation, Nonlinear
    from bounds.network.operators import Linear, Shift

    nodes = [Node(Input((chain.weights[0].shape[1],)), ())]
    parameters = (("negative_slope", SLOPE),) if chain.activation == "leaky_relu" else ()
    for number, (weight, offset) in enumerate(zip(chain.weights, chain.offsets, strict=True)):
        if number:
            phi = Nonlinear(
                f"{chain.activation} {number}", (Activation(chain.activation, parameters),), weight.shape[1:]
            )
            nodes.append(Node(phi, (len(nodes) - 1,)))
        linear = Linear(weight.shape[1:], torch.from_numpy(np.array(weight, dtype=np.float64)))
        shift = Shift(offset.shape, torch.from_numpy(np.array(offset, dtype=np.float64)))
        nodes.append(Node(Segment(f"layer {number}", (linear, shift)), (len(nodes) - 1,)))
    return TracedNetwork((chain.weights[0].shape[1],), len(chain.offsets[-1]), tuple(nodes))


def norms_above(chain: Chain) -> list[float]:
    """Upper ends of the layers' spectral norms."""
    return [float(np.linalg.norm(weight.astype(float), 2)) * (1 + 2.0**-40) for weight in chain.weights]


def batch(case: Attacked) -> tuple[Any, Any]:
    """x and y as torch takes them."""
    import torch

    return torch.from_numpy(np.array(case.x, dtype=np.float64))[None], torch.tensor([case.y])
