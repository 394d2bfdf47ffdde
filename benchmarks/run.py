"""Prints the bench table: `make bench`. Ratios are taken within one run, methods interleaved, medians."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import attacks, certificates, evaluation, inequalities, measure, training, verdicts  # noqa: E402

if __name__ == "__main__":
    parts = (measure, evaluation, attacks, certificates, verdicts, inequalities, training)
    measure.show([row for part in parts for row in part.rows()])
