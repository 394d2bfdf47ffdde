"""Three plausible inequalities that are wrong. Attack them with `jacobound falsify docs/wrong_inequalities.py`."""

import itertools

import numpy as np
from hypothesis import strategies as st

from verification.inequalities import inequality, reals
from verification.inequalities.strategies import convolutions, labels, matrices, positive


@inequality(
    "reshaped-kernel",
    r"\|\mathrm{conv}_K\|_2 \le \|K_{o,(c,u,v)}\|_2",
    source="spectral normalisation of the kernel as a matrix",
    given={"layer": convolutions()},
)
def reshaped_kernel(layer):
    """A convolution uses each kernel entry at many positions; its reshaped kernel does so once."""
    rows = layer.kernel.reshape(len(layer.kernel), -1)
    return reals.spectral(layer.matrix), reals.spectral(rows)


@inequality(
    "gradient-surrogate",
    r"\max_{\|\delta\|_\infty\le\varepsilon}\ell(W\delta,y) \le \ell(0,y)+\varepsilon\|W^\top u\|_1",
    source="first-order view of adversarial training",
    given={"W": matrices(3, (1, 3)), "y": labels(3), "eps": positive(1.0)},
)
def gradient_surrogate(W, y, eps):
    """The cross-entropy is convex: it grows at least as fast as its gradient says."""
    origin = reals.real(np.zeros(3))
    u = reals.softmax(origin)
    u[y] = u[y] - 1
    corners = [eps * reals.real(signs) for signs in itertools.product((-1, 1), repeat=W.shape[1])]
    robust = max(reals.cross_entropy(W @ corner, y) for corner in corners)
    return robust, reals.cross_entropy(origin, y) + eps * reals.norm(W.T @ u, 1)


@inequality(
    "same-grid",
    r"\|\mathrm{conv}_K\|_2 \le \max_\omega|\hat K(\omega)| \quad (n\times n \text{ frequencies})",
    source="singular values of a circular convolution",
    given={"kernel": matrices(3, 3), "side": st.integers(2, 5)},
    recheck=False,
)
def same_grid(kernel, side):
    """Zero padding is not circular: the image's own frequencies do not see all of the operator."""
    from verification.inequalities.strategies.networks import Convolution

    layer = Convolution(kernel[None, None], np.zeros(1), (1, side, side), padding=1)
    positions = [2 * np.pi * np.arange(side) / side] * 2
    symbol = [
        sum(kernel[u, v] * np.exp(1j * (u * a + v * b)) for u in range(3) for v in range(3))
        for a, b in itertools.product(*positions)
    ]
    return reals.spectral(layer.matrix), float(np.abs(symbol).max())
