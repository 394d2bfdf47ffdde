"""The report of a reproduction says everything its record says, in sound HTML, PDF, Markdown and LaTeX."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from figures.reproduction_pdf import reproduction_pdf
from figures.reproduction_report import reproduction_html, write_reproduction_report
from figures.reproduction_tables import net_sheet, sheets
from tests.figures.reproductions import charts, reproduction
from tests.figures.test_report import read

RECORD = reproduction() | {"charts": charts()[:2]}


def test_the_page_holds_every_claim_once_and_nothing_from_outside() -> None:
    page = read(reproduction_html(RECORD))
    for claim in RECORD["claims"]:
        assert claim["statement"] in page.text
    assert len(re.findall(r'<td class="statement">', reproduction_html(RECORD))) == len(RECORD["claims"])
    assert page.text.count(RECORD["claims"][0]["statement"]) == 1
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address[0] == "#"} <= set(page.ids)
    assert len(page.images) == 2 and all(len(image["alt"] or "") > 60 for image in page.images)
    for sentence in (*RECORD["cuts"], *RECORD["not_reproduced"], RECORD["command"]):
        assert sentence in unescape(page.text)


def test_html_and_pdf_are_written_and_the_pdf_is_deterministic(tmp_path: Path) -> None:
    paths = write_reproduction_report(RECORD, tmp_path / "deep")
    assert [path.name for path in paths] == ["wu2024-quick.html", "wu2024-quick.pdf"]
    content = paths[1].read_bytes()
    assert content == reproduction_pdf(RECORD)
    assert content.count(b"/Type /Page ") > 1 and b"/FontFile2" in content and b"/Subtype /Image" not in content


def test_tables_parse_and_latex_is_balanced_ascii() -> None:
    for sheet in (*sheets(RECORD).values(), net_sheet(RECORD)):
        rows = [each for each in sheet.markdown().splitlines() if each.startswith("|")]
        assert len(rows) == len(sheet.rows) + 2
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(sheet.headings) + 1}
        text = sheet.latex()
        bare = re.sub(r"\\[{}&%$#_]", "", text)
        assert text.isascii() and "U+" not in text
        assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
        for row in bare.split(r"\midrule")[1].split(r"\bottomrule")[0].splitlines()[2:]:
            assert row.count("&") == len(sheet.headings) - 1
