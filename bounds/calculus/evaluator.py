"""The one evaluator: a tree walker over sympy expressions with symbolic depth, generic in the number type.

Sums and products over layers stay symbolic for display and are evaluated here for the concrete depth. Every
subexpression is computed once per value of the layer indices in it, and products over a range extend the longest one
already known, so the nested sums of theory §5 cost O(L^2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sympy as sp

from bounds import symbols
from bounds.calculus.arithmetic import Arithmetic

INDICES = (symbols.i, symbols.j, symbols.k)


class XLog(sp.Function):
    """x ln(y/x), with value 0 at x = 0: the shape of Dudley's integral of a scale-free cover."""

    nargs = 2

    def _latex(self, printer: Any, exp: Any = None) -> str:
        x, y = self.args
        inner = rf"{printer.parenthesize(x, 50)} \ln\frac{{{printer._print(y)}}}{{{printer._print(x)}}}"
        return inner if exp is None else rf"\left({inner}\right)^{{{exp}}}"

    def _sympystr(self, printer: Any) -> str:
        x, y = self.args
        return f"{printer.parenthesize(x, 50)}*log({printer._print(y)}/{printer.parenthesize(x, 50)})"

    def _pretty(self, printer: Any) -> Any:
        x, y = self.args
        return printer._print(sp.Mul(x, sp.log(y / x), evaluate=False))


class BetaQuantile(sp.Function):
    """Beta^{-1}(level; a, b): the quantile function of the beta distribution."""

    nargs = 3

    def _latex(self, printer: Any, exp: Any = None) -> str:
        level, a, b = (printer._print(argument) for argument in self.args)
        return rf"\mathrm{{Beta}}^{{-1}}\left({level};\, {a},\, {b}\right)"


@dataclass(frozen=True)
class Part:
    """A named part of a formula: "where symbol = expression".

    Attributes:
        symbol: a Symbol, or an IndexedBase whose entry number `i` the expression gives in terms of the index i.
        expression: its definition.
        meaning: what it is, in words.
        recursion: whether entry i is defined by entry i-1 ("forward") or i+1 ("backward"); such parts are filled from
            their start, so that depth 100 does not become 100 nested calls.
    """

    symbol: sp.Symbol | sp.IndexedBase
    expression: sp.Expr
    meaning: str
    recursion: Literal["forward", "backward"] | None = None

    @property
    def head(self) -> sp.Expr:
        """The left side of the definition."""
        return self.symbol[symbols.i] if isinstance(self.symbol, sp.IndexedBase) else self.symbol


Values = Mapping[Any, Any]
"""Numbers by symbol: one number for a Symbol, a mapping from layer to number for an IndexedBase."""


def heads(expression: sp.Basic) -> frozenset[Any]:
    """The symbols and indexed symbols (as IndexedBase) that an expression is written in."""
    return frozenset({atom.base for atom in expression.atoms(sp.Indexed)} | expression.atoms(sp.Symbol))


class Evaluator:
    """Evaluates expressions over named parts with the numbers given.

    Args:
        parts: the formula's named parts.
        values: numbers (of the arithmetic's type) for the symbols of theory §0.
        depth: L.
        arithmetic: the number type.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        values: Values,
        depth: int,
        arithmetic: Arithmetic,
    ) -> None:
        self.parts = {part.symbol: part for part in parts}
        self.values = values
        self.depth = depth
        self.arithmetic = arithmetic
        self.scaled: Mapping[Any, Any] = {}
        self._parent: Evaluator | None = None
        self._changed: frozenset[Any] = frozenset()
        self._affected: dict[Any, bool] = {}
        self._memo: dict[Any, Any] = {}
        self._ranges: dict[Any, dict[tuple[int, int], Any]] = {}
        self._free: dict[Any, tuple[sp.Symbol, ...]] = {}
        self._filled: dict[Any, int] = {}  # how far a recursion has been computed

    def __call__(self, expression: sp.Expr, **at: int) -> Any:
        """The number of an expression; `at` gives layer indices (i=2)."""
        return self._value(expression, {getattr(symbols, name): index for name, index in at.items()})

    def changed(self, values: Values, scaled: Mapping[Any, Any] | None = None) -> Evaluator:
        """The evaluator after some numbers changed; what does not depend on them is not computed again.

        Args:
            values: the numbers that change.
            scaled: factors multiplied onto symbols or named parts, to ask "what if R were ten times smaller".
        """
        child = Evaluator((), {**self.values, **values}, self.depth, self.arithmetic)
        child.parts, child.scaled, child._parent = self.parts, {**self.scaled, **(scaled or {})}, self
        child._changed = child._closure(frozenset((*values, *(scaled or {}))))
        return child

    def _closure(self, changed: frozenset[Any]) -> frozenset[Any]:
        """The changed symbols and every named part that uses one of them, however deeply."""
        while True:
            more = changed | {name for name, part in self.parts.items() if heads(part.expression) & changed}
            if more == changed:
                return changed
            changed = more

    def _is_affected(self, node: Any) -> bool:
        known = self._affected.get(node)
        if known is None:
            known = self._affected[node] = bool(heads(node) & self._changed)
        return known

    def _value(self, node: Any, at: dict[Any, int]) -> Any:
        if self._parent is not None and not self._is_affected(node):
            return self._parent._value(node, at)
        free = self._free.get(node)
        if free is None:
            free = self._free[node] = tuple(index for index in INDICES if index in node.free_symbols)
        key = (node, *(at[index] for index in free))
        if key not in self._memo:
            self._memo[key] = self._compute(node, at)
        return self._memo[key]

    def _compute(self, node: Any, at: dict[Any, int]) -> Any:
        if isinstance(node, sp.Rational):
            return self.arithmetic.rational(int(node.p), int(node.q))
        if isinstance(node, sp.Symbol):
            return self._symbol(node, at)
        if isinstance(node, sp.Indexed):
            return self._entry(node.base, self._integer(node.indices[0], at))
        if isinstance(node, sp.Add | sp.Mul):
            return self._fold(node, at)
        if isinstance(node, sp.Pow):
            return self._power(node, at)
        if isinstance(node, sp.Sum | sp.Product):
            return self._over_layers(node, at)
        if isinstance(node, sp.Piecewise):
            return self._piecewise(node.args, at)
        if node is sp.pi:
            return self.arithmetic.pi()
        return self._function(node, at)

    def _symbol(self, node: sp.Symbol, at: dict[Any, int]) -> Any:
        if node in self.parts:
            return self._scale(node, self._value(self.parts[node].expression, {}))
        if node in INDICES or node == symbols.L:
            return self.arithmetic.rational(self._integer(node, at), 1)
        return self._scale(node, self.values[node])

    def _entry(self, base: sp.IndexedBase, index: int) -> Any:
        part = self.parts.get(base)
        if part is None:
            return self.values[base][index]
        if part.recursion is not None:
            step = 1 if part.recursion == "forward" else -1
            start = self._filled.get(base, 0 if step == 1 else self.depth + 1)
            for nearer in range(start + step, index, step):
                self._value(part.expression, {symbols.i: nearer})
                self._filled[base] = nearer
        return self._scale(base, self._value(part.expression, {symbols.i: index}))

    def _scale(self, symbol: Any, value: Any) -> Any:
        return value * self.scaled[symbol] if symbol in self.scaled else value

    def _fold(self, node: Any, at: dict[Any, int]) -> Any:
        first, *rest = (self._value(argument, at) for argument in node.args)
        for term in rest:
            first = first + term if isinstance(node, sp.Add) else first * term
        return first

    def _power(self, node: sp.Pow, at: dict[Any, int]) -> Any:
        if node.base == sp.E:
            return self.arithmetic.exp(self._value(node.exp, at))
        base = self._value(node.base, at)
        if isinstance(node.exp, sp.Rational):
            return self.arithmetic.rational_power(base, int(node.exp.p), int(node.exp.q))
        return self.arithmetic.power(base, self._value(node.exp, at))

    def _over_layers(self, node: Any, at: dict[Any, int]) -> Any:
        (variable, low_expression, high_expression), *others = node.limits
        if others:
            raise ValueError(f"nested limits in {node}")
        low, high = self._integer(low_expression, at), self._integer(high_expression, at)
        product = isinstance(node, sp.Product)
        body = node.function
        rest = tuple((index, at[index]) for index in INDICES if index in body.free_symbols and index != variable)
        known = self._ranges.setdefault((type(node), body, variable, rest), {})

        def term(index: int) -> Any:
            return self._value(body, {**at, variable: index})

        if low > high:
            return self.arithmetic.rational(1 if product else 0, 1)
        start = high
        while start > low and (low, start) not in known:
            start -= 1
        result = known.get((low, start))
        if result is None and (low + 1, high) in known:
            tail, head = known[low + 1, high], term(low)
            result, start = (head * tail if product else head + tail), high
        elif result is None:
            result, start = term(low), low
        known[low, start] = result
        for index in range(start + 1, high + 1):
            result = result * term(index) if product else result + term(index)
            known[low, index] = result
        return result

    def _integer(self, node: Any, at: dict[Any, int]) -> int:
        if isinstance(node, sp.Integer):
            return int(node)
        if node == symbols.L:
            return self.depth
        if isinstance(node, sp.Symbol):
            return at[node]
        if isinstance(node, sp.Add):
            return sum(self._integer(argument, at) for argument in node.args)
        if isinstance(node, sp.Mul):
            product = 1
            for argument in node.args:
                product *= self._integer(argument, at)
            return product
        raise ValueError(f"not a layer index: {node}")

    def _piecewise(self, branches: Sequence[Any], at: dict[Any, int]) -> Any:
        """The branch that holds; where an interval straddles a condition, the hull of the branches."""
        for position, (expression, condition) in enumerate(branches):
            holds = self._holds(condition, at)
            if holds:
                return self._value(expression, at)
            if holds is None:
                rest = self._piecewise(branches[position + 1 :], at)
                return self.arithmetic.hull(self._value(expression, at), rest)
        raise ValueError("no branch of a Piecewise holds")

    def _holds(self, condition: Any, at: dict[Any, int]) -> bool | None:
        if condition in (sp.true, sp.false):
            return bool(condition)
        if isinstance(condition, sp.Eq):  # equalities only ever compare layer indices
            return self._integer(condition.lhs, at) == self._integer(condition.rhs, at)
        if isinstance(condition, sp.LessThan | sp.GreaterThan):  # sympy may turn one into the other
            return self.arithmetic.at_most(self._value(condition.lts, at), self._value(condition.gts, at))
        raise ValueError(f"no rule for the condition {condition}")

    def _function(self, node: Any, at: dict[Any, int]) -> Any:
        arguments = [self._value(argument, at) for argument in node.args]
        if isinstance(node, sp.Max | sp.Min):
            choose = self.arithmetic.maximum if isinstance(node, sp.Max) else self.arithmetic.minimum
            result = arguments[0]
            for argument in arguments[1:]:
                result = choose(result, argument)
            return result
        rules = {
            sp.log: "log",
            sp.exp: "exp",
            sp.cosh: "cosh",
            sp.ceiling: "ceiling",
            sp.harmonic: "harmonic",
            XLog: "x_log",
            BetaQuantile: "beta_quantile",
        }
        rule = rules.get(node.func)
        if rule is None:
            raise ValueError(f"no rule for {node.func.__name__}")
        return getattr(self.arithmetic, rule)(*arguments)
