"""Verdicts on "robust loss <= surrogate", sample by sample: refuted, proved or undecided (theory §2)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bounds.budget import Budget
from bounds.errors import unknown_name
from bounds.inputs import Data
from bounds.network import TracedNetwork
from bounds.network.errors import InvalidNetwork
from bounds.network.modes import on_threads, with_gradients
from bounds.network.running import Model
from bounds.records import finite
from bounds.robust_margins import RobustMargins
from verification import witness
from verification.attack_set import AttackSet
from verification.attacks import Attack, attack
from verification.certify.certifier import Certifier
from verification.certify.float_errors import loss_allowance, slope_allowance
from verification.certify.forward import outputs
from verification.certify.lipschitz import lipschitz_lead
from verification.certify.work import to_nobody
from verification.journal import Journal
from verification.judgement import Certificates, Clean, Verdicts, certificates, judge
from verification.memory import Memory
from verification.plan import THREADS, Box, Plan, plan, why_not_certified
from verification.summary import joined, summary
from verification.surrogates import Slopes, finite_losses, slopes

TOGETHER = 16  # samples whose margins are certified together
CERTIFIED, CERTIFYING = 500, 120.0  # samples that are enough for a hold-out bound, and seconds to spend on them


@dataclass(frozen=True)
class Verification:
    """Verdicts of one network and data set; `record` is their JSON form (see `verification.summary`)."""

    record: dict[str, Any]

    def result(self, norm: str, eps: float) -> dict[str, Any]:
        """What was found for one attack set.

        Raises:
            InputError: if there is none.
        """
        for result in self.record["results"]:
            if (result["norm"], result["eps"]) == (norm, eps):
                return dict(result)
        known = (f"{result['norm']} {result['eps']:g}" for result in self.record["results"])
        raise unknown_name("attack set", f"{norm} {eps:g}", known)


def verify(
    model: Model,
    data: object,
    norm: str | Sequence[str],
    eps: float | Sequence[float],
    *,
    network: TracedNetwork | None = None,
    box: Box | Literal["data"] = "data",
    samples: int | None = None,
    effort: str = "standard",
    steps: int = 40,
    restarts: int = 2,
    seed: int = 0,
    delta: float = 0.05,
    name: str = "model",
    source: Mapping[str, Any] | None = None,
    journal: Path | None = None,
    batch: int = 50,
    memory: Budget | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Decide "robust loss <= surrogate" for every sample, attack norm, radius and surrogate (theory §2).

    Per sample A <= R <= U, with A from attacks and U certified, all for the same attack set: a surrogate S is refuted
    where A > S (the perturbation is kept), proved where U <= S, else undecided. Every comparison allows for float64
    rounding, outwards. Interrupted, a run with a journal keeps what is decided and continues when it is repeated.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        data: held-out samples, anything that `as_data` takes: the bound on the robust risk presumes that training
            never touched them.
        norm: "l2", "linf", "l1", or several of them.
        eps: radius, input units, or several, each once.
        network: the model traced, if that was done already.
        box: valid input values; "data" for those of the data, None for the plain ball.
        samples: how many samples to take, at random; all if None.
        effort: of the certificates: "none", "quick", "standard" or "thorough", the seconds of which a sample may take
            are in `verification.certify.routes.SECONDS`; the record's notes say which routes did not fit.
        steps: gradient steps per start of an attack.
        restarts: starts of an attack.
        seed: of the subset, the attacks and the norm estimates; equal arguments give equal records.
        delta: failure probability of all robust-risk bounds together.
        name: of the model, for the record.
        source: where model and data come from, for a replay.
        journal: file that keeps what is decided; a run with the same arguments continues from it.
        batch: samples decided together; halved where memory does not suffice.
        memory: what certificates may take, as "6GiB"; a quarter of what is available by default.
        progress: called with (batches done, batches), over all attack sets.

    Raises:
        InputError: for bad settings, inputs outside the box, data that do not fit the network, or a journal of
            another run.
        SoundnessError: if an attack exceeds a certificate.

    >>> linear = torch.nn.Linear(2, 2)
    >>> _ = linear.weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]])), linear.bias.data.zero_()
    >>> data = Data("one", torch.zeros(1, 2), torch.tensor([0]), 2)
    >>> verify(linear, data, "l2", 0.5).result("l2", 0.5)["values"]["verdicts"]["margin-jacobian"]
    'p'
    """
    job = plan(
        model,
        data,
        norm,
        eps,
        network=network,
        box=box,
        samples=samples,
        effort=effort,
        steps=steps,
        restarts=restarts,
        seed=seed,
        delta=delta,
        batch=batch,
        name=name,
        source=source,
        memory=memory,
    )
    return decide(job, journal, progress)


@with_gradients
@on_threads(THREADS)
def decide(
    job: Plan,
    journal: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    tell: Callable[[str], None] = to_nobody,
) -> Verification:
    """Carry out a plan; see `verify`.

    Args:
        job: the plan.
        journal: file that keeps what is decided.
        progress: called with (batches done, batches), over all attack sets.
        tell: called often, with what is being done.

    Raises:
        InputError: for a journal of another run.
        SoundnessError: if an attack exceeds a certificate.
    """
    memory, done = Memory(), 0
    starts = range(0, len(job.data), job.batch)
    total = len(starts) * len(job.norms) * len(job.radii)
    with Journal(journal, job.fingerprint) as kept:
        for start, (x, y) in zip(starts, job.data.batches(job.batch), strict=True):
            for norm in job.norms:
                clean: Clean | None = None
                for eps in job.radii:
                    key = (start, norm, eps)
                    if key not in kept.units:
                        clean = clean or _clean(job, x, y, norm, memory, tell)
                        kept.add(key, _unit(job, start, x, y, AttackSet(norm, eps, job.box), clean, memory, tell))
                    done += 1
                    if progress is not None:
                        progress(done, total)
    return Verification(summary(job, kept.units))


def _clean(job: Plan, x: Tensor, y: Tensor, norm: str, memory: Memory, tell: Callable[[str], None]) -> Clean:
    def work(rows: slice) -> tuple[Slopes, Tensor, Tensor]:
        surrogate = slopes(
            job.model,
            x[rows],
            y[rows],
            norm,
            progress=lambda done, total: tell(f"surrogates of sample {done} of {total}"),
        )
        if job.certifier is not None:
            return (
                surrogate,
                loss_allowance(job.certifier.network, x[rows]),
                slope_allowance(job.certifier.network, x[rows]),
            )
        steepest = torch.stack(list(surrogate.slopes.values())).amax(dim=0)
        return surrogate, _assumed(job, surrogate.loss), _assumed(job, steepest)

    parts, loss_errors, slope_errors = zip(*memory.run(work, len(y)), strict=True)
    return Clean(Slopes.cat(parts), torch.cat(loss_errors), torch.cat(slope_errors))


def _unit(
    job: Plan,
    start: int,
    x: Tensor,
    y: Tensor,
    attack_set: AttackSet,
    clean: Clean,
    memory: Memory,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """A batch under one attack set, as plain json."""

    def work(rows: slice) -> dict[str, Any]:
        return _decided(job, start + rows.start, x[rows], y[rows], attack_set, clean.subset(rows), tell)

    unit: dict[str, Any] = joined(memory.run(work, len(y)))
    left_out = None if job.certifier is None else job.certifier.routes(attack_set.norm, job.effort).left_out
    return unit | {"notes": [*memory.notes, *filter(None, [left_out])]}


def _decided(
    job: Plan,
    start: int,
    x: Tensor,
    y: Tensor,
    attack_set: AttackSet,
    clean: Clean,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Some samples under one attack set, as plain json."""
    found = attack(
        job.model,
        x,
        y,
        attack_set.norm,
        attack_set.eps,
        steps=job.steps,
        restarts=job.restarts,
        box=job.box,
        seed=_seed(job.seed, start, attack_set),
        progress=lambda done, total: tell(f"attack step {done} of {total}"),
    )

    def certify(goals: Tensor, rows: Tensor) -> Certificates:
        return certificates(job.certifier, x[rows], y[rows], attack_set, goals[rows], job.effort, tell)

    error = _loss_error(job, x + found.delta, found.loss)
    _replay(job, x, y, found, error)
    verdicts = judge(found, error, clean, certify, where=lambda i: f"sample {start + i}")
    values = {
        "clean_loss": _json(found.clean_loss),
        "attack_loss": _json(found.loss),
        "upper_loss": _json(verdicts.certificates.loss),
        "attacked_margin": _json(found.margin),
        "certified_margin": _json(verdicts.certificates.margin),
        "routes": list(verdicts.certificates.routes),
        "surrogates": {name: _json(value) for name, value in verdicts.surrogates.items()},
        "verdicts": {name: verdicts.letters(name) for name in verdicts.surrogates},
    }
    return {
        "correct": (found.clean_margin > 0).tolist(),
        "values": values,
        "witnesses": _witnesses(job, start, x, y, clean, verdicts),
    }


def _replay(job: Plan, x: Tensor, y: Tensor, found: Attack, error: Tensor) -> None:
    """A loss that an attack saw must be there again in a fresh forward pass before it is held against anything.

    Raises:
        InvalidNetwork: when it is not: the network is random after all.
    """
    with torch.no_grad():
        again = finite_losses(job.model(x + found.delta), y)
    lost = ~found.failed & ~((again - found.loss).abs() <= 2 * error)
    if bool(lost.any()):
        i = int(lost.nonzero()[0])
        raise InvalidNetwork(
            f"{job.name}: at one perturbed input the loss was {found.loss[i]:.9g} and then {again[i]:.9g}: the"
            " network is random, or keeps something between calls"
        )


def _witnesses(job: Plan, start: int, x: Tensor, y: Tensor, clean: Clean, verdicts: Verdicts) -> dict[str, Any]:
    """Packed perturbations of the samples with a refuted surrogate, by position."""
    found = verdicts.attack
    refuted = torch.stack(list(verdicts.refuted.values()))
    positions = refuted.any(dim=0).nonzero()[:, 0]
    errors = clean.errors(found.set.eps)
    limits = torch.stack([value + errors[name] for name, value in verdicts.surrogates.items()])
    largest = limits.masked_fill(~refuted, -math.inf).amax(dim=0)[positions]  # of what the sample refuted

    def refutes(rows: Tensor, delta: Tensor) -> Tensor:
        chosen = positions[rows]
        with torch.no_grad():
            loss = finite_losses(job.model(x[chosen] + delta), y[chosen])
        return loss - _loss_error(job, x[chosen] + delta, loss) > largest[rows]

    packed = witness.compact(found.set, x[positions], found.delta[positions], refutes)
    return {str(start + i): one for i, one in zip(positions.tolist(), packed, strict=True)}


@with_gradients
def robust_measurement(
    model: Model,
    train: Data,
    test: Data,
    network: TracedNetwork | None,
    s_upper: Sequence[float] | None,
    norm: str,
    eps: float,
    *,
    attack_samples: int = 200,
    certified_samples: int | None = None,
    box: Box = (0.0, 1.0),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> RobustMargins:
    """Worst-case margins from both sides, for the robust rows of an evaluation.

    The attacks run on at most `attack_samples` random samples of each set. Of the test samples some, drawn at random,
    are certified with little effort, since a hold-out bound needs no more than a fair sample; all training samples by
    the global Lipschitz constant of a chain. Where no certificate is available the certified margins are -inf: nothing
    is certified.

    Args:
        model: logits of a batch of inputs.
        train: training samples.
        test: held-out samples.
        network: the model traced; without it nothing is certified.
        s_upper: certified upper ends of the operator norms of a chain's layers.
        norm: "l2", "linf" or "l1".
        eps: radius, input units.
        attack_samples: how many samples of each set are attacked.
        certified_samples: how many test samples are certified; by default as many as take two minutes, as estimated
            from the network's shapes, but at most 500.
        box: valid input values; None for the plain ball.
        seed: of the subsets and the attacks.
        progress: called with (test samples certified, how many to certify).

    Raises:
        InputError: for bad settings.
    """
    attack_set = AttackSet(norm, eps, box)
    attacked = []
    for data in (train, test):
        x, y = _samples(data.subset(min(attack_samples, len(data)), seed))
        attacked.append(attack(model, x, y, norm, eps, box=box, seed=seed).margin.numpy())
    certifier = None if network is None or why_not_certified(network) else Certifier(network, s_upper)
    count = _affordable(certifier, norm) if certified_samples is None else certified_samples
    held_out = test.subset(min(count, len(test)), seed)
    certified = [torch.full((len(data),), -math.inf, dtype=torch.float64) for data in (train, held_out)]
    if network is not None and certifier is not None:
        if s_upper is not None and not network.architecture.obstacles:
            certified[0] = torch.cat(
                [
                    lipschitz_lead(network, s_upper, x, y, attack_set, outputs(network, x)).margin(y)
                    for x, y in train.batches(256)
                ]
            )
        done = 0
        for x, y in held_out.batches(TOGETHER):
            certified[1][done : done + len(y)] = certifier.certify(x, y, attack_set, effort="quick").margin
            done += len(y)
            if progress is not None:
                progress(done, len(held_out))
    return RobustMargins(norm, eps, box, attacked[0], attacked[1], certified[0].numpy(), certified[1].numpy())


def _affordable(certifier: Certifier | None, norm: str) -> int:
    """How many samples to certify for a hold-out bound."""
    seconds = 0.0 if certifier is None else certifier.routes(norm, "quick").seconds
    return max(TOGETHER, min(CERTIFIED, int(CERTIFYING / max(seconds, 1e-9))))


def _samples(data: Data) -> tuple[Tensor, Tensor]:
    x, y = zip(*data.batches(256), strict=True)
    return torch.cat(x), torch.cat(y)


def _seed(seed: int, start: int, attack_set: AttackSet) -> int:
    """Of one batch's attack: it depends on what is attacked, not on what was decided before."""
    text = f"{seed} {start} {attack_set.norm} {attack_set.eps!r}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def _loss_error(job: Plan, x: Tensor, loss: Tensor) -> Tensor:
    """Bound of the rounding error of losses and margins at x, (n,)."""
    return _assumed(job, loss) if job.certifier is None else loss_allowance(job.certifier.network, x)


def _assumed(job: Plan, value: Tensor) -> Tensor:
    return job.rounding * (1 + value.abs())


def _json(values: Tensor) -> list[float | None]:
    return [finite(value) for value in values.tolist()]
