"""The alignment figure shows what its record holds, and nothing where there is nothing."""

from __future__ import annotations

import io
import itertools
import math
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from figures.alignment_figure import COLOURS, alignment_figure


def around(median: float) -> list[float]:
    return [0.9 * median, median, 1.1 * median]


def record(norm: str = "l2", r: str = "2", *, box: list[float] | None = None) -> dict[str, Any]:
    """An alignment record of made-up attacks whose cosines fall and whose deviations grow."""
    results = []
    for number, eps in enumerate((1e-4, 1e-2, 1.0)):
        attacks = {
            loss: {
                "cosine": around(start - 0.1 * number),
                "operator_cosine": around(start - 0.15 * number),
                "energy": [around((start - 0.1 * number) ** 2), around((start - 0.02 * number) ** 2)],
                "gap": around(-0.05 * number),
                "deviation": around(0.2 * number * start),
            }
            for loss, start in (("cross-entropy", 0.5), ("distance", 0.9))
        }
        results.append({"eps": eps, "inside": 1.0 if number == 0 else 0.0, "attacks": attacks})
    return {
        "format": "jacobound-alignment",
        "version": 1,
        "model": "cnn-plain",
        "data": "mnist",
        "samples": 3,
        "dimension": 16,
        "norm": norm,
        "r": r,
        "box": box,
        "notes": [],
        "radius": {"quantiles": {"0.1": 2e-4, "0.5": 5e-4, "0.9": 1e-3}, "values": [2e-4, 5e-4, 1e-3]},
        "results": results,
    }


def medians(figure: Figure, panel: int, colour: str) -> list[tuple[float, ...]]:
    lines = figure.axes[panel].get_lines()
    return [tuple(line.get_ydata()) for line in lines if line.get_color() == colour and len(line.get_xdata()) == 3]


def column(made: dict[str, Any], loss: str, what: str) -> tuple[float, ...]:
    return tuple(result["attacks"][loss][what][1] for result in made["results"])


@pytest.mark.parametrize(("norm", "r"), [("l2", "2"), ("linf", "2"), ("l2", "inf")])
def test_lines_hold_the_medians_and_bands_the_quartiles(norm: str, r: str) -> None:
    made = record(norm, r)
    figure = alignment_figure([made])
    for loss, colour in COLOURS.items():
        left = [column(made, loss, "cosine")]
        if (norm, r) != ("l2", "2"):
            left.append(column(made, loss, "operator_cosine"))
        left.append(tuple(math.sqrt(result["attacks"][loss]["energy"][-1][1]) for result in made["results"]))
        assert medians(figure, 0, colour) == left
    assert medians(figure, 1, COLOURS["cross-entropy"]) == [column(made, "cross-entropy", "deviation")]
    distance = [column(made, "distance", what) for what in ("deviation", "gap")]
    assert medians(figure, 1, COLOURS["distance"]) == distance
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    low, _, high = made["results"][-1]["attacks"]["cross-entropy"]["cosine"]
    assert {low, high} <= {float(y) for x, y in band if x == 1.0}


def test_the_radii_are_marked_and_the_norms_named() -> None:
    made = record("linf", "inf", box=[0.0, 1.0])
    figure = alignment_figure([made, record()])
    assert len(figure.axes) == 4
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        assert [line.get_xdata()[0] for line in axes.get_lines() if len(set(line.get_xdata())) == 1] == [5e-4]
        spans = [patch for patch in axes.patches if math.isclose(patch.get_x(), 2e-4)]
        assert len(spans) == 1 and math.isclose(spans[0].get_width(), 8e-4)
    figure.savefig(io.BytesIO(), format="svg")
    found = [item.get_text() for item in figure.findobj(Text)]
    assert "cnn-plain, ℓ∞ ball ∩ [0, 1] box" in found and "cnn-plain, ℓ2 ball" in found
    assert "deviation / ε‖J‖ (ℓ∞ → ℓ∞)" in found and "ε in input units (ℓ2)" in found


def test_records_with_nothing_to_show_still_make_figures() -> None:
    bare, linear, dead = record(), record(), record()
    bare["radius"], bare["results"] = None, []
    linear["radius"]["quantiles"] = {"0.1": 0.0, "0.5": None, "0.9": None}
    for result in dead["results"]:
        for found in result["attacks"].values():
            found.update(cosine=None, operator_cosine=None, energy=[None, None], gap=None, deviation=None)
    figure = alignment_figure([bare, linear, dead])
    figure.savefig(io.BytesIO(), format="png")
    for axes, drawn in zip(figure.axes, (0, 0, 4, 3, 0, 0), strict=True):
        assert sum(len(line.get_xdata()) == 3 for line in axes.get_lines()) == drawn
    assert not any(axes.patches for axes in figure.axes[:4])


@pytest.mark.parametrize("radii", [(0.0, 1e-2, 1.0), (0.0, 0.0, 0.0)])
def test_radius_0_has_a_place(radii: tuple[float, ...]) -> None:
    made = record()
    for result, eps in zip(made["results"], radii, strict=True):
        result["eps"] = eps
    for axes in alignment_figure([made]).axes:
        low, high = axes.get_xlim()
        assert low < 0.0 < high
        assert 0.0 in axes.get_xticks()


def test_no_text_lies_on_another() -> None:
    figure = alignment_figure([record(), record("linf")])
    FigureCanvasAgg(figure).draw()
    found = []
    for axes in figure.axes:
        found += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    found += [text for legend in figure.legends for text in legend.get_texts()]
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in found if text.get_text()]
    assert min(text.get_fontsize() for text in found) >= 6.5
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1, f"{one!r} on {other!r}"
