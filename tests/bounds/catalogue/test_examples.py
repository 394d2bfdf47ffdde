"""The examples worked out on paper: closed forms against the catalogue (see also the docstrings)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bounds import catalogue
from bounds.by_hand import Norms, complexity
from bounds.rows import holdout_value

LN2 = math.log(2)
ROOT5 = math.sqrt(5)

LINEAR = Norms(s=(1,), d=4, X_F=4, X_col=2, eps=0.5, norm="linf", w=(1, 1))
PEELED = Norms(a=(1, 2), X_F=2)
PEELED_BIASED = Norms(a=(2**0.5, 3**0.5), c=(1, 1), bias=(True, True), X_F=12**0.5)
ROWS_BIASED = Norms(m_bias=(0.5, 2), bias=(True, False))
SPECTRAL = Norms(s=(2, 1), b=(1, 4), parameters=(4, 4))
SMOOTH = Norms(s=(1, 2), a=(1, 2), beta=(0.5,), b=(0.5, 8), X_F=28, parameters=(4, 4), eps=0.5)

# key, variant, norms, gamma, raw in closed form, guaranteed (None: not asked)
EXAMPLES = [
    ("golowich2018_frobenius", "", PEELED, 32, (1 + 2 * math.sqrt(LN2)) / 8, (1 + 2 * math.sqrt(LN2)) / 8),
    ("golowich2018_frobenius", "", PEELED_BIASED, 64, (1 + 2 * math.sqrt(LN2)) / 4, 0.5),
    ("golowich2018_l1inf", "published", Norms(m=(1, 2), X_col=2), 64, math.sqrt(3) / 8, math.sqrt(3) / 8),
    ("golowich2018_l1inf", "sharper", Norms(m=(1, 2), X_col=2), 64, math.sqrt(LN2) / 8, math.sqrt(LN2) / 8),
    # factors max(1/2, 1) and 2, column max(1, sqrt 4), d + 1 = 2
    ("golowich2018_l1inf", "published", ROWS_BIASED, 64, math.sqrt(3 + LN2) / 8, math.sqrt(3 + LN2) / 8),
    # (1/4) sqrt(2(2 ln 2 + ln 3))·4/16 = sqrt(2 ln 12)/16
    ("golowich2018_l1inf", "sharper", ROWS_BIASED, 64, math.sqrt(2 * math.log(12)) / 16, None),
    ("neyshabur2015_frobenius", "", PEELED, 32, 1 / 4, 1 / 4),
    ("neyshabur2015_frobenius", "", PEELED_BIASED, 64, 1 / 2, 1 / 2),
    ("bartlett2017_spectral", "published", SPECTRAL, 1000 * ROOT5, 1 + 6 * LN2 * math.sqrt(3 * LN2) / 100, None),
    ("bartlett2017_spectral", "audited", SPECTRAL, 1000 * ROOT5, 1 + 12 * LN2 * math.sqrt(3 * LN2) / 100, None),
    (
        "bartlett2017_spectral",
        "audited",
        Norms(s=(1,), b=(4,), g=(1,), convolution=(True,), parameters=(2,)),
        400,
        1 + 6 * LN2 * math.sqrt(2 * LN2) / 100,
        None,
    ),
    ("neyshabur2018_pacbayes", "", Norms(s=(1,)), 42 * math.e, 4 * math.sqrt(3 * LN2), 1),
    (
        "xiao2023_robust_pacbayes",
        "published",
        Norms(s=(1,), d=4, eps=0.5, norm="linf"),
        42 * math.e,
        4 * math.sqrt(26 * LN2),
        1,
    ),
    (
        "parametric_cover",
        "standard",
        Norms(s=(2, 3), rho=(0.5,), t=(2, 1), parameters=(1, 1), n=144),
        4 * math.sqrt(2),
        math.sqrt(2 + 3 * LN2),
        0.5,
    ),
    ("yin2019_linear_linf", "p_w=2", LINEAR, 5, 1 / 4, 1 / 4),
    ("yin2019_linear_linf", "p_w=1", LINEAR, 5, (math.sqrt(6 * LN2) / 2 + 1 / 8) / 5, None),
    ("awasthi2020_linear", "p_w=2", Norms(s=(1,), d=4, X_F=4, eps=0.5, w=(1, 1)), 5, 0.225, 0.225),
    ("graf2022_excess_capacity", "", Norms(s=(1,), X_F=2, parameters=(2,)), 2, 1 + 44 * math.sqrt(LN2), 0.5),
]


@pytest.mark.parametrize("key, variant, norms, gamma, raw, guaranteed", EXAMPLES)
def test_on_paper(key: str, variant: str, norms: Norms, gamma: float, raw: float, guaranteed: float | None) -> None:
    value, capped = complexity(key, norms, variant, gamma=gamma)
    assert value == pytest.approx(raw, rel=1e-12)
    if guaranteed is not None:
        assert capped == pytest.approx(guaranteed, rel=1e-12)


def test_norm_based_jacobian_surrogate_on_paper() -> None:
    """Q = (2, 1), T = (1, 0), alpha = (1, 1, 2); kappa of the outputs 28·(1, 8), of the Jacobian (16, 16).

    The range of the losses is M = ln 2 + sqrt 2·2, that of the Jacobian's norm alpha_2 = 2.
    """
    M = LN2 + 2 * math.sqrt(2)
    outputs = 1 + 3 * 560 * math.sqrt(15 * LN2) * math.log(4 * M)
    jacobian = 1 + 3 * 128 * math.sqrt(3 * LN2) * math.log(8)
    raw, _ = complexity("jacobian_surrogate", SMOOTH, "spectral, norm-based")
    assert raw == pytest.approx(outputs + jacobian / math.sqrt(2), rel=1e-12)


def test_every_entry_has_an_example() -> None:
    holdouts = {"holdout_binomial", "holdout_bernstein"}
    assert {example[0] for example in EXAMPLES} | {"jacobian_surrogate"} | holdouts == set(catalogue.keys())


@pytest.mark.parametrize("m, errors, delta, expected", [(2, 0, 0.25, 0.5), (2, 1, 0.19, 0.9), (3, 3, 0.1, 1.0)])
def test_binomial_tail_on_paper(m: int, errors: int, delta: float, expected: float) -> None:
    variant = catalogue.get("holdout_binomial").variants[0]
    assert float(holdout_value(variant, m=m, errors=errors, delta=delta)) == pytest.approx(expected, rel=1e-12)


def test_bernstein_on_paper() -> None:
    variant = catalogue.get("holdout_bernstein").variants[0]
    losses = np.array([0.0, 1.0, 0.0, 1.0])
    value = holdout_value(variant, m=4, errors=2, delta=2 / math.e**2, losses=losses)
    assert float(value) == pytest.approx(0.5 + 1 / math.sqrt(3) + 14 / 9, rel=1e-12)
