"""State dicts: finding one in what a checkpoint file holds, and loading it into a module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bounds.errors import InputError
from bounds.inputs.entries import Note, fitting_prefixes, match_names, shorten, silent

_USUAL_KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "ema",
    "model_ema",
    "state_dict_ema",
    "ema_state_dict",
)
_MISMATCH = re.compile(r"size mismatch for (\S+): .*?Size\((.*?)\) from checkpoint.*?Size\((.*?)\)\.", re.DOTALL)


def find_state_dict(
    content: Any, where: str, *, key: str | None = None, note: Note = silent
) -> Mapping[str, Tensor] | nn.Module:
    """The state dict (or pickled module) in `content`: itself, or under a usual key such as "model".

    Where several are present, plain weights win over averaged ones ("ema"), and `note` is told of the others.

    Args:
        content: of a checkpoint file.
        where: names the file in messages.
        key: look under this key instead; keys inside each other are joined by "/".
        note: told of choices.

    Raises:
        InputError: when there is none, listing what there is instead.

    >>> sorted(find_state_dict({"epoch": 3, "model": {"weight": torch.zeros(1)}}, "last.pt"))
    ['weight']
    >>> find_state_dict({"epoch": 3, "lr": 0.1}, "last.pt")
    Traceback (most recent call last):
        ...
    bounds.errors.InputError: last.pt: no state dict found; its keys are epoch, lr
    """
    path = [] if key is None else key.split("/")
    inner = content
    for part in path:
        if not isinstance(inner, Mapping) or part not in inner:
            raise InputError(f"{where}: holds nothing under '{key}'{_holdings(content, '')}")
        inner = inner[part]
    while isinstance(inner, Mapping) and not _is_state_dict(inner):
        taken = next((name for name in _USUAL_KEYS if _holds_weights(inner.get(name))), None)
        if taken is None:
            break
        others = ["/".join([*path, str(name)]) for name in inner if name != taken and _holds_weights(inner[name])]
        path.append(taken)
        if others:
            note(f"{where}: took the weights '{'/'.join(path)}'; others there for --weights: {shorten(others)}")
        inner = inner[taken]
    if isinstance(inner, nn.Module) or _is_state_dict(inner):
        return inner  # type: ignore[no-any-return]
    raise InputError(f"{where}: no state dict found{_holdings(content, ' under a usual name')}")


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    where: str,
    factory: str,
    *,
    prefix: str | None = None,
    note: Note = silent,
) -> None:
    """Load a state dict into a module, whose names and shapes it must match; see `match_names`.

    A module gets double precision if its weights come in it, and single if they or its own come in half.

    Args:
        module: to load into.
        state: from a file.
        where: names the file in messages.
        factory: names the module in messages.
        prefix: take only the entries under this prefix.
        note: told what was left out, filled in or converted.

    Raises:
        InputError: listing missing, unexpected and misshapen entries; for complex weights.
    """
    own = module.state_dict()
    named = match_names(state, own, where, prefix=prefix, note=note)
    _refuse_complex(named, own, where)
    match_precision(module, named, where, note)
    try:
        module.load_state_dict(named, strict=True)
    except RuntimeError as error:
        misfits = _misfits(named, own, str(error))
        prefixes = [] if own.keys() <= named.keys() else fitting_prefixes(state, own)
        options = " or ".join(f"--prefix {each.rstrip('.')}" for each in prefixes)
        remedy = f"; what it needs is there: choose with {options}" if prefixes else ""
        raise InputError(f"{where}: does not fit {factory}: {misfits}{remedy}") from error


def match_precision(module: nn.Module, state: Mapping[str, Tensor], where: str, note: Note) -> None:
    """Give a module double precision if its weights come in it, and single where it or they have less."""
    kinds = {tensor.dtype for tensor in _floats(state)}
    if torch.float64 in kinds:
        module.double()
    elif any(tensor.dtype.itemsize < 4 for tensor in _floats(module.state_dict())):
        module.float()
    low = sorted(str(kind).removeprefix("torch.") for kind in kinds if kind.itemsize < 4)
    if low:
        note(f"{where}: has weights in {', '.join(low)}; they are used as {_widest(module)}")


def check_finite(module: nn.Module, where: str) -> None:
    """Refuse a module with a NaN or an infinity among its weights, naming the tensor.

    Raises:
        InputError: at the first such tensor.
    """
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor) and not bool(tensor.isfinite().all()):
            value = "a NaN" if bool(tensor.isnan().any()) else "an infinite value"
            raise InputError(f"{where}: '{name}' has {value}")


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and any(isinstance(value, Tensor) for value in content.values())
        and all(
            isinstance(key, str) and (isinstance(value, Tensor) or key.endswith("_extra_state"))
            for key, value in content.items()
        )
    )


def _holds_weights(content: Any) -> bool:
    if isinstance(content, nn.Module) or _is_state_dict(content):
        return True
    return isinstance(content, Mapping) and any(_holds_weights(content.get(key)) for key in _USUAL_KEYS)


def _holdings(content: Any, usual: str) -> str:
    """What a file holds instead of what was looked for, for a message."""
    if not isinstance(content, Mapping):
        return f"; it holds a {type(content).__name__}"
    weights = [str(key) for key in content if _holds_weights(content[key])]
    if weights:
        return f"{usual}; choose among its weights: {' or '.join(f'--weights {key}' for key in weights)}"
    return f"; its keys are {shorten(map(str, content)) or 'none'}"


def _floats(state: Mapping[str, Tensor]) -> list[Tensor]:
    return [tensor for tensor in state.values() if isinstance(tensor, Tensor) and tensor.dtype.is_floating_point]


def _widest(module: nn.Module) -> str:
    kinds = {tensor.dtype for tensor in _floats(module.state_dict())}
    return str(max(kinds, key=lambda kind: kind.itemsize, default=torch.float32)).removeprefix("torch.")


def _refuse_complex(state: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in state.items():
        real = name in own and not own[name].dtype.is_complex
        if real and isinstance(tensor, Tensor) and tensor.is_complex():
            raise InputError(f"{where}: '{name}' is complex; a network with real weights is needed")


def _misfits(state: Mapping[str, Tensor], own: Mapping[str, Tensor], text: str) -> str:
    """What a state dict lacks, and has too much or in the wrong shape; else what torch says of it."""
    sizes = [f"{name} ({found} in the file, {needed} needed)" for name, found, needed in _MISMATCH.findall(text)]
    kinds = {
        "missing": [name for name in own if name not in state],
        "unexpected": [name for name in state if name not in own],
        "wrong shape": sizes,
    }
    misfits = [f"{title}: {shorten(entries)}" for title, entries in kinds.items() if entries]
    return "; ".join(misfits) or " ".join(text.split())
