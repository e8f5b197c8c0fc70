"""Paths between two points: pure functions of the ends and of times from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Interpolation = Callable[[Tensor, Tensor, Tensor], Tensor]
"""interpolation(a (B, L), b (B, L), times (T,) from 0 to 1) -> points (T, B, L)."""


def lerp(a: Tensor, b: Tensor, times: Tensor) -> Tensor:
    """Linear interpolation: a (B, L) and b (B, L) at times (T,) to (T, B, L).

    >>> lerp(torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([0.0, 0.5, 1.0])).flatten()
    tensor([0.0000, 0.5000, 1.0000])
    """
    return torch.lerp(a, b, times[:, None, None])


def slerp(a: Tensor, b: Tensor, times: Tensor) -> Tensor:
    """Spherical interpolation: a (B, L) and b (B, L) at times (T,) to (T, B, L).

    Directions follow the great circle, lengths change linearly (White, "Sampling generative networks",
    arXiv:1609.04468). Standard normal codes of high dimension lie near a sphere, which a straight line leaves. Two
    points on one line with the origin have no unique great circle, and are joined by `lerp`.

    >>> slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([0.5]))
    tensor([[[0.7071, 0.7071]]])
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
