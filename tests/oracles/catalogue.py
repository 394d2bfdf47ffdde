"""Slow, explicit transcription of the catalogue, written from the theory alone.

It shares no code and no idea of evaluation with the package: Python floats, one loop per product,
natural units. Overflow is not handled, so feed it tiny networks. Layers are counted from 1 in the
formulas and from 0 in the lists; `_at(values, i)` is the i-th layer's value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Result = dict[str, float]


@dataclass(frozen=True)
class Facts:
    """Everything the formulas read; lists over layers start with layer 1."""

    n: int  # training samples
    d: int  # input dimension
    K: int  # outputs
    L: int  # layers
    d_in: Sequence[int]  # dimension of z_{i-1}
    d_out: Sequence[int]  # dimension of h_i
    s: Sequence[float]  # upper ends of the operator norms
    a: Sequence[float]  # Frobenius norms of the operators W_i
    two_one: Sequence[float]  # b_i, of [W_i c_i] minus the reference
    kernel_group: Sequence[float]  # g_i
    is_conv: Sequence[bool]
    row_sum: Sequence[float]  # m_i
    biased_row_sum: Sequence[float]  # max_r (||row_r||_1 + |c_r|)
    offset: Sequence[float]  # ||c_i||_2 of the operator's offset
    has_bias: Sequence[bool]
    N: Sequence[int]  # free parameters
    k_pos: Sequence[int]  # kernel positions (1 when dense)
    P_out: Sequence[int]  # output positions (1 when dense)
    t: Sequence[float]  # parameter distances to the reference
    rho: Sequence[float]  # L-1 Lipschitz constants
    beta: Sequence[float | None]  # L-1 Lipschitz constants of the derivatives
    at_zero: Sequence[float]  # L-1 values phi_i(0)
    X_F: float  # ||X||_F
    X_col: float  # max_j ||X_{:,j}||_2
    B2: float  # support radius, 2-norm
    Bp: float  # support radius, p-norm
    gamma: float
    delta: float
    eps: float
    p: float  # attack norm
    M: float | None  # clip of the cross-entropy
    p_w: float = 2.0  # norm of the weight vector (entries 9, 10)
    w_norm: float | None = None  # ||row_1 - row_0||_{p_w} (entries 9, 10)


# --- notation ------------------------------------------------------------------------------------


def _at(values: Sequence[float], i: int) -> float:
    return values[i - 1]


def _rho(f: Facts, i: int) -> float:
    """rho_i for i < L, and rho_L = 1."""
    return 1.0 if i == f.L else _at(f.rho, i)


def _layers(f: Facts) -> range:
    return range(1, f.L + 1)


def widest(f: Facts, with_bias: bool = True) -> int:
    """The largest dimension; a biased layer reads one more coordinate (the constant 1)."""
    best = 0
    for i in _layers(f):
        best = max(best, int(_at(f.d_in, i)) + (1 if with_bias and f.has_bias[i - 1] else 0))
        best = max(best, int(_at(f.d_out, i)))
    return best


def downstream(f: Facts, i: int) -> float:
    """Q_i = prod_{j>i} s_j rho_{j-1}: what a change of h_i can do to the output."""
    product = 1.0
    for j in range(i + 1, f.L + 1):
        product *= _at(f.s, j) * _rho(f, j - 1)
    return product


def upstream(f: Facts, i: int) -> float:
    """prod_{j<i} s_j rho_j: operator norm of the partial Jacobian A_{i-1}."""
    product = 1.0
    for j in range(1, i):
        product *= _at(f.s, j) * _rho(f, j)
    return product


def hidden_norm(f: Facts, i: int) -> float:
    """X_i: bound on ||Z_i||_F over the sample, X_0 = ||X||_F."""
    if i == 0:
        return f.X_F
    moved = _rho(f, i) * (_at(f.s, i) * hidden_norm(f, i - 1) + math.sqrt(f.n) * _at(f.offset, i))
    return moved + math.sqrt(f.n * _at(f.d_in, i + 1)) * abs(_at(f.at_zero, i))


def layer_input_norm(f: Facts, i: int) -> float:
    """X~_{i-1}: the constant column of a biased layer i adds n to the square."""
    square = hidden_norm(f, i - 1) ** 2
    return math.sqrt(square + f.n) if f.has_bias[i - 1] else math.sqrt(square)


def hidden_radius(f: Facts, i: int, start: float) -> float:
    """B'_i: bound on ||z_i(x)|| over ||x|| <= start (for i = L: on the logits)."""
    if i == 0:
        return start
    moved = _rho(f, i) * (_at(f.s, i) * hidden_radius(f, i - 1, start) + _at(f.offset, i))
    return moved if i == f.L else moved + math.sqrt(_at(f.d_in, i + 1)) * abs(_at(f.at_zero, i))


def partial_jacobian(f: Facts, i: int) -> float:
    """alpha_i: bound on ||A_i||_F, without dividing by a norm. alpha_0 = sqrt(d)."""
    if i == 0:
        return math.sqrt(f.d)
    candidates = []
    smallest = f.d
    all_s = 1.0
    rhos = 1.0
    for k in range(1, i + 1):
        product = _at(f.a, k)
        for j in range(1, i + 1):
            if j != k:
                product *= _at(f.s, j)
        candidates.append(product)
        smallest = min(smallest, int(_at(f.d_in, k)), int(_at(f.d_out, k)))
        all_s *= _at(f.s, k)
        rhos *= _rho(f, k)
    candidates.append(math.sqrt(smallest) * all_s)
    return min(candidates) * rhos


def curvature(f: Facts, i: int) -> float:
    """T_i of L5.3: what p_i does to the Jacobian through the derivatives' changes. T_L = 0."""
    total = 0.0
    for k in range(i, f.L):
        after = 1.0
        for j in range(k + 2, f.L + 1):
            after *= _at(f.s, j) * _rho(f, j - 1)
        g_k = 1.0
        for j in range(1, k + 1):
            g_k *= _at(f.s, j)
        for j in range(1, k):
            g_k *= _rho(f, j)
        between = 1.0
        for j in range(i + 1, k + 1):
            between *= _at(f.s, j) * _rho(f, j - 1)
        beta = f.beta[k - 1]
        if beta is None:
            raise ValueError(f"activation {k} has no Lipschitz derivative")
        total += after * _at(f.s, k + 1) * beta * g_k * between
    return total


def jacobian_lipschitz(f: Facts) -> float:
    """Lambda of L2.5: J is Lambda-Lipschitz in operator norm."""
    total = 0.0
    for k in range(1, f.L):
        g_k = 1.0
        for j in range(1, k + 1):
            g_k *= _at(f.s, j)
        for j in range(1, k):
            g_k *= _rho(f, j)
        others = 1.0  # P / rho_k, without dividing
        for j in _layers(f):
            others *= _at(f.s, j)
            if j != k:
                others *= _rho(f, j)
        beta = f.beta[k - 1]
        if beta is None:
            raise ValueError(f"activation {k} has no Lipschitz derivative")
        total += others * beta * g_k
    return total


def second_order_remainder(f: Facts) -> float:
    """sqrt(2)/2 * Lambda * (eps * max(1, d^(1/2-1/p)))^2 of L2.5: robust loss minus surrogate, at most."""
    return math.sqrt(2.0) / 2.0 * jacobian_lipschitz(f) * (f.eps * _ball(f)) ** 2


def _ball(f: Facts) -> float:
    """max(1, d^(1/2-1/p)): 2-norm of a p-unit vector, at most."""
    return max(1.0, math.pow(f.d, 0.5 - 1.0 / f.p))


# --- from covering numbers to risk (section 4) ----------------------------------------------------


def scale_free(R: float, n: int, M: float = 1.0) -> Result:
    """ln N <= R^2/u^2, range [0, M]. raw: 4/n + (12R/n) max(0, ln(Mn)); guaranteed: L4.6."""
    logarithm = max(0.0, math.log(M * n)) if M > 0.0 else 0.0
    raw = 4.0 / n + 12.0 * R / n * logarithm
    guaranteed = M / 2.0
    if R == 0.0:
        guaranteed = 0.0  # the limit of R ln(1/R)
    elif 3.0 * R <= M * n:
        guaranteed = min(M / 2.0, 12.0 * R / n * (1.0 + math.log(M * n / (3.0 * R))))
    return {"raw": raw, "guaranteed": guaranteed}


def parametric(N: Sequence[int], c: Sequence[float], n: int, M: float = 1.0) -> Result:
    """L4.7: (12M/sqrt n) sqrt(sum N_i (1 + ln(1 + c_i/M)))."""
    if M == 0.0:
        return {"raw": 0.0, "guaranteed": 0.0}
    total = 0.0
    for count, scale in zip(N, c, strict=True):
        total += count * (1.0 + math.log(1.0 + scale / M))
    raw = 12.0 * M / math.sqrt(n) * math.sqrt(total)
    return {"raw": raw, "guaranteed": min(M / 2.0, raw)}


def gap(raw: float, n: int, delta: float, M: float = 1.0) -> float:
    """L4.8: 2 R_S + 3M sqrt(ln(2/delta)/(2n))."""
    return 2.0 * raw + 3.0 * M * math.sqrt(math.log(2.0 / delta) / (2.0 * n))


def stratify(t: float, t0: float = 1.0, eta: float = 0.05, t_min: float = 1e-6) -> tuple[float, float]:
    """L4.10 for one radius: the grid point t+ >= max(t, t_min) and its weight w(j)."""
    t = max(t, t_min)
    j = math.ceil(math.log(t / t0) / math.log(1.0 + eta))
    while t0 * (1.0 + eta) ** j < t:
        j += 1
    c = 3.0 / (3.0 + math.pi**2)
    return t0 * (1.0 + eta) ** j, (c if j == 0 else c / j**2)


def _two_thirds(kappas: Sequence[float]) -> float:
    """(sum kappa_i^(2/3))^(3/2)."""
    total = 0.0
    for kappa in kappas:
        total += kappa ** (2.0 / 3.0)
    return math.pow(total, 1.5)


def _capped(raw: float) -> Result:
    return {"raw": raw, "guaranteed": min(0.5, raw)}


# --- entries 1, 2, 3: peeling ---------------------------------------------------------------------


def _augmented_frobenius(f: Facts) -> tuple[float, float]:
    """(prod of Frobenius norms, ||X||_F), both with the constant unit if any layer is biased."""
    biased = any(f.has_bias)
    product = 1.0
    for i in _layers(f):
        square = _at(f.a, i) ** 2
        if biased:
            square += _at(f.offset, i) ** 2 + (1.0 if i < f.L else 0.0)
        product *= math.sqrt(square)
    return product, math.sqrt(f.X_F**2 + f.n) if biased else f.X_F


def golowich2018_frobenius(f: Facts) -> Result:
    """(2K/gamma) (||X||_F/n) (sqrt(2 L ln 2) + 1) prod a_i."""
    product, data = _augmented_frobenius(f)
    one_output = data / f.n * (math.sqrt(2.0 * f.L * math.log(2.0)) + 1.0) * product
    return _capped(2.0 * f.K / f.gamma * one_output)


def golowich2018_l1inf(f: Facts, variant: str = "published") -> Result:
    """(2K/gamma) prod m_i rho_i X_col times (2/n) sqrt(L+1+ln d); sharper: (1/n) sqrt(2(L ln 2 + ln d)).

    With a bias the constant function does not pass through phi: every factor is at least 1, and the sharper form
    counts 2^L (d + 2) terms (theory's ln(d+1) is enough only where phi(1) = 1).
    """
    biased = any(f.has_bias)
    product = 1.0
    for i in _layers(f):
        if not biased:
            product *= _at(f.row_sum, i) * _rho(f, i)
        elif i < f.L:
            product *= max(_at(f.biased_row_sum, i) * _rho(f, i), 1.0)
        else:
            product *= _at(f.biased_row_sum, i)
    column = max(f.X_col, math.sqrt(f.n)) if biased else f.X_col
    d = f.d + 1 if biased else f.d
    if variant == "published":
        front = 2.0 / f.n * math.sqrt(f.L + 1.0 + math.log(d))
    elif variant == "sharper":
        counted = f.d + 2 if biased else f.d
        front = 1.0 / f.n * math.sqrt(2.0 * (f.L * math.log(2.0) + math.log(counted)))
    else:
        raise ValueError(variant)
    return _capped(2.0 * f.K / f.gamma * front * product * column)


def neyshabur2015_frobenius(f: Facts) -> Result:
    """(2K/gamma) 2^(L-1) prod a_i ||X||_F / n."""
    product, data = _augmented_frobenius(f)
    return _capped(2.0 * f.K / f.gamma * 2.0 ** (f.L - 1) * product * data / f.n)


# --- entry 4: spectral ----------------------------------------------------------------------------


def _price(f: Facts, i: int) -> float:
    """min(b_i sqrt(ln 2W^2), g_i sqrt(ln 2N_i)); for a dense layer g = b and N = d m is L5.1 as it stands."""
    dense = _at(f.two_one, i) * math.sqrt(math.log(2.0 * widest(f) ** 2))
    return min(dense, _at(f.kernel_group, i) * math.sqrt(math.log(2.0 * _at(f.N, i))))


def _audited_outputs(f: Facts) -> float:
    """sqrt(8) (sum (price_i Q_i X~_{i-1})^(2/3))^(3/2): R of the logits."""
    terms = [_price(f, i) * downstream(f, i) * layer_input_norm(f, i) for i in _layers(f)]
    return 2.0 * math.sqrt(2.0) * _two_thirds(terms)


def bartlett2017_radius(f: Facts, variant: str) -> float:
    """R of ln N <= R^2/u^2 for the ramp-margin class."""
    if variant == "published":
        kappas = [_at(f.two_one, i) * downstream(f, i) * layer_input_norm(f, i) for i in _layers(f)]
        return 2.0 / f.gamma * math.sqrt(math.log(2.0 * widest(f) ** 2)) * _two_thirds(kappas)
    if variant == "audited":
        return math.sqrt(2.0) / f.gamma * _audited_outputs(f)
    raise ValueError(variant)


def bartlett2017_spectral(f: Facts, variant: str = "published") -> Result:
    """Scale-free with the radius above, range [0, 1]."""
    return scale_free(bartlett2017_radius(f, variant), f.n)


# --- entries 5, 6: PAC-Bayes (excess over the empirical hard margin risk) --------------------------


def _pac_bayes(f: Facts, radius: float) -> Result:
    h = widest(f, with_bias=False)
    total = 0.0
    for i in _layers(f):
        term = _at(f.a, i) ** 2
        for j in _layers(f):
            if j != i:
                term *= _at(f.s, j) ** 2
        total += term
    kl = 42.0**2 * math.e**2 / 2.0 * f.L**2 * radius**2 * h * math.log(4.0 * h * f.L) / f.gamma**2 * total
    logs = math.log(6.0 * f.n * f.L * f.n ** (1.0 / (2.0 * f.L)) / f.delta)
    raw = 4.0 * math.sqrt((kl + logs) / (f.n - 1))
    return {"raw": raw, "guaranteed": min(1.0, raw)}


def neyshabur2018_pacbayes(f: Facts) -> Result:
    """4 sqrt((KL + ln(6 n L n^(1/(2L))/delta))/(n-1)).

    KL = (42^2 e^2/2) L^2 B^2 h ln(4hL)/gamma^2 sum_i a_i^2 prod_{j!=i} s_j^2, h the largest dimension.
    """
    return _pac_bayes(f, f.B2)


def xiao2023_robust_pacbayes(f: Facts, variant: str = "published") -> Result:
    """Entry 5 with B -> max(1, d^(1/2-1/p)) (B_p + eps), or audited B_2 + eps max(1, d^(1/2-1/p))."""
    if variant == "published":
        return _pac_bayes(f, _ball(f) * (f.Bp + f.eps))
    if variant == "audited":
        return _pac_bayes(f, f.B2 + f.eps * _ball(f))
    raise ValueError(variant)


# --- entry 7: parametric cover ---------------------------------------------------------------------


def output_sensitivities(f: Facts, start: float) -> list[float]:
    """K_i = Q_i sqrt(k_pos B'_{i-1}^2 + [bias])."""
    found = []
    for i in _layers(f):
        radius = hidden_radius(f, i - 1, start)
        inner = _at(f.k_pos, i) * radius**2 + (1.0 if f.has_bias[i - 1] else 0.0)
        found.append(downstream(f, i) * math.sqrt(inner))
    return found


def jacobian_sensitivities(f: Facts, start: float) -> list[float]:
    """K'_i = Q_i * (operator factor) + T_i sqrt(k_pos B'_{i-1}^2 + [bias])."""
    found = []
    for i in _layers(f):
        factor = upstream(f, i)
        if f.is_conv[i - 1]:
            positions = math.sqrt(_at(f.P_out, i)) * upstream(f, i)
            factor = min(positions, math.sqrt(_at(f.k_pos, i)) * partial_jacobian(f, i - 1))
        radius = hidden_radius(f, i - 1, start)
        inner = _at(f.k_pos, i) * radius**2 + (1.0 if f.has_bias[i - 1] else 0.0)
        found.append(downstream(f, i) * factor + curvature(f, i) * math.sqrt(inner))
    return found


def parametric_cover(f: Facts, variant: str = "standard") -> Result:
    """L4.7 with c_i = 2 t_i L K_i sqrt(2)/gamma, M = 1; adversarial: B' = B_2 + eps max(1, d^(1/2-1/p))."""
    if variant not in ("standard", "adversarial"):
        raise ValueError(variant)
    start = f.B2 if variant == "standard" else f.B2 + f.eps * _ball(f)
    c = []
    for t, k in zip(f.t, output_sensitivities(f, start), strict=True):
        c.append(2.0 * t * f.L * k * math.sqrt(2.0) / f.gamma)
    return parametric(f.N, c, f.n)


# --- entry 8: Jacobian surrogate -------------------------------------------------------------------


def surrogate_constants(f: Facts, surrogate: str) -> tuple[float, float]:
    """(c of section 2, Lipschitz constant of N in Frobenius norm, L5.6) for attack norm f.p in {2, inf}."""
    if f.p == 2.0:
        table = {
            "margin": (1.0, math.sqrt(2.0)),
            "spectral": (math.sqrt(2.0), 1.0),
            "frobenius": (math.sqrt(2.0), 1.0),
        }
    elif f.p == math.inf:
        table = {
            "margin": (1.0, math.sqrt(2.0) * math.sqrt(f.d)),
            "row-sum": (2.0, math.sqrt(f.d)),
            "entrywise": (1.0, math.sqrt(f.K * f.d)),
        }
    else:
        raise ValueError("entry 8 is written for p = 2 and p = inf")
    return table[surrogate]


def loss_range(f: Facts) -> float:
    """The clip M, or ln K + sqrt(2) sup||f|| by the recursion from B_2."""
    if f.M is not None:
        return f.M
    return math.log(f.K) + math.sqrt(2.0) * hidden_radius(f, f.L, f.B2)


def jacobian_surrogate_total_range(f: Facts, surrogate: str) -> float:
    """M + lambda sup N(J): the range that multiplies the deviation term of L4.8."""
    c, lip = surrogate_constants(f, surrogate)
    return loss_range(f) + f.eps * c * lip * partial_jacobian(f, f.L)


def jacobian_surrogate(f: Facts, variant: str = "norm-based", surrogate: str = "margin") -> Result:
    """R_S(loss o F) + eps c R_S(N o J), each norm-based (L5.2, L5.4, audited) or parametric (L5.5)."""
    c, lip = surrogate_constants(f, surrogate)
    top = loss_range(f)
    jacobian_top = lip * partial_jacobian(f, f.L)
    if variant == "norm-based":
        terms = []
        for i in _layers(f):
            direct = downstream(f, i) * math.sqrt(f.n) * partial_jacobian(f, i - 1)
            through = curvature(f, i) * layer_input_norm(f, i)
            terms.append(_price(f, i) * (direct + through))
        outputs = scale_free(math.sqrt(2.0) * _audited_outputs(f), f.n, top)
        jacobians = scale_free(lip * 2.0 * math.sqrt(2.0) * _two_thirds(terms), f.n, jacobian_top)
    elif variant == "parametric":
        first = []
        for t, k in zip(f.t, output_sensitivities(f, f.B2), strict=True):
            first.append(2.0 * t * f.L * k * math.sqrt(2.0))
        second = []
        for t, k in zip(f.t, jacobian_sensitivities(f, f.B2), strict=True):
            second.append(2.0 * t * f.L * k * lip)
        outputs = parametric(f.N, first, f.n, top)
        jacobians = parametric(f.N, second, f.n, jacobian_top)
    else:
        raise ValueError(variant)
    strength = f.eps * c
    return {key: outputs[key] + strength * jacobians[key] for key in ("raw", "guaranteed")}


# --- entries 9, 10: linear, two classes -------------------------------------------------------------


def _linear_base(f: Facts) -> float:
    if f.w_norm is None:
        raise ValueError("w_norm is needed")
    if f.p_w == 2.0:
        return f.w_norm * f.X_F / f.n
    if f.p_w == 1.0:
        return f.w_norm * math.sqrt(2.0 * math.log(2.0 * f.d)) * f.X_col / f.n
    raise ValueError("p_w is 1 or 2")


def yin2019_linear_linf(f: Facts) -> Result:
    """(1/gamma)(base + eps A d^(1-1/p_w)/(2 sqrt n)), attack in the max norm."""
    base = _linear_base(f)
    assert f.w_norm is not None
    return _capped((base + f.eps * f.w_norm * f.d ** (1.0 - 1.0 / f.p_w) / (2.0 * math.sqrt(f.n))) / f.gamma)


def awasthi2020_linear(f: Facts) -> Result:
    """(1/gamma)(base + eps A max(d^(1-1/r-1/p_w), 1)/(2 sqrt n)), attack in the r-norm, r = f.p."""
    base = _linear_base(f)
    assert f.w_norm is not None
    dual = max(f.d ** (1.0 - 1.0 / f.p - 1.0 / f.p_w), 1.0)
    return _capped((base + f.eps * f.w_norm * dual / (2.0 * math.sqrt(f.n))) / f.gamma)


# --- entry 11: excess capacity ----------------------------------------------------------------------


def graf2022_excess_capacity(f: Facts) -> Result:
    """4/n + 12 H_{n-1}/sqrt(n) sqrt(ln 2W) (sum ceil(C_i^(2/3)))^(3/2).

    C_i = (4/gamma)(1/sqrt n) g_i Q_i X~_{i-1}, W = max N_i.
    """
    harmonic = 0.0
    for m in range(1, f.n):
        harmonic += 1.0 / m
    total = 0
    for i in _layers(f):
        group = _at(f.kernel_group, i) if f.is_conv[i - 1] else _at(f.two_one, i)
        c = 4.0 / f.gamma / math.sqrt(f.n) * group * downstream(f, i) * layer_input_norm(f, i)
        total += math.ceil(c ** (2.0 / 3.0))
    raw = 4.0 / f.n + 12.0 * harmonic / math.sqrt(f.n) * math.sqrt(math.log(2.0 * max(f.N))) * total**1.5
    return _capped(raw)


# --- entry 12: holdouts -----------------------------------------------------------------------------


def holdout_binomial(errors: int, m: int, delta: float) -> float:
    """The p with Pr[Binomial(m, p) <= errors] = delta, by bisection (Beta^-1(1-delta; k+1, m-k))."""
    if errors == m:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        tail = sum(math.comb(m, j) * middle**j * (1.0 - middle) ** (m - j) for j in range(errors + 1))
        if tail > delta:
            low = middle
        else:
            high = middle
    return high


def holdout_bernstein(losses: Sequence[float], delta: float, M: float = 1.0) -> float:
    """mean + sqrt(2 V ln(2/delta)/m) + 7 M ln(2/delta)/(3(m-1)), V the unbiased sample variance."""
    m = len(losses)
    mean = sum(losses) / m
    variance = sum((value - mean) ** 2 for value in losses) / (m - 1)
    logs = math.log(2.0 / delta)
    return mean + math.sqrt(2.0 * variance * logs / m) + 7.0 * M * logs / (3.0 * (m - 1))
