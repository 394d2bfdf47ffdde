"""Which module a step of an exported graph comes from."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from torch import fx, nn


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        key: distinguishes the calls of a module that is called twice.
        path: where the module is ("" for the network itself).
        kind: its class, with its package.
    """

    key: str
    path: str
    kind: str

    def is_one_thing(self, network: nn.Module) -> bool:
        """Whether users know the module by its name: a part of torch, or a module without submodules."""
        if not self.path:
            return False
        return self.kind.startswith("torch.nn.") or not any(network.get_submodule(self.path).children())


def calls(step: fx.Node) -> tuple[Call, ...]:
    """The calls that a step lies in, from the network's own to the innermost."""
    stack = step.meta.get("nn_module_stack", {})
    return tuple(Call(key, path, str(kind)) for key, (path, kind) in stack.items())


def function_name(step: fx.Node) -> str:
    """The aten name of a step's operation: "conv2d"; of its overloads only "padding" is told apart."""
    if step.target is operator.getitem:
        assert isinstance(step.args[0], fx.Node)
        return function_name(step.args[0])
    schema = getattr(step.target, "_schema", None)
    if schema is None:
        return step.name
    name = str(schema.name).removeprefix("aten::")
    return f"{name}.padding" if schema.overload_name == "padding" else name


def label(network: nn.Module, step: fx.Node) -> str:
    """The module's path, or the function's name when the step is written in a larger module's forward."""
    inside = calls(step)
    if not inside or not inside[-1].path:
        return function_name(step)
    if inside[-1].is_one_thing(network):
        return inside[-1].path
    return f"{inside[-1].path}.{function_name(step)}"
