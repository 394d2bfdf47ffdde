"""Per-sample input Jacobians of a batch by K batched vector-Jacobian products (theory §7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bounds.budget import Budget
from bounds.errors import InputError
from bounds.measure.load import load
from bounds.network.checks import DISCONNECTED, check_samples
from bounds.network.errors import InvalidNetwork
from bounds.network.logits import Logits
from bounds.network.modes import with_gradients
from bounds.network.traced import TracedNetwork


@with_gradients
def jacobians(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    chunk: int = 32,
    memory: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """J_kj = ∂f_k/∂x_j at every sample, in input units, exact to rounding in the dtype of model and x.

    Samples do not influence each other, so the gradient of the k-th output summed over the chunk holds row k
    of every sample's Jacobian: one forward and K backward passes per chunk, with the graph of a chunk alive
    at a time.

    Args:
        model: maps (batch, *input_shape) to (batch, K), in eval mode.
        x: inputs, shape (n, *input_shape).
        chunk: samples differentiated together, at most.
        memory: what differentiating them may take, beside the result; a share of what is available if None.
        progress: called with (samples done, total) after every backward pass.

    Returns:
        Shape (n, K, *input_shape).

    Raises:
        InputError: if samples influence each other (train-mode batch-norm), or the outputs are not (batch,
            K).

    Example:
        >>> jacobians(lambda x: torch.stack([x[:, 0] * x[:, 1], x[:, 0] ** 2], 1), torch.tensor([[2.0, 3.0]]))
        tensor([[[3., 2.],
                 [4., 0.]]])
    """
    if not len(x):
        raise InputError("data: there are no samples")
    if not isinstance(model, TracedNetwork | Logits) and len(x) > 1:  # those have been checked
        check_samples(model, x[:3].detach(), x.dtype)
    chunk = load(model, x).batch(memory, chunk, "a backward pass") if len(x) > 1 else 1
    result: Tensor | None = None
    for first in range(0, len(x), chunk):
        part = x[first : first + chunk]
        for k, classes, rows in _rows(model, part):
            if result is None:
                result = torch.empty(len(x), classes, *x.shape[1:], dtype=rows.dtype)
            result[first : first + len(part), k] = rows
            if progress is not None:
                progress(first + len(part) * (k + 1) // classes, len(x))
    assert result is not None
    return result


def _rows(model: Callable[[Tensor], Tensor], x: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Row number, number of rows, and that row of every sample's Jacobian."""
    with torch.enable_grad():
        inputs = x.detach().clone().requires_grad_(True)
        outputs = model(inputs)
        if outputs.ndim != 2:
            raise InputError(f"model: Jacobians need outputs of shape (batch, K), not {tuple(outputs.shape)}")
        totals = outputs.sum(0).unbind()
    for k, total in enumerate(totals):
        yield k, len(totals), gradient(total, inputs, keep=k + 1 < len(totals))


def gradient(output: Tensor, inputs: Tensor, *, keep: bool = False) -> Tensor:
    """Gradient of one number with respect to the inputs.

    Args:
        output: a scalar.
        inputs: what it depends on.
        keep: whether the graph is needed again.

    Raises:
        InvalidNetwork: where the output is disconnected from the inputs, which is not the same as a slope of zero.

    >>> x = torch.ones(2, requires_grad=True)
    >>> gradient((x**2).sum(), x), gradient((0 * x).sum(), x)
    (tensor([2., 2.]), tensor([0., 0.]))
    """
    found = None
    if output.requires_grad:
        found = torch.autograd.grad(output, inputs, retain_graph=keep, allow_unused=True)[0]
    if found is None:
        raise InvalidNetwork(DISCONNECTED)
    return found
