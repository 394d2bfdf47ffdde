"""Surrogates of the robust loss, S(x) = loss + eps·c·N(J(x)): every row of theory §2's table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.inputs import Data
from bounds.measure import JacobianNorms, jacobian_norms
from bounds.measure.load import load
from bounds.measure.margin import margins_of_logits
from bounds.network.logits import as_logits
from bounds.network.modes import with_gradients
from bounds.network.running import Model
from verification.attack_set import NORMS, AttackSet

OPERATOR_R = 2.0  # the logit norm of the operator row


@dataclass(frozen=True)
class Surrogate:
    """One row of the table.

    Attributes:
        name: its key.
        norms: the attack norms it is for.
        constant: c in S = loss + eps·c·N(J).
        upper: whether S >= R_lin, the robust loss of the linearised network (theory L2.1).
        source: where it comes from.
        jacobian_norm: N(J) per sample from the measured norms, for an attack set; None for the gradient row,
            whose N is the loss gradient's dual norm.
        plain: which of the plain norms of the Jacobian that is, if any.
    """

    name: str
    norms: tuple[str, ...]
    constant: float
    upper: bool
    source: str
    jacobian_norm: Callable[[JacobianNorms, AttackSet], Tensor] | None
    plain: str | None = None

    @classmethod
    def of(cls, name: str, norms: tuple[str, ...], constant: float, plain: str, source: str) -> Surrogate:
        """A row whose N(J) is a plain norm of the Jacobian: one of `bounds.measure.jacobian_norm.NAMES`."""
        return cls(name, norms, constant, True, source, lambda norms, ball: norms.plain[plain], plain)


SURROGATES: dict[str, Surrogate] = {
    row.name: row
    for row in (
        Surrogate("gradient", tuple(NORMS), 1.0, False, "first order: ‖J^T u‖_q, theory §2", None),
        Surrogate(
            "margin-jacobian",
            tuple(NORMS),
            1.0,
            True,
            "our derivation: max_k ‖J_k - J_y‖_q, theory §2",
            lambda norms, ball: norms.margins[ball.q],
        ),
        Surrogate.of("spectral", ("l2",), math.sqrt(2), "spectral", "‖J‖_2, theory §2"),
        Surrogate.of(
            "frobenius",
            ("l2",),
            math.sqrt(2),
            "frobenius",
            "‖J‖_F, after Wu & Li; the constant is ours, theory §2",
        ),
        Surrogate.of("row-sum", ("linf",), 2.0, "row_sum", "max_k ‖J_k‖_1, theory §2"),
        Surrogate.of(
            "entrywise-l1",
            ("linf",),
            1.0,
            "entrywise_l1",
            "‖J‖_{1,1}, after Wu & Li; the constant is ours, theory §2",
        ),
        Surrogate(
            "operator",
            tuple(NORMS),
            2 ** (1 - 1 / OPERATOR_R),
            True,
            "‖J‖_{p→2} (for linf its certified upper end), after Roth et al.; theory §2, L3.3",
            lambda norms, ball: norms.operators[ball.p, OPERATOR_R].upper,
        ),
    )
}


@dataclass(frozen=True)
class Slopes:
    """What the surrogates of one attack norm are made of, float64; NaN where logits or derivatives are not finite.

    Attributes:
        loss: cross-entropy per sample, (n,), nats.
        slopes: c·N(J) per sample by surrogate, (n,), nats per input unit.
    """

    loss: Tensor
    slopes: dict[str, Tensor]

    @property
    def failed(self) -> Tensor:
        """Where some value is not finite, (n,) bool."""
        return ~torch.stack([self.loss, *self.slopes.values()]).isfinite().all(dim=0)

    @classmethod
    def cat(cls, parts: Sequence[Slopes]) -> Slopes:
        """The samples of several parts, in order."""
        names = parts[0].slopes
        slopes = {name: torch.cat([part.slopes[name] for part in parts]) for name in names}
        return cls(torch.cat([part.loss for part in parts]), slopes)

    def subset(self, rows: slice) -> Slopes:
        """Some of the samples."""
        return Slopes(self.loss[rows], {name: slope[rows] for name, slope in self.slopes.items()})

    def at(self, eps: float) -> dict[str, Tensor]:
        """S = loss + eps·slope per sample by surrogate, nats."""
        return {name: self.loss + eps * slope for name, slope in self.slopes.items()}


def surrogates(model: Model, x: Tensor, y: Tensor, norm: str, eps: float) -> dict[str, Tensor]:
    """Every surrogate of the robust loss that the attack norm has, per sample.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        norm: "l2", "linf" or "l1".
        eps: radius, input units.

    Returns:
        Surrogate name to values, (n,), float64, nats; exact to rounding, but the operator row for linf is an
        upper bound of itself. Which of them bound what is in SURROGATES.

    Raises:
        InputError: for an unknown norm, a bad radius, or a Jacobian that is not finite.

    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> model.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> values = surrogates(model, torch.zeros(1, 2), torch.tensor([0]), "l2", 1.0)
    >>> {name: round(value.item() - math.log(2), 4) for name, value in values.items()}
    {'gradient': 2.5, 'margin-jacobian': 5.0, 'spectral': 5.6569, 'frobenius': 7.0711, 'operator': 5.6569}
    """
    AttackSet(norm, eps)
    found = slopes(model, x, y, norm)
    if bool(found.failed.any()):
        culprit = int(found.failed.nonzero()[0])
        raise InputError(f"model: the input gradient of sample {culprit} is not finite")
    return found.at(eps)


@with_gradients
def slopes(
    model: Model, x: Tensor, y: Tensor, norm: str, *, progress: Callable[[int, int], None] | None = None
) -> Slopes:
    """Losses and slopes c·N(J) of every surrogate of the attack norm: the surrogates for all radii at once.

    Samples whose logits or input gradient are not finite get NaN throughout.

    Raises:
        InputError: for an unknown norm, or a model whose samples influence each other.
    """
    ball = AttackSet(norm, 0.0)
    run = as_logits(model, x)
    loss, gradient = _loss_and_gradient_norm(run, x, y, ball.q)
    rows = [row for row in SURROGATES.values() if norm in row.norms]
    found = {row.name: torch.full_like(loss, math.nan) for row in rows}
    finite = gradient.isfinite()
    if bool(finite.any()):
        samples = Data("samples", x[finite], y[finite], classes=int(y.max()) + 1)
        norms = jacobian_norms(
            run,
            samples,
            wanted=[row.plain for row in rows if row.plain],
            q=(ball.q,),
            operators=((ball.p, OPERATOR_R),),
            progress=progress,
        )
        for row in rows:
            found[row.name][finite] = row.constant * (
                row.jacobian_norm(norms, ball) if row.jacobian_norm else gradient[finite]
            )
    return Slopes(torch.where(finite, loss, math.nan), found)


def _loss_and_gradient_norm(
    run: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, q: float, chunk: int = 256
) -> tuple[Tensor, Tensor]:
    """Losses, and gradient norms that are not finite where the logits or the gradient are not."""
    losses, norms = [], []
    size = load(run, x[:1].double()).batch(None, chunk, "a backward pass") if len(x) else chunk
    for inputs, labels in zip(x.split(size), y.split(size), strict=True):
        inputs = inputs.double().requires_grad_(True)
        with torch.enable_grad():
            loss = finite_losses(run(inputs), labels)
            (gradient,) = torch.autograd.grad(loss.nansum(), inputs)
        losses.append(loss.detach())
        norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), q, dim=1)
        norms.append(torch.where(losses[-1].isfinite(), norm, math.nan))
    return torch.cat(losses), torch.cat(norms)


def finite_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of logits (n, K) and labels (n,), nats; NaN where a logit is not finite.

    >>> finite_losses(torch.tensor([[0.0, 0.0], [torch.nan, 0.0]]), torch.tensor([0, 0]))
    tensor([0.6931,    nan])
    """
    broken = ~logits.isfinite().all(dim=1)
    loss = margins_of_logits(logits.masked_fill(broken[:, None], 0.0), y)[1]
    return loss.masked_fill(broken, math.nan)
