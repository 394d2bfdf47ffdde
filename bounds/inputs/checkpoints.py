"""`load_checkpoint`, `save_checkpoint`: trained networks from files, safely, and into files, atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs.entries import Note, silent
from bounds.inputs.factory import call_factory, parse_arguments, resolve_factory
from bounds.inputs.files import atomic_write
from bounds.inputs.state_dict import check_finite, find_state_dict, load_into, match_precision
from bounds.inputs.weights_file import read_weights
from bounds.inputs.wrappers import unwrapped

FORMAT = "jacobound-checkpoint"
VERSION = 1
NETWORKS = "verification.training.networks"


def load_checkpoint(
    path: str | Path,
    *,
    model: str | None = None,
    arguments: Mapping[str, object] | None = None,
    trust: bool = False,
    index: int | None = None,
    weights: str | None = None,
    prefix: str | None = None,
    note: Note = silent,
) -> nn.Module:
    """Load a trained network, in evaluation mode, on the CPU.

    Args:
        path: a state dict (.pt, .pth, .safetensors, or the .index.json of one in shards), a training dictionary
            around one, a list of state dicts, a checkpoint that `save_checkpoint` wrote, a pickled module, or an
            exported program (.pt2).
        model: "module:factory" that builds the network of a state dict; the working directory comes last.
        arguments: keyword arguments of the factory; texts are read as Python literals where they are.
        trust: allow files that can run code when loaded: pickled modules and exported programs.
        index: which entry of a list of state dicts to take.
        weights: the key of the state dict to take, where a training dictionary holds several.
        prefix: take only the entries of the state dict whose names begin with this; elsewhere, a prefix that
            all names share is dropped if they fit the factory's network without.
        note: told, in one line each, what was chosen, left out or converted.

    Returns:
        The network; its weights are finite.

    Raises:
        InputError: when the file, the factory or their match is at fault, in one line that says how.

    >>> import tempfile
    >>> sizes = {"in_features": "3", "out_features": "2"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"model": {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}}, f"{folder}/last.pt")
    ...     load_checkpoint(f"{folder}/last.pt", model="torch.nn:Linear", arguments=sizes)
    Linear(in_features=3, out_features=2, bias=True)
    """
    path = Path(path).expanduser()
    if arguments and model is None:
        raise InputError(f"{path}: factory arguments were given without a factory; name it with --model module:factory")
    content, where = _pick(read_weights(path, trust=trust), index, path), str(path)
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        _check_own(content, where)
        spec, given = content["factory"], content["arguments"]
        weights = weights or "state_dict"
    else:
        spec, given = None, {}
    found = find_state_dict(content, where, key=weights, note=note)
    if model is not None:  # a factory of the user's goes before the one that a file names
        spec, given = model, parse_arguments(arguments or {})
    elif spec is not None:
        _own_factory(spec, where)
    if isinstance(found, nn.Module):
        found = unwrapped(found)
    module = _assemble(found, spec, given, where, prefix, note)
    check_finite(module, where)
    return module.eval()


def save_checkpoint(
    path: str | Path,
    factory: str,
    arguments: Mapping[str, object],
    module: nn.Module,
    training: Mapping[str, object] | None = None,
) -> None:
    """Write a checkpoint that `load_checkpoint` can rebuild by itself; all of it or nothing.

    Args:
        path: where to; its folder is made.
        factory: "verification.training.networks:name", the function that built `module`.
        arguments: the keyword arguments it was called with; plain json values.
        module: the trained network.
        training: how it was trained; plain json values.

    Raises:
        InputError: for a foreign factory, values that are not plain json, or a path that cannot be written.

    >>> import tempfile
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     name = "verification.training.networks:linear"
    ...     save_checkpoint(f"{folder}/own.pt", name, {"inputs": 3, "classes": 2}, network)
    ...     load_checkpoint(f"{folder}/own.pt")[1]
    Linear(in_features=3, out_features=2, bias=True)
    """
    path = Path(path).expanduser()
    _own_factory(factory, str(path))
    plain = {"arguments": dict(arguments), "training": dict(training or {})}
    try:
        plain = json.loads(json.dumps(plain, allow_nan=False))  # subclasses of str and the like would not be safe
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: arguments and training must be plain json values: {error}") from error
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    record = {"format": FORMAT, "version": VERSION, "factory": factory, **plain, "state_dict": state}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            torch.save(record, temporary)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _pick(content: Any, index: int | None, path: Path) -> Any:
    if not isinstance(content, list | tuple):
        if index is not None:
            raise InputError(f"{path}: an index was given, but it holds one checkpoint, not a list")
        return content
    last = len(content) - 1
    if index is None:
        raise InputError(f"{path}: holds a list of {len(content)} entries; choose one with --index 0 to {last}")
    if not 0 <= index <= last:
        raise InputError(f"{path}: index {index} is outside 0 to {last}")
    return content[index]


def _assemble(
    found: Any, spec: str | None, arguments: Mapping[str, object], where: str, prefix: str | None, note: Note
) -> nn.Module:
    """The network of a state dict by a factory, or a pickled module as it is."""
    if spec is None and not isinstance(found, nn.Module):
        remedy = "name the function that builds its network with --model module:factory"
        raise InputError(f"{where}: a state dict; {remedy}")
    state = found.state_dict() if isinstance(found, nn.Module) else found
    if spec is not None:
        module = _build(spec, arguments)
        load_into(module, state, where, spec, prefix=prefix, note=note)
        return module
    if prefix is not None:
        raise InputError(f"{where}: a whole module; a prefix chooses among the entries of a state dict")
    match_precision(found, state, where, note)
    return found  # type: ignore[no-any-return]


def _build(spec: str, arguments: Mapping[str, object]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # initial weights are about to be replaced: draw them aside
        torch.manual_seed(0)
        module = call_factory(spec, arguments)
    if not isinstance(module, nn.Module):
        raise InputError(f"{spec}: returned a {type(module).__name__}, not a torch.nn.Module")
    return module


def _check_own(content: Mapping[str, Any], where: str) -> None:
    """Refuse a checkpoint in our own format that this program cannot read."""
    if content.get("version") != VERSION:
        raise InputError(f"{where}: format version {content.get('version')}; this program reads version {VERSION}")
    lacking = [key for key in ("factory", "arguments", "state_dict") if key not in content]
    if lacking:
        raise InputError(f"{where}: lacks {', '.join(lacking)}")


def _own_factory(spec: object, where: str) -> None:
    """A file must not choose what is called, except among this project's network functions."""
    prefix = f"{NETWORKS}:"
    if not isinstance(spec, str) or not spec.startswith(prefix):
        raise InputError(f"{where}: its factory is {spec!r}, but only {prefix}... may be called")
    made_there = getattr(resolve_factory(spec), "__module__", None) == NETWORKS
    if not made_there:
        raise InputError(f"{where}: its factory {spec!r} is not a network of {NETWORKS}")
