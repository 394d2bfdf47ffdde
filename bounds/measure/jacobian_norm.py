"""Norms of input Jacobians, sample by sample: the N(J) of the surrogates in theory §2."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from bounds.budget import Budget
from bounds.errors import unknown_name
from bounds.measure.jacobian import jacobians
from bounds.measure.load import Load, load_of
from bounds.measure.margin import Batches, logits_on
from bounds.measure.pr_norm import SampleBounds, operator_norm_pr, pieces, spectral, vector_norms
from bounds.network.modes import with_gradients
from bounds.network.running import Model

NAMES = ("spectral", "frobenius", "entrywise_l1", "row_sum")
_COPIES = 1.3  # Jacobians of a chunk that are held at most: 1.05 measured, and room


@dataclass(frozen=True)
class JacobianNorms:
    """Norms of J(x) at every sample, shape (n,), float64, logits per input unit; exact but for `operators`.

    Attributes:
        plain: those of `NAMES` that were asked for, also as attributes.
        margins: q -> max_{k≠y} ‖J_k - J_y‖_q.
        operators: (p, r) -> two-sided ‖J‖_{p→r}.
    """

    plain: Mapping[str, Tensor]
    margins: Mapping[float, Tensor]
    operators: Mapping[tuple[float, float], SampleBounds]

    @property
    def spectral(self) -> Tensor:
        """‖J‖_2."""
        return self.plain["spectral"]

    @property
    def frobenius(self) -> Tensor:
        """‖J‖_F."""
        return self.plain["frobenius"]

    @property
    def entrywise_l1(self) -> Tensor:
        """‖J‖_{1,1} = Σ|J_kj|."""
        return self.plain["entrywise_l1"]

    @property
    def row_sum(self) -> Tensor:
        """max_k ‖J_k‖_1."""
        return self.plain["row_sum"]


@with_gradients
def jacobian_norms(
    model: Model,
    data: Batches,
    *,
    wanted: Collection[str] = NAMES,
    q: Collection[float] = (1, 2, math.inf),
    operators: Collection[tuple[float, float]] = (),
    chunk: int = 32,
    memory: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> JacobianNorms:
    """Norms of the input Jacobian at every sample, streamed: the Jacobians of one chunk are held at a time.

    Args:
        model: maps (batch, *input_shape) to logits (batch, K); a module is run in eval mode and float64.
        data: the labelled sample; the labels enter the margin-Jacobian only.
        wanted: which of `NAMES`.
        q: exponents of the margin-Jacobian, dual to the attack norm.
        operators: pairs (p, r) of operator norms wanted.
        chunk: samples differentiated together, at most.
        memory: what a chunk may take; a share of what is available if None.
        progress: called with (samples done, total), after every backward pass.

    Raises:
        InputError: if there are no samples, the samples influence each other, or a name is unknown.
    """
    for name in wanted:
        if name not in NAMES:
            raise unknown_name("norm of the Jacobian", name, NAMES)
    report = progress or (lambda done, total: None)
    run = logits_on(model, data)
    each = load_of(run, data)
    size = each.batch(memory, chunk, "the Jacobian", beside=_COPIES * each.jacobian)
    found = _empty(len(data), wanted, q, operators)
    done = 0
    for x, y in data.batches(size):
        still = partial(_still, report, done, len(data))
        jacobian = jacobians(run, x.to(torch.float64), chunk=size, memory=memory, progress=still).flatten(2)
        for at_once in pieces(jacobian, 0):
            labels, y = y[: len(at_once)], y[len(at_once) :]
            _measure(at_once, labels, found, slice(done, done + len(labels)))
            done += len(labels)
            report(done, len(data))
    return found


def work_of(each: Load, *, spectral: bool) -> float:
    """Multiply-adds that the norms of one sample's Jacobian take: K ways back, and for ‖J‖_2 a Gram matrix.

    >>> work_of(Load(3, 2, kept=0, products=100), spectral=False)
    300.0
    """
    small, large = sorted((each.inputs, each.outputs))
    return float((each.outputs + 1) * each.products + (small * small * (large + 2 * small) if spectral else 0))


def _still(report: Callable[[int, int], None], done: int, total: int, *within_chunk: int) -> None:
    """Samples count as done once their norms are known."""
    report(done, total)


def _empty(
    n: int, wanted: Collection[str], q: Collection[float], operators: Collection[tuple[float, float]]
) -> JacobianNorms:
    """Room for the norms: results that were made one by one would lie scattered between the Jacobians' pieces."""

    def numbers() -> Tensor:
        return torch.full((n,), math.nan, dtype=torch.float64)

    return JacobianNorms(
        {name: numbers() for name in NAMES if name in wanted},
        {key: numbers() for key in q},
        {pair: SampleBounds(numbers(), numbers()) for pair in operators},
    )


def _measure(jacobian: Tensor, y: Tensor, found: JacobianNorms, rows: slice) -> None:
    """Fills in the norms of a few Jacobians, which are overwritten with their absolute values."""
    for q, margins in found.margins.items():
        margins[rows] = margin_jacobian(jacobian, y, q)
    for (p, r), bounds in found.operators.items():
        bound = operator_norm_pr(jacobian, p, r)
        bounds.lower[rows], bounds.upper[rows] = bound.lower, bound.upper
    for name, norms in found.plain.items():  # those of absolute values come last
        norms[rows] = _PLAIN[name](jacobian)


def _frobenius(jacobian: Tensor) -> Tensor:
    parts = [vector_norms(piece.flatten(1), 2, 1) for piece in pieces(jacobian, 1)]
    return vector_norms(torch.stack(parts, 1), 2, 1)


_PLAIN: Mapping[str, Callable[[Tensor], Tensor]] = {
    "spectral": spectral,
    "frobenius": _frobenius,
    "entrywise_l1": lambda jacobian: jacobian.abs_().sum((1, 2)),
    "row_sum": lambda jacobian: jacobian.abs_().sum(2).amax(1),
}


def margin_jacobian(jacobian: Tensor, y: Tensor, q: float) -> Tensor:
    """max_{k≠y} ‖J_k - J_y‖_q of a batch (n, K, d) with labels (n,); exact to rounding.

    >>> margin_jacobian(torch.tensor([[[3.0, 0.0], [0.0, 4.0]]]), torch.tensor([0]), 2)
    tensor([5.])
    """
    own = jacobian[torch.arange(len(y)), y]
    parts = [vector_norms(piece - own[:, None], q, 2).amax(1) for piece in pieces(jacobian, 1)]
    return torch.stack(parts).amax(0)
