"""Generalisation of the Jacobian-regularised loss, and through it of the robust loss. Own derivation.

Example on paper, parametric with the margin-Jacobian: one layer, n = 144, two parameters, K = 2, epsilon = 1/2,
t = 1/(2 sqrt 2), B = 1. Outputs: K_1 = 1, resolution 2·t·sqrt 2 = 1, range M = ln 2 + sqrt 2:
(12 M/12) sqrt(2(1 + ln(1 + 1/M))). Jacobian: sup N(J) = sqrt 2·1, resolution 1: sqrt 2·sqrt(2(1 + ln(1 + 1/sqrt 2))),
times epsilon.

>>> from math import log, sqrt
>>> from bounds.by_hand import Norms, complexity
>>> norms = Norms(s=(1,), n=144, parameters=(2,), t=(1 / sqrt(8),), eps=0.5)
>>> M = log(2) + sqrt(2)
>>> outputs = M * sqrt(2 * (1 + log(1 + 1 / M)))
>>> jacobian = sqrt(2) * sqrt(2 * (1 + log(1 + 1 / sqrt(2))))
>>> raw, _ = complexity("jacobian_surrogate", norms, "margin, parametric")
>>> abs(raw - (outputs + jacobian / 2)) < 1e-12
True
"""

from __future__ import annotations

import sympy as sp

from bounds.calculus.contraction import lipschitz_cover, lipschitz_parametric
from bounds.calculus.dudley import dudley_parametric, dudley_scale_free
from bounds.calculus.evaluator import Part
from bounds.calculus.jacobian_cover import (
    JACOBIAN_NORMS,
    jacobian_cover,
    jacobian_frobenius,
    smallest_frobenius,
)
from bounds.calculus.parametric_cover import parametric_cover, parametric_jacobian_cover
from bounds.calculus.propagation import dimension_factor, downstream, support_norms, upstream
from bounds.calculus.risk import risk
from bounds.calculus.second_order import jacobian_lipschitz, remainder
from bounds.calculus.spectral_cover import spectral_cover
from bounds.calculus.statements import Complexity, Gap, merged
from bounds.calculus.sum_rule import sum_rule
from bounds.catalogue.assumptions import ATTACK, CHAIN, SMOOTH, SUPPORT, attack_norms
from bounds.catalogue.entry import Bound, Entry, Reference
from bounds.symbols import (
    M_J,
    R_NJ,
    S_J,
    K,
    L,
    M,
    N,
    R,
    S,
    Z,
    a,
    alpha,
    c,
    cover_loss,
    cover_NJ,
    epsilon,
    i,
    kappa_J,
    s,
)

REFERENCE = Reference(
    "own derivation (theory L5.4, L5.5), after Wu & Li 2024",
    """@article{wu2024adversarially,
  title = {Adversarially robust generalization theory via {Jacobian} regularization for deep neural networks},
  author = {Wu, Dongya and Li, Xin},
  journal = {arXiv preprint arXiv:2412.12449},
  year = {2024}
}""",
)

LOSS_RANGE = Part(M, sp.log(K) + sp.sqrt(2) * Z[L], "range of the cross-entropy over the support, nats")
NEVER_ZERO = sp.Rational(1, 10**100)  # a network with a layer that is 0 has J = 0; a larger range is still a range
CROSS_ENTROPY = sp.sqrt(2)  # Lipschitz in ‖z‖_2 (L1.1)


def _with_ranges(complexity: Complexity, norm_range: Part) -> Complexity:
    """The ranges M and M_J are radii of the class as well."""
    parts = merged(
        complexity.parts,
        (LOSS_RANGE, norm_range, support_norms(adversarial=False), jacobian_frobenius, smallest_frobenius),
        (jacobian_lipschitz, upstream, downstream, dimension_factor),
    )
    return Complexity(
        parts,
        complexity.increasing | {s, a, c, epsilon},
        complexity.decreasing,
        complexity.step,
        complexity.raw,
        complexity.guaranteed,
        complexity.loss_range,
    )


def _gap(surrogate: str, parametric: bool) -> Gap:
    norm = JACOBIAN_NORMS[surrogate]
    if parametric:
        loss = dudley_parametric(lipschitz_parametric(parametric_cover(False), CROSS_ENTROPY, cover_loss), M)
        norm_class = dudley_parametric(lipschitz_parametric(parametric_jacobian_cover(), norm.lipschitz, cover_NJ), M_J)
    else:
        loss = dudley_scale_free(
            lipschitz_cover(spectral_cover(True), CROSS_ENTROPY, R, "radius of the cover of the losses"), M
        )
        norm_class = dudley_scale_free(
            lipschitz_cover(jacobian_cover(), norm.lipschitz, R_NJ, "radius of the cover of N(J)"), M_J
        )
    norm_range = Part(M_J, sp.Max(norm.lipschitz * alpha[L], NEVER_ZERO), "range of N(J), kept off 0")
    return risk(_with_ranges(sum_rule(loss, norm.coefficient, norm_class), norm_range))


def _bound(surrogate: str, parametric: bool) -> Bound:
    norm = JACOBIAN_NORMS[surrogate]
    return Bound(
        variant=f"{surrogate}, {'parametric' if parametric else 'norm-based'}",
        target="surrogate",
        gap=_gap(surrogate, parametric),
        assumptions=(ATTACK, attack_norms(*norm.attack), CHAIN, SMOOTH, SUPPORT),
        empirical="surrogate",
        shrink=(S, S_J) if parametric else (R, R_NJ),
        share=N[i] * (1 + sp.log(1 + cover_NJ[i] / M_J)) if parametric else kappa_J[i] ** sp.Rational(2, 3),
        surrogate=surrogate,
        remainder=remainder,
        note="dependence on K: the losses only through ln K in their range"
        + ("; entrywise l1 through sqrt(K)" if surrogate == "entrywise" else "; this norm of J not at all"),
    )


ENTRY = Entry(
    key="jacobian_surrogate",
    title="Jacobian-regularised surrogate loss",
    reference=REFERENCE,
    statement=r"\mathbb E\left[\ell+\varepsilon c\,N(J)\right]\le\widehat{\mathbb E}\left[\ell+\varepsilon c\,N(J)"
    r"\right]+2\left(\mathfrak R_S(\ell\circ\mathcal F)+\varepsilon c\,\mathfrak R_S(N\circ J)\right)"
    r"+3(M+\varepsilon c\,M_J)\sqrt{\frac{\ln(2/\delta)}{2n}}",
    description="Rademacher complexity of the loss and of the Jacobian's norm, from covers; smooth activations. "
    "Adding the second-order remainder of L2.5 turns it into a bound on the expected robust loss.",
    variants=tuple(_bound(name, parametric) for name in JACOBIAN_NORMS for parametric in (False, True)),
)
