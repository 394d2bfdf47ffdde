"""An evaluation record as a table: terminal, Markdown or LaTeX; and the references that it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from figures.latex import escape, power_of_ten
from figures.numbers import MISSING, count, decimal, exponent
from figures.rows import Record, norm_title, reading_order, row_name, target_title

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

HEADINGS = (
    "Bound",
    "fixed class: log10 raw",
    "guaranteed",
    "a-posteriori: log10 raw",
    "guaranteed",
    "measured gap",
    "log10 ratio",
    "dominant layer",
)
NOTE = (
    "Raw: bound on the gap before capping. Guaranteed: bound on the risk, capped at the trivial value; in parentheses "
    "where it is vacuous. Each row holds with probability 1 − δ by itself."
)


def described(record: Record) -> str:
    """One line about model and data.

    >>> data = {"name": "digits", "n": 900, "m": 597, "input_shape": [1, 8, 8], "classes": 10}
    >>> described({"model": {"name": "mlp", "parameters": 650}, "data": data})
    'mlp, 650 parameters; digits, n = 900 training and m = 597 held-out samples of shape 1×8×8, 10 classes'
    """
    model, data = record["model"], record["data"]
    shape = "×".join(map(str, data["input_shape"]))
    sizes = f"n = {count(data['n'])} training and m = {count(data['m'])} held-out samples"
    parameters = f"{count(model['parameters'])} parameters"
    return f"{model['name']}, {parameters}; {data['name']}, {sizes} of shape {shape}, {data['classes']} classes"


def notes(record: Record) -> list[str]:
    """What a reader must know of all rows, in sentences; records of older versions have none.

    >>> notes({"notes": ["layers are not listed"]}), notes({})
    (['Layers are not listed.'], [])
    """
    return [as_sentence(note) for note in record.get("notes", [])]


def settings(record: Record) -> list[tuple[str, str]]:
    """What the numbers depend on, as pairs of name and value.

    >>> settings({"settings": {"delta": 0.05, "reference": "zero", "attack_set": None}})
    [('δ', '0.05'), ('reference M', 'zero'), ('attack set', 'none')]
    """
    names = {"delta": "δ", "eta": "η", "t0": "t⁰", "margin": "margin γ (fixed class)"}
    names |= {"reference": "reference M", "attack_set": "attack set"}
    return [(names.get(key, key), _setting(key, chosen)) for key, chosen in record["settings"].items()]


def _setting(key: str, chosen: Any) -> str:
    if chosen is None:
        return "none"
    if key == "attack_set":
        box = "" if chosen["box"] is None else f", inside the box [{chosen['box'][0]:g}, {chosen['box'][1]:g}]"
        return f"{norm_title(chosen['norm'])} ball, ε = {chosen['eps']:g} in input units{box}"
    return f"{chosen:g}" if isinstance(chosen, int | float) else str(chosen)


def sentence(row: Record) -> str:
    """What a row says in words: the record's sentence, or why the bound does not apply and what would help.

    >>> sentence({"status": "value", "sentence": "vacuous: the margin is too small"})
    'Vacuous: the margin is too small.'
    """
    return as_sentence(row["sentence"]) if row["status"] == "value" else f"Not applicable. {why_not(row)}"


def why_not(row: Record) -> str:
    """The assumptions that fail, why, and what would make each hold.

    >>> reason = {"assumption": "no biases", "because": "fc1 has one", "remedy": "use bias=False"}
    >>> why_not({"reasons": [reason]})
    'No biases: fc1 has one; use bias=False.'
    """
    return " ".join(as_sentence(f"{r['assumption']}: {r['because']}; {r['remedy']}") for r in row["reasons"])


def as_sentence(text: str) -> str:
    """A text that begins with a capital and ends in a full stop.

    >>> as_sentence("batch halved")
    'Batch halved.'
    """
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def raw_log10(part: Mapping[str, Any] | None) -> str:
    """log10 of a value before capping.

    >>> raw_log10({"raw_log10": 412.34}), raw_log10(None)
    ('412.3', '–')
    """
    return MISSING if part is None or part["raw_log10"] is None else exponent(part["raw_log10"])


def guaranteed(part: Mapping[str, Any] | None) -> str:
    """A guaranteed value, in parentheses when it is vacuous.

    >>> guaranteed({"guaranteed": 1.0, "vacuous": True}), guaranteed({"guaranteed": 0.0398, "vacuous": False})
    ('(1.00)', '0.0398')
    """
    if part is None:
        return MISSING
    return f"({decimal(part['guaranteed'])})" if part["vacuous"] else decimal(part["guaranteed"])


def cells(row: Record) -> list[str]:
    """The seven cells of an applicable row after its name, as in `HEADINGS`."""
    fixed, posterior = row["fixed_class"], row["a_posteriori"]
    return [
        raw_log10(fixed),
        guaranteed(fixed),
        raw_log10(posterior),
        guaranteed(posterior),
        decimal(row["gap"]["measured"]),
        MISSING if row["ratio_log10"] is None else exponent(row["ratio_log10"]),
        row["dominant_layer"] or MISSING,
    ]


@dataclass(frozen=True)
class Terminal:
    """A record for `rich.console.Console.print`: the table where it fits, else one paragraph per bound.

    Numbers are never cut. One sentence per bound and the settings stand below.

    Attributes:
        record: an evaluation record.
    """

    record: Record

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render for the width at hand."""
        from rich.measure import Measurement
        from rich.padding import Padding
        from rich.text import Text

        table = _numbers(self.record)
        width = Measurement.get(console, options.update(max_width=10_000), table).maximum
        yield Text(f"{described(self.record)}\n")
        if width <= options.max_width:
            yield table
            yield Text(f"\n{NOTE}\n", style="dim")
            yield _sentences(self.record)
        else:
            for row in reading_order([self.record]):
                yield Text(f"{row_name(row, 'bound')} ({row['target']})", style="bold")
                yield Padding(Text(_in_words(row)), (0, 0, 1, 2))
            yield Text(NOTE, style="dim")
        chosen = ", ".join(f"{name}: {setting}" for name, setting in settings(self.record))
        for note in notes(self.record):
            yield Text(f"\n{note}")
        yield Text(f"\n{chosen}", style="dim")


def _in_words(row: Record) -> str:
    if row["status"] != "value":
        return sentence(row)
    numbers = [f"{heading}: {cell}" for heading, cell in zip(HEADINGS[1:], cells(row), strict=True)]
    return f"{', '.join(number for number in numbers if not number.endswith(MISSING))}. {sentence(row)}"


def _numbers(record: Record) -> Table:
    from rich.table import Table
    from rich.text import Text

    words = [word for row in record["rows"] for word in row["variant"].split()]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    table.add_column("\nBound", no_wrap=True)
    table.add_column("\nVariant", style="dim", min_width=max(map(len, words), default=0))
    for heading in ("Fixed class\nlog10 raw", "\nguaranteed", "A-posteriori\nlog10 raw", "\nguaranteed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Measured\ngap", justify="right", no_wrap=True)
    table.add_column("log10\nratio", justify="right", no_wrap=True)
    table.add_column("Dominant\nlayer", no_wrap=True)
    target = None
    for row in reading_order([record]):
        if row["target"] != target:
            target = row["target"]
            table.add_row(Text(target_title(target), style="bold"))
        numbers = cells(row) if row["status"] == "value" else ["not\N{NO-BREAK SPACE}applicable"]
        table.add_row(Text(f"  {row['bound']}"), Text(row["variant"]), *map(Text, numbers))
    return table


def _sentences(record: Record) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="dim", ratio=2)
    table.add_column(overflow="fold", ratio=5)
    for row in reading_order([record]):
        table.add_row(Text(row_name(row, "bound")), Text(sentence(row)))
    return table


def markdown(record: Record) -> str:
    """The table as Markdown, with the sentences and the settings as lists below it.

    Args:
        record: an evaluation record.

    Returns:
        GitHub-flavoured Markdown that ends in a newline.
    """
    lines = [markdown_escape(described(record)), "", markdown_row(HEADINGS), "|---|" + "---:|" * 6 + "---|"]
    sentences = []
    target = None
    for row in reading_order([record]):
        if row["target"] != target:
            target = row["target"]
            lines.append(f"| **{markdown_escape(target_title(target))}** |" + " |" * 7)
        name = row_name(row)
        numbers = cells(row) if row["status"] == "value" else ["not applicable", *[""] * 6]
        lines.append(markdown_row([name, *numbers]))
        sentences.append(f"- {markdown_escape(f'{name}: {sentence(row)}')}")
    chosen = [f"- {markdown_escape(f'{name}: {setting}')}" for name, setting in settings(record)]
    said = [markdown_escape(note) for note in notes(record)]
    return "\n".join([*lines, "", " ".join([NOTE, *said]), "", *sentences, "", "Settings:", "", *chosen, ""])


def markdown_row(texts: Sequence[str]) -> str:
    r"""A row of a Markdown table.

    >>> markdown_row(["a|b", "1"])
    '| a\\|b | 1 |'
    """
    return "| " + " | ".join(map(markdown_escape, texts)) + " |"


def markdown_escape(text: str) -> str:
    r"""Text that Markdown prints as it stands; line breaks become spaces.

    >>> print(markdown_escape("conv_1 *"))
    conv\_1 \*
    """
    for special in "\\`*_|<>[]":
        text = text.replace(special, "\\" + special)
    return " ".join(text.splitlines())


def latex(record: Record) -> str:
    """The table as a LaTeX fragment for a document that loads the package booktabs.

    Args:
        record: an evaluation record.

    Returns:
        A `table` environment in plain ASCII, for any LaTeX engine.
    """
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\footnotesize",
        rf"\caption{{{escape(described(record))}.}}",
        r"\begin{tabular}{@{}lrrrrrrl@{}}",
        r"\toprule",
        r" & \multicolumn{2}{c}{fixed class} & \multicolumn{2}{c}{a-posteriori} & & & \\",
        r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}",
        r"Bound & raw & guaranteed & raw & guaranteed & gap & ratio & layer \\",
    ]
    target = None
    for row in reading_order([record]):
        if row["target"] != target:
            target = row["target"]
            lines += [
                r"\midrule",
                rf"\multicolumn{{8}}{{@{{}}l@{{}}}}{{\textit{{{escape(target_title(target))}}}}} \\",
            ]
        lines.append(_latex_row(row))
    chosen = "; ".join(f"{name}: {setting}" for name, setting in settings(record))
    lines += [
        r"\bottomrule",
        r"\end{tabular}",
        "",
        rf"\smallskip {escape(' '.join([NOTE, *notes(record)]))} {escape(chosen)}.",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(row: Record) -> str:
    name = escape(row_name(row))
    if row["status"] != "value":
        because = escape("; ".join(reason["because"] for reason in row["reasons"]))
        return rf"{name} & \multicolumn{{7}}{{l@{{}}}}{{not applicable: {because}}} \\"
    texts = [escape(cell) for cell in cells(row)]
    for exponent_column in (0, 2, 5):
        texts[exponent_column] = power_of_ten(texts[exponent_column])
    return " & ".join([name, *texts]) + r" \\"


def bibtex(record: Record, entries: Mapping[str, str]) -> str:
    r"""The references of the bounds in a record, once each, in the order of the table.

    Args:
        record: an evaluation record.
        entries: BibTeX entry of each bound, by its key; bounds without one are left out.

    Returns:
        The entries, separated by empty lines.

    >>> record = {"rows": [{"bound": "b", "variant": "v", "target": "risk"}]}
    >>> bibtex(record, {"b": "@article{b2020}", "c": "@article{c2021}"})
    '@article{b2020}\n'
    """
    keys = [row["bound"] for row in reading_order([record])]
    found = dict.fromkeys(entries[key].strip() for key in keys if key in entries)
    return "\n\n".join(found) + "\n" if found else ""
