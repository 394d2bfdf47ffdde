"""`jacobound figures`: redraws figures from records alone. Heavy imports wait until the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bounds.errors import InputError
from figures.commands import check_folder


def figures(
    record: Annotated[
        list[Path], typer.Argument(help="Evaluation and verification records (.json), in the order to show them.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write every figure to, as PDF and PNG.", file_okay=False)
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only name the figures that the records can fill.")] = False,
) -> None:
    """Draw all figures that records can fill."""
    from bounds.inputs.files import check_file
    from bounds.records import read
    from figures.rows import check_record
    from figures.write import KINDS, write_figures

    if out is None and not listed:
        raise InputError("--out is missing: name a folder for the figures (or --list them)")
    records = []
    for path in record:
        check_file(path)
        records.append(check_record(read(path), str(path)))
    fitting = [kind for kind in KINDS if kind.fitting(records)]
    if listed:
        width = max(len(kind.name) for kind in KINDS)
        for kind in fitting:
            typer.echo(f"{kind.name:{width}}  {kind.what}")
        return
    if not fitting:
        raise InputError("nothing to draw: the records hold no results")
    assert out is not None
    check_folder(out)
    try:
        paths = write_figures(records, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from error
    for path in paths:
        typer.echo(path)
