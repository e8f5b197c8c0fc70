"""Unconstrained monotonic flows: numbers are bent by integrals of positive networks, autoregressively.

Wehenkel & Louppe, "Unconstrained monotonic neural networks" (UMNN-MAF), arXiv:1908.05164, on zuko's masked networks and
its quadrature. Any positive network is the slope of some bijection, and the log-determinant is its logarithm; the
bijection takes a Gauss-Legendre sum, and its inverse a search for a root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform
from zuko.utils import gauss_legendre

from ...config import Width
from ...layout import Layout
from ...nets.mlp import MLP
from ...samplers.roots import bracket, invert
from ...spaces import Space
from .. import families
from .autoregressive import autoregressions
from .bijection import NumberBijection
from .flow import Flow, FlowConfig


class Integrals(nn.Module):
    """Bijections y = shift + integral of g(u, signal) du from 0 to x, with one positive network g for all numbers.

    Args:
        signals: numbers that g sees beside u.
        hidden: widths of its hidden layers.
        nodes: points of the quadrature.
    """

    def __init__(self, signals: int, hidden: Sequence[int], nodes: int) -> None:
        super().__init__()
        self.network, self.size, self.nodes = MLP(1 + signals, hidden, 1), signals + 1, nodes

    def slope(self, u: Tensor, signals: Tensor) -> Tensor:
        """g at u (..., D) given signals (..., D, S): positive numbers (..., D), between exp(-7) and exp(7)."""
        signals = signals.expand(*u.shape, -1)
        raw = self.network(torch.cat((u.unsqueeze(-1), signals), dim=-1)).squeeze(-1)
        return torch.exp(raw / (1 + raw.abs() / 7))

    def forward(self, parameters: Tensor) -> Transform:
        return IntegralTransform(self, parameters[..., :-1, :].transpose(-1, -2), parameters[..., -1, :])


class IntegralTransform(NumberBijection):
    """y = shift + integral of a slope from 0 to x; signals are (..., D, S), the shift (..., D)."""

    def __init__(self, integrals: Integrals, signals: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.integrals, self.signals, self.shift = integrals, signals, shift

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        def slope(u: Tensor) -> Tensor:
            return self.integrals.slope(u, self.signals)

        # zuko's sum differentiates to the slope itself with respect to x, and asks for what else is to be learned
        learned = [each for each in (self.signals, *self.integrals.parameters()) if each.requires_grad]
        area = gauss_legendre(slope, torch.zeros_like(x), x, n=self.integrals.nodes, phi=learned)
        return area + self.shift, slope(x).log()

    def _inverse(self, y: Tensor) -> Tensor:
        return invert(self.call_and_ladj, y, *bracket(self.call_and_ladj, y.detach()))


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
    nodes: int = Field(default=32, ge=2, description="points of the quadrature")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        bijections = (Integrals(self.signals, self.slope, self.nodes) for _ in range(self.transforms))
        return Flow(layout, autoregressions(layout, bijections, self.hidden), self.base.build(layout))

    @classmethod
    def example(cls) -> MonotonicConfig:
        return cls(transforms=1, hidden=(16,), signals=2, slope=(8,), nodes=16)
