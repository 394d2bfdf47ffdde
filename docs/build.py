"""Generates the documentation from the objects themselves: a page per bound, an index, the assumptions table.

Run with `make docs`; the pages are committed, and a test checks that they are up to date.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

from bounds import catalogue
from bounds.catalogue.describe import to_markdown
from bounds.catalogue.entry import Bound, Entry

FOLDER = Path(__file__).parent / "bounds"


def pages() -> dict[str, str]:
    """Page texts by file name."""
    entries = catalogue.entries()
    index = ["# The catalogue", "", "| key | bound | bounds | source |", "|---|---|---|---|"]
    for entry in entries:
        targets = ", ".join(dict.fromkeys(variant.target for variant in entry.variants))
        index.append(f"| [{entry.key}]({entry.key}.md) | {entry.title} | {targets} | {entry.reference.citation} |")
    index += ["", "## What each bound assumes", ""]
    for entry in entries:
        bounds = [variant for variant in entry.variants if isinstance(variant, Bound)]
        assumed = dict.fromkeys(a.statement for bound in bounds for a in bound.assumptions)
        index.append(f"- **{entry.key}**: {'; '.join(assumed) or 'samples that training never touched'}")
    return {"index.md": "\n".join(index) + "\n"} | {f"{entry.key}.md": page(entry) for entry in entries}


def page(entry: Entry) -> str:
    """One entry's page, with the example that its module's docstring works out on paper."""
    module = importlib.import_module(f"bounds.catalogue.{entry.key}")
    _, _, example = (inspect.getdoc(module) or "").partition("\n\n")
    prose, _, code = example.partition("\n\n")
    return f"{to_markdown(entry)}\n## Example\n\n{prose}\n\n```python\n{code.rstrip()}\n```\n"


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
