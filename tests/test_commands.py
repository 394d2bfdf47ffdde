"""The command line as users meet it: every form of output, and every kind of bad input in one line."""

from __future__ import annotations

import html
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import jacobound
from bounds import catalogue
from bounds.inputs import as_data, save_checkpoint
from verification.training import networks
from verification.training.trainer import train

FACTORIES = """
import time

import torch
from torch import nn


def mlp(width=8, bias=False):
    return nn.Sequential(nn.Linear(6, width, bias=bias), nn.ReLU(), nn.Linear(width, 3, bias=bias))


def raising():
    raise RuntimeError("no licence")


def number():
    return 3


class Branching(nn.Linear):
    def forward(self, x):
        if x.sum() > 0:
            return super().forward(x)
        return -super().forward(x)


class Checking(nn.Linear):
    def forward(self, x):
        if x.isnan().any():
            raise ValueError("NaN")
        return super().forward(x)


class Mixing(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Loud(nn.Sequential):
    def forward(self, x):
        print("forward")
        return super().forward(x)


def loud():
    print("factory")
    return Loud(*mlp())


def loud_data():
    import numpy as np

    print("data")
    held = np.load("tiny.npz")
    return tuple((held[f"x_{split}"], held[f"y_{split}"]) for split in ("train", "test"))


def endless():
    print("ready", flush=True)
    time.sleep(60)
"""
NETWORK = ("--model", "cli_networks:mlp")
DATA = ("--data", "tiny.npz")
QUICK = ("--bound", "golowich2018_frobenius", "--bound", "holdout_binomial")
HEAVY = ("torch", "numpy", "scipy", "sympy", "matplotlib", "sklearn", "jinja2")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints, data and factories, good and bad."""
    path = tmp_path_factory.mktemp("cli")
    (path / "cli_networks.py").write_text(FACTORIES)
    _write_checkpoints(path)
    _write_data(path)
    return path


def _mlp(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))


def _write_checkpoints(path: Path) -> None:
    module = _mlp(0)
    state = module.state_dict()
    wrong = {
        "missing": {"0.weight": state["0.weight"]},
        "extra": {**state, "head.bias": torch.ones(1)},
        "shape": {**state, "0.weight": torch.ones(5, 6)},
        "nan": {**state, "0.weight": torch.full((8, 6), torch.nan)},
        "infinite": {**state, "2.weight": torch.full((3, 8), torch.inf)},
    }
    good = {"state": state, "init": _mlp(1).state_dict(), "training": {"epoch": 3, "model": state}}
    more: dict[str, Any] = {"pickled": module, "list": [_mlp(1).state_dict(), state]}
    narrow = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    more |= {"linear": nn.Linear(6, 3).state_dict(), "narrow": narrow.state_dict()}
    for name, content in {**good, **wrong, **more}.items():
        torch.save(content, path / f"{name}.pt")
    save_file(state, path / "state.safetensors")
    whole = (path / "state.pt").read_bytes()
    (path / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (path / "corrupt.pt").write_bytes(b"not a network" * 50)
    (path / "empty.pt").touch()


def _write_data(path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((50, 6), dtype=np.float32)
    y = np.arange(50) % 3
    good = {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:], "y_test": y[30:]}
    changes: dict[str, dict[str, Any]] = {
        "tiny": {},
        "bytes": {"x_train": (x[:30] * 255).astype(np.uint8), "x_test": (x[30:] * 255).astype(np.uint8)},
        "wide": {"x_train": np.ones((30, 7), np.float32), "x_test": np.ones((20, 7), np.float32)},
        "integers": {"x_train": x[:30].astype(np.int32)},
        "labels": {"y_train": y[:30] + 2},
        "negative": {"y_test": y[30:] - 4},
        "fractions": {"y_train": y[:30] + 0.5},
        "none": {"x_train": x[:0], "y_train": y[:0]},
        "one": {"x_train": x[:1], "y_train": y[:1]},
        "single": {"x_test": x[:1], "y_test": y[:1]},
        "hole": {"x_train": np.where(x[:30] < 0.01, np.nan, x[:30])},
    }
    for name, change in changes.items():
        np.savez(path / f"{name}.npz", **(good | change))
    np.savez(path / "untested.npz", x=x, y=y)
    whole = (path / "tiny.npz").read_bytes()
    (path / "truncated.npz").write_bytes(whole[: len(whole) // 2])


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[Callable[..., Result]]:
    """Runs the command line in this process, with the folder as working directory."""

    def call(*arguments: str) -> Result:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["jacobound", *arguments])
            patch.delenv("COLUMNS", raising=False)
            with pytest.raises(SystemExit) as stop:
                jacobound.main()
        return Result(int(stop.value.code or 0), out.getvalue(), err.getvalue())

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])  # factories append the working directory
        yield call
    sys.modules.pop("cli_networks", None)


@pytest.fixture(scope="module")
def whole(run: Callable[..., Result]) -> Result:
    """One evaluation with everything: all bounds, an attack, an initialisation, files."""
    arguments = ("--eps", "0.1", "--init", "init.pt", "--out", "whole")
    return run("evaluate", "state.pt", *NETWORK, "--data", "bytes.npz", *arguments)


def record(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.err

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the record")

    loaded: dict[str, Any] = json.loads(result.out, parse_constant=refuse)
    return loaded


def test_table(whole: Result) -> None:
    assert whole.code == 0
    lines = whole.out.splitlines()
    assert lines[0].startswith("state.pt, 72 parameters; bytes.npz, n = 30 training and m = 20 held-out samples")
    assert max(map(len, lines)) <= 140
    first = next(i for i, line in enumerate(lines) if line.strip() == "Risk")
    assert lines[first + 1].split()[0] == "holdout_binomial"
    for entry in catalogue.entries():
        assert entry.key in whole.out
    for setting in ("δ: 0.05", "reference M: init", "ball, ε = 0.1 in input units, inside the box [0, 1]"):
        assert setting in " ".join(whole.out.split())


def test_finished_stages_are_lines_where_there_is_no_terminal(whole: Result) -> None:
    *lines, written = whole.err.splitlines()
    stages = [line for line in lines if " of " not in line]  # those tell of a stage that takes long
    assert all(re.fullmatch(r"[\w ]+: \d+\.\d s", stage) for stage in stages), stages
    assert stages[0].startswith("tracing the network: ")
    assert stages[-1].startswith("evaluating the catalogue: ")
    assert written == "written to whole/report.html"


def test_out_holds_exactly_these_files(whole: Result, folder: Path) -> None:
    figures = {f"figures/{name}.{suffix}" for name in ("bounds", "layers") for suffix in ("pdf", "png")}
    tables = {f"evaluation.{suffix}" for suffix in ("json", "md", "tex", "bib")}
    found = {str(path.relative_to(folder / "whole")) for path in (folder / "whole").rglob("*") if path.is_file()}
    assert found == figures | tables | {"report.html"}
    assert all((folder / "whole" / name).stat().st_size > 0 for name in found)


def test_record_has_neither_nan_nor_infinity(whole: Result, folder: Path) -> None:
    written = record(Result(0, (folder / "whole" / "evaluation.json").read_text(), ""))
    assert written["format"] == "jacobound-evaluation"
    assert written["settings"]["reference"] == "init"
    assert written["settings"]["attack_set"] == {"norm": "l2", "eps": 0.1, "box": [0.0, 1.0]}
    assert {row["bound"] for row in written["rows"]} == {entry.key for entry in catalogue.entries()}


def test_safetensors_and_training_dictionary_give_what_the_state_dict_gives(run: Callable[..., Result]) -> None:
    rows = [
        record(run("evaluate", name, *NETWORK, *DATA, *QUICK, "--json", "--quiet"))["rows"]
        for name in ("state.pt", "state.safetensors", "training.pt")
    ]
    assert rows[0] == rows[1] == rows[2]
    assert rows[0][0]["bound"] == "holdout_binomial"


def test_list_of_state_dicts_and_trusted_pickle(run: Callable[..., Result]) -> None:
    rows = [
        record(run("evaluate", *arguments, *DATA, *QUICK, "--json", "--quiet"))["rows"]
        for arguments in (("list.pt", *NETWORK, "--index", "1"), ("pickled.pt", "--trust"))
    ]
    assert rows[0] == rows[1]


def test_own_checkpoint_needs_no_factory(run: Callable[..., Result], folder: Path) -> None:
    arguments: dict[str, Any] = {"inputs": 6, "widths": [5], "classes": 3}
    network = networks.build("mlp", arguments, seed=0)
    with np.load(folder / "tiny.npz") as arrays:
        train(network, as_data((arrays["x_train"], arrays["y_train"])), epochs=1)
    save_checkpoint(folder / "own.pt", "verification.training.networks:mlp", arguments, network)
    assert record(run("evaluate", "own.pt", *DATA, *QUICK, "--json", "--quiet"))["model"]["name"] == "own.pt"


def test_model_arguments_reach_the_factory(run: Callable[..., Result]) -> None:
    given = ("--model-arg", "width=4", "--model-arg", "bias=True")
    found = record(run("evaluate", "narrow.pt", *NETWORK, *given, *DATA, *QUICK, "--json", "--quiet"))
    assert found["model"]["parameters"] == 6 * 4 + 4 + 4 * 3 + 3


def test_normalisation_counts_as_part_of_the_model(run: Callable[..., Result], folder: Path) -> None:
    given = ("--mean", "0.5,0.4,0.3,0.2,0.1,0", "--std", "1,2,3,4,5,6")
    found = record(run("evaluate", "state.pt", *NETWORK, *given, *DATA, *QUICK, "--json", "--quiet"))
    first, second = (_mlp(0)[i].weight.detach().double().numpy() for i in (0, 2))
    with np.load(folder / "tiny.npz") as arrays:
        x, y = arrays["x_test"].astype(float), arrays["y_test"]
    scaled = (x - np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0])) / np.array([1, 2, 3, 4, 5, 6])
    logits = np.maximum(scaled @ first.T, 0) @ second.T
    assert found["accuracy"]["test"] == pytest.approx((logits.argmax(1) == y).mean())
    assert found["layers"][0]["a"] == pytest.approx(np.linalg.norm(first / np.array([1, 2, 3, 4, 5, 6])), rel=1e-6)


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_attack_norms(run: Callable[..., Result], norm: str) -> None:
    given = ("--eps", "0.05", "--norm", norm, "--plain-ball", "--attack-samples", "5", "--jacobian-samples", "5")
    found = record(run("evaluate", "state.pt", *NETWORK, "--data", "bytes.npz", *given, *QUICK, "--json", "--quiet"))
    assert found["settings"]["attack_set"] == {"norm": norm, "eps": 0.05, "box": None}
    assert found["jacobians"]["samples"] == 5
    assert [row["target"] for row in found["rows"] if row["bound"] == "holdout_binomial"] == ["risk", "robust risk"]


@pytest.mark.parametrize(
    ("form", "first", "inside"),
    [
        ("--markdown", "state.pt, 72 parameters", "| Bound |"),
        ("--latex", "% needs", "\\end{tabular}"),
        ("--bibtex", "@", "golowich2018size"),
    ],
)
def test_forms(run: Callable[..., Result], form: str, first: str, inside: str) -> None:
    result = run("evaluate", "state.pt", *NETWORK, *DATA, *QUICK, form, "--quiet")
    assert result.code == 0
    assert result.err == ""
    assert result.out.startswith(first)
    assert inside in result.out
    assert result.out.endswith("\n") and not result.out.endswith("\n\n")


def test_options_that_say_how_to_read_the_files(run: Callable[..., Result], folder: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in _mlp(0).state_dict().items()}
    averaged = {name: tensor * 2 for name, tensor in state.items()}
    torch.save({"state_dict": state | {"loss.weight": torch.ones(3)}, "state_dict_ema": averaged}, folder / "both.pt")
    arrays = np.load(folder / "tiny.npz")
    np.savez(folder / "odd.npz", **{f"{name}_odd": arrays[name] for name in arrays})
    keys = ("--x-key", "x_{split}_odd", "--y-key", "y_{split}_odd")
    arguments = (*NETWORK, *QUICK, "--jacobian-samples", "5", "--json", "--quiet")
    expected = record(run("evaluate", "state.pt", *arguments, *DATA))
    found = run("evaluate", "both.pt", *arguments, "--prefix", "model", "--data", "odd.npz", *keys)
    assert found.err.splitlines() == [
        "note: both.pt: took the weights 'state_dict'; others there for --weights: state_dict_ema",
        "note: both.pt: left out what is not under 'model.': loss.weight",
    ]
    for part in ("accuracy", "rows", "settings"):
        assert record(found)[part] == expected[part]


def test_a_radius_as_a_fraction_and_a_box(run: Callable[..., Result]) -> None:
    small = ("--attack-samples", "5", "--jacobian-samples", "5", "--json", "--quiet")
    found = record(run("evaluate", "state.pt", *NETWORK, *DATA, *QUICK, "--eps", "8/255", "--box", "-1,1", *small))
    assert found["settings"]["attack_set"]["eps"] == 8 / 255
    assert found["data"]["box"] == found["settings"]["attack_set"]["box"] == [-1.0, 1.0]


def test_a_network_that_cannot_be_traced(run: Callable[..., Result], folder: Path) -> None:
    given = ("--model-arg", "in_features=6", "--model-arg", "out_features=3", "--eps", "0.1", "--out", "untraced")
    result = run("evaluate", "linear.pt", "--model", "cli_networks:Checking", *given, *DATA, "--quiet")
    assert result.code == 0
    assert "Checking.forward" in result.out
    rows = json.loads((folder / "untraced" / "evaluation.json").read_text())["rows"]
    assert {row["bound"] for row in rows if row["status"] == "value"} == {"holdout_binomial", "holdout_bernstein"}
    for name in ("report.html", "evaluation.md", "evaluation.tex"):
        assert "control flow depends on the input" in html.unescape((folder / "untraced" / name).read_text())


def test_memory_that_does_not_suffice(run: Callable[..., Result]) -> None:
    result = run("evaluate", "state.pt", *NETWORK, *DATA, "--memory", "100B", "--quiet")
    assert result.code == 2
    assert result.err == "jacobound: a sample takes 144 B, the budget is 100 B: raise it with --memory\n"


def test_verbose_says_what_each_stage_took(run: Callable[..., Result]) -> None:
    lines = run("evaluate", "state.pt", *NETWORK, *DATA, *QUICK, "--verbose", "--memory", "1GiB").err.splitlines()
    stages = [line.partition(":")[0] for line in lines]
    assert "measuring the layers" in stages and "margins on the test set" in stages
    assert len(set(stages)) == len(stages) and all(line.endswith(" s") for line in lines[:-1])
    assert lines[-1].startswith("peak memory: ") and lines[-1].endswith("B")


BAD = {
    "missing file": (("nowhere.pt",), ["nowhere.pt: no such file"]),
    "folder": ((".",), [".: a folder"]),
    "corrupt": (("corrupt.pt",), ["corrupt.pt: not a checkpoint"]),
    "truncated": (("truncated.pt",), ["truncated.pt: truncated"]),
    "empty": (("empty.pt",), ["empty.pt: the file is empty"]),
    "pickle": (("pickled.pt",), ["pickled.pt: refused", "'torch.nn.modules.container.Sequential'", "--trust"]),
    "list without index": (("list.pt", *NETWORK), ["list.pt: holds a list of 2", "--index 0 to 1"]),
    "index out of range": (("list.pt", *NETWORK, "--index", "7"), ["list.pt: index 7"]),
    "missing keys": (("missing.pt", *NETWORK), ["missing.pt: does not fit", "missing: 2.weight"]),
    "extra keys": (("extra.pt", *NETWORK), ["extra.pt: does not fit", "unexpected: head.bias"]),
    "shapes": (("shape.pt", *NETWORK), ["shape.pt", "0.weight ([5, 6] in the file, [8, 6] needed)"]),
    "NaN": (("nan.pt", *NETWORK), ["nan.pt: '0.weight' has a NaN"]),
    "infinity": (("infinite.pt", *NETWORK), ["infinite.pt: '2.weight' has an infinite value"]),
    "no factory": (("state.pt",), ["state.pt", "--model module:factory"]),
    "factory misspelt": (("state.pt", "--model", "cli_networks:mpl"), ["did you mean 'mlp'?"]),
    "module misspelt": (("state.pt", "--model", "cli_network:mlp"), ["did you mean 'cli_networks'?"]),
    "factory form": (("state.pt", "--model", "cli_networks"), ["'cli_networks' is not of the form module:factory"]),
    "factory raises": (("state.pt", "--model", "cli_networks:raising"), ["raised RuntimeError: no licence"]),
    "factory makes no module": (("state.pt", "--model", "cli_networks:number"), ["not a torch.nn.Module"]),
    "argument form": (("state.pt", *NETWORK, "--model-arg", "width"), ["--model-arg width: expected key=value"]),
    "argument unknown": (("state.pt", *NETWORK, "--model-arg", "depth=2"), ["cli_networks:mlp", "'depth'"]),
    "init missing": (("state.pt", *NETWORK, "--init", "nowhere.pt"), ["nowhere.pt: no such file"]),
    "mean alone": (("state.pt", *NETWORK, "--mean", "0.5"), ["--mean and --std go together"]),
    "mean no number": (("state.pt", *NETWORK, "--mean", "a", "--std", "1"), ["--mean a: expected numbers"]),
    "std zero": (("state.pt", *NETWORK, "--mean", "0", "--std", "0"), ["stds positive"]),
    "no such weights": (("training.pt", *NETWORK, "--weights", "ema"), ["training.pt: holds nothing under 'ema'"]),
    "no such prefix": (("state.pt", *NETWORK, "--prefix", "net"), ["state.pt: no entry begins with 'net.'"]),
    "box too small": (
        ("state.pt", *NETWORK, "--box", "0,1/2"),
        ["tiny.npz: pixels lie in [", "outside the box [0, 0.5]"],
    ),
    "no such arrays": (
        ("state.pt", *NETWORK, "--x-key", "a_{split}", "--y-key", "b"),
        ["tiny.npz: holds x_train, y_train, x_test, y_test; a_train and b are needed; --x-key and --y-key name others"],
    ),
    "channels": (("state.pt", *NETWORK, "--mean", "0,0", "--std", "1,1"), ["state.pt, on tiny.npz", "2 channels"]),
    "memory no size": (("state.pt", *NETWORK, "--memory", "much"), ["memory 'much': expected a size such as 6GiB"]),
    "control flow over the batch": (
        (
            "linear.pt",
            "--model",
            "cli_networks:Branching",
            "--model-arg",
            "in_features=6",
            "--model-arg",
            "out_features=3",
        ),
        ["linear.pt, on tiny.npz: the output for a sample changes with the rest of its batch (batch statistics?)"],
    ),
    "samples interact": (
        (
            "linear.pt",
            "--model",
            "cli_networks:Mixing",
            "--model-arg",
            "in_features=6",
            "--model-arg",
            "out_features=3",
        ),
        ["linear.pt, on tiny.npz: the output for a sample changes with the rest of its batch"],
    ),
}

BAD_DATA = {
    "nowhere.npz": "nowhere.npz: no such file",
    "truncated.npz": "truncated.npz: truncated",
    "untested.npz": "x_test and y_test are missing",
    "wide.npz": "state.pt, on wide.npz: the network does not run on an input of shape (7,)",
    "integers.npz": "integers.npz: integer inputs are tokens, but real numbers are needed; name the module",
    "labels.npz": "labels.npz: 5 classes, but the network has only 3 outputs",
    "negative.npz": "negative.npz: label -",
    "fractions.npz": "fractions.npz: labels have type torch.float64",
    "none.npz": "none.npz: no samples",
    "one.npz": "one.npz: 1 sample; the bounds need at least 2",
    "single.npz": "single.npz: 1 sample; the bounds need at least 2",
    "hole.npz": "has a NaN",
    "minst": "unknown data set 'minst': did you mean 'mnist'?",
    "cli_networks:number": "cli_networks:number: a int is not labelled data",
}

BAD_SETTINGS = {
    ("--eps", "-0.1"): "eps = -0.1: must be a number >= 0",
    ("--eps", "nan"): "eps = nan",
    ("--eps", "small"): "--eps small: expected numbers, such as 0.1 or 8/255",
    ("--eps", "1/0"): "--eps 1/0: expected numbers",
    ("--eps", "4/255,8/255"): "--eps 4/255,8/255: evaluate takes one radius, not 2 (verify takes several)",
    ("--eps", "0.01:0.3:8"): "--eps 0.01:0.3:8: evaluate takes one radius, not 8",
    ("--box", "0,0.5,1"): "--box 0,0.5,1: expected two numbers LOW,HIGH",
    ("--y-key", "labels"): "--x-key and --y-key go together",
    ("--norm", "l3"): "unknown norm 'l3': did you mean 'l2'?",
    ("--bound", "bartlet2017"): "unknown bound 'bartlet2017': did you mean 'bartlett2017_spectral'?",
    ("--delta", "1"): "delta = 1: must lie between 0 and 1",
    ("--margin", "0"): "margin = 0: must be positive",
    ("--plain-ball",): "--plain-ball: there is no attack without --eps",
    ("--json", "--latex"): "--json and --latex: only one form",
    ("--out", "tiny.npz"): "--out tiny.npz: tiny.npz is not a folder",
    ("--out", "tiny.npz/deeper"): "is not a folder",
}


def check_refusal(result: Result, folder: Path, fragments: list[str]) -> None:
    assert result.code == 2, result
    assert result.out == ""
    assert len(result.err.splitlines()) == 1, result.err
    assert result.err.startswith("jacobound: ")
    for fragment in fragments:
        assert fragment in result.err
    assert not (folder / "refused").exists()


@pytest.mark.parametrize("case", BAD)
def test_bad_model(run: Callable[..., Result], folder: Path, case: str) -> None:
    arguments, fragments = BAD[case]
    check_refusal(run("evaluate", *arguments, *DATA, "--out", "refused"), folder, fragments)


@pytest.mark.parametrize("data", BAD_DATA)
def test_bad_data(run: Callable[..., Result], folder: Path, data: str) -> None:
    result = run("evaluate", "state.pt", *NETWORK, "--data", data, "--out", "refused")
    check_refusal(result, folder, [BAD_DATA[data]])


@pytest.mark.parametrize("setting", BAD_SETTINGS, ids=" ".join)
def test_settings_are_checked_before_any_file_is_read(
    run: Callable[..., Result], folder: Path, setting: tuple[str, ...]
) -> None:
    check_refusal(run("evaluate", "nowhere.pt", *setting), folder, [BAD_SETTINGS[setting]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evalute",), "No such command 'evalute'"),
        (("evaluate",), "Missing argument"),
        (("evaluate", "state.pt", "--modle", "x"), "No such option: --modle"),
        (("evaluate", "state.pt", "--seed", "-1"), "--seed"),
        (("evaluate", "state.pt", "--attack-samples", "0"), "--attack-samples"),
        (("evaluate", "state.pt", "--data-dir", "nowhere"), "'nowhere' does not exist"),
    ],
)
def test_usage_errors(run: Callable[..., Result], arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert result.out == ""
    last = result.err.splitlines()[-1]
    assert last.startswith("Error: ") and message in last


def test_interrupt_while_rendering_leaves_nothing(
    run: Callable[..., Result], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(figure: object, suffix: str) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("figures.report.render", interrupted)
    result = run("evaluate", "state.pt", *NETWORK, *DATA, *QUICK, "--out", "interrupted")
    assert result.code == 130
    assert not (folder / "interrupted").exists()


def test_interrupt_of_a_process(folder: Path) -> None:
    command = [sys.executable, "-m", "jacobound", "evaluate", "state.pt", *NETWORK]
    process = subprocess.Popen(
        [*command, "--data", "cli_networks:endless", "--out", "interrupted"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(jacobound.__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with interrupts ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not (folder / "interrupted").exists()


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(entry: object) -> str:
        raise ValueError("a bug")

    monkeypatch.setattr("bounds.catalogue.describe.to_text", broken)
    monkeypatch.setattr(sys, "argv", ["jacobound", "catalogue", "bartlett2017_spectral"])
    with pytest.raises(ValueError, match="a bug"):
        jacobound.main()


def test_catalogue(run: Callable[..., Result]) -> None:
    listed = run("catalogue").out.splitlines()
    assert [line.split()[0] for line in listed] == [entry.key for entry in catalogue.entries()]
    shown = run("catalogue", "bartlett2017_spectral")
    assert shown.code == 0
    assert catalogue.get("bartlett2017_spectral").title in shown.out
    document = run("catalogue", "bartlett2017_spectral", "--latex").out
    assert document.startswith("\\documentclass") and document.rstrip().endswith("\\end{document}")
    assert run("catalogue", "bartlett2017_spectral", "--bibtex").out.startswith("@")
    everything = run("catalogue", "--bibtex").out
    assert len(re.findall(r"^@", everything, re.MULTILINE)) == len(set(re.findall(r"^@\w+{(\w+),", everything, re.M)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bartlet2017_spectral",), "did you mean 'bartlett2017_spectral'?"),
        (("--latex",), "--latex writes one bound's document"),
        (("bartlett2017_spectral", "--latex", "--bibtex"), "--latex and --bibtex: only one form"),
    ],
)
def test_bad_catalogue(run: Callable[..., Result], folder: Path, arguments: tuple[str, ...], message: str) -> None:
    check_refusal(run("catalogue", *arguments), folder, [message])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, jacobound\n"
        "sys.argv = ['jacobound', '--help']\n"
        "try: jacobound.main()\n"
        f"finally: print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(jacobound.__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.endswith("[]\n")
    for command in ("evaluate", "catalogue", "demo"):
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("command", ["evaluate", "catalogue", "demo"])
def test_help_of_commands(run: Callable[..., Result], command: str) -> None:
    result = run(command, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: jacobound {command} [OPTIONS]")


@pytest.mark.parametrize(
    "arguments", [("evaluate", *QUICK), ("verify", "--eps", "0.1", "--samples", "2", "--effort", "quick")]
)
def test_what_a_network_prints_is_no_result(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    loud = ("--model", "cli_networks:loud", "--data", "cli_networks:loud_data", "--quiet", "--json")
    found = run(command, "state.pt", *loud, *rest)
    assert record(found)["model"]["name"] == "state.pt"
    assert {"factory", "data", "forward"} <= set(found.err.splitlines())


def test_help_is_a_result(run: Callable[..., Result]) -> None:
    found = run("evaluate", "--help")
    assert (found.code, found.err) == (0, "")
    assert "Print the table of bounds" in found.out
