"""Inverses of increasing functions that have none in closed form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Increasing = Callable[[Tensor], tuple[Tensor, Tensor]]
"""f(x (...)) -> (value (...), log of the slope (...)), number by number."""


def bracket(f: Increasing, y: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers (low, high) of y's shape with f(low) <= y <= f(high), for f that takes all values."""
    low, high = -torch.ones_like(y), torch.ones_like(y)
    with torch.no_grad():
        while (outside := f(low)[0] > y).any():
            low = torch.where(outside, 2 * low, low)
        while (outside := f(high)[0] < y).any():
            high = torch.where(outside, 2 * high, high)
    return low, high


def invert(f: Increasing, y: Tensor, low: Tensor, high: Tensor, *, halvings: int = 40, steps: int = 3) -> Tensor:
    """x with f(x) = y: halvings of [low, high], then Newton's steps.

    The last of these alone is differentiated, which gives the derivatives of the implicit function.
    """
    with torch.no_grad():
        for _ in range(halvings):
            middle = (low + high) / 2
            below = f(middle)[0] < y
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        x = (low + high) / 2
        for _ in range(steps - 1):
            value, log_slope = f(x)
            x = x - (value - y) * (-log_slope).exp()
    value, log_slope = f(x)
    return x - (value - y) * (-log_slope).exp().detach()
