"""Linear relaxation, backwards: lower bounds over the attack set of linear functions of a network's values.

Going backwards through the graph, a linear function of a node's value becomes one of its inputs' values: exactly
through affine operations, and with a line below or above each unit, by the sign of its coefficient, through
nonlinearities (CROWN, Zhang et al. 2018). At the input the minimum over the attack set is its support function. The
hidden units' intervals that the lines need are found by the same pass, from the input on. A unit of a convolution
reads a window only: the pass keeps the coefficients of the units that a group of rows can reach, and small dense
matrices for the windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from bounds.budget import COMFORTABLE
from bounds.network import Segment, TracedNetwork
from bounds.network.nodes import Add, Concatenate
from bounds.network.nonlinear import Activation, MaxPool, Nonlinear
from verification.certify import max_pool
from verification.certify.costs import Costs, fed_by, windows_that_fit
from verification.certify.enclosure import Enclosure, Interval
from verification.certify.lines import Lines, lines
from verification.certify.matrices import sparse_matrix, unit_vectors
from verification.certify.rounding import gamma, outwards, sums
from verification.certify.work import Work

PIECEWISE_LINEAR = ("relu", "leaky_relu")

# (node, part) of a nonlinearity, the units in question -> the lines around them.
Key = tuple[int, int]
LinesOf = Callable[[Enclosure, Key, Tensor | None], Lines]


@dataclass(frozen=True)
class Functionals:
    """Linear functions of one node's value.

    Attributes:
        coefficients: (n or 1, rows, units).
        units: the flat positions of those units; None for all of them, in order.
    """

    coefficients: Tensor
    units: Tensor | None = None

    def spread(self, size: int) -> Tensor:
        """Coefficients of all units, (n or 1, rows, size)."""
        if self.units is None:
            return self.coefficients
        whole = self.coefficients.new_zeros(*self.coefficients.shape[:2], size)
        whole[:, :, self.units] = self.coefficients
        return whole


@dataclass(frozen=True)
class Block:
    """Rows of a segment that read the same units.

    Attributes:
        rows: flat positions in the segment's output.
        functionals: these rows as functions of the segment's input, (1, rows, units).
    """

    rows: Tensor
    functionals: Functionals


class Relaxation:
    """The relaxation of one network; holds the matrices of its convolutions, as far as they fit.

    Args:
        network: without opaque layers.
        memory: bytes that the matrices may take; without its matrix a convolution is applied to all units at once.
    """

    def __init__(self, network: TracedNetwork, memory: int = COMFORTABLE // 8) -> None:
        self.network = network
        self.windowed = windows_that_fit(network, memory)
        self.costs = Costs(network, self.windowed)
        self._matrices: dict[int, scipy.sparse.csr_matrix] = {}
        self._blocks: dict[int, list[Block]] = {}

    def tighten(self, enclosure: Enclosure, node: int) -> Interval:
        """The interval of a node's value by relaxation of everything before it."""
        low, high = (end.clone() for end in enclosure.values[node])
        operation, source = self.network.nodes[node].operation, self.network.nodes[node].inputs[0]
        for block in self._wanted_blocks(enclosure, node):
            rows, coefficients = block.rows, block.functionals.coefficients
            both = Functionals(torch.cat([coefficients, -coefficients], 1), block.functionals.units)
            if isinstance(operation, Segment):
                offset = operation.offset.flatten()[rows]
                slack = 2 * gamma(operation) * enclosure.magnitudes[node].flatten(1)[:, rows]
                lowest = self.minimum(enclosure, source, both) - slack.repeat(1, 2)
                below, above = lowest[:, : len(rows)] + offset, offset - lowest[:, len(rows) :]
            else:
                lowest = self.minimum(enclosure, node, both)
                below, above = lowest[:, : len(rows)], -lowest[:, len(rows) :]
            below, above = outwards(below, above)
            low.flatten(1)[:, rows] = torch.maximum(low.flatten(1)[:, rows], below)
            high.flatten(1)[:, rows] = torch.minimum(high.flatten(1)[:, rows], above)
        return low, high

    def minimum(
        self,
        enclosure: Enclosure,
        node: int,
        functionals: Functionals,
        lines_of: LinesOf | None = None,
        multipliers: Mapping[Key, Tensor] | None = None,
    ) -> Tensor:
        """Lower bounds over the attack set of linear functions of a node's value.

        The bounds include an allowance for the rounding of all that is computed here: every coefficient that a step
        produces is taken as it is, and what the step should have produced instead differs by less than the step's
        gamma times the absolute coefficients paired with the magnitudes of the values (see `rounding`).

        Args:
            enclosure: intervals of every node before.
            node: position of the node.
            functionals: the functions.
            lines_of: chooses the lines; the best fixed ones by default.
            multipliers: per (node, part), what to subtract from the coefficients of that part's input,
                (n, rows, units); sound where the multiplier times the input is nonnegative (branches).

        Returns:
            (n, rows), float64; differentiable in the multipliers and in what `lines_of` depends on.
        """
        return _Walk(self, enclosure, lines_of or best_lines, multipliers or {}).minimum(node, functionals)

    def lead(self, enclosure: Enclosure, rows: Tensor) -> Tensor:
        """`minimum` of functions of the logits, (n, rows, K), as many at a time as may be held."""
        output = len(self.network.nodes) - 1
        return enclosure.by_rows(rows, lambda part: self.minimum(enclosure, output, Functionals(part)))

    def slack_of_lines(self, enclosure: Enclosure, node: int, functionals: Functionals) -> dict[Key, Tensor]:
        """What the line above each unit adds to `minimum`, nonpositive, (n, rows, units) per (node, part)."""
        walk = _Walk(self, enclosure, best_lines, {}, keep_costs=True)
        walk.minimum(node, functionals)
        return {key: negative * above for key, (negative, above) in walk.costs.items()}

    def matrix(self, node: int) -> scipy.sparse.csr_matrix:
        """The matrix W of a segment, (outputs, inputs)."""
        if node not in self._matrices:
            segment = self.network.nodes[node].operation
            assert isinstance(segment, Segment)
            self._matrices[node] = sparse_matrix(segment, Work().entries)
        return self._matrices[node]

    def _wanted(self, enclosure: Enclosure, node: int) -> Tensor:
        """Which units' intervals matter: with ReLU-type readers only those that may cross 0."""
        low, high = (end.flatten(1) for end in enclosure.values[node])
        readers = [reader.operation for reader in self.network.nodes if node in reader.inputs]
        for reader in readers:
            first = reader.parts[0] if isinstance(reader, Nonlinear) else None
            if not (isinstance(first, Activation) and first.key in PIECEWISE_LINEAR):
                return torch.ones(low.shape[1], dtype=torch.bool)
        return ((low < 0) & (high > 0)).any(dim=0)

    def _wanted_blocks(self, enclosure: Enclosure, node: int) -> Iterator[Block]:
        """The rows of a node whose intervals matter, a few at a time; identity rows if it is no segment."""
        wanted, at_once = self._wanted(enclosure, node), enclosure.rows_at_once(2 * self.costs.width(node))
        if fed_by(self.network, node) in self.windowed:
            for block in self._windows(node):
                chosen = wanted[block.rows].nonzero()[:, 0]
                coefficients, units = block.functionals.coefficients, block.functionals.units
                for part in chosen.split(at_once) if len(chosen) else ():
                    yield Block(block.rows[part], Functionals(coefficients[:, part], units))
            return
        operation, chosen = self.network.nodes[node].operation, wanted.nonzero()[:, 0]
        for rows in chosen.split(at_once) if len(chosen) else ():
            vectors = unit_vectors(rows, len(wanted))
            if isinstance(operation, Segment):
                vectors = operation.adjoint(vectors.reshape(-1, *operation.out_shape)).flatten(1)
            yield Block(rows, Functionals(vectors[None]))

    def _windows(self, node: int) -> list[Block]:
        """The rows of a segment's matrix, or of a sum, in the groups of the first segment that it adds up."""
        if node not in self._blocks:
            fed = fed_by(self.network, node)
            assert fed is not None
            blocks = _blocks(self.matrix(node)) if fed == node else [_identity(block) for block in self._windows(fed)]
            self._blocks[node] = blocks
        return self._blocks[node]


class _Walk:
    """One backward pass: the functionals that wait at each node, and the sums collected so far."""

    def __init__(
        self,
        relaxation: Relaxation,
        enclosure: Enclosure,
        lines_of: LinesOf,
        multipliers: Mapping[Key, Tensor],
        *,
        keep_costs: bool = False,
    ) -> None:
        self.relaxation, self.enclosure = relaxation, enclosure
        self.lines_of, self.multipliers = lines_of, multipliers
        self.keep_costs = keep_costs
        self.costs: dict[Key, tuple[Tensor, Tensor]] = {}
        self.nodes = relaxation.network.nodes
        self.waiting: dict[int, Functionals] = {}
        self.constant: Tensor | float = 0.0
        self.slack: Tensor | float = 0.0

    def minimum(self, node: int, functionals: Functionals) -> Tensor:
        self.waiting[node] = functionals
        for position in range(node, 0, -1):
            if position in self.waiting:
                self.enclosure.work.tell(f"relaxing {self.nodes[position].name}")
                self._step(position, self.waiting.pop(position))
        return self._at_the_input(self.waiting.pop(0))

    def _step(self, position: int, functionals: Functionals) -> None:
        node = self.nodes[position]
        if isinstance(node.operation, Segment):
            self._arrive(node.inputs[0], self._through_segment(position, node.operation, functionals))
        elif isinstance(node.operation, Nonlinear):
            for number in reversed(range(len(node.operation.parts))):
                part = node.operation.parts[number]
                through = self._through_activation if isinstance(part, Activation) else self._through_pool
                functionals = through((position, number), part, functionals)  # type: ignore[arg-type]
            self._arrive(node.inputs[0], functionals)
        elif isinstance(node.operation, Add):
            left, right = node.inputs
            self._arrive(left, functionals)
            scaled = node.operation.coefficient * functionals.coefficients
            self._allow(1, scaled, self._sizes(right, functionals.units))
            self._arrive(right, Functionals(scaled, functionals.units))
        else:
            assert isinstance(node.operation, Concatenate)
            self._through_concatenation(position, node.operation, functionals)

    def _arrive(self, node: int, functionals: Functionals) -> None:
        """Adds functionals to those that wait at a node."""
        there = self.waiting.get(node)
        if there is not None:
            size = self.enclosure.largest(node).shape[1]
            functionals = Functionals(there.spread(size) + functionals.spread(size))
            self._allow(1, functionals.coefficients, self._sizes(node, None))
        self.waiting[node] = functionals

    def _through_segment(self, position: int, segment: Segment, functionals: Functionals) -> Functionals:
        coefficients, units = functionals.coefficients, functionals.units
        sizes = _chosen(self.enclosure.magnitudes[position].flatten(1), units)
        offset = _chosen(segment.offset.flatten()[None], units)
        self.constant = self.constant + _paired(coefficients, offset)
        if units is None or position not in self.relaxation.windowed or 2 * len(units) > segment.d_out:
            whole = functionals.spread(segment.d_out)
            flat = segment.adjoint(whole.flatten(0, 1).reshape(-1, *segment.out_shape)).reshape(*whole.shape[:2], -1)
            self._allow(coefficients.shape[2], coefficients, sizes, gamma(segment))
            return Functionals(flat)
        rows = self.relaxation.matrix(position)[units.numpy()]
        columns = np.unique(rows.indices) if rows.nnz else np.zeros(1, dtype=np.int32)  # rows of zeros read nothing
        local = torch.from_numpy(rows[:, columns].toarray())
        self._allow(len(units), coefficients, sizes, 2 * gamma(segment))
        return Functionals(coefficients @ local, torch.from_numpy(columns.astype(np.int64)))

    def _through_activation(self, key: Key, phi: Activation, functionals: Functionals) -> Functionals:
        coefficients = functionals.coefficients
        found = self.lines_of(self.enclosure, key, functionals.units)
        positive = coefficients.clamp(min=0)
        negative = coefficients - positive
        below_slope, above_slope, below, above = (
            _by_row(values)
            for values in (found.below_slope, found.above_slope, found.below_intercept, found.above_intercept)
        )
        self.constant = self.constant + _paired(positive, below) + _paired(negative, above)
        low, high = (_chosen(end.flatten(1), functionals.units) for end in self.enclosure.parts[key])
        inputs = _by_row(torch.maximum(low.abs(), high.abs()))
        with torch.no_grad():
            sizes = (below_slope.abs() + above_slope.abs()) * inputs + below.abs() + above.abs()
        self._allow(coefficients.shape[2], coefficients, sizes)
        if self.keep_costs:
            self.costs[key] = (negative, above)
        pulled = positive * below_slope + negative * above_slope
        if key in self.multipliers:
            pulled = pulled - self.multipliers[key]
            self._allow(1, pulled, inputs)
        return Functionals(pulled, functionals.units)

    def _through_pool(self, key: Key, pool: MaxPool, functionals: Functionals) -> Functionals:
        low, high = self.enclosure.parts[key]
        relaxed = max_pool.relax(pool, low, high)
        whole = functionals.spread(torch.Size(pool.out_shape).numel())
        whole = whole.expand(len(low), *whole.shape[1:])
        coefficients, constant = relaxed.pull_back_lower(whole.reshape(*whole.shape[:2], *pool.out_shape))
        self.constant = self.constant + constant
        ends = (end.abs().flatten(1).amax(dim=1, keepdim=True) for end in (low, high))
        largest = torch.maximum(*ends).expand(len(low), whole.shape[2])
        self._allow(whole.shape[2] + pool.overlap, whole, 4 * largest)
        return Functionals(coefficients.flatten(2))

    def _through_concatenation(self, position: int, join: Concatenate, functionals: Functionals) -> None:
        shape = self.relaxation.network.shapes[position]
        whole = functionals.spread(torch.Size(shape).numel())
        whole = whole.reshape(*whole.shape[:2], *shape)
        inputs = self.nodes[position].inputs
        axis = join.axis if join.axis > 0 else join.axis + len(shape) + 1
        widths = [self.relaxation.network.shapes[source][axis - 1] for source in inputs]
        for source, part in zip(inputs, whole.split(widths, dim=axis + 1), strict=True):
            self._arrive(source, Functionals(part.flatten(2)))

    def _at_the_input(self, functionals: Functionals) -> Tensor:
        x = _chosen(self.enclosure.x.flatten(1), functionals.units)
        coefficients = functionals.coefficients.expand(len(x), -1, -1)
        self._allow(coefficients.shape[2], coefficients, x.abs())
        away = self.enclosure.attack_set.support(-coefficients, x)
        lowest: Tensor = self.constant + _paired(coefficients, x) - away
        return lowest - (sums(4) * (lowest.abs() + away.detach()) + self.slack).detach()

    def _sizes(self, node: int, units: Tensor | None) -> Tensor:
        return _chosen(self.enclosure.largest(node), units)

    def _allow(self, terms: int, coefficients: Tensor, sizes: Tensor, more: float = 0.0) -> None:
        """Adds to the slack: sums of `terms` products, and their share in the sum over the steps."""
        with torch.no_grad():
            relative = sums(terms + 8 + len(self.nodes)) + more
            self.slack = self.slack + relative * _paired(coefficients.abs(), sizes)


def best_lines(enclosure: Enclosure, key: Key, units: Tensor | None) -> Lines:
    """The best fixed lines around each unit."""
    low, high = (_chosen(end.flatten(1), units) for end in enclosure.parts[key])
    return lines(_activation(enclosure.network, key), low, high)


def _activation(network: TracedNetwork, key: Key) -> Activation:
    operation = network.nodes[key[0]].operation
    assert isinstance(operation, Nonlinear)
    part = operation.parts[key[1]]
    assert isinstance(part, Activation)
    return part


def _chosen(values: Tensor, units: Tensor | None) -> Tensor:
    return values if units is None else values[:, units]


def _by_row(values: Tensor) -> Tensor:
    """(n, units) with a place for the rows: (n, 1, units); values that already differ by row stay."""
    return values[:, None] if values.dim() == 2 else values


def _paired(coefficients: Tensor, values: Tensor) -> Tensor:
    """Inner products, (n, rows), of coefficients (n or 1, rows, units) with values (n, units) or (n, rows, units)."""
    if values.dim() == 3 and values.shape[1] > 1:
        return (coefficients * values).sum(2)
    values = values.flatten(1)
    if len(coefficients) == 1:
        return values @ coefficients[0].T
    return (coefficients @ values[:, :, None])[:, :, 0]


def _identity(block: Block) -> Block:
    return Block(block.rows, Functionals(torch.eye(len(block.rows), dtype=torch.float64)[None], block.rows))


def _blocks(matrix: scipy.sparse.csr_matrix) -> list[Block]:
    """The rows of a sparse matrix in groups that read the same columns."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row in range(matrix.shape[0]):
        groups[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].tobytes()].append(row)
    blocks = []
    for rows in groups.values():
        columns = matrix[rows[0]].indices if matrix[rows[0]].nnz else np.zeros(1, dtype=np.int32)
        coefficients = torch.from_numpy(matrix[rows][:, columns].toarray())[None]
        blocks.append(Block(torch.tensor(rows), Functionals(coefficients, torch.from_numpy(columns.astype(np.int64)))))
    return blocks
