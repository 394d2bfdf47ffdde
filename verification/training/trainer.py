"""A small deterministic trainer: Adam with a one-cycle learning rate on cross-entropy plus a penalty."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from bounds.errors import InputError
from bounds.inputs import Data
from bounds.inputs.files import atomic_write
from verification.training.regularisers.penalty import Regulariser, Shared, WarmStart


@dataclass(frozen=True)
class Epoch:
    """Means over one epoch of training, on the parameters as they changed.

    Attributes:
        loss: cross-entropy, nats.
        penalty: value of the regulariser, 0 without one.
        accuracy: fraction of samples classified correctly.
    """

    loss: float
    penalty: float
    accuracy: float


class Diverged(InputError):
    """Training stopped: a loss or a parameter is no longer finite.

    Attributes:
        history: the epochs before.
    """

    def __init__(self, message: str, history: tuple[Epoch, ...] = ()) -> None:
        super().__init__(message)
        self.history = history


def train(
    network: nn.Module,
    data: Data,
    *,
    regulariser: Regulariser | None = None,
    strength: float = 0.0,
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    seed: int = 0,
    state: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[int, Epoch], None] | None = None,
) -> tuple[Epoch, ...]:
    """Train in place on cross-entropy + strength · regulariser; equal arguments give equal weights.

    Args:
        network: maps (n, *shape) inputs to logits; left in eval mode.
        data: the training set.
        regulariser: penalty on a batch; None for plain training.
        strength: weight of the penalty, at least 0.
        epochs: passes over the data.
        batch_size: samples per step.
        learning_rate: peak of the one-cycle schedule.
        seed: seed of the shuffling and of the regulariser's random directions and starts.
        state: file that is written after every epoch; if it is there, training continues from it, with the same
            result as if it had never stopped. A regulariser with warm starts adds a float32 copy of the inputs' size.
        progress: called with (epochs done, epochs).
        on_epoch: called with (epoch, counted from 1, and its means).

    Raises:
        InputError: for a negative strength, or a state that belongs to another training.
        Diverged: if the loss or a parameter stops being finite; the network then has the weights of the last good
            epoch (its first ones, if there was none).
    """
    if not strength >= 0:
        raise InputError(f"strength {strength!r}: a penalty needs a weight >= 0")
    x = torch.cat([inputs for inputs, _ in data.batches(4096, dtype=torch.float32)])
    settings = f"{regulariser} {strength} {epochs} {batch_size} {learning_rate} {seed}"
    job = _Job(network, x, data.y, regulariser, strength, epochs, batch_size, learning_rate, seed)
    history = job.resume(state, _fingerprint(network, data, settings)) if state is not None else []
    network.train()
    while len(history) < epochs:
        good = {name: value.clone() for name, value in network.state_dict().items()}
        try:
            history.append(job.epoch())
        except Diverged as error:
            network.load_state_dict(good)
            network.eval()
            raise Diverged(f"training diverged in epoch {len(history) + 1}: {error}", tuple(history)) from None
        if state is not None:
            job.save(state, history)
        if on_epoch is not None:
            on_epoch(len(history), history[-1])
        if progress is not None:
            progress(len(history), epochs)
    network.eval()
    return tuple(history)


class _Job:
    """A training with everything that its next step depends on."""

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        y: Tensor,
        regulariser: Regulariser | None,
        strength: float,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        seed: int,
    ) -> None:
        self.network, self.x, self.y = network, x, y
        self.regulariser, self.strength, self.batch_size = regulariser, strength, batch_size
        self.generator = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
        steps = max(2, epochs * math.ceil(len(y) / batch_size))
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        # the loss wants batch-norm's batch statistics, the penalty its running ones
        self.shares = not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules())
        # one direction per sample
        self.directions = regulariser.start(x, self.generator) if _is_warm(regulariser) else None
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, max_lr=learning_rate, total_steps=steps)
        self.fingerprint = ""

    def epoch(self) -> Epoch:
        """One pass over the data."""
        totals = torch.zeros(3, dtype=torch.float64)
        for batch in torch.randperm(len(self.y), generator=self.generator).split(self.batch_size):
            totals += len(batch) * self._step(batch)
        if not all(bool(parameter.isfinite().all()) for parameter in self.network.parameters()):
            raise Diverged("a parameter is not finite; lower the learning rate or the strength")
        return Epoch(*(totals / len(self.y)).tolist())

    def _step(self, batch: Tensor) -> Tensor:
        """One step on the samples of these indices; loss, penalty and accuracy there."""
        x, y = self.x[batch], self.y[batch]
        network = Shared(self.network, x) if self.regulariser is not None and self.shares else self.network
        logits = network(x)
        loss = functional.cross_entropy(logits, y)
        penalty = self._penalty(network, x, y, batch)
        objective = loss + self.strength * penalty
        if not bool(objective.isfinite()):
            raise Diverged(
                f"loss {loss.item():.3g}, penalty {penalty.item():.3g}; lower the learning rate or the strength"
            )
        self.optimiser.zero_grad()
        # not in the batch, which a shared evaluation has made a leaf
        objective.backward(inputs=self.parameters)
        self.optimiser.step()
        self.schedule.step()
        hits = (logits.argmax(dim=1) == y).double().mean()
        return torch.stack([loss.detach().double(), penalty.detach().double(), hits])

    def _penalty(self, network: nn.Module, x: Tensor, y: Tensor, batch: Tensor) -> Tensor:
        """The regulariser on the batch; with a warm start, from the directions that these samples had last."""
        if self.regulariser is None:
            return torch.zeros(())
        if self.directions is None or not isinstance(self.regulariser, WarmStart):
            return self.regulariser(network, x, y, self.generator)
        penalty, self.directions[batch] = self.regulariser.visit(network, x, y, self.directions[batch])
        return penalty

    def save(self, path: Path, history: list[Epoch]) -> None:
        """Write everything that the next epoch depends on; all of it or nothing."""
        content = {
            "fingerprint": self.fingerprint,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": {name: value for name, value in self.schedule.state_dict().items() if _is_plain(value)},
            "generator": self.generator.get_state(),
            "history": [asdict(epoch) for epoch in history],
            "directions": self.directions,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # torch refuses to open some names itself
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                torch.save(content, file)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error

    def resume(self, path: Path, fingerprint: str) -> list[Epoch]:
        """The epochs that a state file holds, with the network brought to their end; none without a file."""
        self.fingerprint = fingerprint
        if not path.exists():
            return []
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            if content["fingerprint"] != fingerprint:
                raise InputError(f"{path}: the state of a training with other settings, data or network; delete it")
            self.network.load_state_dict(content["network"])
            self.optimiser.load_state_dict(content["optimiser"])
            self.schedule.load_state_dict(content["schedule"])
            self.generator.set_state(content["generator"])
            self.directions = content.get("directions")
            return [Epoch(**epoch) for epoch in content["history"]]
        except (RuntimeError, KeyError, EOFError, OSError) as error:
            raise InputError(f"{path}: damaged, or not the state of a training; delete it") from error


def _is_warm(regulariser: Regulariser | None) -> TypeGuard[WarmStart]:
    return isinstance(regulariser, WarmStart) and regulariser.warm


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str | bool | list | tuple | None)


def _fingerprint(network: nn.Module, data: Data, settings: str) -> str:
    """What a training depends on: first weights, data, settings."""
    digest = hashlib.sha256(f"{data.digest()} {settings} {network}".encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
