"""The figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

from verification.claims.chart import Chart, Line, Panel, Scale, Side, Table
from verification.claims.experiment import Reading, Results, by_seed
from verification.claims.wu2024 import readings
from verification.claims.wu2024.nets import (
    CLASSES,
    CLASSES_EPS,
    CLASSES_METHOD,
    CLASSES_NET,
    CLASSES_STRENGTH,
    COST_EPS,
    COST_METHOD,
    COST_NETS,
    COST_STRENGTH,
    DATA,
    PLAIN,
    SIZES,
    SURROGATE,
    TRAINED,
    Series,
    Sizes,
    Surrogates,
)
from verification.claims.wu2024.readings import over_strengths

MethodStrength = tuple[str, float]
PAIRS: tuple[MethodStrength, MethodStrength] = ((PLAIN, 0.0), (CLASSES_METHOD, CLASSES_STRENGTH))
COST_PAIRS: tuple[MethodStrength, MethodStrength] = ((PLAIN, 0.0), (COST_METHOD, COST_STRENGTH))
STRENGTH = "strength λ of the regulariser"
DOMINATES = 0.01


def charts(results: Results, preset: str) -> tuple[Chart, ...]:
    """All figures of a preset."""
    sizes = SIZES[preset]
    return (
        *_strength_charts(results, sizes),
        *(_bracket(results, trained, sizes) for trained in TRAINED),
        _adversarial_losses(results, sizes),
        _class_chart(results, sizes),
        _cost_chart(results, sizes),
    )


def _strength_charts(results: Results, sizes: Sizes) -> tuple[Chart, ...]:
    """One panel per series, everything against the strength."""
    drawn: tuple[tuple[str, str, str, str, Callable[[Results, Series], Panel]], ...] = (
        (
            "jacobian-norms",
            "Jacobian norms against strength",
            f"Means over {sizes.jacobians} held-out samples.",
            "",
            _norm_panel,
        ),
        (
            "layer-jacobians",
            "Jacobian norms by layer against strength",
            f"Mean Frobenius norm of the Jacobian of the logits in each layer's activations, {sizes.jacobians} "
            "held-out samples; the input is layer 0.",
            "",
            _layer_panel,
        ),
        (
            "lipschitz",
            "Lipschitz constant against strength, from both sides",
            "ℓ2 Lipschitz constant: product of certified layer norms above, largest spectral norm of the Jacobian at "
            f"{sizes.jacobians} held-out samples below.",
            "",
            _lipschitz_panel,
        ),
        (
            "rademacher",
            "Sampled Rademacher complexity against strength",
            "Empirical Rademacher complexity of one logit on the training sample, over networks whose layers have the "
            f"measured operator norms: only the last layer varies, {sizes.draws} sign vectors; the lower bound holds "
            "with probability 0.95 (own derivation).",
            "",
            _rademacher_panel,
        ),
        (
            "accuracy",
            "Accuracy against strength, until collapse",
            f"Held-out accuracy: standard on all samples, under attack on {sizes.attacked}. The line is guessing.",
            "attack",
            _accuracy_panel,
        ),
        (
            "gaps",
            "Generalization gaps against strength",
            f"Cross-entropy, held-out minus training; under attack on {sizes.attacked} samples of either side.",
            "attack",
            _gap_panel,
        ),
        (
            "error-gaps",
            "Generalization gaps of the error against strength",
            f"0-1 loss, held-out minus training; under attack on {sizes.attacked} samples of either side.",
            "attack",
            _error_gap_panel,
        ),
    )
    found = [
        Chart(name, what, _caption(text, sizes, bool(attack)), tuple(panel(results, s) for s in sizes.series))
        for name, what, text, attack, panel in drawn
    ]
    return (*found, *_bound_chart(results, sizes))


def _caption(text: str, sizes: Sizes, attack: bool) -> str:
    radii = ", ".join(f"{series.norm} {series.eps:g} ({series.title})" for series in sizes.series)
    ending = f" Attacked at eps in input units: {radii}." if attack else ""
    return f"{text} n = {sizes.samples} training samples.{ending}"


def _panel(results: Results, series: Series, y: str, lines: Iterable[tuple[str, Reading, Side]], **axes: str) -> Panel:
    drawn = tuple(Line(label, over_strengths(results, series, of), side) for label, of, side in lines)
    y_scale: Scale = "log" if axes.get("y_scale") == "log" else "linear"
    level = 0.1 if axes.get("level") == "chance" else 0.0 if axes.get("level") == "zero" else None
    return Panel(series.title, STRENGTH, y, drawn, x_scale="symlog", y_scale=y_scale, level=level)


def _norm_panel(results: Results, series: Series) -> Panel:
    lines = (
        ("‖J‖_{1,1}", readings.jacobian_norm("entrywise_l1")),
        ("‖J‖_F", readings.jacobian_norm("frobenius")),
        ("‖J‖_2", readings.jacobian_norm("spectral")),
    )
    y = "mean norm of J (logits / input unit)"
    return _panel(results, series, y, [(label, of, "measured") for label, of in lines], y_scale="log")


def _layer_panel(results: Results, series: Series) -> Panel:
    depths = [
        len(result.measured["jacobian"]["layers"])
        for result in results.all
        if "jacobian" in result.measured and dict(result.net.labels) == series.at(0.0)
    ]
    lines: list[tuple[str, Reading, Side]] = [
        (f"layer {position}", readings.layer_norm(position), "measured") for position in range(min(depths, default=0))
    ]
    return _panel(results, series, "mean ‖∂f/∂z_i‖_F (logits / unit of z_i)", lines, y_scale="log")


def _lipschitz_panel(results: Results, series: Series) -> Panel:
    lines: tuple[tuple[str, Reading, Side], ...] = (
        ("product of layer norms", readings.jacobian_norm("lipschitz_upper"), "upper bound"),
        ("largest ‖J‖_2 sampled", readings.jacobian_norm("lipschitz_lower"), "lower bound"),
    )
    return _panel(results, series, "Lipschitz constant (logits / input unit)", lines, y_scale="log")


def _rademacher_panel(results: Results, series: Series) -> Panel:
    lines: tuple[tuple[str, Reading, Side], ...] = (
        ("last layer varied, Monte Carlo", readings.rademacher("estimate"), "estimate"),
        ("lower bound of the class", readings.rademacher("lower"), "lower bound"),
    )
    return _panel(results, series, "Rademacher complexity (logits)", lines, y_scale="log")


def _accuracy_panel(results: Results, series: Series) -> Panel:
    lines: tuple[tuple[str, Reading, Side], ...] = (
        ("standard", readings.held_out_accuracy, "measured"),
        # an attack can only be missed: the robust accuracy is not larger
        ("under attack", readings.attacked("accuracy", "held_out", series.norm, series.eps), "upper bound"),
    )
    return _panel(results, series, "held-out accuracy", lines, level="chance")


def _gap_panel(results: Results, series: Series) -> Panel:
    lines: tuple[tuple[str, Reading, Side], ...] = (
        ("standard", readings.gap("loss"), "measured"),
        ("under attack", readings.robust_gap("loss", series.norm, series.eps), "measured"),
    )
    return _panel(results, series, "gap of the loss (nats)", lines, level="zero")


def _error_gap_panel(results: Results, series: Series) -> Panel:
    lines: tuple[tuple[str, Reading, Side], ...] = (
        ("standard", readings.gap("error"), "measured"),
        ("under attack", readings.robust_gap("accuracy", series.norm, series.eps), "measured"),
    )
    return _panel(results, series, "gap of the error (share of samples)", lines, level="zero")


def _bound_chart(results: Results, sizes: Sizes) -> tuple[Chart, ...]:
    panels = []
    for series in sizes.series:
        for reading, words in (("fixed_class", "class fixed in advance"), ("a_posteriori", "a posteriori")):
            lines = [
                Line(label, over_strengths(results, series, readings.bound(row, reading)), "upper bound")
                for row, label in readings.BOUND_LABELS.items()
            ]
            drawn = tuple(line for line in lines if line.record()["points"])
            if drawn:
                title, y = f"{series.title}: {words}", "log10 of the raw gap"
                panels.append(Panel(title, STRENGTH, y, drawn, x_scale="symlog", level=0.0))
    caption = (
        f"Raw (uncapped) generalization bounds, n = {sizes.samples} training samples, δ = 0.05; fixed in advance at a "
        "margin of 1 logit, a posteriori for the trained network itself at its best margin. Surrogate: "
        f"l2, eps = {CLASSES_EPS:g}. The line is a gap of 1 (0-1 loss, or 1 nat for surrogates)."
    )
    return (Chart("bounds", "Generalization bounds against strength", caption, tuple(panels)),) if panels else ()


def _bracket(results: Results, trained: Surrogates, sizes: Sizes) -> Chart:
    """The robust loss from both sides, and the surrogate, against the radius; a panel per trained radius."""
    norm, name = trained.norm, SURROGATE[trained.norm]
    lines: tuple[tuple[str, Side, Callable[[Mapping[str, Any]], float | None]], ...] = (
        ("surrogate", "measured", lambda entry: entry["surrogates"][name]["mean"]),
        ("robust loss, certified", "upper bound", lambda entry: entry["upper_loss"]),
        ("robust loss, attack", "lower bound", lambda entry: entry["attack_loss"]),
    )
    panels = []
    for radius in (0.0, *trained.trained):
        drawn = tuple(
            Line(
                label,
                {
                    eps: by_seed(results, trained.at(radius), readings.verdict(norm, eps, of)).values()
                    for eps in trained.verdicts
                },
                side,
            )
            for label, side, of in lines
        )
        title = f"trained at eps = {radius:g}" if radius else PLAIN
        marks = {radius: "trained"} if radius else {}
        panels.append(Panel(title, f"eps ({norm}, input units)", "mean loss (nats)", drawn, "log", "log", marks=marks))
    caption = (
        f"{DATA[trained.data]}, {trained.net}, n = {sizes.samples}, {sizes.decided} held-out samples. The robust loss "
        f"lies between attack and certificate; the surrogate ({name}) bounds its mean from above where it lies above "
        "the certificate."
    )
    return Chart(f"bracket-{norm}", f"Robust loss and {norm} surrogate against radius", caption, tuple(panels), True)


def _adversarial_losses(results: Results, sizes: Sizes) -> Chart:
    panels = []
    for trained in TRAINED:
        radii = (0.0, *trained.trained)
        lines = [
            Line(
                f"{side.replace('_', '-')}, eps = {eps:g}",
                {
                    at: by_seed(results, trained.at(at), readings.attacked("loss", side, trained.norm, eps)).values()
                    for at in radii
                },
                "lower bound",
            )
            for side, eps in (("train", trained.main), *(("held_out", eps) for eps in trained.trained))
        ]
        x = f"eps of the surrogate trained on ({trained.norm}, input units)"
        panels.append(Panel(trained.norm, x, "mean loss under attack (nats)", tuple(lines), "symlog", "log"))
    caption = (
        f"{DATA['mnist']}, MLP, n = {sizes.samples}. Each network minimises the surrogate at its radius (0: plain "
        f"training) and is attacked at others, on {sizes.attacked} samples: a lower bound of the robust loss."
    )
    return Chart("adversarial-loss", "Adversarial loss of networks trained on the surrogate", caption, tuple(panels))


def _class_chart(results: Results, sizes: Sizes) -> Chart:
    quantities: tuple[tuple[str, str, Reading], ...] = (
        (
            "surrogate",
            f"held-out surrogate (nats; l2, eps = {CLASSES_EPS:g})",
            readings.surrogate_mean("l2", CLASSES_EPS),
        ),
        ("standard gap", "gap of the loss (nats)", readings.gap("loss")),
        (
            readings.BOUND_LABELS["jacobian_surrogate frobenius, norm-based"],
            "log10 of the raw gap",
            readings.bound("jacobian_surrogate frobenius, norm-based", "fixed_class"),
        ),
        (
            readings.BOUND_LABELS["bartlett2017_spectral audited"],
            "log10 of the raw gap",
            readings.bound("bartlett2017_spectral audited", "fixed_class"),
        ),
    )
    panels = []
    for title, y, of in quantities:
        lines = []
        for method, strength in PAIRS:
            labels = {"data": DATA["mnist"], "net": CLASSES_NET, "method": method, "strength": strength}
            points = {float(k): by_seed(results, labels | {"classes": k}, of).values() for k in CLASSES}
            lines.append(Line(_method(method, strength), points, "upper bound" if "log10" in y else "measured"))
        panels.append(Panel(title, "classes K", y, tuple(lines)))
    caption = (
        f"{DATA['mnist']}, digits 0..K-1, {CLASSES_NET}, n = {sizes.samples} for every K. Bounds for a class fixed in "
        "advance."
    )
    return Chart("classes", "Surrogate, gap and bounds against the number of classes", caption, tuple(panels))


def _method(method: str, strength: float) -> str:
    return f"{method}, strength {strength:g}" if strength else method


def _cost_chart(results: Results, sizes: Sizes) -> Chart:
    of = readings.attacked("accuracy", "held_out", "l2", COST_EPS)
    lines = []
    for net in COST_NETS:
        points = {}
        for method, strength in COST_PAIRS:
            labels = _cost_labels(net, method, strength)
            seconds = by_seed(results, labels, readings.seconds_per_epoch).values()
            if seconds:
                points[median(seconds)] = list(by_seed(results, labels, of).values())
        lines.append(Line(net, points, "upper bound"))
    caption = (
        f"{DATA['mnist']}, n = {sizes.samples}; per architecture plain training and {COST_METHOD} at strength "
        f"{COST_STRENGTH:g} (the costlier one). Attacked: l2, eps = {COST_EPS:g}, {sizes.attacked} held-out samples. "
        "Processor time of one thread, medians over seeds."
    )
    title = f"l2, eps = {COST_EPS:g}"
    panel = Panel(title, "seconds per epoch", "held-out accuracy under attack", tuple(lines), "log", level=0.1)
    return Chart("cost", "Cost against robustness, by architecture", caption, (panel,))


def _cost_labels(net: str, method: str, strength: float) -> dict[str, object]:
    return {"data": DATA["mnist"], "net": net, "classes": 10, "method": method, "strength": strength}


def tables(results: Results, preset: str) -> tuple[Table, ...]:
    """All tables of a preset."""
    sizes = SIZES[preset]
    return _strength_table(results, sizes), _dominance_table(results, sizes), _cost_table(results, sizes)


def _strength_table(results: Results, sizes: Sizes) -> Table:
    rows: list[tuple[str | tuple[float, ...] | None, ...]] = []
    for series in sizes.series:
        columns: tuple[Reading, ...] = (
            readings.held_out_accuracy,
            readings.attacked("accuracy", "held_out", series.norm, series.eps),
            readings.jacobian_norm("frobenius"),
            readings.jacobian_norm("entrywise_l1"),
            readings.gap("loss"),
            readings.robust_gap("loss", series.norm, series.eps),
        )
        for strength in series.all_strengths:
            cells = [_cell(results, series.at(strength), of) for of in columns]
            rows.append((f"{series.title}, {strength:g}", *cells))
    columns_heads = (
        "series, strength",
        "accuracy",
        "accuracy under attack",
        "‖J‖_F (logits / input unit)",
        "‖J‖_{1,1} (logits / input unit)",
        "gap (nats)",
        "gap under attack (nats)",
    )
    caption = _caption("Held-out samples; gaps are held-out minus training.", sizes, True)
    return Table("strengths", caption, columns_heads, tuple(rows))


def _dominance_table(results: Results, sizes: Sizes) -> Table:
    rows: list[tuple[str | tuple[float, ...] | None, ...]] = []
    for trained in TRAINED:
        norm = trained.norm
        for radius in (0.0, *trained.trained):
            at = radius or trained.main
            columns: tuple[Reading, ...] = (
                readings.verdict(norm, at, readings.share_of("refuted", norm)),
                readings.verdict(norm, at, readings.share_of("proved", norm)),
                readings.not_refuted_up_to(norm, DOMINATES),
                readings.proved_up_to(norm, DOMINATES),
            )
            name = f"{norm}, trained at eps = {radius:g}" if radius else f"{norm}, plain (shares at eps = {at:g})"
            rows.append((name, *(_cell(results, trained.at(radius), of) for of in columns)))
    heads = ("network", "refuted at that eps", "proved at that eps", "not refuted up to eps", "proved up to eps")
    grids = "; ".join(f"{trained.norm}: {', '.join(f'{eps:g}' for eps in trained.verdicts)}" for trained in TRAINED)
    caption = (
        f"Robust loss <= surrogate on {sizes.decided} held-out samples of {DATA['mnist']}, MLP, n = {sizes.samples}: "
        "shares of samples, and the largest radius decided up to which at most 1 % are refuted, or at least 99 % "
        f"proved (0: not even at the smallest). Radii: {grids}."
    )
    return Table("dominance", caption, heads, tuple(rows))


def _cost_table(results: Results, sizes: Sizes) -> Table:
    rows: list[tuple[str | tuple[float, ...] | None, ...]] = []
    columns: tuple[Reading, ...] = (
        readings.seconds_per_epoch,
        readings.peak_memory,
        readings.held_out_accuracy,
        readings.attacked("accuracy", "held_out", "l2", COST_EPS),
    )
    for net in COST_NETS:
        for method, strength in COST_PAIRS:
            cells = [_cell(results, _cost_labels(net, method, strength), of) for of in columns]
            rows.append((f"{net}, {_method(method, strength)}", *cells))
    heads = (
        "network",
        "seconds per epoch",
        "peak memory (MiB)",
        "accuracy",
        f"accuracy under attack (l2 {COST_EPS:g})",
    )
    caption = (
        f"{DATA['mnist']}, n = {sizes.samples}, {sizes.epochs} epochs, one core; {sizes.attacked} attacked samples."
    )
    return Table("costs", caption, heads, tuple(rows))


def _cell(results: Results, labels: dict[str, object], of: Reading) -> tuple[float, ...] | None:
    return tuple(by_seed(results, labels, of).values()) or None
