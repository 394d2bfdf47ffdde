"""What a regulariser is, and what the regularisers share: evaluations, products with derivatives, power vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from bounds.measure.pr_norm import dual_exponent, dual_vector
from verification.training.regularisers.linear_maps import QuickLinearMaps, inputs_only

# (network, inputs (n, *shape), labels (n,), generator) -> scalar penalty, differentiable in the parameters
Regulariser = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


@runtime_checkable
class WarmStart(Protocol):
    """A regulariser whose power steps can continue where a sample's last visit left them."""

    @property
    def warm(self) -> bool:
        """Whether a training keeps the directions."""

    def start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Random directions, shaped like x."""

    def visit(self, network: nn.Module, x: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The penalty from each sample's last direction, and the directions for the next visit."""


@contextmanager
def frozen_statistics(network: nn.Module, x: Tensor) -> Iterator[None]:
    """Inside, batch-norm in training normalises by the statistics of this batch, as constants in its inputs.

    Derivatives at a sample are then that sample's own. In the parameters the statistics are differentiated: with
    running ones, which do not follow, a penalty would shrink weights whose scale batch-norm undoes, to no effect.
    Running statistics are neither used nor changed; layers in eval mode keep to them. Contexts may be nested.
    """
    layers = [
        part
        for part in network.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training and "forward" not in vars(part)
    ]
    for layer in layers:
        layer.forward = _Pinned(layer)  # type: ignore[assignment]
    try:
        if layers:
            network(x)
        yield
    finally:
        for layer in layers:
            del layer.forward


class _Pinned:
    """The forward pass of a batch-norm layer, with the statistics of the first batch that it sees."""

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm) -> None:
        self.layer = layer
        self.statistics: tuple[Tensor, Tensor] | None = None

    def __call__(self, z: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (z.dim() - 2))
        if self.statistics is None:
            axes = [0, *range(2, z.dim())]
            self.statistics = z.mean(axes).reshape(shape), z.var(axes, correction=0).reshape(shape)
        mean, variance = self.statistics
        normal = (z - mean) * (variance + self.layer.eps).rsqrt()
        if self.layer.weight is None:
            return normal
        return normal * self.layer.weight.reshape(shape) + self.layer.bias.reshape(shape)


class Shared(nn.Module):
    """A network that has been evaluated at one batch: the loss and the penalty there share that evaluation.

    It stands for the network, and has its modules and parameters. Only for networks in which nothing distinguishes
    the loss's evaluation from the penalty's: batch-norm in training does (`frozen_statistics`).

    Attributes:
        leaf: the batch as a leaf, for derivatives in it.
        logits: the network's output there.
    """

    def __init__(self, network: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.network, self.batch = network, x
        self.leaf = x.detach().requires_grad_(True)
        with QuickLinearMaps():
            self.logits: Tensor = network(self.leaf)

    def forward(self, x: Tensor) -> Tensor:
        """The logits at x; of the batch itself without another evaluation."""
        logits: Tensor = self.logits if x is self.batch else self.network(x)
        return logits


def evaluate(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs as a leaf and the logits there, with frozen statistics.

    Whoever differentiates them must retain the graph: it may be that of the loss.
    """
    if isinstance(network, Shared) and x is network.batch:
        return network.leaf, network.logits
    leaf = x.detach().requires_grad_(True)
    with frozen_statistics(network, x), QuickLinearMaps():
        return leaf, network(leaf)


def jacobian_products(leaf: Tensor, logits: Tensor, directions: Tensor) -> Iterator[Tensor]:
    """J(x_j)^T v_j for each direction, (n, *input), differentiable in the parameters.

    One at a time: a batch of them (`is_grads_batched`) took 1.5 to 4 times as long on the MNIST CNN.

    Args:
        leaf: inputs, from `evaluate`.
        logits: from `evaluate`.
        directions: directions in logit space, (count, n, K).
    """
    for direction in directions:
        with inputs_only():
            (product,) = torch.autograd.grad(logits, leaf, direction, create_graph=True)
        yield product


def unit_vectors(logits: Tensor) -> Tensor:
    """e_k for every class and sample, (K, n, K): the directions whose products are the Jacobian's rows."""
    n, classes = logits.shape
    return torch.eye(classes, dtype=logits.dtype)[:, None, :].expand(classes, n, classes)


def power_vectors(network: nn.Module, x: Tensor, v: Tensor, p: float, r: float, steps: int) -> tuple[Tensor, Tensor]:
    """Frozen u, v with u·J(x)v close to ‖J(x)‖_{p→r} from below, by power steps from v (theory L3.2).

    Returns:
        u, (n, K), of dual norm 1, and v, shaped like x, ‖v‖_p = 1; neither is differentiable.
    """
    leaf, logits = evaluate(network, x)
    # J v is the derivative of J^T u in u
    covector = torch.zeros_like(logits, requires_grad=True)
    with inputs_only():
        (pulled,) = torch.autograd.grad(logits, leaf, covector, create_graph=True)
        for step in range(steps + 1):
            (image,) = torch.autograd.grad(pulled, covector, v, retain_graph=True)
            u = dual_vector(image, dual_exponent(r))
            if step < steps:
                (product,) = torch.autograd.grad(logits, leaf, u, retain_graph=True)
                v = aligned(product, v, p)
    return u, v


def random_directions(x: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """A random direction per sample, ‖·‖_p = 1, shaped like x."""
    noise = torch.randn(x.shape, dtype=x.dtype, generator=generator)
    return dual_vector(noise.flatten(1), p).reshape(x.shape)


def aligned(product: Tensor, v: Tensor, p: float) -> Tensor:
    """Per sample the direction, ‖·‖_p = 1, furthest along the product; still v where the product is 0."""
    flat = product.detach().flatten(1)
    turned = torch.where(flat.any(dim=1, keepdim=True), dual_vector(flat, p), v.flatten(1))
    return turned.reshape(v.shape)


def stretch(network: nn.Module, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """u·J(x)v per sample, (n,), differentiable in the parameters.

    With u the functional of Jv, its value is ‖Jv‖ and its gradient that of ‖Jv‖ at a fixed v.
    """
    (product,) = jacobian_products(*evaluate(network, x), u[None])
    return inner(product, v)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product per sample, (n,)."""
    return (a * b).flatten(1).sum(1)


def loss_gradient(network: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs as a leaf and the cross-entropy's gradient at each, shaped like x, differentiable in both."""
    leaf, logits = evaluate(network, x)
    loss = functional.cross_entropy(logits, y, reduction="sum")
    with inputs_only():
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
    with inputs_only():
        (product,) = torch.autograd.grad(
            gradient, leaf, v, create_graph=differentiable, retain_graph=True, materialize_grads=True
        )
    return product


def unit(v: Tensor) -> Tensor:
    """Each sample scaled to Euclidean length 1; 0 stays 0."""
    return functional.normalize(v.flatten(1), dim=1, eps=torch.finfo(v.dtype).tiny).reshape(v.shape)
