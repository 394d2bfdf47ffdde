r"""A-posteriori validity (L4.10): a bound for classes fixed in advance, made to hold for the trained network.

The radii are rounded up to a geometric grid and the failure probability is shared out over the grid with weights that
sum to one over all integers. Own derivation, generalising Bartlett, Foster & Telgarsky 2017, Lemma A.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bounds.calculus.arithmetic import point


@dataclass(frozen=True)
class Grid:
    """The grid t0 (1 + eta)^j, fixed in advance.

    Attributes:
        eta: relative step; a smaller one rounds less and pays more failure probability.
        t0: where the grid is centred.
        t_min: radii below are treated as this.
    """

    eta: float = 0.05
    t0: float = 1.0
    t_min: float = 1e-6

    def stratum(self, radius: float) -> int:
        """The smallest j on the grid with t0 (1+eta)^j >= max(radius, t_min).

        >>> Grid(eta=0.25).stratum(1.0), Grid(eta=0.25).stratum(1.3)
        (0, 2)
        """
        target = point.mpf(max(radius, self.t_min))
        j = int(point.ceil(point.log(target / self.t0) / point.log1p(point.mpf(self.eta))))
        # The logarithm may round either way across a grid point.
        while self.value(j) < target:
            j += 1
        while self.value(j - 1) >= target:
            j -= 1
        return j

    def value(self, j: int) -> Any:
        """t0 (1+eta)^j, mpf."""
        return point.mpf(self.t0) * (1 + point.mpf(self.eta)) ** j


def weight(j: int) -> Any:
    """w(0) = c, w(j) = c/j^2 with c = 3/(3+pi^2): a distribution over the integers (theory L4.10), mpf.

    >>> abs(float(weight(0) + 2 * sum(weight(j) for j in range(1, 4000))) - 1) < 2e-4
    True
    """
    c = 3 / (3 + point.pi**2)
    return c if j == 0 else c / point.mpf(j) ** 2
