"""`jacobound figures`: every figure from records alone, and one line for whatever is wrong with them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import jacobound
from tests.figures.examples import evaluation
from tests.figures.reproductions import charts, reproduction
from tests.figures.verifications import hostile, verification

SMALL = {"radii": {"l2": (0.1, 0.2)}, "samples": 20, "shape": (1, 4, 4)}


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["jacobound", "figures", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        jacobound.main()
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def saved(path: Path, record: Any) -> Path:
    path.write_text(json.dumps(record))
    return path


def test_all_figures_are_drawn_from_records_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = saved(tmp_path / "evaluation.json", evaluation())
    two = saved(tmp_path / "verification.json", verification(**SMALL))
    out = tmp_path / "deep" / "figures"
    code, printed, _ = run(capsys, monkeypatch, one, two, "--out", out)
    assert code == 0
    names = ("bounds", "layers", "verdicts", "scatter", "surrogates", "attack-images")
    expected = [str(out / f"{name}.{suffix}") for name in names for suffix in ("pdf", "png")]
    expected.append(str(out / "captions.md"))
    assert printed.splitlines() == expected
    assert sorted(map(str, out.iterdir())) == sorted(expected)


def test_list_names_what_the_records_can_fill_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "r.json", hostile()["one sample"])  # nothing is refuted
    code, printed, _ = run(capsys, monkeypatch, path, "--list")
    assert code == 0
    assert [line.split()[0] for line in printed.splitlines()] == ["verdicts", "scatter", "surrogates"]
    assert list(tmp_path.iterdir()) == [path]


DAMAGED = verification(**SMALL)
DAMAGED["examples"][0]["input"]["data"] = "AAAA"
BAD: dict[str, tuple[Any, str]] = {
    "not a record": ({"a": 1}, "not a jacobound record"),
    "newer": ({"format": "jacobound-verification", "version": 99}, "newer"),
    "truncated": ({"format": "jacobound-verification", "version": 1}, "lacks model, data"),
    "without verdicts": (verification(**SMALL) | {"results": [{"norm": "l2", "eps": 0.1}]}, "lacks samples"),
    "no results": (hostile()["nothing"], "nothing to draw"),
    "damaged": (DAMAGED, "damaged"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_records_are_one_line_and_exit_code_2(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, message = BAD[what]
    path = saved(tmp_path / "r.json", record)
    code, printed, complaint = run(capsys, monkeypatch, path, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert complaint.startswith("jacobound: ") and complaint.count("\n") == 1
    assert message in complaint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.json", "--list"), "missing.json: no such file"),
        ((".", "--list"), "a folder, not a file"),
        (("notes.txt", "--list"), "not a JSON record"),
        (("r.json",), "--out is missing"),
        (("r.json", "--out", "r.json/deep"), "is not a folder"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("# notes")
    saved(tmp_path / "r.json", verification(**SMALL))
    code, _, complaint = run(capsys, monkeypatch, *arguments)
    assert code == 2
    assert message in complaint
    assert complaint.count("\n") == 1


def test_charts_and_tables_of_a_reproduction_are_listed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = reproduction() | {"charts": charts()[:2]}
    path = saved(tmp_path / "r.json", record)
    code, printed, _ = run(capsys, monkeypatch, path, "--list")
    names = ["wu2024-surrogates", "wu2024-accuracy", "wu2024-methods", "wu2024-claims"]
    assert code == 0 and [shown.split()[0] for shown in printed.splitlines()] == names
    out = tmp_path / "out"
    code, _, _ = run(capsys, monkeypatch, path, "--out", out, "--style", "icml")
    found = {f"{name}.{suffix}" for name in names[:2] for suffix in ("pdf", "png")}
    found |= {f"{name}.{suffix}" for name in names[2:] for suffix in ("tex", "md")}
    assert code == 0 and {each.name for each in out.iterdir()} == found | {"captions.md"}
    assert "Seeds: 0–2" in (out / "captions.md").read_text()


def test_everything_there_is_is_listed_without_records(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, printed, _ = run(capsys, monkeypatch, "--list")
    assert code == 0 and "needs an evaluation record with rows" in printed and "PAPER-CHART" in printed


def test_an_unknown_style_is_one_line_with_a_suggestion(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, complaint = run(capsys, monkeypatch, "--list", "--style", "nuerips")
    assert code == 2 and "did you mean 'neurips'?" in complaint and complaint.count("\n") == 1
