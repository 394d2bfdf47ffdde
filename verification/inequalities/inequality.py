"""What an inequality is: a statement, where its instances come from, both of its sides, and mutants that must fail."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sympy as sp
from hypothesis.errors import UnsatisfiedAssumption
from hypothesis.strategies import SearchStrategy

from bounds.errors import InputError
from verification.inequalities import reals
from verification.inequalities.literals import in_a_line

Relation = Literal["<=", "=="]
Instance = Mapping[str, Any]

ROUNDING = 2.0**-40
"""Default allowance, relative to |left| + |right|: what float64 may lose on the small instances of the laboratory."""
PRECISE_ROUNDING = 1e-26
"""The same for 35 digits: what is equal to this accuracy is equal."""
FLOAT_CONSTANTS = 2.0**-51
"""A failure in 35 digits below this may come from a constant that was written as a float: it decides nothing."""


def assume(condition: object) -> None:
    """Leaves an instance out of the search unless the condition holds; for use inside an inequality's function."""
    if not condition:
        raise UnsatisfiedAssumption


@dataclass(frozen=True)
class Failure:
    """Where a side cannot be computed.

    Attributes:
        instance: argument by name.
        mutant: name of the mutant that was compared; None for the claim.
        precise: whether in 35 digits.
    """

    instance: Instance
    mutant: str | None
    precise: bool


class SideError(InputError):
    """A side raises an error or is NaN at an instance, which the message names.

    Attributes:
        failure: where; None in an error that comes from another process.
        program: source that repeats it, once the search has written it.
    """

    def __init__(self, message: str, failure: Failure | None = None, program: str = "") -> None:
        super().__init__(message)
        self.failure, self.program = failure, program

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), None, self.program)  # an instance may hold what does not travel


def place(error: Exception, file: str | None = None) -> str:
    """The line that raised an error: the innermost of a file, or of all."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    return f"line {frame.lineno} of {Path(frame.filename).name}" + (f": {frame.line}" if frame.line else "")


def first_line(error: Exception) -> str:
    r"""Type and first line of an error.

    >>> first_line(ValueError("a\nb")), first_line(AssertionError())
    ('ValueError: a', 'AssertionError')
    """
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


@dataclass(frozen=True)
class Comparison:
    """Both sides at one instance.

    Attributes:
        left: of the inequality.
        right: of the inequality.
        allowance: how far float64 may have moved left - right, absolute.
        relation: "<=" or "==".
    """

    left: Any
    right: Any
    allowance: Any
    relation: Relation = "<="

    @property
    def excess(self) -> Any:
        """How far the relation fails; not positive where it holds."""
        difference = self.left - self.right
        return abs(difference) if self.relation == "==" else difference

    @property
    def verdict(self) -> Literal["holds", "undecidable", "violated"]:
        """Of these two numbers: a failure within the allowance decides nothing."""
        if self.excess <= 0:
            return "holds"
        return "undecidable" if self.excess <= self.allowance else "violated"

    @property
    def settled(self) -> bool:
        """Of a comparison in 35 digits: whether it holds, or both sides are equal to that accuracy."""
        return bool(self.excess <= PRECISE_ROUNDING * (abs(self.left) + abs(self.right)))

    @property
    def ratio(self) -> float:
        """left/right, or for an identity the smaller over the larger of both.

        -inf where it says nothing: both sides are 0, or so small that the allowance is more than a hundredth of them.
        """
        left, right = self.left, self.right
        if self.relation == "==":
            left, right = sorted((abs(left), abs(right)))
        if self.verdict != "violated" and 100 * self.allowance > max(abs(left), abs(right)):
            return -math.inf
        if not right > 0:
            return math.inf if self.verdict == "violated" else -math.inf
        return float(left / right)


@dataclass(frozen=True)
class Inequality:
    r"""A claim left <= right (or left == right) about every instance of a strategy.

    Attributes:
        id: unique name; theory's id of the lemma, then a word: "L2.1-spectral".
        statement: LaTeX (str) or a sympy relation.
        source: paper and theorem number, or "own derivation".
        given: strategy of each argument of the function, by name.
        function: takes one instance and the ingredients; returns (left, right) or (left, right, allowance), the
            allowance absolute. It calls `assume` where the instance is outside the claim's assumptions.
        mutants: by name, ingredients (keyword arguments of the function) that make the claim wrong.
        relation: "<=" or "==".
        attained: whether equality is reached, so that the search must come within 1 % of it.
        examples: instances tried by default.
        recheck: whether the function also runs in 35 digits; a failure within the allowance is then decided there.
        rounding: allowance relative to |left| + |right| where the function returns none.
        combinators: functions of the calculus that the claim exercises.
    """

    id: str
    statement: str | sp.Basic
    source: str
    given: Mapping[str, SearchStrategy[Any]]
    function: Callable[..., tuple[Any, ...]]
    mutants: Mapping[str, Mapping[str, Any]]
    relation: Relation = "<="
    attained: bool = False
    examples: int = 200
    recheck: bool = True
    rounding: float = ROUNDING
    combinators: tuple[Callable[..., Any], ...] = ()

    @property
    def lemma(self) -> str:
        """The id of the lemma: what precedes the first hyphen."""
        return self.id.partition("-")[0]

    @property
    def latex(self) -> str:
        """The statement in LaTeX."""
        return self.statement if isinstance(self.statement, str) else str(sp.latex(self.statement))

    def __call__(self, **instance: Any) -> tuple[Any, Any]:
        """Both sides at an instance, in the current precision."""
        left, right, *_ = self.function(**instance)
        return left, right

    def compare(self, instance: Instance, mutant: str | None = None) -> Comparison:
        """Both sides in float64, with their allowance.

        Args:
            instance: argument by name.
            mutant: name of the mutant to compare instead of the claim.

        Raises:
            UnsatisfiedAssumption: if the instance is outside the claim's assumptions, or a side overflows (where the
                left one alone does, both are computed in 35 digits if they can be).
            SideError: if the function raises an error, or a side is NaN.
        """
        with np.errstate(all="ignore"):  # overflow is dealt with below, NaN is refused
            left, right, *allowance = self._sides(instance, mutant)
        assume(math.isfinite(right))
        if not math.isfinite(left):
            assume(self.recheck)
            return self.compare_precisely(instance, mutant)
        allowed = allowance[0] if allowance else self.rounding * (abs(left) + abs(right))
        return Comparison(left, right, allowed, self.relation)

    def compare_precisely(self, instance: Instance, mutant: str | None = None) -> Comparison:
        """Both sides in 35 digits, for a failure that float64 cannot decide."""
        with reals.precise():
            left, right, *allowance = self._sides(instance, mutant)
            allowed = FLOAT_CONSTANTS * (abs(left) + abs(right))
            if allowance:  # the function's own, for cancellation inside it, shrinks with the precision
                allowed = max(allowed, PRECISE_ROUNDING / ROUNDING * allowance[0])
            return Comparison(left, right, allowed, self.relation)

    def _sides(self, instance: Instance, mutant: str | None) -> tuple[Any, ...]:
        """What the function returns in the current precision, once it is known to be numbers.

        Raises:
            SideError: if it is not, or the function raises an error.
        """
        ingredients = self.mutants[mutant] if mutant is not None else {}
        given = reals.lifted(instance) if reals.is_precise() else instance
        try:
            left, right, *allowance = self.function(**given, **ingredients)
            if left == left and right == right:
                return left, right, *allowance
            happens = f"NaN on the {'left' if left != left else 'right'} side (left = {left}, right = {right})"
        except UnsatisfiedAssumption:
            raise
        except Exception as error:  # anybody's code, so anything
            code = getattr(self.function, "__code__", None)
            happens = f"{first_line(error)} ({place(error, getattr(code, 'co_filename', None))})"
            raise self._failure(happens, instance, mutant) from error
        raise self._failure(happens, instance, mutant)

    def _failure(self, happens: str, instance: Instance, mutant: str | None) -> SideError:
        precise = reals.is_precise()
        where = f", mutant '{mutant}'" * (mutant is not None) + ", in 35 digits" * precise
        remedy = "; say recheck=False if it cannot be computed there" * precise
        message = f"{self.id}{where}: {happens} at {in_a_line(instance)}{remedy}"
        return SideError(message, Failure(instance, mutant, precise))


def inequality(
    id: str,
    statement: str | sp.Basic,
    *,
    source: str,
    given: Mapping[str, SearchStrategy[Any]],
    mutants: Mapping[str, Mapping[str, Any]] | None = None,
    relation: Relation = "<=",
    attained: bool = False,
    examples: int = 200,
    recheck: bool = True,
    rounding: float = ROUNDING,
    combinators: tuple[Callable[..., Any], ...] = (),
) -> Callable[[Callable[..., tuple[Any, ...]]], Inequality]:
    r"""Decorator: makes an `Inequality` of a function that returns its two sides.

    Args:
        id: unique name.
        statement: LaTeX or a sympy relation.
        source: paper and theorem number, or "own derivation".
        given: strategy of each argument, by name.
        mutants: by name, keyword arguments of the function under which the claim must be refuted.
        relation: "<=" or "==".
        attained: whether equality is reached.
        examples: instances tried by default.
        recheck: whether the function also runs in the precise mode of `reals`.
        rounding: relative allowance of the comparison.
        combinators: functions of the calculus that the claim exercises.

    Example:
        >>> from hypothesis import strategies as st
        >>> @inequality(
        ...     "mean", r"\sqrt{ab} \le (a+b)/2", source="Euclid", attained=True,
        ...     given={"a": st.floats(0, 9), "b": st.floats(0, 9)},
        ...     mutants={"the half twice": {"part": 0.25}},
        ... )
        ... def arithmetic_geometric(a, b, part=0.5):
        ...     return reals.sqrt(a * b), part * (a + b)
        >>> arithmetic_geometric(a=1.0, b=9.0)
        (3.0, 5.0)
    """

    def decorate(function: Callable[..., tuple[Any, ...]]) -> Inequality:
        _check_arguments(id, function, given, mutants or {})
        made = Inequality(
            id,
            statement,
            source,
            dict(given),
            function,
            dict(mutants or {}),
            relation,
            attained,
            examples,
            recheck,
            rounding,
            combinators,
        )
        object.__setattr__(made, "__doc__", function.__doc__)
        return made

    return decorate


def _check_arguments(
    id: str, function: Callable[..., Any], given: Mapping[str, Any], mutants: Mapping[str, Mapping[str, Any]]
) -> None:
    """A misspelt argument is a mistake of the author, found when the inequality is written down."""
    parameters = inspect.signature(function).parameters
    required = {name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty}
    if required != set(given):
        raise TypeError(f"{id}: the function takes {sorted(required)}, but strategies are given for {sorted(given)}")
    for name, ingredients in mutants.items():
        unknown = set(ingredients) - (set(parameters) - required)
        if unknown or not ingredients:
            raise TypeError(
                f"{id}: mutant '{name}' changes {sorted(unknown) or 'nothing'}, no ingredient of the function"
            )
