"""Experiments on Wu & Li 2024: Jacobian regularisation, its surrogate of the robust loss, and generalisation.

The paper's text was not at hand: the wording of the statements is ours, after theory §2, without theorem or figure
numbers, and the constants of the surrogates are our own derivation.
"""

from __future__ import annotations

from verification.claims.experiment import Conclusions, Experiment, Results
from verification.claims.wu2024.charts import charts, tables
from verification.claims.wu2024.claims import claims
from verification.claims.wu2024.nets import cuts, nets


def conclude(results: Results, preset: str) -> Conclusions:
    """Claims, charts and tables; what too few networks were trained for is said instead of claimed."""
    decided, missing = claims(results, preset)
    return Conclusions(decided, charts(results, preset), tables(results, preset), (*missing, *NOT_REPRODUCED))


NOT_REPRODUCED = (
    "The numerical results of the paper's own networks: its text, sizes and constants were not at hand.",
    "The paper's own generalisation bound: its constants were not at hand; our derivation after it "
    "(jacobian_surrogate) stands in for it, and needs smooth activations.",
)

EXPERIMENT = Experiment(
    key="wu2024",
    title="Jacobian regularisation: surrogates of the robust loss and their generalisation",
    reference="D. Wu and X. Li, Adversarially robust generalization theory via Jacobian regularization for deep "
    "neural networks, arXiv:2412.12449, 2024",
    nets=nets,
    conclude=conclude,
    cuts=cuts,
    measuring={"quick": 5.0, "full": 7.0},
)
