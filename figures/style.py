"""The look of every figure: one style sheet, one palette, labels next to what they name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE_SHEET = Path(__file__).parent / "styles" / "jacobound.mplstyle"

INK = "#222222"
GREY = "#767676"
FAINT = "#b8b8b8"
# Told apart with every common colour-vision deficiency (after Okabe & Ito); lines also differ by marker.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b3294", "#6f5b00")
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">")
FIXED_CLASS, A_POSTERIORI = PALETTE[0], PALETTE[1]
VERDICT_COLOURS = {"proved": PALETTE[0], "undecided": FAINT, "refuted": "#cc3311", "failed": INK}

TEXT_SIZE, SMALL_TEXT = 7.5, 6.5  # points; nothing is smaller
CAPTION_LINE = 0.13  # inches


def style() -> AbstractContextManager[None]:
    """The style as a context; figures made inside it do not touch matplotlib's global settings.

    >>> import matplotlib
    >>> with style():
    ...     matplotlib.rcParams["pdf.fonttype"]
    42
    """
    import matplotlib.style

    return matplotlib.style.context(STYLE_SHEET)  # type: ignore[arg-type, unused-ignore]


def layer_colours(count: int) -> list[str]:
    """Colours of layers 1..count, from dark (input) to light (output), ordered in lightness.

    >>> len(layer_colours(3)), layer_colours(1)
    (3, ['#003070'])
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    ramp = colormaps["cividis"]
    return [to_hex(ramp(0.08 + 0.87 * (k / (count - 1) if count > 1 else 0.0))) for k in range(count)]


def text_colour(background: str) -> str:
    """Black or white, whichever stands out more from a background colour (WCAG relative luminance).

    >>> text_colour("#ffffff"), text_colour("#00204c")
    ('#222222', 'white')
    """
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(background)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return INK if luminance > 0.2 else "white"


@cache
def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """Width of a text in inches.

    >>> 0.15 < text_width("risk", 7.5) < 0.25
    True
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def shorten(text: str, width: float, size: float = TEXT_SIZE) -> str:
    """The text, cut (at a word where possible) with an ellipsis so that it is at most `width` inches wide.

    >>> shorten("max-pool after layer 3: overlapping windows", 1.5)
    'max-pool after layer 3…'
    """
    if text_width(text, size) <= width:
        return text
    words = text.split()
    while len(words) > 1 and text_width(" ".join(words) + "…", size) > width:
        words.pop()
    short = " ".join(words)
    while len(short) > 1 and text_width(short + "…", size) > width:
        short = short[:-1]
    return short.rstrip(",.:;") + "…"


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions moved as little as a sweep allows so that neighbours are `gap` apart, inside [low, high].

    >>> spread([0.5, 0.5, 0.9], 0.1, 0.0, 1.0)
    [0.5, 0.6, 0.9]
    >>> spread([0.95, 1.0], 0.1, 0.0, 1.0)
    [0.9, 1.0]
    """
    order = sorted(range(len(positions)), key=lambda k: positions[k])
    placed = [0.0] * len(positions)
    floor = low
    for k in order:
        placed[k] = max(positions[k], floor)
        floor = placed[k] + gap
    ceiling = high
    for k in reversed(order):
        placed[k] = min(placed[k], ceiling)
        ceiling = placed[k] - gap
    return [round(p, 9) for p in placed]


def fold(text: str, width: float, size: float = TEXT_SIZE) -> list[str]:
    """A text on lines of at most `width` inches, broken at spaces; a longer word keeps a line of its own.

    >>> fold("every surrogate of the robust loss", 1.2)
    ['every surrogate of the', 'robust loss']
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def write_lines(figure: Figure, lines: Sequence[str]) -> None:
    """Write a caption at the foot of a figure, small and grey, `CAPTION_LINE` inches a line."""
    height = figure.get_size_inches()[1]
    for number, line in enumerate(reversed(lines)):
        figure.text(0, number * CAPTION_LINE / height, line, fontsize=SMALL_TEXT, color=GREY, va="bottom")


def row_labels(axes: Axes, columns: Sequence[Sequence[str]], *, header: str = "") -> float:
    """Write columns of row labels, aligned left, to the left of an axes whose row k is at y = k.

    Args:
        axes: the axes; its size must be final.
        columns: texts of each column, from left to right; the last one is drawn in grey.
        header: a title above the first column.

    Returns:
        The width of all columns, in inches.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    inches = axes.get_position().width * figure.get_size_inches()[0]
    widths = [max(map(text_width, column), default=0.0) + 0.12 for column in columns]
    widths[-1] += 0.08
    left = -sum(widths)
    for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
        colour = GREY if number and number == len(columns) - 1 else INK
        for y, text in enumerate(column):
            axes.text(
                left / inches, y, text, transform=axes.get_yaxis_transform(), va="center", ha="left",
                fontsize=TEXT_SIZE, color=colour, clip_on=False,
            )  # fmt: skip
        left += width
    if header:
        axes.text(-sum(widths) / inches, 1.0, header, transform=axes.transAxes, va="bottom", fontweight="bold")
    return sum(widths)
