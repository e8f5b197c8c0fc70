"""Uniform base distributions, on intervals and of angles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..layout import Layout
from ..noise import Noise
from ..samplers.interpolation import lerp
from .base import Base


class Uniform(Base):
    """Independent uniform variables on [-bound, bound].

    >>> from maquette.core.spaces import Interval, Vector
    >>> layout = Layout(Vector(dim=2, support=Interval()), supports=(Interval,))
    >>> Uniform(layout, bound=1.0).log_prob(torch.tensor([[0.5, -0.5], [0.5, 2.0]]))
    tensor([-1.3863,    -inf])
    """

    description = "uniform base"

    def __init__(self, layout: Layout, bound: float) -> None:
        super().__init__(layout)
        self.bound = bound

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        edge = self.bound * (1 + 100 * torch.finfo(z.dtype).eps)  # codes at the ends carry rounding errors
        value = torch.full_like(z[:, 0], -z.shape[1] * math.log(2 * self.bound))
        return value.masked_fill((z.abs() > edge).any(dim=1), -math.inf)

    def white(self, n: int, noise: Noise) -> Tensor:
        return self.layout.prior(n, noise, "uniform")

    def color(self, white: Tensor, context: Tensor | None = None) -> Tensor:
        return self.bound * (2 * white - 1)

    def interpolate(self, a: Tensor, b: Tensor, times: Tensor, context: Tensor | None = None) -> Tensor:
        """Along the straight line."""
        return lerp(a, b, times)

    def icdf(self, probabilities: Tensor, dim: int = 0, context: Tensor | None = None) -> Tensor:
        return self.bound * (2 * probabilities - 1)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bound={self.bound:g}"


class UniformAngles(Uniform):
    """Independent uniform angles, sampled in [-pi, pi]. Angles outside are wrapped.

    >>> from maquette.core.spaces import Torus, Vector
    >>> base = UniformAngles(Layout(Vector(dim=1, support=Torus()), supports=(Torus,)))
    >>> base.log_prob(torch.tensor([[0.0], [7.0]]))
    tensor([-1.8379, -1.8379])
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout, math.pi)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return super().log_prob(wrap_angle(z), context)

    def interpolate(self, a: Tensor, b: Tensor, times: Tensor, context: Tensor | None = None) -> Tensor:
        """Along the shorter arcs."""
        return wrap_angle(lerp(a, a + wrap_angle(b - a), times))


def wrap_angle(angle: Tensor) -> Tensor:
    """The same angles in [-pi, pi]: multiples of 2 pi are subtracted.

    >>> wrap_angle(torch.tensor([0.0, 4.0, 7.0]))
    tensor([ 0.0000, -2.2832,  0.7168])
    """
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
