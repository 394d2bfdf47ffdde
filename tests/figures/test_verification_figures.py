"""The figures of verification show what the records hold: shares, brackets, means and the stored perturbations."""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from bounds.errors import InputError
from figures.attack_images_figure import attack_images_figure
from figures.scatter_figure import most_mixed, scatter_figure
from figures.style import VERDICT_COLOURS
from figures.surrogates_figure import surrogates_figure
from figures.verdicts_figure import verdicts_figure
from figures.verifications import captions, unpack
from tests.figures.verifications import bracketed, hostile, pack, verification

LETTERS = {"p": "proved", "u": "undecided", "r": "refuted", "f": "failed"}


def heading(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def tops(axes: Axes) -> dict[str, dict[float, float]]:
    """Upper edge of every stacked area by the verdict of its colour, at every drawn ε."""
    found = {}
    names = {colour: name for name, colour in VERDICT_COLOURS.items()}
    for area in axes.collections:
        assert isinstance(area, PolyCollection)
        edge: dict[float, float] = {}
        for x, y in area.get_paths()[0].vertices:
            edge[float(x)] = max(float(y), edge.get(float(x), 0.0))
        found[names[to_hex(area.get_facecolor()[0])]] = edge
    return found


@pytest.mark.parametrize("odd", ["failed", "three norms, eight radii", "no certificates"])
def test_stacked_areas_are_the_shares_of_the_verdicts(odd: str) -> None:
    record = hostile()[odd]
    axes = iter(verdicts_figure([record]).axes)
    for norm in dict.fromkeys(result["norm"] for result in record["results"]):
        results = [result for result in record["results"] if result["norm"] == norm]
        for name, surrogate in results[0]["surrogates"].items():
            panel = next(axes)
            claim = "claimed upper bound" if surrogate["claimed"] else "no upper bound claimed"
            assert heading(panel)[1] == claim
            drawn = tops(panel)
            for result in results:
                letters = result["values"]["verdicts"][name]
                below = 0.0
                for letter, verdict in LETTERS.items():
                    below += letters.count(letter) / len(letters)
                    assert drawn[verdict][result["eps"]] == pytest.approx(below)
                assert below == pytest.approx(1.0)
    assert next(axes, None) is None


def test_a_single_radius_fills_its_panel() -> None:
    record = hostile()["one radius"]
    (result,) = record["results"]
    for axes, letters in zip(verdicts_figure([record]).axes, result["values"]["verdicts"].values(), strict=True):
        proved = tops(axes)["proved"]
        assert sorted(proved) == list(axes.get_xlim())
        assert list(proved.values()) == pytest.approx([letters.count("p") / len(letters)] * 2)
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1"]


def test_every_verified_radius_is_a_tick_and_the_last_one_is_named() -> None:
    record = hostile()["three norms, eight radii"]
    radii = [result["eps"] for result in record["results"] if result["norm"] == "linf"]
    axes = verdicts_figure([record]).axes[0]
    assert list(axes.get_xticks()) == pytest.approx(radii)
    assert axes.get_xticklabels()[-1].get_text() == f"{radii[-1]:.3g}"
    assert axes.get_xscale() == "log"


def test_radius_0_has_a_place_and_a_tick_on_every_axis() -> None:
    record = hostile()["radius 0"]
    panels = iter(verdicts_figure([record]).axes)
    for norm, scale in (("l2", "linear"), ("linf", "symlog"), ("l1", "linear")):
        results = [result for result in record["results"] if result["norm"] == norm]
        for _ in results[0]["surrogates"]:
            axes = next(panels)
            assert axes.get_xscale() == scale
            assert list(axes.get_xticks()) == [result["eps"] for result in results]
            if len(results) > 1:
                assert axes.get_xlim() == (0.0, results[-1]["eps"])


def test_loss_0_has_a_place_among_losses_of_many_sizes() -> None:
    (axes,) = surrogates_figure([hostile()["losses 0"]]).axes
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] < 0.0 < axes.get_ylim()[1]
    assert "0" in [label.get_text() for label in axes.get_yticklabels()]
    assert (0.0, 0.0) in [line[0] for line in lines_of(axes) if line]


def test_what_the_scatter_draws_at_its_edge_is_said() -> None:
    record = hostile()["losses 0"]
    record = record | {"results": record["results"][2:]}
    assert not any("drawn at that value" in text.get_text() for text in scatter_figure([record]).texts)
    losses = record["results"][-1]["values"]["surrogates"]["spectral"]
    kept, losses[0] = losses[0], 0.0
    said = [text.get_text() for text in scatter_figure([record | {"results": record["results"][-1:]}]).texts]
    losses[0] = kept
    assert any("such as 0, are drawn at that value" in text for text in said)


def test_a_surrogate_without_values_has_an_empty_panel() -> None:
    record = verification(samples=4, radii={"l2": (0.4,)}, clean=1e-4)
    (result,) = record["results"]
    name, *_ = result["surrogates"]
    result["values"]["surrogates"][name] = [None] * 4
    panel, *_ = scatter_figure([record]).axes
    assert "every sample failed" in heading(panel)


def dots_and_bars(axes: Axes) -> tuple[np.ndarray, list[np.ndarray], list[str]]:
    (dots,) = [c for c in axes.collections if isinstance(c, PathCollection)]
    (bars,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    colours = [to_hex(colour) for colour in dots.get_facecolor()]
    return np.asarray(dots.get_offsets()), bars.get_segments(), colours


@pytest.mark.parametrize("odd", ["one radius", "no certificates", "failed"])
def test_dots_are_attacks_and_bars_end_at_the_certified_loss(odd: str) -> None:
    record = hostile()[odd]
    figure = scatter_figure([record])
    result = most_mixed(record)
    expected = bracketed(result)
    for axes, name in zip(figure.axes, result["surrogates"], strict=True):
        dots, bars, colours = dots_and_bars(axes)
        letters = result["values"]["verdicts"][name].replace("f", "")
        s = [value for value in result["values"]["surrogates"][name] if value is not None]
        assert dots == pytest.approx(np.array([(x, a) for x, (a, _) in zip(s, expected, strict=True)]))
        top = axes.get_ylim()[1]
        for bar, x, (attack, upper) in zip(bars, s, expected, strict=True):
            assert bar == pytest.approx(np.array([(x, attack), (x, min(upper, top))]))
        refuted = [colour == VERDICT_COLOURS["refuted"] for colour in colours]
        assert refuted == [letter == "r" for letter in letters]
        assert refuted == (dots[:, 1] > dots[:, 0]).tolist()
        (diagonal,) = axes.get_lines()
        assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert diagonal.get_xdata()[0] <= max(left, bottom) < min(right, top) <= diagonal.get_xdata()[1]


def test_the_scatter_shows_the_most_mixed_radius_of_the_claimed_bounds() -> None:
    record = verification(radii={"l2": (1e-6, 0.3), "linf": (1e-7,)})
    assert most_mixed(record)["eps"] == 0.3
    clear = verification(radii={"l2": (0.1, 0.2, 0.3)}, samples=20)
    for result in clear["results"]:
        for surrogate in result["surrogates"].values():
            if surrogate["claimed"]:
                surrogate |= {"proved": {"count": 20}, "refuted": {"count": 0}, "undecided": {"count": 0}}
    assert most_mixed(clear)["eps"] == 0.3


def test_many_points_are_rasterised_and_few_are_not() -> None:
    for samples, rasterised in ((20, False), (1000, True)):
        figure = scatter_figure([verification(samples=samples, radii={"l2": (0.1,)})])
        assert {bool(c.get_rasterized()) for axes in figure.axes for c in axes.collections} == {rasterised}


def lines_of(axes: Axes) -> list[list[tuple[float, float]]]:
    drawn = [zip(line.get_xdata(), line.get_ydata(), strict=True) for line in axes.get_lines()]
    return [[(float(x), float(y)) for x, y in line if not math.isnan(y)] for line in drawn]


def test_surrogate_lines_hold_the_means_and_crosses_the_refuted() -> None:
    record = verification()
    for axes, norm in zip(surrogates_figure([record]).axes, ("l2", "linf"), strict=True):
        results = [result for result in record["results"] if result["norm"] == norm]
        drawn = lines_of(axes)
        for key in ("attack_loss", "upper_loss"):
            assert [(result["eps"], result[key]) for result in results] in drawn
        for name in results[0]["surrogates"]:
            assert [(result["eps"], result["surrogates"][name]["mean"]) for result in results] in drawn
        crosses = sum(len(line.get_xdata()) for line in axes.get_lines() if line.get_marker() == "x")
        assert crosses == sum(s["refuted"]["count"] > 0 for r in results for s in r["surrogates"].values()) > 0
        dashed = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
        assert len(dashed) == 1  # the gradient row, not claimed to be an upper bound


def test_the_upper_line_is_drawn_only_where_it_is_finite() -> None:
    record = verification(radii={"l2": (0.1, 0.2, 0.4)})
    record["results"][1]["upper_loss"] = None
    (axes,) = surrogates_figure([record]).axes
    upper = [(r["eps"], r["upper_loss"]) for r in record["results"] if r["upper_loss"] is not None]
    assert upper in lines_of(axes)
    labels = heading(surrogates_figure([hostile()["no certificates"]]).axes[0])
    assert not any("certified" in label for label in labels)


def test_records_of_one_model_in_two_norms_share_a_row() -> None:
    apart = [verification(radii={norm: (0.1, 0.2)}) for norm in ("l2", "linf")]
    left, right = surrogates_figure(apart).axes
    assert left.get_position().y0 == pytest.approx(right.get_position().y0)
    again = surrogates_figure([*apart, apart[0]]).axes
    assert len({round(axes.get_position().y0, 6) for axes in again}) == 2


def decoded(packed: dict[str, Any]) -> np.ndarray:
    raw = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(raw, {"float32": "<f4", "float64": "<f8"}[packed["dtype"]]).reshape(packed["shape"])


def stored(record: dict[str, Any], example: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Input and perturbation of an example."""
    (result,) = [r for r in record["results"] if (r["norm"], r["eps"]) == (example["norm"], example["eps"])]
    return decoded(example["input"]), decoded(result["witnesses"][str(example["position"])]).astype(np.float64)


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]


def test_grey_pictures_are_the_stored_arrays_and_their_sum() -> None:
    record = verification(shape=(1, 5, 7))
    figure = attack_images_figure([record])
    shown = pictures(figure)
    assert len(shown) == 3 * len(record["examples"]) == 24
    for number, example in enumerate(record["examples"]):
        x, delta = stored(record, example)
        for picture, expected in zip(shown[3 * number : 3 * number + 3], (x, delta, x + delta), strict=True):
            np.testing.assert_allclose(picture, expected[0], rtol=0, atol=1e-12)
        image = figure.axes[3 * number + 1].get_images()[0]
        assert image.get_clim() == pytest.approx((-abs(delta).max(), abs(delta).max()))
        assert figure.axes[3 * number].get_images()[0].get_clim() == (0.0, 1.0)


def test_colour_pictures_have_their_channels_last_and_perturbations_around_grey() -> None:
    record = verification(shape=(3, 4, 6))
    shown = pictures(attack_images_figure([record]))
    for number, example in enumerate(record["examples"]):
        x, delta = stored(record, example)
        around_grey = 0.5 + delta / (2 * abs(delta).max())
        for picture, expected in zip(shown[3 * number : 3 * number + 3], (x, around_grey, x + delta), strict=True):
            np.testing.assert_allclose(picture, np.moveaxis(expected, 0, -1), rtol=0, atol=1e-8)


def test_vectors_are_bars() -> None:
    record = hostile()["vectors"]
    figure = attack_images_figure([record])
    for number, example in enumerate(record["examples"]):
        x, delta = stored(record, example)
        for axes, expected in zip(figure.axes[3 * number : 3 * number + 3], (x, delta, x + delta), strict=True):
            (bars,) = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
            np.testing.assert_allclose(bars.get_data().values, expected)


def test_titles_name_labels_surrogate_losses_and_attack_set() -> None:
    record = verification()
    example = record["examples"][0]
    written = [text.get_text() for text in attack_images_figure([record]).texts]
    assert f"{example['label']} → {example['predicted']}, ℓ∞, ε = 0.08" in written
    assert any(text.startswith("gradient: S = ") and " < A = " in text for text in written)


def test_of_many_models_each_shows_at_least_two_examples() -> None:
    models = [verification(str(number), shape=(1, 4, 4)) for number in range(5)]
    assert len(attack_images_figure(models[:2]).axes) == 3 * 8
    assert len(attack_images_figure(models).axes) == 3 * 10


def test_records_of_one_model_take_turns() -> None:
    one, other = (verification(radii={norm: (0.2,)}, shape=(1, 4, 4)) for norm in ("l2", "linf"))
    written = [text.get_text() for text in attack_images_figure([one, other]).texts]
    norms = [text.split(", ")[1] for text in written if "→" in text and "ε = " in text]
    assert norms[:4] == ["ℓ2", "ℓ∞"] * 2
    assert sum(text == "cnn-plain, refuted samples" for text in written) == 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arrays_are_unpacked(dtype: str) -> None:
    array = np.array([[0.5, -0.25, 1.0], [0.0, 2.0, -8.0]])
    np.testing.assert_array_equal(unpack(pack(array, dtype)), array)


@pytest.mark.parametrize(
    "damage", [{"data": "no base64!"}, {"data": base64.b64encode(b"not deflated").decode()}, {"shape": [7]}]
)
def test_damaged_arrays_are_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="damaged"):
        unpack(pack(np.zeros((2, 3))) | damage)


def test_captions_name_the_models_only_where_they_differ() -> None:
    plain, other = verification("a"), verification("b")
    assert len(captions([plain, other], 50.0)) == 1
    other["settings"]["effort"] = "thorough"
    first, second = captions([plain, other], 50.0)
    assert first.startswith("a: ") and second.startswith("b: ")
    assert "thorough" in second
