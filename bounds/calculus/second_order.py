"""From the surrogate to the robust loss (L2.5)."""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.symbols import D_p, G, L, Lambda, Q, beta, epsilon, k, s

jacobian_lipschitz = Part(
    Lambda,
    sp.Sum(beta[k] * G[k] ** 2 * s[k + 1] * Q[k + 1], (k, 1, L - 1)),
    "Lipschitz constant of the Jacobian in operator norm (L2.5)",
)

remainder: sp.Expr = sp.sqrt(2) * (epsilon * D_p) ** 2 * Lambda / 2
"""Robust loss <= margin-Jacobian surrogate + this, nats (theory L2.5; upper bound; needs the part Lambda)."""
