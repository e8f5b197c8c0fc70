"""Spline flows: monotonic rational-quadratic splines, in couplings or autoregressively.

Durkan et al., "Neural spline flows", arXiv:1906.04032, eqs. 4-8. Unlike zuko's, this spline can be exported: it finds
bins by comparison and sum instead of `searchsorted`. Parameters are along the axis before the features, so that
softmax, cumulative sum and gather run along contiguous memory: 35 ms, and zuko's spline 78 ms, for 512 x 252 values and
8 bins, forward and backward on one CPU core.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ...bases import NormalConfig
from ...bases.uniform import Uniform
from ...config import Width
from ...errors import ConfigError
from ...layout import Layout
from ...spaces import Interval, Real, Space
from .. import families
from .autoregressive import autoregressions
from .bijection import RescaleTransform, Unconditional, UnivariateBijection
from .coupling import couplings, mlp_conditioners
from .flow import Flow, FlowConfig


class SplineTransform(UnivariateBijection):
    """Spline of K bins on [-bound, bound], the identity outside; with parameters of zero the identity everywhere.

    Args:
        parameters: unconstrained widths (K), heights (K) and inner slopes (K - 1), shape (..., 3 K - 1, D). With one
            slope more, which both ends share, the spline is circular (Rezende et al., arXiv:2002.02428).
        bound: half the length of the interval.
        smallest: least bin width and height relative to the interval, and least slope.

    >>> spline = SplineTransform(torch.randn(3 * 8 - 1, 2, generator=torch.Generator().manual_seed(0)))
    >>> x = torch.tensor([[0.5, -1.0]])
    >>> y, ladj = spline.call_and_ladj(x)
    >>> ladj.shape, torch.allclose(spline.inverse(y), x, atol=1e-5)
    (torch.Size([1, 2]), True)
    """

    def __init__(self, parameters: Tensor, bound: float = 5.0, smallest: float = 1e-3) -> None:
        super().__init__()
        self.bound = bound
        self.bins = bins = (parameters.shape[-2] + 1) // 3
        sides = parameters[..., : 2 * bins, :].unflatten(-2, (2, bins)).softmax(dim=-2)
        sides = smallest + (1 - bins * smallest) * sides
        edges = F.pad(2 * bound * sides.cumsum(dim=-2), (0, 0, 1, 0)) - bound
        self.horizontal, self.vertical = edges.unbind(dim=-3)  # knots, (..., K + 1, D)
        unit = math.log(math.expm1(1 - smallest))  # softplus(unit) + smallest = 1
        slopes = smallest + F.softplus(parameters[..., 2 * bins :, :] + unit)
        self.circular = slopes.shape[-2] == bins
        if self.circular:
            self.slopes = torch.cat((slopes, slopes[..., :1, :]), dim=-2)
        else:
            self.slopes = F.pad(slopes, (0, 0, 1, 1), value=1.0)

    def _bin(self, value: Tensor, knots: Tensor) -> tuple[Tensor, ...]:
        """Left end, width, bottom, height, and the slopes at both ends, of the bin that holds each value."""
        table = torch.cat((self.horizontal, self.vertical, self.slopes), dim=-2)
        count = self.bins + 1
        k = (value.unsqueeze(-2) >= knots[..., 1:-1, :]).sum(dim=-2, keepdim=True)
        index = torch.cat([k + offset for start in (0, count, 2 * count) for offset in (start, start + 1)], dim=-2)
        table = table.expand(*index.shape[:-2], *table.shape[-2:])  # parameters may lack the batch axis
        x0, x1, y0, y1, d0, d1 = table.gather(-2, index).unbind(dim=-2)
        return x0, x1 - x0, y0, y1 - y0, d0, d1

    def _inside(self, value: Tensor) -> Tensor:
        return value.abs() <= self.bound if self.circular else value.abs() < self.bound

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x0, width, y0, height, d0, d1 = self._bin(x, self.horizontal)
        s = height / width
        z = ((x - x0) / width).clamp(0, 1)
        mixed = z * (1 - z)
        denominator = s + (d0 + d1 - 2 * s) * mixed
        y = y0 + height * (s * z * z + d0 * mixed) / denominator
        slope = s * s * (2 * s * mixed + d0 * (1 - z) * (1 - z) + d1 * z * z) / (denominator * denominator)
        inside = self._inside(x)
        return torch.where(inside, y, x), torch.where(inside, slope, 1.0).log()

    def inverse(self, y: Tensor) -> Tensor:
        x0, width, y0, height, d0, d1 = self._bin(y, self.vertical)
        s = height / width
        rise = (y - y0).clamp(min=0)
        curve = rise * (d0 + d1 - 2 * s)
        a, b, c = height * (s - d0) + curve, height * d0 - curve, -s * rise
        # this form of the root has no cancellation; rounding may make the discriminant negative
        z = 2 * c / (-b - (b * b - 4 * a * c).clamp(min=0).sqrt())
        return torch.where(self._inside(y), x0 + z * width, y)


@dataclass(frozen=True)
class Spline:
    """Rational-quadratic splines on [-bound, bound].

    >>> spline = Spline(bins=4, bound=5.0)
    >>> spline.size, spline(torch.zeros(spline.size, 2))(torch.tensor([1.0, 7.0]))
    (11, tensor([1., 7.]))
    """

    bins: int
    bound: float

    @property
    def size(self) -> int:
        """Parameters: widths, heights and inner slopes."""
        return 3 * self.bins - 1

    def __call__(self, parameters: Tensor) -> UnivariateBijection:
        return SplineTransform(parameters, self.bound)


@families.register("spline")
class SplineConfig(FlowConfig):
    """Flow of rational-quadratic splines.

    Features on an interval are mapped onto [-bound, bound] and have a uniform base distribution.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> flow = SplineConfig(transforms=2, hidden=(16,), bins=4).build(Vector(dim=3, support=Interval()))
    >>> x = flow.sample(5, noise=KeyedNoise(0, torch.arange(5)))
    >>> x.shape, flow.log_prob(x).shape, flow.likelihood_notes
    (torch.Size([5, 3]), torch.Size([5]), ('uniform base',))
    """

    summary: ClassVar[str] = "monotonic rational-quadratic splines, in couplings or autoregressively"
    reference: ClassVar[str] = "Durkan et al., arXiv:1906.04032"
    supports: ClassVar[tuple[str, ...]] = ("real", "interval")

    kind: Literal["spline"] = "spline"
    scheme: Literal["coupling", "autoregressive"] = Field(
        default="coupling",
        description="coupling: one pass for samples and densities; autoregressive: more accurate, but a sample takes "
        "one pass per feature",
    )
    transforms: int = Field(default=8, ge=1, description="couplings, an even number, or autoregressive transforms")
    hidden: tuple[Width, ...] = Field(default=(128, 128), description="widths of each network's hidden layers")
    bins: int = Field(default=8, ge=2, le=256, description="bins of a spline")
    bound: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="splines are the identity outside [-bound, bound]"
    )
    passes: int | None = Field(
        default=None, ge=2, description="passes of the autoregressive inverse; one per feature if not set"
    )

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition, (Real, Interval))
        spline = Spline(self.bins, self.bound)
        if self.scheme == "autoregressive":
            transforms = autoregressions(layout, self.transforms * [spline], self.hidden, passes=self.passes)
        elif self.passes is not None:
            raise ConfigError(
                "spline.passes: a coupling takes one pass; leave the key out or set scheme=autoregressive."
            )
        else:
            transforms = couplings(
                layout,
                self.transforms,
                spline,
                mlp_conditioners(layout, self.hidden),
                kind=self.kind,
                restore_order=not self.exchangeable,
            )
        if not isinstance(support := layout.support, Interval):
            return Flow(layout, transforms, self.base.build(layout))
        if not isinstance(self.base, NormalConfig):
            raise ConfigError(
                f'spline.base: features on an interval have a uniform base distribution, found "{self.base.kind}".'
            )
        rescale = RescaleTransform(support.low, support.high, -self.bound, self.bound)
        return Flow(layout, [Unconditional(rescale), *transforms], Uniform(layout, self.bound))

    @classmethod
    def example(cls) -> SplineConfig:
        return cls(scheme="autoregressive", transforms=2, hidden=(16,), bins=4)
