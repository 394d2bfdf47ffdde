"""`module:factory`: functions of the user's that build a network or a data set."""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from bounds.errors import InputError


def resolve_factory(spec: str) -> Callable[..., Any]:
    """The callable that `spec`, such as "my_networks:small_cnn", names.

    The working directory is searched last, so that a file there never shadows an installed module.

    Raises:
        InputError: when module or attribute does not exist (suggesting the nearest), or importing fails.

    >>> resolve_factory("shutil:copi")
    Traceback (most recent call last):
        ...
    bounds.errors.InputError: shutil:copi: 'shutil' has no 'copi'; did you mean 'copy'?
    """
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute.isidentifier():
        raise InputError(f"'{spec}' is not of the form module:factory")
    module = _import(module_name, spec)
    if not hasattr(module, attribute):
        near = _suggest(attribute, dir(module))
        raise InputError(f"{spec}: '{module_name}' has no '{attribute}'{near}")
    factory = getattr(module, attribute)
    if not callable(factory):
        raise InputError(f"{spec}: a {type(factory).__name__}, not a function or class")
    return factory  # type: ignore[no-any-return]


def call_factory(spec: str, arguments: Mapping[str, object] | None = None) -> Any:
    """Call the factory that `spec` names.

    Raises:
        InputError: when it cannot be found, or raises.
    """
    factory = resolve_factory(spec)
    try:
        return factory(**(arguments or {}))
    except Exception as error:  # the user's own code may raise anything
        raise InputError(f"{spec}: raised {one_line(error)}") from error


def parse_arguments(arguments: Mapping[str, object]) -> dict[str, object]:
    """Python literals where the text is one, the text itself elsewhere; other values stay as they are.

    >>> parse_arguments({"width": "64", "activation": "relu", "channels": "(8, 16)", "bias": "False"})
    {'width': 64, 'activation': 'relu', 'channels': (8, 16), 'bias': False}
    """
    return {key: _literal(value) if isinstance(value, str) else value for key, value in arguments.items()}


def one_line(error: BaseException) -> str:
    r"""Type and first line of an exception, for a message.

    >>> one_line(ValueError("too wide\nby far"))
    'ValueError: too wide'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def append_working_directory() -> None:
    """Let imports see the working directory, after everything installed."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _import(name: str, spec: str) -> ModuleType:
    append_working_directory()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"{spec}: '{name}' needs '{error.name}', which is not installed") from error
        near = _suggest(name, [path.stem for path in Path.cwd().glob("*.py")])
        raise InputError(f"{spec}: no module named '{error.name}'{near}") from error
    except Exception as error:  # the user's own code may raise anything
        raise InputError(f"{spec}: importing '{name}' raised {one_line(error)}") from error


def _suggest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError):
        return text
