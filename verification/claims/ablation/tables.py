"""The tables of the ablation."""

from __future__ import annotations

from collections.abc import Callable

from verification.claims.ablation.nets import BRACKET, L2, LINF, METHODS
from verification.claims.ablation.readings import attacked, bracket, clean, robust_gap, standard_gap
from verification.claims.chart import Table
from verification.claims.experiment import Result, Results

Cell = tuple[float, ...] | None


def tables(results: Results) -> tuple[Table, ...]:
    """Robustness, and cost with norms and gaps, of every method."""
    robustness: dict[str, Callable[[Result], float | None]] = {
        "clean accuracy (%)": clean,
        f"certified, ℓ2 {BRACKET['l2']:g} (%)": lambda r: bracket(r, "l2", "certified_accuracy"),
        f"attacked, ℓ2 {BRACKET['l2']:g} (%)": lambda r: bracket(r, "l2", "attacked_accuracy"),
        f"attacked, ℓ2 {L2:g} (%)": lambda r: attacked(r, "l2", L2),
        f"certified, ℓ∞ {BRACKET['linf']:g} (%)": lambda r: bracket(r, "linf", "certified_accuracy"),
        f"attacked, ℓ∞ {BRACKET['linf']:g} (%)": lambda r: bracket(r, "linf", "attacked_accuracy"),
        f"attacked, ℓ∞ {LINF:g} (%)": lambda r: attacked(r, "linf", LINF),
    }
    cost: dict[str, Callable[[Result], float | None]] = {
        "standard gap (points)": standard_gap,
        f"robust gap, ℓ2 {L2:g} (points)": lambda r: robust_gap(r, L2),
        "‖J‖_2": lambda r: float(r.measured["jacobian"]["spectral"]),
        "‖J‖_F": lambda r: float(r.measured["jacobian"]["frobenius"]),
        "‖J‖_{1,1}": lambda r: float(r.measured["jacobian"]["entrywise_l1"]),
        "‖∇²ℓ‖_2": lambda r: float(r.measured["hessian"]["operator"]),
        "s per epoch": lambda r: float(r.summary["seconds_per_epoch"]),
        "peak memory (MiB)": lambda r: r.summary["peak_memory"],
    }
    return (
        _table(
            results,
            "robustness",
            "Clean accuracy on all held-out MNIST images, and the robust accuracy from both sides, certified from "
            "below and under attack from above: at the smaller radii of the same few images, at the larger radii "
            "(attacks only) of more. Radii in input units, legal images.",
            robustness,
        ),
        _table(
            results,
            "gaps-norms-cost",
            "Generalization gaps (held-out minus training error; robust: under attack), mean norms of Jacobian and "
            "input Hessian at held-out images (the latter a lower bound), processor seconds per epoch of one thread, "
            "and the peak memory of the training process, data and libraries included.",
            cost,
        ),
    )


def _table(results: Results, name: str, caption: str, columns: dict[str, Callable[[Result], float | None]]) -> Table:
    rows = []
    for method, (_, _, strength) in METHODS.items():
        found = results.matching(series="methods", method=method)
        cells: list[Cell] = [
            tuple(value for result in found if (value := of(result)) is not None) or None for of in columns.values()
        ]
        rows.append((method, f"{strength:g}" if strength else None, *cells))
    return Table(name, caption, ("method", "strength", *columns), tuple(rows))
