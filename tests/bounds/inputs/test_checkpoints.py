"""Checkpoints of every format load to the very same network, or say in one line why they do not fit."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from bounds.inputs import load_checkpoint

from .checkpoint_files import NET, STATE, X, refusal, same, save, trained

pytestmark = pytest.mark.usefixtures("workshop")


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        dict(STATE),
        {"epoch": 3, "state_dict": STATE, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        {"model_state_dict": STATE},
        {"model": STATE, "ema": {"weight": torch.zeros(1)}},
        {"net": {"state_dict": STATE}},
        {"model": {"name": "net", "width": 4}, "weights": STATE},
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


@pytest.mark.parametrize("part", ["module", "_orig_mod"])
def test_a_part_with_the_name_of_a_prefix_keeps_it(part: str) -> None:
    path = save({f"{part}.weight": torch.ones(3, 4), f"{part}.bias": torch.zeros(3)})
    loaded = load_checkpoint(path, model="my_networks:Wrapped", arguments={"part": part})
    assert loaded.get_parameter(f"{part}.weight").sum() == 12


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
    assert "missing: 1.weight, 1.bias, 2.weight, 2.bias and 4 more" in message


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
    assert refusal(path).startswith("net.pt: a state dict; name the function that builds its network with --model")
    assert refusal(path, arguments={"width": "3"}).startswith("net.pt: factory arguments were given without a factory")
    assert refusal(path, model="my_networks:wrong") == "my_networks:wrong: returned a int, not a torch.nn.Module"
    assert "did you mean 'net'?" in refusal(path, model="my_networks:nets")
    assert "did you mean 'my_networks'?" in refusal(path, model="my_network:net")
    assert "raised TypeError" in refusal(path, model=NET, arguments={"depth": "3"})
