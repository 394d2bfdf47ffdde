"""Charts as data: sorted points, without what is not finite."""

from __future__ import annotations

import json
import math

from verification.claims.chart import Chart, Line, Panel, Table


def test_points_are_sorted_and_finite() -> None:
    line = Line("a", {2.0: (1.0, math.nan), 0.5: [3.0], 1.0: [math.inf]}, "upper bound")
    assert line.record() == {
        "label": "a",
        "side": "upper bound",
        "points": [{"x": 0.5, "values": [3.0]}, {"x": 2.0, "values": [1.0]}],
    }


def test_a_chart_and_a_table_are_plain_json() -> None:
    panel = Panel("MNIST", "ε", "loss (nats)", (Line("a", {1: iter((1.0, 2.0))}),), marks={1.0: "trained"}, level=0.5)
    chart = Chart("name", "what", "Caption.", (panel,)).record()
    assert json.loads(json.dumps(chart, allow_nan=False)) == chart
    assert chart["panels"][0]["marks"] == [{"x": 1.0, "label": "trained"}]
    table = Table("name", "Caption.", ("method", "accuracy"), (("plain", (0.5, 0.6)), ("none", None))).record()
    assert table["rows"] == [["plain", [0.5, 0.6]], ["none", None]]
