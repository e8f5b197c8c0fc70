"""Linear layers in which each feature sees the features before it, with a weight for every pair of them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .init import zero_init


class StrictlyLower(nn.Module):
    """y_i = b_i + sum_{j<i} W_ij x_j + V_i c: linear in all features before the i-th, and in the context.

    Args:
        features: D.
        embed_dim: K, inputs of each feature.
        context_features: C, features of the context.
        outputs: P, outputs of each feature.

    >>> layer = StrictlyLower(features=3, embed_dim=1, context_features=0, outputs=2)
    >>> layer(torch.zeros(5, 3, 1), None).shape
    torch.Size([5, 3, 2])
    """

    pairs: Tensor
    no_weight_decay: ClassVar[tuple[str, ...]] = ("bias",)

    def __init__(self, features: int, embed_dim: int, context_features: int, outputs: int) -> None:
        super().__init__()
        pairs = torch.tril_indices(features, features, -1)  # (feature, one before it)
        self.register_buffer("pairs", pairs, persistent=False)
        self.weight = nn.Parameter(torch.zeros(pairs.shape[1], outputs, embed_dim))
        self.bias = nn.Parameter(torch.zeros(features, outputs))
        self.context_proj = nn.Linear(context_features, features * outputs, bias=False) if context_features else None

    def extra_repr(self) -> str:
        features, outputs = self.bias.shape
        return f"features={features}, embed_dim={self.weight.shape[2]}, outputs={outputs}"

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Inputs (B, D, K) and context (B, C) to (B, D, P)."""
        features = len(self.bias)
        weight = self.weight.new_zeros(features, features, *self.weight.shape[1:]).index_put(
            tuple(self.pairs), self.weight
        )
        out = torch.einsum("bjk,ijpk->bip", inputs, weight) + self.bias
        if self.context_proj is not None:
            out = out + self.context_proj(context).unflatten(1, self.bias.shape)
        return out


class ChannelHead(nn.Module):
    """Likelihood parameters of the channels at one position, each given the position's hidden vector and the channels
    before it.

    Args:
        channels: C, of a position.
        embed_dim: K, inputs of each channel.
        width: F, features of a position's hidden vector.
        outputs: P, parameters of each channel.

    >>> head = ChannelHead(channels=3, embed_dim=1, width=8, outputs=2)
    >>> head(torch.zeros(5, 3, 1), torch.zeros(5, 8)).shape
    torch.Size([5, 3, 2])
    """

    def __init__(self, channels: int, embed_dim: int, width: int, outputs: int) -> None:
        super().__init__()
        self.mix = StrictlyLower(channels, embed_dim, width, width)
        self.output = zero_init(nn.Linear(width, outputs))

    def forward(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """Channels (N, C, K) and hidden vectors (N, F) of N positions to parameters (N, C, P)."""
        return self.output(F.silu(self.mix(inputs, F.silu(hidden))))
