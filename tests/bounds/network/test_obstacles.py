"""Every obstacle is named, with what it is and what would help."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bounds.activations import DEFINITIONS
from bounds.architecture import in_words
from bounds.catalogue.assumptions import CHAIN, Setting
from bounds.errors import InputError
from bounds.network import NotAChain, TracedNetwork, trace
from tests.cases import traced
from verification.certify.enclosure import refuse_opaque
from verification.certify.linear_piece import why_not_piecewise_linear
from verification.certify.second_order import why_not_second_order


class Between(nn.Module):
    """Something between two dense layers."""

    def __init__(self, what: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.what(self.first(x)))


def between(what: Callable[[Tensor], Tensor]) -> TracedNetwork:
    return trace(Between(what), torch.full((1, 4), 0.5))


ACTIVATION = "an elementwise activation whose constants are not in the package"
REASONS: dict[str, tuple[Callable[[Tensor], Tensor], str, str]] = {
    "relu6": (F.relu6, "relu6", ACTIVATION),
    "selu": (nn.SELU(), "what (SELU)", ACTIVATION),
    "mish": (nn.Mish(), "what (Mish)", ACTIVATION),
    "hardswish": (F.hardswish, "hardswish", ACTIVATION),
    "clamp": (lambda z: z.clamp(-1, 1), "clamp", ACTIVATION),
    "per channel": (lambda z: F.prelu(z, torch.tensor([0.1, 0.2, 0.3, 0.4]).to(z)), "prelu", ACTIVATION),
    "glu": (lambda z: F.glu(torch.cat([z, z], 1)), "glu", "a product of values that both depend on the input"),
    "gate": (lambda z: z * torch.sigmoid(z), "mul", "a product of values that both depend on the input"),
    "layer norm": (nn.LayerNorm(4), "what (LayerNorm)", "a normalisation by statistics of the input"),
    "group norm": (lambda z: F.group_norm(z, 2), "group_norm", "a normalisation by statistics of the input"),
    "softmax": (lambda z: z.softmax(1), "softmax", "a softmax inside the network, as in attention"),
    "attention": (
        lambda z: F.scaled_dot_product_attention(z[:, None], z[:, None], z[:, None])[:, 0] + 0 * z,
        "scaled_dot_product_attention",
        "a softmax inside the network, as in attention",
    ),
    "sorting": (lambda z: z.sort(1).values, "sort", "a comparison, rounding or sorting of values"),
    "fourier": (lambda z: torch.fft.rfft(z, n=6).real, "fft_rfft", "a Fourier transform or complex numbers"),
    "unequal windows": (
        lambda z: F.adaptive_max_pool1d(F.pad(z, (0, 1))[:, None], 4)[:, 0],
        "adaptive_max_pool1d",
        "a max-pool whose windows differ",
    ),
    "other": (lambda z: torch.special.gammaln(z * z + 1), "special_gammaln", "an operation that is not known"),
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_the_right_one(name: str) -> None:
    function, operator, why = REASONS[name]
    found = {obstacle.name: obstacle for obstacle in between(function).architecture.obstacles}
    assert found[operator].why == why
    if why == ACTIVATION:
        assert all(known in found[operator].remedy for known in DEFINITIONS)


def test_a_recurrent_network() -> None:
    obstacle = traced("gru").architecture.obstacles[0]
    assert (obstacle.name, obstacle.why.split(",")[0]) == ("gru (GRU)", "recurrent")


def many(z: Tensor) -> Tensor:
    z = F.layer_norm(F.mish(F.selu(F.relu6(z))), (4,))
    return F.relu6(F.relu6(z).neg()) + z


def test_all_obstacles_are_named_where_bounds_and_certificates_are_refused() -> None:
    network = between(many)
    with pytest.raises(NotAChain) as caught:
        _ = network.chain
    violation = CHAIN.check(network.architecture, Setting(9, None, False, False))
    assert violation is not None
    with pytest.raises(InputError, match="certificates are not available: relu6, selu, mish") as refused:
        refuse_opaque(network)
    messages = [str(caught.value), violation.because, str(refused.value)]
    messages += [why_not_piecewise_linear(network) or "", why_not_second_order(network) or ""]
    for message in messages:
        assert "relu6, selu, mish: an elementwise activation" in message
        assert "layer_norm: a normalisation" in message and "\n" not in message
    assert all("residual join after relu6: chain bounds do not cover joins" in text for text in messages[:2])
    assert "use batch-norm" in violation.remedy and "skip connections" in violation.remedy


def test_long_lists_are_cut() -> None:
    network = trace(nn.Sequential(*[part for _ in range(5) for part in (nn.Linear(4, 4), nn.Mish())]), torch.ones(1, 4))
    assert in_words(network.architecture.obstacles).startswith("1 (Mish), 3 (Mish), 5 (Mish) (+2 more): an elementwise")
