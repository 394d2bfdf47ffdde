r"""The largest eigenvalue from Lanczos: how often the upper end of a Gaussian start fails."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from scipy import special

from bounds.measure.lanczos import Krylov, lanczos, largest_eigenvalue_upper
from verification.inequalities.inequality import assume, inequality
from verification.inequalities.strategies import matrices, vectors
from verification.inequalities.strategies.layers import tensor


@inequality(
    "L7.2-promise",
    r"\Pr[U<\lambda_1]\le p,\quad U\text{: upper end from }r\text{ runs of one Lanczos step,}"
    r"\text{ each allowed to miss with }p^{1/r}\text{; eigenvalues }(1,\mu,\ldots,\mu)",
    source="own derivation",
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
    r"\Pr[\lambda_1\ge\theta_k/(1-\varepsilon)]\le\sqrt{2N/\pi}/\cosh((2k-1)\operatorname{artanh}\sqrt\varepsilon),"
    r"\quad\text{matrix}\succeq0,\ \theta_k\text{: largest Ritz value after }k\text{ Lanczos steps}"
    r"\text{ from a Gaussian start in }\mathbb R^N",
    source="own derivation, sharpens Kuczyński & Woźniakowski 1992",
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
    "L7.2-end",
    r"\lambda_1(W^\top W)\le U\quad\text{with probability }1-p=1-10^{-12},\ U\text{ at most }\theta_k/(1-\varepsilon),"
    r"\ \varepsilon=\tanh^2(\operatorname{arcosh}(\sqrt{2N/\pi}\,p^{-1/r})/(2k-1)),\ r=2\text{ runs;}"
    r"\ \theta_k\text{: largest Ritz value after }k\text{ Lanczos steps from a Gaussian start in }\mathbb R^N",
    source="own derivation",
    given={"W": matrices((1, 6), (1, 6), 3), "steps": st.integers(1, 6), "seed": st.integers(0, 9)},
    mutants={
        "the Ritz value itself": {"ritz": True},
        "a failure that is certain": {"failure": 0.9999},
    },
    attained=True,
    recheck=False,
    rounding=2.0**-42,
)
def eigenvalue_from_above(
    W: np.ndarray, steps: int, seed: int, ritz: bool = False, failure: float = 1e-12
) -> tuple[Any, Any]:
    """Two Gaussian starts, wrong with probability 1e-12 per seed; attained once the Krylov space is exhausted."""
    gram = W.T @ W
    true = float(np.linalg.eigvalsh(gram)[-1])
    assume(true > 0)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(2, len(gram), generator=generator, dtype=torch.float64)
    *_, last = lanczos(lambda v: v @ tensor(gram), start, steps, generator)
    if ritz:
        return true, float(torch.linalg.eigvalsh(last.tridiagonal())[:, -1].max())
    return true, largest_eigenvalue_upper(last, len(gram), failure)
