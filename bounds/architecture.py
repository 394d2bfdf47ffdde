"""What a bound may know of a network: layers, nonlinearities and obstacles, without weights and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Layer:
    """A maximal affine segment W_i (theory §0), i = 1..L.

    Attributes:
        name: the module's name(s), for messages ("conv1", "features.0+features.1").
        d_in: dimension of the input z_{i-1}.
        d_out: dimension of h_i = W_i z_{i-1} + c_i.
        bias: whether c_i is not identically zero by construction.
        convolution: whether the linear part is one convolution with a known kernel.
        parameters: N_i, free parameters of the class used by parametric covers: kernel (or dense matrix) plus offset.
        kernel_positions: k_pos, kernel positions of a convolution; 1 for a dense layer.
        output_positions: P_out, output positions of a convolution; 1 for a dense layer.
    """

    name: str
    d_in: int
    d_out: int
    bias: bool
    convolution: bool
    parameters: int
    kernel_positions: int = 1
    output_positions: int = 1


@dataclass(frozen=True)
class Nonlinearity:
    """phi_i between layers i and i+1: elementwise activations and max-pools, composed.

    Attributes:
        name: where it is ("relu after conv1").
        functions: keys of its parts in order ("relu", "max_pool").
        rho: Lipschitz constant, rounded up; includes the max-pool factor sqrt(overlap) (theory L7.3).
        beta: Lipschitz constant of the derivative, rounded up; None when there is none.
        at_zero: |phi_i(0)|, the same for every unit.
        homogeneous: phi(cz) = c phi(z) for c >= 0.
        max_pool_overlap: largest number of pooling windows that share a unit; 0 without max-pool.
        d_out: dimension of z_i.
    """

    name: str
    functions: tuple[str, ...]
    rho: float
    beta: float | None
    at_zero: float
    homogeneous: bool
    max_pool_overlap: int
    d_out: int


@dataclass(frozen=True)
class Obstacle:
    """A reason why the network is not a chain of layers and nonlinearities.

    Attributes:
        kind: "join" (residual addition, concatenation, product), "opaque" (unknown module), "ends" (the chain does
            not start and end with an affine layer), "untraced" (nothing is known of the layers).
        name: the thing, as a message shows it ("residual join after block2").
        why: what it is, or what is wrong with it.
        remedy: what would make chain bounds apply.
    """

    kind: Literal["join", "opaque", "ends", "untraced"]
    name: str
    why: str
    remedy: str


def grouped(obstacles: Sequence[Obstacle]) -> dict[tuple[str, str], str]:
    """The names of obstacles, by why they are obstacles and what would help: few of them, and how many more.

    >>> joins = [Obstacle("join", f"join {i}", "not covered", "use a chain") for i in range(5)]
    >>> grouped(joins)
    {('not covered', 'use a chain'): 'join 0, join 1, join 2 (+2 more)'}
    """
    names: dict[tuple[str, str], list[str]] = {}
    for obstacle in obstacles:
        names.setdefault((obstacle.why, obstacle.remedy), []).append(obstacle.name)
    return {
        reason: ", ".join(all[:3]) + (f" (+{len(all) - 3} more)" if all[3:] else "") for reason, all in names.items()
    }


def in_words(obstacles: Sequence[Obstacle]) -> str:
    """All obstacles in one line.

    >>> in_words([Obstacle("opaque", "act (Mish)", "an unknown activation", "use relu")])
    'act (Mish): an unknown activation; use relu'
    """
    return "; ".join(f"{names}: {why}; {remedy}" for (why, remedy), names in grouped(obstacles).items())


@dataclass(frozen=True)
class Architecture:
    """The network as the catalogue sees it.

    `layers` and `nonlinearities` list what was found, in order of execution; only when `obstacles` is empty do they
    form the chain layer 1, nonlinearity 1, layer 2, ..., layer L (then len(nonlinearities) == L-1).
    """

    layers: tuple[Layer, ...]
    nonlinearities: tuple[Nonlinearity, ...]
    obstacles: tuple[Obstacle, ...]
    d: int
    classes: int

    @property
    def depth(self) -> int:
        """L, the number of affine segments."""
        return len(self.layers)
