"""What all figures and tables need of the records: kinds, rows in reading order, names to show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bounds.errors import InputError
from bounds.records import VERSIONS

Record = Mapping[str, Any]

TARGETS = {
    "risk": "Risk",
    "robust risk": "Robust risk",
    "surrogate": "Expected surrogate loss",
    "robust loss": "Robust loss",
}
PARTS = {
    "jacobound-evaluation": ("model", "data", "settings", "layers", "rows"),
    "jacobound-verification": ("model", "data", "settings", "notes", "results", "dominance", "examples"),
    "jacobound-reproduction": (
        "paper", "preset", "command", "versions", "seeds", "seconds", "workers", "cuts", "not_reproduced", "nets",
        "claims", "charts", "tables",
    ),
}  # fmt: skip
CLAIM_PARTS = (
    "key", "statement", "source", "quantity", "values", "mean", "interval", "direction", "threshold", "verdict",
    "conditions", "remark",
)  # fmt: skip
CHART_PARTS = ("name", "what", "caption", "share_y", "panels")
TABLE_PARTS = ("name", "caption", "columns", "rows")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RESULT_PARTS = (
    "norm", "eps", "samples", "failed", "clean_loss", "accuracy", "attack_loss", "upper_loss", "attacked_accuracy",
    "certified_accuracy", "robust_risk_bound", "surrogates", "values", "witnesses",
)  # fmt: skip
NORMS = {"l1": "ℓ1", "l2": "ℓ2", "linf": "ℓ∞"}


def of_format(records: Iterable[Record], kind: str) -> list[Record]:
    """The records of one kind ("evaluation", "verification"), in order.

    Raises:
        InputError: a record is of no known kind.

    >>> of_format([{"format": "jacobound-verification"}], "evaluation")
    []
    """
    chosen = []
    for record in records:
        if record.get("format") not in VERSIONS:
            known = ", ".join(name.removeprefix("jacobound-") for name in VERSIONS)
            raise InputError(f"a record of format {record.get('format')!r}: expected one of {known}")
        if record["format"] == f"jacobound-{kind}":
            chosen.append(record)
    return chosen


def check_record(record: Record, name: str) -> Record:
    """The record itself, if it holds what figures and tables read.

    Args:
        record: of a known format.
        name: of its file, for the message.

    Raises:
        InputError: naming what it lacks.

    >>> record = {"format": "jacobound-evaluation", "model": {}, "data": {}, "settings": {}, "layers": []}
    >>> check_record(record, "r.json")
    Traceback (most recent call last):
        ...
    bounds.errors.InputError: r.json: a damaged record: it lacks rows
    """
    lacking = [key for key in PARTS.get(record["format"], ()) if key not in record]
    if not lacking and record["format"] == "jacobound-verification":
        lacking = [key for key in RESULT_PARTS if any(key not in result for result in record["results"])]
    if not lacking and record["format"] == "jacobound-reproduction":
        lacking = _lacking_of_reproduction(record, name)
    if lacking:
        raise InputError(f"{name}: a damaged record: it lacks {', '.join(lacking)}")
    return record


def _lacking_of_reproduction(record: Record, name: str) -> list[str]:
    """What claims, charts and tables lack; names that are no file names are refused, as files are named after them."""
    parts = {
        "claims": CLAIM_PARTS,
        "charts": CHART_PARTS,
        "tables": TABLE_PARTS,
        "paper": ("key", "title", "reference"),
    }
    held = {kind: [record["paper"]] if kind == "paper" else record[kind] for kind in parts}
    lacking = [key for kind, keys in parts.items() for key in keys if any(key not in each for each in held[kind])]
    names = [] if lacking else [record["paper"]["key"], record["preset"]]
    names += [] if lacking else [each["name"] for kind in ("charts", "tables") for each in record[kind]]
    for bad in names:
        if not FILE_NAME.fullmatch(str(bad)):
            raise InputError(f"{name}: a damaged record: {bad!r} cannot be part of a file name")
    return lacking


def student_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and Student's two-sided 95 % interval of the mean, of one number per seed; one number gives itself.

    >>> [round(number, 3) for number in student_interval([1.0, 2.0, 3.0])], student_interval([4.0])
    ([2.0, -0.484, 4.484], (4.0, 4.0, 4.0))
    """
    from scipy.special import stdtrit

    mean, n = math.fsum(values) / len(values), len(values)
    if n == 1:
        return mean, mean, mean
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stdtrit(n - 1, 0.975)) * deviation / math.sqrt(n)
    return mean, mean - half, mean + half


def seed_list(seeds: Sequence[int]) -> str:
    """Seeds in few characters.

    >>> seed_list([0, 1, 2, 3]), seed_list([0, 7, 8]), seed_list([5])
    ('0–3', '0, 7, 8', '5')
    """
    run = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))) if seeds else False
    return f"{seeds[0]}–{seeds[-1]}" if run and len(seeds) > 1 else ", ".join(map(str, seeds))


def row_key(row: Record) -> tuple[str, str, str]:
    """What identifies a row across models: target, bound, variant."""
    return row["target"], row["bound"], row["variant"]


def row_name(row: Record, by: str = "title") -> str:
    """Title (or key, `by="bound"`) and variant of a row.

    >>> row_name({"title": "Parametric cover", "variant": "adversarial"})
    'Parametric cover, adversarial'
    >>> row_name({"bound": "holdout_binomial", "variant": ""}, "bound")
    'holdout_binomial'
    """
    return f"{row[by]}, {row['variant']}" if row["variant"] else str(row[by])


def reading_order(evaluations: Sequence[Record]) -> list[Record]:
    """One row per key over all evaluations, grouped by target, otherwise in the order of the records."""
    first: dict[tuple[str, str, str], Record] = {}
    for evaluation in evaluations:
        for row in evaluation["rows"]:
            first.setdefault(row_key(row), row)
    targets = [*TARGETS, *dict.fromkeys(row["target"] for row in first.values())]
    return sorted(first.values(), key=lambda row: targets.index(row["target"]))


def titles_once(rows: Sequence[Record | str | None]) -> list[str]:
    """Titles of rows with repeats left blank, so that variants of one bound read as one block.

    >>> titles_once([{"title": "A"}, {"title": "A"}, None, {"title": "A"}])
    ['A', '', '', 'A']
    """
    titles = [row["title"] if isinstance(row, Mapping) else "" for row in rows]
    return [title if k == 0 or title != titles[k - 1] else "" for k, title in enumerate(titles)]


def target_title(target: str) -> str:
    """Name of a target as a heading.

    >>> target_title("robust risk")
    'Robust risk'
    """
    return TARGETS.get(target, target.capitalize())


def surrogate_title(name: str) -> str:
    """Name of a surrogate in running text.

    >>> surrogate_title("margin_jacobian"), surrogate_title("entrywise_l1")
    ('margin Jacobian', 'entrywise ℓ1')
    """
    known = {"jacobian": "Jacobian", "frobenius": "Frobenius", "l1": "ℓ1", "l2": "ℓ2", "linf": "ℓ∞"}
    return " ".join(known.get(word, word) for word in name.replace("-", "_").split("_"))


def norm_title(norm: str) -> str:
    """Name of a norm as written in the field.

    >>> norm_title("linf")
    'ℓ∞'
    """
    return NORMS.get(norm, norm)


def set_title(norm: str, box: Sequence[float] | None) -> str:
    """Name of an attack set of any radius.

    >>> set_title("l2", [0, 1]), set_title("linf", None)
    ('ℓ2 ball ∩ [0, 1] box', 'ℓ∞ ball')
    """
    ball = f"{norm_title(norm)} ball"
    return ball if box is None else f"{ball} ∩ [{box[0]:g}, {box[1]:g}] box"
