r"""Second order: curvature of the loss (theory L2.4), Lipschitz Jacobians (L2.5), attack radii (L2.6).

The curvature of a linear network's loss at x along v is the variance of J_k v under softmax probabilities, so that by
Popoviciu's inequality it is at most max_{k,l} ((J_k - J_l) v)^2 / 4 wherever the probabilities are taken.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from bounds.activations import activation
from bounds.calculus.evaluator import Part
from bounds.calculus.propagation import dimension_factor, downstream, upstream
from bounds.calculus.second_order import jacobian_lipschitz, remainder
from bounds.symbols import D_p, G, L, Lambda, Q, beta, d, epsilon, inverse_p, k, rho, s
from verification.attack_set import AttackSet
from verification.certify import second_order as certified
from verification.certify.enclosure import enclose
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import matrices, positive, scales, vectors
from verification.inequalities.strategies.attacked import (
    CONFIDENT,
    Attacked,
    attacked,
    batch,
    layer_scales,
    logits,
    losses,
    norms_above,
    robust_loss,
    scaled,
    traced,
)
from verification.inequalities.strategies.networks import Chain

ALL_SMOOTH = ("tanh", "sigmoid", "softplus", "silu")
TINY = 2.0**-900  # products of numbers that underflow have no relative accuracy
TORCH_SMOOTH = ("tanh", "sigmoid", "silu")  # torch's softplus jumps


@st.composite
def _curved(draw: DrawFn, norms: tuple[str, ...] = ("linf", "l2", "l1"), hidden: int = 1) -> Attacked:
    """Confident mistakes with one unit a layer; the first reads all inputs alike and is most curved at x or nearby."""
    name, h = draw(st.sampled_from([("softplus", 0.0), ("silu", 0.0), ("tanh", -0.66), ("sigmoid", -1.32)]))
    inputs, y = draw(st.integers(1, 3)), draw(st.integers(0, 1))
    row = np.ones((1, inputs)) * draw(positive(2.0, 0.01))
    onward = draw(positive(2.0, 0.01)) * np.array([[-1.0], [1.0]]) * (1 - 2 * y)
    wrong = np.where(np.arange(2) == y, 0.0, CONFIDENT)
    weights, offsets = [np.eye(1)] * (hidden - 1), [np.zeros(1)] * (hidden - 1)
    chain = Chain((row, *weights, onward), (np.array([h]), *offsets, wrong), name)
    norm, eps = draw(st.sampled_from(norms)), draw(positive(1.0, 0.01)) * 10.0 ** draw(st.integers(-2, -1))
    return Attacked(chain, np.zeros(inputs), y, norm, eps, np.ones(inputs))


# --- L2.4 ---------------------------------------------------------------------------------------------------------


def _symmetric(A: Any, definite: int) -> Any:
    """A positive semidefinite matrix or an indefinite one."""
    A = reals.real(A)
    n = min(A.shape)
    return A.T @ A if definite else (A[:n, :n] + A[:n, :n].T) / 2


def _corners(n: int) -> Any:
    return np.array(list(itertools.product([1.0, -1.0], repeat=n)))


def _largest_on_box(H: Any) -> Any:
    """Largest v^T H v at the corners of the unit cube and at 0: a lower bound, exact for semidefinite H."""
    signs = reals.real(_corners(len(H)))
    return max(reals.real(0), ((signs @ H) * signs).sum(axis=1).max())


HESSIAN: dict[str, Any] = {
    "source": "theory L2.4; own derivation",
    "given": {"A": matrices((1, 4), (1, 4)), "definite": st.integers(0, 1)},
    "attained": True,
}


@inequality(
    "L2.4-corners-eigenvalue",
    r"\max_{\|v\|_\infty\le1}v^THv\le d\,\lambda_{\max}(H)^+",
    mutants={"the eigenvalue alone": {"power": 0.0}, "the root of d": {"power": 0.5}, "a fiftieth": {"factor": 0.98}},
    **HESSIAN,
)
def corners_eigenvalue(A: Any, definite: int, power: float = 1.0, factor: float = 1.0) -> tuple[Any, Any, float]:
    """Enumeration of the corners; attained by multiples of the matrix of ones."""
    H = _symmetric(A, definite)
    top = max(reals.real(0), reals.eigenvalues(H)[-1])
    size = float(np.abs(A).max()) ** (2 if definite else 1)
    # 35 digits: eigenvalues of matrices whose entries differ in scale err absolutely.
    slack = 1e-30 * size if reals.is_precise() else 0.0
    return _largest_on_box(H), factor * reals.power(len(H), power) * top + slack, 2.0**-40 * size + TINY


@inequality(
    "L2.4-corners-entries",
    r"\max_{\|v\|_\infty\le1}v^THv\le\sum_{ij}|H_{ij}|",
    mutants={"the diagonal": {"diagonal": True}, "the Frobenius norm": {"p": 2.0}, "a fiftieth": {"factor": 0.98}},
    **HESSIAN,
)
def corners_entries(
    A: Any, definite: int, diagonal: bool = False, p: float = 1.0, factor: float = 1.0
) -> tuple[Any, Any]:
    """Enumeration of the corners; attained by nonnegative matrices."""
    H = _symmetric(A, definite)
    return _largest_on_box(H), factor * reals.norm(np.diagonal(H) if diagonal else H, p)


def _beyond_first_order(case: Attacked) -> Any:
    """Attacked loss minus the first-order value at x: a lower bound of L2.4's left side."""
    return robust_loss(case) - case.loss - case.eps * reals.norm(case.gradient, case.q)


def _pairs(J: Any) -> list[Any]:
    """J_k - J_l."""
    return [J[a] - J[b] for a, b in itertools.combinations(range(len(J)), 2)]


LINEAR: dict[str, Any] = {"source": "theory L2.4; own derivation", "attained": True}


@inequality(
    "L2.4-spectral",
    r"R-\ell-\varepsilon\|\nabla_x\ell\|_2\le\tfrac12\varepsilon^2\sup_{\|\delta\|_2\le\varepsilon}"
    r"\lambda_{\max}(\nabla^2\ell(x+\delta))^+\quad(f\text{ linear},\ p=2)",
    given={"case": attacked(depth=(1, 1), norms=("l2",))},
    mutants={"the curvature at x": {"at_x": True}, "a fiftieth too small": {"factor": 0.98}},
    **LINEAR,
)
def spectral(case: Attacked, at_x: bool = False, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """An attack against max ‖J_k - J_l‖_2^2/4 >= the supremum; attained by two equally likely classes, small radii."""
    case.check()
    J = reals.real(case.chain.weights[0])
    curvature = max(reals.norm(pair, 2) ** 2 for pair in _pairs(J)) / 4
    if at_x:
        curvature = reals.eigenvalues(_hessian(case))[-1]
    bound = factor * case.eps**2 * curvature / 2
    return _beyond_first_order(case), bound + case.cancelled, case.allowance


def _hessian(case: Attacked) -> Any:
    """J^T (diag p - p p^T) J at x (L2.7)."""
    state = case.at_x
    share = reals.softmax(state.z)
    centred = state.jacobian - share @ state.jacobian
    return (centred * share[:, None]).T @ centred


@inequality(
    "L2.4-box-eigenvalue",
    r"R-\ell-\varepsilon\|\nabla_x\ell\|_1\le\tfrac12\varepsilon^2d\sup\lambda_{\max}(\nabla^2\ell)^+"
    r"\quad(f\text{ linear},\ p=\infty)",
    given={"case": attacked(depth=(1, 1), norms=("linf",))},
    mutants={
        "the eigenvalue alone": {"power": 0},
        "the curvature at x": {"at_x": True},
        "a fiftieth too small": {"factor": 0.98},
    },
    **LINEAR,
)
def box_eigenvalue(case: Attacked, power: int = 1, at_x: bool = False, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """As for p = 2, times d; attained by two equally likely classes whose rows differ equally in all coordinates."""
    case.check()
    J = reals.real(case.chain.weights[0])
    curvature = max(reals.norm(pair, 2) ** 2 for pair in _pairs(J)) / 4
    if at_x:
        curvature = reals.eigenvalues(_hessian(case))[-1]
    bound = factor * case.eps**2 * len(case.x) ** power * curvature / 2
    return _beyond_first_order(case), bound + case.cancelled, case.allowance


@inequality(
    "L2.4-box-entries",
    r"R-\ell-\varepsilon\|\nabla_x\ell\|_1\le\tfrac12\varepsilon^2\sup\sum_{ij}|\nabla^2\ell_{ij}|"
    r"\quad(f\text{ linear},\ p=\infty)",
    given={"case": attacked(depth=(1, 1), norms=("linf",))},
    mutants={
        "the trace": {"diagonal": True},
        "the curvature at x": {"at_x": True},
        "a fiftieth too small": {"factor": 0.98},
    },
    **LINEAR,
)
def box_entries(
    case: Attacked, diagonal: bool = False, at_x: bool = False, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """The covariance of J_ki and J_kj is at most the product of their ranges over 4; attained by two classes."""
    case.check()
    J = reals.real(case.chain.weights[0])
    ranges = J.max(axis=0) - J.min(axis=0)
    curvature = (reals.norm(ranges, 2) if diagonal else reals.norm(ranges, 1)) ** 2 / 4
    if at_x:
        curvature = reals.norm(_hessian(case), 1)
    bound = factor * case.eps**2 * curvature / 2
    return _beyond_first_order(case), bound + case.cancelled, case.allowance


def _layers(chain: Chain) -> dict[Any, Any]:
    """s, rho and beta of a chain."""
    facts = activation(chain.activation)
    return {
        s: {i: reals.spectral(weight) for i, weight in enumerate(chain.weights, 1)},
        rho: {i: facts.rho for i in range(1, chain.depth)} | {chain.depth: 1.0},
        beta: {i: facts.beta for i in range(1, chain.depth)},
    }


PARTS = (jacobian_lipschitz, upstream, downstream, dimension_factor)
"""Of the package: Lambda and what it is written in."""


def _package(expression: sp.Expr, chain: Chain, values: dict[Any, Any] | None = None, *instead: Part) -> Any:
    """The package's expression for a chain, with other parts where a mutant has them."""
    parts = {part.symbol: part for part in (*PARTS, *instead)}
    return reals.evaluate(expression, {**_layers(chain), **(values or {})}, tuple(parts.values()), chain.depth)


def _curvature(chain: Chain, *instead: Part, lipschitz: bool = True) -> Any:
    """A bound of ‖∇²ℓ‖_2 everywhere: ‖J‖^2/2 from the loss, sqrt 2 Lambda from the network."""
    values = _layers(chain)
    norm = math.prod(values[s].values()) * math.prod(values[rho].values())
    return norm**2 / 2 + (reals.sqrt(2) * _package(Lambda, chain, None, *instead) if lipschitz else 0)


@inequality(
    "L2.4-chain",
    r"R-\ell-\varepsilon\|\nabla_x\ell\|_2\le\tfrac12\varepsilon^2\Big(\tfrac12\prod_is_i^2\rho_i^2+\sqrt2\Lambda\Big)"
    r"\quad(p=2)",
    source="theory L2.4 with the Λ of L2.5; own derivation",
    given={
        "case": st.one_of(
            attacked(ALL_SMOOTH, norms=("l2",)),
            attacked(ALL_SMOOTH, depth=(1, 1), classes=(2, 2), norms=("l2",), offsets=False),
            _curved(("l2",)),
        ),
        "factors": layer_scales,
    },
    mutants={
        "the network's curvature left out": {"lipschitz": False},
        "a twentieth too small": {"factor": 0.95},
    },
    attained=True,
)
def chain_curvature(
    case: Attacked, factors: tuple[float, ...], lipschitz: bool = True, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """An attack against a global bound of the Hessian; attained by linear networks with two equally likely classes.

    Loose in general: products of norms, and both terms are not largest together.
    """
    case.check()
    case = replace(case, chain=scaled(case.chain, factors))
    bound = factor * case.eps**2 * _curvature(case.chain, lipschitz=lipschitz) / 2
    return _beyond_first_order(case), bound + case.cancelled, case.allowance


@inequality(
    "L2.4-certified",
    r"R-\ell-\varepsilon\|\nabla_x\ell\|_q\le U-\ell-\varepsilon\|\nabla_x\ell\|_q\quad(U\text{ as certified})",
    source="theory L2.4, L2.5; own derivation",
    given={
        "case": st.one_of(
            attacked(TORCH_SMOOTH, inputs=(2, 3)),
            attacked(TORCH_SMOOTH, depth=(1, 1), inputs=(2, 3), norms=("linf", "l2")),
        )
    },
    mutants={
        "half the radius": {"radius": 0.5},
        "the l_1 ball": {"norm": "l1"},
        "first order at x": {"factor": 0.0},
    },
    attained=True,
    examples=80,
    recheck=False,
)
def second_order_certified(
    case: Attacked, radius: float = 1.0, norm: str | None = None, factor: float = 1.0
) -> tuple[Any, Any, float]:
    """An attack against the package's bound, both without the first-order value; attained by linear networks."""
    case.check()
    x, y = batch(case)
    enclosure = enclose(traced(case.chain), x, AttackSet(norm or case.norm, radius * case.eps))
    bound = certified.second_order(enclosure, y, norms_above(case.chain)).item()
    first_order = case.loss + case.eps * reals.norm(case.gradient, case.q)
    return robust_loss(case) - first_order, factor * (bound - first_order), 4 * case.allowance


# --- L2.5 ---------------------------------------------------------------------------------------------------------


@inequality(
    "L2.5-jacobian",
    r"\|J(x)-J(x')\|_2\le\Lambda\|x-x'\|_2,\quad\Lambda=\sum_{k<L}\beta_kG_k^2s_{k+1}Q_{k+1}",
    source="theory L2.5; own derivation",
    given={
        "case": st.one_of(
            attacked(ALL_SMOOTH, depth=(2, 4), norms=("l2",)),
            _curved(("l2",)),
            _curved(("l2",), hidden=2),
        ),
        "factors": layer_scales,
    },
    mutants={
        "the norm up to layer k once": {
            "instead": replace(
                jacobian_lipschitz, expression=sp.Sum(beta[k] * G[k] * s[k + 1] * Q[k + 1], (k, 1, L - 1))
            )
        },
        "without the last nonlinearity": {
            "instead": replace(
                jacobian_lipschitz, expression=sp.Sum(beta[k] * G[k] ** 2 * s[k + 1] * Q[k + 1], (k, 1, L - 2))
            )
        },
        "without the layers after k": {
            "instead": replace(jacobian_lipschitz, expression=sp.Sum(beta[k] * G[k] ** 2 * s[k + 1], (k, 1, L - 1)))
        },
        "a twentieth too small": {"factor": 0.95},
    },
    attained=True,
)
def jacobian_is_lipschitz(
    case: Attacked, factors: tuple[float, ...], instead: Part = jacobian_lipschitz, factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """Two Jacobians against the package's constant; attained by one unit per layer where it is most curved.

    With more layers than two the terms of the sum are not largest at the same input: attained where one dominates.
    """
    case.check()
    chain = scaled(case.chain, factors)
    step = reals.real(case.step)
    assume((step != 0).any())
    step = case.eps * step / reals.norm(step, 2)
    x = reals.real(case.x)
    difference = chain.network.jacobian(x + step) - chain.network.jacobian(x)
    bound = _package(Lambda, chain, None, instead) * reals.norm(step, 2)
    values = _layers(chain)
    size = math.prod(values[s].values()) * math.prod(values[rho].values())
    slack = 1e-28 * size if reals.is_precise() else 0.0  # of the difference
    return reals.spectral(difference), factor * bound + slack, 2.0**-40 * size * (1 + case.allowance * 2.0**46) + TINY


@inequality(
    "L2.5-remainder",
    r"R-\ell-\varepsilon\max_k\|J_k-J_y\|_q\le\tfrac{\sqrt2}2(\varepsilon D_p)^2\Lambda,\quad"
    r"D_p=\max(1,d^{1/2-1/p})",
    source="theory L2.5; own derivation",
    given={"case": st.one_of(attacked(ALL_SMOOTH, depth=(2, 3)), _curved()), "factors": layer_scales},
    mutants={
        "the dimension left out": {"instead": replace(dimension_factor, expression=sp.Integer(1))},
        "without the root of two": {"expression": (epsilon * D_p) ** 2 * Lambda / 2},
        "a twentieth too small": {"factor": 0.95},
    },
    attained=True,
)
def robust_remainder(
    case: Attacked,
    factors: tuple[float, ...],
    instead: Part = dimension_factor,
    expression: sp.Expr = remainder,
    factor: float = 1.0,
) -> tuple[Any, Any, Any]:
    """An attack against the package's remainder; attained by confident mistakes of networks with one curved unit.

    The left side is a lower bound.
    """
    case.check()
    case = replace(case, chain=scaled(case.chain, factors))
    values = {epsilon: case.eps, d: len(case.x), inverse_p: 0 if case.p == math.inf else 1 / case.p}
    bound = factor * _package(expression, case.chain, values, instead)
    first_order = case.eps * reals.norm(case.margins, case.q, axis=1).max()
    return robust_loss(case) - case.loss - first_order, bound + case.cancelled, case.allowance


@inequality(
    "L2.5-local",
    r"\|J(x)-J(x')\|_2\le\Lambda\|x-x'\|_2,\quad\Lambda_{k+1}=s_{k+1}(\rho_k\Lambda_k+\beta_kP_k^2)"
    r"\quad(\rho,\beta\text{ over the intervals of the units})",
    source="theory L2.5; own derivation",
    given={"case": st.one_of(attacked(TORCH_SMOOTH, depth=(2, 3)), _curved()), "factors": layer_scales},
    mutants={
        "the intervals of a smaller set": {"radius": 0.1},
        "a twentieth too small": {"factor": 0.95},
        "without the last layer": {"skip": 1},
    },
    attained=True,
    recheck=False,
)
def locally_lipschitz(
    case: Attacked, factors: tuple[float, ...], radius: float = 1.0, factor: float = 1.0, skip: int = 0
) -> tuple[Any, Any, float]:
    """Two Jacobians within the set against the package's local constant; attained by one curved unit."""
    case.check()
    chain = scaled(case.chain, factors)
    assume((case.step != 0).any())
    step = (1 - 2.0**-30) * case.eps * case.step / reals.norm(case.step, case.p)
    found = enclose(traced(chain), batch(case)[0], AttackSet(case.norm, radius * case.eps))
    norms = norms_above(chain)
    constant = certified.jacobian_lipschitz(found, [*norms[:-1], 1.0] if skip else norms).item()
    size = math.prod(norms) * 1.2**chain.depth
    allowance = 2.0**-44 * size * (1 + case.allowance * 2.0**46) + TINY
    best = -math.inf, 0.0, 0.0
    for start, end in ((0.0, 1.0), (0.9, 1.0)):
        apart = reals.norm((end - start) * step, 2)
        jacobians = [chain.network.jacobian(case.x + at * step) for at in (start, end)]
        left, right = reals.spectral(jacobians[1] - jacobians[0]), factor * constant * apart
        best = max(best, (left / max(right, 1e-300), left, right))
    assume(max(best[1:]) > 1e6 * allowance)  # else the difference is one of rounding errors
    return best[1], best[2], allowance


# --- L2.6 ---------------------------------------------------------------------------------------------------------


def _radius(c: Any, G_norm: Any, nu: Any, form: str) -> Any:
    """2c/(G + sqrt(G^2 + 2 nu c)), or what a mutant says."""
    if form == "linear":
        return c / G_norm if G_norm > 0 else reals.real(math.inf)
    if form == "curvature":
        return reals.sqrt(2 * c / nu) if nu > 0 else reals.real(math.inf)
    inside = G_norm**2 + {"": 2, "halved": 1}[form] * nu * c
    return 2 * c / (G_norm + reals.sqrt(inside)) if inside > 0 else reals.real(math.inf)


RADIUS = r"\ell(x+\delta)\ge t\Rightarrow\|\delta\|_2\ge\frac{2c}{G+\sqrt{G^2+2\nu c}},\quad c=t-\ell(x)>0"
FORMS: dict[str, Any] = {
    "no curvature": {"form": "linear"},
    "no gradient": {"form": "curvature"},
    "half the curvature": {"form": "halved"},
}


@inequality(
    "L2.6-quadratic",
    RADIUS + r"\quad(\ell\text{ quadratic})",
    source="theory L2.6; own derivation, after CURE's quadratic model",
    given={
        "g": vectors(3),
        "A": matrices(3, 3),
        "kind": st.integers(0, 2),
        "step": vectors(3),
        "scale": scales(2),
    },
    mutants={**FORMS, "a hundredth too large": {"factor": 1.01}},
    attained=True,
)
def quadratic_radius(
    g: Any, A: Any, kind: int, step: Any, scale: float, form: str = "", factor: float = 1.0
) -> tuple[Any, Any, Any]:
    """g·δ + δ^T H δ/2 for any δ that raises it; attained by H = νI and δ along g.

    The left side is exact; every step is an upper bound of the smallest perturbation.
    """
    assume(scale > 0)
    g, A = reals.real(g), reals.real(A)
    H = [reals.real(np.eye(3)) * abs(A[0, 0]), A.T @ A, (A + A.T) / 2][kind]
    nu = max(reals.real(0), reals.eigenvalues(H)[-1])
    found = []
    for direction in (reals.real(step), g):
        delta = scale * direction
        c = g @ delta + delta @ (H @ delta) / 2
        size = reals.norm(delta, 2)
        if c > 1e-12 * (reals.norm(g, 2) * size + nu * size**2):
            found.append((factor * _radius(c, reals.norm(g, 2), nu, form) / size, size))
    assume(found)
    ratio, size = max(found, key=lambda pair: float(pair[0]))
    assume(float(ratio) < math.inf)
    return ratio * size, size, 2.0**-36 * size


def _raised(case: Attacked, point: Any) -> Any:
    return losses(logits(case.chain, reals.real(point)[None]), case.y)[0] - case.loss


@inequality(
    "L2.6-linear",
    r"\ell(x+\delta)\ge t\Rightarrow\|\delta\|_2\ge\min\Big(\varepsilon,\frac{2c}{G+\sqrt{G^2+2\nu c}}\Big),\quad"
    r"\nu\ge\sup_{\|\delta\|_2\le\varepsilon}\lambda_{\max}(\nabla^2\ell(x+\delta))^+"
    r"\quad(f\text{ linear},\ K=2)",
    source="theory L2.6; own derivation, after CURE's quadratic model",
    given={
        "case": attacked(depth=(1, 1), classes=(2, 2), norms=("l2",), decades=(-1, 1)),
        "stretch": positive(4.0),
    },
    mutants={
        **{name: form for name, form in FORMS.items() if name != "half the curvature"},
        "without the minimum": {"minimum": False},
        "the curvature at x": {"at_x": True},
    },
    attained=True,
)
def linear_radius(
    case: Attacked, stretch: float, form: str = "", minimum: bool = True, at_x: bool = False
) -> tuple[Any, Any, Any]:
    """Every step defines the loss t that it reaches; ν is the exact supremum over the ball; attained by small steps.

    The loss is a function of the margin w·x + b alone, its curvature ‖w‖² σ'(w·x + b), largest nearest to 0.
    """
    case.check()
    assume(0 < stretch < math.inf)
    state = case.at_x
    w, z = state.jacobian[0] - state.jacobian[1], state.z[0] - state.z[1]
    nearest = max(reals.real(0), abs(z) - (0 if at_x else case.eps * reals.norm(w, 2)))
    nu = reals.norm(w, 2) ** 2 / (2 + reals.exp(nearest) + reals.exp(-nearest))
    return _against_steps(case, stretch, nu, form, minimum)


def _against_steps(case: Attacked, stretch: float, nu: Any, form: str, minimum: bool) -> tuple[Any, Any, Any]:
    """The bound at the loss that a step reaches, and the step's norm, for the step with the largest quotient."""
    gradient, step = case.gradient, reals.real(case.step)
    G_norm, found = reals.norm(gradient, 2), []
    for direction in (step, gradient, -gradient, *case.margins):
        size = reals.norm(direction, 2)
        for length in (stretch * case.eps, 0.1 * case.eps):
            if not size > 0:
                continue
            c = _raised(case, reals.real(case.x) + length * direction / size)
            if c > 1e4 * case.allowance:
                bound = _radius(c, G_norm, nu, form)
                length = reals.real(length)
                found.append((min(reals.real(case.eps), bound) if minimum else bound, length, c))
    assume(found)
    left, right, c = max(found, key=lambda each: float(each[0] / each[1]))
    assume(float(left) < math.inf)
    return left, right, (case.allowance / c + 2.0**-36) * right


@inequality(
    "L2.6-chain",
    RADIUS + r",\ \nu=\tfrac12\prod_is_i^2\rho_i^2+\sqrt2\Lambda",
    source="theory L2.6 with the Λ of L2.5; own derivation",
    given={
        "case": attacked(ALL_SMOOTH, norms=("l2",)),
        "factors": layer_scales,
        "stretch": positive(4.0),
    },
    mutants={
        "no curvature": {"form": "linear"},
        "no gradient": {"form": "curvature"},
        "the network's curvature left out": {"lipschitz": False},
    },
    attained=True,
)
def chain_radius(
    case: Attacked, factors: tuple[float, ...], stretch: float, form: str = "", lipschitz: bool = True
) -> tuple[Any, Any, Any]:
    """Every step defines the loss t that it reaches; ν holds everywhere, so no minimum; attained by small steps."""
    case.check()
    assume(0 < stretch < math.inf)
    case = replace(case, chain=scaled(case.chain, factors))
    return _against_steps(case, stretch, _curvature(case.chain, lipschitz=lipschitz), form, minimum=False)
