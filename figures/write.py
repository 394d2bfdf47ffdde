"""Figures and texts to files: rendered first, then moved into place, so no half-written file is ever seen."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bounds.inputs.files import atomic_write
from figures.alignment_figure import alignment_figure
from figures.attack_images_figure import attack_images_figure
from figures.bounds_figure import bounds_figure
from figures.layers_figure import layers_figure
from figures.rows import Record, of_format
from figures.scatter_figure import scatter_figure
from figures.style import style
from figures.surrogates_figure import surrogates_figure
from figures.verdicts_figure import verdicts_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


KINDS = (
    Kind("bounds", "every bound against the measured gap", "evaluation", "rows", bounds_figure),
    Kind("layers", "the share of each layer in each bound", "evaluation", "rows", layers_figure),
    Kind("verdicts", "proved, undecided and refuted samples against ε", "verification", "results", verdicts_figure),
    Kind("scatter", "each sample's surrogate against its robust loss", "verification", "results", scatter_figure),
    Kind("surrogates", "mean robust loss and surrogates against ε", "verification", "results", surrogates_figure),
    Kind("attack-images", "refuted samples and what refutes them", "verification", "examples", attack_images_figure),
    Kind("alignment", "attacks against the Jacobian's singular vectors", "alignment", "results", alignment_figure),
)


def make_figures(records: Sequence[Record]) -> dict[str, Figure]:
    """All figures that the records can fill, by file name without suffix.

    Raises:
        InputError: a record is of no known kind, or damaged.

    >>> make_figures([])
    {}
    """
    return {kind.name: kind.draw(chosen) for kind in KINDS if (chosen := kind.fitting(records))}


def render(figure: Figure, suffix: str) -> bytes:
    """The figure as the content of a "pdf", "png" or "svg" file; the same figure gives the same bytes."""
    stamps: dict[str, dict[str, str | None]] = {
        "pdf": {"CreationDate": None},
        "svg": {"Date": None},
        "png": {},
    }
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=suffix, metadata=stamps[suffix])
    return buffer.getvalue()


def write_figures(records: Sequence[Record], out_dir: str | os.PathLike[str]) -> list[Path]:
    """Write every figure as PDF (vector, fonts embedded) and PNG (200 dpi) into a folder, made if missing.

    Everything is rendered before the first file is written.

    Args:
        records: evaluation and verification records, in any order.
        out_dir: the folder.

    Returns:
        The paths written.

    Raises:
        InputError: a record is of no known kind, or damaged.
    """
    folder = Path(out_dir)
    contents = {
        folder / f"{name}.{suffix}": render(figure, suffix)
        for name, figure in make_figures(records).items()
        for suffix in ("pdf", "png")
    }
    for path, content in contents.items():
        write_bytes(path, content)
    return list(contents)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step, its folder made if missing; an interruption leaves the old file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
