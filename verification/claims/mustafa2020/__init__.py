"""Experiments on Mustafa, Vandermeulen & Kloft 2020: input Hessian regularisation.

The paper's text was not at hand: statements are worded by us, without theorem or figure numbers, the attack radius is
theory L2.6, and networks, strengths and radii are our own.
"""

from __future__ import annotations

from verification.claims.experiment import Conclusions, Experiment, Results
from verification.claims.mustafa2020.charts import charts, tables
from verification.claims.mustafa2020.claims import claims
from verification.claims.mustafa2020.nets import cuts, nets

NOT_REPRODUCED = (
    "The numbers of the paper's own networks: its text, architectures and training settings were not at hand.",
    "The paper's own statement about the attack radius: its text was not at hand; theory L2.6, our derivation from the "
    "same quantities (loss, gradient, Hessian), stands in for it.",
)


def conclude(results: Results, preset: str) -> Conclusions:
    """Claims, charts and tables; a claim that fewer than two seeds are left for is said instead."""
    decided, missing = claims(results, preset)
    return Conclusions(decided, charts(results, preset), tables(results, preset), (*missing, *NOT_REPRODUCED))


EXPERIMENT = Experiment(
    key="mustafa2020",
    title="Input Hessian regularisation: robustness at equal clean accuracy, and the attack radius",
    reference="W. Mustafa, R. A. Vandermeulen and M. Kloft, Input Hessian regularization of neural networks, "
    "arXiv:2009.06571, 2020",
    nets=nets,
    conclude=conclude,
    cuts=cuts,
    measuring={"quick": 4.5, "full": 9.0},
)
