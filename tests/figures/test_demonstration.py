"""The demo: a small plan every time, the real one among the slow tests."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import jacobound
from bounds.inputs import load_checkpoint, load_data
from figures.demonstration import Plan, demonstrate

PLAN = Plan(strengths={"plain": 0.0, "regularised": 0.05}, epochs=1, radii={"l2": (0.1,), "linf": (0.02,)})


def test_small_plan(tmp_path: Path) -> None:
    stages: set[str] = set()
    plain, regularised = demonstrate(lambda stage, done, total: stages.add(stage), PLAN)
    assert {"plain: training", "regularised: attacks (linf)"} <= stages
    assert (plain.name, regularised.name) == ("plain", "regularised")
    for shown in (plain, regularised):
        assert shown.evaluation["model"]["name"] == shown.comparison["model"] == shown.name
        assert shown.evaluation["settings"]["reference"] == "init"
        assert [(r["norm"], r["eps"]) for r in shown.comparison["results"]] == [("l2", 0.1), ("linf", 0.02)]
    norms = [shown.evaluation["jacobians"]["frobenius"]["mean"] for shown in (plain, regularised)]
    assert norms[1] < norms[0]
    regularised.save(tmp_path / "saved.pt")
    x, _ = next(load_data("digits", split="test").batches(8, dtype=torch.float32))
    assert torch.equal(load_checkpoint(tmp_path / "saved.pt")(x), regularised.network(x))


@pytest.mark.slow
def test_real_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    monkeypatch.setattr(sys, "argv", ["jacobound", "demo", "--out", str(out), "--quiet"])
    with pytest.raises(SystemExit) as stop:
        jacobound.main()
    assert not stop.value.code
    assert capsys.readouterr().out == f"report: {out / 'report.html'}\n"
    names = ("plain", "jacobian-regularised")
    expected = {f"evaluation-{name}.{suffix}" for name in names for suffix in ("json", "md", "tex", "bib")}
    expected |= {f"comparison-{name}.json" for name in names} | {f"{name}.pt" for name in names} | {"report.html"}
    figures = {f"figures/{name}.{suffix}" for name in ("bounds", "layers", "surrogates") for suffix in ("pdf", "png")}
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == expected | figures

    evaluations = [json.loads((out / f"evaluation-{name}.json").read_text()) for name in names]
    plain, regularised = (evaluation["accuracy"]["test"] for evaluation in evaluations)
    assert regularised > plain - 0.015
    plain, regularised = (evaluation["jacobians"]["frobenius"]["mean"] for evaluation in evaluations)
    assert regularised < plain / 3
    comparisons = [json.loads((out / f"comparison-{name}.json").read_text()) for name in names]
    for before, after in zip(*(comparison["results"] for comparison in comparisons), strict=True):
        assert after["attacked_accuracy"] >= before["attacked_accuracy"]
        if before["eps"] >= 0.4:
            assert after["attacked_accuracy"] > before["attacked_accuracy"] + 0.2
