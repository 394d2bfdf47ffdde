from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bounds.inputs import Data
from bounds.network import trace
from tests.verification import networks
from verification.certify.lipschitz import Certificate
from verification.surrogates import SURROGATES, slopes
from verification.verdicts import SoundnessError, compare, judge, robust_measurement

NORMS = ("l2", "linf", "l1")


def data(n, seed, shape=(4,)):
    return Data("toy", networks.inputs(n, shape, seed), torch.arange(n) % 3, 3, (0.0, 1.0))


def norms_of(model):
    return [np.linalg.norm(p.detach().numpy(), 2) for name, p in model.named_parameters() if "weight" in name]


def steep(seed, activation="relu"):
    model = networks.mlp(seed, activation)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


@given(norm=st.sampled_from(NORMS), boxed=st.booleans(), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=4)
def test_verdicts_exclude_each_other_and_agree_with_the_numbers(norm, boxed, seed):
    model, samples = steep(seed), data(6, seed)
    network = trace(model, samples.x)
    comparison = compare(
        model,
        samples,
        norm,
        [0.0, 0.01, 0.3],
        network=network,
        s_upper=norms_of(model),
        box=(0.0, 1.0) if boxed else None,
    )
    for result in comparison.results:
        same_piece = result.attack.set.eps <= comparison.piece_radius * (1 - 1e-9)
        assert bool((result.attack.loss <= result.upper + 1e-8).all())
        assert bool((result.attack.margin >= result.certified_margin - 1e-8).all())
        for name, value in result.surrogates.items():
            assert not bool((result.refuted[name] & result.proved[name]).any())
            assert bool((result.attack.loss[result.refuted[name]] > value[result.refuted[name]]).all())
            assert not bool((result.attack.loss[~result.refuted[name]] > value[~result.refuted[name]] + 1e-7).any())
            if SURROGATES[name].upper:
                assert bool(result.proved[name][same_piece].all())


def test_every_verdict_occurs_and_a_refutation_replays():
    model, samples = steep(5), data(30, 5)
    comparison = compare(model, samples, "l2", [0.003, 0.5], network=trace(model, samples.x), box=None)
    near, far = comparison.results
    assert bool(near.proved["spectral"].any()) and bool(far.refuted["gradient"].any())
    assert bool((~far.refuted["frobenius"] & ~far.proved["frobenius"]).any())
    # the gradient row lies below the robust loss of a convex function, so inside one piece it is refuted
    for i in far.refuted["gradient"].nonzero()[:, 0].tolist():
        delta = far.attack.delta[i].numpy()
        assert np.linalg.norm(delta) <= 0.5
        label = int(samples.y[i])
        jacobian, logits = (
            networks.dense_jacobian(model, samples.x[i]),
            networks.dense_logits(model, samples.x[i]),
        )
        softmax = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        first_order = networks.loss(logits, label) + 0.5 * np.linalg.norm(jacobian.T @ (softmax - np.eye(3)[label]))
        moved = networks.dense_logits(model, samples.x[i] + torch.from_numpy(delta))
        assert networks.loss(moved, label) > first_order


def test_surrogates_marked_upper_can_be_refuted_beyond_the_linear_piece():
    """A flat spot next to a cliff: J = 0 at x, so every surrogate equals the clean loss."""
    model = networks.mlp(0, inputs=1, widths=(1,), classes=2)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), ([[1.0]], [-0.6], [[0.0], [20.0]], [0.0, 0.0]), strict=True):
            parameter.copy_(torch.tensor(value))
    samples = Data("cliff", torch.tensor([[0.5]]), torch.tensor([0]), 2, (0.0, 1.0))
    network = trace(model, samples.x)
    inside, beyond = compare(model, samples, "linf", [0.09, 0.4], network=network).results
    for name, row in SURROGATES.items():
        if "linf" in row.norms:
            assert not inside.refuted[name].any() and bool(inside.proved[name].all()) == row.upper
            assert bool(beyond.refuted[name].all()) and not beyond.proved[name].any()
    assert beyond.attack.loss.item() == pytest.approx(np.logaddexp(0, 20 * 0.3), abs=1e-6)


def test_lipschitz_certificate_proves_where_the_pieces_do_not():
    model, samples = networks.mlp(2, "tanh"), data(10, 2)
    network = trace(model, samples.x)
    with torch.no_grad():
        model[-1].weight.mul_(0)  # a constant network: certified at once
    constant = trace(model, samples.x)
    result = compare(model, samples, "l2", [0.1], network=constant, s_upper=norms_of(model)).results[0]
    assert not bool(result.refuted["frobenius"].any())
    np.testing.assert_allclose(result.upper, result.attack.loss, atol=1e-7)
    notes = compare(model, samples, "l2", [0.1], network=network).notes
    assert any("tanh is not piecewise linear" in note for note in notes)
    assert any("operator norms were not given" in note for note in notes)


def test_residual_network_says_why_it_has_no_lipschitz_certificate():
    model, samples = networks.residual(1), data(4, 1)
    comparison = compare(model, samples, "l2", [0.01], network=trace(model, samples.x), s_upper=[1.0] * 3)
    assert any("no Lipschitz certificate" in note for note in comparison.notes)
    assert comparison.piece_radius is not None


def test_a_wrong_certificate_is_noticed():
    model, samples = steep(5), data(6, 5)
    network = trace(model, samples.x)
    with pytest.raises(SoundnessError, match="attack reached"):
        compare(model, samples, "l2", [0.5], network=network, s_upper=[0.01 * s for s in norms_of(model)])
    found = compare(model, samples, "l2", [0.5]).results[0].attack
    slope = slopes(model, samples.x, samples.y, "l2")
    honest = Certificate(found.margin, found.loss)
    assert bool((judge(found, slope, None, honest).upper == found.loss).all())
    with pytest.raises(SoundnessError):
        judge(found, slope, None, dataclasses.replace(honest, loss=found.loss - 1e-6))
    with pytest.raises(SoundnessError):
        judge(found, slope, None, dataclasses.replace(honest, margin=found.margin + 1e-6))


def test_record_is_the_agreed_json_and_reproducible():
    model, samples = steep(3), data(7, 3)
    network = trace(model, samples.x)
    first, again = (compare(model, samples, "linf", [0.02, 0.2], network=network, name="m").record() for _ in range(2))
    assert json.dumps(first, allow_nan=False) == json.dumps(again, allow_nan=False)
    assert (first["format"], first["version"], first["model"], first["data"]) == (
        "jacobound-comparison",
        1,
        "m",
        "toy",
    )
    assert first["samples"] == 7 and first["seed"] == 0 and len(first["results"]) == 2
    for result, eps in zip(first["results"], (0.02, 0.2), strict=True):
        assert (result["norm"], result["eps"], result["box"]) == ("linf", eps, [0.0, 1.0])
        assert result["attack_loss"]["mean"] == pytest.approx(np.mean(result["attack_loss"]["values"]))
        assert result["certified_accuracy"] <= result["attacked_accuracy"] <= result["accuracy"] <= 1
        assert result["clean_loss"] <= result["attack_loss"]["mean"]
        for name, row in result["surrogates"].items():
            assert row["refuted"] + row["proved"] + row["undecided"] == 7
            assert row["upper"] == SURROGATES[name].upper


def test_robust_measurement_brackets_the_worst_case_margin():
    model, train, test = networks.mlp(6), data(9, 6), data(5, 7)
    robust = robust_measurement(
        model, train, test, trace(model, train.x), norms_of(model), "l2", 0.05, attack_samples=5
    )
    assert (len(robust.attacked_train), len(robust.attacked_test)) == (5, 5)
    assert (len(robust.certified_train), len(robust.certified_test)) == (9, 5)
    assert (robust.certified_test <= robust.attacked_test).all()
    assert np.isfinite(robust.certified_train).all()
    uncertified = robust_measurement(model, train, test, None, None, "l2", 0.05, attack_samples=2)
    assert (uncertified.certified_test == -np.inf).all()
