"""Increasing bijections of single numbers, whose parameters a network gives: what couplings and the like bend with.

Additive: Dinh et al., "NICE", arXiv:1410.8516. Affine: Dinh et al., "RealNVP", arXiv:1605.08803. Splines and mixtures
of logistics lie with the families that are named after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Transform

from ...layout import Layout
from .bijection import NumberBijection, Summed


class Elementwise(Protocol):
    """A set of bijections of the line, of an interval or of a circle; at P zeros stands the identity, or nearly so."""

    @property
    def size(self) -> int:
        """P."""
        ...

    def __call__(self, parameters: Tensor) -> Transform:
        """Unconstrained parameters (..., P, D) to a transform of (..., D), whose log-determinant is (..., D) too."""
        ...


class AffineTransform(NumberBijection):
    """y = exp(log_scale) x + shift, all of shape (..., D)."""

    def __init__(self, shift: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.shift, self.log_scale = shift, log_scale

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp() + self.shift, self.log_scale.expand_as(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.shift) * (-self.log_scale).exp()


@dataclass(frozen=True)
class Additive:
    """Shifts."""

    size: int = 1

    def __call__(self, parameters: Tensor) -> Transform:
        shift = parameters[..., 0, :]
        return AffineTransform(shift, torch.zeros_like(shift))


@dataclass(frozen=True)
class Affine:
    """Shifts and scales; |log scale| stays below `bound`.

    A stack multiplies scales, and does so where nothing was ever seen: wide bounds make a few rare samples impossible.
    """

    bound: float = 2.0
    size: int = 2

    def __call__(self, parameters: Tensor) -> Transform:
        shift, scale = parameters.unbind(-2)
        return AffineTransform(shift, scale / (1 + scale.abs() / self.bound))


class Amortised(nn.Module):
    """Numbers of some shape that are linear in the condition: (*shape,) without one, else (B, *shape)."""

    def __init__(self, start: Tensor, context_features: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(start)
        self.slope = nn.Parameter(torch.zeros(*start.shape, context_features))

    def forward(self, context: Tensor | None) -> Tensor:
        if context is None:
            return self.constant
        return self.constant + torch.tensordot(context, self.slope, dims=([-1], [-1]))  # type: ignore[arg-type]


class Alone(nn.Module):
    """Lazy transform that bends every number by itself, as the condition alone says; starts as the identity."""

    def __init__(self, layout: Layout, elementwise: Elementwise) -> None:
        super().__init__()
        self.elementwise = elementwise
        self.amortised = Amortised(torch.zeros(elementwise.size, layout.features), layout.context_features)

    def forward(self, context: Tensor | None) -> Transform:
        return Summed(self.elementwise(self.amortised(context)))
