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
from tests.figures.examples import KINDS

PLAN = Plan(strengths={"plain": 0.0, "regularised": 0.05}, epochs=1, radii={"l2": (0.1,), "linf": (0.02,)}, samples=10)


def test_small_plan(tmp_path: Path) -> None:
    stages: set[str] = set()
    plain, regularised = demonstrate(lambda stage, done, total: stages.add(stage), PLAN)
    assert {"plain: training", "regularised: verdicts (linf)"} <= stages
    assert (plain.name, regularised.name) == ("plain", "regularised")
    for shown in (plain, regularised):
        assert {r["model"]["name"] for r in (shown.evaluation, *shown.verifications)} == {shown.name}
        assert shown.evaluation["settings"]["reference"] == "init"
        results = [result for record in shown.verifications for result in record["results"]]
        assert [(r["norm"], r["eps"]) for r in results] == [("l2", 0.1), ("linf", 0.02)]
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
    stems = [f"verification-{name}-{norm}" for name in names for norm in ("l2", "linf")]
    expected |= {f"{stem}.{suffix}" for stem in stems for suffix in ("json", "md", "tex")}
    expected |= {f"{name}.pt" for name in names} | {"report.html"}
    figures = {f"figures/{kind.name}.{suffix}" for kind in KINDS for suffix in ("pdf", "png")}
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == expected | figures

    evaluations = [json.loads((out / f"evaluation-{name}.json").read_text()) for name in names]
    plain, regularised = (evaluation["accuracy"]["test"] for evaluation in evaluations)
    assert regularised > plain - 0.015
    plain, regularised = (evaluation["jacobians"]["frobenius"]["mean"] for evaluation in evaluations)
    assert regularised < plain / 3
    for norm, strongest in (("l2", 0.8), ("linf", 0.1)):
        records = [json.loads((out / f"verification-{name}-{norm}.json").read_text()) for name in names]
        for before, after in zip(*(record["results"] for record in records), strict=True):
            assert after["attacked_accuracy"] >= before["attacked_accuracy"]
            for result in (before, after):
                assert result["certified_accuracy"] <= result["attacked_accuracy"]
                claimed = [s for s in result["surrogates"].values() if s["claimed"]]
                assert not any(surrogate["refuted"]["count"] for surrogate in claimed)
            if before["eps"] == strongest:
                assert after["attacked_accuracy"] > before["attacked_accuracy"] + 0.2
