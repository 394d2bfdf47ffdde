"""The report and the tables say everything the records say, in well-formed HTML, Markdown and LaTeX."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from figures import latex, tables, verification_tables
from figures.numbers import decimal, exponent, power
from figures.report import report, write_report
from tests.figures.examples import KINDS, evaluation, records
from tests.figures.verifications import hostile, verification

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(html.parser.HTMLParser):
    """Checks nesting, collects the text, the images and every outside address."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "img":
            self.images.append(named)
        self.addresses += [v for k, v in attrs if k in {"src", "href"} and v is not None]
        self.ids += [v for k, v in attrs if k == "id" and v is not None]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def read(document: str) -> Reader:
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def page() -> Reader:
    return read(report(records()))


def test_every_row_reason_layer_and_setting_appears(page: Reader) -> None:
    for record in records()[:2]:
        for row in record["rows"]:
            assert row["title"] in page.text
            assert row["variant"] in page.text
            if row["status"] == "value":
                assert row["sentence"] in page.text
                assert exponent(row["fixed_class"]["raw_log10"]) in page.text
            for reason in row["reasons"]:
                assert reason["because"] in page.text
                assert reason["remedy"] in page.text
        for layer in record["layers"]:
            assert layer["name"] in page.text
            assert decimal(layer["s"]["upper"], 5) in page.text
        for name, setting in tables.settings(record):
            assert name in page.text
            assert setting in page.text


@pytest.mark.parametrize("odd", ["failed", "no certificates", "long name"])
def test_every_cell_remark_and_setting_of_a_verification_appears(odd: str) -> None:
    record = hostile()[odd]
    shown = read(report([record]))
    for sheet in verification_tables.sheets(record):
        assert sheet.title in shown.text
        for _, cells in sheet.lines():
            assert all(cell in shown.text for cell in cells)
    for remark in verification_tables.remarks(record):
        assert remark in shown.text
    assert record["model"]["name"] in shown.text


def test_the_page_needs_nothing_from_outside_and_describes_its_figures(page: Reader) -> None:
    assert len(page.images) == len(KINDS)
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address[0] == "#"} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    for image in page.images:
        assert len(image["alt"] or "") > 60
        assert int(image["width"] or 0) > 300
    assert not re.search(r"\b(nan|inf|None|Undefined)\b", page.text)


def test_names_are_escaped() -> None:
    record = evaluation("<script>alert(1)</script>")
    document = report([record])
    assert "<script>" not in document
    assert "<script>" in read(document).text


def test_a_record_of_one_kind_is_enough() -> None:
    assert len(read(report([evaluation()])).images) == 2
    assert len(read(report([verification(samples=20)])).images) == 4
    assert not read(report([hostile()["nothing"]])).images


def test_the_report_is_written_whole(tmp_path: Path) -> None:
    path = write_report([evaluation()], tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("width", [20, 60, 80, 100, 120, 200])
def test_the_terminal_never_cuts_a_number_or_a_row(width: int) -> None:
    record = evaluation()
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(tables.Terminal(record))
    shown = console.export_text()
    assert "…" not in shown
    flat = re.sub(r"\s+", "", shown)
    for row in record["rows"]:
        assert row["bound"] in flat
        if row["status"] == "value":
            assert exponent(row["fixed_class"]["raw_log10"]) in flat
            assert tables.guaranteed(row["fixed_class"]) in flat
        else:
            assert re.sub(r"\s+", "", row["reasons"][0]["remedy"]) in flat


def test_markdown_is_one_table_with_every_row() -> None:
    record = evaluation("a|b_c")
    lines = tables.markdown(record).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {9}
    assert len(table) == 2 + 4 + len(record["rows"])
    assert lines[0].startswith("a\\|b\\_c")
    for row in record["rows"]:
        assert any(line.startswith(f"- {row['title']}") for line in lines)


def test_latex_is_balanced_ascii_with_eight_columns_in_every_row() -> None:
    record = evaluation("model_1 & 50% {x} ^ ~ \\ # $")
    text = tables.latex(record)
    assert text.isascii()
    bare = re.sub(r"\\[\\{}&%$#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1]
    body = text.split("\\toprule\n")[1].split("\\bottomrule")[0]
    for line in body.splitlines():
        if line.endswith("\\\\"):
            spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d)\}", line)]
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) == 8, line
    for row in record["rows"]:
        assert latex.escape(row["title"]) in text


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_escaped_text_is_inert_in_latex(text: str) -> None:
    escaped = latex.escape(text)
    assert escaped.isascii()
    assert "\n" not in escaped
    bare = re.sub(r"\\[{}&%$#_]", "", escaped)
    assert not set("&%#_") & set(bare)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0


def test_bibtex_passes_each_entry_through_once() -> None:
    entries = {"bartlett2017_spectral": "@inproceedings{bartlett}\n", "unused": "@misc{unused}"}
    assert tables.bibtex(evaluation(), entries) == "@inproceedings{bartlett}\n"
    assert tables.bibtex(evaluation(), {}) == ""


@given(st.floats(-1e6, 1e6))
@settings(deadline=None)
def test_written_numbers_read_back(number: float) -> None:
    back = float(decimal(number).replace("\N{MINUS SIGN}", "-"))
    assert abs(back - number) <= 0.006 * abs(number)
    back = float(power(number).removeprefix("10^").replace("\N{MINUS SIGN}", "-"))
    assert abs(back - number) <= max(0.0051, 0.0006 * abs(number))
