"""Traces recompute the network, name what they could not take apart, and say clearly what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bounds.errors import InputError
from bounds.network import NotAChain, SamplesInteract, Segment, TraceError, nonlinear_rules, trace
from bounds.network.nodes import Opaque
from bounds.network.nonlinear import Nonlinear
from tests.cases import CASES, LeNet, traced


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("name", CASES)
def test_a_trace_recomputes_the_network(name: str, batch: int) -> None:
    x = CASES[name].inputs(batch, seed=batch)
    output = traced(name)(x)
    assert output.dtype == torch.float64
    torch.testing.assert_close(output, CASES[name].module()(x).detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_a_chain_alternates_and_recomputes_the_network(name: str) -> None:
    network = traced(name)
    if not CASES[name].chain:
        with pytest.raises(NotAChain, match=re.escape(network.architecture.obstacles[0].name)):
            _ = network.chain
        return
    z = CASES[name].inputs(3)
    expected = network(z)
    for i, part in enumerate(network.chain):
        assert isinstance(part, Nonlinear if i % 2 else Segment)
        assert tuple(z.shape[1:]) == part.in_shape
        z = part(z)
        assert tuple(z.shape[1:]) == part.out_shape
    assert torch.equal(z, expected)
    assert len(network.chain) == 2 * CASES[name].depth - 1
    assert network.chain[::2] == network.segments


SEGMENTS = {
    "linear": ["linear"],
    "lenet": ["conv1", "conv2", "fc1", "fc2"],
    "conv-bn": ["layer 0+1", "layer 4"],
    "normalised": ["layer 0+1.0", "layer 1.3"],
    "mlp-shared": ["fc", "fc", "head"],
    "functional": ["linear", "matmul+add"],
    "bn-after-pool": ["layer 0", "layer 3+4", "layer 7"],
    "gru": ["head"],
}
NONLINEARITIES = {
    "lenet": ["relu+max-pool after conv1", "relu+max-pool after conv2", "relu after fc1"],
    "mlp-gelu_tanh": ["gelu_tanh after layer 0"],
    "relu-start": ["relu after the input"],
}
OBSTACLES = {
    "lenet": [],
    "resnet": [("join", "residual join in block1"), ("join", "residual join in block2")],
    "densenet": [("join", "concatenation after conv1"), ("join", "concatenation after conv2")],
    "gru": [("opaque", "gru (GRU)")],
    "gated": [("opaque", "mul")],
    "softmax-end": [("ends", "1 (LogSoftmax)")],
    "relu-end": [("ends", "relu after layer 0.2")],
    "relu-start": [("ends", "relu after the input")],
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_segments_are_named_after_their_modules(name: str) -> None:
    assert [segment.name for segment in traced(name).segments] == SEGMENTS[name]


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_nonlinearities_are_named_after_their_place(name: str) -> None:
    assert [found.name for found in traced(name).architecture.nonlinearities] == NONLINEARITIES[name]


@pytest.mark.parametrize("name", OBSTACLES)
def test_obstacles(name: str) -> None:
    obstacles = traced(name).architecture.obstacles
    assert [(obstacle.kind, obstacle.name) for obstacle in obstacles] == OBSTACLES[name]


def test_a_transformer_keeps_attention_and_norms_as_one_thing_each() -> None:
    names = [obstacle.name for obstacle in traced("vit").architecture.obstacles]
    assert {"norm1 (LayerNorm)", "attention (MultiheadAttention)", "norm2 (LayerNorm)"} <= set(names)
    assert "residual join after attention (MultiheadAttention)" in names
    assert "residual join after mlp.2" in names
    opaque = [node.name for node in traced("vit").nodes if isinstance(node.operation, Opaque)]
    assert len(opaque) == len(set(opaque))


def test_a_final_softmax_has_its_remedy() -> None:
    for end in (nn.Softmax(dim=1), nn.LogSoftmax(dim=1)):
        obstacle = trace(nn.Sequential(nn.Linear(4, 3), end), torch.zeros(1, 4)).architecture.obstacles[0]
        assert "return logits" in obstacle.remedy


def test_an_intermediate_value_with_two_uses_is_not_merged() -> None:
    class Twice(Network):
        def forward(self, x: Tensor) -> Tensor:
            h = self.fc(x)
            return 2 * h - torch.relu(h)

    module = Twice().double()
    network = trace(module, torch.zeros(1, 4))
    assert [segment.name for segment in network.segments] == ["fc", "mul"]
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
    torch.testing.assert_close(network(x), module(x).detach())


@pytest.mark.parametrize("name", ["lenet", "gru"])
def test_single_precision_networks_are_evaluated_in_double(name: str) -> None:
    module, x = CASES[name].module().float(), CASES[name].inputs(2).float()
    output = trace(module, x)(x)
    assert output.dtype == torch.float64
    torch.testing.assert_close(output.float(), module(x).detach(), rtol=1e-5, atol=1e-6)


def test_steps_that_move_samples_are_opaque() -> None:
    network = trace(broken(lambda self, x: self.fc(x.flip(0)).flip(0)), torch.zeros(1, 4))
    assert [obstacle.name for obstacle in network.architecture.obstacles] == ["0.flip"]


def test_unused_branches_are_dropped() -> None:
    class Unused(Network):
        def forward(self, x: Tensor) -> Tensor:
            torch.softmax(self.fc(x), 1).sum()
            return self.fc(x)

    assert not trace(Unused(), torch.zeros(1, 4)).architecture.obstacles


def test_weights_are_copies_and_the_module_keeps_its_modes() -> None:
    module = LeNet().double().train()
    module.conv1.eval()
    modes = [part.training for part in module.modules()]
    generator = torch.random.get_rng_state()
    network = trace(module, torch.zeros(1, 1, 8, 8))
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), generator)
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = network(x)
    torch.testing.assert_close(before, module.eval()(x.double()).detach())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert torch.equal(network(x), before)


def test_one_example_is_enough_and_its_precision_does_not_matter() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    for example in (torch.zeros(1, 4), torch.zeros(3, 4, dtype=torch.float64), torch.zeros(1, 4).long()):
        assert trace(module, example).outputs == 2


class Network(nn.Module):
    """A dense layer for the broken networks below."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)


def broken(forward: Callable[[Network, Tensor], object]) -> nn.Module:
    """A network with this forward, inside another module."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(type("Broken", (Network,), {"forward": forward})())


def branches(self: Network, x: Tensor) -> Tensor:
    return self.fc(x) if x.sum() > 0 else self.fc(-x)


def converts(self: Network, x: Tensor) -> Tensor:
    return self.fc(x) * x.max().item() if x.max().item() > 0 else x


ERRORS: dict[str, tuple[nn.Module, str]] = {
    "control flow": (
        broken(branches),
        r"control flow depends .* in branches \(test_tracing.py, line \d+: return",
    ),
    "control flow on a number": (broken(converts), r"control flow depends .* in converts \(test_tracing.py"),
    "numpy": (broken(lambda self, x: torch.from_numpy(x.detach().numpy())), r"cannot be exported: .*numpy"),
    "fixed batch": (
        broken(lambda self, x: self.fc(x).reshape(2, 4)),
        r"one batch size only: .* x\.shape\[0\]",
    ),
    "len": (broken(lambda self, x: self.fc(x).reshape(len(x), 4)), r"one batch size only"),
    "random": (broken(lambda self, x: F.dropout(self.fc(x))), r"random in eval mode"),
    "tuple": (broken(lambda self, x: (self.fc(x), x)), r"returns a tuple"),
    "integers": (broken(lambda self, x: self.fc(x).argmax(1, keepdim=True)), r"one real tensor"),
    "vector": (broken(lambda self, x: self.fc(x).sum(1)), r"returns shape \(2,\) for 2 inputs"),
    "image": (broken(lambda self, x: self.fc(x)[:, None]), r"returns shape \(2, 1, 4\)"),
    "infinite output": (broken(lambda self, x: self.fc(x) / 0), r"output contains NaN or infinity"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_traced_is_said_in_one_line(name: str) -> None:
    module, message = ERRORS[name]
    with pytest.raises(TraceError, match=message) as caught:
        trace(module, torch.ones(1, 4))
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)


INTERACTING: dict[str, nn.Module] = {
    "batch statistics": nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)),
    "minus the mean": broken(lambda self, x: self.fc(x - x.mean(0))),
    "flip": broken(lambda self, x: self.fc(x.flip(0))),
    "first sample": broken(lambda self, x: self.fc(x) + x[0]),
    "last sample": broken(lambda self, x: self.fc(x) + x[-1]),
    "batch size": broken(lambda self, x: self.fc(x) / x.shape[0]),
}


@pytest.mark.parametrize("name", INTERACTING)
def test_samples_that_influence_each_other_are_refused(name: str) -> None:
    with pytest.raises(SamplesInteract, match="changes with the rest of its batch"):
        trace(INTERACTING[name], torch.ones(1, 4))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_must_be_finite(number: float) -> None:
    module = LeNet()
    nn.init.constant_(module.conv2.bias, number)
    with pytest.raises(TraceError, match=r"^conv2\.bias contains NaN or infinity$"):
        trace(module, torch.zeros(1, 1, 8, 8))


def test_buffers_must_be_numbers() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    nn.init.constant_(module[1].running_var, float("nan"))
    with pytest.raises(TraceError, match=r"^1\.running_var contains NaN$"):
        trace(module, torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.zeros(4), r"the example has shape \(4,\): \(batch, \*input_shape\) is expected"),
        (torch.zeros(0, 4), r"the example has shape \(0, 4\)"),
        (torch.zeros(1, 5), r"does not run on an input of shape \(5,\): mat1 and mat2"),
        (torch.full((1, 4), float("nan")), r"the example contains NaN or infinity"),
    ],
)
def test_the_example_must_fit(example: Tensor, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        trace(nn.Linear(4, 3), example)


def test_a_network_that_asserts_the_shape_of_its_input() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        assert x.shape[1] == 4, "four pixels are needed"
        return x

    with pytest.raises(TraceError, match=r"does not run on an input of shape \(5,\): four pixels are needed"):
        trace(broken(forward), torch.zeros(1, 5))


def test_a_constant_network_is_refused() -> None:
    module = broken(lambda self, x: self.fc.weight[:2])
    with pytest.raises(TraceError, match="does not depend on its input"):
        trace(module, torch.ones(2, 4))


def test_a_trace_that_does_not_reproduce_the_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from bounds.network import lowering

    monkeypatch.setitem(lowering.RULES, "relu", nonlinear_rules.RULES["tanh"])
    with pytest.raises(TraceError, match="does not reproduce"):
        trace(LeNet(), torch.ones(1, 1, 8, 8))


def test_the_exporter_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TraceError):
        trace(broken(branches), torch.ones(1, 4))
    trace(CASES["gru"].module(), CASES["gru"].inputs(1))
    assert capfd.readouterr() == ("", "")


def test_the_package_loads_torch_only_on_use() -> None:
    program = "import sys, bounds.network; assert 'torch' not in sys.modules; bounds.network.trace"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_values_are_dropped_after_their_last_reader_and_the_footprint_counts_them_all() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    network = trace(module, torch.zeros(1, 1, 6, 6))
    assert network.shapes == ((1, 6, 6), (4, 6, 6), (4, 6, 6), (2,))
    kept = 36 + 2 * 4 * 36 + 2 * 4 * 36 + 2 * 2  # the input; convolution and its offset; ReLU and flattened; logits
    assert network.footprint == 8 * (kept + 2 * 9 * 36)
    assert network._read_last == [[], [0], [1], [2]]
