"""The report: one HTML file with every figure and table inside, readable on screen and on paper."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figures import numbers, tables
from figures.rows import (
    Record,
    norm_title,
    of_format,
    reading_order,
    set_title,
    surrogate_title,
    target_title,
)
from figures.write import make_figures, render, write_bytes

TEMPLATES = Path(__file__).parent / "templates"


def report(records: Sequence[Record], title: str = "Bounds and robustness") -> str:
    """The report as HTML without any outside reference: figures are embedded as SVG, styles are inside.

    Args:
        records: evaluation and comparison records, in any order.
        title: heading of the page.

    Returns:
        A complete HTML document.

    Raises:
        InputError: a record is neither an evaluation nor a comparison.

    >>> "<h1>Empty</h1>" in report([], "Empty")
    True
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": numbers.count,
        "decimal": numbers.decimal,
        "exponent": numbers.exponent,
        "guaranteed": tables.guaranteed,
        "norm": norm_title,
        "percent": _percent,
        "raw": tables.raw_log10,
        "sentence": tables.sentence,
        "why_not": tables.why_not,
        "surrogate": surrogate_title,
        "target": target_title,
    }
    evaluations, comparisons = of_format(records, "evaluation"), of_format(records, "comparison")
    return environment.get_template("report.html.j2").render(
        title=title,
        note=tables.NOTE,
        evaluations=[
            {
                "record": evaluation,
                "rows": reading_order([evaluation]),
                "described": tables.described(evaluation),
                "settings": tables.settings(evaluation),
            }
            for evaluation in evaluations
        ],
        comparisons=[{"record": comparison, "sets": _by_set(comparison)} for comparison in comparisons],
        figures={name: _embedded(figure) for name, figure in make_figures(records).items()},
        alts={"bounds": _bounds_in_words(evaluations), "layers": _layers_in_words(evaluations)}
        | {"surrogates": _surrogates_in_words(comparisons)},
    )


def write_report(records: Sequence[Record], path: str | os.PathLike[str]) -> Path:
    """Write the report in one step; an interruption leaves the old file or none.

    Args:
        records: evaluation and comparison records, in any order.
        path: the HTML file; its folder is made if missing.

    Returns:
        The path written.

    Raises:
        InputError: a record is neither an evaluation nor a comparison.
    """
    target = Path(path)
    write_bytes(target, report(records).encode())
    return target


def _embedded(figure: Any) -> dict[str, Any]:
    """The figure as a data address, with its natural size in CSS pixels."""
    image = render(figure, "svg")
    width = image.split(b'width="', 1)[1].split(b"pt", 1)[0]
    return {
        "address": "data:image/svg+xml;base64," + base64.b64encode(image).decode(),
        "width": round(float(width) * 96 / 72),
    }


def _by_set(comparison: Record) -> list[dict[str, Any]]:
    """Results of a comparison grouped by attack set, each with its radii in order and its surrogates."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for result in comparison["results"]:
        groups.setdefault(set_title(result["norm"], result["box"]), []).append(result)
    return [
        {
            "title": title,
            "results": sorted(results, key=lambda result: result["eps"]),
            "surrogates": list(dict.fromkeys(name for result in results for name in result["surrogates"])),
        }
        for title, results in groups.items()
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\N{NARROW NO-BREAK SPACE}%"


def _bounds_in_words(evaluations: Sequence[Record]) -> str:
    parts = []
    for evaluation in evaluations:
        rows = [row for row in evaluation["rows"] if row["status"] == "value" and row["fixed_class"]]
        ranked = sorted(rows, key=lambda row: row["fixed_class"]["raw_log10"])
        text = f"{evaluation['model']['name']}: {len(rows)} of {len(evaluation['rows'])} bounds apply"
        if ranked:
            low, high = (row["fixed_class"]["raw_log10"] for row in (ranked[0], ranked[-1]))
            text += f", fixed-class values from {numbers.power(low)} ({ranked[0]['title']})"
            text += f" to {numbers.power(high)} ({ranked[-1]['title']})"
        parts.append(text)
    return "Bounds against the measured gap. " + "; ".join(parts) + "."


def _layers_in_words(evaluations: Sequence[Record]) -> str:
    parts = []
    for evaluation in evaluations:
        dominant = [row["dominant_layer"] for row in evaluation["rows"] if row["dominant_layer"]]
        for layer in dict.fromkeys(dominant):
            times = f"{dominant.count(layer)} of {len(dominant)} bounds"
            parts.append(f"in {evaluation['model']['name']}, {layer} dominates {times}")
    return "Share of each layer in each bound: " + "; ".join(parts) + "."


def _surrogates_in_words(comparisons: Sequence[Record]) -> str:
    parts = []
    for comparison in comparisons:
        for group in _by_set(comparison):
            last = group["results"][-1]
            means = sorted(
                [(s["mean"], surrogate_title(name)) for name, s in last["surrogates"].items()]
                + [(last["attack_loss"]["mean"], "robust loss found by the attack")]
            )
            order = ", ".join(f"{name} {numbers.decimal(mean)}" for mean, name in means)
            parts.append(f"{comparison['model']}, {group['title']} at ε = {last['eps']:g}: {order}")
    return "Mean robust loss and surrogates in nats. " + "; ".join(parts) + "."
