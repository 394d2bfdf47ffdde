"""The report of a reproduction: one HTML file and one PDF, with verdicts, figures, tables, and what is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from figures.chart_figure import chart_caption, chart_figure, chart_in_words
from figures.report import embedded, template_environment
from figures.reproduction_pdf import reproduction_pdf
from figures.reproduction_tables import (
    INTERVAL_NOTE,
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
from figures.style import SCREEN
from figures.write import render, write_bytes

ENLARGED = 1.25  # charts on the screen, so that their texts are as large as those of tables


def write_reproduction_report(record: Record, folder: str | os.PathLike[str]) -> list[Path]:
    """Write the report as PAPER-PRESET.html and PAPER-PRESET.pdf; both are made before the first is written.

    Args:
        record: a record of format "jacobound-reproduction".
        folder: made if missing.

    Returns:
        The paths written.
    """
    stem = f"{record['paper']['key']}-{record['preset']}"
    contents = {f"{stem}.html": reproduction_html(record).encode(), f"{stem}.pdf": reproduction_pdf(record)}
    for name, content in contents.items():
        write_bytes(Path(folder) / name, content)
    return [Path(folder) / name for name in contents]


def reproduction_html(record: Record) -> str:
    """The report as HTML without any outside reference.

    Args:
        record: a record of format "jacobound-reproduction".

    Returns:
        A complete HTML document.
    """
    claims = [
        dict(claim) | {"measured": with_interval(claim["values"]), "wanted": supported_if(claim)}
        | {"seeds": len(claim["values"]), "notes": claim_notes(claim)}
        for claim in record["claims"]
    ]  # fmt: skip
    return template_environment().get_template("reproduction.html.j2").render(
        record=record,
        title=title(record),
        settings=settings(record),
        counts=verdict_numbers(record),
        claims=claims,
        claim_note=INTERVAL_NOTE,
        charts=[_chart(chart, record) for chart in record["charts"]],
        tables=[result_sheet(table) for table in record["tables"]],
        nets=net_sheet(record),
        contents=_contents(record),
    )  # fmt: skip


def _chart(chart: Record, record: Record) -> dict[str, Any]:
    figure = chart_figure(chart, record["seeds"], SCREEN, captioned=False)
    image = embedded(render(figure, "svg", venue=SCREEN, crop=False))
    return {
        "what": capital(chart["what"]),
        "image": image | {"width": round(ENLARGED * image["width"])},
        "alt": chart_in_words(chart),
        "caption": chart_caption(chart, record["seeds"]),
    }


def _contents(record: Record) -> list[tuple[str, str]]:
    """Addresses and names of the sections that there are."""
    sections = [("claims", "Claims", "claims"), ("figures", "Figures", "charts"), ("tables", "Tables", "tables")]
    sections += [("cuts", "What was cut", "cuts"), ("not-reproduced", "Not reproduced", "not_reproduced")]
    return [*((id_, name) for id_, name, part in sections if record[part]), ("networks", "Networks")]
