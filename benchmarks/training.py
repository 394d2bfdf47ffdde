"""Seconds per epoch of every regulariser, relative to a plain epoch of the same MNIST CNN.

`python -m benchmarks.training` prints the rows. Cases are interleaved, each repeat from a fresh network; medians. The
arithmetic floor of an exact Jacobian regulariser counts passes: plain training is one forward and two backward units;
K vector-Jacobian products and their backward passes through the graph add about 3K + 1 more.
"""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.measure import Row, show
from bounds.inputs import Data, load_data
from verification.training.networks import build
from verification.training.regularisers import make
from verification.training.trainer import train

SAMPLES, REPEATS = 6_000, 3
CASES: dict[str, tuple[str, dict[str, object]] | None] = {
    "plain": None,
    "Jacobian Frobenius², exact": ("jacobian-frobenius", {}),
    "Jacobian entrywise l1, exact": ("jacobian-l1", {}),
    "margin-Jacobian, exact": ("margin-jacobian", {}),
    "Jacobian Frobenius², one projection": ("jacobian-frobenius", {"projections": 1}),
    "data-dependent spectral, one power step": ("data-spectral", {"steps": 1}),
    "global spectral": ("global-spectral", {}),
    "input gradient": ("input-gradient", {}),
    "Hessian operator norm, one step": ("hessian-operator", {}),
    "CURE": ("cure", {}),
    "PGD-10": ("adversarial", {"norm": "linf", "eps": 0.1}),
    "TRADES-10": ("trades", {"norm": "linf", "eps": 0.1}),
}


def data() -> Data:
    """MNIST, or noise of the same size, which costs the same."""
    try:
        return load_data("mnist", split="train").subset(SAMPLES, seed=0)
    except ValueError:
        x = torch.randint(0, 256, (SAMPLES, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return Data("noise", x, torch.arange(SAMPLES) % 10, 10, (0.0, 1.0))


def rows() -> list[Row]:
    """Rows of the bench table: ratios to plain training, which comes first in seconds per 60,000 images."""
    images = data()
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(REPEATS):
        for name, case in CASES.items():
            network = build("cnn", {"activation": "tanh" if name.startswith(("Hessian", "CURE")) else "relu"}, seed=0)
            penalty = None if case is None else make(*case)
            start = time.perf_counter()
            train(network, images, regulariser=penalty, strength=1e-4, epochs=1, batch_size=128, seed=0)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    plain = medians.pop("plain")
    return [
        Row("epoch of the MNIST CNN", "plain, per 60,000 images", plain * 60_000 / SAMPLES, "s"),
        *(Row("epoch relative to plain", name, value / plain, "x") for name, value in medians.items()),
    ]


if __name__ == "__main__":
    show(rows())
