"""Text as LaTeX: special characters escaped, mathematical characters as commands, nothing outside ASCII."""

from __future__ import annotations

import unicodedata

_SPECIAL = {
    "\\": "\\textbackslash{}",
    "{": "\\{",
    "}": "\\}",
    "$": "\\$",
    "&": "\\&",
    "#": "\\#",
    "%": "\\%",
    "_": "\\_",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
}
_SYMBOLS = {
    "–": "--",
    "—": "---",
    "\N{MINUS SIGN}": "$-$",
    "…": "\\ldots{}",
    "\N{THIN SPACE}": "\\,",
    "\N{NARROW NO-BREAK SPACE}": "\\,",
    "\N{NO-BREAK SPACE}": "~",
    "ℓ": "$\\ell$",
    "∞": "$\\infty$",
    "×": "$\\times$",
    "·": "$\\cdot$",
    "≤": "$\\le$",
    "≥": "$\\ge$",
    "∩": "$\\cap$",
    "√": "$\\surd$",
    "‖": "$\\|$",
    "Σ": "$\\Sigma$",
    "Π": "$\\Pi$",
    "→": "$\\to$",
    "⁰": "$^0$",
    "¹": "$^1$",
    "²": "$^2$",
    "³": "$^3$",
    "α": "$\\alpha$",
    "β": "$\\beta$",
    "γ": "$\\gamma$",
    "δ": "$\\delta$",
    "ε": "$\\varepsilon$",
    "η": "$\\eta$",
    "θ": "$\\theta$",
    "λ": "$\\lambda$",
    "ρ": "$\\rho$",
    "σ": "$\\sigma$",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u030c": "v",
    "\u0327": "c",
}


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it stands; line breaks become spaces.

    >>> print(escape("ℓ∞ at 50 %, conv_1 & Müller"))
    $\ell$$\infty$ at 50 \%, conv\_1 \& M\"{u}ller
    """
    return "".join(map(_character, " ".join(text.splitlines())))


def power_of_ten(exponent: str) -> str:
    """A power of ten from its escaped exponent; a missing one stays a dash.

    >>> power_of_ten("7.32"), power_of_ten(escape("−0.50")), power_of_ten("--")
    ('$10^{7.32}$', '$10^{-0.50}$', '--')
    """
    return exponent if exponent == "--" else "$10^{" + exponent.replace("$", "") + "}$"


def _character(character: str) -> str:
    known = _SPECIAL.get(character) or _SYMBOLS.get(character)
    if known:
        return known
    if character.isascii():
        return character if character.isprintable() else " "
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return f"\\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return f"\\texttt{{U+{ord(character):04X}}}"
