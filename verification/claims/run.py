"""Runs the experiments of a paper: cost plan, trainings and measurements side by side, claims, one record."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bounds.errors import unknown_name
from bounds.inputs import Data, load_data
from verification.claims import EXPERIMENTS
from verification.claims.experiment import PRESETS, Experiment, Net, Result, Results
from verification.claims.measurements import MEASUREMENTS
from verification.claims.work import work
from verification.training.job import Training
from verification.training.regularisers import make
from verification.training.trainer import train
from verification.workers import quiet_worker

OnNet = Callable[[int, int, Result], None]

# Imported once instead of by every worker; torch.export imports the compiler when it is first used.
PRELOAD = [
    "verification.claims.work",
    *(f"verification.claims.measurements.{name}" for name in MEASUREMENTS),
    "torch._dynamo",
    "torch.export._trace",
]


@dataclass(frozen=True)
class CostPlan:
    """What an experiment is about to cost; estimates, from one timed step per kind of training.

    Attributes:
        nets: how many networks there are.
        done: how many of them are trained already.
        minutes: wall-clock time of what is missing.
        memory: of all workers together, GiB.
        workers: processes, one thread each.
    """

    nets: int
    done: int
    minutes: float
    memory: float
    workers: int


def experiment(key: str, preset: str) -> Experiment:
    """The experiment of this name.

    Raises:
        InputError: for an unknown name or preset (suggests the nearest).
    """
    if key not in EXPERIMENTS:
        raise unknown_name("paper", key, EXPERIMENTS)
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    return EXPERIMENTS[key]()


def cost_plan(chosen: Experiment, preset: str, folder: Path, data_dir: Path | None = None) -> CostPlan:
    """How long an experiment takes from here: one step of every kind of training is timed.

    Args:
        chosen: the experiment.
        preset: "quick" or "full".
        folder: of checkpoints and measurements; what lies there is not done again.
        data_dir: where the data lie.

    Raises:
        InputError: for data that are missing.
    """
    nets = chosen.nets(preset)
    missing = {net.digest: net for net in nets if not (folder / f"{net.digest}.json").exists()}
    workers = min(os.cpu_count() or 1, len(nets))
    steps = _Steps(data_dir)
    training = sum(steps.seconds(net.training) for net in missing.values())
    measured = [net for net in nets if all(_measurement_exists(net, folder))]
    measuring = chosen.measuring[preset] * (len(nets) - len(measured))
    return CostPlan(
        nets=len(nets),
        done=len(nets) - len(missing),
        minutes=(training + measuring) / workers / 60,
        memory=chosen.memory * workers,
        workers=workers,
    )


def reproduce(
    chosen: Experiment,
    preset: str,
    folder: Path,
    data_dir: Path | None = None,
    on_net: OnNet | None = None,
) -> dict[str, Any]:
    """Train and measure what is missing, decide the claims; in a script, call it under `if __name__ == "__main__"`.

    Every network is trained and measured by a fresh process with one thread, so results do not depend on how many
    there are. Killed at any point, it continues from there.

    Args:
        chosen: the experiment.
        preset: "quick" or "full".
        folder: of checkpoints and measurements.
        data_dir: where the data lie.
        on_net: called with (networks done, networks, the latest).

    Returns:
        The record, plain json, "jacobound-reproduction" version 1.

    Raises:
        InputError: for data that are missing, or a folder that cannot be written.
    """
    nets = chosen.nets(preset)
    workers = min(os.cpu_count() or 1, len(nets))
    found: dict[int, Result] = {}

    def collect(results: Iterable[tuple[int, Result]]) -> None:
        for position, result in results:
            found[position] = result
            if on_net is not None:
                on_net(len(found), len(nets), result)

    # a fresh process per network: its peak memory is its own
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        context.set_forkserver_preload(PRELOAD)
    with context.Pool(workers, quiet_worker, maxtasksperchild=1) as pool:
        collect(pool.imap_unordered(partial(_work, folder=folder, data_dir=data_dir), enumerate(nets)))
    results = [found[position] for position in range(len(nets))]
    return _record(chosen, preset, results, workers)


def _work(numbered: tuple[int, Net], folder: Path, data_dir: Path | None) -> tuple[int, Result]:
    position, net = numbered
    return position, work(net, folder, data_dir)


def _measurement_exists(net: Net, folder: Path) -> Iterable[bool]:
    for measurement in net.measurements.values():
        yield (folder / f"{net.digest}.{measurement.name}-{measurement.digest}.json").exists()


class _Steps:
    """Seconds of a training, from one timed step per kind."""

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self.data: dict[str, Data] = {}
        self.known: dict[str, float] = {}

    def seconds(self, training: Training) -> float:
        """Of the whole training, on one core."""
        if training.data not in self.data:
            self.data[training.data] = load_data(training.data, split="train", data_dir=self.data_dir)
        data = self.data[training.data]
        kind = str((training.data, training.net, training.net_arguments, training.batch_size))
        kind += str((training.regulariser, training.regulariser_arguments))
        if kind not in self.known:
            self.known[kind] = self._step(training, data)
        samples = len(data) if training.samples is None else training.samples
        return self.known[kind] * training.epochs * samples / training.batch_size

    @staticmethod
    def _step(training: Training, data: Data) -> float:
        batch = data.subset(training.batch_size, seed=0)
        penalty = None if training.regulariser is None else make(training.regulariser, training.regulariser_arguments)
        network, threads = training.network(data), torch.get_num_threads()
        if training.classes is not None:
            batch = training.of_classes(data).subset(training.batch_size, seed=0)
        torch.set_num_threads(1)
        try:
            seconds = []
            for _ in range(2):  # the first one warms up
                started = time.perf_counter()
                train(network, batch, regulariser=penalty, strength=1e-9, epochs=1, batch_size=training.batch_size)
                seconds.append(time.perf_counter() - started)
        finally:
            torch.set_num_threads(threads)
        return min(seconds)


def _record(chosen: Experiment, preset: str, results: list[Result], workers: int) -> dict[str, Any]:
    conclusions = chosen.conclude(Results(results), preset)
    return {
        "format": "jacobound-reproduction",
        "version": 1,
        "paper": {"key": chosen.key, "title": chosen.title, "reference": chosen.reference},
        "preset": preset,
        "command": f"jacobound reproduce {chosen.key} --preset {preset}",
        "versions": {
            "jacobound": metadata.version("jacobound"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        "seeds": sorted({result.net.training.seed for result in results}),
        # what an uninterrupted run takes on that many free processors, however often this one was continued
        "seconds": sum(result.seconds for result in results) / workers,
        "workers": workers,
        "cuts": list(chosen.cuts(preset)),
        "claims": [claim.record() for claim in conclusions.claims],
        "charts": [chart.record() for chart in conclusions.charts],
        "tables": [table.record() for table in conclusions.tables],
        "not_reproduced": list(conclusions.not_reproduced),
        "nets": [_net_record(result) for result in results],
    }


def _net_record(result: Result) -> dict[str, Any]:
    training = asdict(result.net.training)
    summary = {key: result.summary[key] for key in result.summary if not key.endswith("sha256")}
    return {
        "id": result.net.digest,
        "labels": dict(result.net.labels),
        "seed": training["seed"],
        "data": training["data"],
        "net": training["net"],
        "regulariser": training["regulariser"],
        "strength": training["strength"],
        "samples": training["samples"],
    } | summary
