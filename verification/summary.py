"""The record of a verification, put together from what was decided batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from scipy.stats import beta

from bounds.catalogue import holdout_binomial
from bounds.catalogue.entry import HoldOut
from bounds.rows import holdout_value
from verification import witness
from verification.journal import Key
from verification.plan import Plan, at
from verification.surrogates import SURROGATES

CONFIDENCE = 0.95
VERDICTS = {"refuted": "r", "proved": "p", "undecided": "u"}
DOMINATES = 0.99  # share of samples
EXAMPLES = 8


def summary(job: Plan, units: Mapping[Key, dict[str, Any]]) -> dict[str, Any]:
    """The record: plain json without NaN or infinity (null stands for both).

    Per attack set ("results"): means over the samples that did not fail, shares with their intervals, every sample's
    values ("verdicts" holds one letter per sample and surrogate: p roved, r efuted, u ndecided, f ailed) and the
    perturbations that refute, packed, by position ("witnesses"). Per norm and surrogate ("dominance"): the largest
    radius with at least 99 % of the samples proved, and the largest up to which at most 1 % are refuted.

    Args:
        job: what was to be computed.
        units: per (first sample, norm, radius) what was decided.
    """
    joint = {
        (norm, eps): joined([units[start, norm, eps] for start in range(0, len(job.data), job.batch)])
        for norm in job.norms
        for eps in job.radii
    }
    results = [_result(job, norm, eps, unit) for (norm, eps), unit in joint.items()]
    notes = [*job.notes, *(note for unit in joint.values() for note in unit["notes"])]
    return {
        "format": "jacobound-verification",
        "version": 1,
        "fingerprint": job.fingerprint,
        "model": {"name": job.name, "layers": [] if job.network is None else [s.name for s in job.network.segments]},
        "source": None if job.source is None else dict(job.source),
        "data": {
            "name": job.data.name,
            "split": "test",
            "samples": len(job.data),
            "indices": list(job.indices),
            "sha256": job.data.digest(),
        },
        "settings": job.settings,
        "notes": list(dict.fromkeys(notes)),
        "results": results,
        "dominance": {norm: _dominance([r for r in results if r["norm"] == norm]) for norm in job.norms},
        "examples": _examples(job, results),
    }


def joined(parts: Sequence[Any]) -> Any:
    """Parts of one structure end to end: dictionaries key by key, lists and texts concatenated.

    >>> joined([{"a": [1], "b": "p"}, {"a": [2], "b": "u"}])
    {'a': [1, 2], 'b': 'pu'}
    """
    first = parts[0]
    if isinstance(first, dict):
        keys = dict.fromkeys(key for part in parts for key in part)
        return {key: joined([part[key] for part in parts if key in part]) for key in keys}
    return "".join(parts) if isinstance(first, str) else [entry for part in parts for entry in part]


def clopper_pearson(count: int, samples: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact two-sided confidence interval of a share (Clopper & Pearson 1934).

    Args:
        count: how many of the samples.
        samples: drawn independently.
        confidence: of the interval.

    >>> [round(end, 4) for end in clopper_pearson(0, 10)]
    [0.0, 0.3085]
    """
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, samples - count + 1))
    high = 1.0 if count == samples else float(beta.ppf(1 - tail, count + 1, samples - count))
    return low, high


def _result(job: Plan, norm: str, eps: float, unit: dict[str, Any]) -> dict[str, Any]:
    """One attack set: means over the samples that did not fail; counts and shares over all."""
    values, samples = unit["values"], len(unit["correct"])
    letters = next(iter(values["verdicts"].values()))
    good = [i for i in range(samples) if letters[i] != "f"]
    certified = sum(margin is not None and margin > 0 for margin in values["certified_margin"])
    return {
        "norm": norm,
        "eps": eps,
        "samples": samples,
        "failed": [i for i in range(samples) if letters[i] == "f"],
        "clean_loss": _mean(values["clean_loss"], good),
        "accuracy": sum(unit["correct"]) / samples,
        "attack_loss": _mean(values["attack_loss"], good),
        "upper_loss": _mean(values["upper_loss"], good),
        "attacked_accuracy": sum(m is not None and m > 0 for m in values["attacked_margin"]) / samples,
        "certified_accuracy": certified / samples,
        "robust_risk_bound": _robust_risk(job, samples, samples - certified),
        "surrogates": {
            name: {
                "mean": _mean(values["surrogates"][name], good),
                "claimed": SURROGATES[name].upper,
                **{verdict: _share(given.count(letter), samples) for verdict, letter in VERDICTS.items()},
            }
            for name, given in values["verdicts"].items()
        },
        "routes": {route: values["routes"].count(route) for route in sorted(set(filter(None, values["routes"])))},
        "values": values,
        "witnesses": unit["witnesses"],
    }


def _mean(values: Sequence[float | None], positions: Sequence[int]) -> float | None:
    """None where a value is infinite, or there is none."""
    chosen = [values[i] for i in positions]
    known = [value for value in chosen if value is not None]
    return None if not known or len(known) < len(chosen) else math.fsum(known) / len(known)


def _share(count: int, samples: int) -> dict[str, Any]:
    return {"count": count, "share": count / samples, "interval": list(clopper_pearson(count, samples))}


def _robust_risk(job: Plan, samples: int, uncertified: int) -> float:
    """Hold-out bound on the robust 0-1 risk; all results hold together with probability 1 - delta."""
    variants = (v for v in holdout_binomial.ENTRY.variants if isinstance(v, HoldOut))
    variant = next(v for v in variants if v.target == "robust risk")
    delta = job.delta / (len(job.norms) * len(job.radii)) - job.failure
    if delta <= 0:
        return 1.0
    return float(holdout_value(variant, m=samples, errors=uncertified, delta=delta))


def _dominance(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Per surrogate, up to which radius it is an upper bound on nearly all samples: proved, and not refuted."""
    found: dict[str, dict[str, float | None]] = {}
    for name in results[0]["surrogates"]:
        proved, unrefuted, broken = None, None, False
        for result in results:
            row = result["surrogates"][name]
            proved = result["eps"] if row["proved"]["share"] >= DOMINATES else proved
            broken = broken or row["refuted"]["count"] > (1 - DOMINATES) * result["samples"]
            unrefuted = unrefuted if broken else result["eps"]
        found[name] = {"proved": proved, "not_refuted": unrefuted}
    return found


def _examples(job: Plan, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Some refutations, spread over norms and surrogates, those of claimed upper bounds first."""
    groups = [
        list(_refutations([r for r in results if r["norm"] == norm], name))
        for claimed in (True, False)
        for norm in job.norms
        for name, row in SURROGATES.items()
        if norm in row.norms and row.upper is claimed
    ]
    chosen: list[dict[str, Any]] = []
    while len(chosen) < EXAMPLES and any(groups):
        for group in filter(None, groups):
            shown = {example["position"] for example in chosen}
            chosen.append(group.pop(next((i for i, one in enumerate(group) if one["position"] not in shown), 0)))
    return [_shown(job, results, example) for example in chosen[:EXAMPLES]]


def _refutations(results: Iterable[Mapping[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """Refutations of one surrogate, each sample once, the largest excess A - S first."""
    found: dict[int, dict[str, Any]] = {}
    for result in results:
        values = result["values"]
        for i, letter in enumerate(values["verdicts"].get(name, "")):
            one = {
                "position": i,
                "norm": result["norm"],
                "eps": result["eps"],
                "surrogate": name,
                "surrogate_loss": values["surrogates"][name][i],
                "attack_loss": values["attack_loss"][i],
            }
            if letter == "r" and (i not in found or _excess(one) > _excess(found[i])):
                found[i] = one
    return iter(sorted(found.values(), key=_excess, reverse=True))


def _excess(example: Mapping[str, Any]) -> float:
    return float(example["attack_loss"] - example["surrogate_loss"])


def _shown(job: Plan, results: Sequence[Mapping[str, Any]], example: dict[str, Any]) -> dict[str, Any]:
    """An example with its input, its label and what the network says under attack."""
    position = example["position"]
    result = next(r for r in results if (r["norm"], r["eps"]) == (example["norm"], example["eps"]))
    x, y = next(at(job.data, [position]).batches(1))
    with torch.no_grad():
        logits = job.model(x + witness.unpack(result["witnesses"][str(position)]))
    return example | {"label": int(y), "predicted": int(logits.argmax()), "input": witness.pack(x[0])}
