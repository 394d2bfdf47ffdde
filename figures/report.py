"""The report: one HTML file with every figure and table inside, readable on screen and on paper."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import numbers, tables, verification_tables
from figures.rows import Record, norm_title, of_format, reading_order, set_title, surrogate_title, target_title
from figures.scatter_figure import most_mixed
from figures.verifications import by_norm, caption
from figures.write import make_figures, render, write_bytes

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"


def report(records: Sequence[Record], title: str = "Bounds and robustness") -> str:
    """The report as HTML without any outside reference: figures are embedded as SVG, styles are inside.

    Args:
        records: evaluation and verification records, in any order.
        title: heading of the page.

    Returns:
        A complete HTML document.

    Raises:
        InputError: a record is of no known kind, or damaged.

    >>> "<h1>Empty</h1>" in report([], "Empty")
    True
    """
    environment = template_environment()
    environment.filters |= {
        "count": numbers.count,
        "decimal": numbers.decimal,
        "exponent": numbers.exponent,
        "guaranteed": tables.guaranteed,
        "raw": tables.raw_log10,
        "sentence": tables.sentence,
        "why_not": tables.why_not,
        "target": target_title,
    }
    evaluations, verifications = of_format(records, "evaluation"), of_format(records, "verification")
    return environment.get_template("report.html.j2").render(
        title=title,
        note=tables.NOTE,
        evaluations=[
            {
                "record": evaluation,
                "rows": reading_order([evaluation]),
                "described": tables.described(evaluation),
                "notes": tables.notes(evaluation),
                "settings": tables.settings(evaluation),
            }
            for evaluation in evaluations
        ],
        verifications=[
            {
                "title": _verdicts_title(verification),
                "described": caption(verification),
                "sheets": verification_tables.sheets(verification),
                "remarks": verification_tables.remarks(verification),
            }
            for verification in verifications
        ],
        figures={name: embedded(render(figure, "svg")) for name, figure in make_figures(records).items()},
        alts={"bounds": _bounds_in_words(evaluations), "layers": _layers_in_words(evaluations)}
        | {"verdicts": _verdicts_in_words(verifications), "scatter": _scatter_in_words(verifications)}
        | {"surrogates": _surrogates_in_words(verifications), "attack-images": _images_in_words(verifications)},
    )


def write_report(records: Sequence[Record], path: str | os.PathLike[str]) -> Path:
    """Write the report in one step; an interruption leaves the old file or none.

    Args:
        records: evaluation and verification records, in any order.
        path: the HTML file; its folder is made if missing.

    Returns:
        The path written.

    Raises:
        InputError: a record is of no known kind, or damaged.
    """
    target = Path(path)
    write_bytes(target, report(records).encode())
    return target


def template_environment() -> jinja2.Environment:
    """The templates of all reports; whatever a record says is escaped."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embedded(image: bytes) -> dict[str, Any]:
    """An SVG image as a data address, with its natural width in CSS pixels."""
    width = image.split(b'width="', 1)[1].split(b"pt", 1)[0]
    return {
        "address": "data:image/svg+xml;base64," + base64.b64encode(image).decode(),
        "width": round(float(width) * 96 / 72),
    }


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
    return "Share of each layer in each bound: " + ("; ".join(parts) or "no bound with a per-layer form applies") + "."


def _verdicts_title(verification: Record) -> str:
    return f"{verification['model']['name']}, {', '.join(map(norm_title, by_norm(verification)))} verdicts"


def _last_radii(verifications: Sequence[Record]) -> Iterator[tuple[str, Record]]:
    """Model, attack set and radius in words, and the result, at the largest radius of every record and norm."""
    for record in verifications:
        for results in by_norm(record).values():
            yield _at(record, results[-1]), results[-1]


def _at(record: Record, result: Record) -> str:
    return f"{record['model']['name']}, {set_title(result['norm'], record['settings']['box'])}, ε = {result['eps']:.4g}"


def _shares(result: Record) -> str:
    return ", ".join(
        f"{surrogate_title(name)} {numbers.percent(s['proved']['share'])} proved and "
        f"{numbers.percent(s['refuted']['share'])} refuted"
        for name, s in result["surrogates"].items()
    )


def _verdicts_in_words(verifications: Sequence[Record]) -> str:
    parts = [f"{place}: {_shares(result)}" for place, result in _last_radii(verifications)]
    return "Shares of proved, undecided and refuted samples against ε; at its largest: " + "; ".join(parts) + "."


def _scatter_in_words(verifications: Sequence[Record]) -> str:
    chosen = [(record, most_mixed(record)) for record in verifications if record["results"]]
    parts = [f"{_at(record, result)}: {_shares(result)}" for record, result in chosen]
    return "Surrogate of each sample against the bracket of its robust loss. " + "; ".join(parts) + "."


def _surrogates_in_words(verifications: Sequence[Record]) -> str:
    parts = []
    for place, result in _last_radii(verifications):
        means = {"robust loss at least": result["attack_loss"], "robust loss at most": result["upper_loss"]}
        means |= {surrogate_title(name): s["mean"] for name, s in result["surrogates"].items()}
        known = sorted((mean, name) for name, mean in means.items() if mean is not None)
        parts.append(f"{place}: " + ", ".join(f"{name} {numbers.decimal(mean)}" for mean, name in known))
    return "Mean robust loss and surrogates in nats. " + "; ".join(parts) + "."


def _images_in_words(verifications: Sequence[Record]) -> str:
    parts = []
    for record in verifications:
        for example in record["examples"]:
            s, attack = numbers.decimal(example["surrogate_loss"]), numbers.decimal(example["attack_loss"])
            sample = f"{record['model']['name']}, sample {example['position']}"
            said = f"{example['label']} becomes {example['predicted']}"
            parts.append(f"{sample}: {said}, {surrogate_title(example['surrogate'])} {s} below {attack}")
    return "Refuted samples: input, perturbation, perturbed input. " + "; ".join(parts) + "."
