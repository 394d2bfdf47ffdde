"""Figures, captions and tables to files: rendered first, then moved into place, so no half-written file is seen."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bounds.errors import InputError
from bounds.inputs.files import atomic_write
from figures import reproduction_tables, verifications
from figures.alignment_figure import alignment_figure
from figures.attack_images_figure import attack_images_figure
from figures.bounds_figure import bounds_figure
from figures.chart_figure import chart_caption, chart_figure
from figures.layers_figure import layers_figure
from figures.rows import Record, of_format
from figures.scatter_figure import scatter_figure
from figures.style import SCREEN, SMALL_TEXT, TALLEST, Venue, narrowness, style, typeface_of
from figures.surrogates_figure import surrogates_figure
from figures.tables import as_sentence, described, markdown_escape
from figures.verdicts_figure import verdicts_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAD = 0.06  # inches around a figure that is cropped to what is drawn
DPI = 200
LARGEST = 2.2  # how many times a figure may grow to fill a page


@dataclass(frozen=True)
class Kind:
    """A figure that can be made from records alone.

    Attributes:
        name: of its file, without suffix.
        what: it shows, in a few words.
        source: the kind of record it is drawn from, "evaluation", "verification" or "alignment".
        needs: what a record must hold something of.
        draw: makes the figure from one or more such records.
    """

    name: str
    what: str
    source: str
    needs: str
    draw: Callable[[Sequence[Record]], Figure]

    def fitting(self, records: Sequence[Record]) -> list[Record]:
        """The records that this figure can be drawn from.

        Raises:
            InputError: a record is of no known kind.
        """
        return [record for record in of_format(records, self.source) if record[self.needs]]

    @property
    def wanted(self) -> str:
        """What it takes to draw this figure."""
        article = "an" if self.source[0] in "aeiou" else "a"
        return f"{article} {self.source} record with {self.needs}"


KINDS = (
    Kind("bounds", "every bound against the measured gap", "evaluation", "rows", bounds_figure),
    Kind("layers", "the share of each layer in each bound", "evaluation", "rows", layers_figure),
    Kind("verdicts", "proved, undecided and refuted samples against ε", "verification", "results", verdicts_figure),
    Kind("scatter", "each sample's surrogate against its robust loss", "verification", "results", scatter_figure),
    Kind("surrogates", "mean robust loss and surrogates against ε", "verification", "results", surrogates_figure),
    Kind("attack-images", "refuted samples and what refutes them", "verification", "examples", attack_images_figure),
    Kind("alignment", "attacks against the Jacobian's singular vectors", "alignment", "results", alignment_figure),
)
OF_REPRODUCTIONS = (
    ("PAPER-CHART", "each chart of a reproduced paper", "a reproduction record with charts"),
    ("PAPER-TABLE", "each table of a reproduced paper, as LaTeX and Markdown", "a reproduction record with tables"),
    ("PAPER-claims", "the claims and their verdicts, as LaTeX and Markdown", "a reproduction record with claims"),
)


@dataclass(frozen=True)
class Drawn:
    """A figure that has its own layout, and is scaled to a venue as a whole.

    Attributes:
        name: of its file, without suffix.
        kind: of figure.
        records: that it shows.
        figure: itself.
        scale: how many times to enlarge it.
    """

    name: str
    kind: Kind
    records: Sequence[Record]
    figure: Figure
    scale: float = 1.0


def make_figures(records: Sequence[Record]) -> dict[str, Figure]:
    """The figures of evaluations, verifications and alignments that the records can fill, by name.

    Raises:
        InputError: a record is of no known kind, or damaged.

    >>> make_figures([])
    {}
    """
    return {drawn.name: drawn.figure for drawn in draw_for(records, None)}


def draw_for(records: Sequence[Record], venue: Venue | None) -> list[Drawn]:
    """The figures of evaluations, verifications and alignments for a venue, or of their own size.

    Where one would be too small or too high, every record gets its own.

    Raises:
        InputError: a record is of no known kind, or damaged.
    """
    found: list[Drawn] = []
    with typeface_of(venue), style():
        for kind in KINDS:
            chosen = kind.fitting(records)
            if not chosen:
                continue
            drawn = _fitted(kind.name, kind, chosen, venue)
            if venue is None or len(chosen) == 1 or _fits(drawn, venue):
                found.append(drawn)
            else:
                numbered = enumerate(chosen, start=1)
                found += [_fitted(f"{kind.name}-{number}", kind, [record], venue) for number, record in numbered]
    return found


def _fits(drawn: Drawn, venue: Venue) -> bool:
    """Whether a figure can be read at a venue, and is not higher than a page."""
    readable = drawn.scale * SMALL_TEXT * narrowness(venue) >= 0.98 * venue.text
    return readable and drawn.scale * float(drawn.figure.get_size_inches()[1]) <= (venue.height or TALLEST)


def _fitted(name: str, kind: Kind, records: Sequence[Record], venue: Venue | None) -> Drawn:
    figure = kind.draw(records)
    if venue is None:
        return Drawn(name, kind, records, figure)
    enlarge_texts(figure, venue)
    return Drawn(name, kind, records, figure, fitting_scale(figure, venue))


def listed(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Name and content of all figures and tables that the records can fill.

    Raises:
        InputError: a record is of no known kind, or two are of the same paper and preset.
    """
    rows = [(kind.name, kind.what) for kind in KINDS if kind.fitting(records)]
    for prefix, record in _reproductions(records).items():
        rows += [(f"{prefix}-{chart['name']}", chart["what"]) for chart in record["charts"]]
        rows += [(f"{prefix}-{table['name']}", table["caption"]) for table in record["tables"]]
        rows += [(f"{prefix}-claims", "the claims and their verdicts")] if record["claims"] else []
    return rows


def _reproductions(records: Sequence[Record]) -> dict[str, Record]:
    """Reproductions by what their files begin with: the paper, and the preset where a paper comes with several.

    Raises:
        InputError: two of the same paper and preset, whose files would have the same names.
    """
    found = of_format(records, "reproduction")
    papers = [record["paper"]["key"] for record in found]
    named: dict[str, Record] = {}
    for record, paper in zip(found, papers, strict=True):
        prefix = paper if papers.count(paper) == 1 else f"{paper}-{record['preset']}"
        if prefix in named:
            raise InputError(f"two records of {paper} with preset {record['preset']}: name one of them")
        named[prefix] = record
    return named


def render(figure: Figure, suffix: str, *, venue: Venue | None = None, crop: bool = True, scale: float = 1.0) -> bytes:
    """The figure as the content of a "pdf", "png" or "svg" file; the same figure gives the same bytes.

    Args:
        figure: to render.
        suffix: of the file.
        venue: whose style the figure was made in.
        crop: whether to cut the figure to what is drawn, or leave it the size that it has.
        scale: how many times to enlarge it, with its texts; not for svg, whose reader chooses the size.
    """
    stamps: dict[str, dict[str, str | None]] = {
        "pdf": {"CreationDate": None},
        "svg": {"Date": None},
        "png": {},
    }
    how: dict[str, Any] = {} if crop else {"bbox_inches": figure.bbox_inches}
    buffer = io.BytesIO()
    with style(venue):
        if suffix == "pdf" and scale != 1.0:
            with _scaled_pages(buffer, scale) as pages:
                pages.savefig(figure, **how)
        else:
            how |= {"dpi": DPI * scale} if suffix == "png" else {}
            figure.savefig(buffer, format=suffix, metadata=stamps[suffix], **how)
    return buffer.getvalue()


def _scaled_pages(buffer: io.BytesIO, scale: float) -> Any:
    """A PDF whose pages are enlarged as a whole, lines, texts and distances alike: no setting of a figure does it."""
    from matplotlib.backends.backend_pdf import Op, PdfFile, PdfPages

    class ScaledFile(PdfFile):
        def newPage(self, width: float, height: float) -> None:  # noqa: N802
            super().newPage(width * scale, height * scale)
            self.width, self.height = width, height  # paths are cut to these before they are enlarged
            self.output(scale, 0, 0, scale, 0, 0, Op.concat_matrix)

    pages = PdfPages(buffer)
    pages._file = ScaledFile(buffer, metadata={"CreationDate": None})
    return pages


def enlarge_texts(figure: Figure, venue: Venue) -> None:
    """Make use of a venue's narrower font: texts as wide as the layout, measured in the base font, has room for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    factor = narrowness(venue)
    if factor <= 1.0:
        return
    FigureCanvasAgg(figure).draw()  # ticks have texts only then
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            sizes = [float(label.get_fontsize()) for label in axis.get_ticklabels()]
            axis.set_tick_params(labelsize=factor * max(sizes, default=7.0))
    ticks = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()}
    for text in figure.findobj(Text):
        if text not in ticks:
            text.set_fontsize(factor * float(text.get_fontsize()))


def fitting_scale(figure: Figure, venue: Venue) -> float:
    """How many times to enlarge a figure, which has its own layout, so that it fits the pages of a venue."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    width, height = float(box.width) + 2 * PAD, float(box.height) + 2 * PAD
    if venue.height is None:
        return min(1.0, venue.width / width)
    return min(LARGEST, (venue.width - 2 * venue.margin) / width, (venue.height - 2 * venue.margin) / height)


def _rendered(drawn: Sequence[Drawn], records: Sequence[Record], venue: Venue | None) -> Iterator[tuple[str, bytes]]:
    """File names and contents of all figures: what is drawn, and the charts of reproductions."""
    with typeface_of(venue):
        for each in drawn:
            for suffix in ("pdf", "png"):
                yield f"{each.name}.{suffix}", render(each.figure, suffix, scale=each.scale)
    look = venue or SCREEN
    for prefix, record in _reproductions(records).items():
        for chart in record["charts"]:
            figure = chart_figure(chart, record["seeds"], look)
            for suffix in ("pdf", "png"):
                yield f"{prefix}-{chart['name']}.{suffix}", render(figure, suffix, venue=look, crop=False)


def captions(drawn: Sequence[Drawn], records: Sequence[Record]) -> str:
    """The captions of all figures as Markdown: what each shows, and what its numbers rest on."""
    lines = ["# Captions", ""]
    for each in drawn:
        rest = dict.fromkeys(as_sentence(_rests_on(record)) for record in each.records)
        lines += [f"## {each.name}", "", markdown_escape(" ".join([as_sentence(each.kind.what), *rest])), ""]
    for prefix, record in _reproductions(records).items():
        for chart in record["charts"]:
            said = chart_caption(chart, record["seeds"])
            lines += [f"## {prefix}-{chart['name']}", "", markdown_escape(said), ""]
    return "\n".join(lines)


def _rests_on(record: Record) -> str:
    if record["format"] == "jacobound-evaluation":
        return described(record)
    if record["format"] == "jacobound-verification":
        return f"{record['model']['name']}: {verifications.caption(record)}"
    radii = ", ".join(f"{result['eps']:g}" for result in record["results"])
    return f"{record['model']}: n = {record['samples']} samples of {record['data']}, {record['norm']}, ε = {radii}"


def _texts(drawn: Sequence[Drawn], records: Sequence[Record]) -> dict[str, str]:
    """File names and contents of the captions, and of the tables and claims of reproductions."""
    found = {"captions.md": captions(drawn, records)}
    for prefix, record in _reproductions(records).items():
        for name, sheet in reproduction_tables.sheets(record).items():
            found |= {f"{prefix}-{name}.tex": sheet.latex(), f"{prefix}-{name}.md": sheet.markdown()}
    return found


def write_figures(records: Sequence[Record], out_dir: str | os.PathLike[str]) -> list[Path]:
    """Write every figure as PDF (vector, fonts embedded) and PNG (200 dpi) into a folder, made if missing.

    Everything is rendered before the first file is written.

    Args:
        records: in any order.
        out_dir: the folder.

    Returns:
        The paths written.

    Raises:
        InputError: a record is of no known kind, or damaged.
    """
    return _write(dict(_rendered(draw_for(records, None), records, None)), Path(out_dir))


def write_for(records: Sequence[Record], out_dir: str | os.PathLike[str], venue: Venue | None = None) -> list[Path]:
    """Write every figure for a venue, all captions, and the tables of reproductions as LaTeX and Markdown.

    Charts are laid out for the venue. The other figures have a layout of their own: they get the fonts of the venue
    and are scaled as a whole where they are wider than its text, or to fill its page; where their texts would become
    too small, or the figure higher than a page, every record gets a figure of its own, numbered in the order of the
    records.

    Args:
        records: in any order.
        out_dir: the folder, made if missing.
        venue: a style of `figures.style.VENUES`; without one, figures have the size they come in.

    Returns:
        The paths written.

    Raises:
        InputError: a record is of no known kind, or damaged.
    """
    drawn = draw_for(records, venue)
    contents = dict(_rendered(drawn, records, venue))
    contents |= {name: text.encode() for name, text in _texts(drawn, records).items()}
    return _write(contents, Path(out_dir))


def _write(contents: dict[str, bytes], folder: Path) -> list[Path]:
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return [folder / name for name in contents]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step, its folder made if missing; an interruption leaves the old file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
