"""Ways from one point to another: pure functions of the two ends and of times."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Interpolation = Callable[[Tensor, Tensor, Tensor], Tensor]
"""path(codes a (B, L), codes b (B, L), times (T,) from 0 to 1) -> codes (T, B, L)."""


def lerp(a: Tensor, b: Tensor, times: Tensor) -> Tensor:
    """The straight line."""
    return torch.lerp(a, b, times[:, None, None])


def slerp(a: Tensor, b: Tensor, times: Tensor) -> Tensor:
    """The great circle, with the length changing linearly (White, "Sampling generative networks", arXiv:1609.04468).

    Codes of many numbers with a normal law lie near a sphere, which a straight line leaves. Codes on one line with the
    origin are joined straight.
    """
    t = times[:, None, None]
    near, far = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    u, v = a / near.clamp(min=1e-12), b / far.clamp(min=1e-12)
    angle = torch.acos((u * v).sum(1, keepdim=True).clamp(-1, 1))
    sine = angle.sin()
    along = (sine < 1e-6) | (near == 0) | (far == 0)
    sine = sine.masked_fill(along, 1.0)
    circle = (torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / sine * torch.lerp(near, far, t)
    return torch.where(along, lerp(a, b, times), circle)
