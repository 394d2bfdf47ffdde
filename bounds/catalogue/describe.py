"""An entry of the catalogue for readers: as text, Markdown, HTML, or a LaTeX document with its derivation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from html import escape

import sympy as sp

from bounds import symbols
from bounds.calculus.evaluator import Part
from bounds.calculus.statements import Step
from bounds.catalogue.entry import Bound, Entry, HoldOut

WIDTH = 110


def plain(expression: sp.Basic) -> str:
    """An expression in two dimensions, for a terminal."""
    names = {symbol: sp.Symbol(symbols.PLAIN.get(symbol.name, symbol.name)) for symbol in expression.atoms(sp.Symbol)}
    return str(sp.pretty(expression.xreplace(names), use_unicode=True, wrap_line=False))


def used_parts(bound: Bound) -> tuple[Part, ...]:
    """The named parts that the bound's formula rests on, in order of first use."""
    from bounds.readings import used

    needed = used(bound.gap)
    return tuple(part for part in bound.gap.parts if part.symbol in needed)


def derivation(step: Step) -> Iterator[str]:
    """The derivation tree, one line per step."""
    for level, node in step.walk():
        mark = "own derivation" if node.derived else node.source
        yield f"{'   ' * level}{'└─ ' if level else ''}[{node.lemma}] {node.name} ({mark})"


def to_text(entry: Entry) -> str:
    """Formula with its named parts, assumptions, reference and derivation tree, for a terminal."""
    lines = [f"{entry.key}: {entry.title}", "", *textwrap.wrap(entry.description, WIDTH), ""]
    lines += [f"Reference: {entry.reference.citation}", ""]
    for variant in entry.variants:
        lines += _variant_text(variant)
    return "\n".join(lines).rstrip() + "\n"


def _variant_text(variant: Bound | HoldOut) -> Iterator[str]:
    title = f"{variant.variant}: " if variant.variant else ""
    yield f"── {title}bounds the {variant.target}" + (f" ({variant.note})" if variant.note else "")
    yield ""
    if isinstance(variant, HoldOut):
        yield textwrap.indent(plain(variant.value), "   ")
        yield ""
        return
    yield f"   gap ≤ (with probability 1 - δ; raw value; empirical part: {variant.empirical} loss)"
    yield textwrap.indent(plain(variant.gap.raw), "   ")
    parts = used_parts(variant)
    if parts:
        yield "   where"
    for part in parts:
        yield textwrap.indent(plain(sp.Eq(part.head, part.expression, evaluate=False)), "     ")
        yield f"         ({part.meaning})"
    yield "   assumes " + "; ".join(assumption.statement for assumption in variant.assumptions)
    yield "   derivation"
    yield from (f"     {line}" for line in derivation(variant.gap.step))
    yield ""


def to_markdown(entry: Entry) -> str:
    """A documentation page."""
    lines = [f"# {entry.title}", "", f"`{entry.key}`", "", entry.description, ""]
    lines += ["$$" + entry.statement + "$$", "", f"Reference: {entry.reference.citation}.", ""]
    for variant in entry.variants:
        lines += _variant_markdown(variant)
    if entry.reference.bibtex:
        lines += ["## BibTeX", "", "```bibtex", entry.reference.bibtex, "```", ""]
    return "\n".join(lines)


def _variant_markdown(variant: Bound | HoldOut) -> Iterator[str]:
    yield f"## {variant.variant[:1].upper() + variant.variant[1:] or 'The bound'} (bounds the {variant.target})"
    yield ""
    if variant.note:
        yield f"{variant.note[:1].upper()}{variant.note[1:]}."
        yield ""
    if isinstance(variant, HoldOut):
        yield f"$${sp.latex(variant.value)}$$"
        yield ""
        return
    yield f"Raw gap over the empirical {variant.empirical} loss, with probability $1-\\delta$:"
    yield ""
    yield f"$${sp.latex(variant.gap.raw)}$$"
    yield ""
    yield f"Guaranteed (capped) gap: $${sp.latex(variant.gap.guaranteed)}$$"
    yield ""
    parts = used_parts(variant)
    if parts:
        yield "where"
        yield ""
        yield from (f"- ${sp.latex(part.head)} = {sp.latex(part.expression)}$: {part.meaning}" for part in parts)
        yield ""
    yield "Assumptions:"
    yield ""
    yield from (f"- {assumption.statement}" for assumption in variant.assumptions)
    yield ""
    yield "Derivation:"
    yield ""
    yield "```"
    yield from derivation(variant.gap.step)
    yield "```"
    yield ""


def to_html(entry: Entry) -> str:
    """For notebooks, where the front end typesets the LaTeX."""
    return (
        f"<p><b>{escape(entry.title)}</b> (<code>{entry.key}</code>, {escape(entry.reference.citation)})</p>"
        f"<p>$\\displaystyle {entry.statement}$</p><p>{escape(entry.description)}</p>"
    )


def to_latex(entry: Entry) -> str:
    """A LaTeX document with the formula, its named parts and the derivation; compiles with pdflatex."""
    body = [rf"\section*{{{_tex(entry.title)}}}", _tex(entry.description), r"\[" + entry.statement + r"\]"]
    body.append(rf"\emph{{Reference:}} {_tex(entry.reference.citation)}.")
    for variant in entry.variants:
        body += _variant_latex(variant)
    preamble = (
        r"\documentclass{article}",
        r"\usepackage{amsmath,amssymb}",
        r"\usepackage[a4paper,landscape,margin=15mm]{geometry}",
        r"\allowdisplaybreaks",
        r"\begin{document}",
    )
    return "\n".join([*preamble, *body, r"\end{document}", ""])


def _variant_latex(variant: Bound | HoldOut) -> Iterator[str]:
    yield rf"\subsection*{{{_tex(variant.variant or 'The bound')} (bounds the {variant.target})}}"
    if variant.note:
        yield _tex(variant.note) + "."
    if isinstance(variant, HoldOut):
        yield r"\[" + sp.latex(variant.value) + r"\]"
        return
    yield r"\[\text{gap}\le " + sp.latex(variant.gap.raw) + r"\]"
    parts = used_parts(variant)
    if parts:
        yield r"where\begin{align*}"
        yield "\\\\\n".join(f"{sp.latex(part.head)} &= {sp.latex(part.expression)}" for part in parts)
        yield r"\end{align*}"
    yield r"\emph{Assumptions:} " + _tex("; ".join(a.statement for a in variant.assumptions)) + "."
    yield r"\emph{Derivation:}\begin{itemize}"
    for level, step in variant.gap.step.walk():
        source = "own derivation" if step.derived else step.source
        indent = rf"\hspace*{{{level}em}}"
        yield rf"\item[]{indent}\textbf{{{_tex(step.lemma)}}} {_tex(step.name)} ({_tex(source)})"
        if step.conclusion is not sp.true:
            yield rf"\\{indent}${sp.latex(step.conclusion)}$"
    yield r"\end{itemize}"


def _tex(text: str) -> str:
    """Plain text for LaTeX."""
    special = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
    special |= {"^": r"\^{}", "~": r"\~{}", "‖": r"$\|$", "<": "$<$", ">": "$>$", "$": r"\$"}
    special |= {"≤": r"$\le$", "ℓ": r"$\ell$", "∞": r"$_\infty$"}
    return "".join(special.get(character, character) for character in text)
