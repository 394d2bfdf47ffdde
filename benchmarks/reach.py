"""What `evaluate` and `verify` make of the networks people have: rows, certificates, seconds, peak memory.

`python -m benchmarks.reach [NAME ...]` runs the command line on every network of `benchmarks.zoo` (random weights,
noise for data), a process each with a time limit, and prints a Markdown table. Not part of `make bench`: it takes half
an hour.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import zoo

NETWORKS = (
    "mnist_example resnet18 resnet50 preact18 wrn28_10 vgg16 densenet mobilenet efficientnet convnext vit mixer unet"
    " lstm textcnn"
).split()
SECONDS, MEMORY = 300, 8 * 2**30
ATTACK = ("--norm", "linf", "--eps", "0.5/255")
EVALUATE = ("--attack-samples", "2", "--certified-samples", "2")
VERIFY = ("--samples", "2", "--effort", "quick")


@dataclass(frozen=True)
class Run:
    """One command: its record, or the line that it ended with."""

    record: dict[str, Any] | None
    message: str
    seconds: float
    peak: float


def command(name: str, arguments: tuple[str, ...], checkpoint: Path) -> Run:
    """Run the command line in a process with limited time and memory."""
    data = ("--data", "benchmarks.zoo:text") if name == "textcnn" else ("--data", "benchmarks.zoo:images")
    text = ("--input-module", "embed") if name == "textcnn" else ()
    line = (sys.executable, "-m", "jacobound", arguments[0], str(checkpoint), "--model", f"benchmarks.zoo:{name}")
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, time.perf_counter()
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (2 * MEMORY, 2 * MEMORY))  # noqa: E731
    timed = ("/usr/bin/env", "python3", "-c", MEASURE, *line, *arguments[1:], *data, *text, "--json", "--quiet")
    try:
        done = subprocess.run(timed, capture_output=True, text=True, timeout=SECONDS, preexec_fn=limit)
    except subprocess.TimeoutExpired:
        return Run(None, f"not done after {SECONDS} s", SECONDS, before / 2**20)
    found = re.search(r"^peak (\d+)$", done.stderr, re.MULTILINE)
    message = "" if done.returncode == 0 else done.stderr.strip().splitlines()[-2]
    record = json.loads(done.stdout) if done.returncode == 0 else None
    return Run(record, message, time.perf_counter() - start, int(found[1]) / 2**20 if found else float("nan"))


MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def line(name: str) -> str:
    """The table's row of one network."""
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        module, checkpoint = getattr(zoo, name)(), Path(folder) / f"{name}.pt"
        torch.save(module.state_dict(), checkpoint)
        parameters = sum(p.numel() for p in module.parameters())
        table = command(name, ("evaluate", *EVALUATE, *ATTACK), checkpoint)
        verdicts = command(name, ("verify", *VERIFY, *ATTACK), checkpoint)
    cells = [name, f"{parameters / 1e6:.2f} M", *_rows(table), *_certificates(verdicts)]
    return "| " + " | ".join(cells) + " |"


def _rows(run: Run) -> tuple[str, str, str]:
    if run.record is None:
        return run.message, f"{run.seconds:.0f}", f"{run.peak:.1f}"
    rows = run.record["rows"]
    applied = sum(row["status"] == "value" for row in rows)
    return f"{applied} of {len(rows)}", f"{run.seconds:.0f}", f"{run.peak:.1f}"


def _certificates(run: Run) -> tuple[str, str, str]:
    if run.record is None:
        return run.message, f"{run.seconds:.0f}", f"{run.peak:.1f}"
    result = run.record["results"][0]
    upper = result["upper_loss"]
    found = f"A {result['attack_loss']:.3g}, " + (f"U {upper:.3g}" if upper is not None else "no U: ")
    notes = "" if upper is not None else "; ".join(run.record["notes"])
    return found + notes, f"{run.seconds:.0f}", f"{run.peak:.1f}"


if __name__ == "__main__":
    print("| network | parameters | rows that apply | s | GiB | robust loss, 2 samples | s | GiB |", flush=True)
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for chosen in sys.argv[1:] or NETWORKS:
        print(line(chosen), flush=True)
