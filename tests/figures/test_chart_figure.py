"""Charts show every panel, line and point of a record, in the width and type of the venue, and nothing overlaps."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from figures.chart_axes import axis_of, log_ticks, tick_labels
from figures.chart_figure import chart_caption, chart_figure, chart_in_words
from figures.chart_panel import DASHES, looks_of
from figures.rows import student_interval
from figures.style import PAGE, SCREEN, VENUES, Venue, style
from figures.write import render
from tests.figures.reproductions import (
    METHODS,
    RADII,
    SPECIAL,
    chart,
    charts,
    hostile_charts,
    interval,
    line,
    panel,
)
from tests.figures.test_figures import ticks_out_of_view

SEEDS = [0, 1, 2]
ALL = {**VENUES, "screen": SCREEN, "page": PAGE}
SMALLEST = {"slides": 14.0}


def seen_texts(figure: Figure) -> list[Text]:
    unseen = {tick.label1 for axes in figure.axes for tick in ticks_out_of_view(axes)}
    unseen |= {t.label1 for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for t in axis.get_minor_ticks()}
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in unseen]


def check_layout(figure: Figure, smallest: float) -> None:
    """Every text is large enough, inside the figure, and clear of other texts and of the inside of panels."""
    figure.set_dpi(200)
    FigureCanvasAgg(figure).draw()
    found = seen_texts(figure)
    assert min((t.get_fontsize() for t in found), default=smallest) >= smallest
    page = figure.bbox
    boxes = [(t.get_text(), Text.get_window_extent(t)) for t in found]
    for text, box in boxes:
        assert box.x0 >= page.x0 - 2 and box.x1 <= page.x1 + 2, f"{text!r} is cut at the side"
        assert box.y0 >= page.y0 - 2 and box.y1 <= page.y1 + 2, f"{text!r} is cut above or below"
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width < 1 or height < 0.2 * min(a.height, b.height), f"{one!r} lies on {other!r}"
    for axes in figure.axes:
        inside = axes.get_window_extent()
        for text, box in boxes:
            width, height = (
                min(inside.x1, box.x1) - max(inside.x0, box.x0),
                min(inside.y1, box.y1) - max(inside.y0, box.y0),
            )
            # mark names stand right on the upper edge; a plot area with no values says so inside
            assert width < 2 or height < 0.3 * box.height or text == "no values", f"{text!r} lies in a panel"


@pytest.mark.parametrize("venue", ALL.values(), ids=lambda venue: venue.name)
@pytest.mark.parametrize("which", charts(), ids=lambda which: which["name"])
def test_a_chart_has_the_width_of_its_venue_and_nothing_overlaps(which: dict[str, Any], venue: Venue) -> None:
    with style(venue):
        figure = chart_figure(which, SEEDS, venue)
        width, height = figure.get_size_inches()
        assert width == (venue.column if len(which["panels"]) == 1 else venue.width)
        assert height == pytest.approx(venue.height) if venue.height else 1.5 < height < 9.5
        check_layout(figure, SMALLEST.get(venue.name, 6.5))


@pytest.mark.parametrize("venue", [VENUES["icml"], SCREEN], ids=lambda venue: venue.name)
@pytest.mark.parametrize("odd", hostile_charts())
def test_odd_charts_are_legible_too(odd: str, venue: Venue) -> None:
    with style(venue):
        check_layout(chart_figure(hostile_charts()[odd], SEEDS, venue), 6.5)


def test_the_width_survives_saving() -> None:
    for name, venue in VENUES.items():
        figure = chart_figure(charts()[2], SEEDS, venue)
        box = render(figure, "pdf", venue=venue, crop=False).split(b"/MediaBox [", 1)[1].split(b"]", 1)[0].split()
        assert float(box[2]) == pytest.approx(72 * venue.width), name
    assert VENUES["neurips"].width == 5.5
    assert (VENUES["icml"].column, VENUES["icml"].width) == (3.25, 6.75)
    assert VENUES["jmlr"].width == 6.0
    assert VENUES["slides"].width / VENUES["slides"].height == pytest.approx(16 / 9)  # type: ignore[operator]


@pytest.mark.parametrize("name", VENUES)
def test_fonts_are_those_of_the_venue(name: str) -> None:
    with style(VENUES[name]):
        figure = chart_figure(charts()[0], SEEDS, VENUES[name])
        expected = "DejaVu Sans" if name == "slides" else "STIXGeneral"
        assert {text.get_fontname() for text in seen_texts(figure)} == {expected}


def data_lines(axes: Axes) -> list[Line2D]:
    return [drawn for drawn in axes.get_lines() if drawn.get_label().startswith("_") and len(drawn.get_xdata()) > 0]  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("which", charts(), ids=lambda which: which["name"])
def test_every_panel_line_and_point_appears(which: dict[str, Any]) -> None:
    figure = chart_figure(which, SEEDS)
    assert len(figure.axes) == len(which["panels"])
    looks = looks_of(which["panels"])
    legend = [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]
    assert legend == list(looks)
    for axes, shown in zip(figure.axes, which["panels"], strict=True):
        assert axes.get_title(loc="left").replace("\n", " ") == shown["title"]
        drawn = {d.get_label(): d for d in axes.get_lines()}
        for each in shown["lines"]:
            found = drawn[f"_{each['label']}"]
            assert list(found.get_xdata()) == [point["x"] for point in each["points"]]
            means = [float(np.mean(point["values"])) for point in each["points"]]
            assert np.allclose(np.asarray(found.get_ydata(), dtype=float), means)
            assert (found.get_color(), found.get_marker()) == looks[each["label"]]
            low, high = axes.get_ylim()
            assert all(low <= mean <= high for mean in means)


def test_bands_are_student_intervals() -> None:
    which = charts()[0]
    (axes,) = chart_figure(which, SEEDS).axes
    floor = axes.get_ylim()[0]
    bands = [band for band in axes.collections if isinstance(band, PolyCollection)]
    assert len(bands) == len(which["panels"][0]["lines"])
    for band, each in zip(bands, which["panels"][0]["lines"], strict=True):
        corners = band.get_paths()[0].vertices
        for point in each["points"]:
            low, high = interval(point["values"])
            edges = [float(y) for x, y in np.asarray(corners) if x == point["x"]]
            assert min(edges) == pytest.approx(max(low, floor))
            assert max(edges) == pytest.approx(high)


@given(st.lists(st.integers(-1000, 1000).map(lambda k: k / 8), min_size=2, max_size=9))
@settings(max_examples=60, deadline=None)
def test_the_interval_is_students(values: list[float]) -> None:
    mean, low, high = student_interval(values)
    expected = interval(values)
    assert mean == pytest.approx(float(np.mean(values)), abs=1e-9)
    assert (low, high) == (pytest.approx(expected[0], abs=1e-6), pytest.approx(expected[1], abs=1e-6))


def test_one_seed_has_no_band_and_says_so() -> None:
    which = chart("one", panel("One seed", [line("loss", RADII, abs, seeds=1)]))
    figure = chart_figure(which, [7])
    assert not figure.axes[0].collections
    assert chart_caption(which, [7]).endswith("Seed: 7.")


def test_captions_name_seeds_bands_and_kinds_of_lines() -> None:
    said = chart_caption(charts()[0], SEEDS)
    assert said.startswith(charts()[0]["caption"])
    assert "Dashed: upper bounds; dotted: lower bounds; dash-dotted: estimates; seeds: 0–2; " in said
    assert said.endswith("bands: 95 % interval (Student) of the mean over 3 seeds.")
    figure = chart_figure(charts()[0], SEEDS)
    assert " ".join(text.get_text() for text in figure.texts) == said
    assert not chart_figure(charts()[0], SEEDS, captioned=False).texts


def test_bounds_are_drawn_apart_from_measurements() -> None:
    sides = {each["label"]: each["side"] for each in charts()[0]["panels"][0]["lines"]}
    (axes,) = chart_figure(charts()[0], SEEDS).axes
    styles = {d.get_label(): d._unscaled_dash_pattern[1] for d in axes.get_lines()}  # type: ignore[attr-defined]
    for label, side in sides.items():
        expected = None if side == "measured" else DASHES[side][1]
        assert (None if styles[f"_{label}"] is None else tuple(styles[f"_{label}"])) == expected


def test_ten_lines_differ_in_colour_and_marker() -> None:
    looks = looks_of(charts()[-1]["panels"])
    assert len(looks) == len(METHODS)
    assert len({colour for colour, _ in looks.values()}) == len({marker for _, marker in looks.values()}) == 10


def test_a_label_with_two_sides_is_told_apart_in_the_legend() -> None:
    lines = [line("loss", RADII, abs, side=side) for side in ("measured", "upper bound")]
    figure = chart_figure(chart("two", panel("", lines)), SEEDS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["loss (measured)", "loss (upper bound)"]


def test_shared_axes_are_shared_and_numbered_once() -> None:
    first, second = chart_figure(charts()[1], SEEDS).axes
    assert first.get_ylim() == second.get_ylim()
    assert first.yaxis.get_tick_params()["labelleft"] and not second.yaxis.get_tick_params()["labelleft"]
    panels = [panel(str(k), [line("loss", RADII, lambda x, k=k: k * x)]) for k in (1, 9)]
    first, second = chart_figure(chart("own", *panels), SEEDS).axes
    assert first.get_ylim() != second.get_ylim()


def test_marks_and_levels_are_drawn_and_named() -> None:
    first, second = chart_figure(charts()[1], SEEDS).axes
    marks = charts()[1]["panels"][0]["marks"]
    upright = [d.get_xdata()[0] for d in first.get_lines() if d.get_label().startswith("_child")]  # type: ignore[union-attr, index]
    assert upright == [mark["x"] for mark in marks]
    assert [text.get_text() for text in first.texts] == [mark["label"] for mark in marks]
    assert 0.1 in [d.get_ydata()[0] for d in second.get_lines() if d.get_label().startswith("_child")]  # type: ignore[union-attr, index]


def test_zero_has_a_place_on_a_symlog_axis() -> None:
    axes = chart_figure(charts()[2], SEEDS).axes[0]
    assert axes.get_xscale() == "symlog"
    assert axes.get_xlim()[0] < 0 < axes.get_xticks()[1]
    assert 0.0 in axes.get_xticks() and axes.get_xticklabels()[0].get_text() == "0"
    at = axes.transData.transform([(0.0, 0.01), (0.01, 0.01), (0.1, 0.01)])[:, 0]
    assert at[1] - at[0] > 0.4 * (at[2] - at[1])  # 0 does not stick to the smallest strength
    share = (at[1] - axes.bbox.x0) / axes.bbox.width
    low, high = axes.get_xlim()
    assert axis_of("symlog", [0.0, 0.01, 1.0]).share(0.01) == pytest.approx(share, abs=0.02), (low, high)


def test_values_without_a_place_on_a_logarithmic_axis_lie_on_its_edge() -> None:
    falls = line("falls", (0.0, 0.5, 1.0), lambda x: 0.5 - x, spread=0.0)
    which = chart("falls", panel("Falls", [falls], y_scale="log"))
    (axes,) = chart_figure(which, SEEDS).axes
    hollow = next(d for d in axes.get_lines() if d.get_label() == "_off")
    assert list(hollow.get_xdata()) == [0.5, 1.0] and set(hollow.get_ydata()) == {axes.get_ylim()[0]}
    assert "not positive" in chart_caption(which, SEEDS) and "not positive" not in chart_caption(charts()[0], SEEDS)


@given(
    st.sampled_from(["linear", "log", "symlog"]),
    st.lists(st.floats(-1e8, 1e8).filter(lambda x: x == 0 or abs(x) > 1e-8), max_size=8),
    st.integers(2, 7),
)
@settings(max_examples=150, deadline=None)
def test_axes_hold_their_values_and_ticks(scale: str, values: list[float], at_most: int) -> None:
    axis = axis_of(scale, values)
    assert math.isfinite(axis.low) and axis.low < axis.high
    shown = [value for value in values if axis.scale != "log" or value > 0]
    assert all(axis.low <= value <= axis.high for value in shown)
    ticks = axis.ticks(at_most)
    assert ticks == sorted(ticks) and len(tick_labels(ticks, axis.scale)) == len(ticks) <= 2 * at_most + 2
    assert all(-0.01 <= axis.share(tick) <= 1.01 for tick in ticks)


def test_ticks_of_a_logarithmic_axis_are_round() -> None:
    assert log_ticks(0.9, 1100.0, 4) == [1.0, 10.0, 100.0, 1000.0]


def test_words_for_those_who_cannot_see() -> None:
    said = chart_in_words(charts()[1])
    for shown in charts()[1]["panels"]:
        assert shown["title"] in said
        assert all(each["label"] in said for each in shown["lines"])


def test_special_characters_are_not_mathematics() -> None:
    figure = chart_figure(hostile_charts()["special"], SEEDS)
    assert SPECIAL in figure.axes[0].get_title(loc="left").replace("\n", " ")
    assert render(figure, "svg", venue=SCREEN, crop=False)
