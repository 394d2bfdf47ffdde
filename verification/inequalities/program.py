"""A counterexample as a program that anybody can run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from verification.inequalities.inequality import Comparison, Inequality, Instance


def program(claim: Inequality, instance: Instance, comparison: Comparison) -> str:
    """Python source that recomputes both sides of a refuted inequality and fails on its assertion.

    Args:
        claim: the inequality; it is imported from the module that its function was written in.
        instance: argument by name.
        comparison: both sides there, for the comment.
    """
    modules: dict[str, set[str]] = {}
    arguments = [f"    {name}={source(value, modules)},\n" for name, value in instance.items()]
    modules.setdefault(claim.function.__module__, set()).add(claim.function.__name__)
    imports = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(modules.items())]
    relation = "==" if claim.relation == "==" else "<="
    # An identity holds to rounding.
    check = f"abs(left - right) <= {float(comparison.allowance)!r}" if relation == "==" else "left <= right"
    return (
        f"# {claim.id}: left {relation} right is refuted by left = {float(comparison.left):.12g},"
        f" right = {float(comparison.right):.12g}\n"
        "from math import inf\n\nimport numpy as np\n\n" + "\n".join(imports) + "\n\n"
        f"left, right = {claim.function.__name__}(\n{''.join(arguments)})\n"
        f"print(left, right)\nassert {check}\n"
    )


def source(value: Any, modules: dict[str, set[str]]) -> str:
    """Python source of a value made of numbers, strings, arrays, tuples, mappings and dataclasses.

    Args:
        value: anything that a strategy may produce.
        modules: gets the names that the source needs, by module.

    >>> source({"x": np.array([1.0, 0.5]), "p": math.inf}, {})
    "{'x': np.array([1.0, 0.5]), 'p': inf}"
    """
    if isinstance(value, np.ndarray):
        kind = "" if value.dtype.kind == "f" and value.size else f", dtype=np.{value.dtype}"
        shape = f".reshape({value.shape})" if value.size == 0 else ""
        return f"np.array({source(value.tolist(), modules)}{kind}){shape}"
    if isinstance(value, np.generic):
        return source(value.item(), modules)
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {source(entry, modules)}" for key, entry in value.items()) + "}"
    if isinstance(value, tuple | list):
        inner = ", ".join(source(entry, modules) for entry in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)" if len(value) == 1 else f"({inner})"
    if is_dataclass(value) and not isinstance(value, type):
        modules.setdefault(type(value).__module__, set()).add(type(value).__name__)
        given = (f"{f.name}={source(getattr(value, f.name), modules)}" for f in fields(value) if f.init)
        return f"{type(value).__name__}({', '.join(given)})"
    return repr(value)
