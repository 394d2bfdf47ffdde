"""Verdicts on "robust loss <= surrogate", sample by sample: refuted, proved or undecided (theory §2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bounds.inputs import Data
from bounds.measure.models import Model
from bounds.network import TracedNetwork
from bounds.robust_margins import RobustMargins
from verification.attacks import Attack, attack
from verification.certify.linear_piece import linear_piece_radius, why_not_piecewise_linear
from verification.certify.lipschitz import Certificate, certified_margins
from verification.certify.relaxation import relaxation, why_not_relaxed
from verification.surrogates import SURROGATES, Slopes, slopes

# Relative allowance, outwards, for the float64 rounding of two losses that are compared.
ROUNDING = 1e-9

ATTACK_STEPS = 40


class SoundnessError(AssertionError):
    """An attack beat a certificate: one of the two is wrong, and no verdict can be trusted."""


@dataclass(frozen=True)
class Verdicts:
    """One radius: attack, certificate and surrogates of every sample, all for the same attack set.

    Attributes:
        attack: the lower bound A of the robust loss with its perturbation.
        upper: the certified upper bound U of the robust loss, (n,), nats; +inf where nothing certifies.
        certified_margin: lower bound of the worst-case margin, (n,), logits; -inf where nothing certifies.
        surrogates: S by name, (n,), nats.
        refuted: by name, (n,) bool: A > S beyond rounding; attack.delta is the counterexample.
        proved: by name, (n,) bool: U <= S beyond rounding, or S >= R_lin in a single linear piece.
    """

    attack: Attack
    upper: Tensor
    certified_margin: Tensor
    surrogates: dict[str, Tensor]
    refuted: dict[str, Tensor]
    proved: dict[str, Tensor]

    def record(self) -> dict[str, Any]:
        """This radius in the comparison record."""
        allowed = self.attack.set
        return {
            "norm": allowed.norm,
            "box": None if allowed.box is None else list(allowed.box),
            "eps": allowed.eps,
            "clean_loss": _mean(self.attack.clean_loss),
            "attack_loss": {"mean": _mean(self.attack.loss), "values": self.attack.loss.tolist()},
            "accuracy": _mean(self.attack.clean_margin > 0),
            "attacked_accuracy": _mean(self.attack.margin > 0),
            "certified_accuracy": _mean(self.certified_margin > 0),
            "failed": int(self.attack.failed.sum()),
            "surrogates": {name: self._summary(name) for name in self.surrogates},
        }

    def _summary(self, name: str) -> dict[str, Any]:
        refuted, proved = int(self.refuted[name].sum()), int(self.proved[name].sum())
        return {
            "mean": _mean(self.surrogates[name]),
            "refuted": refuted,
            "proved": proved,
            "undecided": len(self.upper) - refuted - proved,
            "upper": SURROGATES[name].upper,
        }


@dataclass(frozen=True)
class Comparison:
    """Verdicts of one network, data set and attack norm at several radii.

    Attributes:
        model: name of the network.
        data: name of the data set.
        samples: how many samples were compared.
        seed: seed of the attacks.
        piece_radius: radius of every sample's linear piece, (n,), input units, exact where it is at least the
            smallest eps; None without certificate.
        notes: why a certificate was not available.
        results: one per radius.
    """

    model: str
    data: str
    samples: int
    seed: int
    piece_radius: Tensor | None
    notes: tuple[str, ...]
    results: tuple[Verdicts, ...]

    def record(self) -> dict[str, Any]:
        """The comparison record: plain json, no NaN or infinity."""
        return {
            "format": "jacobound-comparison",
            "version": 1,
            "model": self.model,
            "data": self.data,
            "samples": self.samples,
            "seed": self.seed,
            "notes": list(self.notes),
            "results": [result.record() for result in self.results],
        }


def compare(
    model: Model,
    data: Data,
    norm: str,
    eps_list: Sequence[float],
    *,
    network: TracedNetwork | None = None,
    s_upper: Sequence[float] | None = None,
    box: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
    name: str = "model",
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Decide "robust loss <= surrogate" for every sample, radius and surrogate of the attack norm.

    Args:
        model: logits of a batch of inputs; a module is copied to float64 in eval mode.
        data: the samples.
        norm: "l2", "linf" or "l1".
        eps_list: radii, input units.
        network: the traced model, for certificates; without it nothing can be proved.
        s_upper: certified upper ends of the layers' operator norms, for the Lipschitz certificate.
        box: valid input values; None for the plain ball.
        seed: seed of the attacks.
        name: name of the model, for the record.
        progress: called with (radii done, radii).

    Raises:
        InputError: for bad settings, or derivatives that are not finite.
        SoundnessError: if an attack exceeds a certificate.
    """
    x, y = _samples(data)
    surrogate = slopes(model, x, y, norm)
    piece, notes = _piece(network, x, norm, smallest=min(eps_list))
    lipschitz, more = _chain(network, s_upper)
    results = []
    for done, eps in enumerate(eps_list, start=1):
        found = attack(model, x, y, norm, eps, steps=ATTACK_STEPS, box=box, seed=seed)
        certificate = None
        if lipschitz is not None:
            certificate = certified_margins(*lipschitz, x, y, norm, eps)
        results.append(judge(found, surrogate, piece, certificate))
        if progress is not None:
            progress(done, len(eps_list))
    return Comparison(name, data.name, len(y), seed, piece, notes + more, tuple(results))


def judge(
    found: Attack,
    surrogate: Slopes,
    piece_radius: Tensor | None = None,
    certificate: Certificate | None = None,
) -> Verdicts:
    """Verdicts at one radius from an attack, the surrogates' slopes and whatever certificates there are.

    Inside one linear piece the margin-Jacobian surrogate is itself an upper bound of the robust loss, and
    every surrogate marked >= R_lin is proved (theory L2.1, L2.2); with a box the robust loss is only smaller.

    Raises:
        SoundnessError: if an attack exceeds a certificate beyond rounding.
    """
    eps, values = found.set.eps, surrogate.at(found.set.eps)
    same_piece = torch.zeros(len(found.loss), dtype=torch.bool)
    if piece_radius is not None:
        same_piece = eps <= piece_radius * (1 - ROUNDING)
    upper = torch.where(same_piece, values["margin-jacobian"], math.inf)
    affine_margin = found.clean_margin - eps * surrogate.slopes["margin-jacobian"]
    margin = torch.where(same_piece, affine_margin, -math.inf)
    if certificate is not None:
        upper, margin = torch.minimum(upper, certificate.loss), torch.maximum(margin, certificate.margin)
    _check_soundness(found, upper, margin)
    return Verdicts(
        attack=found,
        upper=upper,
        certified_margin=margin,
        surrogates=values,
        refuted={name: found.loss > value + _allowance(value) for name, value in values.items()},
        proved={
            name: (upper + _allowance(value) <= value) | (same_piece & SURROGATES[name].upper)
            for name, value in values.items()
        },
    )


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
    certified_samples: int = 500,
    box: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
) -> RobustMargins:
    """Worst-case margins from both sides, for the robust rows of an evaluation.

    The attacks run on at most `attack_samples` random samples of each set. All training samples are certified by the
    global Lipschitz constant; of the test samples at most `certified_samples`, drawn at random, also by linear
    relaxation, since a hold-out bound needs no more than a fair sample. Where no certificate is available the
    certified margins are -inf: nothing is certified.

    Raises:
        InputError: for bad settings.
    """
    attacked = []
    for data in (train, test):
        x, y = _samples(data.subset(min(attack_samples, len(data)), seed))
        attacked.append(attack(model, x, y, norm, eps, steps=ATTACK_STEPS, box=box, seed=seed).margin.numpy())
    held_out = test.subset(min(certified_samples, len(test)), seed)
    certified = [torch.full((len(data),), -math.inf, dtype=torch.float64) for data in (train, held_out)]
    lipschitz, _ = _chain(network, s_upper)
    if lipschitz is not None:
        certified = [
            torch.cat([certified_margins(*lipschitz, x, y, norm, eps).margin for x, y in data.batches(256)])
            for data in (train, held_out)
        ]
        if why_not_relaxed(lipschitz[0]) is None:
            relaxed = relaxation(*lipschitz, norm, eps).certify(*_samples(held_out))
            certified[1] = torch.maximum(certified[1], relaxed.margin)
    return RobustMargins(norm, eps, box, attacked[0], attacked[1], certified[0].numpy(), certified[1].numpy())


def _samples(data: Data) -> tuple[Tensor, Tensor]:
    x, y = zip(*data.batches(256), strict=True)
    return torch.cat(x), torch.cat(y)


def _piece(
    network: TracedNetwork | None, x: Tensor, norm: str, smallest: float
) -> tuple[Tensor | None, tuple[str, ...]]:
    """The radius of every sample's linear piece, or why there is none."""
    if network is None:
        return None, ("no certificates: the network was not traced",)
    why_not = why_not_piecewise_linear(network)
    if why_not is not None:
        return None, (f"no linear-piece certificate: {why_not}",)
    return linear_piece_radius(network, x, norm, smallest=smallest), ()


def _chain(
    network: TracedNetwork | None, s_upper: Sequence[float] | None
) -> tuple[tuple[TracedNetwork, Sequence[float]] | None, tuple[str, ...]]:
    """What the Lipschitz certificate needs, or why it is not available."""
    if network is None or s_upper is None:
        return None, ("no Lipschitz certificate: the layers' operator norms were not given",)
    if network.architecture.obstacles:
        obstacle = network.architecture.obstacles[0]
        return None, (f"no Lipschitz certificate: {obstacle.name}; {obstacle.remedy}",)
    return (network, s_upper), ()


def _check_soundness(found: Attack, upper: Tensor, margin: Tensor) -> None:
    beaten = (found.loss > upper + _allowance(upper)) | (found.margin < margin - _allowance(margin))
    if bool(beaten.any()):
        i = int(beaten.nonzero()[0])
        raise SoundnessError(
            f"sample {i}, {found.set}: the attack reached loss {found.loss[i]:.17g} and margin"
            f" {found.margin[i]:.17g}; certified were at most {upper[i]:.17g}, at least {margin[i]:.17g}"
        )


def _allowance(value: Tensor) -> Tensor:
    return ROUNDING * (1 + value.abs())


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
