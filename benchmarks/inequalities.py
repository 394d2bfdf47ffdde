"""How long the inequality laboratory takes with its default budget, and with mutants left out."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from benchmarks.measure import Row, show


def rows() -> list[Row]:
    """Rows of the bench table."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "jacobound", "falsify", "--json", "--quiet"], check=True, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    findings = json.loads(done.stdout)["findings"]
    return [
        Row("jacobound falsify", f"{len(findings)} inequalities, all processors", seconds, "s"),
        Row("instances compared for them", "without the mutants'", sum(f["instances"] for f in findings), ""),
    ]


if __name__ == "__main__":
    show(rows())
