"""What can be wrong with a network that is to be traced."""

from __future__ import annotations

from bounds.errors import InputError


class TraceError(InputError):
    """The network cannot be traced."""


class SamplesInteract(TraceError):
    """The output for one sample depends on the others of its batch: no function of one input to bound."""


class NotAChain(InputError):
    """The network is not a chain layer, nonlinearity, layer, ..., layer."""
