"""Certificates: upper bounds of the robust loss and lower bounds of the worst-case margin.

`certify` takes every route there is; it loads on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verification.certify.certifier import certify

__all__ = ["certify"]


def __getattr__(name: str) -> Any:
    if name == "certify":
        from verification.certify import certifier

        return certifier.certify
    raise AttributeError(f"module 'verification.certify' has no attribute {name!r}")
