"""The look of every figure: one style sheet, one palette, labels next to what they name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bounds.errors import unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHEETS = Path(__file__).parent / "styles"
STYLE_SHEET = SHEETS / "jacobound.mplstyle"
TYPEFACE = ("font.family", "font.serif", "font.sans-serif", "mathtext.fontset")

INK = "#222222"
GREY = "#767676"
FAINT = "#b8b8b8"
# Told apart with every common colour-vision deficiency (after Okabe & Ito); lines also differ by marker.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b3294", "#6f5b00")
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">")
FIXED_CLASS, A_POSTERIORI = PALETTE[0], PALETTE[1]
VERDICT_COLOURS = {"proved": PALETTE[0], "undecided": FAINT, "refuted": "#cc3311", "failed": INK}

TEXT_SIZE, SMALL_TEXT = 7.5, 6.5  # points; nothing is smaller
TALLEST = 9.0  # inches that a page of a paper has
WIDEST = 1.15  # times that texts may be enlarged where the font of a venue is narrower
CAPTION_LINE = 0.13  # inches


@dataclass(frozen=True)
class Venue:
    """Where figures are printed: how wide they may be there; the sheet of the same name holds fonts and sizes.

    Attributes:
        name: of the style and of its sheet, which is laid over the base sheet.
        width: of the text, in inches.
        column: width of a chart with a single panel, in inches.
        panel: the least width of a panel with its labels, in inches; it decides how many stand side by side.
        height: of the page, for figures that must fill it; None where a figure is as tall as it needs.
        margin: left free inside that page, in inches.
        text: the least size that texts should have there, in points.
    """

    name: str
    width: float
    column: float
    panel: float
    height: float | None = None
    margin: float = 0.0
    text: float = 6.0

    @property
    def sheet(self) -> Path:
        """The style sheet to lay over the base sheet."""
        return SHEETS / f"{self.name}.mplstyle"


SCREEN = Venue("screen", width=7.2, column=6.4, panel=2.1)
PAGE = Venue("page", width=6.77, column=5.6, panel=2.0)  # between the margins of the report's A4 pages
VENUES = {
    venue.name: venue
    for venue in (
        Venue("neurips", width=5.5, column=5.5, panel=1.75),
        Venue("icml", width=6.75, column=3.25, panel=1.75),
        Venue("jmlr", width=6.0, column=6.0, panel=1.9),
        Venue("slides", width=40 / 3, column=40 / 3, panel=3.9, height=7.5, margin=0.4, text=8.0),
    )
}

_typeface: ContextVar[Venue | None] = ContextVar("typeface", default=None)


def find_venue(name: str) -> Venue:
    """The venue of a name.

    Raises:
        InputError: there is none; the nearest name is suggested.

    >>> find_venue("icml").column
    3.25
    """
    if name not in VENUES:
        raise unknown_name("style", name, VENUES)
    return VENUES[name]


def style(venue: Venue | None = None) -> AbstractContextManager[None]:
    """The style as a context; figures made inside it do not touch matplotlib's global settings.

    Args:
        venue: whose fonts and sizes to use; without one, those of the base sheet (in the typeface of `typeface_of`).

    >>> import matplotlib
    >>> with style():
    ...     matplotlib.rcParams["pdf.fonttype"]
    42
    >>> with style(VENUES["slides"]):
    ...     matplotlib.rcParams["xtick.labelsize"]
    14.0
    """
    import matplotlib
    import matplotlib.style

    sheets: list[Any] = [STYLE_SHEET]
    chosen = _typeface.get()
    if venue is not None:
        sheets.append(venue.sheet)
    elif chosen is not None:
        own: Any = matplotlib.rc_params_from_file(chosen.sheet, use_default_template=False)
        sheets.append({key: own[key] for key in TYPEFACE if key in own})
    return matplotlib.style.context(sheets)


@contextmanager
def typeface_of(venue: Venue | None) -> Iterator[None]:
    """Figures that lay themselves out for the sizes of the base sheet get the fonts of a venue, but not its sizes.

    >>> import matplotlib
    >>> with typeface_of(VENUES["icml"]), style():
    ...     matplotlib.rcParams["font.family"][0], matplotlib.rcParams["font.size"]
    ('STIXGeneral', 8.0)
    """
    before = _typeface.set(venue)
    try:
        yield
    finally:
        _typeface.reset(before)


def narrowness(venue: Venue) -> float:
    """How many times wider the base font is than that of a venue, for the widest of usual texts, at most `WIDEST`.

    >>> narrowness(VENUES["slides"]), narrowness(VENUES["icml"])
    (1.0, 1.15)
    """
    import matplotlib

    with style(venue):
        family = tuple(matplotlib.rcParams["font.family"])
    usual = ("robust loss (nats)", "Neyshabur et al. 2018, PAC-Bayes", "0.25", "proved, undecided, refuted: 57 %")
    return max(1.0, min(WIDEST, *(text_width(text) / text_width(text, TEXT_SIZE, family) for text in usual)))


def layout_size() -> tuple[float, float]:
    """How wide and how high a figure with a layout of its own may be, in inches.

    It is scaled as a whole to the venue of `typeface_of`; so large, its smallest text has the venue's least size.

    >>> layout_size()
    (inf, inf)
    >>> with typeface_of(VENUES["neurips"]):
    ...     6.5 < layout_size()[0] < 7.0
    True
    """
    venue = _typeface.get()
    if venue is None:
        return math.inf, math.inf
    shrunk = narrowness(venue) * SMALL_TEXT / venue.text
    return (venue.width - 2 * venue.margin) * shrunk, ((venue.height or TALLEST) - 2 * venue.margin) * shrunk


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
def text_width(text: str, size: float = TEXT_SIZE, family: str | tuple[str, ...] = "DejaVu Sans") -> float:
    """Width of a text in inches.

    >>> 0.15 < text_width("risk", 7.5) < 0.25
    True
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=family if isinstance(family, str) else list(family), size=size)
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


def fold(text: str, width: float, size: float = TEXT_SIZE, family: str | tuple[str, ...] = "DejaVu Sans") -> list[str]:
    """A text on lines of at most `width` inches, broken at spaces; a longer word keeps a line of its own.

    >>> fold("every surrogate of the robust loss", 1.2)
    ['every surrogate of the', 'robust loss']
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size, family) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def write_lines(figure: Figure, lines: Sequence[str]) -> None:
    """Write a caption at the foot of a figure, small and grey, `CAPTION_LINE` inches a line."""
    height = figure.get_size_inches()[1]
    for number, line in enumerate(reversed(lines)):
        figure.text(0, number * CAPTION_LINE / height, line, fontsize=SMALL_TEXT, color=GREY, va="bottom")


def label_widths(columns: Sequence[Sequence[str]]) -> list[float]:
    """Inches that columns of row labels take, with the space after each."""
    widths = [max(map(text_width, column), default=0.0) + 0.12 for column in columns]
    return [*widths[:-1], widths[-1] + 0.08]


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
    widths = label_widths(columns)
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
