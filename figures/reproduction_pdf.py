"""The report of a reproduction as a PDF of A4 pages: text set in lines, charts as vectors, tables that break."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures.chart_figure import DrawnChart, chart_caption
from figures.reproduction_tables import (
    INTERVAL_NOTE,
    Sheet,
    capital,
    claim_notes,
    net_sheet,
    result_sheet,
    settings,
    supported_if,
    title,
    verdict_numbers,
    with_interval,
)
from figures.rows import Record
from figures.style import FAINT, GREY, INK, PAGE, PALETTE, fold, style, text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 8.27, 11.69  # inches of A4
LEFT, TOP, BOTTOM = 0.75, 0.8, 0.85  # margins
TEXT = WIDTH - 2 * LEFT
BODY, NOTE, HEAD, TITLE = 10.0, 8.5, 13.0, 18.0  # points
LEADING = 1.32
SERIF = ("STIXGeneral", "DejaVu Serif", "DejaVu Sans")
MONO = ("DejaVu Sans Mono",)
COLOURS = {"supported": PALETTE[0], "inconclusive": "#666666", "contradicted": "#b8290f"}
WASH = "#f6f6f4"
BADGE = 1.05  # inches beside a claim, for its verdict
BOLD = 1.1  # bold text is so much wider


def reproduction_pdf(record: Record) -> bytes:
    """The report as a PDF; the same record gives the same bytes.

    Args:
        record: a record of format "jacobound-reproduction".
    """
    with style(PAGE):
        pages = _Pages()
        _opening(pages, record)
        _claims(pages, record)
        _charts(pages, record)
        _tables(pages, [result_sheet(table) for table in record["tables"]])
        _list(pages, "What was cut to fit", record["cuts"])
        _list(pages, "What could not be reproduced", record["not_reproduced"])
        nets = net_sheet(record)
        pages.heading("Networks", keep=0.5)
        _table(pages, nets, size=7.5)
        return pages.content(title(record))


class _Pages:
    """A4 pages that fill from the top; `y` is how far up the page is still free, in inches."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.new()

    def new(self) -> None:
        """Begin a page."""
        from matplotlib.figure import Figure

        self.figures.append(Figure(figsize=(WIDTH, HEIGHT)))
        self.y = HEIGHT - TOP

    @property
    def untouched(self) -> bool:
        """Whether nothing is on the page yet."""
        return self.y == HEIGHT - TOP

    def keep(self, height: float) -> None:
        """Begin a page if this one has no room for something so high."""
        if self.y - height < BOTTOM and not self.untouched:
            self.new()

    def skip(self, height: float) -> None:
        """Leave some room, but not at the top of a page."""
        if not self.untouched:
            self.y -= height

    def write(self, x: float, y: float, text: str, size: float, **look: Any) -> None:
        """One line of text, its top left corner at a place in inches."""
        look = {"family": SERIF, "color": INK} | look
        baseline = y - 0.8 * size / 72
        self.figures[-1].text(
            x / WIDTH, baseline / HEIGHT, text, fontsize=size, va="baseline", parse_math=False, **look
        )

    def rule(self, y: float, colour: str = FAINT, width: float = 0.5) -> None:
        """A horizontal line across the text."""
        from matplotlib.lines import Line2D

        ends = (LEFT / WIDTH, (WIDTH - LEFT) / WIDTH)
        self.figures[-1].add_artist(Line2D(ends, (y / HEIGHT, y / HEIGHT), color=colour, linewidth=width))

    def box(self, x: float, top: float, size: tuple[float, float], colour: str) -> None:
        """A filled rectangle behind the text."""
        from matplotlib.patches import Rectangle

        corner = (x / WIDTH, (top - size[1]) / HEIGHT)
        sides = (size[0] / WIDTH, size[1] / HEIGHT)
        self.figures[-1].add_artist(Rectangle(corner, *sides, facecolor=colour, edgecolor="none", zorder=0))

    def paragraph(self, text: str, size: float = BODY, indent: float = 0.0, **look: Any) -> None:
        """Lines of text, broken over pages where they must be."""
        family = look.get("family", SERIF)
        for line in fold(text, (TEXT - indent) / (BOLD if "fontweight" in look else 1.0), size, family):
            self.keep(LEADING * size / 72)
            self.write(LEFT + indent, self.y, line, size, **look)
            self.y -= LEADING * size / 72

    def heading(self, text: str, keep: float) -> None:
        """A heading that stays with the next `keep` inches."""
        self.keep(keep + 0.6)
        self.skip(0.22)
        self.rule(self.y, INK, 1.0)
        self.y -= 0.1
        self.paragraph(text, HEAD, fontweight="bold")
        self.y -= 0.06

    def content(self, name: str) -> bytes:
        """The finished document, every page with its number."""
        from matplotlib.backends.backend_pdf import PdfPages

        buffer = io.BytesIO()
        with PdfPages(buffer, metadata={"Title": name, "CreationDate": None}) as pages:
            for number, figure in enumerate(self.figures, start=1):
                foot: dict[str, Any] = {
                    "family": SERIF,
                    "color": GREY,
                    "fontsize": 8.0,
                    "va": "bottom",
                    "parse_math": False,
                }
                said = fold(name, TEXT - 0.8, 8.0, SERIF)[0]
                figure.text(LEFT / WIDTH, 0.5 / HEIGHT, said, **foot)
                figure.text((WIDTH - LEFT) / WIDTH, 0.5 / HEIGHT, f"{number} / {len(self.figures)}", ha="right", **foot)
                pages.savefig(figure, bbox_inches=figure.bbox_inches)
        return buffer.getvalue()


def _opening(pages: _Pages, record: Record) -> None:
    """Title, reference, command, versions, and how many claims met which verdict."""
    pages.paragraph(title(record), TITLE, fontweight="bold")
    pages.y -= 0.03
    pages.paragraph(record["paper"]["reference"], BODY, color=GREY)
    pages.y -= 0.1
    lines = fold(record["command"], TEXT - 0.3, 8.5, MONO)
    high = len(lines) * LEADING * 8.5 / 72 + 0.16
    pages.box(LEFT, pages.y, (TEXT, high), WASH)
    pages.box(LEFT, pages.y, (0.035, high), PALETTE[0])
    for number, line in enumerate(lines):
        pages.write(LEFT + 0.15, pages.y - 0.09 - number * LEADING * 8.5 / 72, line, 8.5, family=MONO)
    pages.y -= high + 0.1
    pages.paragraph("; ".join(f"{name} {setting}" for name, setting in settings(record)) + ".", NOTE, color=GREY)
    if record["claims"]:
        pages.y -= 0.1
        x = LEFT
        for verdict, number in verdict_numbers(record):
            pages.write(x, pages.y, str(number), HEAD, fontweight="bold", color=COLOURS[verdict])
            x += text_width(str(number), BOLD * HEAD, SERIF) + 0.06
            pages.write(x, pages.y - 0.02, verdict, 11.0, fontweight="bold", color=COLOURS[verdict])
            x += text_width(verdict, BOLD * 11, SERIF) + 0.3
        pages.y -= 0.28


def _claims(pages: _Pages, record: Record) -> None:
    if not record["claims"]:
        return
    pages.heading("Claims", keep=1.2)
    pages.paragraph(INTERVAL_NOTE, NOTE, color=GREY)
    pages.y -= 0.08
    for claim in record["claims"]:
        _claim(pages, claim)


def _claim(pages: _Pages, claim: Record) -> None:
    """The verdict at the left; statement, measurement, conditions and remark beside it. A claim stays on one page."""
    seeds = f"{len(claim['values'])} seed{'s' * (len(claim['values']) != 1)}"
    measured = (
        f"{capital(claim['quantity'])}: {with_interval(claim['values'])}; {seeds}; supported if {supported_if(claim)}."
    )
    parts = [(claim["statement"], BODY, INK), (measured, 9.0, INK)]
    parts.append((" ".join(claim_notes(claim)), NOTE, GREY))
    lines = [(line, size, colour) for text, size, colour in parts for line in fold(text, TEXT - BADGE, size, SERIF)]
    height = sum(LEADING * size / 72 for _, size, _ in lines)
    pages.keep(height + 0.2)
    pages.rule(pages.y)
    pages.y -= 0.07
    _badge(pages, claim["verdict"])
    for line, size, colour in lines:
        pages.write(LEFT + BADGE, pages.y, line, size, color=colour)
        pages.y -= LEADING * size / 72
    pages.y -= 0.1


def _badge(pages: _Pages, verdict: str) -> None:
    """The verdict in white on its colour."""
    size = 8.0
    wide = text_width(verdict, BOLD * size, SERIF) + 0.16
    pages.box(LEFT, pages.y + 0.01, (wide, 0.175), COLOURS[verdict])
    pages.write(LEFT + 0.08, pages.y - 0.022, verdict, size, color="white", fontweight="bold")


def _charts(pages: _Pages, record: Record) -> None:
    """Every chart with its heading and caption on one page; one that is taller than a page is made to fit."""
    from matplotlib.figure import Figure

    for number, chart in enumerate(record["charts"]):
        note = chart_caption(chart, record["seeds"])
        width = min(TEXT, PAGE.column if len(chart["panels"]) == 1 else PAGE.width)
        name = fold(capital(chart["what"]), TEXT / BOLD, 10.5, SERIF)
        above = len(name) * LEADING * 10.5 / 72 + 0.08
        room = HEIGHT - TOP - BOTTOM - above - 0.1 - (0.0 if number else 0.5)
        natural = DrawnChart(Figure(figsize=(WIDTH, HEIGHT)), chart, PAGE.panel, width, note=note).height
        height = min(natural, room)
        if number == 0:
            pages.heading("Figures", keep=above + height)
        pages.keep(above + height)
        pages.skip(0.0 if number == 0 else 0.2)
        pages.paragraph(" ".join(name), 10.5, fontweight="bold")
        pages.y -= 0.08
        fixed = None if height == natural else height
        DrawnChart(pages.figures[-1], chart, PAGE.panel, width, fixed, note).place(LEFT, pages.y)
        pages.y -= height


def _tables(pages: _Pages, sheets: Sequence[Sheet]) -> None:
    for number, sheet in enumerate(sheets):
        if number == 0:
            pages.heading("Tables", keep=1.2)
        _table(pages, sheet)


def _table(pages: _Pages, sheet: Sheet, size: float = 8.5) -> None:
    """Caption, heads, rows with folded cells; heads are repeated on every page."""
    pages.keep(1.0)
    pages.skip(0.08)
    pages.paragraph(sheet.caption, NOTE, color=GREY)
    pages.y -= 0.05
    if sheet.rows:
        widths = column_widths(sheet, size)
        _row(pages, sheet, sheet.headings, widths, size, head=True)
        for row in sheet.rows:
            _row(pages, sheet, row, widths, size)
    if sheet.remarks:
        pages.y -= 0.05
        pages.paragraph(" ".join(sheet.remarks), NOTE, color=GREY)
    pages.y -= 0.1


def _row(
    pages: _Pages, sheet: Sheet, row: Sequence[str], widths: Sequence[float], size: float, *, head: bool = False
) -> None:
    wide = 1 / BOLD if head else 1.0
    folded = [fold(cell, (width - GAP) * wide, size, SERIF) for cell, width in zip(row, widths, strict=True)]
    high = max(len(lines) for lines in folded) * LEADING * size / 72
    if not head and pages.y - high - 0.06 < BOTTOM:
        pages.new()
        _row(pages, sheet, sheet.headings, widths, size, head=True)
    look: dict[str, Any] = {"fontweight": "bold"} if head else {}
    x = LEFT
    for lines, width, left in zip(folded, widths, sheet.left, strict=True):
        for number, line in enumerate(lines):
            y = pages.y - 0.02 - number * LEADING * size / 72
            side = {} if left else {"ha": "right"}
            pages.write(x if left else x + width - GAP, y, line, size, **look, **side)
        x += width
    pages.y -= high + 0.05
    pages.rule(pages.y + 0.01, INK if head else FAINT, 0.7 if head else 0.4)


GAP = 0.14  # inches between columns


def column_widths(sheet: Sheet, size: float) -> list[float]:
    """Widths of the columns, in inches: what each needs, or, where that is too much, at least its longest word."""
    columns = list(zip(sheet.headings, *sheet.rows, strict=True))
    wanted = [max(text_width(cell, BOLD * size, SERIF) for cell in column) + GAP for column in columns]
    least = [
        max(text_width(word, BOLD * size, SERIF) for cell in column for word in (cell.split() or [""])) + GAP
        for column in columns
    ]
    if sum(wanted) <= TEXT:
        return wanted
    room, slack = TEXT - sum(least), [w - lo for w, lo in zip(wanted, least, strict=True)]
    if room <= 0:
        return [lo * TEXT / sum(least) for lo in least]
    return [lo + room * s / sum(slack) for lo, s in zip(least, slack, strict=True)]


def _list(pages: _Pages, name: str, sentences: Sequence[str]) -> None:
    if not sentences:
        return
    pages.heading(name, keep=0.4)
    for sentence in sentences:
        pages.keep(LEADING * BODY / 72)
        pages.write(LEFT + 0.05, pages.y, "•", BODY)
        pages.paragraph(sentence, BODY, indent=0.2)
        pages.y -= 0.03
