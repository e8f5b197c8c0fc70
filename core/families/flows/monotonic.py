"""Monotonic flows: autoregressive flows of quadratic splines whose slopes a positive network gives.

A piecewise-quadratic spline as in Müller et al., "Neural importance sampling", arXiv:1808.03856: its slope is linear
between knots. The knots are fixed. One positive network computes the slopes at the knots. Its inputs are a knot and
outputs of the masked network (the signal), like those of the integrand of a UMNN (Wehenkel & Louppe, arXiv:1908.05164).
A UMNN integrates its network numerically, so that map and log-determinant agree only as far as the quadrature is exact.
Here the trapezoidal rule is exact, and the inverse is the root of a quadratic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import Width
from ...layout import Layout
from ...nets.mlp import MLP
from ...spaces import Space
from .. import families
from .autoregressive import autoregressions
from .bijection import UnivariateBijection
from .flow import Flow, FlowConfig


class _QuadraticSplineTransform(UnivariateBijection):
    """y = shift + the integral, from the middle knot to x, of a slope that is linear between knots and constant beyond.

    Args:
        knots: increasing, (K,).
        slopes: positive, (..., D, K).
        shift: (..., D).
    """

    def __init__(self, knots: Tensor, slopes: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.knots, self.slopes = knots, slopes
        areas = knots.diff() * (slopes[..., 1:] + slopes[..., :-1]) / 2
        heights = F.pad(areas.cumsum(-1), (1, 0))
        self.heights = heights - heights[..., len(knots) // 2, None] + shift.unsqueeze(-1)

    def _bin(self, value: Tensor, edges: Tensor) -> tuple[Tensor, ...]:
        """Left end, width, bottom and the slopes at both ends of the bin whose `edges` enclose each value."""
        k = (value.unsqueeze(-1) >= edges[..., 1:-1]).sum(-1, keepdim=True)
        slopes, heights = (table.expand(*k.shape[:-1], -1) for table in (self.slopes, self.heights))
        left, right = self.knots[k], self.knots[k + 1]
        found = left, right - left, heights.gather(-1, k), slopes.gather(-1, k), slopes.gather(-1, k + 1)
        return tuple(each.squeeze(-1) for each in found)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        within = x.clamp(self.knots[0], self.knots[-1])
        left, width, height, g0, g1 = self._bin(within, self.knots)
        t = (within - left) / width
        slope = torch.lerp(g0, g1, t)
        return height + width * t * (g0 + slope) / 2 + (x - within) * slope, slope.log()

    def inverse(self, y: Tensor) -> Tensor:
        within = y.clamp(self.heights[..., 0], self.heights[..., -1])
        left, width, height, g0, g1 = self._bin(within, self.heights)
        rise = (within - height) / width
        # this form of the root has no cancellation; rounding may make a slope less than that of either end
        slope = (g0 * g0 + 2 * (g1 - g0) * rise).clamp(min=torch.minimum(g0, g1) ** 2).sqrt()
        return left + width * 2 * rise / (g0 + slope) + (y - within) / slope


class QuadraticSpline(nn.Module):
    """Quadratic splines whose slopes at the knots come from one positive network g(knot, signal) for all features.

    Args:
        signal: S, inputs of g besides the knot.
        hidden: widths of its hidden layers.
        count: number of knots; in the middle they are ten times as dense as at the ends.
        bound: the last knot, and minus the first.

    >>> spline = QuadraticSpline(signal=2, hidden=(8,), count=5, bound=4.0)
    >>> spline.size  # the signal and a shift
    3
    >>> y, ladj = spline(torch.zeros(6, 3, 2)).call_and_ladj(torch.randn(6, 2))
    >>> y.shape, ladj.shape
    (torch.Size([6, 2]), torch.Size([6, 2]))
    """

    knots: Tensor

    def __init__(self, signal: int, hidden: Sequence[int], count: int, bound: float) -> None:
        super().__init__()
        self.network, self.size = MLP(1 + signal, hidden, 1), signal + 1
        self.register_buffer("knots", bound * torch.linspace(-3, 3, count).sinh() / math.sinh(3))

    def slopes(self, signal: Tensor) -> Tensor:
        """g at all knots given signals (..., D, S): positive values (..., D, K), between exp(-7) and exp(7)."""
        shape = (*signal.shape[:-1], len(self.knots))
        signal, knots = signal.unsqueeze(-2).expand(*shape, -1), self.knots.expand(shape).unsqueeze(-1)
        raw = self.network(torch.cat((knots, signal), dim=-1)).squeeze(-1)
        return torch.exp(raw / (1 + raw.abs() / 7))

    def forward(self, parameters: Tensor) -> UnivariateBijection:
        slopes = self.slopes(parameters[..., :-1, :].transpose(-1, -2))
        return _QuadraticSplineTransform(self.knots, slopes, parameters[..., -1, :])

    def extra_repr(self) -> str:
        return f"size={self.size}, knots={len(self.knots)}"


@families.register("monotonic")
class MonotonicConfig(FlowConfig):
    """Autoregressive flow of quadratic splines whose slopes a positive network gives.

    >>> from maquette.core.noise import KeyedNoise
    >>> from maquette.core.spaces import Vector
    >>> flow = MonotonicConfig(transforms=1, hidden=(16,), signal=2, slope=(8,), knots=9).build(Vector(dim=3))
    >>> x = flow.sample(5, noise=KeyedNoise(0, torch.arange(5)))
    >>> x.shape, flow.log_prob(x).shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    summary: ClassVar[str] = "autoregressive quadratic splines whose slopes a positive network gives"
    reference: ClassVar[str] = "Müller et al., arXiv:1808.03856; Wehenkel & Louppe, arXiv:1908.05164"

    spaces: ClassVar[tuple[str, ...]] = ("vector", "product")

    kind: Literal["monotonic"] = "monotonic"
    transforms: int = Field(default=3, ge=1, description="autoregressive transforms; every second one in reverse order")
    hidden: tuple[Width, ...] = Field(default=(128, 128), description="widths of each masked network's hidden layers")
    signal: int = Field(
        default=16, ge=1, description="outputs of a masked network, per feature, that a slope network sees"
    )
    slope: tuple[Width, ...] = Field(default=(64, 64), description="widths of the slope networks' hidden layers")
    knots: int = Field(default=33, ge=3, description="knots of a spline; its slope is linear between them")
    bound: float = Field(
        default=8.0, gt=0, allow_inf_nan=False, description="slopes are constant beyond [-bound, bound]"
    )

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        splines = (QuadraticSpline(self.signal, self.slope, self.knots, self.bound) for _ in range(self.transforms))
        return Flow(layout, autoregressions(layout, splines, self.hidden), self.base.build(layout))

    @classmethod
    def example(cls) -> MonotonicConfig:
        return cls(transforms=1, hidden=(16,), signal=2, slope=(8,), knots=9)
