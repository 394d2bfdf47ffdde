"""Measuring the same inside and outside torch's inference and no-grad modes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
R = TypeVar("R")


def with_gradients(function: Callable[P, R]) -> Callable[P, R]:
    """Lets a function differentiate whatever mode its caller is in.

    Tensors made in inference mode cannot be differentiated later: arguments that are, or hold, such are copied.

    >>> @with_gradients
    ... def slope(x):
    ...     x = x.requires_grad_()
    ...     return torch.autograd.grad((x**2).sum(), x)[0]
    >>> with torch.inference_mode():
    ...     slope(torch.ones(1))
    tensor([2.])
    """

    @wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        with torch.inference_mode(False), torch.enable_grad():
            usable: Any = [ordinary(argument) for argument in arguments]
            return function(*usable, **{name: ordinary(value) for name, value in options.items()})

    return run


def ordinary(value: Any) -> Any:
    """A copy of a tensor, or of a module with tensors, that was made in inference mode; anything else as it is."""
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, nn.Module) and any(tensor.is_inference() for tensor in value.state_dict().values()):
        return copy.deepcopy(value)
    return value


def on_threads(number: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Runs a function with so many threads of torch, and leaves their number as it was.

    >>> on_threads(1)(torch.get_num_threads)()
    1
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run(*arguments: P.args, **options: P.kwargs) -> R:
            before = torch.get_num_threads()
            torch.set_num_threads(number)
            try:
                return function(*arguments, **options)
            finally:
                torch.set_num_threads(before)

        return run

    return decorate
