"""The figures of the ablation."""

from __future__ import annotations

from collections.abc import Callable

from verification.claims.ablation.nets import L2, SIZES
from verification.claims.ablation.readings import bound, loss_gap, robust_gap
from verification.claims.chart import Chart, Line, Panel
from verification.claims.experiment import Result, Results

BOUNDS = {
    "bartlett2017_spectral published": "Bartlett 2017",
    "golowich2018_frobenius": "Golowich 2018 (Frobenius)",
    "golowich2018_l1inf sharper": "Golowich 2018 (1,∞)",
    "graf2022_excess_capacity": "Graf 2022",
    "neyshabur2015_frobenius": "Neyshabur 2015",
    "neyshabur2018_pacbayes": "Neyshabur 2018 (PAC-Bayes)",
    "parametric_cover standard": "parametric cover",
}


def charts(results: Results, preset: str) -> tuple[Chart, ...]:
    """Gaps against data size; bounds against depth and width."""
    sizes = SIZES[preset]
    network = f"MNIST, {sizes.samples:,} training images, ReLU MLPs without biases"
    return (
        _data_chart(results, preset),
        _bounds_chart(
            results, "depth", "affine layers", f"{network}, hidden layers of {sizes.series_width} units", log=False
        ),
        _bounds_chart(results, "width", "hidden units per layer", f"{network}, two hidden layers", log=True),
    )


def _data_chart(results: Results, preset: str) -> Chart:
    sizes = SIZES[preset]

    def panel(title: str, gap: Callable[[Result], float]) -> Panel:
        lines = tuple(
            Line(
                method, {n: _some(results, gap, series="data size", method=method, samples=n) for n in sizes.data_sizes}
            )
            for method in ("plain", "adversarial ℓ2")
        )
        return Panel(title, "training images n", "gap (percentage points)", lines, x_scale="log", level=0.0)

    caption = f"MNIST, tanh CNN. Held-out minus training error on {sizes.attacked} images per side: standard, and "
    caption += f"under ℓ2 attacks within legal images (ε = {L2:g}, input units), which bound robust errors from below."
    return Chart(
        "data-size",
        "standard and robust generalization gap against the number of training images",
        caption,
        (
            panel("standard gap", lambda result: robust_gap(result, 0.0)),
            panel("robust gap", lambda result: robust_gap(result, L2)),
        ),
        share_y=True,
    )


def _bounds_chart(results: Results, series: str, x: str, caption: str, *, log: bool) -> Chart:
    sizes = results.labels("size", series=series)

    def lines() -> list[Line]:
        found = []
        for name, title in BOUNDS.items():
            points = {
                size: [v for r in results.where(series=series, size=size) if (v := bound(r, name)) is not None]
                for size in sizes
            }
            found.append(Line(title, points, "upper bound"))
        return found

    gap = Line("cross-entropy", {size: _some(results, loss_gap, series=series, size=size) for size in sizes})
    scale = "log" if log else "linear"
    return Chart(
        f"bounds-{series}",
        f"bounds and the measured gap against {series}",
        f"{caption}. Left: raw gaps of the class fixed in advance (margin 1 logit, each with probability 0.95); every "
        "value above 0 is vacuous. Right: what the networks really have.",
        (
            Panel("bounds", x, "log10 of the bound on the risk gap", tuple(lines()), x_scale=scale, level=0.0),  # type: ignore[arg-type]
            Panel("measured", x, "generalization gap (nats)", (gap,), x_scale=scale),  # type: ignore[arg-type]
        ),
    )


def _some(results: Results, of: Callable[[Result], float], **labels: object) -> list[float]:
    """The numbers of the networks with these labels, as many as there are."""
    return [of(result) for result in results.matching(**labels)]
