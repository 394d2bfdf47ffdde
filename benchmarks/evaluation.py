"""Time and memory of a full evaluation, of the formulas alone, and of the command line's start."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.measure import Row, in_process, lenet


def full_evaluation(samples: int = 60_000) -> float:
    """Evaluate a LeNet of about 400k parameters on MNIST-sized images, Jacobians on 1,000; returns seconds."""
    import torch

    from bounds import evaluate
    from bounds.inputs import Data, load_data

    try:
        train, test = load_data("mnist", split="train"), load_data("mnist", split="test")
    except ValueError:  # no data here: noise of the same size costs the same
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(0, 256, (samples + 10_000, 1, 28, 28), dtype=torch.uint8, generator=generator)
        y = torch.arange(len(x)) % 10
        train = Data("noise", x[:samples], y[:samples], 10, (0.0, 1.0))
        test = Data("noise", x[samples:], y[samples:], 10, (0.0, 1.0))
    start = time.perf_counter()
    evaluate(lenet(), train, test, eps=0.1, norm="l2", jacobian_samples=1000)
    return time.perf_counter() - start


def formulas_at_depth(depth: int = 100) -> float:
    """Raw and guaranteed value of every bound that exists for a smooth chain of this depth; returns seconds."""
    from bounds import catalogue
    from bounds.by_hand import Norms
    from bounds.catalogue.entry import Bound
    from bounds.readings import Settings, read_fixed

    norms = Norms(s=[1.5] * depth, a=[5.0] * depth, b=[20.0] * depth, widths=[64] * depth + [10], classes=10, d=64)
    measured = norms.measurements()
    bounds = [
        v
        for e in catalogue.entries()
        if not e.key.startswith(("yin", "awasthi"))
        for v in e.variants
        if isinstance(v, Bound)
    ]
    start = time.perf_counter()
    for bound in bounds:
        read_fixed(bound, measured, Settings(), lambda gamma: 0.0)
    return time.perf_counter() - start


def rows() -> list[Row]:
    """Rows of the bench table, each job in a process of its own."""
    seconds, peak = in_process("benchmarks.evaluation", "full_evaluation()")
    formulas, _ = in_process("benchmarks.evaluation", "formulas_at_depth()")
    return [
        Row("jacobound --help", "wall, median of 7", _help_seconds(), "s"),
        Row("evaluate LeNet on 60,000 images", "Jacobians on 1,000", seconds, "s"),
        Row("peak memory of that evaluation", "resident set", peak, "MiB"),
        Row("all formulas at depth 100", "raw and guaranteed", formulas, "s"),
    ]


def _help_seconds(repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "jacobound", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
