"""The front door: one command line. It mounts the rooms' commands and turns bad input into one line and exit code 2."""

from __future__ import annotations

import sys

import typer

from bounds.commands import catalogue, user_output
from figures.commands import demo, evaluate
from figures.falsify_command import falsify
from figures.figures_command import figures
from figures.reproduce_command import reproduce
from figures.train_command import train
from figures.verify_command import verify

app = typer.Typer(
    help="Generalization and robustness bounds of trained torch networks, with a proof trail.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # an error that is not the user's shows its whole traceback
    rich_markup_mode=None,  # plain help and one-line usage errors
)
for command in (evaluate, verify, falsify, train, reproduce, figures, catalogue, demo):
    app.command()(user_output()(command))


def main() -> None:
    """Entry point of the console script; exits with 0, 2 for bad input, or 130 when interrupted."""
    from bounds.errors import InputError

    try:
        app()
    except InputError as error:
        message = " ".join(str(error).split())
        print(f"jacobound: {message}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
