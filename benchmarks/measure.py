"""Speed and memory of `bounds.measure` against the usual ways to get the same numbers.

`python -m benchmarks.measure` prints the rows. A time is the median of interleaved repeats in one process,
and every peak is the growth of the resident set in a process of its own.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bounds.measure import jacobians, operator_norm
from bounds.network.operators import Convolution
from bounds.network.segment import Segment


@dataclass(frozen=True)
class Row:
    """One line of the table: a quantity, a method, its value and unit."""

    quantity: str
    method: str
    value: float
    unit: str


def lenet() -> nn.Module:
    """Two 5 x 5 convolutions with 2 x 2 max-pools, two dense layers; 28 x 28 inputs, 10 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 20, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(800, 500),
            nn.ReLU(),
            nn.Linear(500, 10),
        )
    return network.eval()


def batch(n: int) -> Tensor:
    """Images of uniform noise."""
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def one_at_a_time(model: nn.Module, x: Tensor) -> Tensor:
    """torch.autograd.functional.jacobian per sample."""
    rows = [torch.autograd.functional.jacobian(lambda z: model(z[None])[0], sample) for sample in x]
    return torch.stack(rows)


def vectorised(model: nn.Module, x: Tensor) -> Tensor:
    """All samples at once: vmap of jacrev."""
    rows: Tensor = torch.func.vmap(torch.func.jacrev(lambda z: model(z[None])[0]))(x)
    return rows


METHODS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "bounds.measure.jacobians": jacobians,
    "autograd.functional.jacobian": one_at_a_time,
    "vmap(jacrev)": vectorised,
}


def jacobian_times(n: int = 64, repeats: int = 15) -> list[Row]:
    """Median seconds for the Jacobians of one batch, methods interleaved."""
    model, x = lenet(), batch(n)
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for repeat in range(repeats + 1):
        for name, method in METHODS.items():
            start = time.perf_counter()
            method(model, x)
            if repeat:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return [Row("Jacobians of a batch", name, statistics.median(times[name]), "s") for name in METHODS]


def jacobian_peaks(n: int = 64, repeats: int = 3) -> list[Row]:
    """Median peak memory for the Jacobians of one batch above that of one sample, each in a fresh process."""
    rows = []
    for name in METHODS:
        command = [sys.executable, "-m", "benchmarks.measure", name, str(n)]
        peaks = [
            float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(repeats)
        ]
        rows.append(Row("peak memory of the Jacobians", name, statistics.median(peaks), "MiB"))
    return rows


def convolution_norm(repeats: int = 5) -> list[Row]:
    """Seconds and upper/lower for Conv2d(64, 128, 3, padding=1) on 32 x 32, plain and with a mean added."""
    rows = []
    for title, mean in (("at initialisation", 0.0), ("with a mean", 0.02)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            weight = nn.Conv2d(64, 128, 3, padding=1).weight.detach().double() + mean
        segment = Segment("conv", (Convolution((64, 32, 32), weight, (1, 1), (1, 1), (1, 1), 1),))
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            norm = operator_norm(segment)
            times.append(time.perf_counter() - start)
        rows.append(Row(f"convolution norm {title}", "time", statistics.median(times), "s"))
        ratio = norm.upper.value / norm.lower.value
        rows.append(Row(f"convolution norm {title}", f"upper/lower, {norm.upper.how}", ratio, ""))
    return rows


def rows() -> list[Row]:
    """All rows of the table."""
    return [*jacobian_times(), *jacobian_peaks(), *convolution_norm()]


def _peak(name: str, n: int) -> float:
    """Growth of the peak resident set (MiB) from one sample to n."""
    model = lenet()
    METHODS[name](model, batch(1))
    before = _high_water_mark()
    METHODS[name](model, batch(n))
    return _high_water_mark() - before


def _high_water_mark() -> float:
    """Peak resident set of this process in MiB (Linux; getrusage would count the parent's before exec)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def in_process(module: str, call: str) -> tuple[float, float]:
    """What a call in `module` returns (a number), and the peak resident memory (MiB), in a fresh process."""
    code = f"from {module} import *;import benchmarks.measure as m;print({call}, m._high_water_mark())"
    command = [sys.executable, "-c", code]
    value, peak = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(value), float(peak)


def show(table: list[Row]) -> None:
    """Print rows, with ratios to the first method of each quantity."""
    first: dict[str, float] = {}
    for row in table:
        reference = first.setdefault(row.quantity, row.value)
        ratio = f"{row.value / reference:8.2f} x" if row.unit and reference else ""
        print(f"{row.quantity:36s} {row.method:52s} {row.value:9.4f} {row.unit:4s}{ratio}")


def main() -> None:
    """Print the rows; with a method and a batch size, that method's peak memory."""
    if len(sys.argv) > 1:
        print(_peak(sys.argv[1], int(sys.argv[2])))
    else:
        show(rows())


if __name__ == "__main__":
    main()
