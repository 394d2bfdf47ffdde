"""The paper's figures about every series, as data, and its table of accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from verification.claims.chart import Chart, Line, Panel, Side, Table
from verification.claims.experiment import Reading, Results
from verification.claims.roth2020.nets import (
    ADVERSARIAL,
    COMPARED,
    DISTANCE,
    GLOBAL,
    PIECES,
    PLAIN,
    SIZES,
    Series,
    Sizes,
)
from verification.claims.roth2020.readings import (
    FLOOR,
    accuracy,
    by_seed,
    clean_accuracy,
    cosine,
    damping,
    deviation,
    piece,
    random_cosine,
    rank_count,
    sigma_1,
    singular_value,
)

PUBLISHED = {PLAIN: "93.5", ADVERSARIAL: "83.6", GLOBAL: "80.4", DISTANCE: "84.6"}
"""Clean accuracies of the paper's 7-layer CNN on CIFAR-10, per cent (theory §3)."""

ALONG = {"attack": "along attacks", "random": "along random directions"}
OF = {"logits": "logits f", "features": "penultimate features φ"}
LENGTH = "distance ‖δ‖_2 (input units)"
RADIUS = "ε (l2, input units)"


def charts(results: Results, preset: str) -> tuple[Chart, ...]:
    """All figures of a preset, series by series."""
    sizes = SIZES[preset]
    return tuple(
        draw(results, series, sizes)
        for series in sizes.series
        if rank_count(results, series)
        for draw in (_spectrum, _directions, _linearity, _linearity_random, _sigma_1, _accuracy, _pieces)
    )


def tables(results: Results, preset: str) -> tuple[Table, ...]:
    """Published and measured accuracies."""
    rows = [row for series in SIZES[preset].series for row in _rows(results, series)]
    caption = (
        "Accuracies and damping per method. Published: the paper's 7-layer CNN on all of CIFAR-10, another size of "
        "network and of data than ours, for orientation only. Under attack: held-out samples at the ε trained with "
        "(l2, legal images), an upper bound of the robust accuracy. Damping: mean over ranks 1..K-1 of "
        "ln(σ_k / σ_k of the plain network). " + " ".join(f"{series.words}." for series in SIZES[preset].series)
    )
    columns = (
        "networks",
        "clean accuracy, published (%)",
        "clean accuracy, ours (%)",
        "accuracy under attack (%)",
        "σ_1 (logits per input unit)",
        "damping (ln)",
    )
    return (Table("accuracies", caption, columns, tuple(rows)),)


def _rows(results: Results, series: Series) -> Iterator[tuple[str | tuple[float, ...] | None, ...]]:
    for method in series.methods:
        numbers = (
            (100 * value for value in by_seed(results, series, method, clean_accuracy).values()),
            (100 * value for value in by_seed(results, series, method, accuracy(series.eps)).values()),
            by_seed(results, series, method, singular_value(1)).values(),
            () if method == PLAIN else damping(results, series, method, PLAIN).values(),
        )
        published = PUBLISHED.get(method) if series.net == "roth_cnn" and series.data.startswith("cifar10") else None
        yield (f"{series.title}: {method}", published, *(tuple(values) or None for values in numbers))


def _lines(
    results: Results, series: Series, readings: Iterable[tuple[float, Reading]], side: Side = "measured"
) -> tuple[Line, ...]:
    """One line per method."""
    points = list(readings)
    return tuple(
        Line(method, {x: by_seed(results, series, method, of).values() for x, of in points}, side)
        for method in series.methods
    )


def _spectrum(results: Results, series: Series, sizes: Sizes) -> Chart:
    panels = tuple(
        Panel(
            f"Jacobian of the {name}",
            "rank k",
            "σ_k (per input unit)",
            _lines(
                results, series, ((k, singular_value(k, of)) for k in range(1, rank_count(results, series, of) + 1))
            ),
            y_scale="log",
        )
        for of, name in OF.items()
    )
    caption = (
        f"Singular values of the Jacobian at {sizes.spectra} held-out samples, mean. The logits' Jacobian has as many "
        f"as there are classes, the last of which no loss sees alone. {series.words}."
    )
    return Chart(f"{series.key}-spectrum", f"singular spectrum per method ({series.title})", caption, panels)


def _directions(results: Results, series: Series, sizes: Sizes) -> Chart:
    ranks = range(1, rank_count(results, series) + 1)
    random = Line("random direction", {k: _all_random(results, series, k) for k in ranks})
    reference = _all_random(results, series, 1)
    panels = (
        Panel(
            f"by rank, attack at ε = {series.eps:g}",
            "rank k",
            "|cosine| with v_k",
            (*_lines(results, series, ((k, cosine(k, series.eps)) for k in ranks)), random),
        ),
        Panel(
            "top singular vector",
            RADIUS,
            "|cosine| with v_1",
            (
                *_lines(results, series, ((eps, cosine(1, eps)) for eps in series.distances)),
                Line("random direction", dict.fromkeys(series.distances, reference)),
            ),
            x_scale="log",
            marks={series.eps: "trained with"},
        ),
    )
    caption = (
        "Mean |cosine| of the attack on the cross-entropy (plain l2 ball) with the right singular vectors of the "
        f"logits' Jacobian at x, {sizes.deviations} held-out samples. {series.words}."
    )
    return Chart(
        f"{series.key}-directions", f"attacks and singular vectors ({series.title})", caption, panels, share_y=True
    )


def _all_random(results: Results, series: Series, rank: int) -> list[float]:
    """Of the plain networks; the reference hardly depends on the network."""
    return list(by_seed(results, series, PLAIN, random_cosine(rank)).values())


def _deviation_panel(results: Results, series: Series, of: str, direction: str, kind: str) -> Panel:
    what = "‖g(x+δ) - g(x) - Jδ‖_2" + (" / ‖Jδ‖_2" if kind == "relative" else "")
    return Panel(
        f"{OF[of]}, {ALONG[direction]}" + (", relative" if kind == "relative" else ""),
        LENGTH,
        what,
        _lines(results, series, ((t, deviation(of, direction, t, kind)) for t in series.distances)),
        x_scale="log",
        y_scale="log",
        marks={series.eps: "trained with"},
    )


def _linearity(results: Results, series: Series, sizes: Sizes) -> Chart:
    panels = tuple(
        _deviation_panel(results, series, of, "attack", kind) for kind in ("deviation", "relative") for of in OF
    )
    caption = (
        f"Deviation from linearity along the direction of the attack at ε = {series.eps:g}, means over "
        f"{sizes.deviations} held-out samples; relative: over the mean linear part. {series.words}."
    )
    return Chart(f"{series.key}-linearity", f"deviation from linearity along attacks ({series.title})", caption, panels)


def _linearity_random(results: Results, series: Series, sizes: Sizes) -> Chart:
    panels = tuple(_deviation_panel(results, series, of, "random", "relative") for of in OF)
    caption = (
        f"Deviation from linearity along random directions over the linear part, means over {sizes.deviations} "
        f"held-out samples. {series.words}."
    )
    what = f"deviation from linearity along random directions ({series.title})"
    return Chart(f"{series.key}-linearity-random", what, caption, panels, share_y=True)


def _sigma_1(results: Results, series: Series, sizes: Sizes) -> Chart:
    panels = tuple(
        Panel(
            name,
            LENGTH,
            "σ_1 of J(x+δ) (logits per input unit)",
            _lines(results, series, ((t, sigma_1(direction, t)) for t in (0.0, *series.distances))),
            y_scale="log",
            marks={series.eps: "trained with"},
        )
        for direction, name in ALONG.items()
    )
    caption = (
        f"Largest singular value of the Jacobian at x + δ, mean over {sizes.jacobians} held-out samples, δ along the "
        f"attack at ε = {series.eps:g} or a random direction. {series.words}."
    )
    return Chart(f"{series.key}-sigma-1", f"σ_1 against the distance ({series.title})", caption, panels, share_y=True)


def _accuracy(results: Results, series: Series, sizes: Sizes) -> Chart:
    panels = tuple(
        Panel(
            name,
            RADIUS,
            "accuracy under attack",
            _lines(results, series, ((eps, accuracy(eps, side)) for eps in (0.0, *series.distances)), "upper bound"),
            marks={series.eps: "trained with"},
        )
        for side, name in (("held_out", "held-out samples"), ("train", "training samples"))
    )
    caption = (
        f"Accuracy under attack (l2 ball, legal images, one walk of {sizes.steps} steps: an upper bound of the robust "
        f"accuracy) of {sizes.attacked} samples. {series.words}."
    )
    return Chart(f"{series.key}-accuracy", f"accuracy against ε ({series.title})", caption, panels, share_y=True)


def _pieces(results: Results, series: Series, sizes: Sizes) -> Chart:
    def line(method: str, norm: str, kind: str, name: str) -> Line:
        points = {
            fraction: [max(v, FLOOR) for v in by_seed(results, series, method, piece(norm, kind, fraction)).values()]
            for fraction in sizes.fractions
        }
        return Line(f"{method}, {name}", points)

    panels = tuple(
        Panel(
            f"({'∞' if norm == 'linf' else '2'},{r}) operator norm",
            "ε / r(x)",
            "largest relative difference",
            tuple(
                line(method, norm, kind, name)
                for method in COMPARED
                for kind, name in (("objective", "objective"), ("gradient", "gradient"))
            ),
            x_scale="log",
            y_scale="log",
            marks={1.0: "edge of the piece"},
        )
        for norm, r in PIECES.items()
    )
    caption = (
        "Adversarial objective max_δ[ℓ + λ‖f(x+δ) - f(x)‖_r] against ℓ + λε‖J‖_{p→r}, λ = 1/ε, and their gradients in "
        f"the parameters, at {sizes.pieces} held-out samples per network; r(x) is the radius of the sample's linear "
        "piece. Beyond the edge nothing is claimed, the maximum is a lower bound, and gradients are compared only "
        f"where the maximiser is the same. {series.words}."
    )
    what = f"adversarial and operator-norm objectives ({series.title})"
    return Chart(f"{series.key}-pieces", what, caption, panels, share_y=True)
