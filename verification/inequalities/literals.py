"""Values as Python source that evaluates to them again, bit for bit."""

from __future__ import annotations

import ast
import builtins
import inspect
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

if TYPE_CHECKING:
    import torch

SHOWN = 100
"""Characters of an argument in a line of text."""


class UnwritableError(TypeError):
    """A value has no source that would evaluate to it."""


class Names:
    """The names that a program uses, and the imports that define them.

    Args:
        own: a module that the program has under another name.
        called: that name.
        taken: names with another meaning in the program.

    >>> names = Names()
    >>> names.module("numpy", "np"), names.of("math", "inf"), names.of("mine", "Box.Side"), names.of("yours", "Box")
    ('np', 'inf', 'Box.Side', 'Box_')
    >>> names.imports()
    ['import numpy as np', 'from math import inf', 'from mine import Box', 'from yours import Box as Box_']
    """

    def __init__(self, own: str | None = None, called: str = "", taken: Iterable[str] = ()) -> None:
        self._own, self._called = own, called
        self._taken = {*taken, *dir(builtins), called, "np", "torch", "sympy"}
        self._modules: dict[str, str] = {}
        self._origins: dict[str, tuple[str, str]] = {}

    def module(self, module: str, name: str) -> str:
        """A module by one of the names that are kept for modules."""
        self._modules[module] = name
        return name

    def of(self, module: str, qualified: str) -> str:
        """What a module defines, by the dotted name that it has there.

        Raises:
            UnwritableError: for a module that no other process can import.
        """
        if module == "builtins":
            return qualified
        if module == self._own:
            return f"{self._called}.{qualified}"
        if module == "__main__" or not module.replace(".", "_").isidentifier():
            raise UnwritableError(f"{qualified} of {module}")
        first, dot, rest = qualified.partition(".")
        name = first
        while name in self._taken or self._origins.get(name, (module, first)) != (module, first):
            name += "_"
        self._origins[name] = (module, first)
        return name + dot + rest

    def imports(self, chosen: Callable[[str], bool] = lambda module: True) -> list[str]:
        """The import statements for the chosen modules."""
        whole = [
            f"import {module}" + (f" as {name}" if name != module else "")
            for module, name in sorted(self._modules.items())
            if chosen(module)
        ]
        by_module: dict[str, list[str]] = {}
        for name, (module, first) in sorted(self._origins.items()):
            if chosen(module):
                by_module.setdefault(module, []).append(first if name == first else f"{first} as {name}")
        return whole + [f"from {module} import {', '.join(found)}" for module, found in sorted(by_module.items())]


def source(value: Any, names: Names) -> str:
    """Python source of a value made of numbers, strings, arrays, tensors, containers, dataclasses and what has a name.

    Args:
        value: anything that a strategy may produce.
        names: gets those that the source needs.

    Raises:
        UnwritableError: for anything else.

    >>> source({"x": np.array([1.0, 0.5]), "p": float("inf")}, Names())
    "{'x': np.array([1.0, 0.5]), 'p': inf}"
    >>> source((np.float32(0.1), np.arange(2), np.zeros((0, 3)), {1}, 0.5j), Names())
    '(np.float32(0.1), np.array([0, 1], dtype=np.int64), np.zeros((0, 3)), {1}, complex(0.0, 0.5))'
    """
    written = _WRITERS.get(type(value))
    if written is not None:
        return written(value, names)
    if isinstance(value, np.generic):
        return _scalar(value, names)
    if isinstance(value, Enum):
        return f"{_named(type(value), names)}({source(value.value, names)})"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _called(value, value._fields, names)
    if is_dataclass(value) and not isinstance(value, type):
        return _called(value, [f.name for f in fields(value) if f.init], names)
    if isinstance(value, sympy.Basic):
        return _expression(value, names)
    if type(value).__module__.partition(".")[0] == "torch":
        return _of_torch(value, names)
    return _named(value, names)


def in_a_line(instance: Mapping[str, Any]) -> str:
    """The arguments of an instance for a line of text, long ones cut.

    >>> in_a_line({"x": 0.5, "f": lambda x: x})
    'x=0.5, f=(a function)'
    """
    return ", ".join(f"{name}={_short(value)}" for name, value in instance.items())


def _short(value: Any) -> str:
    try:
        text = source(value, Names())
    except UnwritableError:
        return f"(a {type(value).__name__})"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _float(value: float, names: Names) -> str:
    if value != value:
        usual = struct.pack("d", value) == struct.pack("d", float("nan"))
        return names.of("math", "nan") if usual else f"{_array(np.array(value), names)}.item()"
    if value in {float("inf"), -float("inf")}:
        return ("-" if value < 0 else "") + names.of("math", "inf")
    return repr(value)


def _complex(value: complex, names: Names) -> str:
    return f"complex({_float(value.real, names)}, {_float(value.imag, names)})"


def _entries(values: Iterable[Any], names: Names) -> str:
    return ", ".join(source(value, names) for value in values)


def _tuple(value: tuple[Any, ...], names: Names) -> str:
    return f"({_entries(value, names)}{',' * (len(value) == 1)})"


def _dict(value: dict[Any, Any], names: Names) -> str:
    return "{" + ", ".join(f"{source(key, names)}: {source(entry, names)}" for key, entry in value.items()) + "}"


def _set(value: set[Any], names: Names) -> str:
    return "{" + ", ".join(sorted(source(entry, names) for entry in value)) + "}" if value else "set()"


def _array(value: np.ndarray, names: Names) -> str:
    """Its entries, as few digits as give them back; its bytes where no digits do (the payload of a NaN)."""
    numpy = names.module("numpy", "np")
    kind = _dtype(value.dtype)
    plain = "" if kind == "np.float64" else f", dtype={kind}"
    if value.size == 0:
        return f"{numpy}.zeros({value.shape}{plain})"
    readable = _readable(value)
    if readable is not None:
        return f"{numpy}.array({source(readable, names)}{plain})"
    content = value.tobytes().hex()
    return f"{numpy}.frombuffer(bytes.fromhex('{content}'), dtype={kind}).reshape({value.shape}).copy()"


def _scalar(value: np.generic, names: Names) -> str:
    array = np.asarray(value)
    kind, readable = _dtype(array.dtype), _readable(array)
    if readable is None or not (kind == "bool" or kind.startswith("np.")):
        return f"{_array(array, names)}[()]"
    return f"{names.module('numpy', 'np')}.{type(value).__name__}({source(readable, names)})"


def _dtype(dtype: np.dtype[Any]) -> str:
    """Source of a dtype; np must be there."""
    if dtype.kind == "b":
        return "bool"
    if dtype.hasobject:
        raise UnwritableError("an array of objects")
    if dtype.isnative and getattr(np, dtype.name, None) is dtype.type:
        return f"np.{dtype.name}"
    stated = dtype.descr if dtype.fields else dtype.str
    if np.dtype(stated) != dtype:
        raise UnwritableError(f"an array of {dtype}")
    return repr(stated)


def _readable(value: np.ndarray) -> Any:
    """Nested lists of Python's numbers or strings that give the array back; None where there are none."""
    kind = value.dtype.kind
    if kind not in "biufcSU" or (kind in "fc" and not _of_float64(value)):
        return None
    short = [value.astype(str).astype(np.float64)] if kind == "f" and value.dtype.itemsize < 8 else []
    for candidate in (*short, value):
        entries = candidate.tolist()
        if np.array(entries, dtype=value.dtype).tobytes() == value.tobytes():
            return entries
    return None


def _of_float64(value: np.ndarray) -> bool:
    """Whether all numbers fit into float64, and every NaN is the one that is written nan."""
    parts = np.stack([value.real, value.imag])
    usual = np.where(np.isnan(parts), parts.dtype.type(np.nan), parts)
    return parts.dtype.itemsize <= 8 and usual.tobytes() == parts.tobytes()


def _of_torch(value: Any, names: Names) -> str:
    import torch

    name = names.module("torch", "torch")
    if isinstance(value, torch.dtype | torch.Size):
        return repr(value)
    if isinstance(value, torch.nn.Parameter):
        grad = "" if value.requires_grad else ", requires_grad=False"
        return f"{name}.nn.Parameter({_tensor(value.detach(), names)}{grad})"
    if type(value) is torch.Tensor:
        return _tensor(value.detach(), names) + ".requires_grad_()" * value.requires_grad
    return _named(value, names)


def _tensor(value: torch.Tensor, names: Names) -> str:
    """As of an array; on the CPU."""
    import torch

    if value.layout != torch.strided or value.device.type != "cpu" or value.dtype == torch.complex32:
        raise UnwritableError(f"a tensor of {value.layout} and {value.dtype} on {value.device}")
    value = value.resolve_conj().resolve_neg().contiguous()
    shape, kind = tuple(value.shape), value.dtype
    if value.numel() == 0:
        return f"torch.zeros({shape}, dtype={kind})"
    content = _bytes(value)
    shared = {torch.float16, torch.float32, torch.float64}  # with numpy, which knows the fewest digits
    entries = _readable((value.double() if kind.is_floating_point and kind not in shared else value).numpy())
    if entries is not None and _bytes(torch.tensor(entries, dtype=kind)) == content:
        return f"torch.tensor({source(entries, names)}, dtype={kind})"
    return f"torch.frombuffer(bytearray.fromhex('{content.hex()}'), dtype={kind}).reshape({shape})"


def _bytes(value: torch.Tensor) -> bytes:
    import torch

    return value.reshape(-1).view(torch.uint8).numpy().tobytes()


def _expression(value: sympy.Basic, names: Names) -> str:
    tree = ast.parse(sympy.srepr(value), mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = f"{names.module('sympy', 'sympy')}.{node.id}"
    return ast.unparse(tree)


def _called(value: Any, arguments: Iterable[str], names: Names) -> str:
    """Of a value that its class makes of its fields."""
    given = {name: getattr(value, name) for name in arguments}
    try:
        inspect.signature(type(value)).bind(**given)
    except TypeError as error:
        raise UnwritableError(f"a {type(value).__name__}, whose constructor takes more than its fields") from error
    written = (f"{name}={source(entry, names)}" for name, entry in given.items())
    return f"{_named(type(value), names)}({', '.join(written)})"


def _named(value: Any, names: Names) -> str:
    """Of a function, class or module's object: what has a name, by it."""
    module, qualified = (getattr(value, attribute, None) for attribute in ("__module__", "__qualname__"))
    found: Any = sys.modules.get(str(module))
    for part in str(qualified).split("."):
        found = getattr(found, part, None)
    if found is not value or value is None:
        raise UnwritableError(f"a {type(value).__name__}")
    return names.of(str(module), str(qualified))


def _as_it_shows(value: Any, names: Names) -> str:
    return repr(value)


_WRITERS: dict[type, Callable[[Any, Names], str]] = {
    **dict.fromkeys((bool, int, str, bytes, type(None), range, type(...)), _as_it_shows),
    float: _float,
    complex: _complex,
    tuple: _tuple,
    list: lambda value, names: f"[{_entries(value, names)}]",
    dict: _dict,
    set: _set,
    frozenset: lambda value, names: f"frozenset({_set(set(value), names) if value else ''})",
    np.ndarray: _array,
    Fraction: lambda value, names: f"{names.of('fractions', 'Fraction')}{value.as_integer_ratio()}",
    Decimal: lambda value, names: f"{names.of('decimal', 'Decimal')}('{value}')",
}
