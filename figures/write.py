"""Figures and texts to files: rendered first, then moved into place, so no half-written file is ever seen."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bounds.inputs.files import atomic_write
from figures.bounds_figure import bounds_figure
from figures.layers_figure import layers_figure
from figures.rows import Record, of_format
from figures.style import style
from figures.surrogates_figure import surrogates_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make_figures(records: Sequence[Record]) -> dict[str, Figure]:
    """All figures that the records can fill, by file name without suffix.

    Raises:
        InputError: a record is neither an evaluation nor a comparison.

    >>> make_figures([])
    {}
    """
    kinds: tuple[tuple[str, str, Callable[[Sequence[Record]], Figure]], ...] = (
        ("bounds", "evaluation", bounds_figure),
        ("layers", "evaluation", layers_figure),
        ("surrogates", "comparison", surrogates_figure),
    )
    return {name: draw(chosen) for name, kind, draw in kinds if (chosen := of_format(records, kind))}


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
        records: evaluation and comparison records, in any order.
        out_dir: the folder.

    Returns:
        The paths written.

    Raises:
        InputError: a record is neither an evaluation nor a comparison.
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
