"""What a choice of bounds needs: which of their variants apply, and what those read of network and data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bounds import symbols
from bounds.architecture import Architecture
from bounds.calculus.jacobian_cover import JACOBIAN_NORMS
from bounds.catalogue.assumptions import Setting, Violation
from bounds.catalogue.entry import Bound, Entry, HoldOut
from bounds.measurements import LAYER_NORMS
from bounds.readings import used
from bounds.rows import violations


@dataclass(frozen=True)
class Candidate:
    """A variant of an entry, and what stands in its way."""

    entry: Entry
    variant: Bound | HoldOut
    reasons: tuple[Violation, ...]


@dataclass(frozen=True)
class Needs:
    """What some applicable variant reads.

    Attributes:
        layers: norms of layers, of `LAYER_NORMS`.
        surrogates: norms of Jacobians, keys of `JACOBIAN_NORMS`.
        robust: whether margins under attack.
    """

    layers: frozenset[str]
    surrogates: frozenset[str]
    robust: bool


def candidates(
    entries: Iterable[Entry], architecture: Architecture, setting: Setting, spoilt: Sequence[Violation] = ()
) -> Iterator[Candidate]:
    """The variants of some entries for an attack set, in order.

    Args:
        entries: of the catalogue.
        architecture: of the network.
        setting: what else they depend on.
        spoilt: why the held-out samples are none.
    """
    for entry in entries:
        for variant in entry.variants:
            if isinstance(variant, HoldOut):
                if variant.target == "risk" or setting.certified:
                    yield Candidate(entry, variant, tuple(spoilt))
            elif variant.surrogate is None or setting.attack_norm in (None, *JACOBIAN_NORMS[variant.surrogate].attack):
                yield Candidate(entry, variant, tuple(violations(variant, architecture, setting)))


def needs(chosen: Iterable[Candidate]) -> Needs:
    """What the applicable ones need.

    >>> from bounds import catalogue
    >>> setting = Setting(n=10, attack_norm=None, certified=False, support=True)
    >>> linear = Architecture((), (), (), d=1, classes=2)
    >>> found = needs(candidates([catalogue.get("golowich2018_frobenius")], linear, setting))
    >>> sorted(found.layers), found.robust
    (['a', 'c'], False)
    """
    variants = [candidate.variant for candidate in chosen if not candidate.reasons]
    bounds = [variant for variant in variants if isinstance(variant, Bound)]
    return Needs(
        layers=frozenset().union(*map(_layer_norms, bounds)),
        surrogates=frozenset(bound.surrogate for bound in bounds if bound.surrogate is not None),
        robust=any(variant.target == "robust risk" for variant in variants),
    )


def _layer_norms(bound: Bound) -> frozenset[str]:
    """Those that the numbers of a row are computed from: the gap, the shares of the layers and the remainder."""
    read = used(bound.gap, *(part for part in (bound.share, bound.remainder) if part is not None))
    return frozenset(name for name in LAYER_NORMS if getattr(symbols, name) in read)
