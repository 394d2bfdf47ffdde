"""Routes that are left out: whatever the planner decides, certificates hold, stay finite and within the memory."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bounds.budget import Budget
from bounds.errors import InputError
from bounds.network import Segment, trace
from tests.cases import CASES, mlp, traced
from tests.verification.certify.test_soundness import CERTIFIABLE, check
from verification.attack_set import AttackSet
from verification.certify import relaxation as relaxation_module
from verification.certify.certifier import Certifier, certify
from verification.certify.costs import Costs, count, fed_by, is_local, reads_of_one
from verification.certify.enclosure import enclose
from verification.certify.matrices import sparse_matrix
from verification.certify.relaxation import Relaxation
from verification.certify.rivals import ALL, Rivals
from verification.certify.routes import PATIENCE, SECONDS
from verification.certify.work import Work

NETWORKS = ("mlp-deep", "mlp-tanh", "lenet", "resnet", "densenet", "max-pool-overlapping", "bn-after-pool")


def allow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Every effort may take that long."""
    for effort in SECONDS:
        monkeypatch.setitem(SECONDS, effort, seconds)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("share", [0.0, 0.03, 0.2, 0.6])
def test_no_point_of_the_set_beats_a_certificate_with_routes_left_out(
    name: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = traced(name)
    allow(monkeypatch, share * Certifier(network).routes("linf", "quick").seconds)
    assert Certifier(network).routes("linf", "quick").left_out is not None
    assert check(CASES[name].module(), network, random.Random(f"{name} {share}"), rounds=1, n=4) == 12


@pytest.mark.parametrize("name", NETWORKS)
def test_every_share_gives_finite_certificates_and_more_routes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = traced(name), CASES[name].inputs(3)
    everything = Certifier(network).routes("linf", "standard").seconds
    before = -1
    for share in (0.0, 0.5 / PATIENCE, 0.1, 2.0):
        allow(monkeypatch, share * everything)
        certifier = Certifier(network)
        routes = certifier.routes("linf", "standard")
        taken = len(routes.hidden) + len(routes.taken)
        assert taken >= before
        before = taken
        found = certifier.certify(x, torch.arange(3), AttackSet("linf", 0.05, (0.0, 1.0)))
        assert bool(found.loss.isfinite().all())
    assert routes.left_out is None


def test_what_is_left_out_is_said_with_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, 1e-6)
    said = Certifier(traced("resnet")).routes("linf", "standard").left_out
    assert said is not None and "\n" not in said
    for part in ("1e-06 s a sample at effort standard", "hidden units at 5 of 5 nonlinearities (", "slopes ("):
        assert part in said
    assert Certifier(traced("resnet")).routes("linf", "standard").left_out == said  # no clock is asked


def test_memory_leaves_out_what_cannot_be_split() -> None:
    network = trace(mlp((4, 50, 30)).double(), torch.zeros(1, 4))
    budget = Budget(3 * Costs(network).state)
    routes = Certifier(network, budget=budget).routes("linf", "standard")
    assert "optimised slopes" not in routes.taken
    assert routes.left_out is not None and "optimised slopes (" in routes.left_out and "kB)" in routes.left_out
    with pytest.raises(InputError, match="certifying one sample takes .* raise it with --memory"):
        Certifier(network, budget=Budget(1000))
    with pytest.raises(InputError, match="memory 'much'"):
        certify(CASES["mlp"].module(), CASES["mlp"].inputs(1), torch.tensor([0]), "l2", 0.1, memory="much")


@pytest.mark.parametrize("name", ["lenet", "resnet", "densenet", "mlp-tanh", "conv-transposed"])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_pieces_change_nothing(name: str, norm: str) -> None:
    network, x, y = traced(name), CASES[name].inputs(3), torch.arange(3)
    whole, small = Certifier(network), Certifier(network, budget=Budget(3 * Costs(network).state))
    assert len(small.relaxation.windowed) < len(whole.relaxation.windowed) or not whole.relaxation.windowed
    assert small.routes(norm, "quick").hidden == whole.routes(norm, "quick").hidden
    attack_set = AttackSet(norm, 0.05, (0.0, 1.0))
    # One by one: a unit is looked at if any sample of the batch needs it.
    expected, found = (certifier.certify(x, y, attack_set, effort="quick", batch=1) for certifier in (whole, small))
    for route, loss in found.losses.items():
        torch.testing.assert_close(loss, expected.losses[route], rtol=1e-9, atol=1e-9)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that anything returned."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        sizes = [leaf.untyped_storage().nbytes() for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]
        self.size = max([self.size, *sizes])
        return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_tensor_passes_the_budget(norm: str) -> None:
    """64 channels on 32 x 32: an identity of the hidden units would take 34 GB."""
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    )
    x, budget = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), Budget(2**26)
    network = trace(model, x)
    with Largest() as largest:
        certifier = Certifier(network, budget=budget)
        found = certifier.certify(x, torch.tensor([0]), AttackSet(norm, 0.01, (0.0, 1.0)), effort="quick")
    assert bool(found.loss.isfinite().all()) and "relaxation" in found.losses
    assert 2**19 < largest.size <= budget.memory // 4


def test_many_classes_keep_the_leads_of_intervals_beyond_the_chosen_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mlp((4, 6, ALL + 8)).double()
    x, y = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 7, 39])
    network, attack_set = trace(model, x), AttackSet("l2", 0.3)
    every = Certifier(network).certify(x, y, attack_set, effort="quick")
    allow(monkeypatch, 1e-9)
    monkeypatch.setattr("verification.certify.routes.PATIENCE", 1e9)
    certifier = Certifier(network)
    assert certifier.routes("l2", "quick").classes == ALL
    assert "for 8 rivals" in str(certifier.routes("l2", "quick").left_out)
    some = certifier.certify(x, y, attack_set, effort="quick")
    assert bool((some.losses["relaxation"] <= some.losses["interval"]).all())
    assert bool((every.loss <= some.loss).all()) and bool((every.loss < some.loss - 1e-9).any())
    assert check(model, network, random.Random(0), rounds=1, n=4) == 12


def test_the_chosen_rivals_are_those_of_the_smallest_leads() -> None:
    model = nn.Linear(1, 5).double()
    model.weight.data, model.bias.data = torch.zeros(5, 1).double(), torch.tensor([0.0, 3.0, 1.0, 2.0, -1.0]).double()
    x = torch.zeros(2, 1)
    relaxation = Relaxation(trace(model, x))
    rivals = Rivals.chosen(enclose(relaxation.network, x, AttackSet("l2", 0.1)), torch.tensor([4, 1]), 3)
    assert rivals.classes.tolist() == [[1, 3, 4], [1, 2, 3]]
    torch.testing.assert_close(rivals.low[0], torch.tensor([-1.0, -4.0, -2.0, -3.0, 0.0]).double())
    better = rivals.among_all(torch.full((2, 3), 9.0).double())
    torch.testing.assert_close(better[0], torch.tensor([-1.0, 9.0, -2.0, 9.0, 0.0]).double())
    whole = rivals.with_the_others(torch.logsumexp(-rivals.of(rivals.low), dim=1))
    torch.testing.assert_close(whole, torch.logsumexp(-rivals.low, dim=1))


@pytest.mark.parametrize("name", CERTIFIABLE)
def test_matrices_of_segments_are_those_of_unit_vectors_and_read_what_the_costs_say(name: str) -> None:
    network = traced(name)
    for segment in network.segments:
        unit = torch.eye(segment.d_out, dtype=torch.float64).reshape(-1, *segment.out_shape)
        matrix = sparse_matrix(segment, entries=7)
        torch.testing.assert_close(
            torch.from_numpy(matrix.toarray()), segment.adjoint(unit).flatten(1), rtol=1e-14, atol=1e-16
        )
        assert all((matrix[row].indices[1:] > matrix[row].indices[:-1]).all() for row in range(segment.d_out))
        if is_local(segment):
            assert count(segment.in_shape, reads_of_one(segment)) >= matrix.getnnz(axis=1).max()


@pytest.mark.parametrize("name", ["lenet", "resnet", "bn-after-pool"])
def test_the_most_coefficients_of_a_units_function_are_foreseen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = traced(name)
    relaxation, seen = Relaxation(network), []
    arrive = relaxation_module._Walk._arrive

    def noted(walk, node, given):
        seen.append(given.coefficients.shape[2])
        arrive(walk, node, given)

    monkeypatch.setattr(relaxation_module._Walk, "_arrive", noted)
    enclosure = enclose(network, CASES[name].inputs(1), AttackSet("linf", 0.5))
    local = [node for node in range(len(network.nodes)) if fed_by(network, node) in relaxation.windowed]
    for node in local[1:]:  # the first one reads the input
        seen.clear()
        relaxation.tighten(enclosure, node)
        assert max(seen) <= relaxation.costs.width(node) <= relaxation.costs.widest
    assert len(local) > 1


def test_whoever_listens_hears_every_layer_and_may_interrupt() -> None:
    heard: list[str] = []
    network, x = traced("resnet"), CASES["resnet"].inputs(2)
    Certifier(network).certify(x, torch.arange(2), AttackSet("l2", 0.1), tell=heard.append)
    for node in network.nodes:
        if isinstance(node.operation, Segment):
            assert f"relaxing {node.name}" in heard and f"differentiating {node.name}" in heard

    def interrupt(what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Certifier(network).certify(x, torch.arange(2), AttackSet("l2", 0.1), tell=interrupt)


def test_rows_at_a_time() -> None:
    assert Work(entries=100).rows(samples=2, width=10) == 5
    assert Work(entries=100).rows(samples=20, width=10) == 1
    assert Work.within(Budget(2**40)) == Work()
