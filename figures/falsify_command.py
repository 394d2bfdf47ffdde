"""`jacobound falsify`. Heavy imports wait until the command runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bounds.commands import chosen_form, print_result
from figures.commands import show


def falsify(
    file: Annotated[
        Path | None, typer.Argument(help="Python file with your own inequalities; without it, the package's.")
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="Only this inequality, or all of one lemma: L2.1.")] = None,
    examples: Annotated[
        int | None,
        typer.Option(help="Instances drawn per inequality and mutant.", min=1, show_default="its own budget"),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed finds the same.", min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the table as LaTeX, for an appendix.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Attack inequalities with property-based search; exit code 1 if one is refuted."""
    from verification.inequalities import SideError

    form = chosen_form(json=json, latex=latex)
    try:
        record = _findings(file, id, examples, seed, quiet)
    except SideError as error:
        if form is None:
            print_result(error.program, nl=False)
        raise
    _print(record, form)
    if any(finding["verdict"] == "refuted" for finding in record["findings"]):
        raise typer.Exit(1)


def _findings(file: Path | None, id: str | None, examples: int | None, seed: int, quiet: bool) -> dict[str, Any]:
    """A record of format "jacobound-inequalities"."""
    from bounds.errors import unknown_name
    from bounds.progress import Stages
    from verification.inequalities import chosen, examine_all, load

    if file is None:
        claims = chosen(id)
    else:
        own = load(file)
        claims = tuple(claim for claim in own.values() if id is None or id in (claim.id, claim.lemma))
        if not claims:
            raise unknown_name("inequality", str(id), own)
    try:
        with Stages(quiet=quiet) as report:
            progress = partial(report, "falsifying")
            found = examine_all(claims, examples, seed, path=file, progress=progress)
    except KeyboardInterrupt:
        typer.echo("interrupted: nothing was kept", err=True)
        raise typer.Exit(130) from None
    return {
        "format": "jacobound-inequalities",
        "version": 1,
        "file": None if file is None else file.name,
        "examples": examples,
        "seed": seed,
        "findings": [finding.record() for finding in found],
    }


def _print(record: dict[str, Any], form: str | None) -> None:
    from bounds.records import dumps
    from figures import inequality_tables

    if form is not None:
        print_result({"json": dumps, "latex": inequality_tables.latex}[form](record), nl=False)
        return
    show(inequality_tables.terminal(record))
    programs = inequality_tables.counterexamples(record)
    if programs:
        print_result(f"\n{programs}", nl=False)
