"""`jacobound catalogue`. Heavy imports wait until a command runs."""

from __future__ import annotations

from typing import Annotated

import typer


def catalogue(
    key: Annotated[str | None, typer.Argument(help="Key of one bound; all are listed without.")] = None,
    latex: Annotated[bool, typer.Option("--latex", help="A LaTeX document with the derivation.")] = False,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="The reference's BibTeX entry.")] = False,
) -> None:
    """List the bounds, or show one: formula with its named parts, assumptions, reference, derivation tree."""
    from bounds import catalogue as shelf
    from bounds.catalogue.describe import to_latex, to_text

    entries = shelf.entries() if key is None else (shelf.get(key),)
    if latex:
        typer.echo("\n".join(map(to_latex, entries)), nl=False)
    elif bibtex:
        typer.echo("\n\n".join(dict.fromkeys(e.reference.bibtex for e in entries if e.reference.bibtex)))
    elif key is not None:
        typer.echo(to_text(entries[0]), nl=False)
    else:
        width = max(len(entry.key) for entry in entries)
        for entry in entries:
            typer.echo(f"{entry.key:<{width}}  {entry.title} ({entry.reference.citation})")
