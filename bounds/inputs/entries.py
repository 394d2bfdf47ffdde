"""Names of the entries of a state dict: prefixes that wrappers add, and by-products that are no weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import Tensor

from bounds.errors import InputError

Note = Callable[[str], None]
State = Mapping[str, Tensor]

# What torch.compile, FSDP and activation checkpointing put into names, anywhere; DataParallel's is a common name.
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_DATA_PARALLEL = {"module"}
_COUNTER = "num_batches_tracked"
_BYPRODUCTS = {"total_ops", "total_params", "n_averaged", _COUNTER}  # thop's two, AveragedModel's, batch-norm's
_SHOWN = 4


def silent(note: str) -> None:
    """Says nothing."""


def match_names(state: State, own: State, where: str, *, prefix: str | None, note: Note) -> State:
    """The entries of a state dict under the names that a module has for them, as far as they can be matched.

    What wrappers add to names is dropped, and so is a prefix that all names share, where more of them fit the
    module without. By-products of training tools are left out, and counters that only training reads filled in.

    Args:
        state: from a file.
        own: the module's state dict.
        where: names the file in messages.
        prefix: take only the entries under this prefix.
        note: is told what was left out or filled in.

    Raises:
        InputError: when nothing is under the prefix.

    >>> tensor = Tensor([1.0])
    >>> match_names({"model.weight": tensor}, {"weight": tensor}, "last.pt", prefix=None, note=print)
    {'weight': tensor([1.])}
    >>> found = {"module.weight": tensor, "n_averaged": tensor}
    >>> match_names(found, {"weight": tensor}, "last.pt", prefix=None, note=print)
    last.pt: left out n_averaged: by-products of training, not weights
    {'weight': tensor([1.])}
    """
    if prefix is not None:
        state = _under(state, f"{prefix.rstrip('.')}.", where, note)
    whole = [reading for reading in _readings(state) if len(reading) == len(state)]  # no two names became one
    state = max(whole, key=lambda reading: len(own.keys() & reading.keys()))
    extra = [name for name in state if name not in own and _last(name) in _BYPRODUCTS]
    lacking = [name for name in own if name not in state and _last(name) == _COUNTER]
    if extra:
        note(f"{where}: left out {shorten(extra)}: by-products of training, not weights")
    if lacking:
        note(f"{where}: lacks {shorten(lacking)}, which only training reads")
    kept = {name: tensor for name, tensor in state.items() if name not in extra}
    return kept | {name: own[name] for name in lacking}


def fitting_prefixes(state: State, own: State) -> list[str]:
    """Prefixes under which a state dict has everything that a module needs, in order of appearance.

    >>> tensor = Tensor([1.0])
    >>> fitting_prefixes({"ema.net.bias": tensor, "net.bias": tensor, "loss.weight": tensor}, {"bias": tensor})
    ['ema.net.', 'net.']
    """
    needed = [name for name in own if _last(name) != _COUNTER]
    first = next(iter(needed), "")
    prefixes = [name.removesuffix(first) for name in state if name.endswith(f".{first}")]
    return [prefix for prefix in prefixes if all(prefix + name in state for name in needed)]


def shorten(names: Iterable[str]) -> str:
    """A list for a message, cut to a readable length.

    >>> shorten(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _under(state: State, prefix: str, where: str, note: Note) -> State:
    found = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    if not found:
        raise InputError(f"{where}: no entry begins with '{prefix}'; its entries are {shorten(state)}")
    outside = [name for name in state if not name.startswith(prefix)]
    if outside:
        note(f"{where}: left out what is not under '{prefix}': {shorten(outside)}")
    return found


def _readings(state: State) -> Iterator[State]:
    """Ways to read the names, the plainest first: a network may have a part called "module"."""
    yield state
    for dropped in (_WRAPPERS, _WRAPPERS | _DATA_PARALLEL):
        reading: State | None = {_without(name, dropped): tensor for name, tensor in state.items()}
        while reading is not None:
            yield reading
            reading = _without_shared_prefix(reading)


def _without(name: str, dropped: set[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in dropped)


def _without_shared_prefix(state: State) -> State | None:
    """The state dict without the first part of its names; None where they do not share one."""
    heads = {name.partition(".")[0] if "." in name else "" for name in state if _last(name) not in _BYPRODUCTS}
    if len(heads) != 1 or heads == {""}:
        return None
    prefix = f"{heads.pop()}."
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _last(name: str) -> str:
    return name.rpartition(".")[2]
