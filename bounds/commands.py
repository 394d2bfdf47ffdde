"""`jacobound catalogue`, and where a command's output goes. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Annotated, TextIO

import typer

_results: ContextVar[TextIO | None] = ContextVar("results", default=None)


@contextmanager
def user_output() -> Iterator[None]:
    """Inside, what is printed goes to the standard error stream: networks, factories and inequalities may print.

    The results of a command, which `results` and `print_result` write, still go to the standard output stream.

    >>> with user_output():
    ...     print("from a forward method")
    ...     print_result('{"json": true}')
    {"json": true}
    """
    token = _results.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results.reset(token)


def results() -> TextIO:
    """The stream of a command's results."""
    return _results.get() or sys.stdout


def print_result(text: object, nl: bool = True) -> None:
    """Print a part of a command's result.

    Args:
        text: of the part.
        nl: whether to end the line.
    """
    typer.echo(text, file=results(), nl=nl)


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
        print_result("\n\n".join(dict.fromkeys(e.reference.bibtex for e in entries if e.reference.bibtex)))
    elif form == "latex":
        if key is None:
            raise InputError("--latex writes one bound's document: name its key ('jacobound catalogue' lists them)")
        print_result(to_latex(entries[0]), nl=False)
    elif key is not None:
        print_result(to_text(entries[0]), nl=False)
    else:
        width = max(len(entry.key) for entry in entries)
        for entry in entries:
            print_result(f"{entry.key:<{width}}  {entry.title} ({entry.reference.citation})")


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
