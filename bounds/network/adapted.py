"""How a module is read whose inputs and outputs are not one tensor each: `adapt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bounds.errors import InputError, unknown_name

LOGITS = "logits"


class Adapted(nn.Module):
    """A module with what there is to know about reading it; made by `adapt`."""

    def __init__(
        self,
        module: nn.Module,
        output: str | int | None = None,
        strip_head: bool = False,
        fixed: Mapping[str, Tensor] | None = None,
        input_module: str | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.output, self.strip_head, self.input_module = output, strip_head, input_module
        self.fixed = list(fixed or {})
        for name, value in (fixed or {}).items():
            self.register_buffer(f"fixed_{name}", value)
        self._tokens: Tensor | None = None
        self.training = module.training  # of this module alone: those inside keep their own modes

    def forward(self, x: Tensor) -> Any:
        """Logits of inputs, or of what the input module returned for them."""
        given = {name: self._fixed(name, x.shape[0]) for name in self.fixed}
        if self.input_module is None:
            return pick(self.module(x, **given), self.output)
        assert self._tokens is not None, "the space is made by `measured`"
        tokens = self._tokens.new_zeros(x.shape[0], *self._tokens.shape[1:])
        with _replaced(self.module, self.input_module, x):
            return pick(self.module(tokens, **given), self.output)

    def measured(self, tokens: Tensor) -> Tensor:
        """What the input module returns for a batch of inputs: the space that is measured and attacked.

        Raises:
            InputError: when the module is not called just once, does not return one real tensor with the batch as
                first axis, or the network uses the inputs elsewhere too.
        """
        assert self.input_module is not None
        found: list[Any] = []
        hook = _submodule(self.module, self.input_module).register_forward_hook(lambda *call: found.append(call[2]))
        given = {name: self._fixed(name, len(tokens)) for name in self.fixed}
        try:
            with torch.no_grad():
                expected = pick(self.module(tokens, **given), self.output)
        finally:
            hook.remove()
        if len(found) != 1 or not isinstance(found[0], Tensor) or not found[0].is_floating_point():
            what = f"{len(found)} times" if len(found) != 1 else f"and returns a {type(found[0]).__name__}"
            raise InputError(f"input module '{self.input_module}': called {what}; one call and one tensor are needed")
        if len(found[0]) != len(tokens):
            raise InputError(f"input module '{self.input_module}': the first axis of what it returns is not the batch")
        self._tokens = tokens[:1]
        with torch.no_grad():
            again = self(found[0])
        if not torch.allclose(expected, again, rtol=1e-4, atol=1e-5 * float(expected.abs().max())):
            raise InputError(
                f"input module '{self.input_module}': the network uses its inputs elsewhere too (a mask?), so its"
                " logits are no function of what this module returns"
            )
        return found[0]

    def extra_repr(self) -> str:
        """What it was adapted to."""
        return f"output={self.output!r}, strip_head={self.strip_head}, input_module={self.input_module!r}"

    def _fixed(self, name: str, batch: int) -> Tensor:
        value: Tensor = getattr(self, f"fixed_{name}")
        return value.expand(batch, *value.shape)


def adapt(
    module: nn.Module,
    *,
    output: str | int | None = None,
    strip_head: bool = False,
    fixed: Mapping[str, Any] | None = None,
    input_module: str | None = None,
) -> nn.Module:
    """Say how a module is to be read, for `evaluate`, `verify` and everything else that takes a module.

    Args:
        module: the network.
        output: key, index or attribute of the logits in what it returns; without it "logits", or the only tensor.
        strip_head: leave out a softmax or sigmoid at the end, so that the outputs are logits.
        fixed: further arguments of its forward by name, the same for every sample: arrays without the batch axis.
        input_module: path of a submodule (an embedding) whose output is measured and attacked instead of the inputs.

    Raises:
        InputError: for an input module that there is not.

    >>> class Pair(nn.Linear):
    ...     def forward(self, x):
    ...         return {"hidden": x, "scores": super().forward(x)}
    >>> adapt(Pair(2, 3), output="scores")(torch.zeros(1, 2)).shape
    torch.Size([1, 3])
    """
    if input_module is not None:
        _submodule(module, input_module)
    tensors = {name: torch.as_tensor(value) for name, value in (fixed or {}).items()}
    return Adapted(module, output, strip_head, tensors, input_module)


def pick(result: Any, output: str | int | None) -> Tensor:
    """The logits in what a network returned: (batch, classes), or (batch, 1) for a single number per sample.

    Raises:
        InputError: when it is not clear, or not there; lists what there is.

    >>> pick((torch.zeros(2, 3), None), None).shape, pick({"logits": torch.zeros(2), "h": torch.ones(2)}, None).shape
    (torch.Size([2, 3]), torch.Size([2, 1]))
    """
    found = result if output is None and isinstance(result, Tensor) else _found(_parts(result), output, result)
    if not isinstance(found, Tensor):
        raise InputError(f"the network's output {output!r} is a {type(found).__name__}, not a tensor")
    return found[:, None] if found.ndim == 1 else found


def _found(parts: Mapping[str, Any], output: str | int | None, result: Any) -> Any:
    tensors = {name: value for name, value in parts.items() if isinstance(value, Tensor)}
    listed = ", ".join(parts) or "nothing"
    if output is not None:
        key = str(output)
        if key not in parts and not hasattr(result, key):
            raise (
                unknown_name("output", key, parts)
                if parts
                else InputError(f"the network returns one {type(result).__name__}: there is no output '{key}'")
            )
        return parts[key] if key in parts else getattr(result, key)
    if LOGITS in tensors:
        return tensors[LOGITS]
    if len(tensors) != 1:
        raise InputError(
            f"the network returns a {type(result).__name__} of {listed}; say which holds the logits with --output"
        )
    return next(iter(tensors.values()))


def _parts(result: Any) -> dict[str, Any]:
    """What a network returned by key, or by position."""
    if isinstance(result, Mapping):
        return {str(key): value for key, value in result.items()}
    if hasattr(result, "_asdict"):
        return dict(result._asdict())
    if isinstance(result, Sequence) and not isinstance(result, str):
        return {str(position): value for position, value in enumerate(result)}
    return {name: value for name, value in getattr(result, "__dict__", {}).items() if not name.startswith("_")}


def _submodule(module: nn.Module, path: str) -> nn.Module:
    known: dict[str, nn.Module] = dict(module.named_modules())
    if path not in known or not path:
        raise unknown_name("input module", path, [name for name in known if name])
    return known[path]


class _Given(nn.Module):
    """Returns what it was given, whatever it is called with."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = (value,)  # in a tuple, so that it is no buffer

    def forward(self, *_: Any, **__: Any) -> Tensor:
        return self.value[0]


class _replaced:
    """A submodule replaced by a value, for a while."""

    def __init__(self, module: nn.Module, path: str, value: Tensor) -> None:
        parent, _, self.name = path.rpartition(".")
        self.parent = module.get_submodule(parent)
        self.before, self.value = self.parent.get_submodule(self.name), value

    def __enter__(self) -> None:
        self.parent._modules[self.name] = _Given(self.value)

    def __exit__(self, *_: object) -> None:
        self.parent._modules[self.name] = self.before
