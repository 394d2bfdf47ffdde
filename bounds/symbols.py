"""The notation of theory §0 as sympy symbols. Every formula is written in these; nothing else invents a symbol.

Indexed symbols carry the layer number: `s[i]` is the spectral norm of layer i = 1..L. `radii` are the numbers that
training chooses (they must be stratified before a bound may be read a posteriori, L4.10); everything else is fixed
in advance or belongs to the sample.
"""

from __future__ import annotations

import sympy as sp

PLAIN: dict[str, str] = {}
"""How a terminal shows a symbol, by its LaTeX name."""


def _scalar(plain: str, latex: str | None = None) -> sp.Symbol:
    PLAIN[latex or plain] = plain
    return sp.Symbol(latex or plain, nonnegative=True)


def _indexed(plain: str, latex: str | None = None) -> sp.IndexedBase:
    return sp.IndexedBase(_scalar(plain, latex), nonnegative=True)


# Indices.
i, j, k = sp.symbols("i j k", integer=True, nonnegative=True)

# Sizes and settings.
n = _scalar("n")  # training samples
m_holdout = _scalar("m")  # hold-out samples
k_errors = _scalar("k", r"k_{\mathrm{err}}")  # errors among them
d = _scalar("d")  # input dimension
K = _scalar("K")  # classes
L = sp.Symbol("L", integer=True, positive=True)  # depth: number of affine segments
W_bar = _scalar("W̄", r"\overline{W}")  # largest width, with the bias coordinate where there is one
h = _scalar("h")  # largest width, without it
W_kernel = _scalar("W_ker", r"W_{\mathrm{ker}}")  # largest number of parameters of one layer
delta = _scalar("δ", r"\delta")  # failure probability
epsilon = _scalar("ε", r"\varepsilon")  # attack radius, input units
inverse_p = _scalar("p⁻¹", r"p^{-1}")  # 1/p of the attack norm; 0 for l_inf
gamma = _scalar("γ", r"\gamma")  # margin, logits

# Data.
X_F = _scalar("‖X‖_F", r"\left\|X\right\|_F")
X_col = _scalar("max‖X_:j‖", r"\max_j\left\|X_{:,j}\right\|_2")
B = _scalar("B", r"B_{\mathcal X}")  # support radius in l_2
B_p = _scalar("B_p", r"B_{\mathcal X,p}")  # support radius in l_p
V_loss = _scalar("V̂", r"\widehat V")  # sample variance of the held-out losses
mean_loss = _scalar("ℓ̂", r"\widehat\ell")  # mean held-out loss

# Layers, i = 1..L. The comment says how theory defines them.
s = _indexed("s")  # ‖W_i‖_2
a = _indexed("a")  # ‖W_i‖_F
b = _indexed("b")  # ‖([W_i c_i] - [M_i ..])^T‖_{2,1}
g = _indexed("g")  # kernel-group norm (L5.1); b_i where the layer is dense
m = _indexed("m")  # max row 1-norm
m_bias = _indexed("μ", r"\mu")  # max over rows of ‖row‖_1 + |c_r|
c = _indexed("‖c‖", r"\left\|c\right\|")  # ‖c_i‖_2, offset as an operator on positions
t = _indexed("t")  # ‖theta_i - theta_i^0‖_2
N = _indexed("N")  # free parameters
has_bias = _indexed("bias", r"\mathbf{1}^{\mathrm{bias}}")  # 1 if the layer has an offset
any_bias = _scalar("bias∃", r"\mathbf{1}^{\mathrm{bias}}_{\exists}")  # 1 if any layer has an offset
k_pos = _indexed("k_pos", r"k^{\mathrm{pos}}")  # kernel positions
P_out = _indexed("P_out", r"P^{\mathrm{out}}")  # output positions
d_z = _indexed("d", r"d")  # dimension of z_i, i = 0..L
d_min = _indexed("dmin", r"d^{\min}")  # min(d_0..d_i), i = 0..L

# Nonlinearities, i = 1..L-1 (rho_L = 1).
rho = _indexed("ρ", r"\rho")
beta = _indexed("β", r"\beta")
phi0 = _indexed("φ0", r"\left|\varphi(0)\right|")

# A linear class.
A_1 = _scalar("‖w‖_1", r"\left\|w\right\|_1")  # w = difference of the two rows
A_2 = _scalar("‖w‖_2", r"\left\|w\right\|_2")

# Names that formulas introduce with "where".
R = _scalar("R")
R_F = _scalar("R_F", r"R_{\mathcal F}")
R_J = _scalar("R_J", r"R_{J}")
P = _scalar("P")  # product of s_j rho_j
D_p = _scalar("D_p", r"D_p")  # max(1, d^{1/2 - 1/p})
M = _scalar("M")  # range of the loss
M_J = _scalar("M_J", r"M_{J}")  # range of N(J)
KL = _scalar("KL", r"\mathrm{KL}")
S = _scalar("Σ", r"\Sigma")  # metric entropy sum of a parametric cover
S_J = _scalar("Σ_J", r"\Sigma_{J}")
Pi = _scalar("Π", r"\Pi")  # product of the layers' norms
Lambda = _scalar("Λ", r"\Lambda")  # Lipschitz constant of the Jacobian
B_adv = _scalar("B'", r"B'")  # support radius after the attack
X = _indexed("X")  # bound on ‖Z_i‖_F, i = 0..L-1
X_in = _indexed("X̃", r"\widetilde X")  # the same at the input of layer i, with the bias coordinate
Z = _indexed("B'", r"B'")  # bound on ‖z_i‖_2 over the support, i = 0..L
E = _indexed("E")  # ‖change of h_i‖ per unit of ‖change of theta_i‖
Q = _indexed("Q")
T = _indexed("T")
G = _indexed("G")
alpha = _indexed("α", r"\alpha")
A_F = _indexed("A", r"A")
kappa = _indexed("κ", r"\kappa")
kappa_J = _indexed("κJ", r"\kappa^{J}")
w_maurey = _indexed("ω", r"\omega")  # min(b sqrt(ln 2W^2), g sqrt(ln 2N))
K_theta = _indexed("K", r"K")
K_theta_J = _indexed("K'", r"K'")
cover_c = _indexed("C", r"C")
cover_cJ = _indexed("CJ", r"C^{J}")
cover_loss = _indexed("Cℓ", r"C^{\ell}")
cover_NJ = _indexed("CN", r"C^{N}")
R_NJ = _scalar("R_NJ", r"R_{N}")
capacity = _indexed("Cex", r"C^{\mathrm{ex}}")
capacity_sum = _scalar("𝒞", r"\mathcal C")

radii: tuple[sp.IndexedBase | sp.Symbol, ...] = (s, a, b, g, m, m_bias, c, t, A_1, A_2)
"""Data-dependent radii that L4.10 stratifies (the margin enters as 1/gamma)."""
