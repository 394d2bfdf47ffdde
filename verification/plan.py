"""What a verification is to compute: checked settings, the chosen samples, the certifier, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bounds.budget import Budget
from bounds.errors import InputError, unknown_name
from bounds.inputs import Data, as_data, check_fits, measured, refuse_tokens
from bounds.network import TracedNetwork
from bounds.network.errors import InvalidNetwork
from bounds.network.logits import Logits, graph_or_function
from bounds.network.modes import with_gradients
from bounds.network.running import Model
from verification.attack_set import AttackSet
from verification.certify.certifier import EFFORTS, Certifier
from verification.certify.enclosure import refuse_opaque

Box = tuple[float, float] | None

NO_CERTIFICATES = "none"
"""The effort that leaves attacks and refutations only."""

THREADS = 1
"""Of torch, whatever there are: sums over several threads differ in the last digits with their number."""

ROUNDING = {True: 1e-9, False: 1e-4}
"""Relative allowance for the rounding of losses and slopes where a network is too opaque to derive one: in float64,
and in the coarser precision that a network's own code insists on."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a verification record depends on; made by `plan`.

    Attributes:
        model: logits of a batch of inputs, in float64.
        network: the model as a graph; None where it cannot be traced.
        data: the chosen samples.
        indices: where they are in the data that they were chosen from.
        norms: attack norms.
        radii: increasing, input units.
        box: smallest and largest valid input value; None for the plain ball.
        effort: of the certificates.
        steps: gradient steps per start of an attack.
        restarts: starts of an attack.
        seed: of the subset, the attacks and the norm estimates.
        delta: failure probability of all robust-risk bounds together.
        batch: samples decided together.
        name: of the model.
        source: where model and data come from, for a replay.
        identity: digest that tells the network from others.
        notes: what was made of the outputs, and why certificates are not available.
        certifiable: whether they are.
        rounding: relative allowance for the rounding of losses and slopes, where none can be derived.
        budget: memory that certificates may take.
    """

    model: Callable[[Tensor], Tensor]
    network: TracedNetwork | None
    data: Data
    indices: tuple[int, ...]
    norms: tuple[str, ...]
    radii: tuple[float, ...]
    box: Box
    effort: str
    steps: int
    restarts: int
    seed: int
    delta: float
    batch: int
    name: str
    source: Mapping[str, Any] | None
    identity: str
    notes: tuple[str, ...]
    certifiable: bool
    rounding: float
    budget: Budget

    @cached_property
    def settings(self) -> dict[str, Any]:
        """As in the record."""
        return {
            "box": None if self.box is None else list(self.box),
            "steps": self.steps,
            "restarts": self.restarts,
            "effort": self.effort,
            "seed": self.seed,
            "delta": self.delta,
            "threads": THREADS,
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that the numbers depend on."""
        job = {
            "network": self.identity,
            "data": self.data.digest(),
            "norms": self.norms,
            "radii": self.radii,
            "batch": self.batch,
            **self.settings,
        }
        return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()

    @cached_property
    def certifier(self) -> Certifier | None:
        """The certifier with the operator norms of a chain; None where the network could not be certified."""
        if self.network is None or not self.certifiable:
            return None
        return Certifier.measured(self.network, seed=self.seed, budget=self.budget)

    @property
    def failure(self) -> float:
        """Probability that a certificate rests on a probabilistic operator norm that is wrong."""
        return 0.0 if self.certifier is None else self.certifier.failure


@with_gradients
def plan(
    model: Model,
    data: object,
    norm: str | Sequence[str],
    eps: float | Sequence[float],
    *,
    network: TracedNetwork | None,
    box: Box | Literal["data"],
    samples: int | None,
    effort: str,
    steps: int,
    restarts: int,
    seed: int,
    delta: float,
    batch: int,
    name: str,
    source: Mapping[str, Any] | None,
    memory: Budget | str | None = None,
) -> Plan:
    """Check the settings of `verification.verdicts.verify`, choose the samples and trace the network.

    Raises:
        InputError: for bad settings, inputs outside the box, or data that do not fit the network.
    """
    norms = (norm,) if isinstance(norm, str) else tuple(norm)
    radii = (float(eps),) if isinstance(eps, int | float) else tuple(sorted(float(radius) for radius in eps))
    check_settings(norms, radii, effort=effort, delta=delta, steps=steps, restarts=restarts, batch=batch)
    budget = Budget.of(memory)
    data = as_data(data)
    chosen, indices = _choose(data, samples, seed)
    chosen = measured(model, chosen)
    refuse_tokens(chosen)
    chosen_box = chosen.box if box == "data" else box
    for x, _ in chosen.batches(256):
        AttackSet("l2", 0.0, chosen_box).limits(x)
    # Attacks and surrogates are evaluated with the very operations that the rounding errors are derived for.
    function, why = _function(model if network is None else network, chosen, name)
    if effort == NO_CERTIFICATES:
        why = (f"no certificates at effort {NO_CERTIFICATES}",)
    rounding = ROUNDING[isinstance(function, TracedNetwork) or function.precision == torch.float64]
    notes = (*function.notes, *why)
    if why:
        notes += (f"rounding errors: at most {rounding:g} of a loss or slope, which is assumed, not derived",)
    identity = _identity(model, function, chosen, source)
    return Plan(
        function,
        function if isinstance(function, TracedNetwork) else None,
        chosen,
        indices,
        norms,
        radii,
        chosen_box,
        effort,
        steps,
        restarts,
        seed,
        delta,
        batch,
        name,
        source,
        identity,
        notes,
        certifiable=not why,
        rounding=rounding,
        budget=budget,
    )


def check_settings(norms: Sequence[str], radii: Sequence[float], *, effort: str, delta: float, **counts: int) -> None:
    """Refuse bad settings; see `verification.verdicts.verify`.

    Args:
        norms: attack norms.
        radii: input units.
        effort: of the certificates.
        delta: failure probability.
        counts: numbers that must be positive, by name.

    Raises:
        InputError: for the first bad setting.
    """
    if not norms:
        raise InputError("norms: none was given")
    if len(set(norms)) < len(norms):
        raise InputError(f"norms {', '.join(norms)}: one is named twice")
    if not radii:
        raise InputError("eps: no radius was given")
    for norm in norms:
        for radius in radii:
            AttackSet(norm, radius)
    for radius in radii:
        if radii.count(radius) > 1:
            raise InputError(f"eps: the radius {radius:g} is given twice")
    if effort not in (NO_CERTIFICATES, *EFFORTS):
        raise unknown_name("effort", effort, (NO_CERTIFICATES, *EFFORTS))
    if not 0 < delta < 1:
        raise InputError(f"delta = {delta:g}: must lie between 0 and 1")
    for what, count in counts.items():
        if count < 1:
            raise InputError(f"{what} = {count}: must be at least 1")


def _choose(data: Data, samples: int | None, seed: int) -> tuple[Data, tuple[int, ...]]:
    """A random subset and where it lies in the data."""
    # Which samples a subset takes depends on their number and the seed alone.
    places = Data(data.name, torch.arange(len(data), dtype=torch.float64)[:, None], data.y, data.classes)
    indices = places.subset(len(data) if samples is None else samples, seed).x[:, 0].long()
    return at(data, indices.tolist()), tuple(indices.tolist())


def at(data: Data, indices: Sequence[int]) -> Data:
    """The samples at some places, in that order."""
    return replace(data, x=data.x[list(indices)], y=data.y[list(indices)])


def _function(model: Model, data: Data, name: str) -> tuple[TracedNetwork | Logits, tuple[str, ...]]:
    """The checked network and why there are no certificates; refuses what does not fit the data."""
    try:
        function, why = graph_or_function(model, next(data.batches(3))[0])
    except InvalidNetwork as error:
        raise type(error)(f"{name}, on {data.name}: {error}") from error
    with torch.no_grad():
        outputs = function(next(data.batches(1))[0]).shape[1]
    check_fits(data, data.input_shape, outputs)
    if isinstance(function, TracedNetwork):
        return function, why_not_certified(function)
    return function, (f"certificates are not available: {why}",)


def why_not_certified(network: TracedNetwork) -> tuple[str, ...]:
    """Why a network cannot be certified; nothing where it can."""
    try:
        refuse_opaque(network)
    except InputError as error:
        return (str(error),)
    return ()


def _identity(model: Model, run: Callable[[Tensor], Tensor], data: Data, source: Mapping[str, Any] | None) -> str:
    """What tells the network from others: its file, else its weights, else its outputs."""
    if source is not None:
        return json.dumps([source["sha256"], source["options"]], sort_keys=True)
    digest = hashlib.sha256(repr(model).encode() if isinstance(model, nn.Module) else b"")
    if isinstance(model, nn.Module):
        tensors = model.state_dict()
    else:
        with torch.no_grad():
            tensors = {"logits": torch.cat([run(x) for x, _ in data.batches(256)])}
    for key, tensor in tensors.items():
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{key}{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
