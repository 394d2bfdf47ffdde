"""Made-up reproduction records, valid in every respect: a usual one, and charts at the edges of what there may be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import t as student

SCALES = ("linear", "log", "symlog")
SPECIAL = "Stärke λ & ε_1: 50 % of $5, #1 {x} ~ ^ \\ <b>‖∇ₓf‖₂ ± δ</b> | ≈ ∂ℓ/∂x"


def line(
    label: str, xs: Any, mean: Callable[[float], float], seeds: int = 3, side: str = "measured", spread: float = 0.05
) -> dict[str, Any]:
    """A line whose seeds scatter around a curve, the same in every run."""
    rng = np.random.default_rng(sum(map(ord, label)))
    values = [[mean(float(x)) * (1 + spread * float(v)) for v in rng.normal(size=seeds)] for x in xs]
    return {
        "label": label,
        "side": side,
        "points": [{"x": float(x), "values": v} for x, v in zip(xs, values, strict=True)],
    }


def panel(title: str, lines: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A panel with linear axes."""
    axes = {"x": "ε in input units (ℓ2)", "y": "mean loss (nats)", "x_scale": "linear", "y_scale": "linear"}
    return {"title": title, **axes, "lines": lines, "marks": [], "level": None} | changes


def chart(name: str, *panels: dict[str, Any], share_y: bool = False, caption: str | None = None) -> dict[str, Any]:
    """A chart of some panels."""
    said = caption or "MNIST, n = 500 test samples, cnn-plain with 16 810 parameters, ε ∈ {0.05, …, 1.6}."
    return {
        "name": name,
        "what": f"what {name} shows",
        "caption": said,
        "share_y": share_y,
        "panels": list(panels),
    }


RADII = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
STRENGTHS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
METHODS = (
    "plain", "weight decay", "Jacobian Frobenius", "Jacobian ℓ1", "Jacobian ℓ∞", "spectral norm", "margin Jacobian",
    "adversarial training (PGD, 10 steps)", "TRADES", "gradient of the loss",
)  # fmt: skip


def charts() -> list[dict[str, Any]]:
    """One panel, two with marks and a shared axis, five, and six crowded ones."""
    losses = [
        line("robust loss by PGD", RADII, lambda x: 0.1 + x, side="lower bound"),
        line("certified robust loss", RADII, lambda x: 0.1 + 2 * x + x * x, side="upper bound"),
        line("margin Jacobian surrogate", RADII, lambda x: 0.1 + 1.4 * x),
        line("linearised loss", RADII, lambda x: 0.1 + 1.1 * x, side="estimate"),
    ]
    accuracy = [line(name, RADII, lambda x, k=k: 0.98 * math.exp(-x * (1.5 - k / 8))) for k, name in enumerate(METHODS)]
    gaps = [line(name, STRENGTHS, lambda x, k=k: 0.03 / (1 + x * (k + 1))) for k, name in enumerate(METHODS[2:5])]
    radius = [{"x": 0.1, "label": "trained at"}, {"x": 0.12, "label": "ε of the paper"}, {"x": 1.0, "label": "2ε"}]
    strengths = {"x": "strength λ", "x_scale": "symlog", "y": "generalisation gap of the robust loss (nats)"}
    return [
        chart("surrogates", panel("Mean losses", losses, x_scale="log", y_scale="log")),
        chart(
            "accuracy",
            panel("MNIST, ℓ2 attacks on every method", accuracy, marks=radius, x_scale="log", y="robust accuracy"),
            panel("Fashion-MNIST", accuracy[:4], level=0.1, x_scale="log", y="robust accuracy"),
            share_y=True,
        ),
        chart("gap", *(panel(f"{k} training samples", gaps, **strengths) for k in ("100", "1 000", "10 000"))),
        chart(
            "strength",
            *(panel(f"{name}: the robust loss against the strength", gaps, **strengths) for name in METHODS[:5]),
            caption="What grows with the strength. " * 12,
        ),
        chart(
            "crowd",
            *(
                panel(name, accuracy, marks=radius, x_scale="log", y="robust accuracy against the strongest attack")
                for name in METHODS[:6]
            ),
        ),
    ]


def hostile_charts() -> dict[str, dict[str, Any]]:
    """Charts at the edges of what a record may hold, by what is odd about them."""
    point = {"label": "one point", "side": "measured", "points": [{"x": 0.1, "values": [0.5]}]}
    empty = {"label": "no point", "side": "measured", "points": []}
    zeros = line("zeros", STRENGTHS, lambda x: 0.0 * x)
    tiny = line("from 0 over the tiniest", (0.0, 1e-9, 1.0), lambda x: x if x in {0.0, 1.0} else 1e-305, spread=0.0)
    falls = line("falls below zero", STRENGTHS, lambda x: 0.5 - x)
    large = line("large", (1e5, 1e6, 1e7), lambda x: x * x)
    two = line("two seeds that differ", RADII, lambda x: 1.0, seeds=2, spread=0.8)
    long = "a very long label that names the regulariser, its strength, the attack, its radius and the data set at once"
    scales = {f"{x} against {y}": {"x_scale": x, "y_scale": y} for x in SCALES for y in SCALES}
    return {
        "one point": chart("one-point", panel("One point", [point])),
        "no points": chart("no-points", panel("No points", [empty])),
        "no lines": chart("no-lines", panel("", [])),
        "special": chart("special", panel(SPECIAL, [line(SPECIAL, RADII, abs)], x=SPECIAL, y=SPECIAL), caption=SPECIAL),
        "long": chart("long", panel(long, [line(long, RADII, abs), line(long[:-9], RADII, abs)], x=long, y=long)),
        "crowded marks": chart(
            "marks", panel("Marks", [two], marks=[{"x": x, "label": f"radius of {x:g}"} for x in RADII])
        ),
        **{
            name: chart(
                "scales", *(panel(which["label"], [which], **axes) for which in (zeros, tiny, falls, large, two))
            )
            for name, axes in scales.items()
        },
    }


def interval(values: list[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean, by scipy's own words."""
    if len(values) == 1 or len(set(values)) == 1:
        return values[0], values[0]
    scale = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    low, high = student.interval(0.95, len(values) - 1, loc=float(np.mean(values)), scale=scale)
    return float(low), float(high)


def claim(key: str, values: list[float], threshold: float = 0.0, direction: str = "above", **changes: Any) -> Any:
    """A claim with its verdict."""
    low, high = interval(values)
    beyond, short = (low > threshold, high < threshold) if direction == "above" else (high < threshold, low > threshold)
    return {
        "key": key,
        "statement": f"Statement of {key}: the Jacobian norm ‖J‖₂ falls as λ grows.",
        "source": "Wu & Li 2024, Section 5",
        "quantity": f"slope of {key} in nats",
        "values": values,
        "mean": float(np.mean(values)),
        "interval": [low, high],
        "direction": direction,
        "threshold": threshold,
        "verdict": "supported" if beyond else "contradicted" if short else "inconclusive",
        "conditions": "MNIST, 2 000 training samples, λ ∈ {0, 0.01, …, 1}, ε = 0.1 (ℓ2).",
        "remark": "",
    } | changes


def net(number: int, **changes: Any) -> dict[str, Any]:
    """A trained network."""
    return {
        "id": f"{number:08x}",
        "labels": {"method": METHODS[number % 4], "strength": 0.1 * (number % 3), "data": "mnist"},
        "seed": number % 3,
        "parameters": 16810,
        "accuracy": 0.99,
        "test_accuracy": 0.97 - number / 1000,
        "epochs": 5,
        "seconds_per_epoch": 1.2,
        "peak_memory": 512.0,
        "failed": None,
    } | changes


def reproduction(paper: str = "wu2024", preset: str = "quick") -> dict[str, Any]:
    """A record of three seeds with every verdict, every kind of cell, a failed network and special characters."""
    failed = {"failed": "training diverged in epoch 3: loss nan", "accuracy": None, "test_accuracy": None}
    table = {
        "name": "methods",
        "caption": "Accuracy and losses, MNIST, n = 500, ε = 0.1 (ℓ2).",
        "columns": ["method", "accuracy (%)", "robust loss (nats)", "remark"],
        "rows": [
            ["plain", [97.1, 97.4, 97.0], [0.51, 0.62, 0.55], "baseline"],
            ["Jacobian ℓ1 & co_1", [96.8, 96.9, 97.2], [0.00031, 0.00029, 0.00035], None],
            [SPECIAL, [1.0], None, "50 % of $5"],
        ],
    }
    return {
        "format": "jacobound-reproduction",
        "version": 1,
        "paper": {"key": paper, "title": "Jacobian regularisation & robustness", "reference": "Wu & Li 2024, arXiv 1"},
        "preset": preset,
        "command": f"jacobound reproduce {paper} --preset {preset}",
        "versions": {"jacobound": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.1"},
        "seeds": [0, 1, 2],
        "seconds": 512.3,
        "workers": 2,
        "cuts": ["Trained on 2 000 samples instead of 60 000.", "Three seeds instead of ten."],
        "not_reproduced": ["ImageNet: no such data here."],
        "nets": [*(net(k) for k in range(11)), net(11, peak_memory=None, **failed)],
        "claims": [
            claim("gap-falls", [1.0, 1.1, 0.9], remark="With three seeds the interval is wide."),
            claim("loss-rises", [0.2, -0.1, 0.05]),
            claim("never", [-1e-6, -1.2e-6, -0.9e-6], statement=SPECIAL, quantity=SPECIAL, source="own"),
            claim("ratio", [0.31, 0.32, 0.33], 0.5, "below"),
        ],
        "charts": charts(),
        "tables": [table],
    }
