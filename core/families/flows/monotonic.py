"""Unconstrained monotonic flows: numbers are bent by integrals of positive networks, autoregressively.

Wehenkel & Louppe, "Unconstrained monotonic neural networks" (UMNN-MAF), arXiv:1908.05164. Any positive network is the
slope of some bijection. A quadrature of the network itself, as theirs, is its integral as far as points are closer than
peaks are narrow; fits make narrow ones, and then the log-determinant is not that of the map. Here the network is asked
at fixed knots and the slope is linear between them: the trapezoidal rule is the integral itself, and the inverse the
root of a quadratic, both to rounding and after one pass of the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform
from torch.nn import functional as F

from ...config import Width
from ...layout import Layout
from ...nets.mlp import MLP
from ...spaces import Space
from .. import families
from .autoregressive import autoregressions
from .bijection import NumberBijection
from .flow import Flow, FlowConfig


class IntegralTransform(NumberBijection):
    """y = shift + the integral, from the middle knot to x, of a slope that is linear between knots and constant beyond.

    Args:
        knots: rising, (K,).
        slopes: positive, (..., D, K).
        shift: (..., D).
    """

    def __init__(self, knots: Tensor, slopes: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.knots, self.slopes = knots, slopes
        areas = knots.diff() * (slopes[..., 1:] + slopes[..., :-1]) / 2
        heights = F.pad(areas.cumsum(-1), (1, 0))
        self.heights = heights - heights[..., len(knots) // 2, None] + shift.unsqueeze(-1)

    def _panel(self, value: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
        """Left end, width, bottom and the slopes at both ends of the panel that, by such ends, holds each value."""
        k = (value.unsqueeze(-1) >= ends[..., 1:-1]).sum(-1, keepdim=True)
        slopes, heights = (table.expand(*k.shape[:-1], -1) for table in (self.slopes, self.heights))
        left, right = self.knots[k], self.knots[k + 1]
        found = left, right - left, heights.gather(-1, k), slopes.gather(-1, k), slopes.gather(-1, k + 1)
        return tuple(each.squeeze(-1) for each in found)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        within = x.clamp(self.knots[0], self.knots[-1])
        left, width, height, g0, g1 = self._panel(within, self.knots)
        t = (within - left) / width
        slope = torch.lerp(g0, g1, t)
        return height + width * t * (g0 + slope) / 2 + (x - within) * slope, slope.log()

    def _inverse(self, y: Tensor) -> Tensor:
        within = y.clamp(self.heights[..., 0], self.heights[..., -1])
        left, width, height, g0, g1 = self._panel(within, self.heights)
        rise = (within - height) / width
        # the root that does not cancel; rounding may push a slope below the lesser end's
        slope = (g0 * g0 + 2 * (g1 - g0) * rise).clamp(min=torch.minimum(g0, g1) ** 2).sqrt()
        return left + width * 2 * rise / (g0 + slope) + (y - within) / slope


class Integrals(nn.Module):
    """Bijections whose slopes at the knots are one positive network's g(u, signals), for all numbers the same.

    Args:
        signals: numbers that g sees beside u.
        hidden: widths of its hidden layers.
        nodes: number of knots; they are closest in the middle, there ten times as close as at the ends.
        bound: the last of them, and minus the first.
    """

    knots: Tensor

    def __init__(self, signals: int, hidden: Sequence[int], nodes: int, bound: float) -> None:
        super().__init__()
        self.network, self.size = MLP(1 + signals, hidden, 1), signals + 1
        self.register_buffer("knots", bound * torch.linspace(-3, 3, nodes).sinh() / math.sinh(3))

    def slopes(self, signals: Tensor) -> Tensor:
        """g at all knots given signals (..., D, S): positive numbers (..., D, K), between exp(-7) and exp(7)."""
        shape = (*signals.shape[:-1], len(self.knots))
        signals, knots = signals.unsqueeze(-2).expand(*shape, -1), self.knots.expand(shape).unsqueeze(-1)
        raw = self.network(torch.cat((knots, signals), dim=-1)).squeeze(-1)
        return torch.exp(raw / (1 + raw.abs() / 7))

    def forward(self, parameters: Tensor) -> Transform:
        slopes = self.slopes(parameters[..., :-1, :].transpose(-1, -2))
        return IntegralTransform(self.knots, slopes, parameters[..., -1, :])


@families.register("monotonic")
class MonotonicConfig(FlowConfig):
    """Autoregressive flow of unconstrained monotonic networks."""

    summary: ClassVar[str] = "each number is bent by the integral of a positive network that sees those before it"
    reference: ClassVar[str] = "Wehenkel & Louppe, arXiv:1908.05164"

    spaces: ClassVar[tuple[str, ...]] = ("vector", "product")

    kind: Literal["monotonic"] = "monotonic"
    transforms: int = Field(default=3, ge=1, description="autoregressive transforms; every second one runs backwards")
    hidden: tuple[Width, ...] = Field(default=(128, 128), description="widths of each masked network's hidden layers")
    signals: int = Field(default=16, ge=1, description="numbers through which a masked network steers a positive one")
    slope: tuple[Width, ...] = Field(default=(64, 64), description="widths of the positive networks' hidden layers")
    nodes: int = Field(default=33, ge=3, description="knots at which a slope is taken; it is linear between them")
    bound: float = Field(
        default=8.0, gt=0, allow_inf_nan=False, description="slopes are constant beyond [-bound, bound]"
    )

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        bijections = (Integrals(self.signals, self.slope, self.nodes, self.bound) for _ in range(self.transforms))
        return Flow(layout, autoregressions(layout, bijections, self.hidden), self.base.build(layout))

    @classmethod
    def example(cls) -> MonotonicConfig:
        return cls(transforms=1, hidden=(16,), signals=2, slope=(8,), nodes=9)
