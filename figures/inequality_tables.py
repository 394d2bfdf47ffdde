"""What the inequality laboratory found, as a table for the terminal and for the appendix of a paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from figures.latex import escape
from figures.numbers import count
from figures.plain_math import plain
from figures.tables import markdown_escape, markdown_row

if TYPE_CHECKING:
    from rich.console import RenderableType

Record = dict[str, Any]
HEADINGS = ("Id", "Statement", "Source", "Instances", "Ratio", "Mutants", "Verdict")


def ratio(finding: Record) -> str:
    """The largest ratio reached; a star where equality is said to be reached.

    >>> ratio({"ratio": 0.99996, "attained": True}), ratio({"ratio": 0.0123, "attained": False})
    ('1.000*', '0.012')
    """
    value = finding["ratio"]
    if value is None:
        return "–"
    star = "*" if finding["attained"] else ""
    return f"{value:.3f}{star}" if value >= 0.001 else f"{value:.0e}"


def mutants(finding: Record) -> str:
    """How many of the mutants were refuted.

    >>> mutants({"mutants": {"half": True, "twice": False}}), mutants({"mutants": {}})
    ('1/2', '–')
    """
    found = finding["mutants"]
    return f"{sum(found.values())}/{len(found)}" if found else "–"


def totals(record: Record) -> str:
    """One sentence about all findings."""
    findings = record["findings"]
    held = sum(finding["verdict"] == "held" for finding in findings)
    killed = [refuted for finding in findings for refuted in finding["mutants"].values()]
    instances = sum(finding["instances"] for finding in findings)
    undecidable, settled = (sum(finding[key] for finding in findings) for key in ("undecidable", "settled"))
    mutated = f"{sum(killed)} of {len(killed)} mutants refuted" if killed else "no mutants were given"
    return (
        f"{len(findings)} {'inequality' if len(findings) == 1 else 'inequalities'}, {count(instances)} instances: "
        f"{held} held, {len(findings) - held} refuted; {mutated}. "
        f"Undecidable in float64: {undecidable}, of which {settled} were settled in 35 digits. Seed {record['seed']}."
    )


def remarks(record: Record) -> list[str]:
    """What must be said below the table."""
    findings = record["findings"]
    said = [
        totals(record),
        "Ratio: the largest left/right side reached, * where equality is attained. Held: no counterexample was found.",
    ]
    for finding in findings:
        survivors = [name for name, refuted in finding["mutants"].items() if not refuted]
        if survivors:
            said.append(f"{finding['id']}: with this budget, not refuted: {'; '.join(survivors)}.")
        if finding["attained"] and finding["verdict"] == "held" and (finding["ratio"] or 0) < 0.99:
            said.append(f"{finding['id']}: said to be attained, but this search did not come within 1 %.")
    left = [f["undecidable"] - f["settled"] for f in findings if f["verdict"] == "held"]
    if any(left):
        said.append(
            f"Equal within the rounding allowance, and not decided in 35 digits: {count(sum(left))} comparisons of "
            f"{sum(map(bool, left))} inequalities, whose sides are computed by code for float64 (torch, scipy)."
        )
    return said


def terminal(record: Record) -> RenderableType:
    """The table and what must be said about it, for `rich.console.Console.print`.

    Args:
        record: a record of format "jacobound-inequalities".
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1), expand=False)
    for heading in HEADINGS:
        number = heading in {"Instances", "Ratio", "Mutants"}
        table.add_column(heading, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for finding in record["findings"]:
        table.add_row(*map(Text, _cells(finding, plain(finding["statement"]))))
    return Group(table, *(Text(f"\n{remark}", style="dim") for remark in remarks(record)))


def _cells(finding: Record, statement: str) -> tuple[str, ...]:
    return (
        finding["id"],
        statement,
        finding["source"],
        str(finding["instances"]),
        ratio(finding),
        mutants(finding),
        finding["verdict"],
    )


def counterexamples(record: Record) -> str:
    """The programs of all refuted inequalities."""
    return "\n".join(finding["counterexample"] for finding in record["findings"] if finding["counterexample"])


def markdown(record: Record) -> str:
    """The table and the remarks as GitHub-flavoured Markdown.

    Args:
        record: a record of format "jacobound-inequalities".
    """
    lines = [markdown_row(HEADINGS), "|---|---|---|---:|---:|---:|---|"]
    for finding in record["findings"]:
        lines.append(markdown_row(_cells(finding, plain(finding["statement"]))))
    return "\n".join([*lines, "", *(f"- {markdown_escape(remark)}" for remark in remarks(record)), ""])


def latex(record: Record) -> str:
    """The table as LaTeX for an appendix that loads amsmath, amssymb, booktabs and longtable.

    Args:
        record: a record of format "jacobound-inequalities".

    Returns:
        A longtable and a paragraph of remarks.
    """
    lines = [
        r"% needs \usepackage{amsmath,amssymb,booktabs,longtable}",
        r"{\footnotesize",
        r"\begin{longtable}{@{}p{0.16\linewidth}p{0.36\linewidth}p{0.18\linewidth}rrrl@{}}",
        r"\caption{Inequalities under property-based attack.}\\",
        r"\toprule",
        " & ".join(HEADINGS) + r" \\",
        r"\midrule",
        r"\endhead",
    ]
    for finding in record["findings"]:
        identity, _, *rest = map(escape, _cells(finding, ""))
        # Long formulas may break, and long ids after their underscores and hyphens.
        identity = identity.replace(r"\_", r"\_\allowbreak{}").replace("-", r"-\allowbreak{}")
        lines.append(" & ".join([identity, rf"$\displaystyle {finding['statement']}$", *rest]) + r" \\")
    lines += [r"\bottomrule", r"\end{longtable}}", "", rf"\noindent {escape(' '.join(remarks(record)))}"]
    return "\n".join(lines) + "\n"
