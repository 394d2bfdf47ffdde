"""`jacobound train` as its users call it: checkpoints that the other commands take, wrong input, interruption."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import jacobound
from bounds.inputs import load_checkpoint, load_data
from verification.training.job import Training, accuracy

QUICK = ("--net", "mlp", "--net-arg", "widths=[8]", "--epochs", "2", "--samples", "200")


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["jacobound", *arguments])
        with pytest.raises(SystemExit) as end:
            jacobound.main()
        captured = capsys.readouterr()
        return Result(int(end.value.code or 0), captured.out, captured.err)

    return command


def test_a_checkpoint_describes_itself_and_others_take_it(run: Callable[..., Result], tmp_path: Path) -> None:
    penalty = ("--regulariser", "jacobian-l1", "--strength", "0.01", "--seed", "3")
    trained = run("train", *QUICK, *penalty, "--out", "net.pt")
    assert trained.code == 0
    assert trained.out.startswith("net.pt: mlp on Digits")
    assert "epoch 2/2: loss " in trained.err
    content = torch.load(tmp_path / "net.pt", weights_only=True)
    said = content["training"]
    assert content["arguments"] == {"inputs": 64, "classes": 10, "widths": [8]}
    assert (said["regulariser"], said["strength"], said["seed"], said["trained_on"]) == ("jacobian-l1", 0.01, 3, 200)
    assert said["data_sha256"] == load_data("digits").subset(200, 3).digest()
    assert len(said["history"]) == 2
    network = load_checkpoint(tmp_path / "net.pt")
    assert accuracy(network, load_data("digits", split="test")) == said["test_accuracy"]
    assert not (tmp_path / "net.pt.partial").exists()
    verified = run("verify", "net.pt", "--eps", "0.05", "--samples", "4", "--steps", "2", "--json", "--quiet")
    assert verified.code == 0
    assert json.loads(verified.out)["data"]["samples"] == 4
    assert run("evaluate", "net.pt", "--quiet", "--json").code == 0


def test_equal_commands_write_equal_weights(run: Callable[..., Result], tmp_path: Path) -> None:
    for name in ("one.pt", "two.pt"):
        assert run("train", *QUICK, "--quiet", "--out", name).err == ""
    one, two = (load_checkpoint(tmp_path / name).state_dict() for name in ("one.pt", "two.pt"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_default_name_says_what_was_trained(run: Callable[..., Result], tmp_path: Path) -> None:
    run("train", *QUICK, "--quiet")
    assert (tmp_path / "digits-mlp-plain.pt").exists()


def test_a_radius_may_be_a_fraction(run: Callable[..., Result], tmp_path: Path) -> None:
    attacked = ("--regulariser", "adversarial", "--strength", "1", "--regulariser-arg", "norm=linf")
    for name, eps in (("one.pt", "1/8"), ("two.pt", "0.125")):
        found = run("train", *QUICK, *attacked, "--regulariser-arg", f"eps={eps}", "--quiet", "--out", name)
        assert found.code == 0, found.err
    one, two = (load_checkpoint(tmp_path / name).state_dict() for name in ("one.pt", "two.pt"))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--net", "cnm"), "unknown network 'cnm': did you mean 'cnn'?"),
        (("--regulariser", "jacobian-l2"), "unknown regulariser 'jacobian-l2': did you mean 'jacobian-l1'?"),
        (("--data", "minst"), "unknown data set 'minst': did you mean 'mnist'?"),
        (("--regulariser", "jacobian-l1", "--strength", "-0.1"), "strength -0.1: a penalty needs a finite weight >= 0"),
        (("--strength", "0.1"), "without a regulariser"),
        (("--learning-rate", "0"), "it must be positive"),
        (("--regulariser", "trades", "--strength", "1"), "regulariser 'trades': "),
        (("--regulariser", "jacobian-l1", "--regulariser-arg", "eps=1"), "regulariser 'jacobian-l1': "),
        (("--net-arg", "hidden"), "--net-arg hidden: expected key=value"),
        (("--net-arg", "depth=3"), "unexpected keyword"),
        (("--samples", "5000"), "5000 samples were asked for"),
    ],
)
def test_wrong_input_exits_2_and_writes_nothing(
    run: Callable[..., Result], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    found = run("train", "--quiet", "--out", "net.pt", "--epochs", "1", *arguments)
    assert found.code == 2
    assert message in found.err
    assert found.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_training_continues(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("train", *QUICK, "--epochs", "3", "--out", "net.pt")
    whole = Training.run

    def interrupted(self, *args, on_epoch, **options):
        def stop(epoch, means):
            on_epoch(epoch, means)
            if epoch == 2:
                raise KeyboardInterrupt

        return whole(self, *args, on_epoch=stop, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "run", interrupted)
        stopped = run(*arguments)
    assert stopped.code == 130
    assert "repeat the command to continue" in stopped.err
    assert not (tmp_path / "net.pt").exists()
    continued = run(*arguments)
    assert continued.code == 0
    assert "epoch 3/3" in continued.err
    assert "epoch 2/3" not in continued.err
    assert run("train", *QUICK, "--epochs", "3", "--out", "whole.pt").code == 0
    one, two = (load_checkpoint(tmp_path / name).state_dict() for name in ("net.pt", "whole.pt"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    history = [torch.load(tmp_path / name, weights_only=True)["training"]["history"] for name in ("net.pt", "whole.pt")]
    assert history[0] == history[1]
    assert len(history[0]) == 3


def test_divergence_keeps_the_last_good_epoch(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verification.training.regularisers.weight_decay import WeightDecay

    calls: list[int] = []

    def explodes(self, network, x, y, generator):
        calls.append(1)
        return torch.tensor(float("nan") if len(calls) > 3 else 0.0)

    monkeypatch.setattr(WeightDecay, "__call__", explodes)
    found = run("train", *QUICK, "--regulariser", "weight-decay", "--strength", "1", "--out", "net.pt", "--quiet")
    assert found.code == 2
    assert "training diverged in epoch 2: " in found.err
    assert found.err.endswith("net.pt holds the epoch before\n")
    assert len(torch.load(tmp_path / "net.pt", weights_only=True)["training"]["history"]) == 1


def test_what_a_hessian_penalty_means_for_relu_is_said(run: Callable[..., Result]) -> None:
    penalty = ("--regulariser", "hessian-operator", "--strength", "0.1")
    said = "hessian-operator: the network has no second derivative in its input: only the curvature of the loss remains"
    assert said in run("train", *QUICK, *penalty, "--epochs", "1").err
    assert said not in run("train", *QUICK, *penalty, "--net-arg", "activation=tanh", "--epochs", "1").err


def test_exponents_may_be_infinite(run: Callable[..., Result]) -> None:
    penalty = ("--regulariser", "jacobian-operator", "--regulariser-arg", "r=inf", "--regulariser-arg", "norm=linf")
    assert run("train", *QUICK, *penalty, "--strength", "0.01", "--epochs", "1").code == 0
