"""State dicts: finding one in what a checkpoint file holds, and loading it into a module."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bounds.errors import InputError

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
_SHOWN = 4
_MISMATCH = re.compile(r"size mismatch for (\S+): .*?Size\((.*?)\) from checkpoint.*?Size\((.*?)\)\.", re.DOTALL)


def find_state_dict(content: Any, where: str) -> Mapping[str, Tensor] | nn.Module:
    """The state dict (or pickled module) in `content`: itself, or under a usual key such as "model".

    Where several are present, plain weights win over averaged ones ("ema").

    Raises:
        InputError: when there is none, listing what there is instead.

    >>> sorted(find_state_dict({"epoch": 3, "model": {"weight": torch.zeros(1)}}, "last.pt"))
    ['weight']
    >>> find_state_dict({"epoch": 3, "lr": 0.1}, "last.pt")
    Traceback (most recent call last):
        ...
    bounds.errors.InputError: last.pt: no state dict found; its keys are epoch, lr
    """
    inner = content
    while isinstance(inner, Mapping) and not _is_state_dict(inner):
        key = next((key for key in _USUAL_KEYS if isinstance(inner.get(key), Mapping | nn.Module)), None)
        if key is None:
            break
        inner = inner[key]
    if isinstance(inner, nn.Module) or _is_state_dict(inner):
        return inner  # type: ignore[no-any-return]
    if isinstance(content, Mapping):
        raise InputError(f"{where}: no state dict found; its keys are {shorten(map(str, content)) or 'none'}")
    raise InputError(f"{where}: no state dict found; it holds a {type(content).__name__}")


def load_into(module: nn.Module, state: Mapping[str, Tensor], where: str, factory: str) -> None:
    """Load a state dict into a module, whose names and shapes it must match exactly.

    Prefixes that DataParallel ("module.") and torch.compile ("_orig_mod.") add are dropped. A module gets
    double precision if its weights come in it.

    Raises:
        InputError: listing missing, unexpected and misshapen entries.
    """
    state = _strip_prefixes(state, set(module.state_dict()))
    if any(tensor.dtype == torch.float64 for tensor in state.values() if isinstance(tensor, Tensor)):
        module.double()
    misfits = []
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        names, text = set(module.state_dict()), str(error)
        missing = [name for name in module.state_dict() if name not in state]
        extra = [name for name in state if name not in names]
        sizes = [f"{name} ({found} in the file, {needed} needed)" for name, found, needed in _MISMATCH.findall(text)]
        for title, entries in (("missing", missing), ("unexpected", extra), ("wrong shape", sizes)):
            if entries:
                misfits.append(f"{title}: {shorten(entries)}")
        cause = "; ".join(misfits) or " ".join(text.split())
        raise InputError(f"{where}: does not fit {factory}: {cause}") from error


def check_finite(module: nn.Module, where: str) -> None:
    """Refuse a module with a NaN or an infinity among its weights, naming the tensor.

    Raises:
        InputError: at the first such tensor.
    """
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor) and not bool(tensor.isfinite().all()):
            value = "a NaN" if bool(tensor.isnan().any()) else "an infinite value"
            raise InputError(f"{where}: '{name}' has {value}")


def shorten(names: Iterable[str]) -> str:
    """A list for a message, cut to a readable length.

    >>> shorten(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and any(isinstance(value, Tensor) for value in content.values())
        and all(
            isinstance(key, str) and (isinstance(value, Tensor) or key.endswith("_extra_state"))
            for key, value in content.items()
        )
    )


def _strip_prefixes(state: Mapping[str, Tensor], wanted: set[str]) -> Mapping[str, Tensor]:
    if set(state) == wanted:  # a network may have a part called "module"
        return state
    state = {key.replace("_orig_mod.", ""): value for key, value in state.items()}
    while set(state) != wanted and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state
