"""`jacobound verify`. Heavy imports wait until the command runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bounds.commands import chosen_form, print_result
from bounds.errors import InputError
from figures import loading
from figures.commands import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from bounds.inputs import Data
    from bounds.progress import Stages
    from verification.plan import Plan

SAMPLES, BATCH = 1000, 50
WITH_REPLAY = {"checkpoint", "replay", "data_dir", "trust", "quiet"}


@loading.with_source
def verify(
    context: typer.Context,
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            help="State dict (.pt, .pth, .safetensors, .index.json), training dictionary, or own checkpoint."
        ),
    ] = None,
    norm: Annotated[str, typer.Option(help="Attack norms, comma-separated: l2, linf, l1.")] = "l2",
    eps: Annotated[
        str | None,
        typer.Option(help="Radii in input units: 0.1,0.2 or 4/255,8/255 or START:STOP:COUNT.", metavar="RADII"),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="How many held-out samples, drawn at random.", min=1, show_default=f"at most {SAMPLES}"),
    ] = None,
    source: loading.Source = loading.DEFAULT,
    plain_ball: Annotated[
        bool, typer.Option("--plain-ball", help="Let attacks leave the box of valid inputs.")
    ] = False,
    effort: Annotated[str, typer.Option(help="Of the certificates: none, quick, standard or thorough.")] = "standard",
    memory: loading.Memory = None,
    verbose: loading.Verbose = False,
    steps: Annotated[int, typer.Option(help="Gradient steps per start of an attack.", min=1)] = 40,
    restarts: Annotated[int, typer.Option(help="Starts of an attack.", min=1)] = 2,
    delta: Annotated[float, typer.Option(help="Failure probability of the robust-risk bounds together.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the samples, attacks and norm estimates.", min=0)] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Record to write. An interrupted run continues from it.", dir_okay=False)
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Recompute the counterexamples of this record instead.", metavar="RECORD")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the table as LaTeX.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Decide, sample by sample, whether surrogates bound the robust loss; or replay a record's counterexamples."""
    form = chosen_form(json=json, markdown=markdown, latex=latex)
    if replay is not None:
        _refuse_others(context)
        _replay(replay, checkpoint, source, quiet=quiet)
        return
    if checkpoint is None:
        raise InputError("no checkpoint was named (nor a record to --replay)")
    if eps is None:
        raise InputError("--eps is missing: name radii such as 0.1 or 0.01:0.3:8")
    if plain_ball and source.box is not None:
        raise InputError("--plain-ball and --box: only one of them")
    norms, radii = norm.split(","), loading.radii_of(eps)
    choices = source.choices()

    def planned(report: Stages) -> Plan:
        from verification.plan import check_settings, plan

        check_settings(norms, radii, effort=effort, delta=delta)
        network, held_out, digest = _load(checkpoint, choices, source, report)
        return plan(
            network,
            held_out,
            norms,
            radii,
            network=None,
            box=None if plain_ball else "data",
            samples=min(SAMPLES, len(held_out)) if samples is None else samples,
            effort=effort,
            steps=steps,
            restarts=restarts,
            seed=seed,
            delta=delta,
            batch=BATCH,
            name=checkpoint.name,
            source={"checkpoint": str(checkpoint), "sha256": digest, "options": choices},
            memory=memory,
        )

    _print(_record(planned, out, quiet=quiet, verbose=verbose), form)


def _record(planned: Callable[[Stages], Plan], out: Path | None, *, quiet: bool, verbose: bool) -> dict[str, Any]:
    """The record of a plan: decided now, continued from a journal, or as it lies there finished."""
    from bounds import records
    from bounds.progress import Stages
    from verification.verdicts import decide

    journal = None if out is None else out.with_name(f"{out.name}.partial")
    try:
        with Stages(quiet=quiet, verbose=verbose) as report:
            job = planned(report)
            if out is not None and out.exists():
                return _finished(out, job.fingerprint)
            if journal is not None and journal.exists():
                typer.echo(f"continuing from {journal}", err=True)
            record = decide(job, journal, partial(report, "verifying"), partial(report.doing, "verifying")).record
    except KeyboardInterrupt:
        kept = journal is not None and journal.exists()
        how = f"what is decided lies in {journal}; repeat the command to continue" if kept else "nothing was kept"
        typer.echo(f"interrupted: {how}", err=True)
        raise typer.Exit(130) from None
    if out is not None and journal is not None:
        try:
            records.write(record, out)
        except OSError as error:
            raise InputError(f"{out}: cannot be written: {error.strerror}") from error
        journal.unlink()
        typer.echo(f"written to {out}", err=True)
    return record


def _finished(out: Path, fingerprint: str) -> dict[str, Any]:
    from bounds import records

    record = records.read(out)
    if record.get("fingerprint") != fingerprint:
        raise InputError(
            f"{out}: a record with other settings, data or network is there; delete it or choose another --out"
        )
    typer.echo(f"{out} holds this verification already; nothing was computed", err=True)
    return record


def _load(
    checkpoint: Path, choices: Mapping[str, Any], source: loading.Source, report: Stages
) -> tuple[nn.Module, Data, str]:
    """The network, the held-out data and the SHA-256 of the checkpoint."""
    from bounds.inputs.weights_file import weights_digest

    network = loading.load_network(checkpoint, choices, trust=source.trust)
    held_out = loading.load_split(choices, "test", report, data_dir=source.data_dir)
    return network, held_out, weights_digest(checkpoint.expanduser())


def _print(record: dict[str, Any], form: str | None) -> None:
    from bounds.records import dumps
    from figures import verification_tables

    if form is None:
        show(verification_tables.terminal(record))
        return
    forms = {"json": dumps, "markdown": verification_tables.markdown, "latex": verification_tables.latex}
    print_result(forms[form](record), nl=False)


def _refuse_others(context: typer.Context) -> None:
    """With --replay, everything else comes from the record."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in WITH_REPLAY and source is not None and source.name == "COMMANDLINE":
            raise InputError(f"--{name.replace('_', '-')}: not with --replay, which takes it from the record")


def _replay(path: Path, checkpoint: Path | None, given: loading.Source, *, quiet: bool) -> None:
    from bounds import records
    from bounds.progress import Stages
    from verification.replay import replay

    record = records.read(path)
    if record["format"] != "jacobound-verification":
        raise InputError(f"{path}: not a verification record")
    source = record["source"]
    if source is None:
        raise InputError(f"{path}: made in Python; replay it there, with verification.replay.replay")
    _refuse_unknown_code(path, source["options"], given.trust)
    chosen = Path(source["checkpoint"]) if checkpoint is None else checkpoint
    with Stages(quiet=quiet) as report:
        network, data, digest = _load(chosen, source["options"], given, report)
        if digest != source["sha256"]:
            raise InputError(f"{chosen}: not the checkpoint that {path} was made with (its SHA-256 differs)")
        found = replay(record, network, data, progress=partial(report, "replaying"))
    for name, claimed in found.claimed.items():
        print_result(f"{name}: {found.confirmed[name]} of {claimed} refutations confirmed")
    if not found.claimed:
        print_result("no refutations to confirm")
    for failure in found.failures:
        print_result(f"not confirmed: {failure}")
    if found.failures:
        raise typer.Exit(1)


def _refuse_unknown_code(path: Path, options: Mapping[str, Any], trust: bool) -> None:
    """A record may come from anyone, and must not choose which function is called."""
    named = [spec for spec in (options["model"], options["data"]) if spec and ":" in spec and not spec.endswith(".npz")]
    if named and not trust:
        raise InputError(f"{path}: would call {' and '.join(named)}; add --trust if you trust this record")
