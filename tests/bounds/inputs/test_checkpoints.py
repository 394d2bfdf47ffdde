"""Checkpoints of every format load to the very same network; every fault is one line, and nothing runs."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from bounds.errors import InputError
from bounds.inputs import load_checkpoint, save_checkpoint

MODULE = """
from torch import nn
def net(width=4):
    body = nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(), nn.Linear(width, 3)
    return nn.Sequential(nn.Flatten(), *body)
class Whole(nn.Linear): pass
class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = nn.Linear(4, 3)
    def forward(self, x): return self.module(x)
def lazy(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
def wrong(): return 3
"""
NET = "my_networks:net"
X = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a module of network factories."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    (tmp_path / "my_networks.py").write_text(MODULE)
    return tmp_path


def trained(width: int = 4) -> nn.Module:
    """The network of `my_networks:net` with weights that no initialisation gives."""
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(), nn.Linear(width, 3)
    )
    generator = torch.Generator().manual_seed(7)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module.eval()


def same(loaded: nn.Module, original: nn.Module) -> None:
    assert not loaded.training
    assert torch.equal(loaded(X), original(X))
    state = loaded.state_dict()
    assert list(state) == list(original.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in original.state_dict().items())


def save(content: object, name: str = "net.pt") -> Path:
    torch.save(content, name)
    return Path(name)


def refusal(path: Path | str, **options: Any) -> str:
    """The one line that refuses a file; it names it."""
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


STATE: Mapping[str, Tensor] = trained().state_dict()


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        dict(STATE),
        {"epoch": 3, "state_dict": STATE, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        {"model_state_dict": STATE},
        {"model": STATE, "ema": {"weight": torch.zeros(1)}},
        {"net": {"state_dict": STATE}},
        {"ema": STATE, "step": torch.tensor(3)},
        {"state_dict": {f"module.{name}": tensor for name, tensor in STATE.items()}},
        {f"_orig_mod.{name}": tensor for name, tensor in STATE.items()},
        {f"module._orig_mod.{name}": tensor for name, tensor in STATE.items()},
        {name.replace("1.", "1._orig_mod.", 1): tensor for name, tensor in STATE.items()},
    ],
)
def test_state_dicts_in_the_usual_wrappings(content: object) -> None:
    same(load_checkpoint(save(content), model=NET), trained())


def test_old_torch_files_and_safetensors() -> None:
    torch.save(STATE, "old.pth", _use_new_zipfile_serialization=False)
    same(load_checkpoint("old.pth", model=NET), trained())
    save_file(dict(STATE), "net.safetensors")
    same(load_checkpoint("net.safetensors", model=NET), trained())


def test_factory_arguments_and_lists() -> None:
    path = save([trained(6).state_dict(), STATE])
    same(load_checkpoint(path, model=NET, index=0, arguments={"width": "6"}), trained(6))
    same(load_checkpoint(path, model=NET, index=1), trained())
    assert refusal(path, model=NET) == "net.pt: holds a list of 2 entries; choose one with --index 0 to 1"
    assert refusal(path, model=NET, index=2) == "net.pt: index 2 is outside 0 to 1"
    assert "an index was given, but" in refusal(save(STATE), model=NET, index=0)


def test_a_part_called_module_keeps_its_name() -> None:
    path = save({"module.weight": torch.ones(3, 4), "module.bias": torch.zeros(3)})
    assert load_checkpoint(path, model="my_networks:Wrapped")(torch.ones(1, 4)).tolist() == [[4.0] * 3]


def test_double_precision_is_kept() -> None:
    state = {name: t.double() / 3 if t.is_floating_point() else t for name, t in STATE.items()}
    loaded = load_checkpoint(save(state), model=NET).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_lazy_layers_take_their_shape_from_the_file() -> None:
    path = save({"1.weight": torch.ones(4, 4), "1.bias": torch.zeros(4)})
    assert load_checkpoint(path, model="my_networks:lazy")(X).shape == (5, 4)


def test_loading_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    load_checkpoint(save(STATE), model=NET)
    assert torch.equal(before, torch.get_rng_state())


# Our own format


def test_own_format_round_trip(tmp_path: Path) -> None:
    from verification.training.networks import mlp

    module = mlp(4, [5], 3, "tanh").eval()
    path = tmp_path / "deep" / "down" / "own.pt"
    arguments = {"inputs": 4, "widths": [5], "classes": 3, "activation": "tanh"}
    save_checkpoint(path, "verification.training.networks:mlp", arguments, module, {"epochs": 3})
    same(load_checkpoint(path), module)
    content = torch.load(path, weights_only=True)
    assert {key: content[key] for key in ("format", "version", "factory", "arguments", "training")} == {
        "format": "jacobound-checkpoint",
        "version": 1,
        "factory": "verification.training.networks:mlp",
        "arguments": arguments,
        "training": {"epochs": 3},
    }


def own(**changes: object) -> dict[str, object]:
    arguments = {"inputs": 4, "classes": 3}
    state = {"1.weight": torch.ones(3, 4), "1.bias": torch.zeros(3)}
    record: dict[str, object] = {"format": "jacobound-checkpoint", "version": 1, "training": {}}
    record |= {
        "factory": "verification.training.networks:linear",
        "arguments": arguments,
        "state_dict": state,
    }
    return record | changes


def test_own_format_stores_texts_as_texts() -> None:
    assert load_checkpoint(save(own()))(torch.ones(1, 4)).tolist() == [[4.0] * 3]
    path = save(own(arguments={"inputs": "4", "classes": 3}))
    assert "raised TypeError" in refusal(path)


@pytest.mark.parametrize(
    "factory",
    [
        "os:getcwd",
        "verification.training.networks_evil:f",
        "verification.training.networks:Any",
        "verification.training.networks:unknown_name",
        "verification.training.networks:nn.Linear",
        "verification.training.networks:torch",
        7,
    ],
)
def test_own_format_calls_nothing_but_networks(factory: object) -> None:
    assert "networks" in refusal(save(own(factory=factory)))


def test_own_format_damage() -> None:
    assert refusal(save(own(version=2))) == "net.pt: format version 2; this program reads version 1"
    assert "0.weight" in refusal(save(own(state_dict={"0.weight": torch.ones(3, 4)})))
    content = own()
    del content["arguments"], content["state_dict"]
    assert refusal(save(content)) == "net.pt: lacks arguments, state_dict"


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    networks = "verification.training.networks"
    with pytest.raises(InputError, match="only verification.training.networks:... may be called"):
        save_checkpoint("a.pt", NET, {}, trained())
    with pytest.raises(InputError, match="a.pt: arguments and training must be plain json values: "):
        save_checkpoint("a.pt", f"{networks}:linear", {"inputs": torch.ones(1)}, trained())
    with pytest.raises(InputError, match="a.pt: arguments and training must be plain json values: "):
        save_checkpoint("a.pt", f"{networks}:linear", {}, trained(), {"loss": float("nan")})
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file/a.pt: cannot be written: "):
        save_checkpoint("file/a.pt", f"{networks}:linear", {}, trained())


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "saved"
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    arguments = ("verification.training.networks:linear", {"inputs": 4, "classes": 3}, module)
    save_checkpoint(folder / "a.pt", *arguments)

    def interrupted(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder / "a.pt", *arguments)
    assert [path.name for path in folder.iterdir()] == ["a.pt"]
    same(load_checkpoint(folder / "a.pt"), module)


# Files that can run code


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("new", [True, False])
def test_a_malicious_pickle_is_named_and_not_run(new: bool) -> None:
    torch.save({"state_dict": STATE, "x": Malicious()}, "evil.pt", _use_new_zipfile_serialization=new)
    message = refusal("evil.pt", model=NET)
    assert message.startswith(
        f"evil.pt: refused: it wants to load '{os.mkdir.__module__}.mkdir', which can run code"
    )
    assert "--trust" in message
    assert not Path("harm").exists()
    load_checkpoint("evil.pt", model=NET, trust=True)
    assert Path("harm").exists()


def test_pickled_modules_need_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(os.getcwd())
    import my_networks  # type: ignore[import-not-found]

    module = my_networks.Whole(4, 3).eval()
    save({"model": module, "args": Namespace(lr=0.1)}, "whole.pt")
    assert "it wants to load 'my_networks.Whole'" in refusal("whole.pt")
    loaded = load_checkpoint("whole.pt", trust=True)
    assert type(loaded).__name__ == "Whole"
    assert torch.equal(loaded.weight, module.weight)  # type: ignore[arg-type]


def test_a_pickled_module_whose_class_is_gone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(here))
    import my_networks

    save(my_networks.Whole(4, 3), "whole.pt")
    (here / "my_networks.py").unlink()
    monkeypatch.delitem(sys.modules, "my_networks")
    sys.path.remove(str(here))
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


def test_programs_exported_in_training_mode() -> None:
    export(trained().train())
    assert "net.pt2: exported in training mode ('" in refusal("net.pt2", trust=True)


# Damaged and foreign files


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".pt2"])
def test_files_that_are_not_there(here: Path, suffix: str) -> None:
    assert refusal(f"gone{suffix}") == f"gone{suffix}: no such file"
    (here / f"folder{suffix}").mkdir()
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
    import zipfile

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


# Weights that do not fit


def test_misfits_are_listed() -> None:
    state = dict(STATE)
    del state["4.bias"]
    state["5.scale"] = torch.ones(1)
    state["1.weight"] = torch.ones(7, 4)
    message = refusal(save(state), model=NET)
    assert message == (
        "net.pt: does not fit my_networks:net: missing: 4.bias; unexpected: 5.scale; "
        "wrong shape: 1.weight ([7, 4] in the file, [4, 4] needed)"
    )
    message = refusal(save({f"layer{i}": torch.ones(1) for i in range(9)}), model=NET)
    assert "unexpected: layer0, layer1, layer2, layer3 and 5 more" in message
    assert "missing: 1.weight, 1.bias, 2.weight, 2.bias and 5 more" in message


@pytest.mark.parametrize(("value", "words"), [(torch.nan, "a NaN"), (-torch.inf, "an infinite value")])
def test_weights_that_are_not_numbers(value: float, words: str) -> None:
    state = {name: tensor.clone() for name, tensor in STATE.items()}
    state["2.running_var"][1] = value
    assert refusal(save(state), model=NET) == f"net.pt: '2.running_var' has {words}"
    module = trained()
    module.get_parameter("4.bias").data[0] = value
    save(module, "whole.pt")
    assert refusal("whole.pt", trust=True) == f"whole.pt: '4.bias' has {words}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "lr": 0.1}, "net.pt: no state dict found; its keys are epoch, lr"),
        ({str(i): i for i in range(9)}, "net.pt: no state dict found; its keys are 0, 1, 2, 3 and 5 more"),
        ({"epoch": 3, "state_dict": {"a": 1}}, "net.pt: no state dict found; its keys are epoch, state_dict"),
        ({}, "net.pt: no state dict found; its keys are none"),
        (torch.ones(3), "net.pt: no state dict found; it holds a Tensor"),
    ],
)
def test_no_state_dict(content: object, message: str) -> None:
    assert refusal(save(content), model=NET) == message


def test_factories_that_do_not_serve() -> None:
    path = save(STATE)
    assert refusal(path).startswith(
        "net.pt: a state dict; name the function that builds its network with --model"
    )
    assert refusal(path, arguments={"width": "3"}).startswith(
        "net.pt: factory arguments were given without a factory"
    )
    assert (
        refusal(path, model="my_networks:wrong") == "my_networks:wrong: returned a int, not a torch.nn.Module"
    )
    assert "did you mean 'net'?" in refusal(path, model="my_networks:nets")
    assert "did you mean 'my_networks'?" in refusal(path, model="my_network:net")
    assert "raised TypeError" in refusal(path, model=NET, arguments={"depth": "3"})
