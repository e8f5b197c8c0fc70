"""Times and conditions as features that steer a network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .init import zero_init


class TimeEmbedding(nn.Module):
    """Sines and cosines of a time at geometrically spaced frequencies (Vaswani et al., arXiv:1706.03762, 3.5).

    Args:
        features: number of features, even.
        low: smallest frequency, cycles per unit of time.
        high: largest one.
    """

    angular: Tensor

    def __init__(self, features: int = 64, low: float = 0.1, high: float = 8.0) -> None:
        super().__init__()
        self.features = features
        ladder = torch.linspace(math.log(low), math.log(high), features // 2).exp()
        self.register_buffer("angular", 2 * math.pi * ladder)

    def forward(self, time: Tensor) -> Tensor:
        """Time (B,) to features (B, features)."""
        phase = time[:, None] * self.angular
        return torch.cat((phase.sin(), phase.cos()), dim=1)


class Conditioner(nn.Module):
    """Time and condition to one vector of features; a learned constant where there is neither.

    Args:
        context_features: C, features of the context; 0 for none.
        width: number of features returned.
        time: whether a time is given.
    """

    def __init__(self, context_features: int, width: int, *, time: bool = False) -> None:
        super().__init__()
        self.time = TimeEmbedding() if time else None
        inputs = context_features + (self.time.features if self.time is not None else 0)
        self.hidden = nn.Linear(inputs, width) if inputs else None
        self.constant = None if inputs else nn.Parameter(torch.randn(width))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, time: Tensor | None, condition: Tensor | None) -> Tensor:
        """Time (B,) and condition (B, context) to (B, width); x (B, ...) tells the batch size alone."""
        inputs = [] if condition is None else [condition]
        if self.time is not None and time is not None:
            inputs.append(self.time(time))
        if self.hidden is None:
            assert self.constant is not None
            hidden = self.constant.expand(x.shape[0], -1)
        else:
            hidden = self.hidden(torch.cat(inputs, dim=1))
        return F.silu(self.out(F.silu(hidden)))


class Modulation(nn.Module):
    """All shifts, scales and gates of a network from its conditioning features in one product (adaLN-Zero).

    Starts at zero, so that every gated branch starts closed (Peebles & Xie, arXiv:2212.09748).
    """

    def __init__(self, features: int, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.linear = zero_init(nn.Linear(features, width * count))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Features (B, F) to `count` tensors (B, width)."""
        return self.linear(features).chunk(self.count, dim=1)
