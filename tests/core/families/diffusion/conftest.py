"""Networks given by a function, and data of known density."""

import pytest
import torch
from maquette.core.data import Batch
from torch import nn


class Function(nn.Module):
    """A backbone made of a function of (x (B, D), time (B, 1), context)."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, time, context):
        return self.function(x, time[:, None], context)


class TwoClusters:
    """Half of the data N(-1.5, 0.3^2), half N(1.5, 0.3^2), in one dimension."""

    def draw(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        side = torch.randint(2, (n, 1), generator=generator) * 3 - 1.5
        return side + 0.3 * torch.randn(n, 1, generator=generator)

    def batch(self, n, seed):
        return Batch(self.draw(n, seed), None, seed * n + torch.arange(n))

    def log_prob(self, x):
        sides = torch.tensor([-1.5, 1.5], dtype=x.dtype)
        return torch.distributions.Normal(sides, 0.3).log_prob(x).logsumexp(1) - torch.tensor(2.0).log()


@pytest.fixture
def function():
    return Function


@pytest.fixture
def clusters():
    return TwoClusters()
