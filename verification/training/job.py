"""One training by its settings, and the checkpoint that it ends in: `jacobound train`, and every net of a report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bounds.errors import InputError
from bounds.inputs import Data, save_checkpoint
from verification.training.networks import build, fitted
from verification.training.regularisers import make, remark
from verification.training.trainer import Diverged, Epoch, train

FACTORIES = "verification.training.networks"


@dataclass(frozen=True)
class Training:
    """Everything that the weights of a trained network depend on; plain json values.

    Attributes:
        data: name of the data set.
        net: name of a network factory.
        net_arguments: its arguments; those that the data decides are filled in.
        regulariser: name of a regulariser; None for plain training.
        regulariser_arguments: its arguments.
        strength: weight of the penalty.
        epochs: passes over the data.
        batch_size: samples per step.
        learning_rate: peak of the one-cycle schedule.
        samples: size of the random subset that is trained on; None for all.
        classes: only samples of the first so many classes are used, in training and after; None for all.
        seed: of first weights, subset, order and random directions.

    Raises:
        InputError: for a negative strength, a strength without a regulariser, a learning rate that is not positive,
            or an unknown regulariser.
    """

    data: str
    net: str = "cnn"
    net_arguments: Mapping[str, Any] = field(default_factory=dict)
    regulariser: str | None = None
    regulariser_arguments: Mapping[str, Any] = field(default_factory=dict)
    strength: float = 0.0
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 3e-3
    samples: int | None = None
    classes: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise InputError(f"strength {self.strength:g}: a penalty needs a finite weight >= 0")
        if self.regulariser is None and (self.strength or self.regulariser_arguments):
            raise InputError("a strength or arguments were given without a regulariser")
        if not self.learning_rate > 0:
            raise InputError(f"learning rate {self.learning_rate:g}: it must be positive")
        if self.regulariser is not None:
            make(self.regulariser, self.regulariser_arguments)

    def network(self, data: Data) -> nn.Module:
        """The network with its first weights, for data with all their classes."""
        return build(self.net, fitted(self.net, self.net_arguments, self.of_classes(data)), self.seed)

    def remark(self, data: Data) -> str | None:
        """What a reader must know about this regulariser on this network."""
        return None if self.regulariser is None else remark(self.regulariser, self.network(data))

    def of_classes(self, data: Data) -> Data:
        """The samples whose class the network knows."""
        return data if self.classes is None else data.first_classes(self.classes)

    def trained_on(self, training: Data) -> Data:
        """The samples of the training set that the network sees."""
        known = self.of_classes(training)
        return known if self.samples is None else known.subset(self.samples, self.seed)

    @staticmethod
    def state_path(target: Path) -> Path:
        """Where the state of an unfinished training lies."""
        return target.with_name(f"{target.name}.partial")

    def run(
        self,
        training: Data,
        held_out: Data,
        target: Path,
        *,
        on_epoch: Callable[[int, Epoch], None] | None = None,
    ) -> dict[str, Any]:
        """Train, or continue an interrupted training, and write the checkpoint.

        Args:
            training: the whole training set.
            held_out: samples that training does not touch, for the accuracy in the record.
            target: the checkpoint; while training lasts, its state lies beside it.
            on_epoch: called after every epoch.

        Returns:
            What the checkpoint says about the training.

        Raises:
            Diverged: if the loss stops being finite; the last good epoch is then written to the checkpoint.
            InputError: for bad arguments, or a target that cannot be written.
        """
        chosen, held_out = self.trained_on(training), self.of_classes(held_out)
        arguments = fitted(self.net, self.net_arguments, chosen)
        network = build(self.net, arguments, self.seed)
        penalty = None if self.regulariser is None else make(self.regulariser, self.regulariser_arguments)

        def saved(epochs: tuple[Epoch, ...]) -> dict[str, Any]:
            record = self._record(network, chosen, held_out, epochs)
            save_checkpoint(target, f"{FACTORIES}:{self.net}", arguments, network, record)
            return record

        state = self.state_path(target)
        try:
            epochs = train(
                network,
                chosen,
                regulariser=penalty,
                strength=self.strength,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                seed=self.seed,
                state=state,
                on_epoch=on_epoch,
            )
        except Diverged as error:
            if not error.history:
                raise
            saved(error.history)
            state.unlink(missing_ok=True)
            raise Diverged(f"{error}; {target} holds the epoch before", error.history) from None
        record = saved(epochs)
        state.unlink(missing_ok=True)
        return record

    def _record(self, network: nn.Module, chosen: Data, held_out: Data, history: tuple[Epoch, ...]) -> dict[str, Any]:
        # json has no word for an infinite exponent
        plain = {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in self.regulariser_arguments.items()
        }
        return asdict(self) | {
            "regulariser_arguments": plain,
            "data_sha256": chosen.digest(),
            "trained_on": len(chosen),
            "torch": str(torch.__version__),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "accuracy": accuracy(network, chosen),
            "test_accuracy": accuracy(network, held_out),
            "history": [asdict(epoch) for epoch in history],
        }


def accuracy(network: nn.Module, data: Data) -> float:
    """Fraction of samples classified correctly, by the network in eval mode."""
    network.eval()
    with torch.no_grad():
        hits = [int((network(x).argmax(1) == y).sum()) for x, y in data.batches(512, torch.float32)]
    return sum(hits) / len(data)
