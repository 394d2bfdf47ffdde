"""Every bound against the independent transcription, on random norms and on every network of the shared cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bounds import catalogue
from bounds.calculus.jacobian_cover import JACOBIAN_NORMS
from bounds.calculus.stratification import Grid
from bounds.catalogue.assumptions import Setting
from bounds.catalogue.entry import Bound
from bounds.evaluation import measure_network
from bounds.inputs import Data
from bounds.network import trace
from bounds.readings import Settings, evaluator
from bounds.rows import violations
from tests.bounds.measurements import facts, random_norms
from tests.cases import CASES
from tests.oracles import catalogue as oracle

TOLERANCE = 1e-9


def oracle_complexity(key: str, variant: str, f: oracle.Facts) -> dict[str, float]:
    if key == "jacobian_surrogate":
        surrogate, kind = variant.split(", ")
        return oracle.jacobian_surrogate(f, kind, surrogate)
    function = getattr(oracle, key)
    return function(f, variant) if variant and not variant.startswith("p_w") else function(f)


def variants() -> list[tuple[str, Bound]]:
    return [(e.key, v) for e in catalogue.entries() for v in e.variants if isinstance(v, Bound)]


def agrees(key: str, bound: Bound, measured, settings: Settings) -> None:
    p_w = float(bound.variant[-1]) if bound.variant.startswith("p_w") else 2.0
    f = facts(measured, settings.margin, settings.delta - measured.failure(), p_w)
    expected = oracle_complexity(key, bound.variant, f)
    value = evaluator(bound, measured, settings)
    raw, guaranteed = (float(value(expression)) for expression in bound.gap.complexity)
    assert raw == pytest.approx(expected["raw"], rel=TOLERANCE)
    assert guaranteed == pytest.approx(expected["guaranteed"], rel=TOLERANCE)
    if bound.target != "surrogate" and key not in ("neyshabur2018_pacbayes", "xiao2023_robust_pacbayes"):
        assert float(value(bound.gap.raw)) == pytest.approx(oracle.gap(expected["raw"], f.n, f.delta), rel=TOLERANCE)
    if bound.target == "surrogate":
        total = oracle.jacobian_surrogate_total_range(f, bound.surrogate)
        expected_gap = oracle.gap(expected["raw"], f.n, f.delta, total)
        assert float(value(bound.gap.raw)) == pytest.approx(expected_gap, rel=TOLERANCE)
        assert float(value(bound.remainder)) == pytest.approx(oracle.second_order_remainder(f), rel=TOLERANCE)


@pytest.mark.parametrize("key, bound", variants(), ids=lambda value: value if isinstance(value, str) else value.variant)
@pytest.mark.parametrize("seed", range(12))
def test_random_norms(key: str, bound: Bound, seed: int) -> None:
    rng = np.random.default_rng(seed)
    norms, gamma, delta = random_norms(rng, biased=seed % 2 == 1, convolutional=seed % 3 == 0)
    if bound.surrogate:
        attacks = [norm for norm in JACOBIAN_NORMS[bound.surrogate].attack if norm != "l1"]
        norms = replace(norms, norm=attacks[seed % len(attacks)])
    agrees(key, bound, norms.measurements(), Settings(delta, gamma, Grid()))


@pytest.mark.parametrize("name", sorted(CASES))
def test_networks(name: str) -> None:
    case = CASES[name]
    rng = np.random.default_rng(7)
    x = torch.from_numpy(rng.uniform(size=(6, *case.input_shape)))
    network = trace(case.module(), x[:2])
    data = Data("uniform", x, torch.arange(6) % network.outputs, network.outputs, (0.0, 1.0))
    for norm in ("l2", "linf"):
        measured = measure_network(network, data, None, 0.1, norm, 0, lambda stage, done, total: None)
        setting = Setting(6, norm, certified=True, support=True)
        applied = 0
        for key, bound in variants():
            if bound.surrogate and norm not in JACOBIAN_NORMS[bound.surrogate].attack:
                continue
            if not violations(bound, measured.architecture, setting):
                agrees(key, bound, measured, Settings(0.05, 3.0, Grid()))
                applied += 1
        assert (applied >= 5) == case.chain
