"""One network: trained and measured once, found again afterwards, done again when its data differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bounds.errors import InputError
from bounds.inputs import load_checkpoint, load_data
from verification.claims.experiment import Measurement, Net, Results
from verification.claims.measurements import MEASUREMENTS, measurement
from verification.claims.work import work
from verification.training.job import Training

TRAINING = Training("digits", "linear", epochs=2, samples=100)


def net(training: Training = TRAINING) -> Net:
    return Net({"method": "plain"}, training, {"gap": Measurement("generalization")})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_is_done_once(tmp_path: Path) -> None:
    first = work(net(), tmp_path)
    before = contents(tmp_path)
    assert len(before) == 3 and first.summary["failed"] is None and first.summary["epochs"] == 2
    assert work(net(), tmp_path) == first
    assert contents(tmp_path) == before


def test_what_is_missing_is_done_again_with_the_same_result(tmp_path: Path) -> None:
    first = work(net(), tmp_path)
    for path in tmp_path.glob("*.generalization-*"):
        path.unlink()
    again = work(net(), tmp_path)
    assert (again.summary, again.measured) == (first.summary, first.measured)
    assert again.seconds != first.seconds


def test_the_summary_and_the_measurement_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    result = work(net(), tmp_path)
    network = load_checkpoint(tmp_path / f"{result.net.digest}.pt")
    data = load_data("digits", split="test")
    x, y = next(data.batches(len(data), torch.float32))
    share = float((network(x).argmax(1) == y).double().mean())
    assert result.summary["test_accuracy"] == pytest.approx(share)
    assert result.measured["gap"]["held_out"]["error"] == pytest.approx(1 - share, abs=0.01)


def test_results_of_other_data_are_not_taken(tmp_path: Path) -> None:
    first = work(net(), tmp_path)
    path = tmp_path / f"{first.net.digest}.json"
    content = json.loads(path.read_text()) | {"data_sha256": "other", "accuracy": 0.0}
    path.write_text(json.dumps(content))
    assert work(net(), tmp_path).summary["accuracy"] == first.summary["accuracy"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    first = work(net(), tmp_path)
    (tmp_path / f"{first.net.digest}.json").write_text("{")
    with pytest.raises(InputError, match=r"\.json: damaged"):
        work(net(), tmp_path)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_that_diverges_is_left_out_of_the_results(tmp_path: Path) -> None:
    training = Training("digits", "mlp", {"widths": [8]}, "weight-decay", {}, 1e30, 2, learning_rate=1e30, samples=64)
    result = work(net(training), tmp_path)
    assert "diverged" in result.summary["failed"] and result.measured == {}
    results = Results([result])
    assert results.failed == [result]
    with pytest.raises(InputError, match="no network"):
        results.where(method="plain")


def test_classes_are_kept_to_the_first_ones(tmp_path: Path) -> None:
    result = work(net(Training("digits", "linear", epochs=1, samples=50, classes=3)), tmp_path)
    network = load_checkpoint(tmp_path / f"{result.net.digest}.pt")
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 3)
    assert result.measured["gap"]["held_out"]["error"] < 1


def test_peak_memory_forgets_what_was_freed() -> None:
    """In a process of its own: another test's freed memory would hide what is allocated here."""
    program = (
        "from verification.claims.work import peak_memory, reset_peak_memory\n"
        "block = bytearray(200 * 2**20)\n"
        "before = peak_memory()\n"
        "del block\n"
        "reset_peak_memory()\n"
        "after = peak_memory()\n"
        "assert before is None or after < before - 150, (before, after)\n"
        "block = bytearray(100 * 2**20)\n"
        "assert after is None or peak_memory() > after + 90, (after, peak_memory())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_measurement_loads() -> None:
    assert all(callable(measurement(name)) for name in MEASUREMENTS)
    with pytest.raises(InputError, match="did you mean 'jacobian'"):
        measurement("jacobean")
