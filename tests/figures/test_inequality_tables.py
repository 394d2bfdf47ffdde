"""The laboratory's findings as tables: cells, remarks, and formulas that any LaTeX engine takes."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from figures import inequality_tables
from figures.plain_math import KNOWN, plain
from verification.inequalities import inequalities

STATEMENTS = {claim.id: claim.latex for claim in inequalities().values()}


def finding(**changes):
    return {
        "id": "L1.1-one_two",
        "statement": r"\|A\|_2\le\|A\|_F",
        "source": "Müller & Söhne 1999",
        "relation": "<=",
        "attained": True,
        "instances": 1234,
        "rejected": 5,
        "ratio": 0.99996,
        "undecidable": 0,
        "settled": 0,
        "mutants": {"half": True, "twice": True},
        "counterexample": None,
        "verdict": "held",
    } | changes


def record(*findings):
    return {"format": "jacobound-inequalities", "version": 1, "file": None, "seed": 3, "findings": list(findings)}


def shown(content, width=160):
    console = Console(file=io.StringIO(), width=width)
    console.print(inequality_tables.terminal(content))
    return console.file.getvalue()


def test_the_terminal_shows_every_cell() -> None:
    text = shown(record(finding(), finding(id="X", attained=False, ratio=0.0123, mutants={})))
    for cell in ("L1.1-one_two", "‖A‖₂ ≤ ‖A‖_F", "Müller & Söhne 1999", "1234", "1.000*", "2/2", "held", "0.012", "–"):
        assert cell in text
    assert "2 inequalities, 2 468 instances: 2 held, 0 refuted; 2 of 2 mutants refuted" in re.sub(r"\s", " ", text)


def test_nothing_is_cut_on_a_narrow_terminal() -> None:
    text = shown(record(finding(statement=r"\max_k\|J_k-J_y\|_q\le" * 6)), width=90)
    assert "…" not in text
    assert text.count("J_y") == 6


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"mutants": {"half": False}}, "L1.1-one_two: with this budget, not refuted: half."),
        ({"ratio": 0.5}, "said to be attained, but this search did not come within 1 %"),
        ({"undecidable": 7, "settled": 3}, "not decided in 35 digits: 4 comparisons of 1 inequalities"),
    ],
)
def test_what_must_be_said_is_said(changes, remark) -> None:
    assert any(remark in said for said in inequality_tables.remarks(record(finding(**changes))))
    assert not any(remark in said for said in inequality_tables.remarks(record(finding())))


def test_refutations_bring_their_programs() -> None:
    refuted = finding(verdict="refuted", counterexample="# one\nassert False\n", ratio=1.5)
    assert inequality_tables.counterexamples(record(finding(), refuted)) == "# one\nassert False\n"
    assert "1.500" in shown(record(refuted))


def test_latex_escapes_text_and_keeps_formulas() -> None:
    text = inequality_tables.latex(record(finding()))
    assert r"L1.1-\allowbreak{}one\_\allowbreak{}two & $\displaystyle \|A\|_2\le\|A\|_F$ & " in text
    assert r"M\"{u}ller \& S\"{o}hne 1999" in text
    assert text.isascii()
    assert text.count(r"\begin") == text.count(r"\end{")


def test_markdown_has_one_row_per_finding() -> None:
    rows = [line for line in inequality_tables.markdown(record(finding(), finding(id="X"))).splitlines() if "|" in line]
    assert len(rows) == 4
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert r"| L1.1-one\_two | ‖A‖₂ ≤ ‖A‖\_F | Müller & Söhne 1999 | 1234 | 1.000\* | 2/2 | held |" in rows


@pytest.mark.parametrize("id", STATEMENTS)
def test_statements_are_sound_latex(id: str) -> None:
    """Balanced braces and delimiters, no misspelt command; a test of ours, as no LaTeX engine is at hand."""
    statement = STATEMENTS[id]
    assert set(re.findall(r"\\([A-Za-z]+)", statement)) <= KNOWN
    bare = re.sub(r"\\[{}]", "", statement)
    assert bare.count("{") == bare.count("}")
    assert statement.count(r"\left") - statement.count(r"\leftarrow") == statement.count(r"\right") - statement.count(
        r"\rightarrow"
    )
    assert not re.search(r"[\^_]\s*$|\$", statement)
    assert plain(statement)
