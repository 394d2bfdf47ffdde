"""A plain search for the worst perturbation of a certified sample, and what it is worth in exact arithmetic.

It shares no code with the package. Every point it evaluates lies in the attack set, as exact numbers do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import mpmath
import torch
from torch import Tensor, nn

UNIT = 2.0**-53
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Ball:
    """{delta : ‖delta‖ <= eps} in the norm "l1", "l2" or "linf", and x + delta in [low, high]; x of shape (n, d)."""

    x: Tensor
    norm: str
    eps: float
    low: float = -math.inf
    high: float = math.inf

    def best(self, direction: Tensor) -> Tensor:
        """The delta in the set that is furthest along `direction`, (..., n, d)."""
        cap = torch.where(direction > 0, self.high - self.x, self.x - self.low).clamp(0, self.eps)
        size = direction.abs()
        if self.norm == "linf":
            length = torch.where(size > 0, cap, 0.0)
        elif self.norm == "l1":
            order = size.argsort(dim=-1, descending=True)
            sorted_cap = cap.gather(-1, order)
            before = sorted_cap.cumsum(-1) - sorted_cap
            spent = torch.minimum(sorted_cap, (self.eps - before).clamp(min=0))
            length = torch.zeros_like(cap).scatter(-1, order, spent)
        else:
            length = self._on_sphere(size, cap)
        return direction.sign() * length

    def _on_sphere(self, size: Tensor, cap: Tensor) -> Tensor:
        """min(scale · size, cap), with the largest scale at which its 2-norm is at most eps."""
        size = size / size.amax(-1, keepdim=True).clamp(min=1e-300)
        inner = torch.zeros_like(size[..., :1])
        outer = self.eps / size.norm(dim=-1, keepdim=True).clamp(min=1e-3)
        for _ in range(40):  # up to the scale at which every coordinate is at its cap
            outer = torch.where(
                torch.minimum(outer * size, cap).norm(dim=-1, keepdim=True) < self.eps, outer * 2, outer
            )
        for _ in range(60):
            middle = (inner + outer) / 2
            fits = torch.minimum(middle * size, cap).norm(dim=-1, keepdim=True) <= self.eps
            inner, outer = torch.where(fits, middle, inner), torch.where(fits, outer, middle)
        return torch.minimum(inner * size, cap)

    def points(self, delta: Tensor) -> Tensor:
        """x + delta with delta shortened by so much that no rounding leaves the set, (..., n, d)."""
        if self.eps == 0:
            return self.x.expand_as(delta)
        reach = float(self.x.abs().max()) + self.eps
        slack = 1e-12 + 4 * self.x.shape[1] * UNIT * max(reach, self.eps) / self.eps
        return (self.x + delta * max(0.0, 1 - slack)).clamp(self.low, self.high)

    def contains(self, sample: int, point: Tensor) -> bool:
        """Whether a point (d,) belongs to sample's set, decided in rational numbers."""
        pairs = zip(point.tolist(), self.x[sample].tolist(), strict=True)
        sizes = [abs(Fraction(a) - Fraction(b)) for a, b in pairs]
        eps = Fraction(self.eps)
        inside = all(self.low <= a <= self.high for a in point.tolist())
        if self.norm == "linf":
            return inside and max(sizes) <= eps
        return inside and (sum(sizes) <= eps if self.norm == "l1" else sum(s * s for s in sizes) <= eps * eps)


def losses_and_margins(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and z_y - max_{k != y} z_k, for logits (..., n, K) and labels (n,)."""
    index = y.expand(logits.shape[:-1])[..., None]
    own = logits.gather(-1, index)
    gaps = (logits - own).scatter(-1, index, -math.inf)  # z_k - z_y of the other classes
    top = gaps.amax(-1).clamp(min=0)
    total = (-top).exp() + (gaps - top[..., None]).exp().sum(-1)
    # log1p keeps the small losses of confident samples
    small = torch.log1p(gaps.exp().sum(-1))
    return torch.where(gaps.amax(-1) < -1, small, top + total.log()), -gaps.amax(-1)


@dataclass(frozen=True)
class Worst:
    """What the search found: the largest loss and the smallest margin per sample, and the points where."""

    loss: Tensor
    margin: Tensor
    loss_point: Tensor
    margin_point: Tensor


def search(
    network: Network, x: Tensor, y: Tensor, ball: Ball, seed: int, *, steps: int = 6, randoms: int = 24
) -> Worst:
    """The worst of: x itself, random points, vertices of the set, and conditional-gradient ascent towards every class.

    Args:
        network: float64 logits of (n, *shape).
        x: inputs, (n, *shape).
        y: labels, (n,).
        ball: the set, on x flattened to (n, d).
        seed: of the random points.
        steps: of the ascent.
        randoms: how many random points and how many vertices are tried per sample.
    """
    n, shape = len(x), x.shape[1:]

    def logits(points: Tensor) -> Tensor:
        return network(points.reshape(-1, *shape)).reshape(*points.shape[:-1], -1)

    worst: Worst | None = None
    for points in _candidates(logits, y, ball, seed, steps, randoms):
        with torch.no_grad():
            loss, margin = losses_and_margins(logits(points), y)
        (loss, i), (margin, j) = loss.max(0), margin.min(0)
        rows = torch.arange(n)
        found = Worst(loss, margin, points[i, rows], points[j, rows])
        worst = found if worst is None else _merged(worst, found)
    assert worst is not None
    return worst


def _merged(a: Worst, b: Worst) -> Worst:
    higher, lower = b.loss > a.loss, b.margin < a.margin
    return Worst(
        torch.where(higher, b.loss, a.loss),
        torch.where(lower, b.margin, a.margin),
        torch.where(higher[:, None], b.loss_point, a.loss_point),
        torch.where(lower[:, None], b.margin_point, a.margin_point),
    )


def _candidates(logits: Network, y: Tensor, ball: Ball, seed: int, steps: int, randoms: int) -> Iterator[Tensor]:
    """Batches of points (m, n, d) of the set."""
    n, d = ball.x.shape
    generator = torch.Generator().manual_seed(seed)
    yield ball.points(torch.zeros(1, n, d, dtype=torch.float64))
    noise = torch.randn(randoms, n, d, generator=generator, dtype=torch.float64)
    vertices = ball.best(noise)
    yield ball.points(vertices)
    yield ball.points(vertices * torch.rand(randoms, n, 1, generator=generator, dtype=torch.float64))
    axes = torch.randperm(d, generator=generator)[:randoms]
    signed = torch.zeros(2 * len(axes), n, d, dtype=torch.float64)
    signed[torch.arange(len(axes)), :, axes] = 1.0
    signed[torch.arange(len(axes), 2 * len(axes)), :, axes] = -1.0
    yield ball.points(ball.best(signed))  # for l1: +-eps e_i, cut at the box
    yield ball.points(ball.best(torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None, None].expand(2, n, d)))
    yield from _ascent(logits, y, ball, steps)


def _ascent(logits: Network, y: Tensor, ball: Ball, steps: int) -> Iterator[Tensor]:
    """Conditional gradient (Frank & Wolfe) on z_k - z_y for every k: all vertices visited and the iterates."""
    with torch.no_grad():
        classes = logits(ball.x[None]).shape[-1]
    delta = torch.zeros(classes, *ball.x.shape, dtype=torch.float64)
    for step in range(steps):
        inputs = (ball.x + delta).requires_grad_(True)
        out = logits(inputs)
        own = out.gather(-1, y.expand(out.shape[:-1])[..., None])[..., 0]
        aims = torch.stack([out[k, :, k] for k in range(classes)]) - own
        (gradient,) = torch.autograd.grad(aims.sum(), inputs)
        vertex = ball.best(gradient)
        yield ball.points(vertex)
        delta = delta + (vertex - delta) * (1.0 if step == 0 else 2 / (step + 2))
        yield ball.points(delta)


DIGITS = 60


def exact_logits(model: nn.Sequential, point: list[Fraction]) -> list[mpmath.mpf]:
    """Logits of dense layers and activations to 60 digits: what the float64 weights mean, without their rounding."""
    with mpmath.workdps(DIGITS):
        values = [mpmath.mpf(value.numerator) / value.denominator for value in point]
        for layer in model:
            if isinstance(layer, nn.Linear):
                rows = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
                values = [mpmath.fdot(map(mpmath.mpf, row), values) + mpmath.mpf(bias) for row, bias in rows]
            else:
                values = [_exact_activation(layer, value) for value in values]
        return values


def _exact_activation(layer: nn.Module, h: mpmath.mpf) -> mpmath.mpf:
    match layer:
        case nn.ReLU():
            return max(h, mpmath.mpf(0))
        case nn.LeakyReLU():
            return h if h > 0 else h * mpmath.mpf(layer.negative_slope)
        case nn.Tanh():
            return mpmath.tanh(h)
        case nn.Sigmoid():
            return 1 / (1 + mpmath.exp(-h))
        case nn.Softplus():  # with torch's threshold, above which it is the identity
            return h if h * layer.beta > layer.threshold else mpmath.log1p(mpmath.exp(h * layer.beta)) / layer.beta
        case nn.GELU(approximate="tanh"):
            inner = mpmath.sqrt(2 / mpmath.pi) * (h + mpmath.mpf("0.044715") * h**3)
            return h * (1 + mpmath.tanh(inner)) / 2
        case nn.GELU():
            return h * mpmath.ncdf(h)
        case nn.SiLU():
            return h / (1 + mpmath.exp(-h))
        case nn.ELU():
            return h if h > 0 else mpmath.mpf(layer.alpha) * mpmath.expm1(h)
    raise AssertionError(layer)


def exact_vertices(norm: str, eps: float, d: int) -> Iterator[list[Fraction]]:
    """Points of the sphere with rational coordinates: corners, signed unit vectors, Pythagorean ones."""
    radius = Fraction(eps)
    if norm == "linf":
        yield from ([radius * sign for sign in signs] for signs in itertools.product((-1, 1), repeat=d))
        return
    for i, sign in itertools.product(range(d), (-1, 1)):
        yield [radius * sign * (j == i) for j in range(d)]
    if norm == "l2":
        for (i, j), a, b in itertools.product(itertools.permutations(range(d), 2), (-1, 1), (-1, 1)):
            yield [radius * (Fraction(3 * a, 5) * (k == i) + Fraction(4 * b, 5) * (k == j)) for k in range(d)]


def exact_loss_and_margin(logits: list[mpmath.mpf], y: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Cross-entropy and z_y - max_{k != y} z_k to 60 digits."""
    with mpmath.workdps(DIGITS):
        gaps = [z - logits[y] for k, z in enumerate(logits) if k != y]
        return mpmath.log1p(mpmath.fsum(mpmath.exp(gap) for gap in gaps)), -max(gaps)
