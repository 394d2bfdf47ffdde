"""What is no deterministic, differentiable function of one sample is refused, by name, in every entry point."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bounds import evaluate
from bounds.errors import InputError
from bounds.inputs import as_data
from bounds.measure import jacobian_norms
from bounds.network import SamplesInteract, trace
from bounds.network.adapted import adapt
from bounds.network.errors import InvalidNetwork
from bounds.network.logits import Logits, as_logits, graph_or_function
from bounds.network.traced import TracedNetwork
from tests.bounds.measure.oracles import Sample
from verification import attack, verify
from verification.certify import certify
from verification.surrogates import slopes


class Net(nn.Module):
    """A tanh network whose forward each test writes."""

    def __init__(self, forward: Callable[[Net, Tensor], Any], outputs: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, outputs)
        self.written = forward

    def forward(self, x: Tensor) -> Any:
        return self.written(self, x)

    def plain(self, x: Tensor) -> Tensor:
        """The network without anything odd."""
        return self.c(torch.tanh(self.b(x)))


def untraceable(forward: Callable[[Net, Tensor], Any]) -> Callable[[Net, Tensor], Any]:
    """The same with a branch on the values, never taken, that the exporter does not get past."""
    return lambda self, x: forward(self, x) * (0.0 if x.mean() > 1e9 else 1.0)


def hidden(self: Net, x: Tensor) -> Tensor:
    """Half of the slope is out of autograd's sight."""
    with torch.no_grad():
        y = self.a(x)
    return self.c(torch.tanh(self.b(x) + 3 * y))


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


X = torch.rand(12, 4, generator=torch.Generator().manual_seed(1))
Y = torch.arange(12) % 3
DIRECTIONS = torch.randn(300, 4, generator=torch.Generator().manual_seed(2))
NEEDS_DERIVATIVES: dict[str, Callable[[nn.Module], Any]] = {
    "attack": lambda net: attack(net, X, Y, "l2", 0.1, steps=3, restarts=1),
    "verify": lambda net: verify(net, as_data((X, Y)), "l2", 0.1, box=None, steps=3, restarts=1),
    "jacobian_norms": lambda net: jacobian_norms(net, Sample(X, Y)),
    "slopes": lambda net: slopes(net, X, Y, "l2"),
}
EVERYTHING = NEEDS_DERIVATIVES | {
    "evaluate": lambda net: evaluate(net, (X, Y), (X, Y)),
    "certify": lambda net: certify(net, X, Y, "l2", 0.1, box=None),
}
RANDOM: dict[str, Callable[[Net, Tensor], Any]] = {
    "noise": lambda self, x: self.plain(x + 0.1 * torch.randn_like(x)),
    "dropout": lambda self, x: F.dropout(self.plain(x), 0.5),
    "noise behind a branch": untraceable(lambda self, x: self.plain(x + 0.1 * torch.randn_like(x))),
}


@pytest.mark.parametrize("entry", EVERYTHING)
@pytest.mark.parametrize("name", RANDOM)
def test_random_networks_stop_every_command(name: str, entry: str) -> None:
    with pytest.raises(InvalidNetwork, match="random in eval mode"):
        EVERYTHING[entry](Net(RANDOM[name]))


@pytest.mark.parametrize("entry", EVERYTHING)
def test_networks_that_mix_samples_stop_every_command_even_where_the_exporter_fails(entry: str) -> None:
    with pytest.raises(SamplesInteract):
        EVERYTHING[entry](Net(untraceable(lambda self, x: self.plain(x - x.mean(0)))))


WRONG_DERIVATIVES: dict[str, Callable[[Net, Tensor], Any]] = {
    "no_grad": untraceable(hidden),
    "detach": untraceable(lambda self, x: self.plain(x * x.detach())),
    "straight-through": untraceable(lambda self, x: self.plain(StraightThrough.apply(20 * x) / 20)),
    "half": untraceable(lambda self, x: self.plain(x + 0.2 * x.detach())),
}


@pytest.mark.parametrize("entry", NEEDS_DERIVATIVES)
@pytest.mark.parametrize("name", WRONG_DERIVATIVES)
def test_a_derivative_that_is_not_the_functions_is_refused(name: str, entry: str) -> None:
    with pytest.raises(InvalidNetwork, match=r"not that of the function: off by \d"):
        NEEDS_DERIVATIVES[entry](Net(WRONG_DERIVATIVES[name]))


def test_a_graph_has_the_right_derivative_whatever_autograd_sees_of_the_module() -> None:
    traced, whole = trace(Net(hidden), X), Net(lambda self, x: self.c(torch.tanh(self.b(x) + 3 * self.a(x))))
    found = jacobian_norms(traced, Sample(X, Y)).frobenius
    torch.testing.assert_close(found, jacobian_norms(whole, Sample(X, Y)).frobenius)
    verdicts = verify(Net(hidden), as_data((X, Y)), "l2", 0.02, box=None).result("l2", 0.02)["values"]["verdicts"]
    assert verdicts["margin-jacobian"] == "p" * 12


@pytest.mark.parametrize("entry", NEEDS_DERIVATIVES)
@pytest.mark.parametrize(
    "cut", [lambda x: x.detach(), lambda x: (255 * x).long() / 255, lambda x: torch.from_numpy(x.detach().numpy())]
)
def test_a_network_that_is_cut_off_from_its_inputs_is_refused(cut: Callable[[Tensor], Tensor], entry: str) -> None:
    with pytest.raises(InvalidNetwork, match="disconnected from its inputs"):
        NEEDS_DERIVATIVES[entry](Net(untraceable(lambda self, x: self.plain(cut(x).to(self.b.weight.dtype)))))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_right_derivatives_pass_at_any_scale_at_kinks_and_where_everything_is_flat(scale: float) -> None:
    networks = [
        Net(untraceable(lambda self, x: scale * self.plain(x))),
        Net(untraceable(lambda self, x: self.c(torch.relu(self.b(scale * x))))),
        Net(untraceable(lambda self, x: 0 * self.plain(x))),
        Net(untraceable(lambda self, x: torch.tanh(1e3 * scale * self.plain(x)))),
        Net(untraceable(lambda self, x: torch.relu(F.linear(x, DIRECTIONS)) @ DIRECTIONS[:, :3])),
    ]
    for network in networks:
        assert isinstance(as_logits(network, torch.cat([X, torch.zeros(1, 4)]).flip(0)), Logits)


MODES = {"inference": torch.inference_mode, "no_grad": torch.no_grad}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("made_inside", [False, True])
def test_numbers_are_the_same_in_every_mode(mode: str, made_inside: bool) -> None:
    def numbers(net: nn.Module, x: Tensor) -> list[Any]:
        data = as_data((x, Y))
        table = evaluate(net, data, data, eps=0.1, keys=["jacobian_surrogate"])
        return [
            table.record,
            jacobian_norms(net, data).frobenius.tolist(),
            attack(net, x, Y, "l2", 0.1, steps=3, restarts=1).loss.tolist(),
            certify(net, x, Y, "l2", 0.1, box=None).loss.tolist(),
            verify(net, data, "l2", 0.1, box=None, steps=3, restarts=1).record["results"],
        ]

    expected = numbers(Net(Net.plain), X)
    net = Net(Net.plain)
    with MODES[mode]():
        found = numbers(Net(Net.plain) if made_inside else net, X.clone() if made_inside else X)
    assert found == expected
    assert max(expected[1]) > 0


class Output(collections.OrderedDict[str, Tensor]):
    """Like those of transformers: a mapping with attributes."""

    def __getattr__(self, name: str) -> Tensor:
        return self[name]


Named = collections.namedtuple("Named", "score feature")  # noqa: PYI024
OUTPUTS: dict[str, tuple[Callable[[Tensor], Any], str | int | None]] = {
    "logits in a dict": (lambda z: {"loss": None, "logits": z, "hidden": z + 1}, None),
    "the only one in a dict": (lambda z: {"scores": z, "name": "net"}, None),
    "by key": (lambda z: {"scores": z, "hidden": z + 1}, "scores"),
    "the only one in a tuple": (lambda z: (z,), None),
    "by index": (lambda z: (z + 1, z), 1),
    "by index as text": (lambda z: [z + 1, z], "1"),
    "a model output": (lambda z: Output(logits=z, hidden=z + 1), None),
    "by attribute": (lambda z: Named(z, z + 1), "score"),
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("traceable", [True, False])
def test_the_logits_are_found_in_what_a_network_returns(name: str, traceable: bool) -> None:
    wrap, output = OUTPUTS[name]
    inner = Net.plain if traceable else untraceable(Net.plain)
    network = adapt(Net(lambda self, x: wrap(inner(self, x))), output=output)
    function, why = graph_or_function(network, X)
    assert isinstance(function, TracedNetwork) is traceable is (why is None)
    torch.testing.assert_close(function(X.double()), Net(Net.plain).double()(X.double()))
    if traceable:
        assert [segment.name for segment in function.segments] == ["b", "c"]
    assert attack(network, X, Y, "l2", 0.1, steps=2, restarts=1).loss.isfinite().all()


@pytest.mark.parametrize(
    ("result", "output", "message"),
    [
        (lambda z: {"a": z, "b": z}, None, "returns a dict of a, b; say which holds the logits with --output"),
        (lambda z: {"a": z, "b": z}, "c", "unknown output 'c'"),
        (lambda z: z, "logits", "there is no output 'logits'"),
        (lambda z: {"a": "text", "b": z}, "a", "output 'a' is a str"),
    ],
)
def test_outputs_that_are_not_clear_are_refused_in_every_entry_point(
    result: Callable[[Tensor], Any], output: str | None, message: str
) -> None:
    for entry in EVERYTHING.values():
        with pytest.raises(InputError, match=message):
            entry(adapt(Net(lambda self, x: result(self.plain(x))), output=output))


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("traceable", [True, False])
def test_a_single_logit_is_two_classes(squeeze: bool, traceable: bool) -> None:
    inner = Net.plain if traceable else untraceable(Net.plain)
    network = Net(lambda self, x: inner(self, x)[:, 0] if squeeze else inner(self, x), outputs=1)
    function, _ = graph_or_function(network, X)
    z = Net(Net.plain, outputs=1).double()(X.double())
    torch.testing.assert_close(function(X.double()), torch.cat([0 * z, z], 1))
    assert any("two classes" in note for note in function.notes)
    loss = F.binary_cross_entropy_with_logits(z[:, 0], (Y % 2).double(), reduction="none")
    torch.testing.assert_close(attack(network, X, Y % 2, "l2", 0.1, steps=1, restarts=1).clean_loss, loss.detach())
    if traceable:
        assert function.architecture.depth == 2 and not function.architecture.obstacles


def test_a_log_softmax_head_changes_nothing_and_is_left_out() -> None:
    plain, headed = Net(Net.plain), Net(lambda self, x: F.log_softmax(self.plain(x), 1))
    traced = trace(headed, X)
    assert torch.equal(traced(X.double()), trace(plain, X)(X.double()))
    assert not traced.architecture.obstacles and "log-softmax" in traced.notes[0]
    for net in (nn.Sequential(plain, nn.LogSoftmax(dim=1)), Net(untraceable(lambda s, x: s.plain(x).log_softmax(-1)))):
        torch.testing.assert_close(
            attack(net, X, Y, "l2", 0.1, steps=3, restarts=1).clean_loss,
            attack(plain, X, Y, "l2", 0.1, steps=3, restarts=1).clean_loss,
        )


HEADS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "softmax": lambda self, x: self.plain(x).softmax(1),
    "softmax behind a branch": untraceable(lambda self, x: self.plain(x).softmax(1)),
}


@pytest.mark.parametrize("entry", EVERYTHING)
@pytest.mark.parametrize("name", HEADS)
def test_probabilities_are_refused_in_every_entry_point(name: str, entry: str) -> None:
    with pytest.raises(InvalidNetwork, match="outputs are probabilities .* --strip-head"):
        EVERYTHING[entry](Net(HEADS[name]))


def test_heads_are_stripped_on_request() -> None:
    plain = trace(Net(Net.plain), X)
    stripped = trace(adapt(Net(HEADS["softmax"]), strip_head=True), X)
    assert torch.equal(stripped(X.double()), plain(X.double()))
    binary = adapt(Net(lambda self, x: torch.sigmoid(self.plain(x)), outputs=1), strip_head=True)
    torch.testing.assert_close(trace(binary, X)(X.double())[:, 1:], Net(Net.plain, outputs=1).double()(X.double()))
    assert attack(binary, X, Y % 2, "l2", 0.1, steps=2, restarts=1).loss.isfinite().all()
    with pytest.raises(InputError, match="control flow"):
        attack(adapt(Net(HEADS["softmax behind a branch"]), strip_head=True), X, Y, "l2", 0.1)


class Masked(Net):
    """A network with two inputs."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.plain(x * mask)


def test_further_inputs_are_fixed() -> None:
    mask = torch.tensor([1.0, 0.0, 1.0, 0.0])
    network = adapt(Masked(Net.plain), fixed={"mask": mask.numpy()})
    traced = trace(network, X)
    expected = trace(Net(Net.plain), X)(X.double() * mask)
    torch.testing.assert_close(traced(X.double()), expected)
    torch.testing.assert_close(as_logits(network, X)(X.double()), expected)
    with pytest.raises(InvalidNetwork, match="does not run on an input of shape"):
        trace(Masked(Net.plain), X)


class Tokens(nn.Module):
    """A text classifier; optionally its pooling looks at the tokens again."""

    def __init__(self, *, again: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embed, self.head = nn.Embedding(7, 3), nn.Linear(3, 2)
        self.again = again

    def forward(self, tokens: Tensor) -> Tensor:
        z = torch.tanh(self.embed(tokens))
        return self.head((z * (tokens > 0)[..., None]).mean(1) if self.again else z.mean(1))


TOKENS = torch.randint(0, 7, (9, 5), generator=torch.Generator().manual_seed(0))


def test_tokens_are_measured_and_attacked_in_the_space_of_an_embedding() -> None:
    network, module = adapt(Tokens(), input_module="embed"), Tokens()
    z = network.measured(TOKENS)
    assert z.shape == (9, 5, 3) and torch.equal(z, module.embed(TOKENS).detach())
    traced = trace(network, z)
    torch.testing.assert_close(traced(z.double()), module.double()(TOKENS))
    assert attack(network, z, TOKENS[:, 0] % 2, "l2", 0.1, steps=2, restarts=1, box=None).loss.isfinite().all()


@pytest.mark.parametrize(
    ("path", "again", "message"),
    [
        ("embedding", False, "did you mean 'embed'"),
        ("embed", True, "uses its inputs elsewhere too"),
        ("", False, "unknown input module"),
    ],
)
def test_input_modules_that_do_not_serve_are_refused(path: str, again: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        adapt(Tokens(again=again), input_module=path).measured(TOKENS)


def test_tokens_without_an_input_module_cannot_be_attacked() -> None:
    with pytest.raises(InputError, match="integers.*--input-module"):
        attack(Tokens(), TOKENS, TOKENS[:, 0] % 2, "l2", 0.1)


class Eye(Net):
    """Constants of the default type made in forward."""

    def __init__(self, branch: bool) -> None:
        super().__init__(Net.plain)
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        z = self.plain(F.linear(x, torch.eye(4)))
        return z * (0.0 if self.branch and x.mean() > 1e9 else 1.0)


def test_constants_of_another_type_do_not_matter() -> None:
    expected = trace(Net(Net.plain), X)(X.double())
    torch.testing.assert_close(trace(Eye(branch=False), X)(X.double()), expected)
    function = as_logits(Eye(branch=True), X)
    assert isinstance(function, Logits) and function.precision == torch.float32
    torch.testing.assert_close(function(X.double()), expected, rtol=1e-4, atol=1e-5)
    record = verify(Eye(branch=True), as_data((X, Y)), "l2", 0.1, box=None, steps=3, restarts=1).record
    assert any("at most 0.0001" in note for note in record["notes"])


def test_casts_and_autocast_inside_a_network_run_in_float64() -> None:
    def casts(self: Net, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = torch.tanh(self.b(x))
        return self.c(z.to(x.dtype))

    expected = trace(Net(Net.plain), X)(X.double())
    torch.testing.assert_close(trace(Net(casts), X)(X.double()), expected)
    assert attack(lambda x: Net(Net.plain)(x.float()), X, Y, "l2", 0.1, steps=2, restarts=1).loss.isfinite().all()
    assert verify(Net(casts), as_data((X, Y)), "l2", 0.02, box=None, steps=2, restarts=1).record["results"]
