"""State dicts whose names, by-products or number types differ from the module's: used, with a note, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bounds.inputs import load_checkpoint

from .checkpoint_files import NET, STATE, refusal, same, save, trained

pytestmark = pytest.mark.usefixtures("workshop")
LIGHTNING = {"state_dict": {f"model.{name}": t for name, t in STATE.items()} | {"criterion.weight": torch.ones(3)}}


def noted(content: object, **options: Any) -> tuple[nn.Module, list[str]]:
    notes: list[str] = []
    module = load_checkpoint(save(content), model=NET, note=notes.append, **options)
    assert all(note.startswith("net.pt: ") and "\n" not in note for note in notes)
    return module, [note.removeprefix("net.pt: ") for note in notes]


def under(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in STATE.items()}


@pytest.mark.parametrize("prefix", ["model.", "net.", "network.", "a.b.c.", "module.model.", "model._orig_mod.", "1."])
def test_a_prefix_that_all_names_share_is_dropped(prefix: str) -> None:
    loaded, notes = noted({"state_dict": under(prefix)})
    same(loaded, trained())
    assert notes == []


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_what_wrappers_put_inside_names_is_dropped(wrapper: str) -> None:
    renamed = {name.replace("1.", f"1.{wrapper}.", 1): tensor for name, tensor in STATE.items()}
    same(noted(renamed)[0], trained())


def test_names_that_would_become_one_are_not_shortened() -> None:
    message = refusal(save(under("module.") | dict(STATE)), model=NET)
    assert "unexpected: module.1.weight" in message


def test_the_reading_that_fits_best_is_the_one_complained_about() -> None:
    state = under("model.")
    del state["model.4.bias"]
    assert refusal(save(state), model=NET) == "net.pt: does not fit my_networks:net: missing: 4.bias"


def test_lightning_needs_a_prefix_for_what_else_it_holds() -> None:
    message = refusal(save(LIGHTNING), model=NET)
    assert message.endswith("; what it needs is there: choose with --prefix model")
    for prefix in ("model", "model."):
        loaded, notes = noted(LIGHTNING, prefix=prefix)
        same(loaded, trained())
        assert notes == ["left out what is not under 'model.': criterion.weight"]
    assert refusal(save(LIGHTNING), model=NET, prefix="net") == (
        "net.pt: no entry begins with 'net.'; its entries are model.1.weight, model.1.bias, model.2.weight, "
        "model.2.bias and 6 more"
    )


def test_averaged_and_plain_weights_side_by_side_in_one_state_dict() -> None:
    both = {name: tensor * 2 for name, tensor in under("ema_model.module.").items()} | under("online.")
    assert refusal(save(both), model=NET).endswith("choose with --prefix ema_model.module or --prefix online")
    same(noted(both, prefix="online")[0], trained())
    averaged = noted(both, prefix="ema_model")[0].state_dict()
    assert torch.equal(averaged["4.bias"], STATE["4.bias"] * 2)


def test_a_prefix_is_for_state_dicts() -> None:
    save(trained())
    assert refusal("net.pt", trust=True, prefix="model").startswith("net.pt: a whole module; a prefix chooses")


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        ({"total_ops": torch.zeros(1), "1.total_params": torch.zeros(1)}, "total_ops, 1.total_params"),
        ({"1.num_batches_tracked": torch.tensor(3)}, "1.num_batches_tracked"),
        ({"n_averaged": torch.tensor(3)}, "n_averaged"),
    ],
)
def test_byproducts_are_left_out(extra: dict[str, Tensor], names: str) -> None:
    loaded, notes = noted(dict(STATE) | extra)
    same(loaded, trained())
    assert notes == [f"left out {names}: by-products of training, not weights"]


def test_a_missing_counter_of_batch_norm_does_not_matter() -> None:
    state = trained().state_dict()  # with its versions, so that torch misses the counter
    del state["2.num_batches_tracked"]
    loaded, notes = noted(state)
    same(loaded, trained())
    assert notes == ["lacks 2.num_batches_tracked, which only training reads"]
    del state["2.running_mean"]
    assert refusal(save(state), model=NET).endswith("missing: 2.running_mean")


def test_a_model_averaged_by_torch() -> None:
    from torch.optim.swa_utils import AveragedModel

    loaded, notes = noted(AveragedModel(trained()).state_dict())
    same(loaded, trained())
    assert notes == ["left out n_averaged: by-products of training, not weights"]


EMA = {"epoch": 3, "model": STATE, "state_dict_ema": {name: tensor * 2 for name, tensor in STATE.items()}}


def test_which_weights_were_taken_is_said_and_can_be_chosen() -> None:
    loaded, notes = noted(EMA)
    same(loaded, trained())
    assert notes == ["took the weights 'model'; others there for --weights: state_dict_ema"]
    loaded, notes = noted(EMA, weights="state_dict_ema")
    assert torch.equal(loaded.get_parameter("4.bias"), STATE["4.bias"] * 2)
    assert notes == []


def test_weights_inside_other_things() -> None:
    nested = {"net": {"model": EMA["state_dict_ema"], "shadow": STATE}, "optimizer": {"state": {0: torch.ones(1)}}}
    _, notes = noted(nested)
    assert notes == ["took the weights 'net/model'; others there for --weights: net/shadow"]
    same(noted(nested, weights="net/shadow")[0], trained())


def test_weights_under_unusual_keys_are_listed() -> None:
    pair = {"generator": STATE, "discriminator": STATE, "lr": 0.1}
    choices = "choose among its weights: --weights generator or --weights discriminator"
    assert refusal(save(pair), model=NET) == f"net.pt: no state dict found under a usual name; {choices}"
    assert refusal(save(pair), model=NET, weights="gen") == f"net.pt: holds nothing under 'gen'; {choices}"
    assert refusal(save(pair), model=NET, weights="lr").startswith("net.pt: no state dict found")
    same(noted(pair, weights="generator")[0], trained())


def test_complex_weights_are_refused() -> None:
    state = dict(STATE) | {"4.weight": STATE["4.weight"] * 1j}
    assert refusal(save(state), model=NET) == "net.pt: '4.weight' is complex; a network with real weights is needed"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_used_as_single(kind: torch.dtype) -> None:
    state = {name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in STATE.items()}
    loaded, notes = noted(state)
    words = str(kind).removeprefix("torch.")
    assert notes == [f"has weights in {words}; they are used as float32"]
    assert torch.equal(loaded.get_parameter("4.weight"), state["4.weight"].float())


def test_a_module_in_half_precision_becomes_single() -> None:
    notes: list[str] = []
    save(trained().half())
    loaded = load_checkpoint("net.pt", trust=True, note=notes.append)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert notes == ["net.pt: has weights in float16; they are used as float32"]


def test_weights_are_not_rounded_to_a_factory_in_half_precision() -> None:
    same(load_checkpoint(save(STATE), model="my_networks:half"), trained())
