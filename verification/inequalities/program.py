"""What the search found about one instance, as a program that anybody can run."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import mpmath

from verification.inequalities.inequality import Comparison, Failure, Inequality, Instance
from verification.inequalities.literals import Names, UnwritableError, source

OWN = "paper"
"""What a program calls the file that an inequality is written in."""
LABORATORY = "verification.inequalities.laboratory"


class Budget(NamedTuple):
    """Of the search: with the same one it finds the same."""

    examples: int
    seed: int


def refuting(claim: Inequality, instance: Instance, comparison: Comparison, budget: Budget) -> str:
    """Python source that recomputes both sides of a refuted inequality and fails on its assertion.

    Args:
        claim: the inequality.
        instance: argument by name.
        comparison: both sides there.
        budget: of the search that found it.
    """
    relation = "==" if claim.relation == "==" else "<="
    # An identity holds to rounding; a difference that 35 digits have found may be too small for others.
    check = f"abs(left - right) <= {float(comparison.allowance)!r}" if relation == "==" else "left <= right"
    precise = relation == "==" and isinstance(comparison.left, mpmath.mpf)
    headline = (
        f"{claim.id}: left {relation} right is refuted by left = {float(comparison.left):.12g}, "
        f"right = {float(comparison.right):.12g}"
    )
    return _program(claim, Failure(instance, None, precise), headline, check, budget)


def failing(claim: Inequality, failure: Failure, headline: str, budget: Budget) -> str:
    """Python source that repeats the error in a side, or fails on its assertion where a side is NaN.

    Args:
        claim: the inequality.
        failure: where a side cannot be computed.
        headline: what happens there, in one line.
        budget: of the search that found it.
    """
    return _program(claim, failure, headline, "left == left and right == right", budget)


def _program(claim: Inequality, at: Failure, headline: str, check: str, budget: Budget) -> str:
    path = _file(claim)
    names = Names(None if path is None else claim.function.__module__, OWN, {"left", "right", "found", "sides"})
    function, remarks = _function(claim, names), [headline]
    if function is None:
        function = "sides"
        remarks.append("Its function, here called sides, is not defined at the top of a module: copy it to here.")
    arguments, lost = _arguments(at.instance, names)
    again = ""
    if lost:
        remarks.append(f"No source can be written of {', '.join(lost)}: the same search finds it again.")
        search = names.of(LABORATORY, "found_again")
        again = f"found = {search}({function}, examples={budget.examples}, seed={budget.seed})\n"
    mutant = "" if at.mutant is None else f"    **{function}.mutants[{at.mutant!r}],\n"
    if at.precise:
        reals = names.of("verification.inequalities", "reals")
        call = f"{function}(\n    **{reals}.lifted(dict(\n{indent(arguments, '    ')}    )),\n{mutant})"
        body = f"with {reals}.precise():\n" + indent(
            f"left, right = {call}\nprint(left, right)\nassert {check}\n", "    "
        )
    else:
        call = f"{function}(\n{arguments}{mutant})"
        body = f"left, right = {call}\nprint(float(left), float(right))\nassert {check}\n"
    return "".join(f"# {remark}\n" for remark in remarks) + f"{_head(names, path)}\n{again}{body}"


def _file(claim: Inequality) -> Path | None:
    """The file to load for an inequality that lies in no package; such a file is found from any folder."""
    name = claim.function.__module__
    if Path(name).is_absolute():  # so `imported` calls what it loads
        return Path(name)
    file = getattr(sys.modules.get(name), "__file__", None)
    return None if "." in name or file is None else Path(file).resolve()


def _function(claim: Inequality, names: Names) -> str | None:
    """What a program calls the inequality; None where its module does not define it."""
    module = claim.function.__module__
    defined = vars(sys.modules[module]) if module in sys.modules else {}
    attributes = (name for name, value in defined.items() if isinstance(value, Inequality) and value.id == claim.id)
    attribute = next(attributes, None)
    return None if attribute is None else names.of(module, attribute)


def _arguments(instance: Instance, names: Names) -> tuple[str, list[str]]:
    """Arguments of a call, one a line; and what of them has no source."""
    lines, lost = [], []
    for name, value in instance.items():
        try:
            text = source(value, names)
        except UnwritableError as error:
            text = f"found[{name!r}]"
            lost.append(f"{name} ({error})")
        lines.append(f"    {name}={text},\n")
    return "".join(lines), lost


def _head(names: Names, path: Path | None) -> str:
    """The imports; the inequality's file is loaded before what lies beside it, which can be imported from then on."""
    if path is None:
        return "".join(f"{line}\n" for line in names.imports())
    load = names.of(LABORATORY, "imported")

    def beside(module: str) -> bool:
        file = getattr(sys.modules[module], "__file__", None)
        return file is not None and Path(file).is_relative_to(path.parent)

    before, after = names.imports(lambda module: not beside(module)), names.imports(beside)
    return "".join(f"{line}\n" for line in (*before, "", f"{OWN} = {load}({str(path)!r})", *after))
