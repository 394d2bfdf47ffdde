"""Made-up verification records, valid in every respect, for the figures and tables to show; hostile ones among them."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import beta

SLOPES = {  # surrogate: its slope in ε over that of the margin Jacobian, claimed to be an upper bound, its norms
    "gradient": (0.55, False, ("l2", "linf", "l1")),
    "margin-jacobian": (1.0, True, ("l2", "linf", "l1")),
    "spectral": (1.4, True, ("l2",)),
    "frobenius": (2.3, True, ("l2",)),
    "row-sum": (1.5, True, ("linf",)),
    "entrywise-l1": (4.2, True, ("linf",)),
    "operator": (1.7, True, ("l2", "linf", "l1")),
}
STRENGTH = {"l2": 4.0, "linf": 40.0, "l1": 1.0}
RADII = {"l2": (0.05, 0.1, 0.2, 0.4), "linf": (0.01, 0.02, 0.04, 0.08), "l1": (0.2, 0.5, 1.0, 2.0)}
ROUTES = ("relaxation", "optimised slopes", "jacobian relaxation", "linear piece")


def verification(
    name: str = "cnn-plain",
    *,
    radii: Mapping[str, Sequence[float]] | None = None,
    samples: int = 200,
    failed: Sequence[int] = (),
    certified: bool = True,
    curvature: float = 1.0,
    reach: float = 0.9,
    strength: float = 1.0,
    clean: float = 1.0,
    shape: Sequence[int] = (1, 12, 12),
    box: Sequence[float] | None = (0.0, 1.0),
    notes: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """A verification record.

    Args:
        name: of the model.
        radii: by norm; ℓ2 and ℓ∞ at four radii by default.
        samples: how many.
        failed: positions of the samples without values.
        certified: whether there are certificates; without, every upper end is null.
        curvature: how far the attack rises above the first order.
        reach: the largest share of the margin Jacobian's slope that an attack attains in the first order.
        strength: scales every slope in ε.
        clean: scales every clean loss.
        shape: of an input.
        box: of valid inputs.
        notes: of the record.
        seed: of the values.
    """
    rng = np.random.default_rng(seed)
    drawn = _samples(rng, samples, failed, reach)
    drawn["clean"] *= clean
    inputs = _pictures(rng, samples, shape)
    results = [
        _result(norm, eps, drawn, inputs, certified, curvature, strength * STRENGTH[norm], box)
        for norm, chosen in (radii or {norm: RADII[norm] for norm in ("l2", "linf")}).items()
        for eps in chosen
    ]
    for result in results:
        errors = sum(not (margin is not None and margin > 0) for margin in result["values"]["certified_margin"])
        bound = 1.0 if errors == samples else beta.ppf(1 - 0.05 / len(results), errors + 1, samples - errors)
        result["robust_risk_bound"] = float(bound)
    return {
        "format": "jacobound-verification",
        "version": 1,
        "model": {"name": name, "layers": ["conv1", "conv2", "fc"]},
        "source": None,
        "data": {"name": "mnist", "split": "test", "samples": samples, "indices": list(range(samples)),
                 "sha256": "0" * 64},
        "settings": {"box": None if box is None else list(box), "steps": 40, "restarts": 2, "effort": "standard",
                     "seed": 0, "delta": 0.05},
        "notes": list(notes),
        "results": results,
        "dominance": _dominance(results),
        "examples": _examples(results, inputs),
    }  # fmt: skip


def _samples(rng: np.random.Generator, samples: int, failed: Sequence[int], reach: float) -> dict[str, Any]:
    alive = np.ones(samples, dtype=bool)
    alive[list(failed)] = False
    return {
        "clean": np.exp(rng.normal(-3.0, 2.0, samples)),
        "slope": np.exp(rng.normal(0.0, 0.5, samples)),
        "reach": rng.uniform(0.3, reach, samples),
        "bend": rng.exponential(1.0, samples),
        "slack": np.exp(rng.normal(-1.5, 1.0, samples)),
        "alive": alive,
    }


def _pictures(rng: np.random.Generator, samples: int, shape: Sequence[int]) -> np.ndarray:
    """Random blobs, so that a transposed or mirrored image is seen to be one."""
    if len(shape) < 2:
        return rng.uniform(0, 1, (samples, *shape))
    rows, columns = np.mgrid[0 : shape[-2], 0 : shape[-1]]
    places = rng.uniform(0.2, 0.8, (samples, *shape[:-2], 2, 1, 1)) * np.array([shape[-2], shape[-1]])[:, None, None]
    distance = (rows - places[..., 0, :, :]) ** 2 + 2 * (columns - places[..., 1, :, :]) ** 2
    return np.exp(-distance / (0.05 * shape[-1] * shape[-2]))


def _result(
    norm: str,
    eps: float,
    drawn: Mapping[str, Any],
    inputs: np.ndarray,
    certified: bool,
    curvature: float,
    strength: float,
    box: Sequence[float] | None,
) -> dict[str, Any]:
    alive, clean = drawn["alive"], drawn["clean"]
    rise = eps * strength * drawn["slope"]
    attack = clean + rise * drawn["reach"] * (1 + curvature * 0.3 * drawn["bend"] * rise)
    upper = attack + rise * drawn["slack"]
    values = {name: clean + rise * slope for name, (slope, _, norms) in SLOPES.items() if norm in norms}
    verdicts = {name: _verdicts(s, attack, upper if certified else None, alive) for name, s in values.items()}
    margin, certified_margin = 3.0 - 2 * attack, 3.0 - 2 * upper
    everything = bool(alive.all())
    refuted = [k for k in range(len(alive)) if any(letters[k] == "r" for letters in verdicts.values())]
    return {
        "norm": norm,
        "eps": eps,
        "samples": len(alive),
        "failed": np.flatnonzero(~alive).tolist(),
        "clean_loss": _mean(clean[alive]),
        "accuracy": float(np.mean((clean < 1.5) & alive)),
        "attack_loss": _mean(attack[alive]),
        "upper_loss": _mean(upper) if certified and everything else None,
        "attacked_accuracy": float(np.mean((margin > 0) & alive)),
        "certified_accuracy": float(np.mean((certified_margin > 0) & alive)) if certified else 0.0,
        "surrogates": {
            name: {"mean": _mean(s[alive]), "claimed": SLOPES[name][1], **_counted(verdicts[name])}
            for name, s in values.items()
        },
        "routes": {"none": len(alive)} if not certified else {ROUTES[0]: len(alive)},
        "values": {
            "clean_loss": _with_nulls(clean, alive),
            "attack_loss": _with_nulls(attack, alive),
            "upper_loss": _with_nulls(upper, alive & certified),
            "attacked_margin": _with_nulls(margin, alive),
            "certified_margin": _with_nulls(certified_margin, alive & certified),
            "routes": [ROUTES[k % len(ROUTES)] if certified else "none" for k in range(len(alive))],
            "surrogates": {name: _with_nulls(s, alive) for name, s in values.items()},
            "verdicts": verdicts,
        },
        "witnesses": {str(k): pack(_perturbation(inputs[k], eps, norm, k, box)) for k in refuted[:20]},
    }  # fmt: skip


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _with_nulls(values: np.ndarray, present: np.ndarray) -> list[float | None]:
    return [float(v) if p else None for v, p in zip(values, present, strict=True)]


def _verdicts(s: np.ndarray, attack: np.ndarray, upper: np.ndarray | None, alive: np.ndarray) -> str:
    letters = np.where(s < attack, "r", "u" if upper is None else np.where(s >= upper, "p", "u"))
    return "".join(np.where(alive, letters, "f"))


def _counted(verdicts: str) -> dict[str, Any]:
    samples = len(verdicts)
    counted = {}
    for letter, name in (("r", "refuted"), ("p", "proved"), ("u", "undecided")):
        k = verdicts.count(letter)
        low = beta.ppf(0.025, k, samples - k + 1) if k else 0.0
        high = beta.ppf(0.975, k + 1, samples - k) if k < samples else 1.0
        counted[name] = {"count": k, "share": k / samples, "interval": [float(low), float(high)]}
    return counted


def _perturbation(x: np.ndarray, eps: float, norm: str, seed: int, box: Sequence[float] | None) -> np.ndarray:
    direction = np.random.default_rng(seed).normal(size=x.shape)
    sizes = {"linf": np.abs(direction).max(), "l2": np.linalg.norm(direction), "l1": np.abs(direction).sum()}
    delta = np.sign(direction) * eps if norm == "linf" else direction * eps / sizes[norm]
    return delta if box is None else np.clip(x + delta, *box) - x


def pack(array: np.ndarray, dtype: str = "float32") -> dict[str, Any]:
    """An array as records store it."""
    raw = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()
    data = base64.b64encode(zlib.compress(raw)).decode()
    return {"dtype": dtype, "shape": list(array.shape), "data": data}


def _dominance(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for norm in dict.fromkeys(result["norm"] for result in results):
        chosen = [result for result in results if result["norm"] == norm]
        found[norm] = {}
        for name in chosen[0]["surrogates"]:
            proved = [r["eps"] for r in chosen if r["surrogates"][name]["proved"]["share"] >= 0.99]
            standing = []
            for r in chosen:
                if r["surrogates"][name]["refuted"]["share"] > 0.01:
                    break
                standing.append(r["eps"])
            found[norm][name] = {"proved": max(proved, default=None), "not_refuted": max(standing, default=None)}
    return found


def _examples(results: Sequence[Mapping[str, Any]], inputs: np.ndarray) -> list[dict[str, Any]]:
    """Up to eight refuted samples, one per norm, radius and surrogate."""
    found: list[dict[str, Any]] = []
    for result in reversed(results):
        for name, letters in result["values"]["verdicts"].items():
            refuted = [k for k, letter in enumerate(letters) if letter == "r" and str(k) in result["witnesses"]]
            if refuted:
                k = refuted[len(found) % len(refuted)]
                found.append({
                    "position": k, "norm": result["norm"], "eps": result["eps"], "surrogate": name,
                    "label": k % 10, "predicted": (k + 1) % 10,
                    "surrogate_loss": result["values"]["surrogates"][name][k],
                    "attack_loss": result["values"]["attack_loss"][k],
                    "input": pack(inputs[k], "float64"),
                })  # fmt: skip
    return found[:8]


@cache
def hostile() -> dict[str, dict[str, Any]]:
    """Valid records at the edges of what a record may be, by what is odd about them; shared, not to be changed."""
    eight = {norm: (np.geomspace(0.3, 3, 8) / STRENGTH[norm]).tolist() for norm in ("linf", "l2", "l1")}
    long = "experiments/2024-11-03/resnet50_madry_linf_8_255_finetuned_with_jacobian_penalty_0.0031_final.safetensors"
    return {
        "one radius": verification(radii={"linf": (0.1,)}),
        "one sample": verification(samples=1),
        "no certificates": verification(certified=False, notes=["no certificates: layer 3 (LayerNorm) is opaque"]),
        "no refutations": verification(curvature=0.0, reach=0.5, radii={"l1": (0.5, 1.0)}, seed=2),
        "three norms, eight radii": verification(radii=eight, samples=1000, strength=0.6),
        "long name": verification(long, notes=["batch halved to 8 to fit into memory"] * 2, shape=(3, 10, 10)),
        "failed": verification(failed=(3, 17, 50), samples=60, notes=["3 samples failed: NaN gradients"]),
        "all failed": verification(failed=(0, 1, 2), samples=3),
        "vectors": verification(shape=(20,), box=None, seed=5),
        "nothing": verification(radii={"l2": ()}),
        "radius 0": verification(radii={"l2": (0.0, 0.05, 0.1, 0.15), "linf": (0.0, 1e-3, 0.1), "l1": (0.0,)}),
        "losses 0": verification(radii={"l2": (0.0, 1e-4, 1e-2, 1.0)}, clean=0.0),
        "no loss but 0": verification(radii={"l2": (0.0, 0.1), "linf": (0.1,)}, clean=0.0, strength=0.0),
        "vectors of 0": black(verification(shape=(20,), box=None, seed=5)),
    }


def black(record: dict[str, Any]) -> dict[str, Any]:
    """The record with inputs and perturbations of zeros."""
    for example in record["examples"]:
        example["input"] = pack(np.zeros(example["input"]["shape"]), "float64")
    for result in record["results"]:
        for position, witness in result["witnesses"].items():
            result["witnesses"][position] = pack(np.zeros(witness["shape"]))
    return record


def bracketed(result: Mapping[str, Any]) -> list[tuple[float, float]]:
    """(A, U) of the samples that have values, U infinite where nothing certifies: slow and obvious."""
    values = result["values"]
    pairs = zip(values["attack_loss"], values["upper_loss"], strict=True)
    return [(a, math.inf if u is None else u) for a, u in pairs if a is not None]
