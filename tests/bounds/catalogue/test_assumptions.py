"""Every assumption fails where it should, says because of what, and what would help."""

from __future__ import annotations

import re

import pytest

from bounds import catalogue
from bounds.architecture import Architecture
from bounds.catalogue.assumptions import Setting
from bounds.catalogue.entry import Bound
from bounds.rows import violations
from tests.cases import CASES

FULL = Setting(100, "l2", certified=True, support=True)


def architecture(case: str) -> Architecture:
    return CASES[case].traced().architecture if hasattr(CASES[case], "traced") else traced(case)


def traced(case: str) -> Architecture:
    import torch

    from bounds.network import trace

    example = torch.zeros(2, *CASES[case].input_shape, dtype=torch.float64)
    return trace(CASES[case].module(), example).architecture


def reasons(key: str, case: str, setting: Setting = FULL) -> str:
    bound = next(variant for variant in catalogue.get(key).variants if isinstance(variant, Bound))
    found = violations(bound, architecture(case), setting)
    return "; ".join(f"{v.because} -> {v.remedy}" for v in found)


def find(pattern: str) -> str:
    return next(name for name in sorted(CASES) if re.search(pattern, name))


@pytest.mark.parametrize(
    "key, pattern, message",
    [
        ("golowich2018_frobenius", "overlap", r"max-pool.*overlapping windows -> use average pooling"),
        ("golowich2018_frobenius", "softplus", r"softplus after .* is not positively homogeneous -> use ReLU"),
        ("golowich2018_l1inf", "sigmoid", r"sigmoid after .* is 0\.5 at 0"),
        ("jacobian_surrogate", "relu", r"relu after .* has no Lipschitz derivative -> use softplus"),
        ("bartlett2017_spectral", "resnet", r"residual join"),
        ("bartlett2017_spectral", "dense|concat", r"concat"),
        ("parametric_cover", "gru", r"."),
        ("neyshabur2018_pacbayes", "lenet", r"has a bias -> train without biases"),
        ("yin2019_linear_linf", "lenet", r"the network has \d layers -> use a linear model"),
    ],
)
def test_message(key: str, pattern: str, message: str) -> None:
    assert re.search(message, reasons(key, find(pattern)))


def test_settings() -> None:
    case = find("mlp")
    no_attack = Setting(100, None, certified=False, support=False)
    assert "no attack set was given" in reasons("xiao2023_robust_pacbayes", case, no_attack)
    assert "the support of the data is unknown" in reasons("parametric_cover", case, no_attack)
    assert "n = 1" in reasons("graf2022_excess_capacity", case, Setting(1, "l2", True, True))
    uncertified = Setting(100, "l2", certified=False, support=True)
    assert "no certified margins" in reasons("xiao2023_robust_pacbayes", case, uncertified)
    assert "the attack norm is l2 -> use --norm linf" in reasons("yin2019_linear_linf", case)


def test_slopes_above_one_are_not_1_lipschitz() -> None:
    """Entry 1 has no factor rho: with slope 4 it would claim 2.67 for a class whose complexity is 4."""
    from dataclasses import replace

    net = architecture(find("leaky"))
    steep = replace(net, nonlinearities=tuple(replace(phi, rho=4.0) for phi in net.nonlinearities))
    bound = catalogue.get("golowich2018_frobenius").variants[0]
    assert isinstance(bound, Bound)
    assert any("Lipschitz constant 4 > 1" in v.because for v in violations(bound, steep, FULL))
