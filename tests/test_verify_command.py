"""`jacobound verify` as users meet it: tables, records, interruption, replay, and bad input in one line."""

from __future__ import annotations

import io
import json
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
from bounds.inputs import save_checkpoint
from verification.training import networks

FACTORIES = """
from torch import nn


def mlp(width=8):
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3))
"""
ARGUMENTS = {"inputs": 6, "widths": [8], "classes": 3}
DATA = ("--data", "tiny.npz")
QUICK = ("--steps", "5", "--effort", "quick")
SMALL = (*DATA, *QUICK, "--norm", "l2,linf", "--eps", "0.05,0.5", "--samples", "6")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify")
    (path / "verify_networks.py").write_text(FACTORIES)
    for seed, name in enumerate(("own", "other")):
        network = networks.build("mlp", ARGUMENTS, seed=seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(3.0)
        save_checkpoint(path / f"{name}.pt", "verification.training.networks:mlp", ARGUMENTS, network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).state_dict()
    torch.save(state, path / "state.pt")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (30, 6), dtype=np.uint8), np.arange(30) % 3
    np.savez(path / "tiny.npz", x_train=x[:10], y_train=y[:10], x_test=x[10:], y_test=y[10:])
    np.savez(path / "changed.npz", x_train=x[:10], y_train=y[:10], x_test=x[10:] // 2, y_test=y[10:])
    return path


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[Callable[..., Result]]:
    """Runs `jacobound verify` in this process, with the folder as working directory."""

    def call(*arguments: str) -> Result:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["jacobound", "verify", *arguments])
            patch.delenv("COLUMNS", raising=False)
            with pytest.raises(SystemExit) as stop:
                jacobound.main()
        return Result(int(stop.value.code or 0), out.getvalue(), err.getvalue())

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])  # factories append the working directory
        yield call
    sys.modules.pop("verify_networks", None)


@pytest.fixture(scope="module")
def written(run: Callable[..., Result], folder: Path) -> Result:
    """A finished run that wrote record.json."""
    return run("own.pt", *SMALL, "--out", "record.json")


def read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_table_and_record(written: Result, folder: Path) -> None:
    assert written.code == 0, written.err
    for name in ("margin Jacobian", "entrywise", "own.pt", "0.05", "0.5"):
        assert name in written.out
    *stages, last = written.err.splitlines()
    assert last == "written to record.json" and stages[-1].startswith("verifying: ")
    assert not (folder / "record.json.partial").exists()
    record = read(folder / "record.json")
    assert [(r["norm"], r["eps"]) for r in record["results"]] == [
        (norm, eps) for norm in ("l2", "linf") for eps in (0.05, 0.5)
    ]
    assert record["source"]["checkpoint"] == "own.pt" and len(record["source"]["sha256"]) == 64
    assert record["source"]["options"]["data"] == "tiny.npz"
    assert record["settings"]["box"] == [0.0, 1.0] and record["data"]["samples"] == 6


def test_a_finished_record_is_shown_again(run: Callable[..., Result], written: Result, folder: Path) -> None:
    before = (folder / "record.json").stat().st_mtime_ns
    again = run("own.pt", *SMALL, "--out", "record.json", "--quiet")
    assert again.code == 0 and again.out == written.out
    assert again.err == "record.json holds this verification already; nothing was computed\n"
    assert (folder / "record.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "change", [("--seed", "1"), ("--plain-ball",), ("--eps", "0.05,0.4"), ("--data", "changed.npz")]
)
def test_a_record_of_something_else_is_not_overwritten(
    run: Callable[..., Result], written: Result, folder: Path, change: tuple[str, ...]
) -> None:
    before = (folder / "record.json").read_bytes()
    refused = run("own.pt", *SMALL, *change, "--out", "record.json", "--quiet")
    assert refused.code == 2 and refused.out == ""
    assert "record.json: a record with other settings, data or network is there; delete it" in refused.err
    assert (folder / "record.json").read_bytes() == before


@pytest.mark.parametrize(
    ("form", "first", "inside"), [("--json", "{", "values"), ("--markdown", "", "|---"), ("--latex", "%", "tabular")]
)
def test_forms(run: Callable[..., Result], written: Result, form: str, first: str, inside: str) -> None:
    result = run("own.pt", *SMALL, "--out", "record.json", form, "--quiet")
    assert result.code == 0 and result.out.startswith(first) and inside in result.out
    assert result.out.endswith("\n") and not result.out.endswith("\n\n")
    if form == "--json":
        assert json.loads(result.out)["format"] == "jacobound-verification"


def interrupting(after: int) -> Callable[..., Any]:
    from verification.verdicts import decide

    def progress(done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    def call(job: Any, journal: Path | None, report: object) -> Any:
        return decide(job, journal, progress)

    return call


def test_interrupted_and_repeated(
    run: Callable[..., Result], written: Result, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("verification.verdicts.decide", interrupting(3))
        stopped = run("own.pt", *SMALL, "--out", "again.json", "--quiet")
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err == ("interrupted: what is decided lies in again.json.partial; repeat the command to continue\n")
    assert not (folder / "again.json").exists()
    other = run("other.pt", *SMALL, "--out", "again.json", "--quiet")
    assert other.code == 2 and "again.json.partial: left by a run with other settings" in other.err
    continued = run("own.pt", *SMALL, "--out", "again.json", "--quiet")
    assert continued.code == 0 and "continuing from again.json.partial" in continued.err
    assert (folder / "again.json").read_bytes() == (folder / "record.json").read_bytes()
    assert not (folder / "again.json.partial").exists()


def test_interrupted_without_a_record(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verification.verdicts.decide", interrupting(1))
    stopped = run("own.pt", *SMALL, "--quiet")
    assert (stopped.code, stopped.out, stopped.err) == (130, "", "interrupted: nothing was kept\n")


def claims(record: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for result in record["results"]:
        for name, letters in result["values"]["verdicts"].items():
            counts[name] = counts.get(name, 0) + letters.count("r")
    return {name: count for name, count in counts.items() if count}


def test_replay_confirms(run: Callable[..., Result], written: Result, folder: Path) -> None:
    expected = {f"{n}: {k} of {k} refutations confirmed" for n, k in claims(read(folder / "record.json")).items()}
    for arguments in (("--replay", "record.json"), ("--replay", "record.json", "own.pt", "--quiet")):
        result = run(*arguments)
        assert result.code == 0 and set(result.out.splitlines()) == expected and expected


def test_replay_finds_what_is_wrong(run: Callable[..., Result], written: Result, folder: Path) -> None:
    record = read(folder / "record.json")
    result = next(r for r in record["results"] if r["witnesses"])
    position, witness = next(iter(result["witnesses"].items()))
    witness["data"] = "AAAA"
    (folder / "tampered.json").write_text(json.dumps(record))
    found = run("--replay", "tampered.json", "--quiet")
    assert found.code == 1
    assert f"not confirmed: sample {position}, {result['norm']}, eps = {result['eps']:g}, " in found.out
    assert "damaged" in found.out


def test_replay_of_other_files_is_refused(run: Callable[..., Result], written: Result, folder: Path) -> None:
    record = read(folder / "record.json")
    record["source"]["options"]["data"] = "changed.npz"
    (folder / "other_data.json").write_text(json.dumps(record))
    (folder / "python.json").write_text(json.dumps(record | {"source": None}))
    (folder / "evaluation.json").write_text(json.dumps({"format": "jacobound-evaluation", "version": 1}))
    for arguments, message in (
        (("record.json", "other.pt"), "other.pt: not the checkpoint that record.json was made with"),
        (("other_data.json",), "changed.npz: not the data that the record was made with"),
        (("python.json",), "python.json: made in Python"),
        (("evaluation.json",), "evaluation.json: not a verification record"),
        (("nowhere.json",), "nowhere.json: no such file"),
        (("record.json", "--eps", "0.1"), "--eps: not with --replay"),
    ):
        refused = run("--replay", *arguments, "--quiet")
        assert refused.code == 2 and refused.out == "", arguments
        assert message in refused.err and len(refused.err.splitlines()) == 1


def test_replay_calls_no_factory_without_trust(run: Callable[..., Result], folder: Path) -> None:
    named = ("--model", "verify_networks:mlp", "--model-arg", "width=8", *DATA, *QUICK)
    made = run("state.pt", *named, "--norm", "linf", "--eps", "0.5", "--out", "factory.json", "--quiet")
    assert made.code == 0, made.err
    refused = run("--replay", "factory.json", "--quiet")
    assert refused.code == 2
    assert "factory.json: would call verify_networks:mlp; add --trust if you trust this record" in refused.err
    assert run("--replay", "factory.json", "--trust", "--quiet").code == 0


def test_evenly_spaced_radii_and_all_samples(run: Callable[..., Result]) -> None:
    found = run("own.pt", *DATA, *QUICK, "--norm", "l1", "--eps", "0.1:0.3:3", "--plain-ball", "--json", "--quiet")
    record = json.loads(found.out)
    assert [result["eps"] for result in record["results"]] == pytest.approx([0.1, 0.2, 0.3])
    assert record["settings"]["box"] is None and record["data"]["samples"] == 20


def test_radii_are_fractions_too_in_any_order(run: Callable[..., Result]) -> None:
    found = run("own.pt", *DATA, *QUICK, "--samples", "2", "--eps", "8/255,0,0.01", "--json", "--quiet")
    assert [result["eps"] for result in json.loads(found.out)["results"]] == [0.0, 0.01, 8 / 255]


def test_options_that_say_how_to_read_the_files_are_kept_for_a_replay(run: Callable[..., Result], folder: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in torch.load(folder / "state.pt").items()}
    torch.save({"plain": {}, "averaged": state | {"loss.weight": torch.ones(3)}}, folder / "odd.pt")
    arrays = dict(np.load(folder / "tiny.npz"))
    renamed = {name.replace("x_", "images_").replace("y_", "labels_"): array for name, array in arrays.items()}
    np.savez(folder / "odd.npz", **{name: a / 255 if "images" in name else a[:, None] for name, a in renamed.items()})
    named = ("--model", "verify_networks:mlp", "--weights", "averaged", "--prefix", "model", "--box", "0,1")
    data = ("--data", "odd.npz", "--x-key", "images_{split}", "--y-key", "labels_{split}")
    made = run("odd.pt", *named, *data, *QUICK, "--norm", "linf", "--eps", "1/2", "--out", "odd.json", "--quiet")
    assert made.code == 0, made.err
    assert made.err == "note: odd.pt: left out what is not under 'model.': loss.weight\nwritten to odd.json\n"
    record = read(folder / "odd.json")
    assert record["settings"]["box"] == [0.0, 1.0] and claims(record)
    replayed = run("--replay", "odd.json", "--trust", "--quiet")
    assert replayed.code == 0 and "refutations confirmed" in replayed.out, replayed.err


def test_a_record_made_without_them_lacks_these_options(written: Result, folder: Path) -> None:
    assert set(read(folder / "record.json")["source"]["options"]) == {
        "model",
        "arguments",
        "index",
        "normalisation",
        "data",
    }


def test_a_checkpoint_in_shards_is_known_by_all_of_them(run: Callable[..., Result], folder: Path) -> None:
    state = torch.load(folder / "state.pt")
    for name, tensor in state.items():
        save_file({name: tensor}, folder / f"{name}.safetensors")
    index = {"weight_map": {name: f"{name}.safetensors" for name in state}}
    (folder / "net.safetensors.index.json").write_text(json.dumps(index))
    named = ("--model", "verify_networks:mlp", *DATA, *QUICK, "--samples", "2", "--eps", "0.1", "--quiet")
    arguments = ("net.safetensors.index.json", *named, "--out", "shards.json")
    assert run(*arguments).code == 0
    assert "nothing was computed" in run(*arguments).err
    save_file({"2.bias": state["2.bias"] + 1}, folder / "2.bias.safetensors")
    refused = run(*arguments)
    assert refused.code == 2 and "a record with other settings, data or network is there" in refused.err


BAD = {
    ("own.pt", "--eps", "-0.1"): "attack radius -0.1",
    ("own.pt", "--eps", "0.1,0.2,1/10"): "eps: the radius 0.1 is given twice",
    ("own.pt", "--eps", "nan"): "attack radius nan",
    ("own.pt", "--eps", "small"): "--eps small: expected numbers",
    ("own.pt", "--eps", ""): "--eps : expected numbers",
    ("own.pt", "--eps", "1/0"): "--eps 1/0: expected numbers",
    ("own.pt", "--eps", "0.1", "--box", "0,1", "--plain-ball"): "--plain-ball and --box: only one of them",
    ("own.pt", "--eps", "0.1", "--box", "0"): "--box 0: expected two numbers LOW,HIGH",
    ("own.pt", "--eps", "0.1", "--box", "0,0.5"): "outside the box [0, 0.5]",
    ("own.pt", "--eps", "0.1", "--x-key", "x"): "--x-key and --y-key go together",
    (
        "own.pt",
        "--eps",
        "0.1",
        "--x-key",
        "x",
        "--y-key",
        "y",
    ): "tiny.npz: holds x_train, y_train, x_test, y_test; x and",
    ("own.pt", "--eps", "0.1", "--weights", "ema"): "own.pt: holds nothing under 'ema'",
    ("own.pt", "--eps", "0.1", "--prefix", "net"): "own.pt: no entry begins with 'net.'",
    ("own.pt", "--eps", "0.1:0.3"): "--eps 0.1:0.3: expected START:STOP:COUNT",
    ("own.pt", "--eps", "0.3:0.1:4"): "--eps 0.3:0.1:4: STOP must lie above START",
    ("own.pt", "--eps", "0.1:0.3:1"): "COUNT must be at least 2",
    ("own.pt",): "--eps is missing",
    (): "no checkpoint was named",
    ("own.pt", "--eps", "0.1", "--norm", "l3"): "unknown norm 'l3': did you mean 'l2'?",
    ("own.pt", "--eps", "0.1", "--norm", "l2,l2"): "norms l2, l2: one is named twice",
    ("own.pt", "--eps", "0.1", "--effort", "slow"): "unknown effort 'slow'",
    ("own.pt", "--eps", "0.1", "--delta", "0"): "delta = 0: must lie between 0 and 1",
    ("own.pt", "--eps", "0.1", "--json", "--latex"): "--json and --latex: only one form",
    ("own.pt", "--eps", "0.1", "--samples", "21"): "tiny.npz: 21 samples were asked for, but it holds 20",
    ("own.pt", "--eps", "0.1", "--out", "tiny.npz"): "tiny.npz: not a JSON record",
    ("own.pt", "--eps", "0.1", "--out", "tiny.npz/r.json"): "tiny.npz/r.json",
    ("nowhere.pt", "--eps", "0.1"): "nowhere.pt: no such file",
    ("state.pt", "--eps", "0.1"): "--model module:factory",
}


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_input_is_one_line(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    result = run(*DATA, *QUICK, *arguments)
    assert result.code == 2 and result.out == ""
    last = result.err.splitlines()[-1]
    assert last.startswith("jacobound: ") and BAD[arguments] in last
    assert "Traceback" not in result.err


def test_help(run: Callable[..., Result]) -> None:
    result = run("--help")
    assert result.code == 0 and result.out.startswith("Usage: jacobound verify [OPTIONS]")
