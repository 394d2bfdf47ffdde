"""Experiments on Roth, Kilcher & Hofmann 2020: adversarial training as operator-norm regularisation."""

from __future__ import annotations

from verification.claims.experiment import Conclusions, Experiment, Results
from verification.claims.roth2020.charts import charts, tables
from verification.claims.roth2020.claims import claims
from verification.claims.roth2020.nets import SIZES, cuts, nets

NOT_REPRODUCED = (
    "The paper's accuracies themselves: its networks are larger and trained on all of CIFAR-10; its numbers stand "
    "beside ours in the table for orientation.",
    "The paper's layer sizes and its residual network were not at hand: both architectures are ours.",
    "The paper's curves could not be read off: spectra, alignment and linearity are compared by their ordering, not "
    "number by number.",
)

NO_CIFAR = "Anything on CIFAR-10: the quick preset trains on MNIST only."


def conclude(results: Results, preset: str) -> Conclusions:
    """Claims, charts and tables; what too few networks were trained for is said instead of claimed."""
    decided, missing = claims(results, preset)
    on_cifar = any(series.data.startswith("cifar10") for series in SIZES[preset].series)
    not_reproduced = (*missing, *NOT_REPRODUCED, *(() if on_cifar else (NO_CIFAR,)))
    return Conclusions(decided, charts(results, preset), tables(results, preset), not_reproduced)


EXPERIMENT = Experiment(
    key="roth2020",
    title="Adversarial training as data-dependent operator-norm regularisation",
    reference="K. Roth, Y. Kilcher and T. Hofmann, Adversarial Training is a Form of Data-dependent Operator Norm "
    "Regularization, arXiv:1906.01527, 2020",
    nets=nets,
    conclude=conclude,
    cuts=cuts,
    measuring={"quick": 12.0, "full": 45.0},
)
