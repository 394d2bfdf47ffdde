"""Every registered inequality under attack: search, ascent, mutants, and what came out."""

from __future__ import annotations

import importlib
import importlib.util
import math
import multiprocessing
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from bounds.errors import InputError, unknown_name
from verification.inequalities import registered
from verification.inequalities.inequality import Inequality, Instance, SideError, first_line, place
from verification.inequalities.program import Budget, failing, refuting
from verification.inequalities.search import ATTAINED, Search, Trace
from verification.workers import quiet_worker

SEARCHES = 3
"""Searches at most, each with a seed of its own, until what must be found is found: equality, a mutant's refutation."""


@dataclass(frozen=True)
class Finding:
    """What the search found about one inequality; plain numbers and strings.

    Attributes:
        id: of the inequality.
        statement: LaTeX.
        source: paper and theorem, or own derivation.
        relation: "<=" or "==".
        attained: whether equality is said to be reached.
        instances: compared, without the mutants' searches.
        rejected: draws outside the assumptions.
        ratio: the largest left/right reached (a lower bound of its supremum; 1 where equality was met); None where no
            instance had a ratio.
        undecidable: failures within the rounding allowance of float64.
        settled: those of them that 35 digits decided in favour of the inequality.
        mutants: by name, whether the mutant was refuted.
        counterexample: a program, where the inequality was refuted.
    """

    id: str
    statement: str
    source: str
    relation: str
    attained: bool
    instances: int
    rejected: int
    ratio: float | None
    undecidable: int
    settled: int
    mutants: dict[str, bool]
    counterexample: str | None

    @property
    def verdict(self) -> str:
        """Either held or refuted."""
        return "held" if self.counterexample is None else "refuted"

    @property
    def complaints(self) -> list[str]:
        """What is wrong with the inequality or with its test; empty if nothing is."""
        found = [f"{self.id}: mutant '{name}' survived" for name, refuted in self.mutants.items() if not refuted]
        if self.counterexample is not None:
            found.insert(0, f"{self.id} is refuted:\n{self.counterexample}")
        elif self.attained and (self.ratio is None or self.ratio < ATTAINED):
            found.append(f"{self.id}: said to be attained, but the largest ratio is {self.ratio}")
        return found

    def record(self) -> dict[str, Any]:
        """Plain json."""
        return asdict(self) | {"verdict": self.verdict}


def examine(claim: Inequality, examples: int | None = None, seed: int = 0) -> Finding:
    """Attack one inequality, then each of its mutants, starting with what was sharpest for the inequality.

    Args:
        claim: the inequality.
        examples: instances that hypothesis draws; the local ascent takes as many again. None: its own budget. A
            search that misses what it must find, equality or the refutation of a mutant, is repeated twice.
        seed: the same seed finds the same.

    Raises:
        InputError: if no instance satisfies the assumptions.
        SideError: if the function raises an error or a side is NaN; with a program that repeats it.
    """
    budget = Budget(claim.examples if examples is None else examples, seed)
    try:
        trace, mutants = _attacked(claim, budget)
    except SideError as error:
        if error.failure is not None:
            error.program = failing(claim, error.failure, str(error), budget)
            error.add_note(error.program)
        raise
    found = trace.refutation
    return Finding(
        claim.id,
        claim.latex,
        claim.source,
        claim.relation,
        claim.attained,
        trace.tried,
        trace.rejected,
        _largest_ratio(trace),
        trace.undecidable,
        trace.settled,
        mutants,
        None if found is None else refuting(claim, found.instance, found.comparison, budget),
    )


def found_again(claim: Inequality, examples: int | None = None, seed: int = 0) -> Instance:
    """The instance that `examine` ends at: a counterexample, or where a side cannot be computed.

    Args:
        claim: the inequality.
        examples: as they were.
        seed: as it was.

    Raises:
        InputError: if there is none.
    """
    try:
        trace, _ = _attacked(claim, Budget(claim.examples if examples is None else examples, seed))
    except SideError as error:
        if error.failure is None:
            raise
        return error.failure.instance
    if trace.refutation is None:
        raise InputError(f"{claim.id}: this search finds no counterexample")
    return trace.refutation.instance


def _attacked(claim: Inequality, budget: Budget) -> tuple[Trace, dict[str, bool]]:
    """What the search saw of the claim, and whether it refuted each mutant."""
    trace = Trace()
    for attempt in range(SEARCHES if claim.attained else 1):
        Search(claim, None, _seed(budget.seed, attempt), trace).run(budget.examples)
        if trace.refutation is not None or trace.ratio >= ATTAINED:
            break
    return trace, {name: _refuted(claim, name, budget, trace.sharpest) for name in claim.mutants}


def _refuted(claim: Inequality, mutant: str, budget: Budget, first: tuple[Instance, ...]) -> bool:
    """Whether the search refutes a mutant."""
    seeds = (_seed(budget.seed, attempt) for attempt in range(SEARCHES))
    searches = (Search(claim, mutant, seed).run(budget.examples, first=first) for seed in seeds)
    return any(trace.refutation is not None for trace in searches)


def _seed(seed: int, attempt: int) -> int:
    """Seeds of repeated searches, far from those that a user names."""
    return seed + (attempt << 40)


def _largest_ratio(trace: Trace) -> float | None:
    ratio = trace.ratio if trace.refutation is None else trace.refutation.comparison.ratio
    return max(0.0, ratio) if math.isfinite(ratio) else None


def assert_holds(claim: Inequality, examples: int | None = None, seed: int = 0) -> None:
    """For tests: the search must not refute the inequality, must refute its mutants, and reach what is attained.

    Args:
        claim: the inequality.
        examples: instances that hypothesis draws; None: its own budget.
        seed: of the search.

    Raises:
        AssertionError: with the counterexample as a program, or the names of the mutants that survived.
    """
    complaints = examine(claim, examples, seed).complaints
    if complaints:
        raise AssertionError("\n".join(complaints))


@cache
def inequalities() -> dict[str, Inequality]:
    """Every registered inequality by id, in the order of the theory (L4.10 after L4.9), then by name."""
    found: dict[str, Inequality] = {}
    for info in sorted(pkgutil.iter_modules(registered.__path__), key=lambda info: info.name):
        for claim in _claims(importlib.import_module(f"{registered.__name__}.{info.name}")):
            if claim.id in found:
                raise ValueError(f"two inequalities are called {claim.id}")
            found[claim.id] = claim
    return dict(
        sorted(found.items(), key=lambda item: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", item[0])])
    )


def chosen(id: str | None) -> tuple[Inequality, ...]:
    """The inequalities with an id or of a lemma ("L2.1"); None: all.

    Raises:
        InputError: for an unknown id; suggests the nearest.
    """
    known = inequalities()
    picked = tuple(claim for claim in known.values() if id is None or id in (claim.id, claim.lemma))
    if not picked:
        raise unknown_name("inequality", str(id), known)
    return picked


def load(path: Path) -> dict[str, Inequality]:
    """The inequalities that a user's file defines, by id. Runs the file.

    Raises:
        InputError: if the file cannot be imported or defines no inequality, or two with one id.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    module = imported(path)
    found: dict[str, Inequality] = {}
    for claim in _claims(module):
        if claim.id in found:
            raise InputError(f"{path}: two inequalities are called '{claim.id}'")
        found[claim.id] = claim
    if not found:
        raise InputError(
            f"{path}: registers no inequality (decorate a function with verification.inequalities.inequality)"
        )
    return found


def imported(path: Path | str) -> ModuleType:
    """Run a file of any name in any folder, as a module that is called by its whole path.

    The file may import what lies beside it.

    Raises:
        InputError: if it cannot be imported.
    """
    whole = Path(path).resolve()
    name = str(whole)  # no module of another file or of a package has this name
    spec = importlib.util.spec_from_file_location(name, whole)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    if str(whole.parent) not in sys.path:
        sys.path.append(str(whole.parent))
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # anybody's code, so anything
        if before is None:
            del sys.modules[name]
        raise InputError(f"{path} does not import: {type(error).__name__}: {error}") from error
    return module


def _claims(module: ModuleType) -> Iterator[Inequality]:
    """The inequalities that a module defines (not those it imports), in order."""
    for value in list(vars(module).values()):
        if isinstance(value, Inequality) and value.function.__module__ == module.__name__:
            yield value


def examine_all(
    claims: Sequence[Inequality],
    examples: int | None = None,
    seed: int = 0,
    *,
    path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Attack several inequalities, one process per processor; in a script, call it under `if __name__ == "__main__"`.

    Args:
        claims: registered ones, or those of `path`.
        examples: as in `examine`.
        seed: as in `examine`; results do not depend on the number of processes.
        path: the user's file that defines them.
        progress: called with (inequalities done, inequalities).

    Raises:
        InputError: if no instance of a claim satisfies its assumptions, or a user's function raises an error.
    """
    work = partial(_examine_named, path=path, examples=examples, seed=seed)
    # The longest first, so that no process ends long after the others.
    ids = [claim.id for claim in sorted(claims, key=lambda claim: -claim.examples)]
    found: dict[str, Finding] = {}

    def collect(findings: Iterable[Finding]) -> None:
        for finding in findings:
            found[finding.id] = finding
            if progress is not None:
                progress(len(found), len(claims))

    if progress is not None:
        progress(0, len(claims))
    processes = min(len(claims), os.cpu_count() or 1)
    if processes == 1:
        collect(map(work, ids))
    else:
        with multiprocessing.get_context("spawn").Pool(processes, quiet_worker) as pool:
            collect(pool.imap_unordered(work, ids))
    return [found[claim.id] for claim in claims]


def _examine_named(id: str, *, path: Path | None, examples: int | None, seed: int) -> Finding:
    """Inequalities hold functions, which do not travel between processes; names do."""
    if path is None:
        return examine(inequalities()[id], examples, seed)
    claim = load(path)[id]
    try:
        return examine(claim, examples, seed)
    except SideError as error:
        raise SideError(f"{path}: {error}", program=error.program) from error
    except InputError:
        raise
    except Exception as error:  # anybody's code, so anything
        raise InputError(f"{path}: {id}: {first_line(error)} ({place(error, str(path.resolve()))})") from error
