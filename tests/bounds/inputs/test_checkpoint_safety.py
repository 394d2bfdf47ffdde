"""Files that can run code do not run it unasked; damaged and foreign files are refused in one line."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from bounds.errors import InputError
from bounds.inputs import load_checkpoint

from .checkpoint_files import NET, STATE, X, refusal, same, save, trained

pytestmark = pytest.mark.usefixtures("workshop")


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("new", [True, False])
def test_a_malicious_pickle_is_named_and_not_run(new: bool) -> None:
    torch.save({"state_dict": STATE, "x": Malicious()}, "evil.pt", _use_new_zipfile_serialization=new)
    message = refusal("evil.pt", model=NET)
    assert message.startswith(f"evil.pt: refused: it wants to load '{os.mkdir.__module__}.mkdir', which can run code")
    assert "--trust" in message
    assert not Path("harm").exists()
    load_checkpoint("evil.pt", model=NET, trust=True)
    assert Path("harm").exists()


NUMBERS = [np.float64(0.9), np.float32(0.5), np.float16(1), np.int64(3), np.uint8(7), np.bool_(True), np.str_("done")]


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
def test_numpy_numbers_beside_the_weights_are_harmless(number: np.generic, new: bool) -> None:
    torch.save({"accuracy": number, "state_dict": STATE}, "net.pt", _use_new_zipfile_serialization=new)
    same(load_checkpoint("net.pt", model=NET), trained())


class Numpy1Pickler(pickle._Pickler):
    """Writes a numpy number the way numpy 1 did: with the module's old name."""

    def save_global(self, obj: object, name: str | None = None) -> None:
        if getattr(obj, "__name__", "") == "scalar":
            self.write(b"cnumpy.core.multiarray\nscalar\n")
        else:
            super().save_global(obj, name)  # type: ignore[misc]

    dispatch = pickle._Pickler.dispatch | {type(np.float64(0).__reduce__()[0]): save_global}


def test_numbers_of_numpy_1() -> None:
    buffer = io.BytesIO()
    Numpy1Pickler(buffer, protocol=2).dump({"accuracy": np.float64(0.9)})
    assert b"numpy.core.multiarray" in buffer.getvalue()
    with zipfile.ZipFile("net.pt", "w") as archive:
        archive.writestr("net/data.pkl", buffer.getvalue())
        archive.writestr("net/version", "3\n")
    assert refusal("net.pt", model=NET) == "net.pt: no state dict found; its keys are accuracy"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.array([None]), "multiarray._reconstruct'"),
        (np.arange(3), "multiarray._reconstruct'"),
        (np.dtype("O"), "ObjectDType"),
        (np.random.default_rng(0), "numpy.random._pickle"),
    ],
    ids=["objects", "array", "object type", "generator"],
)
def test_other_numpy_objects_stay_refused(value: object, wanted: str) -> None:
    message = refusal(save({"value": value, "state_dict": STATE}), model=NET)
    assert wanted in message


def test_the_numpy_names_are_allowed_only_while_a_file_is_read() -> None:
    path = save({"accuracy": np.float64(1), "state_dict": STATE})
    load_checkpoint(path, model=NET)
    with pytest.raises(pickle.UnpicklingError, match="multiarray.scalar was not an allowed global"):
        torch.load(path, weights_only=True)


def test_pickled_modules_need_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(os.getcwd())
    import my_networks  # type: ignore[import-not-found]

    module = my_networks.Whole(4, 3).eval()
    save({"model": module, "args": Namespace(lr=0.1)}, "whole.pt")
    assert "it wants to load 'my_networks.Whole'" in refusal("whole.pt")
    loaded = load_checkpoint("whole.pt", trust=True)
    assert type(loaded).__name__ == "Whole"
    assert torch.equal(loaded.weight, module.weight)  # type: ignore[arg-type]


def test_a_pickled_module_whose_class_is_gone(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(workshop))
    import my_networks

    save(my_networks.Whole(4, 3), "whole.pt")
    (workshop / "my_networks.py").unlink()
    monkeypatch.delitem(sys.modules, "my_networks")
    sys.path.remove(str(workshop))
    message = refusal("whole.pt", trust=True)
    assert message == "whole.pt: loading it raised ModuleNotFoundError: No module named 'my_networks'"


def test_a_pickled_module_gives_its_weights_to_a_factory() -> None:
    save(trained(), "whole.pt")
    same(load_checkpoint("whole.pt", model=NET, trust=True), trained())


def export(module: nn.Module, name: str = "net.pt2") -> None:
    program = torch.export.export(module, (X,), dynamic_shapes=({0: torch.export.Dim("b", min=1)},))
    torch.export.save(program, name)


@pytest.mark.parametrize("name", ["net.pt2", "net.pt"])
def test_exported_programs_need_trust(name: str) -> None:
    export(trained())
    os.replace("net.pt2", name)
    if name == "net.pt":
        assert refusal(name).startswith("net.pt: refused: an exported program")
        return
    assert refusal(name).startswith("net.pt2: refused: an exported program (.pt2) can run code")
    loaded = load_checkpoint(name, trust=True)
    torch.testing.assert_close(loaded(X[:1]), trained()(X[:1]))
    assert not loaded.training
    assert loaded.train().training  # what traces it may switch modes back and forth
    torch.export.export(loaded.eval(), (X,))


@pytest.mark.parametrize(
    ("batch", "allowed"), [(None, "batches of 2 only"), (torch.export.Dim("b", max=64), "batches of at most 64 only")]
)
def test_programs_exported_for_some_batch_sizes(batch: object, allowed: str) -> None:
    program = torch.export.export(trained(), (X[:2],), dynamic_shapes=({0: batch},))
    torch.export.save(program, "net.pt2")
    message = refusal("net.pt2", trust=True)
    assert message.startswith(f"net.pt2: exported for {allowed}; export it for any, with torch.export.export(model, ")
    remedy = message.partition("with ")[2]
    program = eval(remedy, {"torch": torch, "model": trained(), "x": X})
    torch.export.save(program, "net.pt2")
    torch.testing.assert_close(load_checkpoint("net.pt2", trust=True)(X[:1]), trained()(X[:1]))


def test_programs_exported_in_training_mode() -> None:
    export(trained().train())
    assert "net.pt2: exported in training mode ('" in refusal("net.pt2", trust=True)


# Damaged and foreign files


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".pt2"])
def test_files_that_are_not_there(workshop: Path, suffix: str) -> None:
    assert refusal(f"gone{suffix}") == f"gone{suffix}: no such file"
    (workshop / f"folder{suffix}").mkdir()
    assert refusal(f"folder{suffix}") == f"folder{suffix}: a folder, not a file"
    Path(f"empty{suffix}").touch()
    assert refusal(f"empty{suffix}") == f"empty{suffix}: the file is empty"


def test_truncated_files() -> None:
    torch.save(STATE, "old.pt", _use_new_zipfile_serialization=False)
    save(STATE)
    save_file(dict(STATE), "net.safetensors")
    export(trained())
    for name in ("old.pt", "net.pt", "net.safetensors", "net.pt2"):
        content = Path(name).read_bytes()
        for kept in (len(content) // 2, len(content) - 3):
            Path(name).write_bytes(content[:kept])
            message = refusal(name, model=NET)
            assert message.startswith(f"{name}: ")
            assert "truncated or corrupt" in message


def test_a_flipped_bit_in_the_weights() -> None:
    path = save(STATE)
    content = bytearray(path.read_bytes())
    content[content.find(STATE["1.weight"].numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert refusal(path, model=NET).startswith("net.pt: corrupt: 'net/data/0' does not match its checksum")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pt", b"hello, this is text", "not a checkpoint written by torch.save or safetensors"),
        ("a.pt", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
        ("a.pt", b"\x80\x04}\x94.", "a plain pickle; only files written by torch.save"),
        ("a.safetensors", b"hello, this is text", "truncated or corrupt safetensors file"),
        ("a.pt2", b"hello, this is text", "truncated or corrupt file"),
    ],
)
def test_foreign_files(name: str, content: bytes, message: str) -> None:
    Path(name).write_bytes(content)
    assert refusal(name).startswith(f"{name}: {message}")
    assert refusal(name, trust=True).startswith(f"{name}: {message}")


def test_foreign_zip_files() -> None:
    with zipfile.ZipFile("a.pt", "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert refusal("a.pt") == "a.pt: a zip file, but not a checkpoint written by torch.save"
    with zipfile.ZipFile("script.pt", "w") as archive:
        archive.writestr("script/data.pkl", "")
        archive.writestr("script/constants.pkl", "")
    assert refusal("script.pt").startswith("script.pt: a TorchScript archive")


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.booleans(), st.integers(0, 2**30), st.integers(1, 255), st.booleans())
def test_damage_is_refused_or_harmless(new: bool, place: int, change: int, cut: bool) -> None:
    torch.save({"weight": torch.ones(3, 4)}, "fuzz.pt", _use_new_zipfile_serialization=new)
    content = bytearray(Path("fuzz.pt").read_bytes())
    place %= len(content)
    content[place] ^= change
    Path("fuzz.pt").write_bytes(content[:place] if cut else content)
    try:
        module = load_checkpoint(
            "fuzz.pt", model="torch.nn:Linear", arguments={"in_features": 4, "out_features": 3, "bias": False}
        )
    except InputError as error:
        assert str(error).startswith("fuzz.pt: ")
    else:
        assert all(tensor.isfinite().all() for tensor in module.state_dict().values())
