"""Linear layers whose outputs see some inputs and not others.

Every unit has a reach: how many numbers, in the order of drawing, it depends on. An output sees the inputs whose reach
is not beyond its own, and so does whatever is made of it (Germain et al., "MADE", arXiv:1502.03509, section 4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MaskedLinear(nn.Module):
    """y_o = b_o + sum of w_oi x_i over inputs i with reach_i <= reach_o; the reaches are given with every call."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        whole = nn.Linear(inputs, outputs)
        self.weight, self.bias = whole.weight, whole.bias

    def masked(self, takes: Tensor, gives: Tensor) -> Tensor:
        """The weights (O, I) between inputs of reaches (I,) and outputs of reaches (O,), zero where not seen."""
        return torch.where(takes <= gives[:, None], self.weight, 0.0)

    def forward(self, x: Tensor, takes: Tensor, gives: Tensor) -> Tensor:
        """x (B, I) to (B, O)."""
        return F.linear(x, self.masked(takes, gives), self.bias)


def evenly_spaced_degrees(least: int, most: int, units: int) -> Tensor:
    """Reaches (units,), int64, evenly from `least` to `most` in random order (of torch's global generator).

    Even, where the paper draws each unit's: a width as large as the range leaves no reach out.
    """
    return (least + torch.arange(units) * (most - least + 1) // units)[torch.randperm(units)]
