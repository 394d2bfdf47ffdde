"""`jacobound catalogue`. Heavy imports wait until a command runs."""

from __future__ import annotations

from typing import Annotated

import typer


def catalogue(
    key: Annotated[str | None, typer.Argument(help="One bound; without it, all are listed.")] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print KEY's derivation as a LaTeX document.")] = False,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Print the references as BibTeX.")] = False,
) -> None:
    """List the bounds, or show one with its derivation."""
    from bounds import catalogue as shelf
    from bounds.catalogue.describe import to_latex, to_text
    from bounds.errors import InputError

    form = chosen_form(latex=latex, bibtex=bibtex)
    entries = shelf.entries() if key is None else (shelf.get(key),)
    if form == "bibtex":
        typer.echo("\n\n".join(dict.fromkeys(e.reference.bibtex for e in entries if e.reference.bibtex)))
    elif form == "latex":
        if key is None:
            raise InputError("--latex writes one bound's document: name its key ('jacobound catalogue' lists them)")
        typer.echo(to_latex(entries[0]), nl=False)
    elif key is not None:
        typer.echo(to_text(entries[0]), nl=False)
    else:
        width = max(len(entry.key) for entry in entries)
        for entry in entries:
            typer.echo(f"{entry.key:<{width}}  {entry.title} ({entry.reference.citation})")


def chosen_form(**forms: bool) -> str | None:
    """The one form of output that was asked for; None for the usual one.

    Raises:
        InputError: for several.

    >>> chosen_form(latex=False, bibtex=True)
    'bibtex'
    """
    from bounds.errors import InputError

    chosen = [form for form, wanted in forms.items() if wanted]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(f'--{form}' for form in chosen)}: only one form can be printed at a time")
    return chosen[0] if chosen else None
