"""Inverses of increasing functions that have none in closed form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Increasing = Callable[[Tensor], tuple[Tensor, Tensor]]
"""f(x (...)) -> (value (...), log of the slope (...)), number by number."""


def invert(f: Increasing, y: Tensor, low: Tensor, high: Tensor, *, limit: int = 40) -> Tensor:
    """x with f(x) = y between low and high: Newton's steps where they shrink, halvings where not.

    The last step alone is differentiated, which gives the derivatives of the implicit function.
    """
    with torch.no_grad():
        x, last = (low + high) / 2, high - low
        close = 1e3 * torch.finfo(x.dtype).eps  # Newton's step from there is exact to rounding
        for _ in range(limit):
            value, log_slope = f(x)
            low, high = torch.where(value < y, x, low), torch.where(value < y, high, x)
            step = (y - value) * (-log_slope).exp()
            near = ((value - y).abs() <= close * y.abs().clamp(min=1)) | (step.abs() <= close * x.abs().clamp(min=1))
            good = (x + step >= low) & (x + step <= high) & (step.abs() < last / 2)
            step = torch.where(near | good, step, (low + high) / 2 - x)
            x, last = x + step, step.abs()
            if near.all():
                break
    value, log_slope = f(x)
    return x - (value - y) * (-log_slope).exp().detach()
