r"""LaTeX formulas for a terminal: \varepsilon\|J\|_2 becomes ε‖J‖₂."""

from __future__ import annotations

import re

_WORDS = {
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "in": "∈", "to": "→",
    "infty": "∞", "cdot": "·", "times": "×", "pm": "±", "sum": "Σ", "prod": "Π", "int": "∫", "nabla": "∇",
    "partial": "∂", "ell": "ℓ", "circ": "∘", "cap": "∩", "subset": "⊂", "subseteq": "⊆", "forall": "∀", "top": "ᵀ",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
    "varphi": "φ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Lambda": "Λ", "Pi": "Π", "Sigma": "Σ",
    "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω", "ldots": "…", "dots": "…", "cdots": "…", "mid": "|", "colon": ":",
    "lceil": "⌈", "rceil": "⌉", "lfloor": "⌊", "rfloor": "⌋", "langle": "⟨", "rangle": "⟩", "lVert": "‖", "rVert": "‖",
    "Vert": "‖", "lvert": "|", "rvert": "|", "vert": "|", "quad": " ", "qquad": "  ", "setminus": "∖", "odot": "⊙",
    "equiv": "≡", "implies": "⇒", "Rightarrow": "⇒", "mapsto": "↦", "sim": "∼", "propto": "∝", "oplus": "⊕",
    "lbrace": "{", "rbrace": "}", "exists": "∃", "notin": "∉", "angle": "∠", "nmid": "∤",
    "succeq": "⪰", "varrho": "ϱ",
}  # fmt: skip
_DROPPED = {"left", "right", "bigl", "bigr", "big", "Big", "Bigl", "Bigr", "displaystyle", "limits", "textstyle"}
_PUNCTUATION = {"|": "‖", "{": "{", "}": "}", ",": " ", ";": " ", ":": " ", "!": "", " ": " ", "%": "%", "_": "_"}
_ALPHABETS = {
    "underline",
    "mathbf",
    "mathrm",
    "mathcal",
    "mathbb",
    "mathfrak",
    "operatorname",
    "text",
    "mathsf",
    "boldsymbol",
}
_ACCENTS = {"hat": "\u0302", "widehat": "\u0302", "bar": "\u0304", "overline": "\u0304", "tilde": "\u0303",
            "widetilde": "\u0303", "dot": "\u0307"}  # fmt: skip
_FUNCTIONS = {"Pr", "arg", "bmod", "cos", "cosh", "det", "exp", "inf", "lim", "ln", "log", "max", "min", "sup", "tan",
              "tanh"}  # fmt: skip
_FRACTIONS = {"frac", "tfrac", "dfrac"}
_SUBSCRIPTS = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
_SUPERSCRIPTS = dict(zip("0123456789+-=()inTLᵀ", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱⁿᵀᴸᵀ", strict=True))
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}^_]|[^\\{}^_]")


KNOWN = frozenset(_WORDS) | _DROPPED | _ALPHABETS | set(_ACCENTS) | _FUNCTIONS | _FRACTIONS | {"sqrt"}
"""The commands that `plain` can write; what else it meets stays as a word."""


def plain(latex: str) -> str:
    r"""A formula in Unicode; what has no character of its own stays readable: a_{kj} as a_(kj).

    >>> plain(r"R\le\ell+\sqrt2\,\varepsilon\|J\|_2"), plain(r"\frac{\|X\|_F}{n}\sqrt{L+1}\,x^{2}")
    ('R ≤ ℓ+√2 ε‖J‖₂', '‖X‖_F/n √(L+1) x²')
    """
    tokens = [token for token in _TOKEN.findall(latex) if token not in {"$", "&"}]
    written = re.sub(r"([≤≥=<>∈→])", r" \1 ", _sequence(tokens))  # lines may break at relations
    written = re.sub(rf" +(?=[_^{''.join(_SUBSCRIPTS.values())}{''.join(_SUPERSCRIPTS.values())}])", "", written)
    return re.sub(r"\s+", " ", written).replace("( ", "(").replace(" )", ")").strip()


def _sequence(tokens: list[str]) -> str:
    """Consumes the tokens up to the closing brace of this group, or to the end."""
    written = ""
    while tokens:
        token = tokens.pop(0)
        if token == "}":
            break
        if token in {"^", "_"}:
            written += _script(token, _argument(tokens))
        elif token == "{":
            written += _sequence(tokens)
        elif token.startswith("\\"):
            written += _command(token[1:], tokens)
        else:
            written += token
    return written


def _argument(tokens: list[str]) -> str:
    while tokens and tokens[0].isspace():
        tokens.pop(0)
    if not tokens:
        return ""
    token = tokens.pop(0)
    if token == "{":
        return _sequence(tokens)
    return _command(token[1:], tokens) if token.startswith("\\") else token


def _command(name: str, tokens: list[str]) -> str:
    if name in _FRACTIONS:
        above, below = _argument(tokens), _argument(tokens)
        return f"{_grouped(above)}/{below if _is_atom(below) else f'({below.strip()})'} "
    if name == "sqrt":
        return f"√{_grouped(_argument(tokens))}"
    if name in _ALPHABETS:
        return _argument(tokens)
    if name in _ACCENTS:
        base = _argument(tokens)
        return base[:1] + _ACCENTS[name] + base[1:]
    if name in _DROPPED:
        return ""
    if name in _PUNCTUATION:
        return _PUNCTUATION[name]
    return _WORDS.get(name) or (f" {name} " if name.isalpha() else name)


def _is_atom(text: str) -> bool:
    """Whether a text is one number, one letter with its scripts, or one pair of bars or parentheses."""
    return re.fullmatch(r"\d+|\w[^\w\s(‖|+/-]*|‖[^‖]*‖[^\w\s]*|\([^()]*\)", text.strip()) is not None


def _grouped(text: str) -> str:
    """Parentheses around what is more than one thing."""
    return f"({text})" if re.search(r"[+\-−·×/≤ ]", text.strip()) else text.strip()


def _script(kind: str, text: str) -> str:
    known = _SUBSCRIPTS if kind == "_" else _SUPERSCRIPTS
    if text and all(character in known for character in text):
        return "".join(known[character] for character in text)
    return f"{kind}{text}" if len(text) == 1 else f"{kind}({text})"
