"""Increasing bijections of single numbers, whose parameters a network gives: what couplings and the like bend with.

Additive: Dinh et al., "NICE", arXiv:1410.8516. Affine: Dinh et al., "RealNVP", arXiv:1605.08803. Splines and mixtures
of logistics lie with the families that are named after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints

from ...layout import Layout


class Elementwise(Protocol):
    """A set of bijections of the line (or of an interval, or a circle), P parameters each; all zero is the identity."""

    @property
    def parameters(self) -> int:
        """P."""
        ...

    def __call__(self, parameters: Tensor) -> Transform:
        """Unconstrained parameters (..., P, D) to a transform of (..., D), whose log-determinant is (..., D) too."""
        ...


class AffineTransform(Transform):
    """y = exp(log_scale) x + shift, all of shape (..., D)."""

    domain = constraints.real
    codomain = constraints.real
    bijective = True

    def __init__(self, shift: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.shift, self.log_scale = shift, log_scale

    def _call(self, x: Tensor) -> Tensor:
        return x * self.log_scale.exp() + self.shift

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.shift) * (-self.log_scale).exp()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.log_scale.expand_as(x)


@dataclass(frozen=True)
class Additive:
    """Shifts."""

    parameters: int = 1

    def __call__(self, parameters: Tensor) -> Transform:
        shift = parameters[..., 0, :]
        return AffineTransform(shift, torch.zeros_like(shift))


@dataclass(frozen=True)
class Affine:
    """Shifts and scales; |log scale| stays below `bound`, so that no stack of them overflows."""

    bound: float = 5.0
    parameters: int = 2

    def __call__(self, parameters: Tensor) -> Transform:
        shift, scale = parameters.unbind(-2)
        return AffineTransform(shift, scale / (1 + scale.abs() / self.bound))


class Alone(nn.Module):
    """Lazy transform that bends every number by itself, as the condition alone says; starts as the identity."""

    def __init__(self, layout: Layout, elementwise: Elementwise) -> None:
        super().__init__()
        self.elementwise = elementwise
        self.constant = nn.Parameter(torch.zeros(elementwise.parameters, layout.width))
        self.slope = nn.Parameter(torch.zeros(elementwise.parameters, layout.width, layout.context))

    def forward(self, columns: Tensor | None) -> Transform:
        if columns is None:
            return Summed(self.elementwise(self.constant))
        return Summed(self.elementwise(self.constant + (self.slope @ columns[..., None, :, None]).squeeze(-1)))


class Summed(Transform):
    """An elementwise transform as one of rows: its log-determinants (..., D) are summed to (...)."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, elementwise: Transform) -> None:
        super().__init__()
        self.elementwise = elementwise

    def _call(self, x: Tensor) -> Tensor:
        return self.elementwise(x)  # type: ignore[return-value]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.elementwise.inv(y)  # type: ignore[return-value]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., D) to (y (..., D), log-determinant (...))."""
        y, ladj = self.elementwise.call_and_ladj(x)  # type: ignore[attr-defined]
        return y, ladj.sum(dim=-1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]
