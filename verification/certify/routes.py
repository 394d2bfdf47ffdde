"""Which routes to a certificate fit into the time and memory that a sample may take, estimated from the shapes.

An estimate counts multiply-adds and takes a rate for granted, so that equal jobs choose equal routes on any machine.
What does not fit is left out, and said: every route is sound without the others, only wider.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bounds.budget import Budget, readable
from bounds.network import Segment, TracedNetwork
from bounds.network.nodes import Input
from bounds.network.nonlinear import Nonlinear
from verification.certify import branching, optimised
from verification.certify.costs import Costs
from verification.certify.rivals import ALL
from verification.certify.tangents import NARROW

RATE = 2e9
"""Multiply-adds of float64 that one thread is assumed to do in a second."""

SECONDS = {"quick": 1.0, "standard": 5.0, "thorough": 30.0}
"""What a sample may take by effort, as estimated."""

PATIENCE = 10
"""Budgets that the relaxation of the output may take: hardly anything is certified without it."""

HIDDEN = 2 / 3
"""Share of what is left then that may go into the hidden units, before any other route."""

INTERVAL = 4
"""Passes that one in interval arithmetic is worth."""

GRADIENT = 3
"""Passes that one and its derivative are worth."""

BATCH = 16
"""Samples beyond which a batch gets no faster."""

KEPT = 120
"""Bytes per coefficient that a pass keeps for its derivative."""


@dataclass(frozen=True)
class Estimate:
    """What a route takes per sample.

    Attributes:
        products: multiply-adds.
        memory: bytes that are held at once and cannot be split, beside the intervals.
    """

    products: int
    memory: int = 0

    @property
    def seconds(self) -> float:
        """At the assumed rate."""
        return self.products / RATE


@dataclass(frozen=True)
class Routes:
    """What is done for every sample, beside interval arithmetic.

    Attributes:
        hidden: the nodes whose units are tightened by relaxation.
        by_mean_value: the nodes whose units are tightened by the mean value, for l1 attacks.
        taken: the other routes.
        classes: how many rivals' leads are taken through the network, the label included.
        refined_at_once: samples whose slopes are optimised together.
        seconds: what all this takes a sample, as estimated.
        left_out: what did not fit, in a sentence; None if everything did.
    """

    hidden: frozenset[int]
    by_mean_value: frozenset[int]
    taken: frozenset[str]
    classes: int
    refined_at_once: int
    seconds: float
    left_out: str | None


@dataclass(frozen=True)
class Planner:
    """Chooses the routes of one network.

    Attributes:
        network: without opaque layers.
        costs: of passes through it.
        budget: memory.
        applicable: the routes that the network admits.
    """

    network: TracedNetwork
    costs: Costs
    budget: Budget
    applicable: frozenset[str]

    def routes(self, norm: str, effort: str) -> Routes:
        """The routes that fit.

        Args:
            norm: of the attack.
            effort: "quick", "standard" or "thorough".

        >>> import torch
        >>> from bounds.network import trace
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        >>> network = trace(model, torch.zeros(1, 4))
        >>> found = Planner(network, Costs(network), Budget(2**30), frozenset({"lipschitz"})).routes("l2", "quick")
        >>> sorted(found.hidden), sorted(found.taken), found.left_out
        ([1], ['lipschitz', 'relaxation'], None)
        """
        classes = self._classes(effort)
        purse = _Purse(SECONDS[effort], self.budget)
        purse.buy("relaxation", self._relaxation(classes), patience=PATIENCE)
        read = [node.inputs[0] for node in self.network.nodes if isinstance(node.operation, Nonlinear)]
        read = [node for node in dict.fromkeys(read) if not isinstance(self.network.nodes[node].operation, Input)]
        hidden = purse.buy_units("relaxation of hidden units", {node: 2 * self.costs.rows(node) for node in read})
        narrow = [node for node in read if norm == "l1" and self.costs.units[node] <= NARROW]
        passes = {node: INTERVAL * self.costs.units[node] * self.costs.row(node) for node in narrow}
        by_mean_value = purse.buy_units("mean values of hidden units", passes)
        others = self._others(classes, effort)
        for route, estimate in others.items():
            purse.buy(route, estimate)
        kept = others["optimised slopes"].memory if "optimised slopes" in purse.taken else 0
        if classes < self.network.outputs:
            purse.missing.append(
                f"all but intervals for {self.network.outputs - classes} rivals of the largest margins"
            )
        at_once, taken = self.budget.pieces(2 * kept, BATCH), frozenset(purse.taken)
        return Routes(hidden, by_mean_value, taken, classes, at_once, purse.spent, purse.left_out(effort))

    def _classes(self, effort: str) -> int:
        """All classes if they are few, else as many as leave the passes of the routes some room."""
        affordable = int(SECONDS[effort] * RATE / (16 * self._row))
        return min(self.network.outputs, max(ALL, affordable))

    @property
    def _row(self) -> int:
        return self.costs.row(len(self.network.nodes) - 1)

    def _relaxation(self, classes: int) -> Estimate:
        """The leads, their opposites and the loss as a whole."""
        return Estimate((2 * classes + 1) * self._row)

    def _others(self, classes: int, effort: str) -> dict[str, Estimate]:
        """The other routes of the network and the effort, in the order of preference."""
        outputs, row, d = self.network.outputs, self._row, math.prod(self.network.input_shape)
        nonlinear = [i for i, node in enumerate(self.network.nodes) if isinstance(node.operation, Nonlinear)]
        cut = sum(INTERVAL * self.costs.row(node) for node in nonlinear)
        hidden = [i for i, node in enumerate(self.network.nodes[:-1]) if isinstance(node.operation, Segment)]
        tangents = sum(self.costs.units[i] * self.costs.row(i) for i in hidden if self.costs.units[i] <= NARROW)
        kept = KEPT * classes * sum(self.costs.units[node] for node in nonlinear)
        ascent = GRADIENT * classes * row
        spectral = Estimate(INTERVAL * outputs * row + 10 * outputs**3, 6 * 8 * outputs * d)
        estimates = {
            "lipschitz": Estimate(INTERVAL * self.network.segments[-1].d_in * outputs),
            "jacobian interval": Estimate((1 + INTERVAL) * classes * row),
            "jacobian relaxation": Estimate(tangents + classes * (2 * row + cut)),
            "second order": Estimate(
                spectral.products + tangents + (2 * outputs + 1) * ((1 + INTERVAL) * row + cut), spectral.memory
            ),
            "optimised slopes": Estimate((optimised.STEPS + 1) * ascent, kept),
            "branching": Estimate(2 * branching.LEAVES * (branching.STEPS + 1) * ascent, kept),
        }
        beyond = {"quick": ("optimised slopes", "branching"), "standard": ("branching",)}.get(effort, ())
        return {name: one for name, one in estimates.items() if name in self.applicable and name not in beyond}


class _Purse:
    """What a sample may take: pays for what fits, and remembers what did not.

    Args:
        seconds: in all.
        budget: memory.
    """

    def __init__(self, seconds: float, budget: Budget) -> None:
        self.seconds, self.left, self.budget, self.spent = seconds, seconds, budget, 0.0
        self.taken: set[str] = set()
        self.missing: list[str] = []

    def buy(self, route: str, estimate: Estimate, patience: float = 1.0) -> None:
        """A route, if it fits; with patience, even beyond what is left."""
        if not self.budget.fits(2 * estimate.memory):
            self.missing.append(f"{route} ({readable(2 * estimate.memory)})")
        elif estimate.seconds > patience * self.left:
            self.missing.append(f"{route} ({told(estimate.seconds)})")
        else:
            self.taken.add(route)
            self._pay(estimate.seconds)

    def buy_units(self, what: str, products: dict[int, int]) -> frozenset[int]:
        """Of nodes whose units all cost that much, those that fit into a share, the cheapest first."""
        share, bought, lost = HIDDEN * self.left, set(), 0.0
        for node in sorted(products, key=products.__getitem__):
            seconds = products[node] / RATE
            if seconds <= share:
                bought.add(node)
                share -= seconds
                self._pay(seconds)
            else:
                lost += seconds
        if lost:
            missing = len(products) - len(bought)
            self.missing.append(f"{what} at {missing} of {len(products)} nonlinearities ({told(lost)})")
        return frozenset(bought)

    def _pay(self, seconds: float) -> None:
        self.spent, self.left = self.spent + seconds, max(0.0, self.left - seconds)

    def left_out(self, effort: str) -> str | None:
        """What did not fit, in a sentence."""
        if not self.missing:
            return None
        limit = f"certificates may take {told(self.seconds)} a sample at effort {effort}, as estimated"
        return f"{limit}: left out {', '.join(self.missing)}"


def told(seconds: float) -> str:
    """Seconds for people.

    >>> told(0.42), told(41.3)
    ('0.42 s', '41 s')
    """
    return f"{seconds:.2g} s" if seconds < 99.5 else f"{seconds:.0f} s"
