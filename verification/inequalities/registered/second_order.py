r"""Second order: curvature of the loss (L2.4), Lipschitz Jacobians (L2.5), attack radii (L2.6).

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
    signs,
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


@st.composite
def _balanced(draw: DrawFn) -> Attacked:
    """Linear, two equally likely classes at x: the curvature is largest there, as it is over the ball."""
    inputs, row, y = draw(st.integers(1, 3)), draw(positive(2.0, 0.01)), draw(st.integers(0, 1))
    weight = row * np.ones((1, inputs)) * np.array([[-0.5], [0.5]])
    eps = draw(positive(8.0, 0.1)) / (row * math.sqrt(inputs))
    return Attacked(Chain((weight,), (np.zeros(2),), "relu"), np.zeros(inputs), y, "l2", eps, np.ones(inputs))


# --- L2.4 ---------------------------------------------------------------------------------------------------------


def _symmetric(A: Any, definite: int) -> Any:
    """A positive semidefinite matrix or an indefinite one."""
    A = reals.real(A)
    n = min(A.shape)
    return A.T @ A if definite else (A[:n, :n] + A[:n, :n].T) / 2


def _largest_on_box(H: Any) -> Any:
    """Largest v^T H v at the corners of the unit cube and at 0: a lower bound, exact for semidefinite H."""
    corners = reals.real(signs(len(H)))
    return max(reals.real(0), ((corners @ H) * corners).sum(axis=1).max())


HESSIAN: dict[str, Any] = {
    "source": "standard",
    "given": {"A": matrices((1, 4), (1, 4)), "definite": st.integers(0, 1)},
    "attained": True,
}


@inequality(
    "L2.4-corners-eigenvalue",
    r"\max_{\|v\|_\infty\le1}v^THv\le d\,\lambda_{\max}(H)^+",
    mutants={"the eigenvalue alone": {"power": 0.0}, "the root of d": {"power": 0.5}},
    **HESSIAN,
)
def corners_eigenvalue(A: Any, definite: int, power: float = 1.0) -> tuple[Any, Any, float]:
    """Enumeration of the corners; attained by multiples of the matrix of ones."""
    H = _symmetric(A, definite)
    top = max(reals.real(0), reals.eigenvalues(H)[-1])
    size = float(np.abs(A).max()) ** (2 if definite else 1)
    # 35 digits: eigenvalues of matrices whose entries differ in scale err absolutely.
    slack = 1e-30 * size if reals.is_precise() else 0.0
    return _largest_on_box(H), reals.power(len(H), power) * top + slack, 2.0**-40 * size + TINY


@inequality(
    "L2.4-corners-entries",
    r"\max_{\|v\|_\infty\le1}v^THv\le\sum_{ij}|H_{ij}|",
    mutants={"the diagonal": {"diagonal": True}, "the Frobenius norm": {"p": 2.0}},
    **HESSIAN,
)
def corners_entries(A: Any, definite: int, diagonal: bool = False, p: float = 1.0) -> tuple[Any, Any]:
    """Enumeration of the corners; attained by nonnegative matrices."""
    H = _symmetric(A, definite)
    return _largest_on_box(H), reals.norm(np.diagonal(H) if diagonal else H, p)


def _beyond_first_order(case: Attacked) -> Any:
    """Attacked loss minus its first-order value at x: a lower bound of the left side of L2.4."""
    return robust_loss(case) - case.loss - case.eps * reals.norm(case.gradient, case.q)


ROBUST = r"R=\max_{\|\delta\|_p\le\varepsilon}\ell(f(x+\delta),y)"
LAMBDA = (
    r"\Lambda=\sum_{k<L}\beta_kG_k^2s_{k+1}Q_{k+1},\quad G_k=\prod_{i\le k}s_i\prod_{i<k}\rho_i,\quad "
    r"Q_{k+1}=\prod_{i=k+2}^{L}s_i\rho_{i-1},\quad "
    r"s_i=\|W_i\|_2,\ \rho_i=\sup|\phi_i'|,\ \beta_i=\sup|\phi_i''|"
)


@inequality(
    "L2.4-spectral",
    r"R-\ell-\varepsilon\|\nabla_x\ell\|_2\le\tfrac12\varepsilon^2\sup_{\|\delta\|_2\le\varepsilon}"
    r"\lambda_{\max}(\nabla^2\ell(x+\delta))^+,\quad " + ROBUST + r"\quad(f\text{ linear},\ p=2)",
    source="own derivation, from Taylor's theorem",
    given={"case": attacked(depth=(1, 1), norms=("l2",))},
    mutants={
        "the curvature at x": {"at_x": max},
        "the trace at x": {"at_x": sum},
        "a fiftieth too small": {"factor": 0.98},
    },
    attained=True,
)
def spectral(case: Attacked, at_x: Any = None, factor: float = 1.0) -> tuple[Any, Any, Any]:
    """An attack against max ‖J_k - J_l‖_2^2/4 >= the supremum; attained by two equally likely classes, small radii."""
    case.check()
    J = reals.real(case.chain.weights[0])
    curvature = max(reals.norm(J[a] - J[b], 2) ** 2 for a, b in itertools.combinations(range(len(J)), 2)) / 4
    if at_x:
        curvature = at_x(reals.eigenvalues(_hessian(case)))
    bound = factor * case.eps**2 * curvature / 2
    return _beyond_first_order(case), bound + case.cancelled, case.allowance


def _hessian(case: Attacked) -> Any:
    """J^T (diag p - p p^T) J at x: the loss's Hessian, f being linear."""
    state = case.at_x
    share = reals.softmax(state.z)
    centred = state.jacobian - share @ state.jacobian
    return (centred * share[:, None]).T @ centred


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


def _steepness(chain: Chain) -> Any:
    """Π s_i ρ_i, which ‖J‖_2 does not exceed."""
    values = _layers(chain)
    return math.prod(values[s].values()) * math.prod(values[rho].values())


@inequality(
    "L2.4-chain",
    r"R-\ell-\varepsilon\|\nabla_x\ell\|_2\le\tfrac12\varepsilon^2\Big(\tfrac12\prod_is_i^2\rho_i^2+\sqrt2\Lambda\Big)"
    r",\quad " + ROBUST + r"\quad(p=2),\quad " + LAMBDA,
    source="own derivation",
    given={
        "case": st.one_of(
            attacked(ALL_SMOOTH, norms=("l2",)),
            attacked(ALL_SMOOTH, depth=(1, 1), classes=(2, 2), norms=("l2",), offsets=False),
            _curved(("l2",)),
        ),
        "factors": layer_scales,
    },
    mutants={
        "the network's curvature left out": {"network": 0.0},
        "the loss's curvature left out": {"loss": 0.0},
        "a quarter from the loss": {"loss": 0.25},
    },
    attained=True,
)
def chain_curvature(
    case: Attacked, factors: tuple[float, ...], network: float = 1.0, loss: float = 0.5
) -> tuple[Any, Any, Any]:
    """An attack against a global bound of the Hessian, ‖J‖²/2 from the loss and √2 Λ from the network.

    Attained by linear networks with two equally likely classes.

    Loose in general: products of norms, and both terms are not largest together.
    """
    case.check()
    case = replace(case, chain=scaled(case.chain, factors))
    curvature = loss * _steepness(case.chain) ** 2 + network * reals.sqrt(2) * _package(Lambda, case.chain)
    bound = case.eps**2 * curvature / 2
    return _beyond_first_order(case), bound + case.cancelled, case.allowance


@inequality(
    "L2.4-certified",
    r"R-\ell-\varepsilon\|\nabla_x\ell\|_q\le U-\ell-\varepsilon\|\nabla_x\ell\|_q"
    r"\quad(U\text{ as certified to second order}),\quad " + ROBUST + r",\quad 1/p+1/q=1",
    source="own derivation",
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
    r"\|J(x)-J(x')\|_2\le\Lambda\|x-x'\|_2,\quad " + LAMBDA,
    source="own derivation",
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
    case = replace(case, chain=chain)
    step = reals.real(case.step)
    assume((step != 0).any())
    step = case.eps * step / reals.norm(step, 2)
    x = reals.real(case.x)
    difference = chain.network.jacobian(x + step) - chain.network.jacobian(x)
    bound = _package(Lambda, chain, None, instead) * reals.norm(step, 2)
    size = _steepness(chain)
    slack = 1e-28 * size if reals.is_precise() else 0.0  # of the difference
    return reals.spectral(difference), factor * bound + slack, 2.0**-40 * size * (1 + case.allowance * 2.0**46) + TINY


@inequality(
    "L2.5-remainder",
    r"R-\ell-\varepsilon\max_k\|J_k-J_y\|_q\le\tfrac{\sqrt2}2(\varepsilon D_p)^2\Lambda,\quad " + ROBUST + r",\quad "
    r"D_p=\max(1,d^{1/2-1/p}),\quad 1/p+1/q=1,\quad " + LAMBDA,
    source="own derivation",
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
    r"\|J(x)-J(x')\|_2\le\Lambda_L\|x-x'\|_2\quad(x,x'\text{ in the attack set}),\quad "
    r"\Lambda_{k+1}=s_{k+1}(\rho_k\Lambda_k+\beta_kP_k^2),\ \Lambda_1=0,\quad P_{k+1}=s_{k+1}\rho_kP_k,\ P_1=s_1,\quad "
    r"s_i=\|W_i\|_2,\ \rho_k=\sup|\phi_k'|,\ \beta_k=\sup|\phi_k''|\text{ over the intervals of the units}",
    source="own derivation",
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
    case = replace(case, chain=chain)
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


RADIUS = r"\frac{2c}{G+\sqrt{G^2+2\nu c}}"
WHERE = r"c=\ell(x+\delta)-\ell(x)>0,\ G=\|\nabla\ell(x)\|_2"
FORMS: dict[str, Any] = {
    "no curvature": {"form": "linear"},
    "no gradient": {"form": "curvature"},
    "half the curvature": {"form": "halved"},
}


@inequality(
    "L2.6-quadratic",
    RADIUS + r"\le\|\delta\|_2,\quad " + WHERE + r",\ \nu=\lambda_{\max}(\nabla^2\ell)^+\quad(\ell\text{ quadratic})",
    source="own derivation, after CURE's quadratic model",
    given={
        "g": vectors(3),
        "A": matrices(3, 3),
        "kind": st.integers(0, 2),
        "step": vectors(3),
        "scale": scales(2),
    },
    mutants=FORMS,
    attained=True,
)
def quadratic_radius(g: Any, A: Any, kind: int, step: Any, scale: float, form: str = "") -> tuple[Any, Any, Any]:
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
            found.append((_radius(c, reals.norm(g, 2), nu, form) / size, size))
    assume(found)
    ratio, size = max(found, key=lambda pair: float(pair[0]))
    assume(float(ratio) < math.inf)
    return ratio * size, size, 2.0**-36 * size


def _raised(case: Attacked, point: Any) -> Any:
    return losses(logits(case.chain, reals.real(point)[None]), case.y)[0] - case.loss


@inequality(
    "L2.6-linear",
    r"\min\Big(\varepsilon," + RADIUS + r"\Big)\le\|\delta\|_2,\quad " + WHERE + r","
    r"\ \nu=\sup_{\|\delta'\|_2\le\varepsilon}\lambda_{\max}(\nabla^2\ell(x+\delta'))^+\quad(f\text{ linear},\ K=2)",
    source="own derivation, after CURE's quadratic model",
    given={
        "case": st.one_of(attacked(depth=(1, 1), classes=(2, 2), norms=("l2",), decades=(-1, 1)), _balanced()),
        "stretch": positive(4.0),
    },
    mutants={
        **FORMS,
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
