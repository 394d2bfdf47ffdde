"""One network of an experiment, trained and measured; what is finished lies in files and is not done again."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from bounds.errors import InputError
from bounds.inputs import Data, load_checkpoint, load_data
from bounds.records import write_text
from verification.claims.experiment import Net, Result
from verification.claims.measurements import measurement
from verification.training.job import accuracy
from verification.training.trainer import Diverged, Epoch


def work(net: Net, folder: Path, data_dir: Path | None = None) -> Result:
    """Train and measure a network, or take from the folder what is there.

    Files: DIGEST.pt, the checkpoint; DIGEST.json, the summary of its training; DIGEST.MEASUREMENT.json.

    Args:
        net: the network.
        folder: of all checkpoints and measurements.
        data_dir: where the data lie; see `bounds.inputs.load_data`.

    Returns:
        Measured; the summary has "failed" (None, or why training did not end), "epochs", "parameters", "accuracy",
        "test_accuracy", "seconds_per_epoch" (processor time of one thread, median) and "peak_memory" (MiB, of the
        whole process in training).

    Raises:
        InputError: for data that are missing, or files of the folder that are damaged.
    """
    training = net.training
    whole, held_out = (load_data(training.data, split=split, data_dir=data_dir) for split in ("train", "test"))
    chosen, known = training.trained_on(whole), training.of_classes(held_out)
    identity = {"data_sha256": chosen.digest(), "held_out_sha256": known.digest()}
    summary = _kept(folder / f"{net.digest}.json", identity)
    if summary is None:
        summary = identity | _train(net, whole, held_out, chosen, known, folder)
        _keep(summary, folder / f"{net.digest}.json")
    if summary["failed"] is not None:
        return Result(net, summary, {}, float(summary["seconds"]))
    measured, seconds = {}, float(summary["seconds"])
    for name, wanted in net.measurements.items():
        path = folder / f"{net.digest}.{wanted.name}-{wanted.digest}.json"
        found = _kept(path, identity)
        if found is None:
            network = load_checkpoint(folder / f"{net.digest}.pt")
            started = time.process_time()
            value = measurement(wanted.name)(network, chosen, known, **wanted.arguments)
            found = identity | {"seconds": time.process_time() - started, "measured": value}
            _keep(found, path)
        measured[name] = found["measured"]
        seconds += found["seconds"]
    return Result(net, summary, measured, seconds)


def _train(net: Net, whole: Data, held_out: Data, chosen: Data, known: Data, folder: Path) -> dict[str, Any]:
    """Train to a checkpoint; how that went. A training that diverged says so, and is not measured."""
    target, failed = folder / f"{net.digest}.pt", None
    seconds: list[float] = []
    last = time.process_time()  # of one thread: what else the machine does is left out
    reset_peak_memory()

    def note(number: int, means: Epoch) -> None:
        nonlocal last
        now = time.process_time()
        seconds.append(now - last)
        last = now

    try:
        net.training.run(whole, held_out, target, on_epoch=note)
    except Diverged as error:
        failed = str(error).split(";")[0]
    peak = peak_memory()
    outcome: dict[str, Any] = {
        "failed": failed,
        "epochs": len(seconds),
        "parameters": None,
        "accuracy": None,
        "test_accuracy": None,
    }
    if failed is None:
        network = load_checkpoint(target)
        outcome |= {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "accuracy": accuracy(network, chosen),
            "test_accuracy": accuracy(network, known),
        }
    per_epoch = statistics.median(seconds) if seconds else None
    return outcome | {"seconds": sum(seconds), "seconds_per_epoch": per_epoch, "peak_memory": peak}


def reset_peak_memory() -> None:
    """Forget the largest memory that this process has used; only Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_memory() -> float | None:
    """Largest memory of this process since it was reset, MiB; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


def _kept(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What a file holds; None without one, or if it was made from other data."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged; delete it") from error
    if not isinstance(content, dict) or any(content.get(key) != value for key, value in identity.items()):
        return None
    return content


def _keep(content: dict[str, Any], path: Path) -> None:
    try:
        write_text(json.dumps(content, allow_nan=False) + "\n", path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
