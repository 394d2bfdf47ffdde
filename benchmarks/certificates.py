"""Time, memory and tightness of certificates of the strided CNN on real MNIST.

`python -m benchmarks.certificates` prints the rows; needs JACOBOUND_DATA (or downloads) and, for the comparison with
the published method of Wong & Kolter, the package convex-adversarial of the extra `referee`.
"""

from __future__ import annotations

import importlib.util
import sys
import time

import torch
from torch import Tensor, nn

from benchmarks.measure import Row, in_process, show
from benchmarks.mnist import TRAININGS, checkpoint, images
from bounds.errors import InputError
from bounds.inputs import load_checkpoint, load_data
from bounds.network import trace
from verification.attack_set import AttackSet
from verification.certify.certifier import Certifier

NORMS = ("linf", "l2", "l1")
BOX = (0.0, 1.0)
SECONDS, MEBIBYTES = 12.0, 2048.0  # what 100 images may cost on two cores
REFEREE = "convex_adversarial"
# Norms of convex-adversarial: its names are those of the dual norm, and its l2 knows no box.
REFEREE_SETS = {"linf": ({"norm_type": "l1", "bounded_input": True}, BOX), "l2": ({"norm_type": "l2"}, None)}
RADII = {"linf": (0.03, 0.1), "l2": (0.3, 1.0)}


def certified(name: str, x: Tensor, y: Tensor, allowed: AttackSet, effort: str) -> Tensor:
    """U of every image."""
    model = load_checkpoint(checkpoint(name))
    loss: Tensor = Certifier.measured(trace(model, x)).certify(x, y, allowed, effort=effort).loss
    return loss


def seconds(name: str, norm: str, eps: float, n: int) -> float:
    """Wall time for the certificates of n images (9 margins each, relaxation, float64), tracing and norms included."""
    x, y = images(n)
    start = time.perf_counter()
    certified(name, x, y, AttackSet(norm, eps, BOX), "quick")
    return time.perf_counter() - start


def speed_rows(n: int = 100, eps: float = 0.1) -> list[Row]:
    """Time and peak memory per norm on the plainly trained network, each in a process of its own; the limits first."""
    checkpoint("plain")
    times, peaks = [Row(f"certificates of {n} images", "limit", SECONDS, "s")], []
    peaks.append(Row("peak memory of those certificates", "limit", MEBIBYTES, "MiB"))
    for norm in NORMS:
        wall, peak = in_process("benchmarks.certificates", f"seconds('plain', '{norm}', {eps}, {n})")
        times.append(Row(times[0].quantity, f"{norm} in the box, eps {eps}", wall, "s"))
        peaks.append(Row(peaks[0].quantity, f"{norm} in the box, eps {eps}", peak, "MiB"))
    return times + peaks


def referee_loss(model: nn.Sequential, x: Tensor, y: Tensor, norm: str, eps: float) -> Tensor:
    """Robust loss by convex-adversarial in float64, image by image."""
    from convex_adversarial import RobustBounds

    bounds = RobustBounds(model.double(), eps, **REFEREE_SETS[norm][0])
    losses = []
    with torch.no_grad():
        for sample, label in zip(x.split(1), y.split(1), strict=True):
            losses.append(nn.functional.cross_entropy(bounds(sample, label), label))
    return torch.stack(losses)


def referee_rows(n: int = 20) -> list[Row]:
    """Mean U against convex-adversarial's on the same networks, images and sets."""
    if importlib.util.find_spec(REFEREE) is None:
        print(f"no comparison with {REFEREE}: it is not installed (extra `referee`)", file=sys.stderr)
        return []
    rows = []
    x, y = images(n)
    for name in TRAININGS:
        for norm, radii in RADII.items():
            for eps in radii:
                quantity = f"mean U, {name}, {norm} {eps}"
                theirs = referee_loss(load_checkpoint(checkpoint(name)), x, y, norm, eps)
                rows.append(Row(quantity, "convex-adversarial", float(theirs.mean()), "nats"))
                for effort in ("quick", "standard"):
                    ours = certified(name, x, y, AttackSet(norm, eps, REFEREE_SETS[norm][1]), effort)
                    rows.append(Row(quantity, f"ours, {effort}", float(ours.mean()), "nats"))
    return rows


def rows() -> list[Row]:
    """Rows of the bench table; none where MNIST is not at hand."""
    try:
        load_data("mnist", split="test")
    except InputError as error:
        print(f"no certificates on MNIST: {error}", file=sys.stderr)
        return []
    return [*speed_rows(), *referee_rows()]


if __name__ == "__main__":
    show(rows())
