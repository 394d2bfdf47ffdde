r"""How norms and errors travel through the layers (theory §0, L5.3): the named parts X, \tilde X, B', G, Q, T.

With offsets the closed product forms no longer hold, so the recursions are the definition; without offsets they
reduce to ‖X‖_F Prod s_j rho_j and B Prod s_j rho_j.
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.evaluator import Part
from bounds.symbols import (
    X_F,
    B,
    D_p,
    E,
    G,
    L,
    Q,
    T,
    X,
    X_in,
    Z,
    beta,
    c,
    d,
    d_z,
    epsilon,
    has_bias,
    i,
    inverse_p,
    j,
    k_pos,
    n,
    phi0,
    rho,
    s,
)

dimension_factor = Part(
    D_p,
    d ** sp.Max(0, sp.Rational(1, 2) - inverse_p),
    "max(1, d^{1/2-1/p}): largest l_2 norm on the unit l_p ball",
)

sample_norms = Part(
    X,
    sp.Piecewise(
        (X_F, sp.Eq(i, 0)),
        (rho[i] * (s[i] * X[i - 1] + sp.sqrt(n) * c[i]) + sp.sqrt(n * d_z[i]) * phi0[i], True),
    ),
    "bound on the Frobenius norm of the hidden states after nonlinearity i",
    recursion="forward",
)

input_norms = Part(
    X_in,
    sp.sqrt(X[i - 1] ** 2 + n * has_bias[i]),
    "the same at the input of layer i, with the constant coordinate where the layer has an offset",
)


def support_norms(adversarial: bool) -> Part:
    """Bound on ‖z_i‖_2 over the support, moved by the attack where `adversarial` (theory L5.5)."""
    start = B + epsilon * D_p if adversarial else B
    return Part(
        Z,
        sp.Piecewise(
            (start, sp.Eq(i, 0)),
            (s[i] * Z[i - 1] + c[i], sp.Eq(i, L)),
            (rho[i] * (s[i] * Z[i - 1] + c[i]) + sp.sqrt(d_z[i]) * phi0[i], True),
        ),
        "bound on the l_2 norm of the hidden state after nonlinearity i, over the support",
        recursion="forward",
    )


resolution = Part(
    E,
    sp.sqrt(k_pos[i] * Z[i - 1] ** 2 + has_bias[i]),
    "largest change of h_i per unit change of the parameters of layer i (offset in operator units)",
)

upstream = Part(Q, sp.Product(s[j] * rho[j - 1], (j, i + 1, L)), "Lipschitz constant from h_i's change to the output")

downstream = Part(
    G, sp.Product(s[j], (j, 1, i)) * sp.Product(rho[j], (j, 1, i - 1)), "Lipschitz constant from the input to h_i"
)

# theory's explicit sum over k >= i, summed from the last layer: O(L) instead of O(L^2).
curvature = Part(
    T,
    sp.Piecewise(
        (sp.Integer(0), sp.Eq(i, L)),
        (s[i + 1] * (beta[i] * G[i] * Q[i + 1] + rho[i] * T[i + 1]), True),
    ),
    "how much a change of h_i moves the Jacobian through the slopes of the nonlinearities",
    recursion="backward",
)
