"""Checkpoints in shards: an index, such as model.safetensors.index.json, that says which file holds which tensor."""

from __future__ import annotations

import json
from pathlib import Path

from bounds.errors import InputError
from bounds.inputs.files import check_file

INDEX = ".index.json"


def read_index(path: Path) -> dict[str, Path]:
    """Where each tensor lies, from the index; shards lie beside it.

    Raises:
        InputError: for a damaged index, or one that names a file elsewhere.
    """
    check_file(path)
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        named = {tensor: Path(shard) for tensor, shard in places.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not the index of a checkpoint in shards (an object with a weight_map)") from error
    if not named:
        raise InputError(f"{path}: its weight_map is empty")
    for shard in named.values():
        if shard.name in ("", "..") or shard != Path(shard.name) or "\\" in shard.name or shard.name.endswith(INDEX):
            raise InputError(f"{path}: refused: the shard '{shard}' does not lie beside it")
    return {tensor: path.parent / shard for tensor, shard in named.items()}
