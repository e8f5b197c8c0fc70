"""Circular spline flows: densities on the torus, whose features are angles.

Rezende et al., "Normalizing flows on tori and spheres", arXiv:2002.02428. Each angle is shifted and then transformed by
a spline whose two ends have the same slope and are the same point, so that it is a smooth bijection of the circle.
Networks see angles as cosines and sines. The base distribution is uniform on the torus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...bases.uniform import UniformAngles, wrap_angle
from ...config import Width
from ...layout import Layout
from ...spaces import Space, Torus
from .. import FamilyConfig, families
from .bijection import Bijection, Unconditional, UnivariateBijection
from .coupling import couplings, mlp_conditioners, single_feature
from .flow import Flow
from .spline import SplineTransform


class _CircularTransform(UnivariateBijection):
    """A shift by `angle` (..., D) on the circle [-pi, pi], then a circular spline of x (..., D)."""

    def __init__(self, angle: Tensor, spline: SplineTransform) -> None:
        super().__init__()
        self.angle, self.spline = angle, spline

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.spline.call_and_ladj(wrap_angle(x + self.angle))

    def inverse(self, y: Tensor) -> Tensor:
        return wrap_angle(self.spline.inverse(wrap_angle(y)) - self.angle)


@dataclass(frozen=True)
class CircularSpline:
    """Shifts on the circle and circular splines.

    >>> circular = CircularSpline(bins=4)
    >>> circular.size
    13
    >>> shift = torch.zeros(13, 1)
    >>> shift[-1] = 3.0
    >>> circular(shift)(torch.tensor([1.0]))  # 4 - 2 pi
    tensor([-2.2832])
    """

    bins: int

    @property
    def size(self) -> int:
        """Parameters: widths, heights, slopes, and the angle of the shift."""
        return 3 * self.bins + 1

    def __call__(self, parameters: Tensor) -> UnivariateBijection:
        spline = SplineTransform(parameters[..., :-1, :], math.pi)
        return _CircularTransform(parameters[..., -1, :], spline)


class _CosineSine(nn.Module):
    """Calls a network with cosines and sines in place of angles.

    Args:
        network: (B, 2 A + C) to (B, outputs).
        angles: A.
    """

    def __init__(self, network: nn.Module, angles: int) -> None:
        super().__init__()
        self.network, self.angles = network, angles

    def forward(self, inputs: Tensor) -> Tensor:
        """A angles and C other inputs, (B, A + C), to (B, outputs)."""
        angles, context = inputs[..., : self.angles], inputs[..., self.angles :]
        return self.network(torch.cat((angles.cos(), angles.sin(), context), dim=-1))

    def extra_repr(self) -> str:
        return f"angles={self.angles}"


class ToAnglesTransform(Bijection):
    """Values with a period to angles in [-pi, pi]; the inverse returns values in [0, period).

    >>> degrees = ToAnglesTransform(period=360.0)
    >>> degrees(torch.tensor([90.0])), degrees.inverse(torch.tensor([-torch.pi / 2]))
    (tensor([1.5708]), tensor([270.]))
    """

    def __init__(self, period: float) -> None:
        super().__init__()
        self.period, self.scale = period, 2 * math.pi / period

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return wrap_angle(x * self.scale), torch.full_like(x[..., 0], x.shape[-1] * math.log(self.scale))

    def inverse(self, y: Tensor) -> Tensor:
        x = torch.remainder(y / self.scale, self.period)
        return torch.where(x < self.period, x, 0.0)  # the remainder of a tiny negative value rounds to the period

    def __repr__(self) -> str:
        return f"ToAnglesTransform(period={self.period:g})"


@families.register("circular-spline")
class CircularSplineConfig(FamilyConfig):
    """Coupling flow of circular splines.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> config = CircularSplineConfig(transforms=2, hidden=(16,), bins=4)
    >>> flow = config.build(Vector(dim=3, support=Torus(period=360.0)))
    >>> x = flow.sample(5, noise=KeyedNoise(0, torch.arange(5)))
    >>> x.shape, torch.allclose(flow.log_prob(x), flow.log_prob(x + 360), atol=1e-3)
    (torch.Size([5, 3]), True)
    """

    summary: ClassVar[str] = "coupling flow for angles, by splines on the circle"
    reference: ClassVar[str] = "Rezende et al., arXiv:2002.02428"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    supports: ClassVar[tuple[str, ...]] = ("torus",)
    model: ClassVar[type[nn.Module]] = Flow

    kind: Literal["circular-spline"] = "circular-spline"
    transforms: int = Field(default=8, ge=2, description="number of couplings, even; for a single angle, of splines")
    hidden: tuple[Width, ...] = Field(default=(128, 128), description="widths of each network's hidden layers")
    bins: int = Field(default=8, ge=2, le=256, description="bins of a spline")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition, (Torus,))
        circular, mlp = CircularSpline(self.bins), mlp_conditioners(layout, self.hidden)

        def conditioner(identity: int, outputs: int) -> nn.Module:
            return _CosineSine(mlp(2 * identity, outputs), identity)

        if layout.features == 1:
            transforms = [single_feature(layout, circular, mlp) for _ in range(self.transforms)]
        else:
            transforms = couplings(layout, self.transforms, circular, conditioner, kind=self.kind)
        support = layout.support
        assert isinstance(support, Torus)  # the layout takes no other
        return Flow(layout, [Unconditional(ToAnglesTransform(support.period)), *transforms], UniformAngles(layout))

    @classmethod
    def example(cls) -> CircularSplineConfig:
        return cls(transforms=4, hidden=(16,), bins=4)
