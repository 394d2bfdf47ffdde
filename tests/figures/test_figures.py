"""The figures show every row of the records, stay finite and legible, and reach the disk whole."""

from __future__ import annotations

import io
import itertools
import math
import re
import zlib
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from bounds.errors import InputError
from figures import write
from figures.bounds_figure import axis_limits, bounds_figure
from figures.layers_figure import layers_figure
from figures.style import PALETTE, TALLEST, VENUES, layer_colours, shorten, spread, text_width
from figures.write import make_figures, render, write_figures
from tests.figures.examples import KINDS, evaluation, records
from tests.figures.verifications import hostile


def texts(figure: Figure) -> list[str]:
    """Everything written in a figure, after drawing it once."""
    figure.savefig(io.BytesIO(), format="svg")
    return [item.get_text() for item in figure.findobj(Text) if item.get_visible() and item.get_text()]


def ticks_out_of_view(axes: Axes) -> list[Tick]:
    found = []
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
        slack = 1e-9 * (high - low)
        found += [tick for tick in axis.get_major_ticks() if not low - slack <= tick.get_loc() <= high + slack]
    return found


def drawn_x(figure: Figure, marker: str) -> list[float]:
    return [
        float(line.get_xdata()[0]) for axes in figure.axes for line in axes.get_lines() if line.get_marker() == marker
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_text_overlaps_another_or_is_tiny(kind: write.Kind) -> None:
    check_texts(kind.draw(kind.fitting(records())))


@pytest.mark.parametrize("name", VENUES)
def test_figures_for_a_venue_fit_its_page_and_can_be_read_there(name: str) -> None:
    venue = VENUES[name]
    for drawn in write.draw_for(records(), venue):
        drawn.figure.savefig(io.BytesIO(), format="svg")
        sizes = [float(text.get_fontsize()) for text in drawn.figure.findobj(Text) if text.get_text().strip()]
        assert drawn.scale * min(sizes) >= 0.98 * venue.text, drawn.name
        box = drawn.figure.get_tightbbox(FigureCanvasAgg(drawn.figure).get_renderer())
        assert drawn.scale * box.width <= venue.width, drawn.name
        assert drawn.scale * box.height <= (venue.height or TALLEST), drawn.name


@pytest.mark.parametrize("odd", hostile())
def test_odd_verifications_are_legible_too(odd: str) -> None:
    for figure in make_figures([hostile()[odd]]).values():
        check_texts(figure)


def check_texts(figure: Figure) -> None:
    """No text is tiny or lies on another one."""
    FigureCanvasAgg(figure).draw()
    unseen = {tick.label1 for axes in figure.axes for tick in ticks_out_of_view(axes)}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in unseen]
    assert min(t.get_fontsize() for t in found) >= 6.5
    boxes = [(t.get_text(), Text.get_window_extent(t)) for t in found]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width < 1 or height < 0.15 * min(a.height, b.height), f"{one!r} lies on {other!r}"


def test_every_row_and_model_is_named_in_the_bounds_figure() -> None:
    evaluations = [evaluation("plain"), evaluation("regularised", shift=-2.0)]
    found = texts(bounds_figure(evaluations))
    for row in evaluations[0]["rows"]:
        assert row["title"] in found
        assert row["variant"] in found
    assert {"plain", "regularised", "Risk", "Robust risk"} <= set(found)
    assert sum(text.startswith("not applicable") for text in found) == 6


def test_dots_sit_at_the_values_and_bars_at_the_gap() -> None:
    record = evaluation(gap=0.01)
    values = [row for row in record["rows"] if row["status"] == "value"]
    figure = bounds_figure([record])
    assert sorted(drawn_x(figure, "o")) == sorted(row["fixed_class"]["raw_log10"] for row in values)
    assert sorted(drawn_x(figure, "D")) == sorted(
        row["a_posteriori"]["raw_log10"] for row in values if row["a_posteriori"]
    )
    gaps = [row["gap"]["measured"] for row in values]
    assert sorted(drawn_x(figure, "|")) == sorted(math.log10(gap) for gap in gaps if gap is not None and gap > 0)
    assert len(drawn_x(figure, "<")) == sum(gap is not None and gap <= 0 for gap in gaps)


@pytest.mark.parametrize("extreme", [-10.0, 400.0, 1e5])
def test_extreme_values_keep_the_others_readable(extreme: float) -> None:
    record = evaluation()
    record["rows"][2]["fixed_class"]["raw_log10"] = extreme
    low, high = axis_limits([record])
    assert low < -1.4
    assert high < 30
    figure = bounds_figure([record])
    assert all(low <= x <= high for x in drawn_x(figure, "o") + drawn_x(figure, ">"))
    if extreme > 100:
        assert len(drawn_x(figure, ">")) == 1
        assert any(f"{extreme:.0f}" in text for text in texts(figure))


def test_a_deep_network_has_a_long_axis_instead_of_arrows() -> None:
    record = evaluation(shift=400.0)
    assert axis_limits([record])[1] > 411
    assert not drawn_x(bounds_figure([record]), ">")


def test_records_with_nothing_to_show_still_make_figures() -> None:
    empty = evaluation()
    empty["rows"] = [row for row in empty["rows"] if row["status"] != "value"]
    assert "no bound with a per-layer form applies" in texts(layers_figure([empty]))
    for figure in make_figures([empty]).values():
        assert render(figure, "png").startswith(b"\x89PNG")


def test_a_record_without_results_or_examples_fills_no_figure() -> None:
    assert not make_figures([hostile()["nothing"]])
    assert "attack-images" not in make_figures([hostile()["one sample"]])


def test_bars_add_up_to_one_and_name_the_layers() -> None:
    record = evaluation()
    figure = layers_figure([record])
    bars: dict[float, list[float]] = {}
    for patch in figure.axes[0].patches:
        bars.setdefault(patch.get_y(), []).append(patch.get_width())
    shares = [row["shares"] for row in record["rows"] if row["shares"]]
    assert len(bars) == len(shares) - 1  # the two Jacobian rows share one bar
    assert all(math.isclose(sum(widths), 1.0) and len(widths) == 4 for widths in bars.values())
    assert {f"{k + 1}: {name}" for k, name in enumerate(record["model"]["layers"])} <= set(texts(figure))


def test_files_are_vector_pdf_with_embedded_fonts_and_finite_png(tmp_path: Path) -> None:
    paths = write_figures(records(), tmp_path / "new" / "folder")
    assert {path.name for path in paths} == {f"{kind.name}.{suffix}" for kind in KINDS for suffix in ("pdf", "png")}
    assert sorted(paths) == sorted((tmp_path / "new" / "folder").iterdir())
    for path in paths:
        if path.suffix == ".pdf":
            content = path.read_bytes()
            assert b"/FontFile2" in content  # a TrueType font program is embedded
            assert (b"/Subtype /Image" in content) is (path.stem == "attack-images")
            streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
            page = max((_inflated(stream) for stream in streams), key=lambda s: s.count(b" Tj") + s.count(b" TJ"))
            assert b" Tj" in page or b" TJ" in page  # text is text
        else:
            assert imread(path).std() > 0.01


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_the_same_records_give_the_same_bytes(suffix: str) -> None:
    one, other = (render(bounds_figure([evaluation()]), suffix) for _ in range(2))
    assert one == other
    if suffix == "svg":
        assert not re.search(rb"\b(nan|inf)\b", one)


def test_drawing_leaves_the_global_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    make_figures(records())
    assert dict(matplotlib.rcParams) == before


def test_an_interrupted_write_leaves_the_old_file_and_no_debris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bounds.pdf"
    target.write_bytes(b"old")

    def interrupted(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write.write_bytes(target, b"new content")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_is_written_when_a_figure_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(figure: Any, suffix: str, **_: Any) -> bytes:
        if suffix == "png":
            raise KeyboardInterrupt
        return b"content"

    monkeypatch.setattr(write, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_figures(records(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_record_is_refused() -> None:
    with pytest.raises(InputError, match="'something-else'"):
        make_figures([{"format": "something-else"}])


# Linear-light matrices of dichromatic vision (Machado, Oliveira & Fernandes 2009, severity 1).
VISION = {
    "normal": np.eye(3),
    "protan": np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0519]]),
    "deutan": np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6727, 0.0472], [-0.0118, 0.0429, 0.9689]]),
    "tritan": np.array([[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]),
}


def lab(colour: str, vision: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a colour as seen with a colour-vision deficiency."""
    encoded = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(vision @ linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision: str) -> None:
    seen = [lab(colour, VISION[vision]) for colour in PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 9
    assert all(np.linalg.norm(colour - [100, 0, 0]) > 25 for colour in seen)  # against the white page
    layers = [lab(colour, VISION[vision])[0] for colour in layer_colours(6)]
    assert min(np.diff(layers)) > 5  # ordered in lightness


def test_shortened_texts_fit() -> None:
    for text in ("max-pool after layer 3: overlapping windows", "x" * 200, "a b"):
        assert text_width(shorten(text, 1.0)) <= 1.0
    assert shorten("a b", 1.0) == "a b"


def test_spread_labels_keep_their_order_and_distance() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        positions = rng.uniform(0, 1, size=6).tolist()
        placed = spread(positions, 0.1, 0.0, 1.05)
        assert np.argsort(placed).tolist() == np.argsort(positions).tolist()
        assert min(np.diff(sorted(placed))) > 0.1 - 1e-6
        assert 0 <= min(placed) <= max(placed) <= 1.05
