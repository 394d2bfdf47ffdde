"""Generates the documentation from the objects: a page per bound, an index, the surrogates and certificates.

Run with `make docs`; the pages are committed, and a test checks that they are up to date.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from bounds import catalogue, records
from bounds.catalogue.describe import to_markdown
from bounds.catalogue.entry import Bound, Entry
from bounds.network.checks import DIRECTIONS, MISMATCH
from figures import inequality_tables, reproduction_tables
from figures.chart_figure import chart_caption
from verification.attack_set import NORMS
from verification.certify.certifier import ROUTES
from verification.certify.routes import RATE, SECONDS
from verification.surrogates import SURROGATES

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parent / "results"


def pages() -> dict[str, str]:
    """Page texts by path under docs/."""
    bounds = {f"bounds/{name}": text for name, text in bound_pages().items()}
    own = {"verification.md": verification_page(), "inequalities.md": inequalities_page()}
    return bounds | own | paper_pages()


def paper_pages() -> dict[str, str]:
    """What the reproductions found, a page per committed record and an index."""
    found = {path.parent.name: records.read(path) for path in sorted(RESULTS.glob("*/record.json"))}
    index = ["# Reproduced papers", "", "| paper | preset | seeds | claims |", "|---|---|---|---|"]
    for name, record in found.items():
        counts = reproduction_tables.verdict_counts(record)
        paper = f"[{record['paper']['title']}]({name}.md)"
        index.append(f"| {paper} | {record['preset']} | {len(record['seeds'])} | {counts} |")
    pages = {f"{name}.md": paper_page(name, record) for name, record in found.items()}
    pages["index.md"] = "\n".join(index) + "\n"
    return {f"papers/{name}": text for name, text in pages.items()}


def paper_page(name: str, record: dict[str, Any]) -> str:
    """One reproduction: how it was made, figures, claims, tables, cuts and what is missing."""
    where = f"results/{name}"
    lines = [f"# {record['paper']['title']}", "", record["paper"]["reference"], "", "```", record["command"], "```", ""]
    versions = ", ".join(f"{key} {version}" for key, version in record["versions"].items())
    lines += [f"Record, figures and report: [{where}](../../{where}). Made with {versions}.", ""]
    for chart in record["charts"]:
        picture = f"../../{where}/figures/{record['paper']['key']}-{chart['name']}.png"
        lines += [f"## {chart['what'].capitalize()}", "", f"![{chart['what']}]({picture})", ""]
        lines += [chart_caption(chart, record["seeds"]), ""]
    for title, key in (("What was made smaller", "cuts"), ("What could not be reproduced", "not_reproduced")):
        lines += [f"## {title}", "", *(f"- {sentence}" for sentence in record[key]), ""]
    tables = reproduction_tables.sheets(record)
    lines += ["## Claims", "", tables.pop("claims").markdown(), "### Conditions and remarks", ""]
    lines += [
        f"- {claim['statement']} {' '.join(reproduction_tables.claim_notes(claim))}" for claim in record["claims"]
    ]
    return "\n".join([*lines, "", "## Tables", "", *(sheet.markdown() for sheet in tables.values())])


def inequalities_page() -> str:
    """What the inequality laboratory found, from the committed record."""
    record = records.read(RESULTS / "inequalities.json")
    return (
        "# Inequalities under attack\n\n"
        "What [`jacobound falsify`](falsify.md) found about every inequality of the package, from\n"
        "[results/inequalities.json](../results/inequalities.json), made with\n\n"
        "```\njacobound falsify --json > results/inequalities.json\n```\n\n"
        f"{inequality_tables.markdown(record)}"
    )


def verification_page() -> str:
    """What `jacobound verify` compares, and how it certifies."""
    lines = [
        "# Verification",
        "",
        "For each sample, attack norm and radius ε the robust loss R = max ℓ(f(x+δ), y) over the attack set is",
        "enclosed, A ≤ R ≤ U: A is the best loss that attacks found, U a certificate. A surrogate S is **refuted** if",
        "A > S (the perturbation is kept), **proved** if U ≤ S, else **undecided**. All comparisons allow for float64",
        "rounding.",
        "The attack set is the ball of radius ε, cut with the box of valid inputs unless `--plain-ball` is given.",
        "",
        "## Surrogates",
        "",
        "S = ℓ(f(x), y) + ε·c·N(J(x)); *claimed* rows are at least R_lin, the robust loss of the linearised network.",
        "",
        "| surrogate | attack norms | c | claimed | N(J) and source |",
        "|---|---|---|---|---|",
    ]
    for row in SURROGATES.values():
        norms = "all" if row.norms == tuple(NORMS) else ", ".join(row.norms)
        claimed = "yes" if row.upper else "no"
        source = row.source.replace("|", "\\|")
        lines.append(f"| {row.name} | {norms} | {row.constant:.6g} | {claimed} | {source} |")
    lines += ["", "## Routes to a certificate", "", "| route | what it is |", "|---|---|"]
    lines += [f"| {route} | {meaning} |" for route, meaning in ROUTES.items()]
    return "\n".join(lines) + "\n" + verification_rules()


def verification_rules() -> str:
    """What is refused, and what is left out."""
    efforts = ", ".join(f"{seconds:g} s ({effort})" for effort, seconds in SECONDS.items())
    return f"""
## What certificates may take

Before it starts, every route is estimated from the shapes alone: bytes, and multiply-adds at an assumed rate of
{RATE:.0e} a second. What does not fit into the seconds per sample of the effort, {efforts}, or into
the memory (`--memory`, else a quarter of what is available) is left out and noted in the record. Interval arithmetic is
always there, the relaxation of the logits nearly always; hidden units are tightened where that is cheapest. Every
choice is sound. `--effort none` certifies nothing: attacks and refutations remain.

## What a network must be

- Deterministic, and each sample on its own: two runs, another batch and a single sample must agree.
- Differentiable as autograd says: where a network cannot be traced, {DIRECTIONS} random directional derivatives
  per sample are compared with finite differences; a difference of more than {MISMATCH:.1%} is refused.
- Returning logits: probabilities are refused unless `--strip-head` leaves out the softmax or sigmoid; a log-softmax
  is left out by itself, which changes neither losses nor margins; a single logit z is taken as (0, z).

Every loss that an attack saw is computed once more in a fresh forward pass before it is held against anything.
Verifications run on one thread, so that records do not depend on the number of threads.
"""


def bound_pages() -> dict[str, str]:
    """The catalogue's pages by file name."""
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
    for name, text in pages().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
