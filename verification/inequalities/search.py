"""The search for a counterexample: hypothesis, targeted at the ratio, then a local ascent from the best instances."""

from __future__ import annotations

import heapq
import math
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import hypothesis
import numpy as np
import torch
from hypothesis import HealthCheck, Phase, settings, target
from hypothesis import strategies as st
from hypothesis.errors import HypothesisDeprecationWarning, Unsatisfiable, UnsatisfiedAssumption
from hypothesis.internal.conjecture.providers import HypothesisProvider

from bounds.errors import InputError
from verification.inequalities.ascent import ascend, simplified
from verification.inequalities.inequality import Comparison, Inequality, Instance

STARTS = 3
"""Sharpest instances that are kept; the ascent starts from them."""
ATTAINED = 0.99
"""From here on an instance counts as attaining equality: the ascent also starts from sharpest ones below."""
DRAWS = 5
"""Draws per instance at most: when a target is reached, hypothesis may go on drawing without end."""


class _TorchGenerator:
    """torch's generator for hypothesis, which seeds it before every instance: networks draw their weights from it."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


_TORCH_GENERATOR = _TorchGenerator()  # hypothesis keeps no reference
hypothesis.register_random(_TORCH_GENERATOR)


class Exhausted(BaseException):
    """Raised inside the search when it has drawn enough; as an interrupt, which hypothesis leaves alone."""


class Refuted(AssertionError):
    """Raised inside the search at an instance that violates the claim."""


@dataclass(frozen=True)
class Refutation:
    """A counterexample, shrunk.

    Attributes:
        instance: argument by name.
        comparison: both sides there.
    """

    instance: Instance
    comparison: Comparison


@dataclass
class Trace:
    """What the search has seen of one claim (or one of its mutants).

    Attributes:
        tried: instances compared.
        drawn: instances asked for; those that the strategy or the claim's assumptions left out included.
        undecidable: failures within the allowance of float64.
        settled: those of them that 35 digits decided in favour of the claim.
        ratio: largest ratio reached; -inf before the first.
        best: the instances with the largest ratios, (ratio, number, instance).
        below: the same among those that do not attain equality: where it holds with room, a search may still gain.
        refutation: the counterexample, if one was found.
    """

    tried: int = 0
    drawn: int = 0
    undecidable: int = 0
    settled: int = 0
    ratio: float = -math.inf
    best: list[tuple[float, int, Instance]] = field(default_factory=list)
    below: list[tuple[float, int, Instance]] = field(default_factory=list)
    refutation: Refutation | None = None

    @property
    def rejected(self) -> int:
        """Draws that were left out."""
        return self.drawn - self.tried

    @property
    def sharpest(self) -> tuple[Instance, ...]:
        """The kept instances, those below equality first."""
        kept = {number: (ratio, instance) for ratio, number, instance in self.best + self.below}
        ordered = sorted(kept.values(), key=lambda pair: (pair[0] >= ATTAINED, -pair[0]))
        return tuple(instance for _, instance in ordered)

    def note(self, instance: Instance, ratio: float) -> None:
        """Keep an instance if it is among the sharpest."""
        self.ratio = max(self.ratio, ratio)
        if ratio == -math.inf:
            return
        for kept in [self.best] + [self.below] * (ratio < ATTAINED):
            heapq.heappush(kept, (ratio, self.tried, instance))
            if len(kept) > STARTS:
                heapq.heappop(kept)


@contextmanager
def _reproducible() -> Iterator[None]:
    """Keeps hypothesis from drawing constants that it finds in whatever modules have been imported so far."""
    with mock.patch.object(HypothesisProvider, "_maybe_draw_constant", lambda *_, **__: None):
        yield


class Search:
    """Looks for a counterexample of a claim, or of one of its mutants.

    Args:
        claim: the inequality.
        mutant: name of the mutant that is searched instead.
        seed: of hypothesis and of the ascent; the same seed finds the same.
        trace: what earlier searches of the same claim have seen; this one adds to it.
    """

    def __init__(self, claim: Inequality, mutant: str | None = None, seed: int = 0, trace: Trace | None = None) -> None:
        self.claim, self.mutant = claim, mutant
        self.seed = seed ^ zlib.crc32(f"{claim.id}/{mutant}".encode())
        self.trace = Trace() if trace is None else trace

    def run(self, examples: int, *, first: tuple[Instance, ...] = ()) -> Trace:
        """Search with a budget.

        Args:
            examples: instances that hypothesis draws; the ascent takes as many again.
            first: instances to try before.

        Raises:
            InputError: if no instance satisfies the assumptions.
        """
        for instance in first:
            self._attempt(instance)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HypothesisDeprecationWarning)  # hypothesis.assume outside of hypothesis
            if self.trace.refutation is None:
                self._draw(examples)
            if self.trace.refutation is None:
                self._climb(examples)
        return self.trace

    def _draw(self, examples: int) -> None:
        trace = self.trace
        limit = trace.drawn + max(1000, DRAWS * examples)
        phases = [Phase.generate, Phase.target] + ([Phase.shrink] if self.mutant is None else [])

        @st.composite
        def drawn(draw: Callable[[Any], Any]) -> Instance:
            trace.drawn += 1
            return {name: draw(strategy) for name, strategy in self.claim.given.items()}

        @hypothesis.seed(self.seed)
        @settings(
            max_examples=examples,
            phases=phases,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(drawn())
        def attempt(instance: Instance) -> None:
            if trace.drawn > limit and trace.refutation is None:
                raise Exhausted
            ratio = self._compare(instance)
            if math.isfinite(ratio):
                target(round(ratio, 9))  # below that hypothesis would chase roundings

        with _reproducible(), suppress(Refuted, Exhausted, Unsatisfiable):
            attempt()  # the counterexample raised last is the shrunk one, and the trace has it
        if not trace.tried:
            raise InputError(
                f"{self.claim.id}: no instance satisfies its assumptions: {trace.drawn} of {trace.drawn} were rejected"
            )

    def _climb(self, examples: int) -> None:
        rng = np.random.default_rng(self.seed)
        starts = self.trace.sharpest
        for start in starts:
            ascend(start, self._attempt, max(1, examples // len(starts)), rng, math.inf)
            if self.trace.refutation is not None:
                if self.mutant is None:  # the ascent's counterexamples have many digits
                    simplified(self.trace.refutation.instance, lambda found: self._attempt(found) == math.inf)
                return

    def _attempt(self, instance: Instance) -> float:
        """The ratio outside of hypothesis: inf at a counterexample, -inf where there is nothing to compare."""
        self.trace.drawn += 1
        try:
            return self._compare(instance)
        except Refuted:
            return math.inf
        except UnsatisfiedAssumption:
            return -math.inf

    def _compare(self, instance: Instance) -> float:
        """The ratio at an instance.

        Raises:
            Refuted: at a counterexample, which the trace then has.
            UnsatisfiedAssumption: outside the claim's assumptions.
        """
        comparison = self.claim.compare(instance, self.mutant)
        self.trace.tried += 1
        if comparison.verdict == "undecidable":
            self.trace.undecidable += 1
            if self.claim.recheck:
                comparison = self.claim.compare_precisely(instance, self.mutant)
                self.trace.settled += comparison.settled
        if comparison.verdict == "violated":
            self.trace.refutation = Refutation(instance, comparison)
            raise Refuted(self.claim.id)
        self.trace.note(instance, min(comparison.ratio, 1.0))
        return min(comparison.ratio, 1.0)
