"""Data in the space that is measured and attacked: what a network's input module returns for them."""

from __future__ import annotations

import torch

from bounds.architecture import Obstacle
from bounds.budget import Budget
from bounds.inputs.data import Data
from bounds.network.adapted import Adapted

BATCH = 256


def learned_inputs(model: object) -> tuple[Obstacle, ...]:
    """Why no bound from training data speaks of a network behind its input module: none where there is no such module.

    Such a bound takes its inputs as given before the training, and what the module makes of them was learned with the
    rest. Hold-out bounds, attacks and certificates do not mind.
    """
    if not isinstance(model, Adapted) or model.input_module is None:
        return ()
    why = f"what '{model.input_module}' returns was learned, but the inputs of a bound must not depend on the training"
    return (Obstacle("untraced", "the inputs", why, "rely on the hold-out rows"),)


def measured(model: object, data: Data) -> Data:
    """The data as they are, or as the input module of an adapted network (see `adapt`) passes them on.

    Args:
        model: the network.
        data: its inputs.

    Raises:
        InputError: when what the module returns does not fit into memory, or the module does not serve.

    >>> from torch import nn
    >>> from bounds.network.adapted import adapt
    >>> network = adapt(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2)), input_module="1")
    >>> data = Data("toy", torch.zeros(5, 2, 2), torch.zeros(5, dtype=torch.int64), 2)
    >>> measured(network, data).input_shape, measured(nn.Identity(), data).input_shape
    ((3,), (2, 2))
    """
    if not isinstance(model, Adapted) or model.input_module is None:
        return data
    parts: list[torch.Tensor] = []
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    for x, _ in data.batches(BATCH):
        parts.append(model.measured(x.to(dtype) if x.is_floating_point() else x))
        whole = parts[0][0].numel() * parts[0].element_size() * len(data)
        Budget.available().pieces(whole, 1, f"{data.name}: what '{model.input_module}' returns for {len(data)} samples")
    return Data(data.name, torch.cat(parts), data.y, data.classes, None, data.label)
