"""Spline autoregressive flow: every number is bent by splines that see the numbers before it.

Papamakarios et al., "Masked autoregressive flow", arXiv:1705.07057, with the splines of Durkan et al.,
arXiv:1906.04032, on zuko's masked networks. The density is one pass, a sample one pass per number: the most accurate
flow of few numbers, and slow to sample from for many. `passes` makes blocks of numbers that are bent together
(two passes are a coupling).
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Transform
from zuko.flows.autoregressive import MaskedAutoregressiveTransform

from ...layout import Layout
from ...spaces import Space
from .. import FamilyConfig, families
from .flow import Flow
from .spline import SplineTransform, parameters_of


def splines(parameters: Tensor, bound: float) -> Transform:
    """zuko lays the parameters of each number last: (..., D, 3 K - 1)."""
    return SplineTransform(parameters.transpose(-1, -2), bound)


@families.register("spline-autoregressive")
class SplineAutoregressiveConfig(FamilyConfig):
    """Autoregressive flow of rational-quadratic splines."""

    summary: ClassVar[str] = "each number is bent by monotonic splines that see those before it"
    reference: ClassVar[str] = "Papamakarios et al., arXiv:1705.07057; Durkan et al., arXiv:1906.04032"
    spaces: ClassVar[tuple[str, ...]] = ("vector", "field", "product")
    model: ClassVar[type[nn.Module]] = Flow

    kind: Literal["spline-autoregressive"] = "spline-autoregressive"
    transforms: int = Field(default=4, ge=1, description="autoregressive transforms; every second one runs backwards")
    hidden: tuple[int, ...] = Field(default=(128, 128), description="widths of each network's hidden layers")
    bins: int = Field(default=8, ge=2, description="bins of a spline")
    bound: float = Field(default=5.0, gt=0, description="splines bend [-bound, bound] and leave the rest alone")
    passes: int | None = Field(default=None, ge=2, description="passes of the inverse; one per number if not set")

    def build(self, space: Space, condition: Space | None = None) -> Flow:
        layout = Layout(space, condition)
        return Flow(layout, (self._transform(layout, backwards=i % 2 == 1) for i in range(self.transforms)))

    def _transform(self, layout: Layout, *, backwards: bool) -> nn.Module:
        order = torch.arange(layout.width)
        transform = MaskedAutoregressiveTransform(
            layout.width,
            layout.context,
            passes=self.passes,
            order=order.flip(0) if backwards else order,  # type: ignore[arg-type]
            univariate=partial(splines, bound=self.bound),
            shapes=[torch.Size((parameters_of(self.bins),))],
            hidden_features=self.hidden,
            activation=nn.SiLU,
        )
        # start as the identity; one number without condition has bare parameters in place of a network
        network = getattr(transform, "hyper", None)
        for parameter in transform.parameters() if network is None else network[-1].parameters():
            nn.init.zeros_(parameter)
        return transform

    @classmethod
    def example(cls) -> SplineAutoregressiveConfig:
        return cls(transforms=2, hidden=(16,), bins=4)
