"""A softmax, log-softmax or sigmoid at the end is recognised and taken off exactly, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bounds.network.adapted import Adapted
from bounds.network.exporting import export
from bounds.network.graph import build
from bounds.network.heads import head_of, without_head
from bounds.network.nodes import Node
from bounds.network.traced import TracedNetwork

X = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(3, 4)


class Leaf(nn.Module):
    """A module without submodules, all of whose steps are one thing to its users."""

    def __init__(self, end: Callable[[Tensor], Tensor], body: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        super().__init__()
        self.end, self.body, self.weight = end, body, nn.Parameter(torch.tensor([[1.0, 2, 3, 4], [0, 1, -1, 2]]))

    def logits(self, x: Tensor) -> Tensor:
        return F.linear(self.body(x), self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.logits(x))


class Whole(nn.Module):
    """Logits and what is made of them."""

    def __init__(self, body: Leaf, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.end = body, end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.body(x))


def nodes_of(module: nn.Module) -> tuple[Node, ...]:
    return build(export(Adapted(module.double().eval()), X[:2]))


HEADS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "module": (nn.Softmax(dim=1), "softmax"),
    "function": (lambda z: F.softmax(z, dim=-1), "softmax"),
    "cast": (lambda z: z.softmax(1, dtype=torch.float32).double(), "softmax"),
    "of an image": (lambda z: torch.softmax(z[:, :, None, None], 1).squeeze(-1).squeeze(-1), "softmax"),
    "flattened": (lambda z: nn.Softmax2d()(z.reshape(-1, 2, 1, 1)).flatten(1), "softmax"),
    "log-softmax": (nn.LogSoftmax(dim=-1), "log_softmax"),
    "log-softmax function": (lambda z: F.log_softmax(z, 1), "log_softmax"),
    "by hand": (lambda z: z - torch.logsumexp(z, 1, keepdim=True), "log_softmax"),
    "log of softmax": (lambda z: torch.log(F.softmax(z, 1)), "log_softmax"),
    "sigmoid": (nn.Sigmoid(), "sigmoid"),
    "sigmoid reshaped": (lambda z: torch.sigmoid(z[:, None]).flatten(1), "sigmoid"),
}


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("name", HEADS)
def test_heads_are_taken_off(name: str, within: bool) -> None:
    """Also where they are written in the module that computes the logits, together with something opaque."""
    end, kind = HEADS[name]
    body = Leaf(end, F.mish) if within else Leaf(lambda z: z)
    nodes = nodes_of(nn.Sequential(body) if within else Whole(body, end))
    assert head_of(nodes) == kind
    stripped = without_head(nodes)
    assert head_of(stripped) is None
    network = TracedNetwork((4,), 2, stripped)
    torch.testing.assert_close(network(X), body.logits(X).detach(), rtol=1e-14, atol=1e-14)


def test_what_precedes_a_sigmoid_stays() -> None:
    nodes = nodes_of(nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Sigmoid()))
    assert head_of(nodes) == "sigmoid"
    assert [node.name for node in without_head(nodes)[1:]] == ["layer 0", "tanh+sigmoid after layer 0"]
    assert head_of(without_head(nodes)) is None


def test_a_stripped_chain_is_a_chain() -> None:
    """The change of shape after the head joins the last layer."""
    body = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.Unflatten(1, (2, 1)))
    nodes = nodes_of(nn.Sequential(*body, nn.Softmax(dim=1), nn.Flatten()))
    network = TracedNetwork((4,), 2, without_head(nodes))
    assert [part.name for part in network.chain] == ["layer 0", "relu after layer 0", "layer 2"]
    assert network.chain[-1].out_shape == (2,)


NO_HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda z: z,
    "other axis": lambda z: torch.softmax(torch.stack([z, z.flip(1)], 2), 2)[:, :, 0],
    "part": lambda z: torch.softmax(z, 1)[:, :1],
    "mixed": lambda z: torch.softmax(z, 1) + z,
    "affine": lambda z: 2 * torch.softmax(z, 1),
    "sum of exponentials": lambda z: z.flip(1) - torch.logsumexp(z, 1, keepdim=True),
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("name", NO_HEADS)
def test_what_is_no_head_is_left_alone(name: str) -> None:
    assert head_of(nodes_of(Whole(Leaf(lambda z: z), NO_HEADS[name]))) is None
