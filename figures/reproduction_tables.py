"""What a reproduction found, as tables for the terminal, for Markdown and for a paper: claims, results, networks."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from figures.latex import escape
from figures.numbers import MINUS, MISSING, count, decimal
from figures.rows import Record, seed_list, student_interval
from figures.tables import as_sentence, markdown_escape, markdown_row

if TYPE_CHECKING:
    from rich.console import RenderableType

VERDICTS = ("supported", "inconclusive", "contradicted")
CLAIM_HEADINGS = ("Claim", "Quantity", "Mean [95 % interval]", "Supported if", "Seeds", "Verdict")
INTERVAL_NOTE = (
    "Interval: Student's two-sided 95 % interval of the mean over seeds. Supported, contradicted: the whole interval "
    "lies on the claimed side of the threshold, or on the other. Inconclusive: neither."
)
_SYMBOLS = {
    "±": r"$\pm$", "≈": r"$\approx$", "≠": r"$\neq$", "∈": r"$\in$", "∇": r"$\nabla$", "∂": r"$\partial$",
    "∼": r"$\sim$", "∘": r"$\circ$", "⟨": r"$\langle$", "⟩": r"$\rangle$", "⌈": r"$\lceil$", "⌉": r"$\rceil$",
    "⌊": r"$\lfloor$", "⌋": r"$\rfloor$", "κ": r"$\kappa$", "μ": r"$\mu$", "π": r"$\pi$", "τ": r"$\tau$",
    "φ": r"$\varphi$", "ψ": r"$\psi$", "ω": r"$\omega$", "Δ": r"$\Delta$", "Φ": r"$\Phi$", "Ω": r"$\Omega$",
    "Λ": r"$\Lambda$", "Γ": r"$\Gamma$", "ζ": r"$\zeta$", "ξ": r"$\xi$", "∝": r"$\propto$", "∪": r"$\cup$",
    "≪": r"$\ll$", "≫": r"$\gg$", "⊂": r"$\subset$", "⇒": r"$\Rightarrow$", "∑": r"$\sum$", "∏": r"$\prod$",
    "½": r"$\frac{1}{2}$", "ᵀ": r"$^\top$", "§": r"\S{}", "•": r"$\bullet$", "ß": r"\ss{}", "∖": r"$\setminus$",
}  # fmt: skip


def tex(text: str) -> str:
    r"""Text as LaTeX, with more of mathematics than `figures.latex.escape`: scripts, relations, Greek letters.

    >>> print(tex("‖∇f‖₂ ≈ 5 ± 1 %"))
    $\|$$\nabla$f$\|$$_{2}$ $\approx$ 5 $\pm$ 1 \%
    """
    return "".join(map(_tex_character, " ".join(text.splitlines())))


def _tex_character(character: str) -> str:
    known = escape(character)
    if not known.startswith(r"\texttt{U+"):
        return known
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    kind, _, points = unicodedata.decomposition(character).partition(" ")
    sign = {"<sub>": "_", "<super>": "^"}.get(kind)
    base = "".join(chr(int(point, 16)) for point in points.split()) if sign else ""
    return f"${sign}{{{base}}}$" if base.isascii() and base.isalnum() else known


def plus_minus(values: Sequence[float]) -> str:
    """Mean and half width of its 95 % interval, with the digits that the interval leaves a meaning.

    >>> plus_minus([97.1, 97.4, 97.0]), plus_minus([3.1e-5, 2.9e-5]), plus_minus([0.5])
    ('97.17 ± 0.52', '(3.0 ± 1.3)e−5', '0.500')
    >>> plus_minus([-0.5, 0.49])  # not −0.0
    '0.0 ± 6.3'
    """
    mean, low, _ = student_interval(values)
    if len(values) == 1:
        return decimal(mean)
    decimals, power = _digits(mean, mean - low)
    mean, half = mean / 10**power, (mean - low) / 10**power
    text = f"{mean:z.{decimals}f} ± {half:.{decimals}f}"
    return (f"({text})e{power}" if power else text).replace("-", MINUS)


def with_interval(values: Sequence[float]) -> str:
    """Mean and its 95 % interval, with the digits that the interval leaves a meaning.

    >>> with_interval([1.0, 1.1, 0.9]), with_interval([-1e-6, -2e-6]), with_interval([2.0])
    ('1.00 [0.75, 1.25]', '−1.5e−6 [−7.9e−6, 4.9e−6]', '2.00')
    """
    mean, low, high = student_interval(values)
    if len(values) == 1:
        return decimal(mean)
    decimals, power = _digits(mean, mean - low)
    suffix = f"e{power}" if power else ""
    mean, low, high = (f"{number / 10**power:z.{decimals}f}{suffix}" for number in (mean, low, high))  # type: ignore[assignment]
    return f"{mean} [{low}, {high}]".replace("-", MINUS)


def _digits(mean: float, half: float) -> tuple[int, int]:
    """Decimals and power of ten: two digits of the half width, but no more than five of the mean."""
    size = max(abs(mean), half)
    if size == 0:
        return 0, 0
    power = math.floor(math.log10(size))
    power = power if power < -3 or power > 5 else 0
    leading = math.floor(math.log10(size)) - power
    wanted = 1 - (math.floor(math.log10(half)) - power) if half > 1e-12 * size else 3 - leading
    return max(0, min(wanted, 4 - leading)), power


def supported_if(claim: Record) -> str:
    """Where the mean must lie for a claim to hold.

    >>> supported_if({"direction": "below", "threshold": 0.5})
    'below 0.5'
    """
    sign = "±" if claim["direction"] == "within" else ""
    return f"{claim['direction']} {sign}{claim['threshold']:g}".replace("-", MINUS)


def verdict_counts(record: Record) -> str:
    """How many claims met which verdict.

    >>> verdict_counts({"claims": [{"verdict": "supported"}, {"verdict": "inconclusive"}]})
    '2 claims: 1 supported, 1 inconclusive, 0 contradicted'
    """
    number = len(record["claims"])
    counted = (f"{count} {verdict}" for verdict, count in verdict_numbers(record))
    return f"{number} claim{'s' * (number != 1)}: {', '.join(counted)}"


def claim_notes(claim: Record) -> list[str]:
    """Source, conditions and remark of a claim, those that there are.

    >>> claim_notes({"source": "own", "conditions": "MNIST", "remark": ""})
    ['Own statement.', 'MNIST.']
    """
    source = "own statement" if claim["source"] == "own" else claim["source"]
    return [as_sentence(part) for part in (source, claim["conditions"], claim["remark"]) if part]


def verdict_numbers(record: Record) -> list[tuple[str, int]]:
    """Every verdict, and how many claims met it.

    >>> verdict_numbers({"claims": [{"verdict": "contradicted"}]})
    [('supported', 0), ('inconclusive', 0), ('contradicted', 1)]
    """
    return [(verdict, sum(claim["verdict"] == verdict for claim in record["claims"])) for verdict in VERDICTS]


def title(record: Record) -> str:
    """The heading of a report."""
    return f"Reproduction of {record['paper']['title']}"


def settings(record: Record) -> list[tuple[str, str]]:
    """What the numbers of a reproduction rest on, as pairs of name and value."""
    minutes, seconds = divmod(round(record["seconds"]), 60)
    took = f"{minutes} min {seconds} s on {record['workers']} process{'es' * (record['workers'] != 1)}"
    return [
        ("preset", record["preset"]),
        (f"seed{'s' * (len(record['seeds']) != 1)}", seed_list(record["seeds"])),
        ("took", took),
        *((name, version) for name, version in record["versions"].items()),
    ]


def capital(text: str) -> str:
    """A text with a capital at its beginning.

    >>> capital("losses of the CNN")
    'Losses of the CNN'
    """
    return text[:1].upper() + text[1:]


def terminal(record: Record) -> RenderableType:
    """The claims and their verdicts, for `rich.console.Console.print`."""
    return claim_sheet(record).terminal()


def markdown(record: Record) -> str:
    """The claims and their verdicts as GitHub-flavoured Markdown."""
    return claim_sheet(record).markdown()


def latex(record: Record) -> str:
    """The claims and their verdicts as LaTeX for a document that loads booktabs and longtable."""
    return claim_sheet(record).latex()


@dataclass(frozen=True)
class Sheet:
    """A table of texts.

    Attributes:
        caption: what it shows.
        headings: of the columns.
        rows: of cells, as many as there are headings.
        left: of each column, whether it holds texts (aligned left, and broken where they are long) or numbers.
        remarks: what must be said below.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[bool, ...]
    remarks: tuple[str, ...] = ()

    def terminal(self) -> RenderableType:
        """The table for `rich.console.Console.print`."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1), expand=False)
        for heading, left in zip(self.headings, self.left, strict=True):
            table.add_column(Text(heading), justify="left" if left else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return Group(table, *(Text(f"\n{remark}", style="dim") for remark in (self.caption, *self.remarks) if remark))

    def markdown(self) -> str:
        """The table as GitHub-flavoured Markdown, caption first."""
        lines = [markdown_escape(self.caption), "", markdown_row(self.headings)]
        lines.append("|" + "|".join("---" if left else "---:" for left in self.left) + "|")
        lines += map(markdown_row, self.rows)
        lines += ["", *(f"- {markdown_escape(remark)}" for remark in self.remarks)] if self.remarks else []
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """The table as a longtable of a document that loads booktabs and longtable."""
        lines = [
            r"% needs \usepackage{booktabs,longtable}",
            r"{\footnotesize",
            rf"\begin{{longtable}}{{@{{}}{self._columns()}@{{}}}}",
            rf"\caption{{{tex(self.caption)}}}\\",
            r"\toprule",
            " & ".join(map(tex, self.headings)) + r" \\",
            r"\midrule",
            r"\endhead",
        ]
        lines += [" & ".join(map(tex, row)) + r" \\" for row in self.rows]
        lines += [r"\bottomrule", r"\end{longtable}}"]
        lines += ["", rf"\noindent {tex(' '.join(self.remarks))}"] if self.remarks else []
        return "\n".join(lines) + "\n"

    def _columns(self) -> str:
        """Columns of long texts share the line by how much they hold, the others are as wide as they need."""
        lengths = [max(map(len, (heading, *(row[k] for row in self.rows)))) for k, heading in enumerate(self.headings)]
        long = [left and length > 24 for left, length in zip(self.left, lengths, strict=True)]
        room = max(
            0.3, 0.96 - 0.0125 * sum(length + 2 for length, is_long in zip(lengths, long, strict=True) if not is_long)
        )
        weights = [math.sqrt(length) for length, is_long in zip(lengths, long, strict=True) if is_long]
        shares = iter([room * weight / sum(weights) for weight in weights])
        kinds = zip(self.left, long, strict=True)
        return "".join(
            rf"p{{{next(shares):.2f}\linewidth}}" if is_long else "l" if left else "r" for left, is_long in kinds
        )


def sheets(record: Record) -> dict[str, Sheet]:
    """All tables of a reproduction for papers, by name: its claims and its results."""
    found = {table["name"]: result_sheet(table) for table in record["tables"]}
    return found | ({"claims": claim_sheet(record)} if record["claims"] else {})


def claim_sheet(record: Record) -> Sheet:
    """Claims with what was measured of them, and their verdicts.

    Args:
        record: a record of format "jacobound-reproduction".
    """
    rows = [
        (
            claim["statement"], claim["quantity"], with_interval(claim["values"]), supported_if(claim),
            str(len(claim["values"])), claim["verdict"],
        )
        for claim in record["claims"]
    ]  # fmt: skip
    paper = record["paper"]
    return Sheet(
        f"Claims of {paper['reference']} ({paper['title']}), preset {record['preset']}. {verdict_counts(record)}.",
        CLAIM_HEADINGS,
        tuple(rows),
        (True, True, True, True, False, True),
        (INTERVAL_NOTE,),
    )


def result_sheet(table: Record) -> Sheet:
    """A table of results; a cell is a text, mean ± half width of the 95 % interval over seeds, or a dash.

    >>> rows = [["plain", [1.0, 1.2]], ["l1", None]]
    >>> result_sheet({"name": "t", "caption": "C.", "columns": ["method", "loss"], "rows": rows}).rows
    (('plain', '1.1 ± 1.3'), ('l1', '–'))
    """
    rows = tuple(tuple(map(_cell, row)) for row in table["rows"])
    left = tuple(k == 0 or any(isinstance(row[k], str) for row in table["rows"]) for k in range(len(table["columns"])))
    several = any(isinstance(cell, list) and len(cell) > 1 for row in table["rows"] for cell in row)
    remarks = ("±: half of Student's 95 % interval of the mean over seeds.",) if several else ()
    return Sheet(table["caption"], tuple(table["columns"]), rows, left, remarks)


def _cell(cell: Any) -> str:
    if cell is None or cell == []:
        return MISSING
    return cell if isinstance(cell, str) else plus_minus(cell)


def net_sheet(record: Record) -> Sheet:
    """Every trained network, failed ones with the reason.

    Args:
        record: a record of format "jacobound-reproduction".
    """
    names = tuple(dict.fromkeys(name for net in record["nets"] for name in net["labels"]))
    headings = ("seed", "parameters", "accuracy", "test accuracy", "epochs", "s per epoch", "peak MiB", "failed")
    rows = [
        (
            *(_label(net["labels"].get(name)) for name in names), str(net["seed"]), _count(net["parameters"]),
            decimal(net["accuracy"], 4), decimal(net["test_accuracy"], 4), _count(net["epochs"]),
            decimal(net["seconds_per_epoch"]), decimal(net["peak_memory"]), net["failed"] or MISSING,
        )
        for net in record["nets"]
    ]  # fmt: skip
    left = (*(True for _ in names), *(False for _ in headings[:-1]), True)
    return Sheet(net_summary(record), (*names, *headings), tuple(rows), left)


def _count(number: int | None) -> str:
    return MISSING if number is None else count(number)


def _label(value: Any) -> str:
    if value is None:
        return MISSING
    return f"{value:g}" if isinstance(value, float) else str(value)


def net_summary(record: Record) -> str:
    """One sentence about the trained networks.

    >>> net = {"parameters": 650, "test_accuracy": 0.97, "failed": None}
    >>> net_summary({"nets": [net, net | {"test_accuracy": 0.95}]})
    '2 networks, none failed; 650 parameters; test accuracy 0.950 to 0.970.'
    """
    nets = record["nets"]
    if not nets:
        return "No networks were trained."
    failed = sum(net["failed"] is not None for net in nets)
    sizes, accuracies = (
        sorted({net[key] for net in nets if net[key] is not None}) for key in ("parameters", "test_accuracy")
    )
    said = [f"{len(nets)} network{'s' * (len(nets) != 1)}, {failed or 'none'} failed"]
    said += [f"{_range([count(size) for size in sizes])} parameters"] if sizes else []
    said += [f"test accuracy {_range([decimal(accuracy) for accuracy in accuracies])}"] if accuracies else []
    return "; ".join(said) + "."


def _range(sorted_texts: Sequence[str]) -> str:
    first, last = sorted_texts[0], sorted_texts[-1]
    return first if first == last else f"{first} to {last}"
