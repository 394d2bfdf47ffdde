"""Refuted samples to look at: the input, the perturbation that refutes a surrogate, and the perturbed input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from figures.numbers import decimal
from figures.rows import Record, norm_title, surrogate_title
from figures.style import (
    CAPTION_LINE,
    GREY,
    INK,
    PALETTE,
    SMALL_TEXT,
    TEXT_SIZE,
    fold,
    layout_size,
    shorten,
    style,
    write_lines,
)
from figures.verifications import captions, model_title, unpack

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, GUTTER, BETWEEN = 1.0, 0.08, 0.3  # inches: a picture, the space between pictures, between two examples
ABOVE, BELOW, NAME, HEAD = 0.34, 0.24, 0.26, 0.2
BLOCK, ROW = 3 * SIDE + 2 * GUTTER, ABOVE + SIDE + BELOW
COLUMNS = ("input", "perturbation", "perturbed input")
EXAMPLES = 8  # in a figure; at least two of every model
DIVERGING = "RdBu_r"
KEY = (
    "Label → prediction for the perturbed input; S: surrogate, A: loss of the perturbed input. Perturbation: blue is "
    "negative, white zero, red positive; of colour images, each channel around grey."
)


def attack_images_figure(verifications: Sequence[Record]) -> Figure:
    """Three pictures per refuted sample: input, signed perturbation on its own scale, perturbed input.

    Grey images are shown in grey with the perturbation from blue (negative) over white to red (positive); colour
    images in colour, with the perturbation of each channel around grey. Other inputs are drawn as bars, one per
    feature. The scale stands below each perturbation. Of several models, the first examples of each are shown.

    Args:
        verifications: one or more verification records with examples.

    Returns:
        A matplotlib figure that no global state knows of.

    Raises:
        InputError: a stored array is damaged.
    """
    with style():
        from matplotlib.figure import Figure

        width = 2 * BLOCK + BETWEEN
        notes = [*fold(KEY, width, SMALL_TEXT), *captions(verifications, width)]
        foot = 0.1 + CAPTION_LINE * len(notes)
        blocks = _blocks(verifications, layout_size()[1] - foot)
        tall = [NAME + HEAD + ROW * math.ceil(len(shown) / 2) for shown in blocks]
        height = sum(tall) + foot
        figure = Figure(figsize=(width, height))
        top = height
        for shown, size in zip(blocks, tall, strict=True):
            title = model_title(shown[0][0], "refuted samples", width)
            figure.text(0, (top - 0.02) / height, title, va="top", fontsize=9, fontweight="bold")
            for number, (record, example) in enumerate(shown):
                left = (number % 2) * (BLOCK + BETWEEN)
                bottom = top - NAME - HEAD - (number // 2) * ROW - ABOVE - SIDE
                if number < 2:
                    _head(figure, left, top - NAME)
                _example(figure, record, example, left, bottom)
            top -= size
        write_lines(figure, notes)
        return figure


def _blocks(verifications: Sequence[Record], height: float) -> list[list[tuple[Record, Record]]]:
    """Per model the examples that there is room for, each with its record, in turns from all records of the model."""
    models: dict[str, list[Record]] = {}
    for record in verifications:
        models.setdefault(record["model"]["name"], []).append(record)
    rows = int(min(EXAMPLES, (height / len(models) - NAME - HEAD) / ROW))
    room = max(2, min(EXAMPLES // len(models), 2 * rows))
    turns = (zip_longest(*([(r, e) for e in r["examples"]] for r in records)) for records in models.values())
    return [[pair for turn in turn_by_turn for pair in turn if pair is not None][:room] for turn_by_turn in turns]


def perturbation_of(record: Record, example: Record) -> np.ndarray:
    """The stored perturbation of an example, float64, in the shape of the input.

    Raises:
        InputError: it is damaged.
    """
    key = example["norm"], example["eps"]
    result = next(result for result in record["results"] if (result["norm"], result["eps"]) == key)
    return unpack(result["witnesses"][str(example["position"])])


def as_picture(array: np.ndarray) -> np.ndarray | None:
    """The array as rows × columns, or rows × columns × 3 for colour; None where it is no image.

    >>> import numpy as np
    >>> [None if (p := as_picture(np.zeros(shape))) is None else p.shape for shape in ((1, 8, 8), (3, 4, 5), (64,))]
    [(8, 8), (4, 5, 3), None]
    """
    if array.ndim == 3 and array.shape[0] == 3:
        return array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    return array if array.ndim == 2 and min(array.shape) > 1 else None


def _head(figure: Figure, left: float, top: float) -> None:
    width, height = figure.get_size_inches()
    for column, name in enumerate(COLUMNS):
        x = left + column * (SIDE + GUTTER)
        figure.text(x / width, (top - 0.02) / height, name, va="top", fontsize=TEXT_SIZE, color=GREY)


def _example(figure: Figure, record: Record, example: Record, left: float, bottom: float) -> None:
    width, height = figure.get_size_inches()
    x = unpack(example["input"])
    delta = perturbation_of(record, example)
    scale = float(abs(delta).max())
    low, high = float(min(x.min(), (x + delta).min())), float(max(x.max(), (x + delta).max()))
    box = record["settings"]["box"] or (low, high if low < high else low + 1.0)
    panels = [
        figure.add_axes((
            (left + column * (SIDE + GUTTER)) / width, bottom / height, SIDE / width, SIDE / height
        ))
        for column in range(3)
    ]  # fmt: skip
    _draw(panels[0], x, *box)
    _draw_perturbation(panels[1], delta, scale or 1.0)
    _draw(panels[2], x + delta, *box)
    for at, text, colour in zip((0.215, 0.075), _titles(example), (INK, GREY), strict=True):
        figure.text(left / width, (bottom + SIDE + at) / height, shorten(text, BLOCK, SMALL_TEXT + 0.5),
                    fontsize=SMALL_TEXT + 0.5, color=colour)  # fmt: skip
    panels[1].set_xlabel(f"±{decimal(scale)}", fontsize=SMALL_TEXT, labelpad=2)


def _titles(example: Record) -> tuple[str, str]:
    s, attack = decimal(example["surrogate_loss"]), decimal(example["attack_loss"])
    first = f"{example['label']} → {example['predicted']}, {norm_title(example['norm'])}, ε = {example['eps']:.3g}"
    return first, f"{surrogate_title(example['surrogate'])}: S = {s} < A = {attack}"


def _draw(axes: Axes, array: np.ndarray, low: float, high: float) -> None:
    """An input, black at `low` and white at `high`."""
    picture = as_picture(array)
    if picture is None:
        _bars(axes, array, GREY, (min(low, 0.0), high))
    elif picture.ndim == 3:
        _image(axes, ((picture - low) / ((high - low) or 1.0)).clip(0, 1))
    else:
        _image(axes, picture, cmap="gray", vmin=low, vmax=high)


def _draw_perturbation(axes: Axes, delta: np.ndarray, scale: float) -> None:
    picture = as_picture(delta)
    if picture is None:
        _bars(axes, delta, PALETTE[1], (-scale, scale))
    elif picture.ndim == 3:
        _image(axes, 0.5 + picture / (2 * scale))
    else:
        _image(axes, picture, cmap=DIVERGING, vmin=-scale, vmax=scale)


def _image(axes: Axes, picture: np.ndarray, **how: Any) -> None:
    axes.imshow(picture, interpolation="nearest", **how)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)


def _bars(axes: Axes, array: np.ndarray, colour: str, limits: tuple[float, float]) -> None:
    features = array.ravel()
    axes.stairs(features, fill=True, color=colour)
    axes.axhline(0.0, color=INK, linewidth=0.5)
    axes.set(xticks=[], yticks=[], ylim=limits)
    axes.spines["bottom"].set_visible(False)
