"""Checkpoints in shards load like whole ones; what is wrong with one is said, by the shard's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bounds.inputs import load_checkpoint
from bounds.inputs.weights_file import weights_digest

from .checkpoint_files import NET, STATE, refusal, same, trained

pytestmark = pytest.mark.usefixtures("workshop")
INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
PLACES = {name: SHARDS[place % 2] for place, name in enumerate(STATE)}


@pytest.fixture(autouse=True)
def sharded(workshop: Path) -> None:
    for shard in SHARDS:
        save_file({name: STATE[name].clone() for name, place in PLACES.items() if place == shard}, shard)
    index({"metadata": {"total_size": 1}, "weight_map": PLACES})


def index(content: object) -> None:
    Path(INDEX).write_text(json.dumps(content))


def test_shards_are_one_state_dict() -> None:
    same(load_checkpoint(INDEX, model=NET), trained())


def test_shards_written_by_torch() -> None:
    for shard in SHARDS:
        torch.save({name: STATE[name] for name, place in PLACES.items() if place == shard}, f"{shard}.bin")
    Path("pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {name: f"{shard}.bin" for name, shard in PLACES.items()}})
    )
    same(load_checkpoint("pytorch_model.bin.index.json", model=NET), trained())


def test_a_shard_that_is_missing_or_damaged_is_named() -> None:
    content = Path(SHARDS[1]).read_bytes()
    Path(SHARDS[1]).write_bytes(content[:-3])
    assert refusal(INDEX, model=NET).startswith(f"{SHARDS[1]}: truncated or corrupt safetensors file")
    Path(SHARDS[1]).unlink()
    assert refusal(INDEX, model=NET) == f"{SHARDS[1]}: no such file"


def test_a_tensor_in_another_shard_than_the_index_says() -> None:
    index({"weight_map": PLACES | {"1.weight": SHARDS[1]}})
    assert refusal(INDEX, model=NET) == f"{SHARDS[1]}: lacks '1.weight', which {INDEX} says it holds"


@pytest.mark.parametrize("shard", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "a\\b", "..", ".", INDEX])
def test_no_shard_lies_elsewhere(shard: str) -> None:
    index({"weight_map": {"1.weight": shard}})
    assert refusal(INDEX, model=NET) == f"{INDEX}: refused: the shard '{shard}' does not lie beside it"


@pytest.mark.parametrize(
    "content", [[], {}, {"weight_map": 3}, {"weight_map": ["a"]}, "text", {"weight_map": {"a": 1}}]
)
def test_files_that_are_no_index(content: object) -> None:
    index(content)
    assert refusal(INDEX, model=NET).startswith(f"{INDEX}: not the index of a checkpoint in shards")
    Path(INDEX).write_bytes(b"\xff{")
    assert refusal(INDEX, model=NET).startswith(f"{INDEX}: not the index of a checkpoint in shards")


def test_an_index_of_nothing() -> None:
    index({"weight_map": {}})
    assert refusal(INDEX, model=NET) == f"{INDEX}: its weight_map is empty"


def test_the_digest_depends_on_every_shard() -> None:
    before = weights_digest(Path(INDEX))
    assert before == weights_digest(Path(INDEX))
    for shard in SHARDS:
        content = bytearray(Path(shard).read_bytes())
        content[-1] ^= 1
        Path(shard).write_bytes(content)
        assert weights_digest(Path(INDEX)) != before
        before = weights_digest(Path(INDEX))
