"""Embeddings of time and context, and the modulation of a network by them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .init import zero_init


class TimeEmbedding(nn.Module):
    """Sines and cosines of a time at geometrically spaced frequencies (Vaswani et al., arXiv:1706.03762, section 3.5).

    Args:
        features: number of features, even.
        min_frequency: smallest frequency, cycles per unit of time.
        max_frequency: largest frequency.

    >>> TimeEmbedding(features=4)(torch.tensor([0.0])).tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """

    angular_frequency: Tensor

    def __init__(self, features: int = 64, min_frequency: float = 0.1, max_frequency: float = 8.0) -> None:
        super().__init__()
        self.features, self.min_frequency, self.max_frequency = features, min_frequency, max_frequency
        frequency = torch.linspace(math.log(min_frequency), math.log(max_frequency), features // 2).exp()
        self.register_buffer("angular_frequency", 2 * math.pi * frequency)

    def forward(self, time: Tensor) -> Tensor:
        """Time (B,) to features (B, features)."""
        phase = time[:, None] * self.angular_frequency
        return torch.cat((phase.sin(), phase.cos()), dim=1)

    def extra_repr(self) -> str:
        return f"features={self.features}, min_frequency={self.min_frequency}, max_frequency={self.max_frequency}"


class Conditioner(nn.Module):
    """Time and context to one vector of features; a learned constant where there is neither.

    Args:
        context_features: C, features of the context; 0 for none.
        width: number of features returned.
        time: whether a time is given.

    >>> conditioner = Conditioner(context_features=2, width=8, time=True)
    >>> conditioner(torch.zeros(3, 5), torch.zeros(3), torch.zeros(3, 2)).shape
    torch.Size([3, 8])
    """

    def __init__(self, context_features: int, width: int, *, time: bool = False) -> None:
        super().__init__()
        self.time = TimeEmbedding() if time else None
        inputs = context_features + (self.time.features if self.time is not None else 0)
        self.hidden = nn.Linear(inputs, width) if inputs else None
        self.constant = None if inputs else nn.Parameter(torch.randn(width))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, time: Tensor | None, context: Tensor | None) -> Tensor:
        """Time (B,) and context (B, C) to (B, width); of x (B, ...) only the batch size is used."""
        inputs = [] if context is None else [context]
        if self.time is not None and time is not None:
            inputs.append(self.time(time))
        if self.hidden is None:
            assert self.constant is not None
            hidden = self.constant.expand(x.shape[0], -1)
        else:
            hidden = self.hidden(torch.cat(inputs, dim=1))
        return F.silu(self.out(F.silu(hidden)))


class Modulation(nn.Module):
    """All shifts, scales and gates of a network from its conditioning features, in one matrix product (adaLN-Zero).

    Starts at zero, so that every gated branch starts closed (Peebles & Xie, arXiv:2212.09748).

    Args:
        features: F, conditioning features.
        width: size of each returned tensor.
        count: number of returned tensors.

    >>> [tensor.shape for tensor in Modulation(features=4, width=6, count=2)(torch.zeros(3, 4))]
    [torch.Size([3, 6]), torch.Size([3, 6])]
    """

    def __init__(self, features: int, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.linear = zero_init(nn.Linear(features, width * count))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Features (B, F) to `count` tensors (B, width)."""
        return self.linear(features).chunk(self.count, dim=1)
