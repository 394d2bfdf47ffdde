r"""Spectral norms of convolutions: symbols on a torus against the matrix written out one tap at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bounds.measure import spectral_norm
from bounds.measure.deterministic_norm import deterministic_upper, kernel_upper
from bounds.measure.fourier import outwards, symbol_rounding, torus_norm
from bounds.network import operators
from bounds.network.segment import Segment
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies.layers import (
    EVERY_MODE,
    ROUNDING,
    Layer,
    far_taps,
    layers,
    rounded,
    sigma,
    strided,
    tensor,
    whole_tori,
)


def _reshaped(layer: Layer) -> float:
    """The norm of the kernel as an out x rest matrix, which is no bound of the operator's."""
    return sigma(layer.wide.reshape(len(layer.after), -1))


def _image_grid(layer: Layer) -> float:
    """The symbol on the grid of the image, its stride ignored."""
    return torus_norm(tensor(layer.wide), (1,) * len(layer.size), layer.dilation, layer.size)


def _first_phase(layer: Layer, grid: tuple[int, ...]) -> float:
    """The symbol of the taps whose offset the stride divides, the other phases forgotten."""
    kept = layer.wide
    for axis, (step, stride) in enumerate(zip(layer.dilation, layer.stride, strict=True)):
        for tap in range(layer.taps[axis]):
            if tap * step % stride:
                kept[(slice(None),) * (2 + axis) + (tap,)] = 0.0
    return torus_norm(tensor(kept), layer.stride, layer.dilation, grid)


def _written_grid(layer: Layer, reach: tuple[int, ...]) -> tuple[int, ...]:
    """Per axis n + min(pad, k-1), and with a stride ⌈(n+pad)/s⌉ + ⌈k/s⌉ - 1."""
    axes = zip(layer.size, layer.padding, layer.stride, reach, strict=True)
    return tuple(
        n + min(pad, k - 1) if stride == 1 else -(-(n + pad) // stride) + -(-k // stride) - 1
        for n, pad, stride, k in axes
    )


@inequality(
    "L7.1-zeros",
    r"\|\mathrm{op}(K)\|_2\le\max_{\omega\in\mathrm{grid}}\|\hat K(\omega)\|_2,\quad\mathrm{grid}=n+\min(\mathrm{pad},"
    r"k_{\mathrm{eff}}-1),\ \text{stride }s:\ \lceil(n+\mathrm{pad})/s\rceil+\lceil k_{\mathrm{eff}}/s\rceil-1,"
    r"\ \text{and on the package's smaller grid (zero padding; }\hat K\text{: symbol, one block per phase)}",
    source="own derivation",
    given={"layer": st.one_of(far_taps(), strided("zeros"), layers(decades=2))},
    mutants={
        "n alone": {"instead": "image"},
        "k instead of the reach": {"instead": "taps"},
        "the reshaped kernel": {"instead": "reshaped"},
        "the first phase of the stride only": {"instead": "phase"},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def zero_padded(layer: Layer, instead: str = "", factor: float = 1.0) -> tuple[Any, Any]:
    """σ_1 of the matrix against the smaller of two symbol bounds: the package's, and on the grid as written.

    Attained by kernels with one tap. Loose where the border matters: the torus is larger than the image.
    """
    if instead == "image":
        upper = _image_grid(layer)
    elif instead == "reshaped":
        upper = _reshaped(layer)
    elif instead == "phase":
        upper = _first_phase(layer, _written_grid(layer, layer.reach))
    else:
        grid = _written_grid(layer, layer.taps if instead == "taps" else layer.reach)
        written = torus_norm(tensor(layer.wide), layer.stride, layer.dilation, grid)
        upper = written + symbol_rounding(tensor(layer.wide), layer.dilation)
        if not instead:
            upper = min(upper, deterministic_upper(layer.segment).value)
    return sigma(layer.matrix), factor * upper


@inequality(
    "L7.1-circular",
    r"\|\mathrm{op}(K)\|_2=\max_\omega\bigl\|[\hat K(\omega_1)\ldots\hat K(\omega_{s^2})]/s\bigr\|_2"
    r"\quad\text{(circular, }s\mid n,\ n/s\text{ outputs; }\hat K\text{: symbol, }\omega_i\text{: aliases of }\omega)",
    source="own derivation",
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
    true = sigma(layer.matrix)
    if instead == "image":
        norm = _image_grid(layer)
    elif instead == "reshaped":
        norm = _reshaped(layer)
    else:
        norm = _first_phase(layer, coarse) if instead == "phase" else kernel_upper(kernel)
    allowed = min(symbol_rounding(kernel.weight, kernel.dilation), 1e-12 * float(np.abs(layer.wide).sum()))
    return true, norm, rounded(layer, true, norm) + allowed


@inequality(
    "L7.1-torus",
    r"\|\mathrm{op}(K)\|_2\le\sqrt{m}\,\max_\omega\|\hat K(\omega)\|_2"
    r"\quad\text{(circular, }\hat K\text{ as if of stride 1 along axes where }s\nmid n;\ "
    r"m=\prod_{\mathrm{axes}}\lceil(s(o-1)+1)/n\rceil,\ o\text{ outputs: how often they go round)}",
    source="own derivation",
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
        upper = outwards(torus_norm(tensor(layer.wide), fine, layer.dilation, coarse))
    elif instead == "reshaped":
        upper = _reshaped(layer)
    else:
        upper = deterministic_upper(layer.segment).value
    true = sigma(layer.matrix)
    return true, factor * upper, rounded(layer, true, upper)


@inequality(
    "L7.1-padding",
    r"\|\mathrm{op}(K)\|_2\le\|\mathrm{pad}\|_2\cdot\|\mathrm{op}_0(K)\|_2"
    r"\quad\text{(reflect or replicate padding, then a convolution without padding)}",
    source="own derivation",
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
    return sigma(layer.matrix), factor * upper


@inequality(
    "L7.1-transposed",
    r"\|\mathrm{op}(K)^\top\|_2\le\max_\omega\|\hat K(\omega)\|_2\quad\text{(transposed convolution)}",
    source="own derivation",
    given={"layer": st.one_of(far_taps(), layers(plain=True, decades=1))},
    mutants={"the grid of the image": {"instead": "image"}, "the reshaped kernel": {"instead": "reshaped"}},
    attained=True,
    recheck=False,
    rounding=ROUNDING,
)
def transposed(layer: Layer, instead: str = "") -> tuple[Any, Any]:
    """The transpose of the matrix, as torch's transposed convolution without factors; attained by one tap."""
    layer = replace(layer, before=np.ones_like(layer.before), after=np.ones_like(layer.after))
    axes = zip(layer.size, layer.padding, layer.reach, layer.stride, strict=True)
    unread = tuple((n + 2 * pad - reach) % stride for n, pad, reach, stride in axes)
    assume(all(rest < max(s, d) for rest, s, d in zip(unread, layer.stride, layer.dilation, strict=True)))
    operation = operators.TransposedConvolution(
        (len(layer.after), *layer.outputs),
        tensor(layer.kernel),
        layer.stride,
        layer.padding,
        unread,
        layer.dilation,
        layer.groups,
    )
    if instead:
        return sigma(layer.matrix.T), _image_grid(layer) if instead == "image" else _reshaped(layer)
    return sigma(layer.matrix.T), deterministic_upper(Segment("transposed", (operation,))).value


@inequality(
    "L7.1-lower",
    r"\|W v\|_2/\|v\|_2\le\|W\|_2\quad\text{(lower end, }v\text{ by Lanczos)}",
    source="standard: Rayleigh quotient",
    given={"layer": layers(EVERY_MODE, decades=2), "seed": st.integers(0, 9)},
    mutants={"a thousandth too large": {"factor": 1.001}, "the symbol or product": {"instead": "upper"}},
    attained=True,
    examples=120,
    recheck=False,
)
def from_below(layer: Layer, seed: int, factor: float = 1.0, instead: str = "") -> tuple[Any, ...]:
    """The lower end of the matrix-free path, whose vector attains it; Lanczos reaches σ_1 on small layers."""
    true = sigma(layer.matrix)
    if instead:
        lower = deterministic_upper(layer.segment).value
    else:
        lower = spectral_norm._matrix_free(layer.segment, seed, 1e-12).lower.value
    return factor * lower, true, rounded(layer, true)


def _two_power_steps(W: np.ndarray, seed: int) -> float:
    v: Any = np.random.default_rng(seed).normal(size=W.shape[1])
    for _ in range(2):
        v = W.T @ (W @ v)
        v = v / (float(np.linalg.norm(v)) or 1.0)
    return float(np.linalg.norm(W @ v))


@inequality(
    "L7.1-upper",
    r"\|W\|_2\le\min(\text{symbol or product},\ \sqrt{\theta_k/(1-\varepsilon)})\quad\text{(upper end)}",
    source="own derivation",
    given={"layer": layers(EVERY_MODE, decades=2), "seed": st.integers(0, 9)},
    mutants={
        "two steps of power iteration": {"instead": "power"},
        "the reshaped kernel": {"instead": "reshaped"},
        "three per cent too small": {"factor": 0.97},
    },
    attained=True,
    examples=120,
    recheck=False,
)
def from_above(layer: Layer, seed: int, instead: str = "", factor: float = 1.0) -> tuple[Any, ...]:
    """The upper end of the matrix-free path, wrong with probability 1e-12 for each seed; tight on small layers."""
    W = layer.matrix
    true = sigma(W)
    if instead == "power":
        upper = _two_power_steps(W, seed)
    elif instead == "reshaped":
        upper = _reshaped(layer)
    else:
        upper = spectral_norm._matrix_free(layer.segment, seed, 1e-12).upper.value
    return true, factor * upper, rounded(layer, true)
