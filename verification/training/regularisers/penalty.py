"""What a regulariser is, and what the regularisers share: Jacobian rows, power vectors, frozen batch statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from bounds.measure.pr_norm import dual_exponent, dual_vector

# (network, inputs (n, *shape), labels (n,), generator) -> scalar penalty, differentiable in the parameters
Regulariser = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Inside, batch-norm uses its running statistics: derivatives at a sample are then that sample's own."""
    layers = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    training = [layer.training for layer in layers]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer, before in zip(layers, training, strict=True):
            layer.train(before)


def jacobian_products(network: nn.Module, x: Tensor, directions: Tensor) -> Iterator[Tensor]:
    """J(x_j)^T v_j for each direction, (n, *input), differentiable in the parameters.

    Args:
        network: batch-norm layers use their running statistics; nothing else may mix samples.
        x: inputs, (n, *input).
        directions: directions in logit space, (count, n, K).
    """
    x = x.detach().requires_grad_(True)
    with frozen_statistics(network):
        logits = network(x)
    for direction in directions:
        (product,) = torch.autograd.grad(logits, x, direction, create_graph=True)
        yield product


def unit_vectors(network: nn.Module, x: Tensor) -> Tensor:
    """e_k for every class and sample, (K, n, K): the directions whose products are the Jacobian's rows."""
    with torch.no_grad(), frozen_statistics(network):
        classes = network(x[:1]).shape[1]
    return torch.eye(classes, dtype=x.dtype)[:, None, :].expand(classes, len(x), classes)


def jacobian_rows(network: nn.Module, x: Tensor) -> Tensor:
    """J(x) of every sample with flattened inputs, (n, K, d), differentiable in the parameters."""
    products = jacobian_products(network, x, unit_vectors(network, x))
    return torch.stack([product.flatten(1) for product in products], dim=1)


def power_vectors(
    network: nn.Module, x: Tensor, p: float, r: float, steps: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Frozen u, v with u·J(x)v close to ‖J(x)‖_{p→r} from below, by power steps from a random start (theory L3.2).

    Returns:
        u, (n, K), of dual norm 1, and v, shaped like x, ‖v‖_p = 1; neither is differentiable.
    """
    noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
    v = dual_vector(noise.flatten(1), p).reshape(x.shape)
    with frozen_statistics(network):
        for step in range(steps + 1):
            leaf = x.detach().requires_grad_(True)
            logits = network(leaf)
            # J v is the derivative of J^T u in u
            covector = torch.zeros_like(logits, requires_grad=True)
            (pulled,) = torch.autograd.grad(logits, leaf, covector, create_graph=True)
            (image,) = torch.autograd.grad(pulled, covector, v, retain_graph=step < steps)
            u = dual_vector(image, dual_exponent(r))
            if step < steps:
                (pulled,) = torch.autograd.grad(logits, leaf, u)
                v = dual_vector(pulled.flatten(1), p).reshape(x.shape)
    return u, v


def stretch(network: nn.Module, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """u·J(x)v per sample, (n,), differentiable in the parameters.

    With u the functional of Jv, its value is ‖Jv‖ and its gradient that of ‖Jv‖ at a fixed v.
    """
    (product,) = jacobian_products(network, x, u[None])
    return (product * v).flatten(1).sum(1)


def loss_gradient(network: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs as a leaf and the cross-entropy's gradient at each, shaped like x, differentiable in both."""
    leaf = x.detach().requires_grad_(True)
    with frozen_statistics(network):
        loss = functional.cross_entropy(network(leaf), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
    return leaf, gradient


def hessian_product(leaf: Tensor, gradient: Tensor, v: Tensor, *, differentiable: bool) -> Tensor:
    """∇²_xℓ v per sample, shaped like x; 0 where the loss is locally linear in x.

    Args:
        leaf: from `loss_gradient`.
        gradient: from `loss_gradient`.
        v: shaped like x.
        differentiable: in the parameters.
    """
    (product,) = torch.autograd.grad(
        gradient, leaf, v, create_graph=differentiable, retain_graph=True, materialize_grads=True
    )
    return product


def unit(v: Tensor) -> Tensor:
    """Each sample scaled to Euclidean length 1; 0 stays 0."""
    return functional.normalize(v.flatten(1), dim=1, eps=torch.finfo(v.dtype).tiny).reshape(v.shape)
