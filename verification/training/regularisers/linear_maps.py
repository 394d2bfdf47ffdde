"""Convolutions, average pools and rectifiers with derivatives that are quick to take, and to differentiate again.

torch differentiates the input gradient of a convolution in the weight by a convolution with kernels as large as the
image. The same numbers come from its weight gradient, a primitive. While only derivatives in the input are taken, those
in the weights, which a custom function could not know to be superfluous, are left out. The gradient of an average over
windows that do not overlap is a copy; torch adds up window by window. The slopes of a rectifier do not depend on where
its input is; torch writes and adds zeros for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

How = tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]
"""Stride, padding, dilation, groups."""

_INPUTS_ONLY: ContextVar[bool] = ContextVar("inputs_only", default=False)


class QuickLinearMaps(TorchFunctionMode):
    """Inside, convolutions, average pools and rectifiers are recorded so that penalties are differentiated quickly.

    >>> x, w = torch.ones(1, 1, 3, 3, requires_grad=True), torch.ones(1, 1, 2, 2, requires_grad=True)
    >>> with QuickLinearMaps():
    ...     y = functional.conv2d(x, w)
    >>> (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    >>> torch.autograd.grad(gradient.square().sum(), w)[0]  # of ‖J^T 1‖²
    tensor([[[[18., 18.],
              [18., 18.]]]])
    """

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace what is known here; everything else stays as it is."""
        return REPLACED.get(func, func)(*args, **(kwargs or {}))


@contextmanager
def inputs_only() -> Iterator[None]:
    """Around derivatives in inputs alone: those in weights are not computed on the way."""
    token = _INPUTS_ONLY.set(True)
    try:
        yield
    finally:
        _INPUTS_ONLY.reset(token)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    if isinstance(padding, str):
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    how = (_pair(stride), _pair(padding), _pair(dilation), groups)
    output: Tensor = _Convolution.apply(input, weight, bias, how)
    return output


def _pair(value: int | Iterable[int]) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second


class _Convolution(torch.autograd.Function):
    """The convolution; its gradient in the input is an `_Adjoint`, which can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: How) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = how
        return functional.conv2d(x, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        in_x = _Adjoint.apply(gradient, weight, x.shape, ctx.how) if ctx.needs_input_grad[0] else None
        if _INPUTS_ONLY.get():
            return in_x, None, None, None
        in_weight = _weight_gradient(gradient, x, weight, ctx.how) if ctx.needs_input_grad[1] else None
        return in_x, in_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None


class _Adjoint(torch.autograd.Function):
    """The adjoint of the convolution in x, linear in what it is applied to and in the weight."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, weight: Tensor, shape: torch.Size, how: How) -> Tensor:
        ctx.save_for_backward(v, weight)
        ctx.how = how
        stride, padding, dilation, groups = how
        found: Tensor = torch.ops.aten.convolution_backward(
            v, v.new_empty(1).expand(shape), weight, None, stride, padding, dilation, False, (0, 0), groups,
            (True, False, False),
        )[0]  # fmt: skip
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        v, weight = ctx.saved_tensors
        in_v = _Convolution.apply(gradient, weight, None, ctx.how) if ctx.needs_input_grad[0] else None
        wanted = ctx.needs_input_grad[1] and not _INPUTS_ONLY.get()
        return in_v, _weight_gradient(v, gradient, weight, ctx.how) if wanted else None, None, None


def _weight_gradient(v: Tensor, x: Tensor, weight: Tensor, how: How) -> Tensor:
    """Gradient of <v, conv(x, weight)> in the weight; torch can differentiate it in v and x."""
    stride, padding, dilation, groups = how
    found: Tensor = torch.ops.aten.convolution_backward(
        v, x.contiguous(), weight, None, stride, padding, dilation, False, (0, 0), groups, (False, True, False)
    )[1]  # fmt: skip
    return found


def _avg_pool2d(
    input: Tensor, kernel_size: int | tuple[int, int], stride: Any = None, *others: Any, **more: Any
) -> Tensor:
    """Quick for windows that tile the image; others are left to torch."""
    size = _pair(kernel_size)
    tiles = stride in (None, kernel_size, size) and not any(s % k for s, k in zip(input.shape[-2:], size, strict=True))
    # module calls pass padding, ceil_mode, count_include_pad and divisor_override
    plain = others in ((), (0,), (0, False), (0, False, True), (0, False, True, None)) and not more
    if not (tiles and plain and input.dim() == 4):
        return functional.avg_pool2d(input, kernel_size, stride, *others, **more)
    found: Tensor = _Average.apply(input, size)
    return found


class _Average(torch.autograd.Function):
    """Means over the tiles of an image."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.size = size
        return functional.avg_pool2d(x, size)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Spread.apply(gradient, ctx.size), None


class _Spread(torch.autograd.Function):
    """The adjoint of `_Average`: every value, divided by the size of its tile, all over the tile."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.size = size
        (n, c, h, w), (a, b) = v.shape, size
        shares = v / (a * b)
        return shares[:, :, :, None, :, None].expand(n, c, h, a, w, b).reshape(n, c, h * a, w * b)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Average.apply(gradient, ctx.size), None


def _relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Never in place: what it replaces may be needed again."""
    found: Tensor = _Rectifier.apply(input)
    return found


class _Rectifier(torch.autograd.Function):
    """max(x, 0)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        output = torch.relu(x)
        ctx.save_for_backward(output.detach())
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Active.apply(gradient, ctx.saved_tensors[0])


class _Active(torch.autograd.Function):
    """What passes the active units; linear, and its own adjoint."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, output: Tensor) -> Tensor:
        ctx.save_for_backward(output)
        found: Tensor = torch.ops.aten.threshold_backward(v, output, 0)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Active.apply(gradient, ctx.saved_tensors[0]), None


REPLACED: dict[Any, Any] = {
    functional.conv2d: _conv2d,
    functional.avg_pool2d: _avg_pool2d,
    functional.relu: _relu,
}
