"""The empirical side of an evaluation: margins, attacked margins and surrogate losses of network and data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bounds import symbols
from bounds.budget import Budget
from bounds.calculus.arithmetic import Points, point
from bounds.calculus.evaluator import Evaluator
from bounds.calculus.jacobian_cover import JACOBIAN_NORMS
from bounds.inputs import Data
from bounds.measure import JacobianNorms, Margins, jacobian_norms, margins
from bounds.network.logits import Logits
from bounds.network.traced import TracedNetwork
from bounds.plans import PLAIN, JacobianPlan, dual_exponent
from bounds.robust_margins import RobustMargins
from bounds.rows import Sample


class Sides:
    """Measures on training and test set what the rows need.

    Args:
        network: the checked network.
        train: training samples.
        test: held-out samples.
        robust: margins under attack.
        eps: attack radius, input units; None without an attack.
        norm: attack norm.
        plan: which Jacobians to measure.
        seed: of the subsets that they are measured on.
        memory: what a stage may take.
        report: progress.
    """

    def __init__(
        self,
        network: TracedNetwork | Logits,
        train: Data,
        test: Data,
        robust: RobustMargins | None,
        eps: float | None,
        norm: str,
        plan: JacobianPlan,
        seed: int,
        memory: Budget,
        report: Callable[[str, int, int], None],
    ) -> None:
        self.n, self.m = len(train), len(test)
        self.eps, self.norm, self.robust = eps, norm, robust
        self.train = margins(network, train, memory=memory, progress=partial(report, "margins on the training set"))
        self.test = margins(network, test, memory=memory, progress=partial(report, "margins on the test set"))
        self.complete = plan.train == self.n
        self.jacobians: list[tuple[JacobianNorms, Margins]] = []
        for which, data, count in (("training", train, plan.train), ("test", test, plan.test)):
            if count:
                part, stage = data.subset(count, seed), f"Jacobians on {count} {which} samples"
                norms = jacobian_norms(
                    network, part, wanted=plan.plain, q=plan.q, memory=memory, progress=partial(report, stage)
                )
                losses = margins(network, part, memory=memory, progress=partial(report, stage))
                self.jacobians.append((norms, losses))

    @property
    def accuracy(self) -> dict[str, float]:
        """Share of samples with a positive margin."""
        return {"train": 1 - self.train.error, "test": 1 - self.test.error}

    def sample(self, target: str) -> Sample:
        """Margins behind a bound on this target."""
        if target == "robust risk":
            if self.robust is None:
                uncertified = np.full(self.n, -1.0)
                return Sample(uncertified, None, None, "gap not measured")
            robust = self.robust
            sizes = f"attacked, on {len(robust.attacked_test)} test and {len(robust.attacked_train)} training samples"
            return Sample(robust.certified_train, robust.attacked_train, robust.attacked_test, sizes)
        values = self.train.values.numpy()
        return Sample(values, values, self.test.values.numpy(), f"on {self.m} test and {self.n} training samples")

    def surrogate_sample(self, surrogate: str) -> tuple[Sample, np.ndarray]:
        """Surrogate losses, nats, on the subsets that Jacobians were measured on."""
        losses = [self._surrogate(surrogate, norms, measured) for norms, measured in self.jacobians]
        sizes = f"on {len(losses[1])} test and {len(losses[0])} training samples"
        return Sample(self.train.values.numpy(), losses[0], losses[1], sizes), losses[0]

    def _surrogate(self, surrogate: str, norms: JacobianNorms, measured: Margins) -> np.ndarray:
        norm = norms.plain[PLAIN[surrogate]] if surrogate in PLAIN else norms.margins[dual_exponent(self.norm)]
        values = {symbols.epsilon: point.mpf(self.eps or 0.0)}
        factor = float(Evaluator((), values, 1, Points())(JACOBIAN_NORMS[surrogate].coefficient))
        result: np.ndarray = (measured.losses + factor * norm).numpy()
        return result

    def jacobian_summary(self) -> dict[str, Any]:
        """Means over the training subset (estimates of nothing but that subset; exact to rounding per sample)."""
        if not self.jacobians:
            return {"samples": 0}
        norms, measured = self.jacobians[0]
        named = dict(norms.plain)
        if 2 in norms.margins:
            named["margin_l2"] = norms.margins[2]
        return {
            "samples": len(measured.losses),
            **{key: {"mean": float(v.mean()), "max": float(v.max())} for key, v in named.items()},
        }
