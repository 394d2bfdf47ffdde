"""Prints the bench table: `make bench`. Ratios are taken within one run, methods interleaved, medians."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import certificates, evaluation, measure, verdicts  # noqa: E402

if __name__ == "__main__":
    measure.show([*measure.rows(), *evaluation.rows(), *certificates.rows(), *verdicts.rows()])
