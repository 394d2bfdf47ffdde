"""Numbers of one network that claims, figures and tables of the ablation share."""

from __future__ import annotations

from verification.claims.experiment import Result


def clean(result: Result) -> float:
    """Accuracy on all held-out images, percent."""
    return 100 * (1 - float(result.measured["generalization"]["held_out"]["error"]))


def attacked(result: Result, norm: str, eps: float, side: str = "held_out") -> float:
    """Accuracy under attack, percent; an upper bound of the robust accuracy of these images."""
    found = next(row for row in result.measured[f"attacked {norm}"]["results"] if row["eps"] == eps)
    return 100 * float(found[side]["accuracy"])


def bracket(result: Result, norm: str, end: str) -> float:
    """An end of the decided images' robust accuracy, percent, at the radius of the bracket.

    Args:
        result: of a method.
        norm: of the attacks.
        end: "certified_accuracy", a lower bound, or "attacked_accuracy", an upper bound.
    """
    return 100 * float(result.measured[f"verdicts {norm}"]["results"][0][end])


def standard_gap(result: Result) -> float:
    """Held-out minus training error, percentage points."""
    sides = result.measured["generalization"]
    return 100 * float(sides["held_out"]["error"] - sides["train"]["error"])


def loss_gap(result: Result) -> float:
    """Held-out minus training cross-entropy, nats."""
    sides = result.measured["generalization"]
    return float(sides["held_out"]["loss"] - sides["train"]["loss"])


def robust_gap(result: Result, eps: float) -> float:
    """Accuracy under ℓ2 attack on training images minus that on held-out ones, percentage points; eps 0: standard."""
    return attacked(result, "l2", eps, "train") - attacked(result, "l2", eps)


def bound(result: Result, name: str) -> float | None:
    """log10 of a bound's raw fixed-class value; None if it is not finite or does not apply."""
    row = result.measured["bounds"]["rows"].get(name)
    return None if row is None else row["fixed_class"]
