"""Our own checkpoints: they rebuild themselves, call nothing but networks, and are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs import load_checkpoint, save_checkpoint

from .checkpoint_files import NET, refusal, same, save, trained

pytestmark = pytest.mark.usefixtures("workshop")


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
    ("name", "message"),
    [
        (
            "os:getcwd",
            "its factory is 'os:getcwd', but only verification.training.networks:... may be called",
        ),
        (
            "verification.training.networks_evil:f",
            "but only verification.training.networks:... may be called",
        ),
        (7, "its factory is 7, but only verification.training.networks:... may be called"),
        ("verification.training.networks:unknown_name", "is not a network of verification.training.networks"),
        ("verification.training.networks:Sequence", "is not a network of verification.training.networks"),
        ("verification.training.networks:torch", "a module, not a function or class"),
        ("verification.training.networks:nn.Linear", "is not of the form module:factory"),
        ("verification.training.networks:gone", "'verification.training.networks' has no 'gone'"),
    ],
)
def test_own_format_calls_nothing_but_networks(name: object, message: str) -> None:
    assert message in refusal(save(own(factory=name)))


def test_own_format_with_a_factory_of_the_users() -> None:
    path = save(own(factory="os:getcwd"))
    sizes = {"inputs": "4", "classes": "3"}
    loaded = load_checkpoint(path, model="verification.training.networks:linear", arguments=sizes)
    assert loaded(torch.ones(1, 4)).tolist() == [[4.0] * 3]


def test_saving_again_replaces_the_file() -> None:
    for value in (1.0, 2.0):
        module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
        nn.init.constant_(module.get_parameter("1.weight"), value)
        save_checkpoint("a.pt", "verification.training.networks:linear", {"inputs": 4, "classes": 3}, module)
        same(load_checkpoint("a.pt"), module)


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
