"""`jacobound figures`: redraws figures from records alone. Heavy imports wait until the command runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bounds.commands import print_result
from bounds.errors import InputError
from figures.commands import check_folder
from figures.style import VENUES, find_venue


def figures(
    record: Annotated[
        list[Path] | None,
        typer.Argument(help="Records of any kind (.json), in the order to show them; optional with --list."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for every figure (PDF and PNG), captions.md, and tables (.tex, .md).", file_okay=False
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            help=f"Lay figures out for {', '.join(VENUES)}: widths, fonts and sizes.",
            metavar="STYLE",
            show_default="as they come",
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Only name what the records can fill; without records, all there is.")
    ] = False,
) -> None:
    """Draw all figures that records can fill."""
    from figures.write import listed as fillable

    venue = None if style is None else find_venue(style)
    if listed and not record:
        _list_everything()
        return
    if out is None and not listed:
        raise InputError("--out is missing: name a folder for the figures (or --list them)")
    records = _read(record or [])
    rows = fillable(records)
    if listed:
        _columns(rows)
        return
    if not records:
        raise InputError("no record given: name one or more .json files (or --list what there is)")
    if not rows:
        raise InputError("nothing to draw: the records hold no results")
    assert out is not None
    check_folder(out)
    from figures.write import write_for

    try:
        paths = write_for(records, out, venue)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from error
    for path in paths:
        print_result(path)


def _read(paths: Sequence[Path]) -> list[Any]:
    from bounds.inputs.files import check_file
    from bounds.records import read
    from figures.rows import check_record

    records = []
    for path in paths:
        check_file(path)
        records.append(check_record(read(path), str(path)))
    return records


def _list_everything() -> None:
    from figures.write import KINDS, OF_REPRODUCTIONS

    kinds = [(kind.name, kind.what, kind.wanted) for kind in KINDS]
    _columns([(name, f"{what}; needs {wanted}") for name, what, wanted in (*kinds, *OF_REPRODUCTIONS)])


def _columns(rows: Sequence[tuple[str, str]]) -> None:
    width = max((len(name) for name, _ in rows), default=0)
    for name, what in rows:
        print_result(f"{name:{width}}  {what}")
