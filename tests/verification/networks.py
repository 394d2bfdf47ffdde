"""Small networks, inputs and slow float64 oracles that the tests of this room share."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from verification.training.networks import build


class Residual(nn.Module):
    """ReLU network with a sum and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(10, 3)

    def forward(self, x):
        z = torch.relu(self.first(x.flatten(1)))
        joined = torch.cat([z + torch.relu(self.second(z)), z], dim=1)
        return self.last(joined)


def residual(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Residual()


def overlapping_pool(seed):
    """Convolution, ReLU and a padded max-pool with overlapping windows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Flatten(),
            nn.Linear(8, 3),
        )


def mlp(seed, activation="relu", inputs=4, widths=(7, 6), classes=3):
    return build("mlp", {"inputs": inputs, "widths": widths, "classes": classes, "activation": activation}, seed)


def leaky(seed):
    model = mlp(seed, "leaky_relu")
    for module in model:
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = 0.3
    return model


def cnn(seed, pool="max"):
    return build("cnn", {"size": 4, "filters": [2], "hidden": 5, "classes": 3, "pool": pool}, seed)


def inputs(n, shape, seed):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_jacobian(model, x):
    """(K, d) by automatic differentiation of one sample, float64."""
    model = model.double()
    jacobian = torch.autograd.functional.jacobian(lambda z: model(z[None])[0], x.double())
    return jacobian.flatten(1).numpy()


def dense_logits(model, x):
    with torch.no_grad():
        return model.double()(x.double()[None])[0].numpy()


def loss(logits, y):
    top = logits.max()
    return float(np.log(np.exp(logits - top).sum()) + top - logits[y])
