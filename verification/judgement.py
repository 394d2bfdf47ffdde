"""One sample's judgement: attack, certificate and surrogate values against each other, beyond rounding (theory §2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from verification.attack_set import AttackSet
from verification.attacks import Attack
from verification.certify.certifier import Certifier
from verification.certify.rounding import sums
from verification.certify.work import to_nobody
from verification.surrogates import SURROGATES, Slopes


class SoundnessError(AssertionError):
    """An attack beat a certificate: one of the two is wrong, and no verdict can be trusted."""


@dataclass(frozen=True, eq=False)
class Clean:
    """What is known about samples before any attack.

    Attributes:
        surrogate: losses and slopes of the surrogates, as computed.
        loss_error: bound of the rounding error of the losses, (n,), nats.
        slope_error: bound of the rounding error of every slope, (n,), nats per input unit.
    """

    surrogate: Slopes
    loss_error: Tensor
    slope_error: Tensor

    def subset(self, rows: slice) -> Clean:
        """Some of the samples."""
        return Clean(self.surrogate.subset(rows), self.loss_error[rows], self.slope_error[rows])

    def errors(self, eps: float) -> dict[str, Tensor]:
        """Bounds of the rounding errors of S = loss + eps·slope, by surrogate."""
        error = self.loss_error + eps * self.slope_error
        return {name: error + sums(2) * value for name, value in self.surrogate.at(eps).items()}


@dataclass(frozen=True, eq=False)
class Certificates:
    """What is certified for each sample over the attack set, rounding included.

    Attributes:
        loss: upper bound U of the robust loss, (n,), nats; +inf where nothing certifies.
        margin: lower bound of the worst-case margin, (n,), logits; -inf where nothing certifies.
        routes: which certificate gave U; None where there is none.
        same_piece: (n,) bool: the network is affine on the whole ball, so that S >= R_lin = R (theory L2.2).
    """

    loss: Tensor
    margin: Tensor
    routes: tuple[str | None, ...]
    same_piece: Tensor

    @classmethod
    def none(cls, count: int) -> Certificates:
        """Nothing is certified."""
        unknown = torch.full((count,), math.inf, dtype=torch.float64)
        return cls(unknown, -unknown, (None,) * count, torch.zeros(count, dtype=torch.bool))


@dataclass(frozen=True, eq=False)
class Verdicts:
    """One attack set: attack, certificates and surrogates of every sample.

    Attributes:
        attack: the lower bound A of the robust loss with its perturbation.
        certificates: the upper bound U.
        surrogates: S by name, (n,), nats.
        failed: (n,) bool: logits or derivatives were not finite; no verdict.
        refuted: by name, (n,) bool: A > S beyond rounding; attack.delta is the counterexample.
        proved: by name, (n,) bool: U <= S beyond rounding, or S >= R_lin in a single linear piece.
    """

    attack: Attack
    certificates: Certificates
    surrogates: dict[str, Tensor]
    failed: Tensor
    refuted: dict[str, Tensor]
    proved: dict[str, Tensor]

    def letters(self, name: str) -> str:
        """One letter per sample: p roved, r efuted, u ndecided, f ailed."""
        flags = zip(self.failed.tolist(), self.refuted[name].tolist(), self.proved[name].tolist(), strict=True)
        return "".join(
            "f" if failed else "r" if refuted else "p" if proved else "u" for failed, refuted, proved in flags
        )


def certificates(
    certifier: Certifier | None,
    x: Tensor,
    y: Tensor,
    attack_set: AttackSet,
    goals: Tensor,
    effort: str,
    tell: Callable[[str], None] = to_nobody,
) -> Certificates:
    """What the certifier proves; nothing without one.

    Args:
        certifier: of the network; None where certificates are not available.
        x: inputs, (n, *shape).
        y: labels, (n,).
        attack_set: the set.
        goals: surrogate values that one would like to prove, (n, m).
        effort: "quick", "standard" or "thorough".
        tell: called often, with what is being done.
    """
    if certifier is None or len(y) == 0:
        return Certificates.none(len(y))
    certified = certifier.certify(x, y, attack_set, goals=goals, effort=effort, tell=tell)
    piece = certified.losses.get("linear piece")
    same_piece = torch.zeros(len(y), dtype=torch.bool) if piece is None else piece.isfinite()
    return Certificates(certified.loss, certified.margin, certified.routes, same_piece)


def judge(
    found: Attack,
    error: Tensor,
    clean: Clean,
    certify: Callable[[Tensor, Tensor], Certificates],
    where: Callable[[int], str] = "sample {}".format,
) -> Verdicts:
    """Verdicts for one attack set.

    In a single linear piece every surrogate marked >= R_lin is proved without a comparison of numbers (theory L2.1,
    L2.2); with a box the robust loss is only smaller.

    Args:
        found: the attack.
        error: bound of the rounding error of its losses and margins, (n,).
        clean: the surrogates.
        certify: certificates of some samples, from goals (n, m) and the positions of those samples.
        where: name of a sample by position.

    Raises:
        SoundnessError: if an attack exceeds a certificate, or refutes what is proved.
    """
    values, errors = clean.surrogate.at(found.set.eps), clean.errors(found.set.eps)
    failed = found.failed | clean.surrogate.failed
    refuted = {name: ~failed & (found.loss - error > value + errors[name]) for name, value in values.items()}
    open_goals = [
        (value - errors[name]).masked_fill(refuted[name] | failed, math.inf)
        for name, value in values.items()
        if SURROGATES[name].upper
    ]
    certified = _spread(
        certify(torch.stack(open_goals or [torch.full_like(found.loss, math.inf)], dim=1), (~failed).nonzero()[:, 0]),
        failed,
    )
    proved = {
        name: ~failed & ((certified.loss + errors[name] <= value) | (certified.same_piece & SURROGATES[name].upper))
        for name, value in values.items()
    }
    beaten = (found.loss - error > certified.loss) | (found.margin + error < certified.margin)
    for name in values:
        beaten |= refuted[name] & proved[name]
    if bool(beaten.any()):
        i = int(beaten.nonzero()[0])
        raise SoundnessError(
            f"{where(i)}, {found.set}: the attack reached loss {found.loss[i]:.17g} and margin {found.margin[i]:.17g};"
            f" certified ({certified.routes[i]}) were at most {certified.loss[i]:.17g}, at least"
            f" {certified.margin[i]:.17g}; surrogates { {name: value[i].item() for name, value in values.items()} }"
        )
    return Verdicts(found, certified, values, failed, refuted, proved)


def _spread(certified: Certificates, failed: Tensor) -> Certificates:
    """Certificates of the samples that did not fail, with nothing certified for the others."""
    spread = Certificates.none(len(failed))
    for into, values in (
        (spread.loss, certified.loss),
        (spread.margin, certified.margin),
        (spread.same_piece, certified.same_piece),
    ):
        into[~failed] = values
    routes = iter(certified.routes)
    return Certificates(
        spread.loss, spread.margin, tuple(None if f else next(routes) for f in failed.tolist()), spread.same_piece
    )
