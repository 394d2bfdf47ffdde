"""A verification record as tables: verdicts, robust accuracy and dominance; for the terminal, Markdown, LaTeX, HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from figures.latex import escape
from figures.numbers import count, decimal, percent
from figures.rows import Record, norm_title, set_title, surrogate_title
from figures.tables import as_sentence, markdown_escape, markdown_row
from figures.verifications import NOT_CLAIMED, by_norm, caption

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

NORM, SURROGATE = "Norm", "Surrogate S"
DECISIONS = ("proved", "refuted", "undecided")
NOTE = (
    "Proved: a certificate shows robust loss ≤ surrogate. Refuted: an attack found a larger loss. Shares of all "
    "samples, with 95 % Clopper–Pearson intervals. Losses in nats, ε in input units; A ≤ robust loss ≤ U."
)
UNCLAIMED = f"* {NOT_CLAIMED}."


@dataclass(frozen=True)
class Sheet:
    """One table of texts.

    Attributes:
        title: what it is about.
        headings: of the columns; a line break is where a heading may break.
        shared: how many of the first columns are written once per group of rows that agree in them.
        rows: the cells, all of them.
    """

    title: str
    headings: tuple[str, ...]
    shared: int
    rows: tuple[tuple[str, ...], ...]

    @property
    def left(self) -> tuple[bool, ...]:
        """Which columns hold text, aligned left; the others hold numbers."""
        return tuple(heading in {NORM, SURROGATE} for heading in self.headings)

    def lines(self) -> Iterator[tuple[bool, Sequence[str]]]:
        """Whether a row begins a group, and its cells with those left blank that the group shares."""
        above: Sequence[str] | None = None
        for row in self.rows:
            first = above is None or row[: self.shared] != above[: self.shared]
            yield first, row if first else ("",) * self.shared + row[self.shared :]
            above = row


def sheets(record: Record) -> list[Sheet]:
    """All tables of a verification record: the verdicts of each norm, robust accuracy and risk, dominance.

    Args:
        record: a verification record.
    """
    box = record["settings"]["box"]
    groups = by_norm(record)
    verdicts = [_verdicts(set_title(norm, box), results) for norm, results in groups.items()]
    robust = _robustness([result for results in groups.values() for result in results])
    return [*verdicts, robust, _dominance(record)]


def _verdicts(title: str, results: Sequence[Record]) -> Sheet:
    rows = []
    for result in results:
        losses = [f"{result['eps']:.4g}", decimal(result["attack_loss"]), decimal(result["upper_loss"])]
        for name, surrogate in result["surrogates"].items():
            star = "" if surrogate["claimed"] else "*"
            shares = [_with_interval(surrogate[verdict]) for verdict in DECISIONS]
            rows.append((*losses, surrogate_title(name) + star, decimal(surrogate["mean"]), *shares))
    headings = ("ε", "mean A\n(attack)", "mean U\n(certified)", SURROGATE, "mean S", *DECISIONS)
    return Sheet(f"Is the robust loss at most the surrogate? {title}", headings, shared=3, rows=tuple(rows))


def _with_interval(counted: Mapping[str, Any]) -> str:
    low, high = (f"{100 * end:.1f}" for end in counted["interval"])
    return f"{percent(counted['share'], 1)} [{low}, {high}]"


def _robustness(results: Sequence[Record]) -> Sheet:
    rows = tuple(
        (
            norm_title(result["norm"]),
            f"{result['eps']:.4g}",
            decimal(result["clean_loss"]),
            percent(result["accuracy"], 1),
            percent(result["certified_accuracy"], 1),
            percent(result["attacked_accuracy"], 1),
            decimal(result["robust_risk_bound"]),
            count(len(result["failed"])),
        )
        for result in results
    )
    headings = (NORM, "ε", "clean\nloss", "clean\naccuracy", "robust accuracy\n≥ (certified)", "≤ (attack)",
                "robust risk\n≤ (hold-out)", "failed\nsamples")  # fmt: skip
    return Sheet("Robust accuracy and risk", headings, shared=1, rows=rows)


def _dominance(record: Record) -> Sheet:
    rows = []
    for norm, surrogates in record["dominance"].items():
        claimed = {name: s["claimed"] for result in by_norm(record)[norm] for name, s in result["surrogates"].items()}
        for name, largest in surrogates.items():
            ends = ("none" if eps is None else f"{eps:.4g}" for eps in (largest["proved"], largest["not_refuted"]))
            rows.append((norm_title(norm), surrogate_title(name) + ("" if claimed[name] else "*"), *ends))
    headings = (NORM, SURROGATE, "at least 99 %\nproved", "at most 1 %\nrefuted so far")
    return Sheet("Largest ε at which the surrogate dominates", headings, shared=1, rows=tuple(rows))


def described(record: Record) -> str:
    """One line about model, data, attack set and settings."""
    return f"{record['model']['name']}: {caption(record)}"


def remarks(record: Record) -> list[str]:
    """What must be said below the tables: what they mean, what is not claimed, failed samples, the record's notes."""
    said = [NOTE]
    claims = [s["claimed"] for result in record["results"] for s in result["surrogates"].values()]
    if not all(claims):
        said.append(UNCLAIMED)
    if record["results"]:
        confidence = 1 - record["settings"]["delta"]
        said.append(
            f"The bounds of the robust risk hold together with probability {confidence:.4g}; every sample without a "
            "certificate counts as an error."
        )
    failed = sorted({position for result in record["results"] for position in result["failed"]})
    if failed:
        places = ", ".join(map(str, failed[:10])) + ("…" if len(failed) > 10 else "")
        said.append(f"{count(len(failed))} of {count(record['data']['samples'])} samples failed (positions {places}).")
    return said + [as_sentence(note) for note in record["notes"]]


def terminal(record: Record) -> RenderableType:
    """A record for `rich.console.Console.print`: tables where they fit, else one paragraph per row; nothing is cut.

    Args:
        record: a verification record.
    """
    return _Terminal(record)


@dataclass(frozen=True)
class _Terminal:
    record: Record

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.measure import Measurement
        from rich.padding import Padding
        from rich.text import Text

        yield Text(described(self.record))
        for sheet in sheets(self.record):
            table = _as_table(sheet)
            yield Text(f"\n{sheet.title}", style="bold")
            if Measurement.get(console, options.update(max_width=10_000), table).maximum <= options.max_width:
                yield table
                continue
            for first, cells in sheet.lines():
                if first:
                    yield Text(_in_words(sheet.headings[: sheet.shared], cells[: sheet.shared]))
                words = _in_words(sheet.headings[sheet.shared :], cells[sheet.shared :])
                yield Padding(Text(words), (0, 0, 0, 2))
        for remark in remarks(self.record):
            yield Text(f"\n{remark}", style="dim")


def _as_table(sheet: Sheet) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    for heading, left in zip(_two_lines(sheet.headings), sheet.left, strict=True):
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for number, (first, cells) in enumerate(sheet.lines()):
        if first and number and sheet.shared > 1:
            table.add_row()
        table.add_row(*map(Text, cells))
    return table


def _two_lines(headings: Sequence[str]) -> list[str]:
    """Headings of one line moved down to stand next to the cells."""
    return [heading if "\n" in heading else f"\n{heading}" for heading in headings]


def _in_words(headings: Sequence[str], cells: Sequence[str]) -> str:
    return ", ".join(f"{_flat(heading)}: {cell}" for heading, cell in zip(headings, cells, strict=True))


def _flat(heading: str) -> str:
    return heading.replace("\n", " ")


def markdown(record: Record) -> str:
    """The tables as Markdown, with the remarks as a list below them.

    Args:
        record: a verification record.

    Returns:
        GitHub-flavoured Markdown that ends in a newline.
    """
    lines = [markdown_escape(described(record))]
    for sheet in sheets(record):
        ruler = "".join("---|" if left else "---:|" for left in sheet.left)
        lines += ["", f"**{markdown_escape(sheet.title)}**", "", markdown_row(list(map(_flat, sheet.headings)))]
        lines += [f"|{ruler}", *(markdown_row(cells) for _, cells in sheet.lines())]
    return "\n".join([*lines, "", *(f"- {markdown_escape(remark)}" for remark in remarks(record)), ""])


def latex(record: Record) -> str:
    """The tables as LaTeX fragments for a document that loads the package booktabs.

    Args:
        record: a verification record.

    Returns:
        One `table` environment per table and a paragraph of remarks, in plain ASCII, for any LaTeX engine.
    """
    lines = [r"% needs \usepackage{booktabs}"]
    for sheet in sheets(record):
        columns = "".join("l" if left else "r" for left in sheet.left)
        lines += [
            r"\begin{table}",
            r"\centering\footnotesize",
            rf"\caption{{{escape(sheet.title)}. {escape(described(record))}.}}",
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            " & ".join(escape(_flat(heading)) for heading in sheet.headings) + r" \\",
        ]
        for first, cells in sheet.lines():
            lines += [r"\midrule"] * first + [" & ".join(map(escape, cells)) + r" \\"]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join([*lines, rf"\noindent {escape(' '.join(remarks(record)))}"]) + "\n"
