"""Seconds of processor time per epoch of every regulariser, relative to a plain epoch of the same MNIST CNN.

`python -m benchmarks.training` prints the rows. Cases are interleaved, each right after a plain epoch of a network with
the same activation, both from a fresh network, on one thread, where processor time is wall time on a quiet machine;
medians of the ratios.

A floor counts passes through the network: its evaluation, a gradient in its activations or in its weights cost one
each. A plain step takes 3. Penalty and loss share the evaluation and, at the end, the 2 passes back through it. A
vector-Jacobian product is then 1 pass, and 2 for the gradient through it: K of them give (3 + 3K)/3 = K + 1, that is
11 for 10 classes. A Hessian-vector product is 2 passes after 1 for the gradient, 6 for the gradient through all of
them: (3 + 3 + 6)/3 = 4. A step of PGD is 2 passes, the loss where it ends 3.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.measure import Row, show
from bounds.inputs import Data, load_data
from verification.training.networks import build
from verification.training.regularisers import make
from verification.training.trainer import train

SAMPLES, REPEATS = 3_000, 5
CLASSES, PGD_STEPS = 10, 10
JACOBIAN_FLOOR = CLASSES + 1
PGD = {"norm": "linf", "eps": 0.1, "steps": PGD_STEPS}


@dataclass(frozen=True)
class Case:
    """A training to be timed.

    Attributes:
        title: what the table calls it.
        regulariser: its name; None for plain training.
        arguments: those of the regulariser.
        activation: of the network.
        floor: passes counted, in plain epochs; None where nobody has.
        limit: the most that an epoch may take, in plain epochs; None where nothing is promised.
    """

    title: str
    regulariser: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    activation: str = "relu"
    floor: float | None = None
    limit: float | None = None


CASES = (
    Case("Jacobian Frobenius², exact", "jacobian-frobenius", floor=JACOBIAN_FLOOR, limit=1.35 * JACOBIAN_FLOOR),
    Case("Jacobian entrywise l1, exact", "jacobian-l1", floor=JACOBIAN_FLOOR, limit=1.35 * JACOBIAN_FLOOR),
    # one row less: the label's own difference is 0
    Case("margin-Jacobian, exact", "margin-jacobian", floor=CLASSES, limit=1.35 * JACOBIAN_FLOOR),
    Case("Jacobian Frobenius², one projection", "jacobian-frobenius", {"projections": 1}, floor=2, limit=3.5),
    Case("Hessian operator norm, one product", "hessian-operator", {"warm": True}, "tanh", floor=4, limit=5),
    Case("Hessian operator norm, random starts", "hessian-operator", activation="tanh"),
    Case("PGD-10", "adversarial", PGD, floor=(2 * PGD_STEPS + 3 + 3) / 3, limit=13),
    Case("TRADES-10", "trades", PGD),
    Case("data-dependent spectral, one power step", "data-spectral", {"steps": 1}),
    Case("global spectral", "global-spectral"),
    Case("input gradient", "input-gradient"),
    Case("CURE", "cure", activation="tanh"),
)


def data() -> Data:
    """MNIST, or noise of the same size, which costs the same."""
    try:
        return load_data("mnist", split="train").subset(SAMPLES, seed=0)
    except ValueError:
        x = torch.randint(0, 256, (SAMPLES, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return Data("noise", x, torch.arange(SAMPLES) % CLASSES, CLASSES, (0.0, 1.0))


def seconds(case: Case, images: Data) -> float:
    """Processor time of one epoch from a fresh network: other processes disturb it less than wall time."""
    network = build("cnn", {"activation": case.activation}, seed=0)
    penalty = None if case.regulariser is None else make(case.regulariser, case.arguments)
    start = time.process_time()
    train(network, images, regulariser=penalty, strength=1e-4, epochs=1, batch_size=128, seed=0)
    return time.process_time() - start


def case_rows(case: Case, ratio: float) -> list[Row]:
    """The limit, the floor and what was measured; or that alone."""
    if case.limit is None or case.floor is None:
        return [Row("epoch in plain epochs", case.title, ratio, "")]
    return [
        Row(case.title, "limit", case.limit, "x"),
        Row(case.title, "floor: passes counted", case.floor, "x"),
        Row(case.title, "epoch in plain epochs", ratio, "x"),
    ]


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread: processor time is then wall time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def rows() -> list[Row]:
    """Rows of the bench table: plain training in seconds per 60,000 images, then ratios to it."""
    images = data()
    plain: list[float] = []
    ratios: dict[str, list[float]] = {case.title: [] for case in CASES}
    with one_thread():
        seconds(Case("warm-up"), images)
        for _ in range(REPEATS):
            for case in CASES:
                reference = seconds(Case("plain", activation=case.activation), images)
                ratios[case.title].append(seconds(case, images) / reference)
                if case.activation == "relu":
                    plain.append(reference)
    table = [Row("plain epoch", "per 60,000 images", statistics.median(plain) * 60_000 / SAMPLES, "s")]
    return table + [row for case in CASES for row in case_rows(case, statistics.median(ratios[case.title]))]


if __name__ == "__main__":
    show(rows())
