"""How numbers are written: powers of ten of any size, losses, gaps; with a true minus sign."""

from __future__ import annotations

MISSING = "–"
MINUS = "\N{MINUS SIGN}"


def exponent(log10: float) -> str:
    """The exponent of a power of ten: two decimals, fewer when it is large.

    >>> exponent(7.316), exponent(-0.5), exponent(412.34), exponent(100000.2)
    ('7.32', '−0.50', '412.3', '100000')
    """
    decimals = 2 if abs(log10) < 100 else 1 if abs(log10) < 1000 else 0
    return f"{log10:.{decimals}f}".replace("-", MINUS)


def power(log10: float | None) -> str:
    """A number given by its log10, in plain text.

    >>> power(7.316), power(None)
    ('10^7.32', '–')
    """
    return MISSING if log10 is None else f"10^{exponent(log10)}"


def decimal(number: float | None, digits: int = 3) -> str:
    """A number of ordinary size with `digits` significant digits.

    >>> decimal(0.030001), decimal(0.9996), decimal(-0.00131), decimal(60000), decimal(2.5e-9), decimal(None)
    ('0.0300', '1.00', '−0.00131', '60000', '2.50e−9', '–')
    """
    if number is None:
        return MISSING
    if number == 0:
        return "0"
    mantissa, _, power_of_ten = f"{number:.{digits - 1}e}".partition("e")
    size = int(power_of_ten)  # of the rounded number
    text = f"{number:.{max(0, digits - 1 - size)}f}" if -5 < size < 7 else f"{mantissa}e{size}"
    return text.replace("-", MINUS)


def count(number: int) -> str:
    """A whole number with thin spaces between thousands.

    >>> count(431080).replace("\N{THIN SPACE}", "_")
    '431_080'
    """
    return f"{number:,}".replace(",", "\N{THIN SPACE}")


def percent(share: float | None, decimals: int = 0) -> str:
    """A share as a percentage.

    >>> percent(0.584), percent(0.584, 1), percent(None)
    ('58\u202f%', '58.4\u202f%', '–')
    """
    return MISSING if share is None else f"{100 * share:.{decimals}f}\N{NARROW NO-BREAK SPACE}%"
