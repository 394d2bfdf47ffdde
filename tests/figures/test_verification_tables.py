"""Verification tables say what the records say, whole at every width, in well-formed Markdown and LaTeX."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rich.console import Console
from scipy.stats import binom

from figures import verification_tables
from figures.numbers import decimal
from figures.verification_tables import Sheet, latex, markdown, remarks, sheets, terminal
from tests.figures.verifications import hostile, verification


def printed(record: dict[str, Any], width: int) -> str:
    with open("/dev/null", "w") as file:
        console = Console(width=width, record=True, file=file)
        console.print(terminal(record))
        return console.export_text()


def flat(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_there_is_a_sheet_per_norm_and_two_more() -> None:
    record = hostile()["three norms, eight radii"]
    titles = [sheet.title for sheet in sheets(record)]
    assert [title.rsplit("? ")[-1] for title in titles[:3]] == [
        f"{norm} ball ∩ [0, 1] box" for norm in ("ℓ∞", "ℓ2", "ℓ1")
    ]
    assert titles[3:] == ["Robust accuracy and risk", "Largest ε at which the surrogate dominates"]
    assert [len(sheet.rows) for sheet in sheets(record)] == [40, 40, 24, 24, 13]


def test_verdict_rows_hold_shares_with_their_intervals_and_means() -> None:
    record = verification(radii={"linf": (0.02,)}, samples=57)
    (result,) = record["results"]
    verdicts = sheets(record)[0]
    assert verdicts.headings[5:] == ("proved", "refuted", "undecided")
    for row, (name, letters) in zip(verdicts.rows, result["values"]["verdicts"].items(), strict=True):
        assert row[:3] == ("0.02", decimal(result["attack_loss"]), decimal(result["upper_loss"]))
        assert row[3].endswith("*") is (name == "gradient")
        assert row[4] == decimal(result["surrogates"][name]["mean"])
        for cell, letter in zip(row[5:], "pru", strict=True):
            share, low, high = (float(number) / 100 for number in re.findall(r"\d+\.\d", cell))
            k = letters.count(letter)
            assert share == pytest.approx(k / 57, abs=6e-4)
            half = 5e-4  # of the last digit; the interval's ends are where the binomial tails are 2.5 %
            assert (
                binom.sf(k - 1, 57, max(0.0, low - half)) <= 0.025 <= binom.sf(k - 1, 57, low + half) or low == k == 0
            )
            assert binom.cdf(k, 57, high + half) <= 0.025 <= binom.cdf(k, 57, high - half) or (high, k) == (1, 57)


def test_robustness_rows_hold_the_bracket_and_the_bound() -> None:
    record = hostile()["failed"]
    robust = sheets(record)[-2]
    for row, result in zip(robust.rows, record["results"], strict=True):
        accuracies = [result[f"{kind}_accuracy"] for kind in ("certified", "attacked")]
        assert list(row[4:6]) == [f"{100 * a:.1f}\N{NARROW NO-BREAK SPACE}%" for a in accuracies]
        assert row[6:] == (decimal(result["robust_risk_bound"]), "3")


def test_dominance_rows_hold_radii_or_none() -> None:
    record = verification()
    rows = sheets(record)[-1].rows
    found = [eps for surrogates in record["dominance"].values() for eps in surrogates.values()]
    for row, largest in zip(rows, found, strict=True):
        assert row[2:] == tuple(
            "none" if e is None else f"{e:.4g}" for e in (largest["proved"], largest["not_refuted"])
        )
    assert {"none", "0.04"} <= {cell for row in rows for cell in row[2:]}


def test_a_group_writes_its_shared_cells_once() -> None:
    sheet = Sheet("t", ("a", "b", "c"), 2, (("1", "x", "p"), ("1", "x", "q"), ("1", "y", "r")))
    assert list(sheet.lines()) == [(True, ("1", "x", "p")), (False, ("", "", "q")), (True, ("1", "y", "r"))]


def test_what_is_not_available_is_said() -> None:
    record = hostile()["no certificates"]
    assert any("LayerNorm" in remark for remark in remarks(record))
    assert {row[2] for row in sheets(record)[0].rows} == {"–"}
    assert any("3 of 60" in remark and "3, 17, 50" in remark for remark in remarks(hostile()["failed"]))
    assert any("probability 0.95;" in remark for remark in remarks(record))
    assert not any("probability" in remark for remark in remarks(hostile()["nothing"]))


@pytest.mark.parametrize("odd", hostile())
@pytest.mark.parametrize("width", [20, 80, 140])
def test_the_terminal_never_cuts_anything(odd: str, width: int) -> None:
    record = hostile()[odd]
    shown = printed(record, width)
    squeezed = flat(shown)
    for sheet in sheets(record):
        assert flat(sheet.title) in squeezed
        for row in sheet.rows:
            assert all(flat(cell) in squeezed for cell in row)
    for remark in remarks(record):
        assert flat(remark) in squeezed
    assert flat(record["model"]["name"]) in squeezed
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_at_the_width_of_a_page_everything_is_a_table() -> None:
    record = hostile()["three norms, eight radii"]
    lines = printed(record, 140).splitlines()
    for sheet in sheets(record):
        for _, cells in sheet.lines():
            assert any(re.split(r"\s{2,}", line.strip()) == [c for c in cells if c] for line in lines), cells


def test_markdown_tables_have_as_many_cells_in_every_row() -> None:
    record = verification("a|b_c", notes=["x < y"])
    text = markdown(record)
    assert text.startswith("a\\|b\\_c")
    assert text.endswith("- X \\< y.\n")
    tables = [table.splitlines() for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    assert len(tables) == len(sheets(record))
    for table, sheet in zip(tables, sheets(record), strict=True):
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {len(sheet.headings) + 1}
        assert len(table) == len(sheet.rows) + 2


def test_latex_is_balanced_ascii_with_as_many_columns_in_every_row() -> None:
    record = verification("model_1 & 50% {x} ^ ~ \\ # $", notes=["50 % of ε"])
    text = latex(record)
    assert text.isascii()
    bare = re.sub(r"\\[\\{}&%$#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", text) == ["table", "tabular"] * 4
    assert re.findall(r"\\end\{(\w+)\}", text) == ["tabular", "table"] * 4
    for table, sheet in zip(text.split("\\toprule\n")[1:], sheets(record), strict=True):
        rows = [line for line in table.split("\\bottomrule")[0].splitlines() if line != "\\midrule"]
        assert len(rows) == len(sheet.rows) + 1
        for line in rows:
            assert line.endswith(r" \\")
            assert len(re.findall(r"(?<!\\)&", line)) + 1 == len(sheet.headings), line


def test_a_record_without_results_has_empty_tables() -> None:
    record = hostile()["nothing"]
    assert all(not sheet.rows for sheet in sheets(record))
    assert "Robust accuracy" in verification_tables.markdown(record)
