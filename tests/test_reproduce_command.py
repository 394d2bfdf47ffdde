"""`jacobound reproduce` as its users call it: plan, record, figures and report; wrong input; interruption."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

import jacobound
import verification.claims
from bounds.records import read
from verification.claims.chart import Chart, Line, Panel, Table
from verification.claims.claim import Claim, Effect
from verification.claims.experiment import Conclusions, Experiment, Measurement, Net, Results
from verification.training.job import Training


class Result(NamedTuple):
    code: int
    out: str
    err: str


def nets(preset: str) -> tuple[Net, ...]:
    return tuple(
        Net(
            {"method": "plain", "width": 4.0},
            Training("digits", "mlp", {"widths": [4]}, epochs=1, samples=60, seed=seed),
            {"gap": Measurement("generalization")},
        )
        for seed in range(3)
    )


def conclude(results: Results, preset: str) -> Conclusions:
    errors = results.values(lambda result: result.measured["gap"]["held_out"]["error"], method="plain")
    claim = Claim("toy-claim", "Toys err.", "own", "error", Effect(errors), "digits", threshold=0.01)
    chart = Chart(
        "errors", "errors by width", "Errors of toys.", (Panel("a", "w", "e", (Line("plain", {4: errors}),)),)
    )
    table = Table("errors", "Errors.", ("method", "error"), (("plain", errors),))
    return Conclusions((claim,), (chart,), (table,), ("Nothing else was tried.",))


TOY = Experiment(
    "toy", "Toy experiment", "own", nets, conclude, lambda preset: ("Toys are small.",), {"quick": 0.1, "full": 1.0}
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(verification.claims.EXPERIMENTS, "toy", lambda: TOY)

    def command(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["jacobound", "reproduce", *arguments])
        with pytest.raises(SystemExit) as end:
            jacobound.main()
        captured = capsys.readouterr()
        return Result(int(end.value.code or 0), captured.out, captured.err)

    return command


def test_it_trains_decides_and_reports_and_does_nothing_twice(run: Callable[..., Result], tmp_path: Path) -> None:
    first = run("toy")
    assert first.code == 0
    assert first.err.startswith("Toy experiment, quick: 3 networks, 0 of them trained; about a minute on ")
    assert "cut: Toys are small." in first.err and "3/3  plain 4, seed" in first.err
    assert "Toys err." in first.out and "supported" in first.out
    folder = tmp_path / "reproduction" / "toy-quick"
    record = read(folder / "record.json")
    assert record["command"] == "jacobound reproduce toy --preset quick"
    assert record["claims"][0]["verdict"] == "supported"
    html = (folder / "toy-quick.html").read_text(encoding="utf-8")
    assert "Toys err." in html and "Nothing else was tried." in html
    assert (folder / "toy-quick.pdf").read_bytes().startswith(b"%PDF")
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".pdf", ".png", ".tex", ".md"}
    second = run("toy")
    assert second.code == 0 and "3 of them trained" in second.err
    assert read(folder / "record.json") == record


def test_a_plan_costs_nothing(run: Callable[..., Result], tmp_path: Path) -> None:
    planned = run("toy", "--plan", "--out", "there")
    assert planned.code == 0 and "3 networks" in planned.err and not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("wu2042",), "did you mean 'wu2024'"),
        (("toy", "--preset", "ful"), "did you mean 'full'"),
        (("toy", "--out", "file/folder"), "file is not a folder"),
    ],
)
def test_wrong_input_is_one_line(
    run: Callable[..., Result], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "file").touch()
    result = run(*arguments)
    assert result.code == 2 and said in result.err and len(result.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_data_are_one_line(run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = replace(TOY, nets=lambda preset: (Net({}, Training("lost.npz"), {}),))
    monkeypatch.setitem(verification.claims.EXPERIMENTS, "toy", lambda: lost)
    result = run("toy")
    assert result.code == 2 and "lost.npz" in result.err and not (tmp_path / "reproduction").exists()


def test_an_interrupted_run_says_how_to_continue(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(results: Results, preset: str) -> Conclusions:
        raise KeyboardInterrupt

    monkeypatch.setitem(verification.claims.EXPERIMENTS, "toy", lambda: replace(TOY, conclude=interrupted))
    stopped = run("toy")
    assert stopped.code == 130 and "repeat the command to continue" in stopped.err
    assert len(list((tmp_path / "reproduction" / "nets").glob("*.pt"))) == 3
    summaries = [json.loads(path.read_text()) for path in (tmp_path / "reproduction" / "nets").glob("*.json")]
    assert len(summaries) == 6
    monkeypatch.setitem(verification.claims.EXPERIMENTS, "toy", lambda: TOY)
    assert run("toy").code == 0
