"""Theory L2.6: the radius below which no ℓ2 perturbation misleads, predicted from slope and curvature, and measured.

A misclassified point has p_y <= 1/2, hence loss >= ln 2. With c = ln 2 - ℓ(x) > 0, G = ‖∇_xℓ(x)‖_2 and nu at least the
positive top eigenvalue of ∇²_xℓ wherever ℓ <= ln 2 within distance eps, every delta that reaches ln 2 has

    ‖delta‖_2 >= min(eps, 2c / (G + √(G² + 2 nu c))).

nu is needed up to the first point of the segment from x to x + delta where the loss is ln 2, so only where p_y >= 1/2
(our sharpening of L2.6). Three choices of nu give three predictions:

- "quadratic": the top eigenvalue at x, by Lanczos from below. The radius of the quadratic model; no guarantee.
- "sampled": the largest over points of the ball of the quadratic radius, wherever their loss; no guarantee.
- "certified": for smooth chains, an upper bound of nu everywhere, from certified operator norms. With D_k = J_k - J_y,
  v^T ∇²ℓ v = Var_p(D_k v) + sum_k p_k v^T ∇²(f_k - f_y) v, where D_y = 0 and the other classes have mass <= 1/2. The
  variance is at most v^T J^T J v / 2 (L1.2) and at most sum_{k != y} p_k (D_k v)²; the sum at most Lambda_y / 2:

      nu = min(sup‖J‖_2², sup max_k‖D_k‖_2²) / 2 + Lambda_y / 2,   Lambda_y a Lipschitz constant of every D_k (L2.5).

  A lower bound of the minimal perturbation. torch's softplus, which drops by 2e-9 where its input passes 20, is taken
  for the smooth function.

Measured is the norm of a misclassified perturbation that attacks found: an upper bound of the minimal one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from bounds.errors import InputError
from bounds.inputs import Data
from bounds.measure.hessian import lanczos_curvature
from bounds.measure.margin import margins_of_logits
from bounds.network import TracedNetwork, TraceError, trace
from bounds.network.logits import Logits, as_logits
from verification.attack_set import AttackSet
from verification.attacks import attack
from verification.certify.certifier import Certifier
from verification.certify.enclosure import enclose
from verification.certify.second_order import jacobian_lipschitz, why_not_second_order
from verification.judgement import SoundnessError
from verification.surrogates import slopes

Run = Callable[[Tensor], Tensor]

PREDICTIONS = ("quadratic", "sampled", "certified")
THRESHOLD = math.log(2)
FAR = 1e3  # input units: the ball that the certified curvature holds in, beyond every radius predicted
FIRST = 1.0  # input units: the radius attacked first
GROWTH = 4.0  # of the radius, while no attack has succeeded
SHARPEST = 1.02  # ratio of the radii that attacks succeed and fail at below which the search stops
HALVINGS = 16  # of the way from x to a misclassified point
SLACK = 1e-9  # relative allowance for rounding in comparisons of radii
CHUNK = 250  # samples attacked together; at most what an attack takes in one piece


def attack_radius(
    network: nn.Module,
    training: Data,
    held_out: Data,
    *,
    samples: int,
    steps: int = 15,
    restarts: int = 1,
    rounds: int = 9,
    points: int = 6,
) -> dict[str, Any]:
    """Predicted and measured attack radii of held-out samples whose loss is below ln 2, ℓ2, input units, no box.

    Args:
        network: in eval mode.
        training: not used.
        held_out: random samples of them, the same for every network; those with a loss of ln 2 or more are left out.
        samples: how many are looked at.
        steps: gradient steps per restart of every attack.
        restarts: walks per sample of every attack.
        rounds: attacks per sample, the radii chosen by bisection.
        points: random points of the ball that curvature is sampled at, besides one along the gradient.

    Returns:
        "samples" looked at and "kept"; per kept sample, to six digits, "measured" (None where no attack succeeded),
        "quadratic", "sampled" and "certified" (None for all if the network is no smooth chain) radii, "gradient" and
        "curvature" at x; per prediction the "medians", "spearman" rank correlation with the measured radius, "ratios"
        (median of predicted / measured) and "above" (share of samples where it exceeds the measured one); a number is
        None where it does not exist. "certified_curvature": the mean of that nu.

    Raises:
        InputError: for more samples than an attack takes in one piece.
        SoundnessError: if an attack succeeds below a certified radius.

    >>> linear = nn.Linear(2, 2, bias=False)
    >>> linear.weight.data = torch.eye(2)
    >>> data = Data("toy", torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1]), 2)
    >>> found = attack_radius(linear, data, data, samples=2)  # distances from the line x_1 = x_2
    >>> [round(radius, 3) for radius in found["measured"]], found["above"]["certified"]
    ([0.707, 1.414], 0.0)
    """
    if samples > CHUNK:
        raise InputError(f"attack radii of {samples} samples: at most {CHUNK}")
    x, y = next(held_out.subset(min(samples, len(held_out)), seed=0).batches(CHUNK))
    low = slopes(network, x, y, "l2").loss < THRESHOLD
    found = _radii(network, x[low], y[low], steps=steps, restarts=restarts, rounds=rounds, points=points)
    predicted = {name: values for name in PREDICTIONS if (values := found[name]) is not None}
    measured = found["measured"]
    assert measured is not None
    _refuse_unsound(predicted.get("certified"), measured)
    nu = found.pop("certified_curvature")
    return {
        "samples": len(low),
        "kept": len(measured),
        **{name: None if values is None else _plain(values) for name, values in found.items()},
        "certified_curvature": None if nu is None else _plain(nu.mean()),
        "medians": {name: _median(values) for name, values in {"measured": measured, **predicted}.items()},
        **_compared(predicted, measured),
    }


def _refuse_unsound(certified: Tensor | None, measured: Tensor) -> None:
    """A theorem is not decided by statistics: one violation is an error of the package."""
    if certified is not None and bool((measured < certified * (1 - 1e-9)).any()):
        worst = float((measured / certified).nan_to_num(1.0).min())
        raise SoundnessError(f"an attack succeeds at {worst:.6g} of a certified radius: please report this")


def predicted_radius(c: Tensor, slope: Tensor, curvature: Tensor) -> Tensor:
    """Theory L2.6 per sample, (n,): where c is used up by slope·r + curvature·r²/2; infinite where both are 0.

    Args:
        c: loss that is missing, nats, positive.
        slope: ‖∇_xℓ‖_2, nats / input unit.
        curvature: nats / input units²; negative counts as 0.

    >>> one = torch.ones(1, dtype=torch.float64)
    >>> predicted_radius(1.5 * one, one, one)  # r + r²/2 = 3/2
    tensor([1.], dtype=torch.float64)
    """
    root = (slope.square() + 2 * curvature.clamp(min=0) * c).sqrt()
    return 2 * c / (slope + root)


def smallest_found(run: Run, x: Tensor, y: Tensor, *, steps: int, restarts: int, rounds: int) -> Tensor:
    """The smallest ℓ2 norm of a misclassified perturbation that attacks find, per sample; no box.

    Every round attacks each sample at its own radius, by bisection in its logarithm; a success is shortened along its
    ray. Samples are scaled by their radii so that one attack of radius 1 serves all of them.

    Args:
        run: float64 logits of a batch of inputs.
        x: inputs, (n, *shape), float64, n at most CHUNK.
        y: labels, (n,), of samples that are classified correctly.
        steps: gradient steps per walk.
        restarts: walks per attack.
        rounds: attacks per sample.

    Returns:
        (n,), input units: upper bounds of the minimal perturbation; infinite where no attack succeeded.

    >>> x, y = torch.tensor([[3.0, 4.0]], dtype=torch.float64), torch.tensor([0])
    >>> round(smallest_found(lambda x: x, x, y.add(1), steps=10, restarts=1, rounds=4).item(), 4)  # 1/√2
    0.7071
    """
    low, high = torch.zeros(len(x), dtype=torch.float64), torch.full((len(x),), math.inf, dtype=torch.float64)
    radius = torch.full_like(low, FIRST)
    for number in range(rounds):
        scale = radius.reshape(-1, *(1,) * (x.dim() - 1))

        def scaled(z: Tensor, scale: Tensor = scale) -> Tensor:
            return run(z * scale)

        # Checked as it is: the same function, seen through another unit for every sample.
        worst = attack(
            Logits(scaled, torch.float64),
            x / scale,
            y,
            "l2",
            1.0,
            steps=steps,
            restarts=restarts,
            box=None,
            loss="margin",
            seed=number,
        )
        reached = _shortened(run, x, y, worst.delta * scale)
        low = torch.where(reached.isinf(), torch.maximum(low, radius), low)
        high = torch.minimum(high, reached)
        low = torch.minimum(low, high / SHARPEST)  # a later attack may succeed where an earlier one failed
        between = torch.where(low > 0, (low * high).sqrt(), high / GROWTH)
        radius = torch.where(high.isinf(), low * GROWTH, between)
        if bool((high <= low * SHARPEST * (1 + SLACK)).all()):
            break
    return high


def _shortened(run: Run, x: Tensor, y: Tensor, delta: Tensor) -> Tensor:
    """Norm of the shortest misclassified part of each perturbation that bisection finds; inf if delta is none, (n,)."""
    shape = (-1, *(1,) * (x.dim() - 1))

    def wrong(part: Tensor) -> Tensor:
        with torch.no_grad():
            return margins_of_logits(run(x + part.reshape(shape) * delta), y)[0] <= 0

    right, misled = torch.zeros(len(x), dtype=torch.float64), torch.ones(len(x), dtype=torch.float64)
    usable = wrong(misled)
    for _ in range(HALVINGS):
        middle = (right + misled) / 2
        over = wrong(middle)
        right, misled = torch.where(over, right, middle), torch.where(over, middle, misled)
    norms = (misled.reshape(shape) * delta).flatten(1).norm(dim=1)
    return torch.where(usable, norms, math.inf)


def _radii(
    network: nn.Module, x: Tensor, y: Tensor, *, steps: int, restarts: int, rounds: int, points: int
) -> dict[str, Tensor | None]:
    """Of samples with a loss below ln 2, (n,) each."""
    if not len(y):
        return dict.fromkeys(
            ("measured", *PREDICTIONS, "gradient", "curvature", "certified_curvature"),
            torch.zeros(0, dtype=torch.float64),
        )
    run, first_order = as_logits(network, x), slopes(network, x, y, "l2")
    c, slope = THRESHOLD - first_order.loss, first_order.slopes["gradient"]
    curvature = lanczos_curvature(run, x, y)[0]
    quadratic = predicted_radius(c, slope, curvature)
    nu = certified_curvature(network, x, y)
    return {
        "measured": smallest_found(run, x, y, steps=steps, restarts=restarts, rounds=rounds),
        "quadratic": quadratic,
        "sampled": predicted_radius(c, slope, _sampled_curvature(run, x, y, quadratic, curvature, points)),
        "certified": None if nu is None else predicted_radius(c, slope, nu).clamp(max=FAR),
        "gradient": slope,
        "curvature": curvature,
        "certified_curvature": nu,
    }


def _sampled_curvature(run: Run, x: Tensor, y: Tensor, radius: Tensor, at_x: Tensor, points: int) -> Tensor:
    """Largest top eigenvalue among x, points at random in the ball and the one at its rim along the gradient, (n,)."""
    radius = radius.clamp(max=FAR).reshape(-1, *(1,) * (x.dim() - 1))
    generator = torch.Generator().manual_seed(0)
    leaf = x.clone().requires_grad_(True)
    with torch.enable_grad():
        (uphill,) = torch.autograd.grad(margins_of_logits(run(leaf), y)[1].sum(), leaf)
    noise = [torch.randn(x.shape, dtype=x.dtype, generator=generator) for _ in range(points)]
    shares = [torch.rand(radius.shape, dtype=x.dtype, generator=generator) for _ in range(points)]
    largest = at_x
    for direction, share in zip([*noise, uphill], [*shares, torch.ones_like(radius)], strict=True):
        moved = x + share * radius * torch.nn.functional.normalize(direction.flatten(1), dim=1).reshape(x.shape)
        largest = torch.maximum(largest, lanczos_curvature(run, moved, y)[0])
    return largest


def certified_curvature(network: nn.Module, x: Tensor, y: Tensor) -> Tensor | None:
    """Upper bound of the top eigenvalue of ∇²_xℓ wherever p_y >= 1/2 within FAR of x, (n,); the module's formula.

    Args:
        network: a module.
        x: inputs, (n, *shape).
        y: labels, (n,).

    Returns:
        nats / input units²; None unless the network is a chain of layers with smooth activations.

    >>> linear = nn.Linear(1, 2, bias=False)
    >>> linear.weight.data = torch.tensor([[3.0], [-1.0]])  # ‖J‖_2² = 10, (J_0 - J_1)² = 16
    >>> round(certified_curvature(linear, torch.zeros(1, 1), torch.tensor([0])).item(), 6)
    5.0
    """
    try:
        traced = trace(network, x[:2].float())
    except TraceError:
        return None
    if traced.architecture.obstacles or why_not_second_order(traced) is not None:
        return None
    norms = Certifier.measured(traced).s_upper
    assert norms is not None
    apart = _rows_apart(traced)[y]
    rhos = [nonlinearity.rho for nonlinearity in traced.architecture.nonlinearities]
    hidden = math.prod(norms[:-1]) * math.prod(rhos)  # Lipschitz constant of everything before the last layer
    steepest = torch.minimum(torch.full_like(apart, hidden * norms[-1]), hidden * apart)
    everywhere = enclose(traced, x, AttackSet("l2", FAR))
    bending = jacobian_lipschitz(everywhere, [*norms[:-1], 1.0]) * apart
    return (steepest.square() / 2 + bending / 2) * (1 + SLACK)


def _rows_apart(network: TracedNetwork) -> Tensor:
    """max_k ‖row_k - row_y‖_2 of the last layer for every label y, (K,), rounded upwards."""
    last = network.segments[-1]
    rows = last.adjoint(torch.eye(last.d_out, dtype=torch.float64).reshape(-1, *last.out_shape)).flatten(1)
    apart: Tensor = (rows[:, None] - rows[None]).norm(dim=2).amax(dim=1) * (1 + SLACK)
    return apart


def _compared(predicted: dict[str, Tensor], measured: Tensor) -> dict[str, dict[str, Any]]:
    """Rank correlation, median ratio and share above, of every prediction against the measured radii."""
    there = measured.isfinite()
    target = measured[there]
    pairs = {name: values[there] for name, values in predicted.items()}
    return {
        "spearman": {name: _spearman(values, target) for name, values in pairs.items()},
        "ratios": {name: _median(values / target) for name, values in pairs.items()},
        "above": {
            name: float((values > target * (1 + SLACK)).double().mean()) if len(target) else None
            for name, values in pairs.items()
        },
    }


def _spearman(one: Tensor, other: Tensor) -> float | None:
    """None where a rank correlation does not exist: fewer than three samples, or all values equal."""
    if len(one) < 3 or bool((one == one[0]).all()) or bool((other == other[0]).all()):
        return None
    return float(spearmanr(one.numpy(), other.numpy()).statistic)


def _median(values: Tensor) -> Any:
    return _plain(values.quantile(0.5)) if len(values) else None


def _plain(values: Tensor) -> Any:
    """Numbers to six digits as plain json; None for what is not finite."""
    if values.dim():
        return [_plain(value) for value in values]
    return float(f"{float(values):.6g}") if bool(values.isfinite()) else None
