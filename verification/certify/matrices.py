"""Sparse matrices of segments whose units read windows, and unit vectors for the others; never a whole identity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from bounds.network import Segment
from bounds.network.operators import Convolution, Operation, Pad, Rearrange, Reshape, Scale, Shift


def sparse_matrix(segment: Segment, entries: int) -> scipy.sparse.csr_matrix:
    """The matrix W of a segment, (outputs, inputs), the columns of every row in order, without zeros.

    Args:
        segment: the segment.
        entries: coefficients to hold at a time, beside the matrix.

    >>> from bounds.network.operators import Linear
    >>> sparse_matrix(Segment("fc", (Linear((2,), torch.tensor([[3.0, 0.0]], dtype=torch.float64)),)), 100).toarray()
    array([[3., 0.]])
    """
    first, *others = segment.operations
    matrix = _matrix(first, entries)
    for operation in others:
        matrix = _matrix(operation, entries) @ matrix
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def unit_vectors(positions: Tensor, size: int) -> Tensor:
    """The unit vectors of some positions, (positions, size).

    >>> unit_vectors(torch.tensor([1]), 3)
    tensor([[0., 1., 0.]], dtype=torch.float64)
    """
    vectors = torch.zeros(len(positions), size, dtype=torch.float64)
    vectors[torch.arange(len(positions)), positions] = 1.0
    return vectors


def _matrix(operation: Operation, entries: int) -> scipy.sparse.csr_matrix:
    d_in, d_out = torch.Size(operation.in_shape).numel(), torch.Size(operation.out_shape).numel()
    if isinstance(operation, Shift):
        return scipy.sparse.eye(d_in, format="csr")
    if isinstance(operation, Scale):
        factors = torch.broadcast_to(operation.factor, operation.in_shape)
        return scipy.sparse.diags(factors.flatten().numpy(), format="csr")
    if isinstance(operation, Convolution):
        return _convolution(operation)
    if isinstance(operation, Pad | Rearrange | Reshape):
        sources = _sources(operation).flatten().numpy()
        rows = np.arange(d_out)
        return _assembled(rows, sources, np.ones(d_out), (d_out, d_in))
    parts = (
        operation.adjoint(unit_vectors(rows, d_out).reshape(-1, *operation.out_shape)).flatten(1).numpy()
        for rows in torch.arange(d_out).split(max(1, entries // max(d_in, d_out)))
    )
    return scipy.sparse.vstack([scipy.sparse.csr_matrix(part) for part in parts], format="csr")


def _convolution(operation: Convolution) -> scipy.sparse.csr_matrix:
    """Which input a tap reads at every position is found by convolving the inputs' numbers with one tap alone."""
    weight, groups = operation.weight, operation.groups
    taps = weight[0].numel()
    one_by_one = torch.eye(taps, dtype=torch.float64).reshape(taps, *weight.shape[1:])
    probe = replace(operation, weight=one_by_one.repeat(groups, *(1,) * (weight.dim() - 1)))
    sources = _sources(probe).reshape(groups, 1, taps, -1)
    channels, positions = weight.shape[0], sources.shape[3]
    sources = sources.expand(-1, channels // groups, -1, -1).reshape(channels, taps, positions)
    rows = torch.arange(channels * positions).reshape(channels, 1, positions).expand_as(sources)
    values = weight.reshape(channels, taps, 1).expand_as(sources)
    shape = (channels * positions, torch.Size(operation.in_shape).numel())
    return _assembled(rows.flatten().numpy(), sources.flatten().numpy(), values.flatten().numpy(), shape)


def _sources(operation: Operation) -> Tensor:
    """For an operation that copies single inputs: the number of the input behind every output; 0 for a zero."""
    numbers = torch.arange(1, torch.Size(operation.in_shape).numel() + 1, dtype=torch.float64)
    copied: Tensor = operation.linear(numbers.reshape(1, *operation.in_shape))
    return copied.round().long()


def _assembled(
    rows: np.ndarray, sources: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> scipy.sparse.csr_matrix:
    read = sources > 0
    return scipy.sparse.csr_matrix((values[read], (rows[read], sources[read] - 1)), shape=shape)
