"""Circular spline flows: densities on the torus, whose numbers are angles.

Rezende et al., "Normalizing flows on tori and spheres", arXiv:2002.02428: a spline whose ends share value and slope
bends a circle onto itself, after a turn by an angle; both depend on the other angles through their sines and cosines.
The base is uniform on the torus. A single angle is bent as a network says that sees the condition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform

from ...config import Width
from ...layout import Layout
from ...spaces import Space, Torus
from .. import FamilyConfig, families
from .bases import Angles, wrapped
from .bijection import Bijection, NumberBijection
from .coupling import couplings, lone, perceptrons
from .flow import Flow
from .spline import SplineTransform


class CircularTransform(NumberBijection):
    """A turn of the circle [-pi, pi] by `angle`, then a circular spline; both (..., D)."""

    def __init__(self, angle: Tensor, spline: SplineTransform) -> None:
        super().__init__()
        self.angle, self.spline = angle, spline

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.spline.call_and_ladj(wrapped(x + self.angle))

    def _inverse(self, y: Tensor) -> Tensor:
        return wrapped(self.spline.inv(wrapped(y)) - self.angle)  # type: ignore[operator]


@dataclass(frozen=True)
class Circular:
    """Turns and circular splines of some bins."""

    bins: int

    @property
    def size(self) -> int:
        """Widths, heights and slopes, and the angle of the turn."""
        return 3 * self.bins + 1

    def __call__(self, parameters: Tensor) -> Transform:
        spline = SplineTransform(parameters[..., :-1, :], math.pi)
        return CircularTransform(parameters[..., -1, :], spline)


class Around(nn.Module):
    """A network on angles that sees them as points on circles: (B, S + C) of which the first S are angles."""

    def __init__(self, network: nn.Module, angles: int) -> None:
        super().__init__()
        self.network, self.angles = network, angles

    def forward(self, inputs: Tensor) -> Tensor:
        angles, context = inputs[..., : self.angles], inputs[..., self.angles :]
        return self.network(torch.cat((angles.cos(), angles.sin(), context), dim=-1))


class WindingTransform(Bijection):
    """Numbers of a given period as angles in [-pi, pi]; back, as the number in [0, period) that means the same."""

    def __init__(self, period: float) -> None:
        super().__init__()
        self.period, self.scale = period, 2 * math.pi / period

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return wrapped(x * self.scale), torch.full_like(x[..., 0], x.shape[-1] * math.log(self.scale))

    def _inverse(self, y: Tensor) -> Tensor:
        x = torch.remainder(y / self.scale, self.period)
        return torch.where(x < self.period, x, 0.0)  # the remainder of a tiny negative number is rounded to the period


class Winding(nn.Module):
    """Lazy map of numbers of a period to angles."""

    def __init__(self, period: float) -> None:
        super().__init__()
        self.period = period

    def forward(self, context: Tensor | None) -> Transform:
        return WindingTransform(self.period)


@families.register("circular-spline")
class CircularSplineConfig(FamilyConfig):
    """Coupling flow of circular splines."""

    summary: ClassVar[str] = "angles bend one another by splines that close to a circle"
    reference: ClassVar[str] = "Rezende et al., arXiv:2002.02428"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    supports: ClassVar[tuple[str, ...]] = ("torus",)
    model: ClassVar[type[nn.Module]] = Flow

    kind: Literal["circular-spline"] = "circular-spline"
    transforms: int = Field(default=8, ge=2, description="number of couplings, even; of splines for a single angle")
    hidden: tuple[Width, ...] = Field(default=(128, 128), description="widths of each network's hidden layers")
    bins: int = Field(default=8, ge=2, le=256, description="bins of a spline")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition, (Torus,))
        circular, perceptron = Circular(self.bins), perceptrons(layout, self.hidden)

        def around(stays: int, outputs: int) -> nn.Module:
            return Around(perceptron(2 * stays, outputs), stays)

        if layout.features == 1:
            bent = [lone(layout, circular, perceptron) for _ in range(self.transforms)]
        else:
            bent = couplings(layout, self.transforms, circular, around, kind=self.kind)
        support = layout.support
        assert isinstance(support, Torus)
        return Flow(layout, [Winding(support.period), *bent], Angles(layout))

    @classmethod
    def example(cls) -> CircularSplineConfig:
        return cls(transforms=4, hidden=(16,), bins=4)
