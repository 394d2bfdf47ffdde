"""The front door: one command line. It mounts the rooms' commands and turns bad input into one line and exit code 2."""

from __future__ import annotations

import sys

import typer

from bounds.commands import catalogue
from figures.commands import demo, evaluate

app = typer.Typer(
    help="Generalization and robustness bounds of trained torch networks, with a proof trail.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(evaluate)
app.command()(catalogue)
app.command()(demo)


def main() -> None:
    """Entry point of the console script."""
    from bounds.errors import InputError

    try:
        app()
    except InputError as error:
        message = " ".join(str(error).split())
        print(f"jacobound: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("jacobound: interrupted; nothing half-written was left", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
