"""Linear in what comes before, with weights of its own for every pair of places: a strictly lower triangle of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .init import zero_init


class StrictlyLower(nn.Module):
    """y_i = b_i + sum_{j<i} W_ij x_j + V_i c: linear in all inputs before one's own, and in the condition.

    Args:
        numbers: D.
        inputs: K, numbers in which a feature is embedded.
        context_features: C, features of the context.
        outputs: P, of a number.
    """

    pairs: Tensor

    def __init__(self, numbers: int, inputs: int, context_features: int, outputs: int) -> None:
        super().__init__()
        pairs = torch.tril_indices(numbers, numbers, -1)  # (number, one before it)
        self.register_buffer("pairs", pairs, persistent=False)
        self.weight = nn.Parameter(torch.zeros(pairs.shape[1], outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(numbers, outputs))
        self.condition = nn.Linear(context_features, numbers * outputs, bias=False) if context_features else None

    def forward(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """Inputs (B, D, K) and context (B, C) to (B, D, P)."""
        numbers = len(self.bias)
        weight = self.weight.new_zeros(numbers, numbers, *self.weight.shape[1:]).index_put(
            tuple(self.pairs), self.weight
        )
        out = torch.einsum("bjk,ijpk->bip", inputs, weight) + self.bias
        if self.condition is not None:
            out = out + self.condition(context).unflatten(1, self.bias.shape)
        return out


class Channels(nn.Module):
    """Parameters of the numbers of one place in turn: each from the place's features and the numbers before it there.

    Args:
        numbers: C, of a place.
        inputs: K, numbers in which a feature is embedded.
        features: F, of a place, that say what earlier places mean for it.
        outputs: P, parameters of a number's law.
    """

    def __init__(self, numbers: int, inputs: int, features: int, outputs: int) -> None:
        super().__init__()
        self.mix = StrictlyLower(numbers, inputs, features, features)
        self.leave = zero_init(nn.Linear(features, outputs))

    def forward(self, inputs: Tensor, features: Tensor) -> Tensor:
        """Inputs (N, C, K) and features (N, F) of N places to parameters (N, C, P)."""
        return self.leave(F.silu(self.mix(inputs, F.silu(features))))
