"""Reading checkpoint files without running anything in them, unless the user trusts them."""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs.factory import append_working_directory, one_line
from bounds.inputs.files import ZIP_DAMAGE, check_file
from bounds.inputs.shards import INDEX, read_index
from bounds.inputs.wrappers import TrustedPickle

_TRUST = "pass --trust to run it if you trust its origin"
_ZIP = b"PK\x03\x04"
_SCALAR = np.float64(0).__reduce__()[0]
# What a numpy number or text in a checkpoint is rebuilt with, under its names in numpy 1 and 2; no arrays, no objects.
_NUMPY_SCALARS = [
    np.dtype,
    *(type(np.dtype(code)) for code in ["?", "S", "U", *np.typecodes["AllInteger"], *np.typecodes["AllFloat"]]),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]
_ANY_BATCH = 2**31  # an exported batch axis is unlimited if its limit is at least this
_LEGACY = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)  # what torch.save wrote before version 1.6


def read_weights(path: Path, *, trust: bool) -> Any:
    """What a checkpoint file holds, on the CPU: a state dict, something around one, or (if trusted) a module.

    Tensors in plain containers are read without running any code in the file; pickled objects and exported
    programs (.pt2) run code, and are read only with `trust`. The index of a checkpoint in shards stands for them.

    Raises:
        InputError: for a missing, empty, truncated, corrupt or foreign file, or one that needs `trust`.
    """
    check_file(path)
    if path.name.endswith(INDEX):
        return _read_shards(path, trust)
    with path.open("rb") as stream:
        head = stream.read(64)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if head.startswith(_ZIP) or path.suffix == ".pt2":
        return _read_zip(path, trust)
    if head.startswith(_LEGACY):
        return _read_torch(path, trust)
    raise InputError(f"{path}: {_foreign(head)}")


def weights_digest(path: Path) -> str:
    """SHA-256 (hex) of a checkpoint file; of the index and its shards, one digest after the other, for one in shards.

    >>> weights_digest(Path("/dev/null"))[:16]
    'e3b0c44298fc1c14'
    """
    if not path.name.endswith(INDEX):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256(path.read_bytes())
    for shard in sorted(set(read_index(path).values())):
        whole.update(weights_digest(shard).encode())
    return whole.hexdigest()


def _read_shards(path: Path, trust: bool) -> dict[str, Any]:
    places = read_index(path)
    found: dict[str, Any] = {}
    for shard in dict.fromkeys(places.values()):
        content = read_weights(shard, trust=trust)
        for name in (name for name, place in places.items() if place == shard):
            if not isinstance(content, Mapping) or name not in content:
                raise InputError(f"{shard}: lacks '{name}', which {path.name} says it holds")
            found[name] = content[name]
    return found


def _foreign(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself; run 'git lfs pull'"
    if head.startswith(b"\x80"):
        return "a plain pickle; only files written by torch.save or safetensors are read"
    return "not a checkpoint written by torch.save or safetensors"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: truncated or corrupt safetensors file ({error})") from error


def _read_zip(path: Path, trust: bool) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rsplit("/", 1)[-1] for name in archive.namelist()}
            damaged = archive.testzip()  # torch itself does not compare checksums
    except ZIP_DAMAGE as error:
        raise InputError(f"{path}: truncated or corrupt file") from error
    if damaged is not None:
        raise InputError(
            f"{path}: corrupt: '{damaged}' does not match its checksum "
            "(if it was written with set_crc32_options(False), write it again without)"
        )
    if "archive_format" in names or path.suffix == ".pt2":
        return _read_exported(path, trust)
    if "constants.pkl" in names:
        raise InputError(f"{path}: a TorchScript archive; save the state dict of the original module instead")
    if "data.pkl" not in names:
        raise InputError(f"{path}: a zip file, but not a checkpoint written by torch.save")
    return _read_torch(path, trust)


def _read_torch(path: Path, trust: bool) -> Any:
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):  # type: ignore[arg-type]
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged bytes torch's safe unpickler raises whatever comes up
        if not trust:
            raise InputError(f"{path}: {_refusal(error)}") from error
    append_working_directory()
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=TrustedPickle)
    except Exception as error:  # unpickling runs the file's own code, which may raise anything
        raise InputError(f"{path}: loading it raised {one_line(error)}") from error


def _refusal(error: Exception) -> str:
    wanted = re.search(r"GLOBAL (\S+)", str(error))
    if wanted is not None:
        return f"refused: it wants to load '{wanted[1]}', which can run code; save a state dict, or {_TRUST}"
    reason = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    if reason is not None:
        return f"corrupt, or not a state dict that can be read safely ({reason[1].strip()})"
    return "truncated or corrupt file"


def _read_exported(path: Path, trust: bool) -> nn.Module:
    if not trust:
        raise InputError(f"{path}: refused: an exported program (.pt2) can run code; {_TRUST}")
    try:
        program = torch.export.load(path)
    except Exception as error:  # loading runs the file's own code, which may raise anything
        raise InputError(f"{path}: loading the exported program raised {one_line(error)}") from error
    for node in program.graph.nodes:
        if _trains(node):
            raise InputError(f"{path}: exported in training mode ('{node.name}'); export it after model.eval()")
    _refuse_fixed_batch(program, path)
    module = program.module()
    # An exported graph is the same in both modes and refuses to be asked; nn.Module's own methods do not.
    for method in ("train", "eval"):
        module.__dict__.pop(method, None)
    return module


def _trains(node: torch.fx.Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    names = [argument.name for argument in node.target._schema.arguments]
    return any(name in ("train", "training") and value is True for name, value in zip(names, node.args, strict=False))


def _refuse_fixed_batch(program: torch.export.ExportedProgram, path: Path) -> None:
    """A program takes only the batch sizes that it was exported for."""
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    for size in (node.meta["val"].shape[0] for node in inputs if node.meta["val"].ndim):
        limits = None if isinstance(size, int) else program.range_constraints.get(size.node.expr)
        if limits is None or limits.upper < _ANY_BATCH:
            allowed = f"batches of {size}" if limits is None else f"batches of at most {limits.upper}"
            remedy = "torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim('batch')},))"
            raise InputError(f"{path}: exported for {allowed} only; export it for any, with {remedy}")
