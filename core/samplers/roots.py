"""Inverses of increasing functions without an inverse in closed form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Increasing = Callable[[Tensor], tuple[Tensor, Tensor]]
"""f(x (...)) -> (f(x) (...), log f'(x) (...)), elementwise."""


def invert(f: Increasing, y: Tensor, low: Tensor, high: Tensor, *, limit: int = 40) -> Tensor:
    """Solve f(x) = y elementwise: Newton's steps while they at least halve and stay in the bracket, else bisection.

    Gradients go through the last step alone, which gives them the derivatives of the implicit function.

    Args:
        f: increasing; returns its value and the log of its derivative.
        y: values, (...).
        low: lower bounds of x, (...).
        high: upper bounds of x, (...).
        limit: largest number of steps.

    >>> invert(lambda x: (x**3, (3 * x**2).log()), torch.tensor([8.0]), torch.tensor([0.0]), torch.tensor([10.0]))
    tensor([2.])
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
