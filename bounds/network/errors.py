"""What can be wrong with a network."""

from __future__ import annotations

from bounds.errors import InputError

# What the code of a network raises that meets another precision, shape or type than it was written for.
FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


def first_line(error: Exception) -> str:
    """What an exception says, for a message.

    >>> first_line(ValueError("too wide, by far"))
    'too wide, by far'
    """
    return (str(error).strip() or repr(error)).splitlines()[0]


class TraceError(InputError):
    """The network cannot be traced: there is no graph of it, and all that needs one is out of reach."""


class InvalidNetwork(InputError):
    """Nothing can be said of the network: it is no deterministic function of one sample, or not differentiable."""


class SamplesInteract(InvalidNetwork):
    """The output for one sample depends on the others of its batch: no function of one input to bound."""


class NotAChain(InputError):
    """The network is not a chain layer, nonlinearity, layer, ..., layer."""
