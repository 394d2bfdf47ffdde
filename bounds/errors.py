"""The one error a user can cause."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input, described in one line that names the thing and the cause; the command line exits with code 2.

    >>> raise InputError("weights.pt: the file is empty")
    Traceback (most recent call last):
        ...
    bounds.errors.InputError: weights.pt: the file is empty
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Error for a name that is not in `known`, suggesting the nearest one.

    >>> print(unknown_name("data set", "minst", ["digits", "mnist"]))
    unknown data set 'minst': did you mean 'mnist'? (known: digits, mnist)
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" did you mean '{near[0]}'?" if near else ""
    return InputError(f"unknown {kind} '{name}':{hint} (known: {', '.join(names)})")
