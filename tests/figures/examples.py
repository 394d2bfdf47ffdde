"""Made-up records in the shape that an evaluation writes, for the figures and tables to show."""

from __future__ import annotations

import math
from typing import Any

from figures import write
from tests.figures.verifications import verification

LAYERS = ("features.conv1", "features.conv2", "classifier.fc1", "classifier.fc2")


def _value(raw_log10: float, *, trivial: float = 1.0, margin: float = 1.0) -> dict[str, Any]:
    guaranteed = min(trivial, 10.0 ** min(raw_log10, 300.0))
    return {
        "raw_log10": raw_log10,
        "guaranteed": guaranteed,
        "vacuous": guaranteed >= trivial,
        "margin": margin,
    }


def row(
    bound: str,
    title: str,
    raw: float,
    *,
    variant: str = "published",
    target: str = "risk",
    gap: float | None = 0.021,
    shares: list[float] | None = None,
    penalty: float = 1.4,
) -> dict[str, Any]:
    """One applicable row; the a-posteriori value is `penalty` decades above the fixed-class one."""
    return {
        "bound": bound,
        "variant": variant,
        "title": title,
        "target": target,
        "status": "value",
        "reasons": [],
        "fixed_class": _value(raw),
        "a_posteriori": _value(raw + penalty, margin=2.7) if penalty else None,
        "sentence": f"Vacuous: the product of norms would have to shrink by 10^{raw:.1f}."
        if raw >= 0
        else "Not vacuous.",
        "gap": {"measured": gap, "what": "test minus training error"},
        "ratio_log10": raw - math.log10(gap) if gap and gap > 0 else None,
        "dominant_layer": None if shares is None else LAYERS[max(range(4), key=shares.__getitem__)],
        "shares": shares,
        "elasticities": {"s": [1.0, 1.0, 1.0, 1.0]},
        "n_star_log10": 2 * raw + 3,
        "interval_log10": [raw - 1e-9, raw],
    }


def not_applicable(bound: str, title: str, assumption: str, because: str, remedy: str) -> dict[str, Any]:
    """One row whose bound does not apply."""
    return {
        "bound": bound,
        "variant": "published",
        "title": title,
        "target": "robust risk",
        "status": "not applicable",
        "reasons": [{"assumption": assumption, "because": because, "remedy": remedy}],
        "fixed_class": None,
        "a_posteriori": None,
        "sentence": f"Not applicable: {because}.",
        "gap": {"measured": None, "what": "gap not measured"},
        "ratio_log10": None,
        "dominant_layer": None,
        "shares": None,
        "elasticities": None,
        "n_star_log10": None,
        "interval_log10": None,
    }


def rows(shift: float, gap: float | None) -> list[dict[str, Any]]:
    """The catalogue for one model; `shift` moves every norm-based value by that many decades."""
    return [
        row("holdout_binomial", "Hold-out, binomial tail", -1.41, variant="exact", gap=gap, penalty=0.0),
        row(
            "holdout_binomial",
            "Hold-out, binomial tail",
            -0.52,
            variant="certified",
            target="robust risk",
            gap=None,
            penalty=0.0,
        ),
        row("golowich2018_frobenius", "Golowich et al. 2018, Frobenius", 4.31 + shift, gap=gap,
            shares=[0.25, 0.25, 0.25, 0.25]),
        row("golowich2018_l1inf", "Golowich et al. 2018, row sums", 6.92 + shift, gap=gap,
            shares=[0.22, 0.31, 0.28, 0.19]),
        row("golowich2018_l1inf", "Golowich et al. 2018, row sums", 6.55 + shift, variant="sharper", gap=gap,
            shares=[0.22, 0.31, 0.28, 0.19]),
        row("neyshabur2015_frobenius", "Neyshabur et al. 2015, layer peeling", 4.87 + shift, gap=gap,
            shares=[0.2, 0.26, 0.29, 0.25]),
        row("bartlett2017_spectral", "Bartlett et al. 2017, spectrally normalised", 5.78 + shift, gap=gap,
            shares=[0.11, 0.24, 0.58, 0.07]),
        row("bartlett2017_spectral", "Bartlett et al. 2017, spectrally normalised", 6.23 + shift,
            variant="audited", gap=gap, shares=[0.11, 0.24, 0.58, 0.07]),
        not_applicable("neyshabur2018_pacbayes", "Neyshabur et al. 2018, PAC-Bayes", "no biases",
                       "layer features.conv1 has a bias", "train with bias=False"),
        not_applicable("xiao2023_robust_pacbayes", "Xiao et al. 2023, robust PAC-Bayes", "no max-pool",
                       "max-pool after layer 2: overlapping windows", "pool with stride = window"),
        row("parametric_cover", "Parametric cover", 0.34 + shift / 9, variant="standard", gap=gap,
            shares=[0.02, 0.17, 0.77, 0.04]),
        row("parametric_cover", "Parametric cover", 0.36 + shift / 9, variant="adversarial",
            target="robust risk", gap=0.034, shares=[0.02, 0.17, 0.77, 0.04]),
        row("jacobian_surrogate", "Jacobian surrogate", 9.4 + shift, variant="norm-based, spectral",
            target="surrogate", gap=-0.004, shares=[0.09, 0.33, 0.51, 0.07]),
        row("jacobian_surrogate", "Jacobian surrogate", 9.9 + shift, variant="norm-based, spectral",
            target="robust loss", gap=0.08, shares=[0.09, 0.33, 0.51, 0.07]),
        not_applicable("yin2019_linear_linf", "Yin et al. 2019, linear, ℓ∞", "linear network",
                       "the network has 4 layers", "none: this bound is for linear classifiers"),
        row("graf2022_excess_capacity", "Graf et al. 2022, excess capacity (norms)", 3.64 + shift, gap=gap,
            shares=[0.14, 0.27, 0.49, 0.10]),
    ]  # fmt: skip


def evaluation(name: str = "cnn-plain", *, shift: float = 0.0, gap: float | None = 0.021) -> dict[str, Any]:
    """An evaluation record of a small convolutional network."""
    return {
        "format": "jacobound-evaluation",
        "version": 1,
        "model": {"name": name, "layers": list(LAYERS), "parameters": 431080},
        "data": {
            "name": "mnist",
            "n": 60000,
            "m": 10000,
            "input_shape": [1, 28, 28],
            "classes": 10,
            "units": "input units",
        },
        "settings": {
            "delta": 0.05,
            "eta": 0.05,
            "t0": 1.0,
            "t_min": 1e-6,
            "margin": 1.0,
            "reference": "zero",
            "attack_set": {"norm": "l2", "eps": 0.1, "box": [0, 1]},
            "seed": 0,
        },
        "layers": [
            {
                "name": layer,
                "kind": "convolution" if "conv" in layer else "dense",
                "parameters": parameters,
                "s": {"lower": s, "upper": s * 1.0003, "how": "Lanczos, k=40"},
                "a": 3.1 * s,
                "b": 14.2 * s,
                "g": 11.7 * s,
                "m": 4.4 * s,
                "offset": 0.2 * s,
            }
            for layer, parameters, s in zip(LAYERS, (520, 25050, 400500, 5010), (2.91, 4.47, 5.02, 1.83), strict=True)
        ],
        "rows": rows(shift, gap),
    }


# The figures that `records` can fill.
KINDS = [kind for kind in write.KINDS if kind.source != "alignment"]


def records() -> list[dict[str, Any]]:
    """Two models, evaluated and verified."""
    return [
        evaluation("cnn-plain"),
        evaluation("cnn-jacobian", shift=-2.3, gap=-0.0013),
        verification("cnn-plain", samples=100),
        verification("cnn-jacobian", samples=100, strength=0.4),
    ]
