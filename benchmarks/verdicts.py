"""The verdict table on real MNIST: robust loss against every surrogate, for four trainings of one network.

`python -m benchmarks.verdicts [samples] [effort]` prints it with replayed counterexamples and where each surrogate
fails first, and writes the records to build/verdicts/; needs JACOBOUND_DATA (or downloads).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.measure import Row
from benchmarks.mnist import FOLDER, TRAININGS, checkpoint
from bounds import records
from bounds.errors import InputError
from bounds.inputs import load_checkpoint, load_data
from verification import witness
from verification.replay import replay
from verification.surrogates import slopes
from verification.verdicts import verify

RECORDS = FOLDER.parent / "verdicts"
RADII = {"linf": (0.01, 0.03, 0.1), "l2": (0.1, 0.3, 1.0), "l1": (1.0, 3.0)}
SHOWN = 3

# (network, norm, eps, surrogate) -> largest share that may stay undecided; None where no number was promised.
EXPECTED: dict[tuple[str, str, float, str], float | None] = {
    ("plain", "linf", 0.1, "entrywise-l1"): 0.0,
    ("adversarial", "linf", 0.1, "row-sum"): 0.0,
    ("jacobian-l1", "linf", 0.1, "row-sum"): 0.0,
    ("adversarial", "linf", 0.1, "margin-jacobian"): 0.02,
    ("jacobian-l1", "linf", 0.1, "margin-jacobian"): 0.02,
    ("plain", "linf", 0.03, "margin-jacobian"): 0.05,
    ("jacobian", "linf", 0.1, "row-sum"): None,
    ("plain", "linf", 0.1, "row-sum"): None,
    ("plain", "linf", 0.1, "margin-jacobian"): None,
}


def record(name: str, norm: str, samples: int, effort: str) -> dict[str, Any]:
    """The verification record of one network and norm at all radii, also written to build/verdicts/."""
    start = time.perf_counter()
    model, data = load_checkpoint(checkpoint(name)), load_data("mnist", split="test")
    made = verify(model, data, norm, RADII[norm], samples=samples, effort=effort, name=name).record
    records.write(made, RECORDS / f"{name}-{norm}-{samples}-{effort}.json")
    print(f"{name}, {norm}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return made


def table(name: str, norm: str, made: Mapping[str, Any]) -> Iterator[str]:
    """Lines of one network and norm."""
    for result in made["results"]:
        upper = result["upper_loss"]
        yield (
            f"{name}, {norm} eps {result['eps']:g}: A {result['attack_loss']:.4f} <= R <= "
            f"U {'none' if upper is None else f'{upper:.4f}'}; accuracy {result['accuracy']:.3f}, robust "
            f"{result['certified_accuracy']:.3f} to {result['attacked_accuracy']:.3f}; routes {result['routes']}"
        )
        for surrogate, row in result["surrogates"].items():
            shares = ", ".join(f"{verdict} {_share(row[verdict])}" for verdict in ("proved", "refuted", "undecided"))
            yield f"    {surrogate:16s} mean S {row['mean']:9.4f}   {shares}"


def _share(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{100 * row['share']:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def first_failures(name: str, norm: str, made: Mapping[str, Any]) -> Iterator[str]:
    """Per surrogate, the smallest radius with a refutation, and how much steeper the network is where it was found."""
    model, data = load_checkpoint(checkpoint(name)), load_data("mnist", split="test")
    for surrogate in made["results"][0]["surrogates"]:
        for result in made["results"]:
            letters = result["values"]["verdicts"][surrogate]
            if "r" in letters:
                position = letters.index("r")
                index = made["data"]["indices"][position]
                x, y = data.x[index : index + 1].double() / 255, data.y[index : index + 1]
                moved = x + witness.unpack(result["witnesses"][str(position)])
                here, there = (slopes(model, point, y, norm).slopes[surrogate].item() for point in (x, moved))
                share = result["surrogates"][surrogate]["refuted"]["share"]
                yield (
                    f"    {surrogate:16s} fails first at eps {result['eps']:g} ({100 * share:.1f} % of samples): "
                    f"its slope is {here:.3g} at x, {there:.3g} at x + delta (test image {index})"
                )
                break
        else:
            yield f"    {surrogate:16s} never refuted up to eps {made['results'][-1]['eps']:g}"


def replays(name: str, norm: str, made: Mapping[str, Any]) -> Iterator[str]:
    """Recomputes all counterexamples of a record and shows some."""
    model, data = load_checkpoint(checkpoint(name)), load_data("mnist", split="test")
    found = replay(made, model, data)
    yield f"{name}, {norm}: {sum(found.confirmed.values())} of {sum(found.claimed.values())} counterexamples confirmed"
    yield from (f"    FAILED {line}" for line in found.failures)
    for example in made["examples"][:SHOWN]:
        yield (
            f"    test image {made['data']['indices'][example['position']]} (a {example['label']}, seen as "
            f"{example['predicted']}), eps {example['eps']:g}: loss {example['attack_loss']:.4f} > "
            f"{example['surrogate_loss']:.4f} = {example['surrogate']}"
        )


def rows(samples: int = 50) -> list[Row]:
    """Rows of the bench table: shares left undecided, after the largest share expected; none where MNIST is missing."""
    try:
        load_data("mnist", split="test")
    except InputError as error:
        print(f"no verdicts on MNIST: {error}", file=sys.stderr)
        return []
    made = {
        key: record(*key, samples, "standard") for key in dict.fromkeys((name, norm) for name, norm, *_ in EXPECTED)
    }
    found = []
    for (name, norm, eps, surrogate), expected in EXPECTED.items():
        quantity = f"undecided, {name}, {norm} {eps:g}"
        result = next(r for r in made[name, norm]["results"] if r["eps"] == eps)
        if expected is not None:
            found.append(Row(quantity, f"{surrogate}: expected at most", 100 * expected, "%"))
        share = result["surrogates"][surrogate]["undecided"]["share"]
        found.append(Row(quantity, f"{surrogate}: {samples} images", 100 * share, "%"))
    return found


def main(samples: int = 200, effort: str = "standard") -> None:
    """Print the whole table, the counterexamples and the first failures."""
    for name in TRAININGS:
        for norm in RADII:
            made = record(name, norm, samples, effort)
            print("\n".join([*table(name, norm, made), *replays(name, norm, made), *first_failures(name, norm, made)]))
            print(flush=True)


if __name__ == "__main__":
    main(*(int(argument) if argument.isdigit() else argument for argument in sys.argv[1:]))
