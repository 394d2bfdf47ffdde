"""What is added to the loss in training, one regulariser per file, and their names.

>>> make("jacobian-operator", {"norm": "linf", "r": 1})
JacobianOperator(norm='linf', r=1, steps=10)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from bounds.errors import InputError, unknown_name
from verification.training.regularisers.adversarial import Adversarial
from verification.training.regularisers.cure import Cure
from verification.training.regularisers.data_spectral import DataSpectral, DataSpectralDistance
from verification.training.regularisers.global_spectral import GlobalSpectral
from verification.training.regularisers.hessian_frobenius import HessianFrobenius
from verification.training.regularisers.hessian_operator import HessianOperator
from verification.training.regularisers.input_gradient import InputGradient
from verification.training.regularisers.jacobian_frobenius import JacobianFrobenius
from verification.training.regularisers.jacobian_l1 import JacobianL1
from verification.training.regularisers.jacobian_operator import JacobianOperator
from verification.training.regularisers.logit_pairing import LogitPairing
from verification.training.regularisers.margin_jacobian import MarginJacobian
from verification.training.regularisers.penalty import Regulariser
from verification.training.regularisers.trades import Trades
from verification.training.regularisers.weight_decay import WeightDecay

REGULARISERS: dict[str, Callable[..., Regulariser]] = {
    "adversarial": Adversarial,
    "cure": Cure,
    "data-spectral": DataSpectral,
    "data-spectral-distance": DataSpectralDistance,
    "global-spectral": GlobalSpectral,
    "hessian-frobenius": HessianFrobenius,
    "hessian-operator": HessianOperator,
    "input-gradient": InputGradient,
    "jacobian-frobenius": JacobianFrobenius,
    "jacobian-l1": JacobianL1,
    "jacobian-operator": JacobianOperator,
    "logit-pairing": LogitPairing,
    "margin-jacobian": MarginJacobian,
    "trades": Trades,
    "weight-decay": WeightDecay,
}

SMOOTH = {nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.SiLU, nn.ELU}
"""Activations with a second derivative."""


def make(name: str, arguments: Mapping[str, Any]) -> Regulariser:
    """The regulariser of this name.

    Args:
        name: a key of REGULARISERS.
        arguments: keyword arguments of its class.

    Raises:
        InputError: for an unknown name (suggests the nearest), or arguments that it does not take.
    """
    if name not in REGULARISERS:
        raise unknown_name("regulariser", name, REGULARISERS)
    try:
        return REGULARISERS[name](**arguments)
    except TypeError as error:
        said = str(error).removeprefix(f"{REGULARISERS[name].__name__}.")
        raise InputError(f"regulariser '{name}': {said}") from error


def remark(name: str, network: nn.Module) -> str | None:
    """What a reader must know about a regulariser on this network; None if nothing.

    >>> remark("hessian-operator", nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)))
    'the network has no second derivative in its input: only the curvature of the loss remains'
    """
    kinds = {type(part) for part in network.modules() if not list(part.children())}
    if name.startswith("hessian-") and not kinds & SMOOTH:
        return "the network has no second derivative in its input: only the curvature of the loss remains"
    return None
