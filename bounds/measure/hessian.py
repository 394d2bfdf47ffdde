"""Input Hessians of the cross-entropy: per-sample top eigenvalue and operator norm (theory §7, L2.7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bounds.budget import Budget
from bounds.measure.jacobian import jacobians
from bounds.measure.lanczos import lanczos
from bounds.measure.load import NUMBER, load_of
from bounds.measure.margin import Batches, logits_on
from bounds.measure.pr_norm import spectral
from bounds.network.checks import check_samples
from bounds.network.logits import Logits
from bounds.network.modes import with_gradients
from bounds.network.nodes import Opaque
from bounds.network.nonlinear import MaxPool, Nonlinear
from bounds.network.running import Model
from bounds.network.traced import TracedNetwork

_STEPS = 20
_COPIES = 2.2  # Jacobians that the exact curvature holds at most, beside matrices of the classes
_TWICE = 3.0  # what differentiating twice takes, in units of once


@dataclass(frozen=True)
class HessianNorms:
    """Curvature of the loss at every sample, nats per squared input unit, shape (n,), float64.

    Attributes:
        top: largest (signed) eigenvalue of ∇²_xℓ.
        operator: ‖∇²_xℓ‖_2, the largest absolute eigenvalue.
        exact: whether both are exact to rounding; otherwise they are lower bounds, converged to from below by
            Lanczos.
    """

    top: Tensor
    operator: Tensor
    exact: bool


@with_gradients
def hessian_norms(
    model: Model,
    data: Batches,
    *,
    piecewise_linear: bool | None = None,
    steps: int = _STEPS,
    chunk: int = 32,
    memory: Budget | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> HessianNorms:
    """Top eigenvalue and operator norm of the input Hessian of the cross-entropy at every sample.

    Piecewise-linear networks: exact from the Jacobian, ∇²ℓ = J^T(diag p - pp^T)J (L2.7). Others: `steps`
    Lanczos steps on Hessian-vector products, which bound both numbers from below.

    Args:
        model: maps (batch, *input_shape) to logits (batch, K); a module is run in eval mode and float64.
        data: the labelled sample.
        piecewise_linear: whether every nonlinearity is (ReLU, leaky ReLU, max-pool); None asks the nodes of a
            traced network and takes any other model for smooth, which is valid but only a lower bound.
        steps: Lanczos steps; unused for piecewise-linear networks.
        chunk: samples differentiated together, at most.
        memory: what a chunk may take; a share of what is available if None.
        seed: of the Lanczos starts.
        progress: called with (samples done, total).

    Raises:
        InputError: if there are no samples or a sample influences another.
    """
    run = logits_on(model, data)
    exact = is_piecewise_linear(model) if piecewise_linear is None else piecewise_linear
    each = load_of(run, data)
    by_jacobian = _COPIES * each.jacobian + 4 * NUMBER * each.outputs**2
    beside = by_jacobian if exact else 2.0 * steps * NUMBER * each.inputs
    size = each.batch(memory, chunk, "the Hessian", copies=1.0 if exact else _TWICE, beside=beside)
    tops, operators, done = [], [], 0
    for x, y in data.batches(size):
        x = x.to(torch.float64)
        if exact:
            top = piecewise_linear_curvature(run, x)
            operator = top
        else:
            top, operator = lanczos_curvature(run, x, y, steps=steps, seed=seed + done)
        tops.append(top)
        operators.append(operator)
        done += len(y)
        if progress is not None:
            progress(done, len(data))
    return HessianNorms(torch.cat(tops), torch.cat(operators), exact)


def is_piecewise_linear(model: Model) -> bool:
    """Whether a traced network is made of affine maps, (leaky) ReLU, max-pools, sums and concatenations.

    False for a model that is not traced: nothing is known of it.
    """
    if not isinstance(model, TracedNetwork):
        return False
    operations = [node.operation for node in model.nodes]
    parts = [part for operation in operations if isinstance(operation, Nonlinear) for part in operation.parts]
    known = all(isinstance(part, MaxPool) or part.key in ("relu", "leaky_relu") for part in parts)
    return known and not any(isinstance(operation, Opaque) for operation in operations)


def piecewise_linear_curvature(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Largest eigenvalue, which is the norm, of the Hessian J^T(diag p - pp^T)J per sample; exact.

    With the rows D_k = J_k - J_m, m the likeliest class, the matrix is D^T(diag p' - p'p'^T)D over k ≠ m, and
    diag p' - p'p'^T = RR^T, R = diag(√p')(I - c·√p'√p'^T), c = 1/(1+√p_m): nothing cancels for a confident
    sample.

    Args:
        model: piecewise linear, to logits (batch, K).
        x: float64 inputs.

    Example: two logits (x, 0) at x = 0 have curvature p(1-p) = 1/4.
        >>> x = torch.zeros(1, 1, dtype=torch.float64)
        >>> piecewise_linear_curvature(lambda x: torch.cat([x, 0 * x], 1), x)
        tensor([0.2500], dtype=torch.float64)
    """
    jacobian = jacobians(model, x).flatten(2)
    with torch.no_grad():
        logits = model(x)
    likeliest = logits.argmax(1)
    difference = jacobian.sub_(jacobian[torch.arange(len(x)), likeliest][:, None])
    p = torch.softmax(logits, 1)
    root = p.sqrt().scatter(1, likeliest[:, None], 0.0)
    shrink = 1 / (1 + p.gather(1, likeliest[:, None]).sqrt())
    factor = torch.diag_embed(root) - shrink[:, :, None] * (root.square()[:, :, None] * root[:, None, :])
    weighted = factor.mT @ difference
    return spectral(weighted) ** 2


@with_gradients
def lanczos_curvature(
    model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, *, steps: int = _STEPS, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Lower bounds of the top eigenvalue and the operator norm of ∇²_xℓ per sample; exact once steps ≥ d.

    Args:
        model: smooth, to logits (batch, K); attention runs in its math kernel, the fused ones have no second
            derivative.
        x: float64 inputs.
        y: labels.
        steps: Hessian-vector products.
        seed: of the starts.

    Example: softplus(x) = -log σ(-x) has curvature 1/4 at 0.
        >>> x, y = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([1])
        >>> lanczos_curvature(lambda x: torch.cat([x, 0 * x], 1), x, y)[0]
        tensor([0.2500], dtype=torch.float64)
    """
    if not isinstance(model, TracedNetwork | Logits) and len(x) > 1:
        check_samples(model, x[:3].detach())
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
            return _curvature(model, x, y, steps, seed)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _curvature(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    inputs = x.detach().clone().requires_grad_(True)
    loss = F.cross_entropy(model(inputs), y, reduction="sum")
    gradient = torch.autograd.grad(loss, inputs, create_graph=True)[0]

    def product(vectors: Tensor) -> Tensor:
        weighted = (gradient * vectors.reshape(inputs.shape)).sum()
        found = None  # where the gradient is constant there is nothing to differentiate: the curvature is 0
        if weighted.requires_grad:
            found = torch.autograd.grad(weighted, inputs, retain_graph=True, allow_unused=True)[0]
        return torch.zeros_like(vectors) if found is None else found.flatten(1)

    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(len(x), inputs[0].numel(), generator=generator, dtype=torch.float64)
    *_, last = lanczos(product, start, steps, generator)
    ritz = torch.linalg.eigvalsh(last.tridiagonal())
    return ritz[:, -1], ritz.abs().amax(1)
