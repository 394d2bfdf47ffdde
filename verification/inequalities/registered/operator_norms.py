r"""Operator norms of layers from both sides (theory §7): convolutions, Lanczos, max-pooling, kernel constants.

The obvious side is a matrix written out one tap at a time, for every stride, padding, dilation, grouping and padding
mode; the other one is what the package computes without a matrix.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from scipy import special, stats
from torch import Tensor

from bounds.measure import spectral_norm
from bounds.measure.deterministic_norm import deterministic_upper, kernel_upper
from bounds.measure.fourier import outwards, symbol_rounding, torus_norm
from bounds.measure.lanczos import Krylov, lanczos, largest_eigenvalue_upper
from bounds.measure.layer_norm import layer_norms
from bounds.measure.max_pool import max_pool_lipschitz
from bounds.network import facts, operators
from bounds.network.nonlinear import MaxPool
from bounds.network.segment import Segment
from verification.inequalities import reals
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import entries, matrices, positive, scales, vectors

ROUNDING = 2.0**-45
"""Relative error of a singular value of a matrix with fewer than 100 rows, generously."""


@dataclass(frozen=True)
class Layer:
    """A convolution in one or two axes between two factors per channel (batch-norm).

    Attributes:
        kernel: (out, in / groups, *taps).
        before: factor of each input channel.
        after: factor of each output channel.
        size: positions of the input per axis.
        stride: per axis; so are the next two.
        padding: on both sides.
        dilation: distance of neighbouring taps.
        groups: of channels.
        mode: zeros, circular, reflect or replicate.
    """

    kernel: np.ndarray
    before: np.ndarray
    after: np.ndarray
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    mode: str = "zeros"

    @property
    def taps(self) -> tuple[int, ...]:
        """Kernel positions per axis."""
        return self.kernel.shape[2:]

    @property
    def reach(self) -> tuple[int, ...]:
        """k_eff = 1 + (k-1)·dilation per axis."""
        return tuple(1 + (k - 1) * step for k, step in zip(self.taps, self.dilation, strict=True))

    @property
    def outputs(self) -> tuple[int, ...]:
        """Positions of the output per axis."""
        axes = zip(self.size, self.padding, self.reach, self.stride, strict=True)
        return tuple((n + 2 * pad - reach) // stride + 1 for n, pad, reach, stride in axes)

    @property
    def wide(self) -> np.ndarray:
        """The kernel between all channels, factors included: (out, in, *taps)."""
        out, inner = self.kernel.shape[:2]
        wide = np.zeros((out, inner * self.groups, *self.taps))
        for o in range(out):
            first = o // (out // self.groups) * inner
            factors = self.after[o] * self.before[first : first + inner]
            wide[o, first : first + inner] = self.kernel[o] * factors.reshape(-1, *(1,) * len(self.taps))
        return wide

    def moves(self, axis: int) -> list[tuple[int, int, int]]:
        """Every (tap, output, input) along an axis such that the output reads the input with the tap."""
        found = []
        for tap, i in itertools.product(range(self.taps[axis]), range(self.outputs[axis])):
            at = i * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis]
            pixel = _source(at, self.size[axis], self.mode)
            if pixel is not None:
                found.append((tap, i, pixel))
        return found

    @property
    def matrix(self) -> np.ndarray:
        """The operator as a dense matrix, one tap at a time."""
        wide = self.wide
        out, inner = wide.shape[:2]
        dense = np.zeros((out, *self.outputs, inner, *self.size))
        for move in itertools.product(*(self.moves(axis) for axis in range(len(self.size)))):
            tap, to, source = zip(*move, strict=True)
            dense[(slice(None), *to, slice(None), *source)] += wide[(slice(None), slice(None), *tap)]
        return dense.reshape(out * math.prod(self.outputs), inner * math.prod(self.size))

    @property
    def injective(self) -> bool:
        """Whether a tap moves every pixel to one place at most, and no two taps move it to the same one."""
        for axis in range(len(self.size)):
            moves = self.moves(axis)
            by_tap = {(tap, pixel) for tap, _, pixel in moves}
            by_place = {(i, pixel) for _, i, pixel in moves}
            if not len(by_tap) == len(by_place) == len(moves):
                return False
        return True

    @property
    def segment(self) -> Segment:
        """The same layer for the package."""
        channels, out, axes = len(self.before), len(self.after), (1,) * len(self.size)
        padded, padding = self.size, self.padding
        operations: list[operators.Operation] = []
        if (self.before != 1).any():
            operations.append(operators.Scale((channels, *self.size), _tensor(self.before).reshape(-1, *axes)))
        if self.mode != "zeros":
            amounts = tuple(pad for pad in reversed(self.padding) for _ in range(2))
            operations.append(operators.Pad((channels, *self.size), amounts, self.mode))
            padded, padding = (
                tuple(n + 2 * pad for n, pad in zip(self.size, self.padding, strict=True)),
                (0,) * len(axes),
            )
        operations.append(
            operators.Convolution(
                (channels, *padded), _tensor(self.kernel), self.stride, padding, self.dilation, self.groups
            )
        )
        if (self.after != 1).any():
            operations.append(operators.Scale((out, *self.outputs), _tensor(self.after).reshape(-1, *axes)))
        return Segment("layer", tuple(operations))


def _source(at: int, n: int, mode: str) -> int | None:
    """The pixel that a position of the padded axis shows; None for a zero."""
    if 0 <= at < n:
        return at
    if mode == "circular":
        return at % n
    if mode == "reflect":
        return -at if at < 0 else 2 * (n - 1) - at
    if mode == "replicate":
        return 0 if at < 0 else n - 1
    return None


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


def _sizeable(values: Any) -> Any:
    """Entries whose squares would underflow become 0: there the package's sums of squares vanish."""
    return np.where(np.abs(values) < 1e-6, 0.0, values)


NUMBERS = st.tuples(*[entries().map(lambda value: float(_sizeable(value)))] * 12)
"""A kernel takes as many of these as it needs, in turn: a change of its shape leaves the other draws in place."""
FACTORS = st.tuples(*[entries().map(lambda value: float(_sizeable(value)))] * 8)
KINDS = ("signs", "plain", "plain", "rank one", "difference")


def _kernel(kind: str, numbers: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """A kernel of a shape: plain, of rank one (out by the rest), of signs, or one whose taps sum to about 0."""
    kernel = np.resize(np.array(numbers), shape)
    if kind == "rank one":
        rest = np.resize(np.array(numbers[3:]), shape[1:])
        kernel = np.multiply.outer(np.resize(np.array(numbers[:3]), shape[0]), rest)
    elif kind == "signs":
        kernel = np.where(kernel < 0, -1.0, 1.0)
    elif kind == "difference":
        kernel = np.zeros(shape)
        flat = kernel.reshape(*shape[:2], -1)
        flat[:, :, 0], flat[:, :, -1] = 1.0, -1.0
    return kernel


@st.composite
def layers(draw: DrawFn, modes: tuple[str, ...] = ("zeros",), decades: int = 0, plain: bool = False) -> Layer:
    """Convolutions of every geometry that fits, small; `plain` leaves out the factors per channel."""
    mode, axes = draw(st.sampled_from(modes)), draw(st.sampled_from([1, 1, 2]))
    largest = draw(st.sampled_from([6 if axes == 1 else 3] * 2 + [2]))  # on few pixels the border is everything
    most = {"circular": 0, "reflect": 1}.get(mode, -2)  # of the padding beyond n, in torch

    def each(values: SearchStrategy[int]) -> tuple[int, ...]:
        return draw(st.tuples(values, values))[:axes]

    size = tuple(min(n, largest) for n in each(st.sampled_from([3, 2, 4, 1, 5, 6])))
    stride, dilation = each(st.sampled_from([1, 1, 2, 3])), each(st.integers(1, 2))
    padding = tuple(min(pad, n - most) for pad, n in zip(each(st.sampled_from([1, 0, 2])), size, strict=True))
    fits = zip(each(st.integers(1, 3)), dilation, size, padding, strict=True)
    taps = tuple(min(k, 1 + (n + 2 * pad - 1) // step) for k, step, n, pad in fits)
    return _with_kernel(draw, (size, stride, padding, dilation), taps, mode, decades, plain)


Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _with_kernel(
    draw: DrawFn,
    geometry: Geometry,
    taps: tuple[int, ...],
    mode: str,
    decades: int,
    plain: bool,
    kinds: tuple[str, ...] = KINDS,
) -> Layer:
    groups, inner, each = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    out = groups * each
    kernel = draw(scales(decades)) * _kernel(draw(st.sampled_from(kinds)), draw(NUMBERS), (out, inner, *taps))
    scaled, factors = draw(st.booleans()), np.array(draw(FACTORS))
    if plain or not scaled:
        factors = np.ones(8)
    return Layer(kernel, factors[: inner * groups], factors[4 : 4 + out], *geometry, groups, mode)


@st.composite
def far_taps(draw: DrawFn) -> Layer:
    """One or two pixels under taps further apart than they are, all padded: what a short grid lets cancel."""
    size, stride = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 2]))
    dilation, taps = draw(st.sampled_from([2, 3, 1])), draw(st.integers(2, 3))
    geometry = (size,), (stride,), ((taps - 1) * dilation,), (dilation,)
    return _with_kernel(draw, geometry, (taps,), "zeros", 0, True, ("difference", *KINDS))


@st.composite
def strided(draw: DrawFn, mode: str) -> Layer:
    """Convolutions with a stride of two, which does not divide the input."""
    size, taps = draw(st.sampled_from([3, 5])), draw(st.integers(2, 3))
    return _with_kernel(draw, ((size,), (2,), (1,), (1,)), (taps,), mode, 0, True)


@st.composite
def whole_tori(draw: DrawFn) -> Layer:
    """Circular convolutions whose stride divides the input, with as many outputs as there are coarse positions."""
    axes = draw(st.sampled_from([1, 1, 2]))
    coarse = 5 if axes == 1 else 2
    geometry = [_torus_axis(coarse, *drawn) for drawn in draw(st.tuples(TORUS_AXIS, TORUS_AXIS))[:axes]]
    size, stride, padding, dilation, taps = (tuple(axis) for axis in zip(*geometry, strict=True))
    return _with_kernel(draw, (size, stride, padding, dilation), taps, "circular", 0, False)


TORUS_AXIS = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(0, 2), st.integers(0, 9))


def _torus_axis(largest: int, stride: int, coarse: int, padding: int, choice: int) -> tuple[int, ...]:
    """(size, stride, padding, dilation, taps) with size/stride outputs: 2·padding < k_eff <= 2·padding + stride."""
    size = stride * min(coarse, largest)
    padding = min(padding, size)
    fitting = [
        (step, taps)
        for step, taps in itertools.product((1, 2), range(1, 6))
        if 2 * padding < 1 + (taps - 1) * step <= 2 * padding + stride
    ]
    return size, stride, padding, *fitting[choice % len(fitting)]


def _sigma(matrix: np.ndarray) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False)[0])


def _allowance(layer: Layer, *sides: float) -> float:
    """Rounding of singular values, and of sums of taps that meet on one pixel and may cancel."""
    return ROUNDING * sum(sides) + 2.0**-48 * float(np.abs(layer.wide).sum())


def _reshaped(layer: Layer) -> float:
    """The norm of the kernel as an out x rest matrix, which is no bound of the operator's."""
    return _sigma(layer.wide.reshape(len(layer.after), -1))


def _image_grid(layer: Layer) -> float:
    """The symbol on the grid of the image, its stride ignored."""
    return torus_norm(_tensor(layer.wide), (1,) * len(layer.size), layer.dilation, layer.size)


def _first_phase(layer: Layer, grid: tuple[int, ...]) -> float:
    """The symbol of the taps whose offset the stride divides, the other phases forgotten."""
    kept = layer.wide
    for axis, (step, stride) in enumerate(zip(layer.dilation, layer.stride, strict=True)):
        for tap in range(layer.taps[axis]):
            if tap * step % stride:
                kept[(slice(None),) * (2 + axis) + (tap,)] = 0.0
    return torus_norm(_tensor(kept), layer.stride, layer.dilation, grid)


def _theory_grid(layer: Layer, reach: tuple[int, ...]) -> tuple[int, ...]:
    """L7.1: n + min(pad, k-1), and with a stride ⌈(n+pad)/s⌉ + ⌈k/s⌉ - 1."""
    axes = zip(layer.size, layer.padding, layer.stride, reach, strict=True)
    return tuple(
        n + min(pad, k - 1) if stride == 1 else -(-(n + pad) // stride) + -(-k // stride) - 1
        for n, pad, stride, k in axes
    )


@inequality(
    "L7.1-zeros",
    r"\|\mathrm{op}(K)\|_2\le\max_\omega\|\hat K(\omega)\|_2\quad\text{(zero padding, smallest sufficient grid)}",
    source="theory §7; own derivation",
    given={"layer": st.one_of(far_taps(), strided("zeros"), layers(decades=2))},
    mutants={
        "the grid of the image": {"instead": "image"},
        "the reshaped kernel": {"instead": "reshaped"},
        "the first phase of the stride only": {"instead": "phase"},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def zero_padded(layer: Layer, instead: str = "", factor: float = 1.0) -> tuple[Any, Any]:
    """σ_1 of the matrix against the package's symbol bound; attained by kernels with one tap.

    Loose where the border matters: the torus is larger than the image.
    """
    if instead == "image":
        upper = _image_grid(layer)
    elif instead == "reshaped":
        upper = _reshaped(layer)
    elif instead == "phase":
        upper = _first_phase(layer, _theory_grid(layer, layer.reach))
    else:
        upper = deterministic_upper(layer.segment).value
    return _sigma(layer.matrix), factor * upper


@inequality(
    "L7.1-grid",
    r"\|\mathrm{op}(K)\|_2\le\max_{\omega\in\mathrm{grid}}\|\hat K(\omega)\|_2,\quad"
    r"\mathrm{grid}=n+\min(\mathrm{pad},k_{\mathrm{eff}}-1),\ \text{stride }s:\ "
    r"\lceil(n+\mathrm{pad})/s\rceil+\lceil k_{\mathrm{eff}}/s\rceil-1",
    source="theory §7; own derivation",
    given={"layer": st.one_of(far_taps(), strided("zeros"), layers(plain=True))},
    mutants={
        "n alone": {"grid": "n"},
        "k instead of the reach": {"grid": "taps"},
        "the first phase of the stride only": {"phases": False},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def written_grid(layer: Layer, grid: str = "reach", phases: bool = True) -> tuple[Any, Any]:
    """σ_1 of the matrix against the symbol on the grid that the theory writes down; attained by one tap."""
    if grid == "n":
        chosen = tuple(-(-n // stride) for n, stride in zip(layer.size, layer.stride, strict=True))
    else:
        chosen = _theory_grid(layer, layer.taps if grid == "taps" else layer.reach)
    if not phases:
        return _sigma(layer.matrix), outwards(_first_phase(layer, chosen))
    return _sigma(layer.matrix), outwards(torus_norm(_tensor(layer.wide), layer.stride, layer.dilation, chosen))


@inequality(
    "L7.1-circular",
    r"\|\mathrm{op}(K)\|_2=\max_\omega\bigl\|[\hat K(\omega_1)\ldots\hat K(\omega_{s^2})]/s\bigr\|_2"
    r"\quad\text{(circular, }s\mid n,\ n/s\text{ outputs)}",
    source="theory §7; own derivation",
    given={"layer": st.one_of(strided("circular"), whole_tori(), whole_tori())},
    mutants={
        "the stride ignored": {"instead": "image"},
        "the reshaped kernel": {"instead": "reshaped"},
        "the first phase of the stride only": {"instead": "phase"},
        "whatever the number of outputs": {"whole": False},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def whole_torus(layer: Layer, instead: str = "", whole: bool = True) -> tuple[Any, ...]:
    """The package's symbol bound is exact here: taps may wrap and meet, the outputs go round once."""
    coarse = tuple(n // stride for n, stride in zip(layer.size, layer.stride, strict=True))
    fits = all(n % stride == 0 for n, stride in zip(layer.size, layer.stride, strict=True))
    assume(not whole or (fits and layer.outputs == coarse))
    kernel = layer.segment.kernel
    assert kernel is not None
    true = _sigma(layer.matrix)
    if instead == "image":
        norm = _image_grid(layer)
    elif instead == "reshaped":
        norm = _reshaped(layer)
    else:
        norm = _first_phase(layer, coarse) if instead == "phase" else kernel_upper(kernel)
    return true, norm, _allowance(layer, true, norm) + symbol_rounding(kernel.weight, kernel.dilation)


@inequality(
    "L7.1-torus",
    r"\|\mathrm{op}(K)\|_2\le\sqrt{m}\,\max_\omega\|\hat K(\omega)\|_2"
    r"\quad\text{(circular; the outputs go round }m\text{ times)}",
    source="theory §7; own derivation",
    given={"layer": layers(("circular",), decades=1)},
    mutants={
        "once round, whatever the outputs": {"instead": "once"},
        "the reshaped kernel": {"instead": "reshaped"},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    recheck=False,
)
def any_torus(layer: Layer, instead: str = "", factor: float = 1.0) -> tuple[Any, ...]:
    """Circular padding of any width: a torus read more than once repeats rows; attained by whole tori."""
    if instead == "once":
        fine = tuple(stride if n % stride == 0 else 1 for n, stride in zip(layer.size, layer.stride, strict=True))
        coarse = tuple(n // stride for n, stride in zip(layer.size, fine, strict=True))
        upper = outwards(torus_norm(_tensor(layer.wide), fine, layer.dilation, coarse))
    elif instead == "reshaped":
        upper = _reshaped(layer)
    else:
        upper = deterministic_upper(layer.segment).value
    true = _sigma(layer.matrix)
    return true, factor * upper, _allowance(layer, true, upper)


@inequality(
    "L7.1-padding",
    r"\|\mathrm{op}(K)\|_2\le\|\mathrm{pad}\|_2\cdot\|\mathrm{op}_0(K)\|_2"
    r"\quad\text{(reflect or replicate padding, then a convolution without padding)}",
    source="theory §7; own derivation",
    given={"layer": layers(("replicate", "replicate", "reflect"), decades=1)},
    mutants={
        "the padding's norm dropped": {"padding": 0},
        "a pixel copied once at most": {"padding": 1},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def padded_by_copies(layer: Layer, padding: int = 2, factor: float = 1.0) -> tuple[Any, Any]:
    """The product over the operations; attained by kernels with one tap, which scale the padded image."""
    operations = layer.segment.operations
    upper = deterministic_upper(layer.segment).value
    if padding < 2:
        copying = [Segment("pad", (operation,)) for operation in operations if isinstance(operation, operators.Pad)]
        upper /= math.prod(deterministic_upper(segment).value for segment in copying)
        upper *= math.sqrt(2.0) ** sum(pad > 0 for pad in layer.padding) if padding else 1.0
    return _sigma(layer.matrix), factor * upper


@inequality(
    "L7.1-product",
    r"\|AW\|_2\le\|A\|_2\|W\|_2\quad\text{(a convolution, then a dense matrix, in one segment)}",
    source="theory §7; own derivation",
    given={"layer": layers(plain=True), "weight": matrices(2, 5), "along": st.booleans()},
    mutants={"the convolution dropped": {"drop": "conv"}, "the matrix dropped": {"drop": "matrix"}},
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def composed(layer: Layer, weight: np.ndarray, along: bool, drop: str = "") -> tuple[Any, Any]:
    """One segment of two operations; attained where the matrix reads the direction that the convolution stretches."""
    dense = layer.matrix
    units = len(dense)
    A = np.resize(weight, (2, units))
    if along:
        A = np.outer(weight[:, 0], np.linalg.svd(dense)[0][:, 0])
    operations = layer.segment.operations
    flat = operators.Reshape(operations[-1].out_shape, (units,))
    whole = Segment("layer+fc", (*operations, flat, operators.Linear((units,), _tensor(A))))
    upper = deterministic_upper(whole).value
    if drop == "conv":
        upper = deterministic_upper(Segment("fc", whole.operations[-1:])).value
    elif drop == "matrix":
        upper = deterministic_upper(layer.segment).value
    return _sigma(A @ dense), upper


@inequality(
    "L7.1-pooling",
    r"\|A\|_2\le\sqrt{\max_r\textstyle\sum_c A_{rc}\cdot\max_c\sum_r A_{rc}}"
    r"\quad\text{(entries }\ge0\text{: average pooling)}",
    source="theory §7; Schur's test",
    given={
        "n": st.integers(1, 9),
        "size": st.integers(1, 4),
        "stride": st.integers(1, 4),
        "padding": st.integers(0, 2),
        "ceil": st.booleans(),
        "count": st.booleans(),
        "scale": positive(),
    },
    mutants={
        "the norm of one window": {"instead": "window"},
        "columns forgotten, overlapping or not": {"instead": "rows"},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def pooled(
    n: int,
    size: int,
    stride: int,
    padding: int,
    ceil: bool,
    count: bool,
    scale: float,
    instead: str = "",
    factor: float = 1.0,
) -> tuple[Any, Any]:
    """Averages of scaled pixels, the matrix written out window by window; attained by disjoint or single windows."""
    assume(scale > 0 and 2 * padding <= size <= n + 2 * padding)
    windows = _window_starts(n, size, stride, padding, 1, ceil)
    A = np.zeros((len(windows), n))
    for row, start in enumerate(windows):
        inside = [pixel for pixel in range(start, start + size) if 0 <= pixel < n]
        counted = min(start + size, n + padding) - start if count else len(inside)
        A[row, inside] = scale / counted
    pool = operators.AveragePool((1, n), (size,), (stride,), (padding,), ceil, count)
    grow = operators.Scale((1, n), torch.full((1, 1), scale, dtype=torch.float64))
    if instead == "window":
        upper = float(np.linalg.norm(A, axis=1).max())
    elif instead == "rows":
        upper = scale / math.sqrt(size)
    else:
        upper = deterministic_upper(Segment("pool", (grow, pool))).value
    return _sigma(A), factor * upper


@inequality(
    "L7.1-transposed",
    r"\|\mathrm{op}(K)^\top\|_2\le\max_\omega\|\hat K(\omega)\|_2\quad\text{(transposed convolution)}",
    source="theory §7; own derivation",
    given={"layer": st.one_of(far_taps(), layers(plain=True, decades=1))},
    mutants={"the grid of the image": {"instead": "image"}, "the reshaped kernel": {"instead": "reshaped"}},
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def transposed(layer: Layer, instead: str = "") -> tuple[Any, Any]:
    """The transpose of the matrix, as torch's transposed convolution; attained by one tap."""
    axes = zip(layer.size, layer.padding, layer.reach, layer.stride, strict=True)
    unread = tuple((n + 2 * pad - reach) % stride for n, pad, reach, stride in axes)
    assume(all(rest < max(s, d) for rest, s, d in zip(unread, layer.stride, layer.dilation, strict=True)))
    operation = operators.TransposedConvolution(
        (len(layer.after), *layer.outputs),
        _tensor(layer.kernel),
        layer.stride,
        layer.padding,
        unread,
        layer.dilation,
        layer.groups,
    )
    if instead:
        return _sigma(layer.matrix.T), _image_grid(layer) if instead == "image" else _reshaped(layer)
    return _sigma(layer.matrix.T), deterministic_upper(Segment("transposed", (operation,))).value


def _decided(layer: Layer, true: float) -> bool:
    """False where wrapped taps cancel to 1 % or less: float64 then knows their sum to less than the package's 1e-12."""
    return layer.mode != "circular" or true >= 0.01 * float(np.abs(layer.wide).max())


EVERY_MODE = ("zeros", "circular", "replicate", "reflect")


@inequality(
    "L7.1-lower",
    r"\|W v\|_2/\|v\|_2\le\|W\|_2\quad\text{(lower end, }v\text{ by Lanczos)}",
    source="theory §7",
    given={"layer": layers(EVERY_MODE, decades=2), "seed": st.integers(0, 9)},
    mutants={"a thousandth too large": {"factor": 1.001}, "its square": {"power": 2}},
    attained=True,
    examples=120,
    recheck=False,
    rounding=ROUNDING,
)
def from_below(layer: Layer, seed: int, factor: float = 1.0, power: int = 1) -> tuple[Any, Any]:
    """The lower end of the matrix-free path, whose vector attains it; Lanczos reaches σ_1 on small layers."""
    true = _sigma(layer.matrix)
    assume(_decided(layer, true))
    measured = spectral_norm._matrix_free(layer.segment, seed, 1e-12)
    return factor * measured.lower.value**power, true


def _two_power_steps(W: np.ndarray, seed: int) -> float:
    v: Any = np.random.default_rng(seed).normal(size=W.shape[1])
    for _ in range(2):
        v = W.T @ (W @ v)
        v = v / (float(np.linalg.norm(v)) or 1.0)
    return float(np.linalg.norm(W @ v))


@inequality(
    "L7.1-upper",
    r"\|W\|_2\le\min(\text{symbol or product},\ \sqrt{\theta_k/(1-\varepsilon)})\quad\text{(upper end)}",
    source="theory §7; own derivation",
    given={"layer": layers(EVERY_MODE, decades=2), "seed": st.integers(0, 9)},
    mutants={
        "two steps of power iteration": {"instead": "power"},
        "the reshaped kernel": {"instead": "reshaped"},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    examples=120,
    recheck=False,
    rounding=ROUNDING,
)
def from_above(layer: Layer, seed: int, instead: str = "", factor: float = 1.0) -> tuple[Any, Any]:
    """The upper end of the matrix-free path, wrong with probability 1e-12 for each seed; tight on small layers."""
    W = layer.matrix
    true = _sigma(W)
    assume(_decided(layer, true))
    if instead == "power":
        upper = _two_power_steps(W, seed)
    elif instead == "reshaped":
        upper = _reshaped(layer)
    else:
        upper = spectral_norm._matrix_free(layer.segment, seed, 1e-12).upper.value
    return true, factor * upper


def _window_starts(n: int, size: int, stride: int, padding: int, dilation: int, ceil: bool) -> list[int]:
    """First position of every pooling window; the last one of ceil mode must begin inside the image or before it."""
    reach = 1 + (size - 1) * dilation
    starts = range(-padding, n + padding - reach + 1, stride)
    if not ceil or (n + 2 * padding - reach) % stride == 0:
        return list(starts)
    extra = -padding + len(starts) * stride
    return [*starts, extra] if extra < n else list(starts)


@inequality(
    "L7.2-one-product",
    r"\Pr[\lambda_1\ge\theta_1/(1-\varepsilon)]\le\sqrt{2N/\pi}/\cosh(\operatorname{artanh}\sqrt\varepsilon)"
    r"\quad(\lambda=(1,\mu,\ldots,\mu))",
    source="theory §7; own derivation, after Kuczyński & Woźniakowski 1992",
    given={
        "N": st.sampled_from([2, 3, 10, 300, 3000]),
        "mu": st.floats(0, 1, exclude_max=True),
        "rest": st.one_of(st.floats(1e-6, 1), scales(4).filter(lambda rest: rest <= 1)),
    },
    mutants={
        "three per cent too small": {"factor": 0.97},
        "no root of N": {"root": False},
        "2k instead of 2k-1": {"degree": 2},
        "the constant of 1/2 for 2/pi": {"squared": 0.5},
    },
    attained=True,
    recheck=False,
)
def one_product(
    N: int,
    mu: float,
    rest: float,
    factor: float = 1.0,
    root: bool = True,
    degree: int = 1,
    squared: float = 2 / math.pi,
) -> tuple[Any, Any]:
    """k = 1: θ_1 = μ + (1-μ)c², c² Beta(1/2, (N-1)/2); ε = 1 - rest. Attained for N → ∞, μ = 0, rest → 0.

    The share of N = 2 is (2/π)arcsin√rest. Loose by √(π/2N)·Γ(N/2)/Γ((N-1)/2)·√2 for small N.
    """
    assume(0 <= mu < 1 and 0 < rest <= 1)
    beyond = max(0.0, (rest - mu) / (1 - mu))
    failing = float(special.betainc(0.5, (N - 1) / 2, beyond))
    angle = math.atanh(math.sqrt(1 - rest)) if rest < 1 else 0.0
    return failing, factor * math.sqrt(squared * (N if root else 1)) / math.cosh(degree * angle)


@inequality(
    "L7.2-promise",
    r"\Pr[\text{upper end}<\lambda_1]\le p\quad(k=1,\ \lambda=(1,\mu,\ldots,\mu),\ r\text{ runs})",
    source="theory §7; own derivation",
    given={
        "N": st.sampled_from([2, 3, 10, 300, 3000]),
        "mu": st.floats(0, 0.99),
        "failure": st.one_of(st.sampled_from([0.5, 0.1, 1e-3]), st.floats(1e-6, 0.9)),
        "runs": st.integers(1, 2),
    },
    mutants={
        "the dimension forgotten": {"dimension": 1},
        "three per cent more than promised": {"factor": 0.97},
        "every run fails like a single one": {"power": True},
    },
    attained=True,
    examples=60,
    recheck=False,
)
def promise(
    N: int, mu: float, failure: float, runs: int, dimension: int | None = None, factor: float = 1.0, power: bool = False
) -> tuple[Any, Any]:
    """The package's bound from the tridiagonal matrix of starts with |<b, v_1>| = c; it fails where c < τ.

    It fails for all c below one that bisection finds; the probability is exact: c² is Beta(1/2, (N-1)/2), and
    all runs must miss. Attained for N → ∞ and small p^(1/r).
    """
    assume(0 <= mu < 1 and 1e-9 <= failure < 1)

    def fails(c: float) -> bool:
        alpha, beta = mu + (1 - mu) * c * c, (1 - mu) * c * math.sqrt(1 - c * c)
        krylov = Krylov(torch.empty(0), torch.full((runs, 1), alpha).double(), torch.full((runs, 1), beta).double())
        return largest_eigenvalue_upper(krylov, dimension or N, failure) < 1.0

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if fails(middle) else (low, middle)
    one = float(special.betainc(0.5, (N - 1) / 2, low * low))
    return one**runs, factor * failure ** (runs if power else 1)


@st.composite
def _levels(draw: DrawFn) -> dict[str, Any]:
    """k levels in [0, 1) with multiplicities: the worst ones, t = sin²(jπ/(2k-1)) with weights 1, 2, 2, ..., or any."""
    k = draw(st.integers(1, 4))
    worst = draw(st.booleans())
    if worst:
        levels, counts = np.sin(np.arange(k) * math.pi / (2 * k - 1)) ** 2, (1,) + (2,) * (k - 1)
    else:
        levels = (np.arange(k) + draw(vectors(k, 0.45)) + 0.5) / (k + 1)
        counts = tuple(draw(st.integers(1, 3)) for _ in range(k))
    times = draw(st.sampled_from([1000, 30, 3, 1]))
    return {"levels": levels, "counts": tuple(times * count for count in counts)}


@inequality(
    "L7.2-worst-case",
    r"\Pr[\lambda_1\ge\theta_k/(1-\varepsilon)]\le\sqrt{2N/\pi}/\cosh((2k-1)\operatorname{artanh}\sqrt\varepsilon)",
    source="theory §7; own derivation, sharpens Kuczyński & Woźniakowski 1992",
    given={
        "spectrum": _levels(),
        "bound": st.one_of(st.sampled_from([0.2, 0.1, 0.5]), st.floats(0.05, 0.95)),
        "seed": st.integers(0, 9),
    },
    mutants={
        "three per cent too small": {"factor": 0.97},
        "no root of N": {"root": False},
        "2k instead of 2k-1": {"more": 1},
        "2k+1 instead of 2k-1": {"more": 2},
    },
    attained=True,
    examples=60,
    recheck=False,
)
def worst_case(
    spectrum: dict[str, Any], bound: float, seed: int, factor: float = 1.0, root: bool = True, more: int = 0
) -> tuple[Any, Any]:
    """λ_1 = 1 above k levels (1-ε)t_j: what Lanczos misses is exact given the masses w_j of the levels in the start.

    θ_k ≤ 1-ε iff c² ≤ 1/(1+εK), K = Σ_j l_j(1)²/(w_j(1-ε-x_j)) with Lagrange's polynomials l_j of the levels x_j.
    The mean over w is simulated; left is its lower confidence limit (Maurer & Pontil 2009, error 1e-9). ε is the
    one at which the right side is `bound`. Attained by Chebyshev's levels and weights for N → ∞ and a small bound.
    """
    t, counts = spectrum["levels"], np.array(spectrum["counts"])
    k, N, draws = len(t), 1 + int(counts.sum()), 100_000
    ordered = np.sort(t)
    assume(0 < bound < 1 and ordered[0] >= 0 and ordered[-1] < 0.999 and (k == 1 or np.diff(ordered).min() > 1e-3))
    angle = math.acosh(math.sqrt(2 * N / math.pi) / bound) / (2 * k - 1)
    below = 1 / math.cosh(angle) ** 2  # 1-ε
    x = below * t
    lagrange = np.array([math.prod((1 - x[i]) / (x[j] - x[i]) for i in range(k) if i != j) for j in range(k)])
    masses = np.random.default_rng(seed).gamma(counts / 2, size=(draws, k))
    masses /= masses.sum(1, keepdims=True)
    K = (lagrange**2 / (below - x) / np.maximum(masses, 1e-300)).sum(1)
    missed = special.betainc(0.5, (N - 1) / 2, 1 / (1 + math.tanh(angle) ** 2 * K))
    doubt = math.log(2e9)
    variation = math.sqrt(2 * float(missed.var(ddof=1)) * doubt / draws) + 7 * doubt / (3 * (draws - 1))
    formula = math.sqrt(2 * (N if root else 1) / math.pi) / math.cosh((2 * k - 1 + more) * angle)
    return max(0.0, float(missed.mean()) - variation), factor * formula


@inequality(
    "L7.2-frequency",
    r"\Pr[\text{upper end}<\lambda_1]\le p\quad(k\text{ steps on any spectrum})",
    source="theory §7; own derivation",
    given={
        "spectrum": _levels(),
        "failure": st.sampled_from([0.5, 0.3]),
        "gap": positive(1.0),
        "seed": st.integers(0, 9),
    },
    mutants={"the dimension forgotten": {"dimension": 1}, "a tenth of what was promised": {"factor": 0.1}},
    examples=20,
    recheck=False,
)
def frequency(
    spectrum: dict[str, Any], failure: float, gap: float, seed: int, dimension: int | None = None, factor: float = 1.0
) -> tuple[Any, Any]:
    """The package's Lanczos and bound on many starts; left is the lower Clopper-Pearson limit (error 1e-9).

    Loose by this limit, and because levels other than Chebyshev's mislead less often.
    """
    assume(0 < gap <= 1 and 0 < failure < 1)
    counts = np.minimum(spectrum["counts"], 10)
    diagonal = _tensor(np.concatenate([[1.0], np.repeat((1 - gap) * np.clip(spectrum["levels"], 0, 1), counts)]))
    N, starts = len(diagonal), 150
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(starts, N, generator=generator, dtype=torch.float64)
    *_, last = lanczos(lambda v: v * diagonal, start, len(spectrum["counts"]), generator)
    runs = (Krylov(last.basis[i : i + 1], last.alpha[i : i + 1], last.beta[i : i + 1]) for i in range(starts))
    missed = sum(largest_eigenvalue_upper(run, dimension or N, failure) < 1.0 for run in runs)
    return float(stats.beta.ppf(1e-9, missed, starts - missed + 1)) if missed else 0.0, factor * failure


@inequality(
    "L7.2-end",
    r"\lambda_1(W^\top W)\le\theta_k/(1-\varepsilon)\quad\text{with probability }1-10^{-12}",
    source="theory §7; own derivation",
    given={"W": matrices((1, 6), (1, 6), 3), "steps": st.integers(1, 6), "seed": st.integers(0, 9)},
    mutants={
        "the Ritz value itself": {"instead": "ritz"},
        "a failure that is certain": {"failure": 0.9999},
        "the trace over N": {"instead": "mean"},
    },
    attained=True,
    recheck=False,
    rounding=2.0**-42,
)
def eigenvalue_from_above(
    W: np.ndarray, steps: int, seed: int, instead: str = "", failure: float = 1e-12
) -> tuple[Any, Any]:
    """Two Gaussian starts, wrong with probability 1e-12 per seed; attained once the Krylov space is exhausted."""
    gram = W.T @ W
    true = float(np.linalg.eigvalsh(gram)[-1])
    assume(true > 0)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(2, len(gram), generator=generator, dtype=torch.float64)
    *_, last = lanczos(lambda v: v @ _tensor(gram), start, steps, generator)
    if instead == "ritz":
        return true, float(torch.linalg.eigvalsh(last.tridiagonal())[:, -1].max())
    if instead == "mean":
        return true, float(np.trace(gram)) / len(gram)
    return true, largest_eigenvalue_upper(last, len(gram), failure)


@st.composite
def pools(draw: DrawFn) -> dict[str, Any]:
    """Max-pools of one channel in one or two axes, as torch admits them: padding at most half the window."""
    axes = draw(st.sampled_from([1, 1, 2]))
    largest = 9 if axes == 1 else 5
    drawn = draw(
        st.tuples(*[st.tuples(st.integers(1, 9), *[st.integers(1, 3)] * 2, st.integers(0, 1), st.integers(1, 2))] * 2)
    )
    axis = [(min(n, largest), size, stride, min(padding, size // 2), step) for n, size, stride, padding, step in drawn]
    names = ("size", "window", "stride", "padding", "dilation")
    geometry = dict(zip(names, (tuple(column) for column in zip(*axis[:axes], strict=True)), strict=True))
    return {**geometry, "ceil": draw(st.booleans())}


def _windows(pool: dict[str, Any]) -> list[list[tuple[int, ...]]]:
    """The pixels of every window, written out."""
    axes = []
    # A dilated window may hold padding only: its maximum is -inf.
    for n, size, stride, padding, step in zip(*(pool[name] for name in list(pool)[:5]), strict=True):
        starts = _window_starts(n, size, stride, padding, step, pool["ceil"])
        axes.append([[start + tap * step for tap in range(size) if 0 <= start + tap * step < n] for start in starts])
    assume(all(window for windows in axes for window in windows))
    return [list(itertools.product(*window)) for window in itertools.product(*axes)]


def _pool(pool: dict[str, Any]) -> MaxPool:
    reaches = (1 + (size - 1) * step for size, step in zip(pool["window"], pool["dilation"], strict=True))
    axes = zip(pool["size"], pool["padding"], reaches, strict=True)
    assume(all(n + 2 * padding >= reach for n, padding, reach in axes))
    shape = (1, *pool["size"])
    return MaxPool(shape, pool["window"], pool["stride"], pool["padding"], pool["dilation"], pool["ceil"])


@inequality(
    "L7.3-overlap",
    r"\max_z\frac{\|\mathrm{pool}(z+h)-\mathrm{pool}(z)\|_2}{\|h\|_2}=\sqrt{\max_j\#\{w: j\in w\}}",
    source="theory §7; own derivation",
    given={"pool": pools()},
    mutants={"overlap ignored": {"instead": "one"}, "whole strides in a window": {"instead": "strides"}},
    relation="==",
    attained=True,
    recheck=False,
)
def overlap(pool: dict[str, Any], instead: str = "") -> tuple[Any, Any]:
    """The package's constant against the windows written out; torch's pool attains it by a peak on the busiest one."""
    layer, shape = _pool(pool), pool["size"]
    count = np.zeros(shape)
    for pixel in itertools.chain.from_iterable(_windows(pool)):
        count[pixel] += 1
    peak = torch.zeros(1, 1, *shape, dtype=torch.float64)
    peak.view(-1)[int(count.argmax())] = 1.0
    moved = float((layer(peak) - layer(torch.zeros_like(peak))).norm())
    assert moved == math.sqrt(count.max())
    constant = max_pool_lipschitz(layer).value
    if instead:
        whole = math.prod(max(1, size // stride) for size, stride in zip(pool["window"], pool["stride"], strict=True))
        constant = math.sqrt(whole) if instead == "strides" else 1.0
    return moved, constant


@inequality(
    "L7.3-lipschitz",
    r"\|\mathrm{pool}(z+h)-\mathrm{pool}(z)\|_2\le\sqrt{\max_j\#\{w: j\in w\}}\,\|h\|_2",
    source="theory §7; own derivation",
    given={"pool": pools(), "z": vectors(25), "h": vectors(25), "unit": st.integers(-1, 24)},
    mutants={
        "overlap ignored": {"instead": "one"},
        "three per cent too small": {"factor": 0.97},
        "the fourth root": {"instead": "fourth"},
    },
    attained=True,
    recheck=False,
)
def max_pool_moves(
    pool: dict[str, Any], z: np.ndarray, h: np.ndarray, unit: int, instead: str = "", factor: float = 1.0
) -> tuple[Any, Any]:
    """The maxima over the windows written out; attained by a step (unit >= 0: of one pixel) that raises the busiest."""
    constant = max_pool_lipschitz(_pool(pool)).value
    size = math.prod(pool["size"])
    before, step = z[:size].reshape(pool["size"]), h[:size].copy()
    if unit >= 0:
        step[np.arange(size) != unit % size] = 0.0
        before = 0 * before
    after = before + step.reshape(pool["size"])
    windows = _windows(pool)
    moved = [max(after[pixel] for pixel in w) - max(before[pixel] for pixel in w) for w in windows]
    constant = {"one": 1.0, "fourth": math.sqrt(constant)}.get(instead, constant)
    return reals.norm(moved, 2), factor * constant * reals.norm(step, 2)


@inequality(
    "L7.4-spectral",
    r"\|\mathrm{op}(K)\|_2\le\sqrt{k_{\mathrm{pos}}}\,\|K\|_F",
    source="theory §7; own derivation",
    given={"layer": layers(EVERY_MODE, decades=2)},
    mutants={
        "kernel positions dropped": {"instead": "dropped"},
        "a torus that is wrapped": {"instead": "wrapped"},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def kernel_to_spectral(layer: Layer, instead: str = "", factor: float = 1.0) -> tuple[Any, Any]:
    """The package's k_pos and ‖K‖_F against the matrix; attained by one tap of rank one, or equal taps on a torus.

    Where taps wrap or padding copies, the package takes the segment for a dense matrix: k_pos = 1, ‖op‖_F.
    """
    segment = layer.segment
    upper = math.sqrt(facts.layer(segment).kernel_positions) * layer_norms(segment).parameter_distance.value
    if instead:
        upper = float(np.linalg.norm(layer.wide)) * (math.sqrt(math.prod(layer.taps)) if instead == "wrapped" else 1.0)
        if instead == "dropped":
            assume(layer.injective)
    return _sigma(layer.matrix), factor * upper


@inequality(
    "L7.4-frobenius",
    r"\|\mathrm{op}(K)\|_F\le\sqrt{P_{\mathrm{out}}}\,\|K\|_F",
    source="theory §7; own derivation",
    given={"layer": layers(("zeros", "zeros", *EVERY_MODE), decades=2)},
    mutants={
        "kernel positions for output positions": {"instead": "taps"},
        "output positions dropped": {"instead": "dropped"},
        "two per cent too small": {"factor": 0.98},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def kernel_to_frobenius(layer: Layer, instead: str = "", factor: float = 1.0) -> tuple[Any, Any]:
    """The package's P_out and ‖K‖_F against the matrix; attained without padding, where every tap meets a pixel."""
    segment = layer.segment
    counts, distance = facts.layer(segment), layer_norms(segment).parameter_distance.value
    positions = {"taps": counts.kernel_positions, "dropped": 1}.get(instead, counts.output_positions)
    return float(np.linalg.norm(layer.matrix)), factor * math.sqrt(positions) * distance


@inequality(
    "L5.5-conv-offset",
    r"\|c_{\mathrm{op}}\|_2=\sqrt{P_{\mathrm{out}}}\,\|c\|_2",
    source="theory §0; own derivation",
    given={"layer": layers(EVERY_MODE), "c": vectors(4).map(_sizeable)},
    mutants={"positions dropped": {"positions": "one"}, "input positions": {"positions": "inputs"}},
    relation="==",
    attained=True,
    recheck=False,
)
def offset_in_operator_units(layer: Layer, c: np.ndarray, positions: str = "outputs") -> tuple[Any, Any]:
    """The package's ‖c‖ of a convolution with one bias per channel, read off the segment at z = 0."""
    per_channel = c[: len(layer.after)]
    count = {"one": 1, "inputs": math.prod(layer.size)}.get(positions, math.prod(layer.outputs))
    return layer_norms(_biased(layer, per_channel)).offset.value, math.sqrt(count) * reals.norm(per_channel, 2)


def _biased(layer: Layer, per_channel: np.ndarray) -> Segment:
    segment = layer.segment
    offset = _tensor(per_channel).reshape(-1, *(1,) * len(layer.size)).expand(segment.out_shape)
    return Segment("layer", (*segment.operations, operators.Shift(segment.out_shape, offset)))


@inequality(
    "measure-layer-norms",
    r"(\|W\|_F,\ \textstyle\sum_r\|[W-M,c-c_M]_r\|_2,\ g,\ \max_r\|W_r\|_1,\ \max_r(\|W_r\|_1+|c_r|),\ \|c\|_2,\ "
    r"\|\theta-\theta^0\|_2)\ \text{without a matrix}=\text{on the matrix}",
    source="theory §0, L5.1; definitions",
    given={
        "layer": layers(EVERY_MODE, decades=2),
        "start": NUMBERS,
        "c": vectors(8).map(_sizeable),
        "which": st.sampled_from(
            ["frobenius", "two_one", "kernel_group", "row_sum", "biased_row_sum", "offset", "parameter_distance"]
        ),
    },
    mutants={
        "columns for rows": {"transpose": True},
        "the reference forgotten": {"reference": False},
        "the kernel's own norm": {"kernel": True},
    },
    relation="==",
    attained=True,
    recheck=False,
)
def layer_norms_on_the_matrix(
    layer: Layer,
    start: tuple[float, ...],
    c: np.ndarray,
    which: str,
    transpose: bool = False,
    reference: bool = True,
    kernel: bool = False,
) -> tuple[Any, Any, Any]:
    """Each field of the package's LayerNorms of (W, c) relative to (M, c_M), against the matrices written out."""
    scale = float(np.abs(layer.kernel).max()) or 1.0
    at_start = replace(layer, kernel=scale * _kernel("plain", start, layer.kernel.shape))
    channels = len(layer.after)
    biased, biased_start = _biased(layer, c[:channels]), _biased(at_start, c[4 : 4 + channels])
    found = getattr(layer_norms(biased, biased_start), which).value
    positions = math.prod(layer.outputs)
    W, moved = layer.matrix, layer.matrix - (at_start.matrix if reference else 0)
    offset, shift = np.repeat(c[:channels], positions), np.repeat(c[:channels] - c[4 : 4 + channels], positions)
    difference = layer.wide - (at_start.wide if reference else 0)
    if transpose:
        assume(which == "row_sum")
        W = W.T
    if kernel:
        assume(which == "frobenius")
        W = layer.wide
    # Where the package's criterion of a wrapped torus is the stricter one it falls back on the matrix.
    convolution = biased.kernel is not None and biased.kernel.injective
    assume(layer.injective or not convolution)
    rows = float(np.linalg.norm(np.column_stack([moved, shift]), axis=1).sum())
    group = float(np.linalg.norm(difference, axis=1).sum()) + math.sqrt(positions) * np.abs(shift[::positions]).sum()
    parameters = math.hypot(np.linalg.norm(difference if convolution else moved), np.linalg.norm(shift))
    oracle = {
        "frobenius": lambda: np.linalg.norm(W),
        "two_one": lambda: rows,
        "kernel_group": lambda: group if convolution else rows,
        "row_sum": lambda: np.abs(W).sum(1).max(),
        "biased_row_sum": lambda: (np.abs(W).sum(1) + np.abs(offset)).max(),
        "offset": lambda: np.linalg.norm(offset),
        "parameter_distance": lambda: parameters,
    }[which]()
    return found, float(oracle), _allowance(layer, found, float(oracle)) + _allowance(at_start)
