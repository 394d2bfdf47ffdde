"""Replay of a verification record: every counterexample is recomputed in float64 from the network and the data."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bounds.errors import InputError
from bounds.inputs import Data, as_data, measured
from bounds.measure.margin import logits_on
from bounds.network.modes import with_gradients
from bounds.network.running import Model
from verification import witness
from verification.attack_set import AttackSet
from verification.plan import at
from verification.surrogates import finite_losses, slopes

BATCH = 50


@dataclass(frozen=True)
class Claim:
    """A sample under one attack set of which a record says that surrogates are refuted.

    Attributes:
        attack_set: the set.
        position: of the sample, among those of the record.
        surrogates: the refuted ones.
        packed: the perturbation; None where the record has none.
    """

    attack_set: AttackSet
    position: int
    surrogates: tuple[str, ...]
    packed: Mapping[str, Any] | None


@dataclass(frozen=True)
class Replay:
    """What became of the refutations of a record.

    Attributes:
        claimed: how many the record holds, by surrogate.
        confirmed: how many of them are counterexamples indeed.
        failures: the others, one line each.
    """

    claimed: dict[str, int]
    confirmed: dict[str, int]
    failures: tuple[str, ...]


@with_gradients
def replay(
    record: Mapping[str, Any], model: Model, data: object, *, progress: Callable[[int, int], None] | None = None
) -> Replay:
    """Recompute every refutation: delta in the attack set, and loss at x + delta above the surrogate at x.

    Only the perturbations, and what each is said to refute, are taken from the record.

    Args:
        record: of a verification.
        model: the network that it is about; a module is copied to float64 in eval mode.
        data: the data set that its samples were chosen from.
        progress: called with (claims done, claims).

    Raises:
        InputError: if the record is damaged, or the data are not those that it was made with.
    """
    samples, claims = _samples(record, model, as_data(data)), _claims(record)
    run = logits_on(model, samples)
    claimed, confirmed = Counter[str](), Counter[str]()
    failures: list[str] = []
    done = 0
    # By norm and sample, so that a sample's surrogates are computed once for all radii.
    for norm, group in itertools.groupby(claims, key=lambda claim: claim.attack_set.norm):
        for batch in _batches(list(group)):
            for claim, problems in _checked(run, samples, norm, batch):
                claimed.update(claim.surrogates)
                confirmed.update(name for name in claim.surrogates if problems[name] is None)
                where = f"sample {claim.position}, {norm}, eps = {claim.attack_set.eps:g}"
                failures += [f"{where}, {name}: {why}" for name, why in problems.items() if why is not None]
            done += len(batch)
            if progress is not None:
                progress(done, len(claims))
    return Replay(dict(claimed), {name: confirmed[name] for name in claimed}, tuple(failures))


def _samples(record: Mapping[str, Any], model: Model, data: Data) -> Data:
    chosen = record["data"]["indices"]
    if not 0 <= max(chosen, default=-1) < len(data):
        raise InputError(f"{data.name}: {len(data)} samples, too few for this record")
    samples = measured(model, at(data, chosen))
    if samples.digest() != record["data"]["sha256"]:
        raise InputError(f"{data.name}: not the data that the record was made with (their SHA-256 differs)")
    return samples


def _claims(record: Mapping[str, Any]) -> list[Claim]:
    """Everything that a record says is refuted, by norm and then by sample."""
    try:
        box = record["settings"]["box"]
        claims = []
        for result in record["results"]:
            attack_set = AttackSet(result["norm"], result["eps"], None if box is None else (box[0], box[1]))
            letters = result["values"]["verdicts"]
            for position in range(result["samples"]):
                refuted = tuple(name for name, given in letters.items() if given[position] == "r")
                if refuted:
                    claims.append(Claim(attack_set, position, refuted, result["witnesses"].get(str(position))))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"the record is damaged ({type(error).__name__}: {error})") from error
    return sorted(claims, key=lambda claim: (claim.attack_set.norm, claim.position))


def _batches(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """All claims about some samples at a time."""
    positions = sorted({claim.position for claim in claims})
    for start in range(0, len(positions), BATCH):
        some = set(positions[start : start + BATCH])
        yield [claim for claim in claims if claim.position in some]


def _checked(
    run: Callable[[Tensor], Tensor], samples: Data, norm: str, claims: Sequence[Claim]
) -> Iterator[tuple[Claim, dict[str, str | None]]]:
    """Each claim with what is wrong with it, by surrogate; None where it is confirmed."""
    positions = sorted({claim.position for claim in claims})
    x, y = next(at(samples, positions).batches(len(positions)))
    surrogate = slopes(run, x, y, norm)
    for claim in claims:
        row = slice(positions.index(claim.position), positions.index(claim.position) + 1)
        limits = {name: value.item() for name, value in surrogate.subset(row).at(claim.attack_set.eps).items()}
        loss, why = _loss(run, x[row], y[row], claim)
        yield claim, {name: why or _shortfall(name, loss, limits) for name in claim.surrogates}


def _loss(run: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, claim: Claim) -> tuple[float, str | None]:
    """Loss under the claim's perturbation, and why that is not a valid one."""
    if claim.packed is None:
        return 0.0, "no perturbation"
    try:
        delta = witness.unpack(claim.packed)[None]
    except InputError as error:
        return 0.0, str(error)
    if delta.shape != x.shape:
        return 0.0, f"the perturbation has shape {tuple(delta.shape[1:])}"
    if not bool(claim.attack_set.contains(delta, x)):
        return 0.0, "the perturbation leaves the attack set"
    with torch.no_grad():
        return float(finite_losses(run(x + delta), y)), None


def _shortfall(name: str, loss: float, limits: Mapping[str, float]) -> str | None:
    """Why a loss does not refute a surrogate; None where it does."""
    if name not in limits:
        return "no such surrogate"
    return None if loss > limits[name] else f"loss {loss:.9g}, surrogate {limits[name]:.9g}"
