"""The experiments of a paper: which networks are trained, what is measured of each, and what that says."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bounds.errors import InputError
from verification.claims.chart import Chart, Table
from verification.claims.claim import Claim
from verification.training.job import Training

PRESETS = ("quick", "full")


def seeds(count: int) -> range:
    """The seeds of an experiment: 1, 2, ... Strengths and other choices were made with seed 0 and with 100.

    >>> list(seeds(3))
    [1, 2, 3]
    """
    return range(1, count + 1)


@dataclass(frozen=True)
class Measurement:
    """Something measured of a trained network.

    Attributes:
        name: a key of `verification.claims.measurements.MEASUREMENTS`.
        arguments: its keyword arguments; plain json values.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names the file of its result."""
        return digest(asdict(self))


@dataclass(frozen=True)
class Net:
    """One network of an experiment.

    Attributes:
        labels: what tells it from the others, without the seed: method, strength, data, net, ...
        training: how it is trained, the seed included.
        measurements: what is measured of it, by the name that the conclusions use.
    """

    labels: Mapping[str, Any]
    training: Training
    measurements: Mapping[str, Measurement]

    @property
    def digest(self) -> str:
        """Names its checkpoint: equal trainings, whatever the experiment, share it."""
        return digest(asdict(self.training))

    @property
    def title(self) -> str:
        """In words, for progress."""
        words = [f"{value:g}" if isinstance(value, float) else str(value) for value in self.labels.values()]
        return f"{' '.join(words)}, seed {self.training.seed}"


@dataclass(frozen=True)
class Result:
    """A trained and measured network.

    Attributes:
        net: the network.
        summary: its accuracies, epochs, seconds per epoch, peak memory; see `verification.claims.work`.
        measured: by the names of `net.measurements`.
        seconds: processor time of training and measurements together.
    """

    net: Net
    summary: Mapping[str, Any]
    measured: Mapping[str, Any]
    seconds: float = 0.0


class Results:
    """All networks of an experiment, measured; those whose training failed are left out of everything.

    >>> training = Training("digits")
    >>> one = Result(Net({"method": "plain"}, training, {}), {"failed": None}, {"norm": 2.0})
    >>> Results([one]).values(lambda result: result.measured["norm"], method="plain")
    (2.0,)
    """

    def __init__(self, results: list[Result]) -> None:
        self.all = [result for result in results if result.summary["failed"] is None]
        self.failed = [result for result in results if result.summary["failed"] is not None]

    def matching(self, **labels: Any) -> list[Result]:
        """The networks with these labels, seed by seed; there may be none."""
        found = [r for r in self.all if all(r.net.labels.get(key) == value for key, value in labels.items())]
        return sorted(found, key=lambda result: result.net.training.seed)

    def where(self, **labels: Any) -> list[Result]:
        """The networks with these labels, seed by seed.

        Raises:
            InputError: if there is none.
        """
        found = self.matching(**labels)
        if not found:
            raise InputError(f"no network with {labels} was trained to its end")
        return found

    def values(self, of: Callable[[Result], float], **labels: Any) -> tuple[float, ...]:
        """A number of each network with these labels, seed by seed."""
        return tuple(float(of(result)) for result in self.where(**labels))

    def labels(self, key: str, **labels: Any) -> list[Any]:
        """The different values of a label, in the order of the experiment."""
        return list(
            dict.fromkeys(
                r.net.labels[key] for r in self.all if key in r.net.labels and labels.items() <= r.net.labels.items()
            )
        )

    def pairs(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[Result, Result]]:
        """Networks of the same seed, one with each set of labels."""
        second = {result.net.training.seed: result for result in self.where(**other)}
        for result in self.where(**one):
            if result.net.training.seed in second:
                yield result, second[result.net.training.seed]


Reading = Callable[[Result], float | None]
"""A number of a network; None where it has none."""

BySeed = dict[int, float]


def by_seed(results: Results, labels: Mapping[str, Any], of: Reading) -> BySeed:
    """A number of every network with these labels, by seed; what failed or has no such number is left out."""
    read = {result.net.training.seed: of(result) for result in results.matching(**labels)}
    return {seed: value for seed, value in sorted(read.items()) if value is not None and math.isfinite(value)}


def paired(one: BySeed, other: BySeed, of: Callable[[float, float], float]) -> BySeed:
    """A number of each pair of networks with the same seed.

    >>> paired({0: 3.0, 1: 5.0}, {1: 1.0, 2: 7.0}, lambda a, b: a - b)
    {1: 4.0}
    """
    return {seed: of(one[seed], other[seed]) for seed in one if seed in other}


@dataclass(frozen=True)
class Conclusions:
    """What the measurements say.

    Attributes:
        claims: decided.
        charts: the figures, as data.
        tables: the tables, as data.
        not_reproduced: what of the paper could not be reproduced, and why; one sentence each.
    """

    claims: tuple[Claim, ...]
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...] = ()
    not_reproduced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """The experiments of one paper.

    Attributes:
        key: its name on the command line.
        title: of its report.
        reference: the paper.
        nets: preset -> the networks, no two with the same training; those that take longest first.
        conclude: (results, preset) -> conclusions; fast.
        cuts: preset -> what was made smaller than in the paper, and by how much; one sentence each.
        measuring: preset -> about how many seconds the measurements of one network take on one core.
        memory: about how many GiB one worker needs.
    """

    key: str
    title: str
    reference: str
    nets: Callable[[str], tuple[Net, ...]]
    conclude: Callable[[Results, str], Conclusions]
    cuts: Callable[[str], tuple[str, ...]]
    measuring: Mapping[str, float]
    memory: float = 1.0


def digest(settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that stand for plain settings; an infinite exponent counts as one.

    >>> digest({"a": 1, "b": float("inf")}) == digest({"b": float("inf"), "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
