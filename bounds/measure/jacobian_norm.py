"""Norms of input Jacobians, sample by sample: the N(J) of the surrogates in theory §2."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.measure.jacobian import jacobians
from bounds.measure.margin import Batches, logits_on
from bounds.measure.pr_norm import SampleBounds, operator_norm_pr, spectral, vector_norms
from bounds.network.modes import with_gradients
from bounds.network.running import Model


@dataclass(frozen=True)
class JacobianNorms:
    """Norms of J(x) at every sample, shape (n,), float64, logits per input unit; exact but for `operators`.

    Attributes:
        spectral: ‖J‖_2.
        frobenius: ‖J‖_F.
        entrywise_l1: ‖J‖_{1,1} = Σ|J_kj|.
        row_sum: max_k ‖J_k‖_1.
        margins: q -> max_{k≠y} ‖J_k - J_y‖_q.
        operators: (p, r) -> two-sided ‖J‖_{p→r}.
    """

    spectral: Tensor
    frobenius: Tensor
    entrywise_l1: Tensor
    row_sum: Tensor
    margins: dict[float, Tensor]
    operators: dict[tuple[float, float], SampleBounds]


@with_gradients
def jacobian_norms(
    model: Model,
    data: Batches,
    *,
    q: Collection[float] = (1, 2, math.inf),
    operators: Collection[tuple[float, float]] = (),
    chunk: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> JacobianNorms:
    """Norms of the input Jacobian at every sample, streamed: the Jacobians of one chunk are held at a time.

    Args:
        model: maps (batch, *input_shape) to logits (batch, K); a module is run in eval mode and float64.
        data: the labelled sample; the labels enter the margin-Jacobian only.
        q: exponents of the margin-Jacobian, dual to the attack norm.
        operators: pairs (p, r) of operator norms wanted.
        chunk: samples differentiated together.
        progress: called with (samples done, total).

    Raises:
        InputError: if there are no samples or the samples influence each other.
    """
    run = logits_on(model, data)
    parts, done = [], 0
    for x, y in data.batches(chunk):
        jacobian = jacobians(run, x.to(torch.float64), chunk=chunk).flatten(2)
        parts.append(_norms(jacobian, y, q, operators))
        done += len(y)
        if progress is not None:
            progress(done, len(data))
    if not parts:
        raise InputError("data: there are no samples")
    return JacobianNorms(
        spectral=torch.cat([part.spectral for part in parts]),
        frobenius=torch.cat([part.frobenius for part in parts]),
        entrywise_l1=torch.cat([part.entrywise_l1 for part in parts]),
        row_sum=torch.cat([part.row_sum for part in parts]),
        margins={key: torch.cat([part.margins[key] for part in parts]) for key in q},
        operators={
            key: SampleBounds(
                torch.cat([part.operators[key].lower for part in parts]),
                torch.cat([part.operators[key].upper for part in parts]),
            )
            for key in operators
        },
    )


def _norms(
    jacobian: Tensor, y: Tensor, q: Collection[float], operators: Collection[tuple[float, float]]
) -> JacobianNorms:
    return JacobianNorms(
        spectral=spectral(jacobian),
        frobenius=vector_norms(jacobian.flatten(1), 2, 1),
        entrywise_l1=jacobian.abs().sum((1, 2)),
        row_sum=jacobian.abs().sum(2).amax(1),
        margins={key: margin_jacobian(jacobian, y, key) for key in q},
        operators={(p, r): operator_norm_pr(jacobian, p, r) for p, r in operators},
    )


def margin_jacobian(jacobian: Tensor, y: Tensor, q: float) -> Tensor:
    """max_{k≠y} ‖J_k - J_y‖_q of a batch (n, K, d) with labels (n,); exact to rounding.

    >>> margin_jacobian(torch.tensor([[[3.0, 0.0], [0.0, 4.0]]]), torch.tensor([0]), 2)
    tensor([5.])
    """
    own = jacobian[torch.arange(len(y)), y]
    return vector_norms(jacobian - own[:, None], q, 2).amax(1)
