"""Adversarial training as operator-norm regularisation, sample by sample (theory L3.4, L3.5, and beyond them).

Inside one linear piece the strongest ascent on ‖f(x + delta) - f(x)‖_r is the power method on the Jacobian, and its
maximum is eps·‖J‖_{p→r}. `compare_iterates` and `compare_objectives` measure how far both statements are from true at
one radius; `alignment` follows strong attacks from inside the piece to far beyond it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from bounds.measure.jacobian import jacobians
from bounds.measure.margin import margins_of_logits
from bounds.measure.pr_norm import (
    dual_exponent,
    dual_vector,
    maximiser,
    operator_norm_pr,
    power_iterates,
    vector_norms,
)
from bounds.network import TracedNetwork
from bounds.network.logits import as_logits
from bounds.network.running import Model
from bounds.records import finite
from verification.attack_set import AttackSet
from verification.attacks import attack
from verification.certify.linear_piece import linear_piece_radius, why_not_piecewise_linear

# Relative lead below which the rounding of f(x + delta) - f(x) may decide which of two maximisers is taken, and
# relative difference below which two iterates are called equal.
RESOLUTION = 1e-6

# Relative difference of two computed logit distances that may be rounding alone.
ROUNDING = 1e-9

DISTANCES = {1.0: "distance-1", 2.0: "distance", math.inf: "distance-inf"}  # what attacks call ‖f(x + delta) - f(x)‖_r
QUARTILES = (0.25, 0.5, 0.75)
RADIUS_QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class IterateComparison:
    """Projected gradient ascent against the power method from the same start, per sample, float64.

    Attributes:
        radius: r(x), (n,), input units: L3.4 is claimed for eps < r(x); at eps = r(x) an iterate may sit on a kink,
            where the network has no gradient.
        inside: (n,) bool; eps < r(x).
        distance: max over the iterates of ‖delta_k - eps v_k‖_p / eps, (n,); 0 where L3.4 holds exactly, at most 2.
        unique: (n,) bool; no iterate met a tie, a zero gradient coordinate (linf), a zero logit difference (r = 1) or
            Jv = 0, so that both next iterates are the only maximisers there are. L3.4 is not claimed elsewhere.
        attained: ‖J v_k‖_r of the last iterate over the upper end of ‖J‖_{p→r}, (n,), at most 1; 0 where J = 0. Below
            1 the iteration stands at a stationary value (or the upper end is loose).
    """

    radius: Tensor
    inside: Tensor
    distance: Tensor
    unique: Tensor
    attained: Tensor

    @property
    def agrees(self) -> Tensor:
        """(n,) bool; the iterates are equal, to the resolution that rounding leaves."""
        return self.distance <= RESOLUTION

    @property
    def refuted(self) -> Tensor:
        """(n,) bool; L3.4 is claimed for the sample and does not hold."""
        return self.inside & self.unique & ~self.agrees


@dataclass(frozen=True)
class ObjectiveComparison:
    """The objective with the worst perturbation against the one with the operator norm, per sample, float64.

    Attributes:
        radius: r(x), (n,), input units: L3.5 is claimed for eps < r(x).
        inside: (n,) bool; eps < r(x).
        perturbed: loss + strength·‖f(x + delta) - f(x)‖_r at the farthest delta found, (n,); a lower bound of the
            maximum.
        operator: loss + strength·eps·‖Jv‖_r at the best v known, (n,); the operator norm itself where
            `bounds.measure.pr_norm.operator_norm_pr` is exact, else a lower bound.
        gradient_difference: ‖difference of the two parameter gradients‖_2 / ‖gradient of `operator`‖_2, (n,), with
            delta and v held fixed (the envelope theorem).
        same_direction: |<delta, v>| / (‖delta‖_2 ‖v‖_2), (n,); below 1 the maximiser is not unique up to its sign,
            and the gradients may differ though the objectives agree; they may also where ‖.‖_r has no gradient at Jv.
    """

    radius: Tensor
    inside: Tensor
    perturbed: Tensor
    operator: Tensor
    gradient_difference: Tensor
    same_direction: Tensor


def infinite_step(delta: Tensor, gradient: Tensor, ball: AttackSet) -> Tensor:
    """Limit, as t grows, of the Euclidean projection of delta + t·gradient onto a plain ball.

    The projection maximises <gradient, z> - ‖z - delta‖²/(2t) over z in the ball. Its limit is therefore the
    maximiser of <gradient, z> closest to delta: eps times the dual map of the gradient (theory L3.1), for every p and
    in fact any convex set, as long as that maximiser is unique. For l2 it is, unless the gradient is 0, and only
    the limit attains it; for linf and l1 a finite step does. Where it is not unique, delta keeps the coordinates with
    zero gradient (linf), or is projected onto the face spanned by the tied largest coordinates (l1).
    Source: our derivation for theory L3.4.

    Args:
        delta: points of the ball, (n, d).
        gradient: (n, d).
        ball: a plain ball; it has no box.

    Returns:
        (n, d), float64; exact to rounding.

    >>> step = torch.tensor([[3.0, 0.0, -4.0]])
    >>> infinite_step(torch.full((1, 3), 0.5), step, AttackSet("linf", 1.0))
    tensor([[ 1.0000,  0.5000, -1.0000]], dtype=torch.float64)
    """
    delta, gradient = delta.double(), gradient.double()
    nearest = ball.eps * dual_vector(gradient, ball.p)
    sizes = gradient.abs()
    if ball.norm == "linf":
        return torch.where(sizes > 0, nearest, delta)
    largest = sizes.amax(dim=1, keepdim=True)
    tied = (sizes == largest).sum(dim=1) > 1
    if ball.norm == "l1" and bool(tied.any()):
        # A step of 2 eps is as good as an infinite one once the smaller coordinates are left out.
        far = torch.where(sizes == largest, delta + 2 * ball.eps * gradient.sign(), 0.0)[tied]
        nearest[tied] = ball.project(far, far)
    return torch.where(largest > 0, nearest, delta)


def compare_iterates(
    model: Model,
    network: TracedNetwork,
    x: Tensor,
    norm: str,
    eps: float,
    r: float = 2.0,
    *,
    steps: int = 20,
    seed: int = 0,
) -> IterateComparison:
    """L3.4, iterate by iterate: is projected gradient ascent with infinite steps the power method?

    The ascent maximises ‖f(x + delta) - f(x)‖_r over the plain ball from delta_0 = eps v_0, with values and gradients
    of the network itself; the power method knows only J(x). For eps < r(x) the iterates are equal, delta_k = eps v_k,
    wherever the maximisers are unique. From a random start both reach the top singular vector almost surely if
    p = r = 2 (not surely: J = diag(2, 1) with v_0 = e_2 stays), and otherwise a stationary value.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        network: the same model, traced; piecewise linear.
        x: inputs, (n, *shape), input units.
        norm: "l2", "linf" or "l1".
        eps: radius of the ball, > 0, input units.
        r: exponent of the logit norm, >= 1.
        steps: how many steps are compared.
        seed: seed of v_0, the dual map of a Gaussian vector per sample.

    Returns:
        Side: `distance` is exact to the rounding of f(x + delta) - f(x), relative 1e-15·‖f‖/‖f(x + delta) - f(x)‖.

    Raises:
        InputError: for a bad norm, radius or exponent, or a network that is not piecewise linear.

    >>> from bounds.network import trace
    >>> model = nn.Linear(3, 2, dtype=torch.float64)
    >>> comparison = compare_iterates(model, trace(model, torch.ones(1, 3)), torch.ones(1, 3), "l2", 0.5)
    >>> comparison.agrees, comparison.radius
    (tensor([True]), tensor([inf], dtype=torch.float64))
    """
    ball, run, x = _ball(norm, eps, r), as_logits(model, x), x.double()
    jacobian = jacobians(run, x).flatten(2)
    start = _random_start(jacobian, ball.p, seed)
    distance, unique = torch.zeros(len(x), dtype=torch.float64), torch.ones(len(x), dtype=torch.bool)
    power = power_iterates(jacobian, ball.p, r, start)
    ascent = _ascent_iterates(run, x, ball, r, eps * start)
    for v, (delta, image, gradient) in islice(zip(power, ascent, strict=False), steps + 1):
        distance = torch.maximum(distance, ball.size(delta - eps * v) / eps)
        unique &= _unique_maximiser(image, dual_exponent(r)) & _unique_maximiser(gradient, ball.p)
        last = v
    radius, upper = linear_piece_radius(network, x, norm), operator_norm_pr(jacobian, ball.p, r).upper
    attained = torch.where(upper > 0, _image_norm(jacobian, last, r) / upper, 0.0)
    return IterateComparison(radius, radius > eps, distance, unique, attained)


def compare_objectives(
    model: nn.Module,
    network: TracedNetwork,
    x: Tensor,
    y: Tensor,
    norm: str,
    eps: float,
    r: float = 2.0,
    strength: float = 1.0,
    *,
    steps: int = 20,
    seed: int = 0,
) -> ObjectiveComparison:
    """L3.5: max over delta of loss + strength·‖f(x) - f(x + delta)‖_r against loss + strength·eps·‖J(x)‖_{p→r}.

    Inside one linear piece the two objectives are equal, and so are their gradients in the parameters if eps < r(x)
    strictly (then the piece does not change with the parameters), the maximiser v is unique up to its sign, and
    ‖.‖_r has a gradient at Jv: no vanishing coordinate for r = 1, no tie for r = inf (else the two gradients may be
    different subgradients: a layer with weight (0.1, 0.1, 0)^T and bias (0, 0.3, 1) at x = 0, r = inf). The maximum
    is looked for with the network itself: ascent with infinite steps from the best known direction of J, its opposite
    and a random one, the farthest iterate kept.

    Args:
        model: a module that returns logits; it is copied to float64 in eval mode.
        network: the same model, traced; piecewise linear.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        norm: "l2", "linf" or "l1".
        eps: radius of the plain ball, > 0, input units.
        r: exponent of the logit norm, >= 1.
        strength: the regularisation parameter lambda.
        steps: steps of the ascent per start.
        seed: seed of the random start.

    Raises:
        InputError: for a bad norm, radius, exponent or label, or a network that is not piecewise linear.

    >>> from bounds.network import trace
    >>> model = nn.Linear(2, 2)
    >>> model.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> x, y = torch.zeros(1, 2), torch.tensor([0])
    >>> comparison = compare_objectives(model, trace(model, x), x, y, "l1", 0.5)
    >>> round((comparison.perturbed - comparison.operator).item(), 12)
    0.0
    """
    ball, run, x = _ball(norm, eps, r), as_logits(model, x), x.double()
    jacobian = jacobians(run, x).flatten(2)
    v = maximiser(jacobian, ball.p, r)
    starts = (eps * v, -eps * v, eps * _random_start(jacobian, ball.p, seed))
    delta = _farthest(run, x, ball, r, starts, steps)
    live = copy.deepcopy(model).double().eval().requires_grad_(True)
    rows = [
        _objectives(live, x[i : i + 1], y[i : i + 1], delta[i : i + 1], eps * v[i : i + 1], r, strength)
        for i in range(len(x))
    ]
    radius = linear_piece_radius(network, x, norm)
    perturbed, operator, difference = torch.tensor(rows, dtype=torch.float64).T
    return ObjectiveComparison(radius, radius > eps, perturbed, operator, difference, _cosine(delta, v))


def alignment(
    model: Model,
    x: Tensor,
    y: Tensor,
    norm: str,
    eps_list: Sequence[float],
    *,
    network: TracedNetwork | None = None,
    r: float = 2.0,
    box: tuple[float, float] | None = None,
    steps: int = 40,
    restarts: int = 2,
    seed: int = 0,
    name: str = "model",
    data: str = "data",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """How well J(x) still describes strong attacks as the radius grows past r(x).

    Two attacks per radius, one on the cross-entropy and one on the logit distance ‖f(x + delta) - f(x)‖_r. Of each
    delta, with quartiles over the samples:

    - `energy`: the share of ‖delta‖_2² that lies in the span of the first k right singular vectors of J(x), for every
      k = 1..min(K, d) (only vectors that J does not map to 0 count); the cosine with the top one is the square root of
      the first entry;
    - `cosine`: |cosine| with the top right singular vector;
    - `operator_cosine`: |cosine| with the direction that attains ‖J‖_{p→r} (as far as it is known exactly); inside
      the piece 1 for a distance attack that has converged, where that direction is unique;
    - `gap`: (‖f(x + delta) - f(x)‖_r - eps·‖J‖_{p→r}) / (eps·‖J‖_{p→r}); inside the piece at most 0, and 0
      for a distance attack that has converged;
    - `deviation`: ‖f(x + delta) - f(x) - J delta‖_r / (eps·‖J‖_{p→r}); inside the piece 0 for every delta.

    ‖J‖_{p→r} is the value attained by the best direction known (a lower bound where it is not exact, theory L3.3).
    Samples with delta = 0 or J = 0 are left out of the quartiles. To draw a record by script::

        x, y = next(load_data("mnist", split="test").subset(100, seed=0).batches(100))
        record = alignment(model, x, y, "l2", [0.01, 0.1, 1.0], network=trace(model, x))
        records.write(record, Path("alignment.json"))
        alignment_figure([record]).savefig("alignment.pdf")

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        norm: "l2", "linf" or "l1".
        eps_list: increasing radii > 0, input units.
        network: the same model, traced, for r(x); without it, or if it is not piecewise linear, the record says why
            there is no r(x).
        r: exponent of the logit norm: 1, 2 or inf.
        box: valid input values; None for the plain ball, which theory §3 is about.
        steps: gradient steps of the attacks.
        restarts: starting points of the attacks.
        seed: seed of the attacks.
        name: name of the model, for the record.
        data: name of the data set, for the record.
        progress: called with (radii done, radii).

    Returns:
        A record, plain json, "jacobound-alignment" version 1. Side: measurements of the attacks that were found.

    Raises:
        InputError: for bad settings or radii.

    >>> stretch = nn.Linear(2, 2, bias=False)
    >>> stretch.weight.data = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    >>> record = alignment(stretch, torch.ones(1, 2), torch.tensor([0]), "l2", [0.5])
    >>> [round(cosine, 6) for cosine in record["results"][0]["attacks"]["distance"]["cosine"]]
    [1.0, 1.0, 1.0]
    """
    if not eps_list or any(b <= a for a, b in zip(eps_list, eps_list[1:], strict=False)):
        raise InputError(f"radii {list(eps_list)}: at least one is needed, and they must increase")
    if r not in DISTANCES:
        raise InputError(f"logit norm: its exponent must be 1, 2 or inf to be attacked, not {r}")
    losses = {"cross-entropy": "cross-entropy", "distance": DISTANCES[r]}
    balls = [_ball(norm, eps, r, box) for eps in eps_list]
    run, x = as_logits(model, x), x.double()
    view = _view(run, x, balls[0].p, r)
    radius, notes = _radius(network, x, norm)
    results = []
    for ball in balls:
        found = {
            key: attack(run, x, y, norm, ball.eps, steps=steps, restarts=restarts, box=box, loss=loss, seed=seed).delta
            for key, loss in losses.items()
        }
        results.append(
            {
                "eps": ball.eps,
                "inside": None if radius is None else float((radius >= ball.eps).double().mean()),
                "attacks": {key: view.describe(delta.flatten(1), ball.eps) for key, delta in found.items()},
            }
        )
        if progress is not None:
            progress(len(results), len(balls))
    return {
        "format": "jacobound-alignment",
        "version": 1,
        "model": name,
        "data": data,
        "samples": len(x),
        "dimension": x[0].numel(),
        "norm": norm,
        "r": f"{r:g}",
        "box": None if box is None else list(box),
        "settings": {"steps": steps, "restarts": restarts, "seed": seed},
        "notes": notes,
        "radius": None if radius is None else _radius_record(radius),
        "results": results,
    }


@dataclass(frozen=True)
class _View:
    """What the Jacobians of some samples say about perturbations of them.

    Attributes:
        run: the network.
        x: inputs, (n, *shape).
        jacobian: (n, K, d).
        directions: right singular vectors as rows, (n, min(K, d), d); 0 where the singular value is.
        best: direction that attains ‖J‖_{p→r} as far as known, (n, d).
        r: exponent of the logit norm.
    """

    run: Callable[[Tensor], Tensor]
    x: Tensor
    jacobian: Tensor
    directions: Tensor
    best: Tensor
    r: float

    def describe(self, delta: Tensor, eps: float) -> dict[str, Any]:
        """Quartiles over the samples of everything that `alignment` measures of delta, (n, d)."""
        with torch.no_grad():
            moved = self.run(self.x + delta.reshape(self.x.shape)) - self.run(self.x)
        predicted = eps * _image_norm(self.jacobian, self.best, self.r)
        predicted = torch.where(predicted > 0, predicted, torch.nan)
        unit = delta / torch.linalg.vector_norm(delta, dim=1, keepdim=True)  # NaN where delta = 0
        energy = torch.einsum("nkd,nd->nk", self.directions, unit).square().cumsum(1)
        energy[predicted.isnan()] = torch.nan
        linear = torch.einsum("nkd,nd->nk", self.jacobian, delta)
        return {
            "cosine": _quartiles(energy[:, 0].sqrt()),
            "operator_cosine": _quartiles(_cosine(delta, self.best)),
            "energy": [_quartiles(column) for column in energy.T],
            "gap": _quartiles((vector_norms(moved, self.r, 1) - predicted) / predicted),
            "deviation": _quartiles(vector_norms(moved - linear, self.r, 1) / predicted),
        }


def _view(run: Callable[[Tensor], Tensor], x: Tensor, p: float, r: float) -> _View:
    jacobian = jacobians(run, x).flatten(2)
    _, sizes, directions = torch.linalg.svd(jacobian, full_matrices=False)
    # Where J maps to 0, any orthonormal basis is as good: such directions hold no share of a perturbation.
    directions = directions * (sizes > RESOLUTION * sizes[:, :1])[:, :, None]
    return _View(run, x, jacobian, directions, maximiser(jacobian, p, r), r)


def _ball(norm: str, eps: float, r: float, box: tuple[float, float] | None = None) -> AttackSet:
    ball = AttackSet(norm, eps, box)
    if not eps > 0:
        raise InputError(f"radius {eps!r}: a direction of attack needs a radius > 0")
    if not r >= 1:
        raise InputError(f"logit norm: its exponent must be >= 1, not {r}")
    return ball


def _random_start(jacobian: Tensor, p: float, seed: int) -> Tensor:
    n, _, d = jacobian.shape
    noise = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return dual_vector(noise, p)


def _ascent_iterates(
    run: Callable[[Tensor], Tensor], x: Tensor, ball: AttackSet, r: float, start: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """delta_k, f(x + delta_k) - f(x) and the gradient of its r-norm, (n, d), (n, K), (n, d), without end."""
    with torch.no_grad():
        clean = run(x)
    delta = start
    while True:
        variable = delta.clone().requires_grad_(True)
        with torch.enable_grad():
            image = run(x + variable.reshape(x.shape)) - clean
            (gradient,) = torch.autograd.grad(vector_norms(image, r, 1).sum(), variable)
        yield delta, image.detach(), gradient
        delta = infinite_step(delta, gradient, ball)


def _unique_maximiser(z: Tensor, p: float) -> Tensor:
    """Whether the dual map of z, (n, m), is the only maximiser, whatever rounding does to z; (n,) bool."""
    sizes = z.abs().sort(dim=1, descending=True).values
    largest, contender = sizes[:, 0], torch.zeros_like(sizes[:, 0])
    if p == 1 and sizes.shape[1] > 1:
        contender = sizes[:, 1]
    elif p == math.inf:
        contender = largest - sizes[:, -1]
    return (largest > 0) & (contender <= largest * (1 - RESOLUTION))


def _farthest(
    run: Callable[[Tensor], Tensor], x: Tensor, ball: AttackSet, r: float, starts: Sequence[Tensor], steps: int
) -> Tensor:
    """The iterate with the largest ‖f(x + delta) - f(x)‖_r over all starts, (n, d); of equals the first."""
    best, farthest = torch.zeros_like(starts[0]), torch.zeros(len(x), dtype=torch.float64)
    for start in starts:
        for delta, image, _ in islice(_ascent_iterates(run, x, ball, r, start), steps + 1):
            size = vector_norms(image, r, 1)
            # A maximum is flat: among points as far as it to rounding, directions differ by the root of rounding.
            further = size > farthest * (1 + ROUNDING)
            best = torch.where(further[:, None], delta, best)
            farthest = torch.where(further, size, farthest)
    return best


def _objectives(
    live: nn.Module, x: Tensor, y: Tensor, delta: Tensor, direction: Tensor, r: float, strength: float
) -> tuple[float, float, float]:
    """Both objectives at one sample and the relative difference of their parameter gradients."""
    parameters = list(live.parameters())
    logits = live(x)
    loss = margins_of_logits(logits, y)[1]
    moved = live(x + delta.reshape(x.shape)) - logits
    linear = torch.autograd.functional.jvp(live, x, direction.reshape(x.shape), create_graph=True)[1]
    objectives = [(loss + strength * vector_norms(image, r, 1)).sum() for image in (moved, linear)]
    one, other = (
        nn.utils.parameters_to_vector(torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True))
        for value in objectives
    )
    size = float(other.norm())
    return objectives[0].item(), objectives[1].item(), float((one - other).norm()) / size if size else 0.0


def _image_norm(jacobian: Tensor, v: Tensor, r: float) -> Tensor:
    return vector_norms(torch.einsum("nkd,nd->nk", jacobian, v), r, 1)


def _cosine(delta: Tensor, v: Tensor) -> Tensor:
    """|cosine| of two vectors per sample, (n,); NaN where one of them is 0."""
    sizes = torch.linalg.vector_norm(delta, dim=1) * torch.linalg.vector_norm(v, dim=1)
    cosine: Tensor = ((delta * v).sum(1) / sizes).abs()
    return cosine


def _radius(network: TracedNetwork | None, x: Tensor, norm: str) -> tuple[Tensor | None, list[str]]:
    """The radius of every sample's linear piece, or why there is none."""
    why_not = "the network was not traced" if network is None else why_not_piecewise_linear(network)
    if network is None or why_not is not None:
        return None, [f"no linear-piece radius: {why_not}"]
    return linear_piece_radius(network, x, norm), []


def _radius_record(radius: Tensor) -> dict[str, Any]:
    ordered = radius.sort().values
    quantiles = {f"{share:g}": finite(float(ordered[round(share * (len(ordered) - 1))])) for share in RADIUS_QUANTILES}
    return {"quantiles": quantiles, "values": [finite(value) for value in radius.tolist()]}


def _quartiles(values: Tensor) -> list[float] | None:
    """Lower quartile, median and upper quartile of the numbers among the values; None without any."""
    numbers = values[~values.isnan()]
    if not len(numbers):
        return None
    quartiles: list[float] = numbers.quantile(torch.tensor(QUARTILES, dtype=torch.float64)).tolist()
    return quartiles
