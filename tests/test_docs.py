"""The committed pages are what the objects say today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bounds import records
from verification.inequalities import assert_holds, examine_all, inequalities, load

DOCS = Path(__file__).parents[1] / "docs"
BY_HAND = {"falsify.md", "reproduce.md"}


def test_pages_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None and spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    committed = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
    written = {name: text for name, text in committed.items() if name not in BY_HAND}
    assert written == build.pages(), "run make docs"
    assert committed.keys() >= BY_HAND


def test_the_committed_findings_are_about_todays_inequalities() -> None:
    record = records.read(DOCS.parent / "results" / "inequalities.json")
    stated = {finding["id"]: finding["statement"] for finding in record["findings"]}
    assert stated == {claim.id: claim.latex for claim in inequalities().values()}, "run jacobound falsify --json"
    assert all(finding["verdict"] == "held" and all(finding["mutants"].values()) for finding in record["findings"])


def test_the_worked_example_refutes_what_is_wrong() -> None:
    """And the page shows what it shows."""
    findings = examine_all(list(load(DOCS / "wrong_inequalities.py").values()), path=DOCS / "wrong_inequalities.py")
    page = (DOCS / "falsify.md").read_text(encoding="utf-8")
    assert [finding.id for finding in findings] == ["reshaped-kernel", "gradient-surrogate", "same-grid"]
    for finding in findings:
        assert finding.verdict == "refuted"
        assert f"# {finding.id}: left <= right is refuted by left = " in page


def test_the_inequality_on_the_page_holds(tmp_path: Path) -> None:
    page = (DOCS / "falsify.md").read_text(encoding="utf-8")
    (tmp_path / "page.py").write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    (claim,) = load(tmp_path / "page.py").values()
    assert_holds(claim)
