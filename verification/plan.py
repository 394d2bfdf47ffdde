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

from bounds.errors import InputError, unknown_name
from bounds.inputs import Data, check_fits, refuse_tokens
from bounds.measure.models import Model, float64_model
from bounds.network import SamplesInteract, TracedNetwork, TraceError, trace
from verification.attack_set import AttackSet
from verification.certify.certifier import EFFORTS, Certifier
from verification.certify.enclosure import refuse_opaque

Box = tuple[float, float] | None

ROUNDING = 1e-9
"""Relative allowance for the rounding of losses and slopes where a network is too opaque to derive one."""


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
        notes: why certificates are not available.
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
        if self.network is None or self.notes:
            return None
        return Certifier.measured(self.network, seed=self.seed)

    @property
    def failure(self) -> float:
        """Probability that a certificate rests on a probabilistic operator norm that is wrong."""
        return 0.0 if self.certifier is None else self.certifier.failure


def plan(
    model: Model,
    data: Data,
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
) -> Plan:
    """Check the settings of `verification.verdicts.verify`, choose the samples and trace the network.

    Raises:
        InputError: for bad settings, inputs outside the box, or data that do not fit the network.
    """
    norms = (norm,) if isinstance(norm, str) else tuple(norm)
    radii = (float(eps),) if isinstance(eps, int | float) else tuple(sorted(float(radius) for radius in eps))
    check_settings(norms, radii, effort=effort, delta=delta, steps=steps, restarts=restarts, batch=batch)
    refuse_tokens(data)
    chosen_box = data.box if box == "data" else box
    chosen, indices = _choose(data, samples, seed)
    for x, _ in chosen.batches(256):
        AttackSet("l2", 0.0, chosen_box).limits(x)
    traced, notes = (network, ()) if network is not None else _trace(model, chosen, name)
    # Attacks and surrogates are evaluated with the very operations that the rounding errors are derived for.
    run = traced if traced is not None else float64_model(model)
    _check_outputs(run, chosen, name)
    if traced is not None:
        notes += why_not_certified(traced)
    if notes:
        notes += (f"rounding errors: at most {ROUNDING:g} of a loss or slope, which is assumed, not derived",)
    identity = _identity(model, run, chosen, source)
    return Plan(
        run,
        traced,
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
    if effort not in EFFORTS:
        raise unknown_name("effort", effort, EFFORTS)
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


def _trace(model: Model, data: Data, name: str) -> tuple[TracedNetwork | None, tuple[str, ...]]:
    """The network as a graph, or None with the reason; what does not even run is refused."""
    if isinstance(model, TracedNetwork):
        return model, ()
    if not isinstance(model, nn.Module):
        return None, ("certificates are not available: the model is a plain function, not a torch module",)
    try:
        return trace(model, next(data.batches(2))[0].float()), ()
    except SamplesInteract:
        raise
    except TraceError as error:
        _check_outputs(float64_model(model), data, name)
        return None, (f"certificates are not available: {error}",)


def _check_outputs(run: Callable[[Tensor], Tensor], data: Data, name: str) -> None:
    """Refuse a network that does not run on the data, or has fewer outputs than the data has classes."""
    x = next(data.batches(2))[0].requires_grad_(True)
    try:
        logits = run(x)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        cause = (str(error).strip() or repr(error)).splitlines()[0]
        raise InputError(f"{name}: does not run on {data.name}, inputs of shape {data.input_shape}: {cause}") from error
    if logits.ndim != 2 or len(logits) != len(x) or logits.shape[1] < 2:
        raise InputError(f"{name}: returns shape {tuple(logits.shape)} for {len(x)} inputs, not (batch, classes >= 2)")
    if not logits.requires_grad:
        raise InputError(f"{name}: its outputs do not depend differentiably on its inputs; there is nothing to attack")
    check_fits(data, data.input_shape, logits.shape[1])


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
